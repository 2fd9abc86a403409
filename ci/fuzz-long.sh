#!/usr/bin/env bash
# Fuzzes each target for a number of seconds (default: an hour) and keeps the smallest set of inputs with the same
# coverage: ci/fuzz-long.sh [SECONDS]. In the same time it must find the planted mistake of each target. Uses all
# processors.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds="${1:-3600}"

# Installs what is missing, and fails at once if something is broken.
ci/fuzz.sh 1

kept="$(mktemp -d)"
trap 'rm -rf "$kept"' EXIT
for target in operations constraints trace tree; do
    with=(-max_len=2000)
    if [[ -e "verify/fuzz/$target.dict" ]]; then with+=("-dict=verify/fuzz/$target.dict"); fi
    mkdir "$kept/$target"
    cargo +nightly fuzz run --fuzz-dir verify/fuzz "$target" --jobs "$(nproc)" -- "${with[@]}" -max_total_time="$seconds"
    mkdir "$kept/$target.planted"
    if GENPOOL_PLANTED=1 cargo +nightly fuzz run --fuzz-dir verify/fuzz "$target" "$kept/$target.planted" "verify/fuzz/corpus/$target" \
        -- "${with[@]}" -max_total_time="$seconds" -artifact_prefix="$kept/" >"$kept/log" 2>&1 ||
        ! grep -q panicked "$kept/log"; then
        echo "fuzz-long: $target did not find its own mistake" >&2
        exit 1
    fi
    cargo +nightly fuzz run --fuzz-dir verify/fuzz "$target" "$kept/$target" "verify/fuzz/corpus/$target" -- \
        -merge=1 -set_cover_merge=1 -use_counters=0
    rm -r "verify/fuzz/corpus/$target"
    cp -r "$kept/$target" verify/fuzz/corpus/
    echo "fuzz-long: $target: $(find "verify/fuzz/corpus/$target" -type f | wc -l) inputs kept"
done
echo "fuzz-long: ok"
