#!/bin/sh
# package.sh OUT: a Debian package of the program that was built, in the folder OUT. Run by `make package`.
set -eu
out=$1
version=3.8.0
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools
built=$CARGO_TARGET_DIR/release
pages=$built/package

if [ ! -x "$tools/bin/cargo-deb" ]; then
    echo "package: building cargo-deb" >&2
    CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --root "$tools" cargo-deb@$version
    rm -rf "$tools/target"
fi

# What the program says of itself; no page of a command that is gone may stay.
rm -rf "$pages"
mkdir -p "$pages/completions"
"$built/tidegate" manual "$pages/man"
rm -f "$pages"/man/*-help*.1
for shell in bash zsh fish; do
    "$built/tidegate" completions $shell >"$pages/completions/tidegate.$shell"
done
gzip -9n "$pages"/man/*.1

mkdir -p "$out"
# What debuggers and the traces of a crash need goes into a package of its own (tidegate-dbgsym): more than half of the size.
"$tools/bin/cargo-deb" deb --no-build --dbgsym --package tidegate-gateway --output "$out/"
