#!/bin/sh
# docs.sh OUT: the book as HTML in the folder OUT. Run by `make docs`.
set -eu
out=$1
version=0.5.4
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools
if [ ! -x "$tools/bin/mdbook" ]; then
    echo "docs: building mdbook" >&2
    CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --no-default-features --features search \
        --root "$tools" mdbook@$version
    rm -rf "$tools/target"
fi
"$tools/bin/mdbook" build --dest-dir "$out" docs/book
echo "book: $out/index.html" >&2
