#!/usr/bin/env bash
# Runs the checks that take too long for .ci/run, one after the other, each with a time limit. Takes hours.
#
#   ci/long.sh [STEP...]
#
# Steps: loom_PART for each file of loom-tests/tests/models, miri shuttle sanitizers soak fuzz orderings mutants boards;
# default: all. Writes into the table verify/LONG.md what was run and how it ended; a step that is not run keeps its
# line. The output of each step is kept in target/long. Fails if a step fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs="${CARGO_TARGET_DIR:-target}/long"
mkdir -p "$logs"
readonly TABLE=verify/LONG.md
parts=(answers cache cached_refusal chunk_list chunks claims devices drain exhausted fast_paths hints ring run_index)
readonly LADDER=("${parts[@]/#/loom_}" miri shuttle sanitizers soak fuzz orderings mutants boards)
if (($# == 0)); then set -- "${LADDER[@]}"; fi

# The step's command, its time limit in seconds, and the lines of its output that say how much was done.
for part in "${parts[@]}"; do
    declare -a "loom_$part=('env GENPOOL_PREEMPTIONS=+1 ci/loom.sh $part::' 7200 'test result: .* [1-9][0-9]* passed')"
done
miri=("ci/miri.sh 1 2 3 4" 7200 '^miri:')
shuttle=("env PROOFS_TIMES=20 ci/shuttle.sh" 7200 'histories of')
sanitizers=("ci/sanitizers.sh" 1800 '^sanitizers:')
soak=("ci/soak.sh 600" 3600 '^soak:')
fuzz=("ci/fuzz-long.sh 600" 7200 '^fuzz-long:')
orderings=("ci/orderings.sh" 14400 '^orderings:')
# All mutants take a day, so each day of a month and a half runs its part, with the quick tests.
mutants=("ci/mutants.sh quick --shard $(($(date +%-j) % 48))/48" 7200 'mutants tested in')
boards=("ci/boards.sh" 1800 '^boards:')

# Writes a step's line into the table, in the order of the steps.
note() { # step, the line
    local lines name
    lines="$(grep -E '^\| [a-z_]+ \| `' "$TABLE" | grep -v "^| $1 |" || true)"
    lines+=$'\n'"$2"
    sed -n '1,/^|---/p' "$TABLE" >"$TABLE.next"
    for name in "${LADDER[@]}"; do
        grep "^| $name |" <<<"$lines" >>"$TABLE.next" || true
    done
    mv "$TABLE.next" "$TABLE"
}

failed=0
for step; do
    declare -n row="$step"
    began="$SECONDS" verdict=ok
    # shellcheck disable=SC2086 # words of a command line
    timeout "${row[1]}" ${row[0]} >"$logs/$step.log" 2>&1 </dev/null || verdict="FAILED ($?)"
    if [[ "$verdict" != ok ]]; then failed=1; fi
    said="$(grep -E "${row[2]}" "$logs/$step.log" | tail -1 | tr -d '|' || true)"
    line="| $step | \`${row[0]}\` | $(date +%F), $(git rev-parse --short HEAD) | $((SECONDS - began)) s | $verdict | $said |"
    note "$step" "$line"
    echo "long: $line"
done
exit "$failed"
