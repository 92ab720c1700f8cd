#!/bin/sh
# setup.sh [tests | nightly]: installs what building and the demo need, with `tests` what testing needs besides, and with
# `nightly` a store of somebody else's making, a browser, a stand-in for AWS and cargo-fuzz too, where it is missing (Debian, Ubuntu); and Rust, by rustup,
# where there is none. One that is too old is yours to update. Does nothing, and asks nobody, when all is there.
set -eu

# C and C++ for RocksDB and AWS-LC, libclang for RocksDB's bindings; then what the demo's client needs.
packages="build-essential pkg-config clang libclang-dev libnfs-dev libssl-dev python3 ca-certificates curl"
# Tests that boot a guest: the emulator, the guest's shell, its disk, what ignores its syncs, and what it runs
# on a share. A machine that cannot have them skips those tests.
guest_packages="qemu-system-x86 busybox-static e2fsprogs strace xz-utils git sqlite3"
# Tests of volumes: QEMU's tools and libnbd's, and what a disk is made with that a machine boots from.
volume_packages="qemu-utils libnbd-bin syslinux syslinux-common mtools dosfstools"
# Programs that tests run against shares and S3 buckets; one that is missing is skipped.
client_packages="libnfs-utils awscli s3cmd rclone restic python3-boto3 postgresql barman-cli-cloud python3-venv"
# An S3 store that the nightly tests start; without it they say so.
store_packages="radosgw ceph-mon ceph-osd ceph-common"
# The browser that the nightly tests walk through the console with.
browser_packages="chromium fonts-noto-cjk"
# The suite of POSIX calls that runs in a guest, and what it is built with.
suite_version=0.2.2
suite_packages="libacl1-dev libattr1-dev"

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
        echo "setup: no apt-get here; what these Debian packages hold is expected: $*" >&2
        return 0
    fi
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing" >&2
    # Stale lists are no reason to fail: the installation says what it cannot find.
    as_root apt-get update -qq || true
    # shellcheck disable=SC2086 # names of packages, one word each
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}

