#!/usr/bin/env bash
# Checks histories of many threads for linearizability, in schedules that shuttle picks, and controls that must be
# refused. PROOFS_TIMES=100 runs that many times longer. Arguments go to the test runner.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target="${CARGO_TARGET_DIR:-target}"

# Controls panic on purpose, and their backtraces say nothing.
export RUST_BACKTRACE=0 CARGO_PROFILE_TEST_OPT_LEVEL=2 CARGO_PROFILE_TEST_DEBUG=line-tables-only
RUSTFLAGS="--cfg genpool_loom --cfg genpool_shuttle" CARGO_TARGET_DIR="$target/shuttle" \
    cargo test -p linearizability --test shuttle -- --nocapture "$@"
