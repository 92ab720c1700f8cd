#!/bin/sh
# nightly.sh CACHE: the tests at length and the demo; writes a dated report to docs/reports/.
# Run by `make nightly`, from the top of the checkout, which must be committed.
#
# What has passed is written down by commit and by how long the tests shall go on, stage by stage and program by program: a run
# that was ended goes on when it is called again, and there is a report of what was done when it ends, and when its process group is ended. TIDEGATE_AGAIN=1 does
# all anew.
set -u
cache=$1

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

# Nothing is here but a commit, and reports.
is_clean() {
    [ -z "$(git status --porcelain -- . ':!docs/reports')" ]
}

commit=$(git rev-parse HEAD)
if ! is_clean; then
    echo "nightly: commit first what this checkout has changed: what passes is written down by commit" >&2
    exit 1
fi
states=$(dirname "$cache")/nightly
lengths=$(env | grep '^TIDEGATE_' | grep -vE '^TIDEGATE_(AGAIN|PROGRAM_MINUTES)=' | sort | cksum | cut -d ' ' -f 1)
state=$states/$commit-$lengths
[ -z "${TIDEGATE_AGAIN:-}" ] || rm -rf "$state"
mkdir -p "$state"
touch "$state" "$state/stages" "$state/programs"
# Those of a month ago.
find "$states" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
report=docs/reports/nightly-$(date -u +%Y-%m-%d)-$(git rev-parse --short "$commit").md
status=0

# row NAME RESULT MINUTES: the row of a stage.
row() {
    { grep -v "^| $1 |" "$state/stages"; echo "| $1 | $2 | $3 |"; } >"$state/stages.new"
    mv "$state/stages.new" "$state/stages"
}

# run NAME COMMAND...: one stage, unless it has passed; what it says goes to the screen and its log.
run() {
    name=$1
    shift
    if grep -q "^| $name | passed" "$state/stages"; then
        echo "==> $name: passed before" >&2
        return
    fi
    passed=passed
    ! grep -q "^| $name | FAILED" "$state/stages" || passed="passed, having failed before"
    begin=$(date +%s)
    row "$name" "$([ "$passed" = passed ] || echo "FAILED before, ")not finished" 0
    rm -f "$state/status"
    { packaging/stage.sh "$name" "$@" 2>&1; echo $? >"$state/status"; } | tee "$state/$name.stage"
    if [ "$(cat "$state/status" 2>/dev/null)" != 0 ]; then
        result=FAILED
        status=1
    elif [ "$(git rev-parse HEAD)" != "$commit" ] || ! is_clean; then
        result="FAILED: the checkout has changed meanwhile"
        status=1
        # Nobody knows of what those were built.
        : >"$state/programs"
    else
        result=$passed
    fi
    row "$name" "$result" $((($(date +%s) - begin + 59) / 60))
}

skip() {
    row "$1" "SKIPPED: $2" 0
}

# What the stages have said, and the programs of the first.
said() {
    find "$state" -name '*.log' -exec cat {} +
    find "$state" -name '*.stage' ! -name tests.stage -exec cat {} +
}

write_report() {
    {
        echo "# Nightly run of $(date -u +%Y-%m-%d)"
        echo
        echo "Commit $commit, on $(nproc) cores, $(uname -sr)."
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
        said | grep -aoE '([0-9]+ names listed, |a tree: |random_io: |power_cut: |[0-9]+ MiB were taken; |everything was in the repository |[0-9]+ of [0-9]+ calls were answered; |[0-9]+ silent connections, |fuzz: ).*' |
            grep -vE ': seed [0-9]' | sed 's/^/* /'
        echo
        echo "## Seeds"
        echo
        said | sed -n -e 's/^\(.*: seed [0-9]*\).*/* \1/p' -e 's/^\(TIDEGATE[A-Z_]*SEED=[0-9]*.*\)/* \1/p' | sort -u
        echo
        echo "## Skipped"
        echo
        said | grep -aE '(: skipped: |^skipped: |^not run: )' | sort -u | sed 's/^/* /'
        echo
        echo "## Tests"
        echo
        echo '```text'
        said | grep -aE '^test .*(FAILED|failed)|^test result:' | sort | uniq -c | sort -rn
        echo '```'
        echo
        echo "## Demo"
        echo
        echo '```text'
        sed -n '/^copying /,/^==>/p' "$state/demo.stage"
        echo '```'
    } >"$report"
    echo "report: $report" >&2
}
trap write_report EXIT
trap 'exit 1' HUP INT TERM

# The demo's newer tree, for a client to unpack: it is fetched here when the demo has not run before.
newest='import pathlib, sys, sources; print(sources.choose(None, pathlib.Path(sys.argv[1]), 0)[-1].path)'
TIDEGATE_TREE="${TIDEGATE_TREE:-$(PYTHONPATH=integration/demo python3 -c "$newest" "$cache" | tail -n 1)}"
export TIDEGATE_TREE
# First the programs that take longest.
run "tests" python3 integration/lanes.py --kept "$state" \
    power_cut linux_client larger_than_disk crash_sweep sigkill tidegate_replicator
# Alone: a machine that is busy otherwise raises alarms of its own.
run "alerts" cargo test --release --workspace --test alerting -- --nocapture --test-threads 1
# Alone too, for its memory is measured: 100 million chunks, some 5 GB below TMPDIR, about two minutes.
run "collection" env "TIDEGATE_CHUNKS=${TIDEGATE_CHUNKS:-100000000}" cargo test --release --workspace --lib -- --nocapture \
     every_pack_is_as_alive_as_its_chunks_are_in_bounded_memory
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
