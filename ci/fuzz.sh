#!/usr/bin/env bash
# Fuzzes each target for a short time, after its committed inputs: ci/fuzz.sh [SECONDS [TARGET...]]. Then runs the
# control: each target makes a planted mistake, which an input of verify/fuzz/controls must show. (ci/fuzz-long.sh checks that
# fuzzing finds it, which may take a minute.) Other findings are in verify/fuzz/artifacts. New inputs are discarded;
# ci/fuzz-long.sh keeps them. Needs a nightly toolchain and a C++ compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.13.2 # of cargo-fuzz
seconds="${1:-5}"
shift || true
if (($# == 0)); then set -- operations constraints trace tree; fi

if ! cargo fuzz --version 2>/dev/null | grep -qF "$VERSION"; then
    # Optimised for build time, not speed.
    CARGO_PROFILE_DEV_DEBUG=false cargo install cargo-fuzz --version "$VERSION" --locked --profile dev
fi
ci/need.sh c++ g++

# Building takes longer than the short run. ci/fuzz-long.sh runs longer.
export CARGO_PROFILE_RELEASE_OPT_LEVEL="${CARGO_PROFILE_RELEASE_OPT_LEVEL:-1}"

new="$(mktemp -d)"
trap 'rm -rf "$new"' EXIT
export new seconds

# Fuzzes a target, then runs its control.
one() { # target
    mkdir "$new/$1"
    local with=(-max_len=2000)
    if [[ -e "verify/fuzz/$1.dict" ]]; then with+=("-dict=verify/fuzz/$1.dict"); fi
    cargo +nightly fuzz run --fuzz-dir verify/fuzz "$1" "$new/$1" "verify/fuzz/corpus/$1" -- "${with[@]}" \
        -max_total_time="$seconds" -seed=1 -print_final_stats=1 >"$new/$1.log" 2>&1 || return
    local control=(cargo +nightly fuzz run --fuzz-dir verify/fuzz "$1" "verify/fuzz/controls/$1" -- -artifact_prefix="$new/")
    "${control[@]}" >>"$new/$1.log" 2>&1 || return
    if GENPOOL_PLANTED=1 "${control[@]}" >"$new/$1.control" 2>&1 || ! grep -q panicked "$new/$1.control"; then
        echo "fuzz: $1: its own mistake does not show with verify/fuzz/controls/$1" >>"$new/$1.log"
        return 1
    fi
    touch "$new/$1.ok"
}
export -f one

cargo +nightly fuzz build --fuzz-dir verify/fuzz
printf '%s\n' "$@" | xargs -P "$(nproc)" -I '{}' bash -c 'one {}' || true
failed=0
for target; do
    if [[ -e "$new/$target.ok" ]]; then
        runs="$(grep -oE 'number_of_executed_units: *[0-9]+' "$new/$target.log" | grep -oE '[0-9]+')"
        echo "fuzz: $target: $runs inputs in $seconds s; its control is noticed"
    else
        cat "$new/$target.log"
        echo "fuzz: $target failed" >&2
        failed=1
    fi
done
exit "$failed"
