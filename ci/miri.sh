#!/usr/bin/env bash
# A short run under Miri: undefined behaviour, data races and leaks in the core and in the tests of
# the facade, under several schedules. Needs `rustup +nightly component add miri rust-src`.
# Arguments are the schedules' seeds; more than the two of a plain run take minutes each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# == 0)); then set -- 0 1; fi

logs="$(mktemp -d)"
trap 'rm -rf "$logs"' EXIT
export logs
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
export PROPTEST_CASES=4

tests() {
    cargo +nightly miri test -p genpool-core -p genpool --lib \
        --test genalloc --test decisions --test lifecycle --test stale --test cache --test facade \
        --test handover "$@"
}
# Memory has addresses there, which become pointers again.
memory() {
    MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-disable-isolation" cargo +nightly miri test \
        -p genpool-dma --lib --test genalloc --test pool --test allocator "$@"
}
# Without isolation, because proptest looks for a file of earlier failures.
one_seed() {
    MIRIFLAGS="-Zmiri-strict-provenance -Zmiri-disable-isolation -Zmiri-seed=$1" \
        tests --no-fail-fast >"$logs/$1" 2>&1 && touch "$logs/$1.ok"
    # One log at a time.
    printf '\n-- seed %s\n' "$1" | flock "$logs" cat - "$logs/$1"
}
export -f tests one_seed

# Built once; then a process for each seed, since Miri interprets a program on one processor.
tests --no-run
printf '%s\n' "$@" | xargs -P "$(nproc)" -I '{}' bash -c 'one_seed {}'

failed=0
if ! memory; then
    echo "miri: genpool-dma failed" >&2
    failed=1
fi
for seed; do
    if [[ ! -e "$logs/$seed.ok" ]]; then
        echo "miri: seed $seed failed" >&2
        failed=1
    fi
done
if ((!failed)); then echo "miri: ok, seeds $*"; fi
exit "$failed"
