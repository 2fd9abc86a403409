#!/usr/bin/env bash
# Makes each ordering above Relaxed weaker, one at a time, and runs the models that come by until one
# notices: under loom, few switches first, then on the machine's atomics under Miri. Writes the table
# proofs/ORDERINGS.md, and fails if a weakening is neither noticed nor excused by a comment `Not caught: ...`
# at its place. Arguments are parts of `file:line`: only those sites are run. Verdicts are kept in the target
# folder, so what was stopped goes on where it was. Takes half an hour of a processor if nothing is kept; no
# step of .ci/run. Needs `rustup +nightly component add miri rust-src`.
#
# ORDERINGS_AGAIN=1 tries again what nothing noticed; ORDERINGS_FIRST='name name' begins with models whose
# functions have these in their names; ORDERINGS_LOOM_SECONDS=60, ORDERINGS_MODELS=99, ORDERINGS_MIRI_MODELS=99,
# ORDERINGS_EXECUTIONS=200 and ORDERINGS_SEEDS=10 look longer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p "${CARGO_TARGET_DIR:-target}/orderings"
target="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)"
cargo run -q -p loom-tests --bin orderings -- "$target/orderings" proofs/ORDERINGS.md "$@"
