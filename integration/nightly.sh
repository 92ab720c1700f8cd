#!/bin/sh
# nightly.sh CACHE: the tests at length and the demo; writes a dated report to docs/reports/.
# Run by `make nightly`, from the top of the checkout, which must be committed.
#
# What has passed at a commit is written down, stage by stage and program by program, so that a run which was ended goes on when
# it is called again; and whenever it ends, however it ends, there is a report of what was done. TIDEGATE_AGAIN=1 does all anew.
set -u
if ! git diff --quiet HEAD -- . ':!docs/reports'; then
    echo "nightly: the checkout has changes that are not committed: commit them, for what has passed is kept by commit" >&2
    exit 1
fi
cache=$1
state=$(dirname "$cache")/nightly/$(git rev-parse HEAD)
[ -z "${TIDEGATE_AGAIN:-}" ] || rm -rf "$state"
mkdir -p "$state"
log=$state/log
touch "$log" "$state/stages" "$state/programs"
report=docs/reports/nightly-$(date +%Y-%m-%d).md
status=0

# row TABLE NAME RESULT MINUTES: a row, in the place of the one that was there.
row() {
    { grep -v "^| $2 |" "$state/$1"; echo "| $2 | $3 | $4 |"; } >"$state/$1.new"
    mv "$state/$1.new" "$state/$1"
}

# run NAME COMMAND...: one stage, unless it has passed; what it says goes to the screen and the log.
run() {
    name=$1
    shift
    if grep -q "^| $name | passed |" "$state/stages"; then
        echo "==> $name: passed before" >&2
        return
    fi
    begin=$(date +%s)
    row stages "$name" "not finished" 0
    { packaging/stage.sh "$name" "$@" 2>&1; echo $? >"$state/status"; } | tee -a "$log"
    result=passed
    if [ "$(cat "$state/status")" -ne 0 ]; then
        result=FAILED
        status=1
    fi
    row stages "$name" "$result" $((($(date +%s) - begin + 59) / 60))
}

skip() {
    row stages "$1" "SKIPPED: $2" 0
}

write_report() {
    {
        echo "# Nightly run of $(date -u +%Y-%m-%d)"
        echo
        echo "Commit $(git rev-parse HEAD), on $(nproc) cores, $(uname -sr)."
        echo
        echo "| stage | result | minutes |"
        echo "| --- | --- | ---: |"
        cat "$state/stages"
        echo
        echo "The programs of the tests, $(nproc) beside each other:"
        echo
        echo "| program | result | minutes |"
        echo "| --- | --- | ---: |"
        cat "$state/programs"
        echo
        echo "## Figures"
        echo
        # How much the longest tests did, in their own words. What stands before it is the name of the test, with some.
        grep -oE '([0-9]+ names listed, |a tree: |random_io: |power_cut: |[0-9]+ MiB were taken; |everything was in the repository |[0-9]+ of [0-9]+ calls were answered; |[0-9]+ silent connections, |fuzz: ).*' "$log" |
            grep -vE ': seed [0-9]' | sed 's/^/* /'
        echo
        echo "## Seeds"
        echo
        sed -n -e 's/^\(.*: seed [0-9]*\).*/* \1/p' -e 's/^\(TIDEGATE[A-Z_]*SEED=[0-9]*.*\)/* \1/p' "$log" | sort -u
        echo
        echo "## Skipped"
        echo
        grep -E '(: skipped: |^skipped: |^not run: )' "$log" | sort -u | sed 's/^/* /'
        echo
        echo "## Tests"
        echo
        echo '```text'
        grep -E '^test .*(FAILED|failed)|^test result:' "$log" | sort | uniq -c | sort -rn
        echo '```'
        echo
        echo "## Demo"
        echo
        echo '```text'
        sed -n '/^copying /,/^==>/p' "$log"
        echo '```'
    } >"$report"
    echo "report: $report" >&2
}
trap write_report EXIT
trap 'exit 1' INT TERM