# Debian's kernel for virtual machines, unpacked and not installed, into a folder that outlives the checkout.
unpack_guest_kernel() {
    kernel=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/guest/kernel
    [ ! -e "$kernel/vmlinuz" ] || return 0
    rm -rf "$kernel.new"
    mkdir -p "$kernel.new/unpacked"
    find_guest_kernel || { as_root apt-get update -qq && find_guest_kernel; } || return 1
    echo "setup: unpacking $package for guests of tests" >&2
    # No set -e here: who calls this goes on without a kernel. Modules lie below /lib, or below /usr/lib in
    # newer packages, where they are compressed too.
    (
        cd "$kernel.new/unpacked" &&
            apt-get download -qq "$package" &&
            dpkg -x ./*.deb . &&
            mv boot/vmlinuz-* ../vmlinuz &&
            mv "$(dirname "$(find . -path '*lib/modules/*' -prune | head -n 1)")" ../modules &&
            find ../modules -name '*.ko.xz' -exec xz -d {} +
    ) || return 1
    rm -rf "$kernel.new/unpacked" "$kernel"
    mv "$kernel.new" "$kernel"
}

find_guest_kernel() {
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p' | head -n 1)
    [ -n "$package" ]
}

# What checks rules of alarms, and what fires them: unpacked and not installed, since the package starts a server.
unpack_prometheus() {
    tools=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools/bin
    missing=
    for tool in promtool prometheus; do
        [ -x "$tools/$tool" ] || command -v $tool >/dev/null || missing=yes
    done
    [ -n "$missing" ] || return 0
    echo "setup: unpacking Prometheus" >&2
    unpacked=$(mktemp -d)
    (
        cd "$unpacked" && apt-get download -qq prometheus && dpkg -x ./*.deb . && mkdir -p "$tools" &&
            mv usr/bin/promtool usr/bin/prometheus "$tools"
    ) || echo "setup: no Prometheus: the tests of the rules for it are skipped, and fail in a nightly run" >&2
    rm -rf "$unpacked"
}

# What goes through the document of the admin API: in an environment of its own, which leaves the system's Python alone.
install_schemathesis() {
    tool=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools/schemathesis
    [ ! -x "$tool/bin/schemathesis" ] && ! command -v schemathesis >/dev/null || return 0
    echo "setup: installing schemathesis" >&2
    (python3 -m venv "$tool" && "$tool/bin/pip" install --quiet schemathesis) ||
        echo "setup: no schemathesis: the test of the document of the admin API is skipped" >&2
}

has_browser() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

# What leads the browser, and what looks for faults of accessibility.
install_playwright() {
    tool=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools/playwright
    [ ! -x "$tool/bin/python" ] || "$tool/bin/python" -c 'import playwright, axe_playwright_python' 2>/dev/null || rm -rf "$tool"
    [ ! -x "$tool/bin/python" ] || return 0
    echo "setup: installing Playwright" >&2
    python3 -m venv "$tool" && "$tool/bin/pip" install --quiet playwright axe-playwright-python
}

# What stands in for AWS.
install_moto() {
    tool=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools/moto
    [ ! -x "$tool/bin/python" ] || "$tool/bin/python" -c 'import moto.server, moto.ec2, moto.ebs' 2>/dev/null || rm -rf "$tool"
    [ ! -x "$tool/bin/python" ] || return 0
    echo "setup: installing moto" >&2
    python3 -m venv "$tool" && "$tool/bin/pip" install --quiet 'moto[server,ec2,ebs]'
}

# What fuzzes the decoders, where there is the nightly Rust that it needs.
install_cargo_fuzz() {
    rustc +nightly --version >/dev/null 2>&1 || return 1
    ! cargo +nightly fuzz --version >/dev/null 2>&1 || return 0
    echo "setup: installing cargo-fuzz" >&2
    CARGO_TARGET_DIR=$(mktemp -d) cargo install --quiet --locked cargo-fuzz
}

# A test suite from the crate registry, built once; its own target folder leaves ours alone.
build_suite() {
    built=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/guest/pjdfstest-$suite_version
    [ ! -x "$built/bin/pjdfstest" ] || return 0
    # shellcheck disable=SC2086 # names of packages, one word each
    install_packages $suite_packages || return 1
    echo "setup: building pjdfstest for guests of tests" >&2
    CARGO_TARGET_DIR=$built/target cargo install --quiet --locked --root "$built" pjdfstest@$suite_version || return 1
    rm -rf "$built/target"
}

# Where there is no Rust at all: as https://rustup.rs says, for this user alone.
install_rust() {
    ! command -v cargo >/dev/null || return 0
    echo "setup: installing Rust with rustup" >&2
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
        sh -s -- -y --quiet --no-modify-path --profile minimal -c rustfmt -c clippy >&2 || true
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

install_for_tests() {
    # shellcheck disable=SC2086 # names of packages, one word each
    (install_packages $client_packages) ||
        echo "setup: tests with S3 clients that are not installed will be skipped" >&2
    # shellcheck disable=SC2086
    (install_packages $volume_packages) ||
        echo "setup: tests of volumes with programs that are not installed will be skipped" >&2
    unpack_prometheus
    install_schemathesis
    # shellcheck disable=SC2086
    if ! (install_packages $guest_packages && unpack_guest_kernel); then
        echo "setup: tests that boot a guest will be skipped on this machine" >&2
    elif ! build_suite; then
        echo "setup: pjdfstest cannot be built here, so the test that runs it will fail: is the crate registry reachable?" >&2
    fi
}

cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"
# shellcheck disable=SC2086 # names of packages, one word each
install_packages $packages
install_rust
check_rust
case "${1:-}" in
tests | nightly) install_for_tests ;;
esac
if [ "${1:-}" = nightly ]; then
    # shellcheck disable=SC2086
    (install_packages $store_packages) || echo "setup: no Ceph: the test with its gateway is skipped" >&2
    # shellcheck disable=SC2086
    if ! (has_browser || install_packages $browser_packages) || ! install_playwright; then
        echo "setup: no browser, or nothing that leads it: the walk through the console is skipped" >&2
    fi
    install_cargo_fuzz || echo "setup: no nightly Rust, or no cargo-fuzz: the targets of libFuzzer are skipped" >&2
    install_moto || echo "setup: no moto: the tests of classes that sleep and of machines in EC2 are skipped" >&2
fi
