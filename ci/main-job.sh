#!/usr/bin/env bash
# Runs the README's main command, shortened, and then the other commands that the README shows: it verifies and replays
# the recorded runs of the reference, compares the traces of real programs, and lists the pools of a board.
# ci/examples.sh runs the examples.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="cargo run --release -- run"
if ! grep -qxF "$command" README.md; then
    echo "main-job: README.md gives another main command than '$command'" >&2
    exit 1
fi
$command --seconds 2

cargo run --release -- verify genpool-cli/tests/traces/linux-6.12/*.trace
cargo run --release -- replay --repeats 1 genpool-cli/tests/traces/linux-6.12/mixed-*.trace
cargo run --release -- compare --repeats 3 genpool-cli/traces/*.trace

cargo run --release -- dt examples/board.dtb

trace="$(mktemp)"
trap 'rm -f "$trace"' EXIT
cargo run -p genpool-observe --example record -- "$trace"
cargo run --release -- replay --repeats 1 "$trace"
echo "main-job: ok"
