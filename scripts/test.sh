#!/usr/bin/env bash
# Everything that must be green: format, lints, unit and integration tests, both SDK suites, the browser test,
# what operators get, and the cluster of compose.yaml where a Docker engine runs or can be installed.
# Usage: scripts/test.sh [--only rust|js|python|browser|operate|smoke]
# Logs go to test-artifacts/; the last lines say what was skipped and sum what ran.
set -uo pipefail
cd "$(dirname "$0")/.."

only=all
case "${1:-}" in
    "") ;;
    --only) only="${2:?--only wants rust, js, python, browser, operate or smoke}" ;;
    *) echo "usage: scripts/test.sh [--only rust|js|python|browser|operate|smoke]" >&2; exit 64 ;;
esac
case "$only" in
    all) parts="rust deny nats clock nginx redis prometheus compose node python browser" ;;
    rust) parts="rust deny nats clock" ;;
    js) parts="rust nats clock nginx redis compose node" ;;
    python) parts="rust nats python" ;;
    browser) parts="rust nats nginx node browser" ;;
    operate) parts="rust nats prometheus node python browser" ;;
    smoke) parts="rust nats compose node" ;;
    *) echo "scripts/test.sh: no suite $only" >&2; exit 64 ;;
esac

artifacts="$PWD/test-artifacts"
rm -rf "$artifacts"
mkdir -p "$artifacts"
passed=0
failed=0
skipped=""
export PATH="$PWD/.tools/bin:$PATH"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

wanted() { [ "$only" = all ] || [ "$only" = "$1" ]; }

# total LOG LINES WORDS: the sum of the numbers in WORDS (a pattern) on those lines of the log that match LINES.
total() { { grep -E "$2" "$1" | grep -oE "$3" | grep -oE '[0-9]+' || true; } | awk '{ sum += $1 } END { print sum + 0 }'; }

# section TITLE LINES GOOD BAD COMMAND...: runs the command and adds what its closing lines say.
# A command that fails without having counted a failure counts as one; one that ends with SKIPPED could not run here.
SKIPPED=77
section() {
    local title="$1" lines="$2" good_words="$3" bad_words="$4"
    shift 4
    local log="$artifacts/${title// /-}.log" started=$SECONDS status=0 good=0 bad=0
    echo "=== $title"
    "$@" 2>&1 </dev/null | tee "$log"
    status=${PIPESTATUS[0]}
    if [ "$status" = "$SKIPPED" ]; then
        skipped="${skipped:+$skipped, }$title"
        echo "--- $title: SKIPPED"
        return
    fi
    if [ -n "$lines" ]; then
        good=$(total "$log" "$lines" "$good_words")
        bad=$(total "$log" "$lines" "$bad_words")
    fi
    if [ "$status" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "--- $title: $([ "$bad" = 0 ] && echo ok || echo FAILED) in $((SECONDS - started)) s"
    [ "$bad" = 0 ]
}

check() { section "$1" "" "" "" "${@:2}"; }
cargo_tests() { section "$1" '^test result: ' '[0-9]+ passed' '[0-9]+ failed' "${@:2}"; }
node_tests() { section "$1" '^(#|ℹ) (pass|fail|cancelled) [0-9]+$' 'pass [0-9]+' '(fail|cancelled) [0-9]+' "${@:2}"; }
smoke_tests() { section "$1" '^[0-9]+ passed, [0-9]+ failed$' '[0-9]+ passed' '[0-9]+ failed' "${@:2}"; }
python_tests() { section "$1" ' in [0-9.]+s' '[0-9]+ passed' '[0-9]+ (failed|error)' "${@:2}"; }

deny() { cargo deny --locked --log-level error check --hide-inclusion-graph bans licenses sources; }
# Against a list that is fetched: without it nothing is known.
advisories() {
    cargo deny --locked fetch db || { echo "the list of advisories cannot be fetched here"; return "$SKIPPED"; }
    cargo deny --locked check --disable-fetch advisories
}

# Whether they build; running them takes nightly (fuzz/README.md). Nothing is linked, so libFuzzer, which would take a
# C++ compiler, is named and not built. With the versions and the profile of the main workspace what clippy has checked
# before is not checked again.
fuzz_targets() {
    cp Cargo.lock fuzz/Cargo.lock
    CUSTOM_LIBFUZZER_PATH=/not-built/libfuzzer.a \
        cargo check --quiet --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}"
}

at_most="timeout --kill-after=20 30m" # a suite that hangs fails, it does not hold everybody up
# With the bridge to Redis everywhere, as the image has it; that it can be left out is checked beside.
features="--features midplane/redis"
without_redis() { cargo check --quiet --locked; }
cargo_suite() { $at_most cargo test --quiet $features --workspace --locked --no-fail-fast; }
js_suite() { (cd tests/sdk/js && $at_most node --test --test-reporter=spec --test-concurrency=3 ./*.test.mjs); }
browser_suite() { $at_most node --test --test-reporter=spec --test-concurrency=1 tests/browser/*.test.mjs; }
python_suite() { (cd tests/sdk/python && $at_most ../../../.tools/venv/bin/python -m pytest -q -p no:cacheprovider); }
# Starts an engine where none runs, which takes root and apt-get; where there can be none it says so.
smoke_suite() { SMOKE_SKIPPED="$SKIPPED" $at_most scripts/smoke.sh; }
operate_suite() { (cd tests/operate && $at_most ../../.tools/venv/bin/python -m pytest -q -p no:cacheprovider); }

check "tools" scripts/install-tools.sh $parts
if wanted rust; then
    check "format" cargo fmt --all --check
    check "clippy" cargo clippy --quiet $features --workspace --all-targets --locked -- -D warnings
    check "without the bridge to Redis" without_redis
    check "licences and sources" deny
    check "advisories" advisories
    check "fuzz targets build" fuzz_targets
    cargo_tests "cargo test" cargo_suite
fi
if [ "$only" != rust ]; then
    check "build" cargo build --quiet $features --locked --bins --examples
    export MIDPLANE_BIN="${MIDPLANE_BIN:-$PWD/target/debug/midplane}" # one binary for all suites
fi
if wanted js; then node_tests "js SDK" js_suite; fi
if wanted python; then python_tests "python SDK" python_suite; fi
if wanted browser; then node_tests "browser" browser_suite; fi
if wanted operate; then python_tests "operate" operate_suite; fi
if wanted smoke; then smoke_tests "smoke" smoke_suite; fi

[ -z "$skipped" ] || echo "skipped: $skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
