#!/usr/bin/env bash
# A short run under Miri: undefined behaviour, data races and leaks in the core, in the tests of the facade, and in
# genpool-dma. Needs `rustup +nightly component add miri rust-src`. Arguments are the seeds of the schedules for the
# core and the facade. Each seed takes minutes, so the default is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# == 0)); then set -- 0; fi

logs="$(mktemp -d)"
trap 'rm -rf "$logs"' EXIT
export logs
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
export PROPTEST_CASES=4

# The command line of each group, the longest group first, because each runs on one processor.
tests=(
    "-p genpool --lib --test genalloc --test alloc --test algorithm --test refusals --test facade"
    "-p genpool --test chunks --test free --test pool --test handover"
    "-p genpool-core --test stale --test cache --test tightest --test static_pool"
    "-p genpool-core --lib"
    "-p genpool --test many_chunks"
)
# In genpool-dma memory has addresses, which are converted back to pointers.
memory="-p genpool-dma --lib --test genalloc --test pool --test allocator"

# Runs a group with a seed, or the memory tests without one, and prints the log when it is done, one at a time.
# Isolation is off, because proptest looks for a file of earlier failures.
one() {
    local seed="$1" flags="-Zmiri-disable-isolation" name
    shift
    name="$seed $*"
    if [[ "$seed" == memory ]]; then
        flags+=" -Zmiri-permissive-provenance"
    else
        flags+=" -Zmiri-strict-provenance -Zmiri-seed=$seed"
    fi
    # shellcheck disable=SC2086 # words of a command line
    MIRIFLAGS="$flags" cargo +nightly miri test --no-fail-fast $* >"$logs/$name" 2>&1 && touch "$logs/$name.ok"
    printf '\n-- %s\n' "$name" | flock "$logs" cat - "$logs/$name"
}
export -f one

# Built once; then each runs in its own process.
for group in "${tests[@]}" "$memory"; do
    # shellcheck disable=SC2086 # as above
    cargo +nightly miri test --no-run $group
done
runs=()
for seed; do
    for group in "${tests[@]}"; do runs+=("$seed $group"); done
done
runs+=("memory $memory")
printf '%s\n' "${runs[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'one {}'

failed=0
for run in "${runs[@]}"; do
    if [[ ! -e "$logs/$run.ok" ]]; then
        echo "miri: $run failed" >&2
        failed=1
    fi
done
if ((!failed)); then echo "miri: ok, seeds $*"; fi
exit "$failed"
