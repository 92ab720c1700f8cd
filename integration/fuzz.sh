#!/bin/sh
# fuzz.sh SECONDS: each libFuzzer target of protocols/fuzz for so long, from what earlier runs on this machine have found.
# Needs a nightly Rust and cargo-fuzz. What breaks one lies in protocols/fuzz/artifacts afterwards, and is printed.
set -u
seconds=$1
said=$(mktemp)
status=0
cd "$(dirname "$0")/../protocols" || exit 1
targets=${CARGO_TARGET_DIR:-target}/fuzz
cargo +nightly fuzz build --target-dir "$targets" || exit 1
for target in $(cargo +nightly fuzz list); do
    if cargo +nightly fuzz run --target-dir "$targets" "$target" -- \
        "-max_total_time=$seconds" -rss_limit_mb=2048 >"$said" 2>&1; then
        echo "fuzz: $target: $(grep '^Done ' "$said" | tail -n 1)"
    else
        status=1
        echo "fuzz: $target: FAILED"
        tail -n 100 "$said"
    fi
done
rm -f "$said"
exit $status
