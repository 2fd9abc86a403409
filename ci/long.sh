#!/usr/bin/env bash
# The long ladder: what takes too long for .ci/run, one after the other, each with a bound on its time. Hours.
#
#   ci/long.sh [STEP...]
#
# Steps: loom_PART for each file of loom-tests/tests/models, miri shuttle sanitizers soak fuzz orderings
# mutants boards; all unless said. Writes into the table proofs/LONG.md what was run and how it ended; a step that is
# not run keeps its line. Each step's output is kept under target/long. Fails if a step does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs="${CARGO_TARGET_DIR:-target}/long"
mkdir -p "$logs"
readonly TABLE=proofs/LONG.md
parts=(cache chunks claims devices hints honest lengths ring)
readonly LADDER=("${parts[@]/#/loom_}" miri shuttle sanitizers soak fuzz orderings mutants boards)
if (($# == 0)); then set -- "${LADDER[@]}"; fi

# Its command, the seconds that it may take, and the lines of its output that say how much was done.
for part in "${parts[@]}"; do
    declare -a "loom_$part=('env GENPOOL_PREEMPTIONS=+1 ci/loom.sh $part::' 7200 'test result: .* [1-9][0-9]* passed')"
done
miri=("ci/miri.sh 1 2 3 4" 7200 '^miri:')
shuttle=("env PROOFS_TIMES=20 ci/shuttle.sh" 7200 'histories of')
sanitizers=("ci/sanitizers.sh" 1800 '^sanitizers:')
soak=("ci/soak.sh 600" 3600 '^soak:')
fuzz=("ci/fuzz-long.sh 600" 7200 '^fuzz-long:')
orderings=("ci/orderings.sh" 14400 '^orderings:')
# All of them are a day: each day of a month and a half has its part, which quick tests look at.
mutants=("ci/mutants.sh quick --shard $(($(date +%-j) % 48))/48" 7200 'mutants tested in')
boards=("ci/boards.sh" 1800 '^boards:')

# Puts a step's line into the table, in the ladder's order.
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
