#!/usr/bin/env bash
# The README's main command, shortened, then the other things that the README shows: the recorded
# runs of the reference verified and replayed, and the examples.
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

cargo run --example quickstart
cargo run --example custom_algorithm
cargo run --features devm --example sram_driver

cargo run --release -- dt genpool-devm/tests/trees/board.dtb
for example in driver_buffers bar collections; do
    cargo run -p genpool-dma --example "$example"
done
cargo run -p genpool-observe --example grow_in_time
cargo run -p genpool-observe --example prometheus -- --once
trace="$(mktemp)"
trap 'rm -f "$trace"' EXIT
cargo run -p genpool-observe --example record -- "$trace"
cargo run --release -- replay --repeats 1 "$trace"
echo "main-job: ok"
