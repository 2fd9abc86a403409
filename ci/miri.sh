#!/usr/bin/env bash
# A short run under Miri: undefined behaviour, data races and leaks in the core, in the tests of the
# facade, and in genpool-dma. Needs `rustup +nightly component add miri rust-src`.
# Arguments are the seeds of the schedules of the former; each takes minutes, so a plain run has one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# == 0)); then set -- 0; fi

logs="$(mktemp -d)"
trap 'rm -rf "$logs"' EXIT
export logs
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
export PROPTEST_CASES=4

tests() {
    cargo +nightly miri test -p genpool-core -p genpool --lib \
        --test genalloc --test decisions --test lifecycle --test stale --test cache --test facade \
        --test many_chunks --test handover "$@"
}
# In genpool-dma memory has addresses, which become pointers again.
memory() {
    MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-disable-isolation" cargo +nightly miri test \
        -p genpool-dma --lib --test genalloc --test pool --test allocator "$@"
}
# Without isolation, because proptest looks for a file of earlier failures.
seed() {
    MIRIFLAGS="-Zmiri-strict-provenance -Zmiri-disable-isolation -Zmiri-seed=$1" tests --no-fail-fast
}
# A function with its argument; its log when it is done, one at a time.
one() {
    "$@" >"$logs/$*" 2>&1 && touch "$logs/$*.ok"
    printf '\n-- %s\n' "$*" | flock "$logs" cat - "$logs/$*"
}
export -f tests memory seed one

# Built once; then a process for each, since Miri interprets a program on one processor.
tests --no-run
memory --no-run
printf 'seed %s\n' "$@" | cat - <(echo memory) | xargs -P "$(nproc)" -I '{}' bash -c 'one {}'

failed=0
for run in "${@/#/seed }" memory; do
    if [[ ! -e "$logs/$run.ok" ]]; then
        echo "miri: $run failed" >&2
        failed=1
    fi
done
if ((!failed)); then echo "miri: ok, seeds $*"; fi
exit "$failed"
