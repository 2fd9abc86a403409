#!/usr/bin/env bash
# The long ladder: what takes too long for .ci/run, one after the other, each with a bound on its time. Hours.
#
#   ci/long.sh [STEP...]
#
# Steps: loom miri shuttle sanitizers soak fuzz plants orderings mutants boards; all unless said. Prints a table of what
# was run and how it ended; each step's output is kept under target/long. Fails if a step does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs="${CARGO_TARGET_DIR:-target}/long"
mkdir -p "$logs"
if (($# == 0)); then set -- loom miri shuttle sanitizers soak fuzz plants orderings mutants boards; fi

# Its command, the seconds that it may take, and the lines of its output that say how much was done.
loom=("env GENPOOL_PREEMPTIONS=+1 ci/loom.sh" 7200 '^loom:')
miri=("ci/miri.sh 1 2 3 4 5 6 7 8" 7200 '^miri:')
shuttle=("env PROOFS_TIMES=60 ci/shuttle.sh" 7200 'histories of')
sanitizers=("ci/sanitizers.sh" 1800 '^sanitizers:')
soak=("ci/soak.sh 3600" 7200 '^soak:')
fuzz=("ci/fuzz-long.sh 1800" 10800 '^fuzz-long:')
plants=("ci/plants.sh" 7200 '^plants:')
orderings=("ci/orderings.sh" 14400 '^orderings:')
mutants=("ci/mutants.sh" 28800 '^mutants:')
boards=("ci/boards.sh" 1800 '^boards:')

failed=0
rows=()
for step; do
    declare -n row="$step"
    began="$SECONDS" verdict=ok
    timeout "${row[1]}" ${row[0]} >"$logs/$step.log" 2>&1 </dev/null || verdict="FAILED ($?)"
    if [[ "$verdict" != ok ]]; then failed=1; fi
    said="$(grep -E "${row[2]}" "$logs/$step.log" | tail -1 | tr -d '|' || true)"
    rows+=("| \`${row[0]}\` | $((SECONDS - began)) s | $verdict | $said |")
    echo "long: $step: ${rows[-1]}"
done
printf '\n| command | took | | its last words |\n|---|---|---|---|\n'
printf '%s\n' "${rows[@]}"
exit "$failed"