# Each test of the second kind reads how long it shall go on.
export TIDEGATE_KILLS="${TIDEGATE_KILLS:-100}"
export TIDEGATE_POWER_CUTS="${TIDEGATE_POWER_CUTS:-100}"
export TIDEGATE_IO_OPERATIONS="${TIDEGATE_IO_OPERATIONS:-50000}"
export TIDEGATE_IO_KILLS="${TIDEGATE_IO_KILLS:-50}"
export TIDEGATE_SWEEP_VISITS="${TIDEGATE_SWEEP_VISITS:-3}"
export TIDEGATE_STEPS="${TIDEGATE_STEPS:-3000}"
export TIDEGATE_NIGHTLY=1
export TIDEGATE_SEEDS="${TIDEGATE_SEEDS:-3000}"
export TIDEGATE_DISK_MIB="${TIDEGATE_DISK_MIB:-2048}"
export TIDEGATE_WRITE_MIB="${TIDEGATE_WRITE_MIB:-10240}"
# The demo's newer tree, for a client to unpack: it is fetched here when the demo has not run before.
newest='import pathlib, sys, sources; print(sources.choose(None, pathlib.Path(sys.argv[1]), 0)[-1].path)'
TIDEGATE_TREE="${TIDEGATE_TREE:-$(PYTHONPATH=integration/demo python3 -c "$newest" "$cache" | tail -n 1)}"
export TIDEGATE_TREE
# First the programs that take longest.
run "tests" python3 integration/lanes.py --table "$state/programs" \
    power_cut linux_client larger_than_disk crash_sweep sigkill tidegate_replicator
# Alone: a machine that is busy otherwise raises alarms of its own.
run "alerts" cargo test --release --workspace --test alerting -- --nocapture --test-threads 1
# Alone too, for its memory is measured: 100 million chunks, some 5 GB below TMPDIR, about two minutes.
run "collection" env "TIDEGATE_CHUNKS=${TIDEGATE_CHUNKS:-100000000}" cargo test --release --workspace --lib -- \
    --nocapture every_pack_is_as_alive_as_its_chunks_are_in_bounded_memory
run "doc tests" cargo test --release --workspace --doc
run "nfs-rs" env "TIDEGATE_PROGRAM=$CARGO_TARGET_DIR/release/tidegate" \
    cargo test --release --manifest-path integration/nfs_rs/Cargo.toml
# The decoders under libFuzzer, which instruments with what only a nightly compiler has.
if ! rustc +nightly --version >/dev/null 2>&1; then
    skip "libFuzzer" "there is no nightly Rust (\`rustup toolchain install nightly\`)"
elif ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    skip "libFuzzer" "cargo-fuzz is not installed"
else
    run "libFuzzer" integration/fuzz.sh "${TIDEGATE_FUZZ_SECONDS:-300}"
fi
# A store of somebody else's making, where it can be installed.
if command -v radosgw >/dev/null; then
    run "Ceph RGW" integration/stores/rgw.sh
else
    skip "Ceph RGW" "radosgw is not installed"
fi
run "demo" python3 integration/demo/demo.py --tidegate "$CARGO_TARGET_DIR/release/tidegate" \
    --nfswalk "$CARGO_TARGET_DIR/nfswalk" --cache "$cache"

tools=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools
if "$tools/playwright/bin/python" -c 'import playwright' 2>/dev/null &&
    { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1; then
    run "console" "$tools/playwright/bin/python" integration/console/walk.py \
        --tidegate "$CARGO_TARGET_DIR/release/tidegate"
else
    skip "console" "Playwright or a browser is not installed"
fi

# Last, for they leave a program with more in it; `make` builds the usual one again.
run "lints of EC2" cargo clippy --release --workspace --all-targets --features tidegate-integration/ec2 -- -D warnings
run "parts of machines in EC2" cargo test --release --workspace --features tidegate-integration/ec2 --lib -- machine
if "$tools/moto/bin/python" -c 'import moto.server, moto.ec2, moto.ebs' 2>/dev/null; then
    run "machines in EC2" cargo test --release --workspace --features tidegate-integration/ec2 --test ec2 -- --nocapture
else
    skip "machines in EC2" "moto is not installed"
fi

exit $status
