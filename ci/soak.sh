#!/usr/bin/env bash
# Runs all random tests again and again for a number of seconds, each round with its own seed:
#
#   ci/soak.sh SECONDS [SEED]
#
# Rounds are numbered from SEED on (default: the time). A round that fails is named; `ci/soak.sh 0 ITS_SEED` repeats its
# choices, though threads may interleave differently. A round runs: the mix and the proofs of failures on all algorithms,
# histories against the sequential pool, in the system's schedules and in shuttle's, plain memory that is handed over,
# caches, the oracle's suite, signals, stopped threads, and forks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds="${1:?how many seconds?}"
seed="${2:-$(date +%s)}"
target="${CARGO_TARGET_DIR:-target}/soak"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT

round() { # seed, arguments of the test runner
    export GENPOOL_SEED="$1" PROPTEST_RNG_SEED="$1" CARGO_PROFILE_TEST_OPT_LEVEL=2
    shift
    CARGO_TARGET_DIR="$target" cargo test --no-fail-fast \
        -p genpool-algos -p genpool-core -p genpool -p linearizability \
        --test concurrent --test suite --test cache --test linearizability --test handover \
        --test signals --test stopped --test fork --test thread_exit --test algorithm --test chunks --test free --test pool --test refusals -- --nocapture "$@" &&
        RUST_BACKTRACE=0 RUSTFLAGS="--cfg genpool_loom --cfg genpool_shuttle" CARGO_TARGET_DIR="$target/shuttle" \
            cargo test -p linearizability --test shuttle -- --nocapture _threads "$@"
}

# Built before the time starts, by a round without tests.
if ! round "$seed" --list >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
echo "soak: from seed $seed on, for $seconds s"
began="$SECONDS"
rounds=0
while ((rounds == 0 || SECONDS - began < seconds)); do
    if ! round "$((seed + rounds))" >"$log" 2>&1; then
        cat "$log"
        echo "soak: FAILED in round $rounds; again with: ci/soak.sh 0 $((seed + rounds))" >&2
        exit 1
    fi
    rounds=$((rounds + 1))
    histories="$(grep -oE '[0-9]+ histories' "$log" | awk '{ sum += $1 } END { print sum + 0 }')"
    tests="$(grep -oE '[0-9]+ passed' "$log" | awk '{ sum += $1 } END { print sum + 0 }')"
    interrupts="$(grep -oE '[0-9]+ interrupts' "$log" | head -1)"
    echo "soak: $((SECONDS - began)) s, seed $((seed + rounds - 1)): $tests tests, $histories histories, $interrupts"
done
echo "soak: ok, $rounds rounds in $((SECONDS - began)) s"
