#!/usr/bin/env bash
# The benches compile and run once; their figures mean nothing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Without debug information the profile is that of release, and one build serves both.
CARGO_PROFILE_BENCH_DEBUG=false cargo bench -p benches -- --test
cargo run --release -p benches --bin targets -- --quick
echo "bench-smoke: ok"
