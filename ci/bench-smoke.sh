#!/usr/bin/env bash
# Compiles the benches and runs each once, with every option that changes what they do. The figures mean nothing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Without debug information the profile equals that of release, so one build serves both.
CARGO_PROFILE_BENCH_DEBUG=false cargo bench -p benches -- --test
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
# The loads have to compile with the earlier genpool too. A shallow clone does not have it.
if git cat-file -e "$(benches/before.sh --commit)^{commit}" 2>/dev/null; then
    benches/before.sh
else
    echo "bench-smoke: the earlier genpool is not in this clone"
fi
targets() { cargo run --release -p benches --bin targets -- --quick "$@"; }
targets --csv "$out/figures.csv" --svg "$out/ratios.svg"
rows="$(wc -l <"$out/figures.csv")"
if ((rows < 100)) || ! grep -q '</svg>' "$out/ratios.svg"; then
    echo "bench-smoke: $rows rows of figures, and a picture that should be whole" >&2
    exit 1
fi
targets --only pair,churn --runs 2 --rounds 1 --threads 1 --granules 16384 --order 0 --occupancy 50
echo "bench-smoke: ok"
