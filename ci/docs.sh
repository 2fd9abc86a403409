#!/usr/bin/env bash
# Builds the documentation without a warning: what users see, the private texts of the core to which ARCHITECTURE.md
# refers, and the models. Users see no internal modules of the workspace. Each public item has an example; ci/test.sh
# runs them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target="${CARGO_TARGET_DIR:-target}"

python3 ci/doc-examples.py

# Without its cfg the crate of the models is empty, and its links are broken.
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --exclude loom-tests --no-deps
python3 ci/public-index.py
RUSTDOCFLAGS="-D warnings" cargo doc -p genpool-observe --all-features --no-deps
RUSTDOCFLAGS="-D warnings" CARGO_TARGET_DIR="$target/private-docs" \
    cargo doc -p genpool-core --no-deps --document-private-items
RUSTFLAGS="--cfg genpool_loom --cfg genpool_small" RUSTDOCFLAGS="-D warnings --cfg genpool_loom --cfg genpool_small" \
    CARGO_TARGET_DIR="$target/loom" cargo doc -p loom-tests --no-deps
echo "docs: ok"
