#!/usr/bin/env bash
# Checks that every model holds in every interleaving that loom tries, that every control fails as it must, and that the
# number of executions of each is the one in loom-tests/MODELS.md. All models run with small words and tables, some also
# with the sizes that users get, and those of the chunk list also without arc-swap. Arguments go to the test runner: with a model's name, only that model runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target="${CARGO_TARGET_DIR:-target}"

log="$target/loom/models.log"
mkdir -p "$target/loom"

# Controls panic by the dozen, and their backtraces say nothing.
export RUST_BACKTRACE=0
models() { # cfg flags, arguments of the test runner
    local flags="$1"
    shift
    RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target/loom" \
        cargo test --release -p loom-tests --test models --no-fail-fast -- --nocapture "$@"
}
{
    models "--cfg genpool_loom --cfg genpool_small" "$@"
    # Few models run at full size, so that build optimises less.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 models "--cfg genpool_loom" "$@"
    if (($# == 0)); then set -- chunk_list chunks; fi
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        models "--cfg genpool_loom --cfg genpool_small --cfg genpool_own_list" "$@"
} | tee "$log"

if (($# > 0)); then
    exit 0
fi

# The sources say which models exist, the log which were explored.
missing=0
check() { # function, pattern of its line after the model's name
    local calls names name
    calls="$(cat loom-tests/tests/models/*.rs | grep -cE "\b$1\(")"
    names="$(cat loom-tests/tests/models/*.rs | tr -s '\n ' ' ' | grep -oE "\b$1\( ?\"[^\"]+\"" | cut -d'"' -f2)"
    if [[ "$(wc -l <<<"$names")" -ne "$calls" ]]; then
        echo "loom: a call of $1 does not begin with the model's name" >&2
        missing=1
    fi
    while read -r name; do
        if ! grep -qE "$name( at full size| without arc-swap)?: $2" "$log"; then
            echo "loom: '$name' of $1 reported no executions" >&2
            missing=1
        fi
    done <<<"$names"
    local reported
    reported="$(grep -cE ": $2" "$log" || true)"
    if ((reported < calls)); then
        echo "loom: $reported reports for $calls calls of $1" >&2
        missing=1
    fi
    echo "loom: $1: $calls in the sources, $reported reports"
}
check explore 'complete, [0-9]+ executions'
check must_fail 'control .* caught in execution [0-9]+'
if ((missing)); then exit 1; fi
# With other bounds the numbers differ.
if [[ -z "${GENPOOL_PREEMPTIONS:-}" ]]; then python3 ci/models.py "$log"; fi
echo "loom: ok"
