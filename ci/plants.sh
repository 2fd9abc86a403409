#!/usr/bin/env bash
# Plants the bugs of proofs/plants, one at a time, in a copy of the tree, and requires that a part of what CI
# runs notices each: the commands under "Caught by:" in its file must fail, by a test. Arguments are names of
# bugs; all unless said. Minutes for each, since half of the crates is built again. With --check alone only
# whether they can be planted still, which CI asks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"
for patch in proofs/plants/*.patch; do git apply --check "$patch"; done
if [[ "${1:-}" == --check ]]; then
    echo "plants: ok"
    exit
fi
if (($# == 0)); then
    set -- proofs/plants/*.patch
    set -- "${@##*/}"
fi

copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
# Built quickly, since little of it runs.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 RUST_BACKTRACE=0
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/plants"
# Seconds for a command. One that hangs has noticed too.
readonly LIMIT=900

missed=0
for name; do
    patch="$root/proofs/plants/${name%.patch}.patch"
    # With the time of now, for cargo goes by that.
    git ls-files -z | tar --null -T - -cf - | tar xmf - -C "$copy"
    (cd "$copy" && git apply "$patch")
    while read -r command; do
        status=0
        (cd "$copy" && timeout "$LIMIT" $command) >"$copy.log" 2>&1 </dev/null || status=$?
        found="$(sed -n '/^failures:$/,/^test result/s/^    //p' "$copy.log" | sort -u | paste -sd ' ')"
        # Some panic where a panic is on its way, which ends the process.
        if [[ -z "$found" ]]; then found="$(grep -oE 'signal: [0-9]+, SIG[A-Z]+' "$copy.log" | head -1 || true)"; fi
        if ((status == 0)) || [[ -z "$found" && "$status" -ne 124 ]]; then
            tail -30 "$copy.log"
            echo "plants: ${name%.patch}: NOT noticed by '$command'" >&2
            missed=1
        else
            echo "plants: ${name%.patch}: '$command': ${found:-no end}"
        fi
    done < <(sed -n 's/^Caught by: //p' "$patch")
done
rm -f "$copy.log"
exit "$missed"
