#!/bin/sh
# setup.sh: installs what building and testing need, where it is missing (Debian, Ubuntu), and checks the
# Rust toolchain, which is not installed for you. Does nothing, and asks nobody, when all is there.
set -eu

# C and C++ for RocksDB and AWS-LC, libclang for RocksDB's bindings; the rest is for the demo's client.
packages="build-essential pkg-config clang libclang-dev libnfs-dev libssl-dev python3 ca-certificates"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "setup: neither root nor sudo: run this as root: $*" >&2
        exit 1
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "setup: no apt-get here; what these Debian packages hold is expected: $packages" >&2
        return
    fi
    missing=
    for package in $packages; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing" >&2
    # Stale lists are no reason to fail: the installation says what it cannot find.
    as_root apt-get update -qq || true
    # shellcheck disable=SC2086 # names of packages, one word each
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}

check_rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p') || true
    oldest=$(printf '%s\n%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)
    if [ "$oldest" = "$wanted" ] && cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
        return
    fi
    cat >&2 <<END
setup: cargo $wanted or newer with rustfmt and clippy is needed; found: ${found:-none}.
Either update it:          rustup update stable && rustup component add rustfmt clippy
or get it from rustup.rs:  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
END
    exit 1
}

cd "$(dirname "$0")/.."
install_packages
check_rust
