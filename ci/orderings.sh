#!/usr/bin/env bash
# Weakens each ordering above Relaxed, one at a time, and runs the models that reach it until one notices: under loom,
# with few switches first, then on the machine's atomics under Miri. Writes the table verify/ORDERINGS.md, and fails if
# a weakening is neither noticed nor excused by a comment `Not caught: ...` at its site. Arguments are parts of
# `file:line`: only those sites are run. Verdicts are kept in the target folder, so an interrupted run can be continued.
# Takes half an hour of processor time if nothing is kept, so it is not a step of .ci/run. Needs `rustup +nightly
# component add miri rust-src`.
#
# ORDERINGS_AGAIN=1 retries the weakenings that no model noticed. ORDERINGS_FIRST='name name' starts with the models
# whose functions have these in their names. ORDERINGS_LOOM_SECONDS=60, ORDERINGS_MODELS=99, ORDERINGS_MIRI_MODELS=99,
# ORDERINGS_EXECUTIONS=200 and ORDERINGS_SEEDS=10 search longer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p "${CARGO_TARGET_DIR:-target}/orderings"
target="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)"
cargo run -q -p loom-tests --bin orderings -- "$target/orderings" verify/ORDERINGS.md "$@"
