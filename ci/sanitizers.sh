#!/usr/bin/env bash
# Runs the concurrent tests under ThreadSanitizer and AddressSanitizer, with the standard library built the same way and
# the real arc-swap: ci/sanitizers.sh [thread] [address]; default: both. Then runs the controls: a planted race and a
# planted overrun, which must be found. Needs `rustup +nightly component add rust-src`.
#
# ThreadSanitizer does not support fences. The pool has none (genpool-dma's are between a processor and a device), and
# there are no suppressions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# == 0)); then set -- thread address; fi
target="${CARGO_TARGET_DIR:-target}/sanitizers"
host="$(rustc +nightly -vV | sed -n 's/^host: //p')"

export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
# Threads of the test runner still hold memory when the process ends.
export ASAN_OPTIONS="detect_leaks=0"

tests() { # sanitizer, cargo's arguments
    local sanitizer="$1"
    shift
    RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer" \
        CARGO_TARGET_DIR="$target/$sanitizer" CARGO_PROFILE_TEST_OPT_LEVEL=1 CARGO_PROFILE_TEST_DEBUG=line-tables-only \
        cargo +nightly test -Zbuild-std --target "$host" "$@"
}

control() { # sanitizer, fault, what it is called
    local log
    log="$(mktemp)"
    if GENPOOL_PLANTED="$2" tests "$1" -p genpool --test handover plain >"$log" 2>&1 || ! grep -q "$3" "$log"; then
        cat "$log"
        echo "sanitizers: $1 did not find the $2" >&2
        exit 1
    fi
    rm "$log"
    echo "sanitizers: control: $1 finds the $2"
}

for sanitizer; do
    tests "$sanitizer" -p genpool-core -p genpool-algos -p genpool -p linearizability \
        --test handover --test algorithm --test chunks --test free --test pool --test refusals --test concurrent --test cache --test linearizability
    case "$sanitizer" in
        thread) control thread race 'data race' ;;
        address) control address overrun 'heap-buffer-overflow' ;;
    esac
done
echo "sanitizers: ok"
