#!/usr/bin/env bash
# Requires that rustc and clippy report no lint, neither in the crates as users build them nor in the code that loom
# explores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo clippy --workspace --all-targets -- -D warnings
cargo clippy -p genpool-dma --all-targets --all-features -- -D warnings

# Tables have only one entry there, so arithmetic on their sizes looks pointless.
RUSTFLAGS="--cfg genpool_loom --cfg genpool_small" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom" \
    cargo clippy -p genpool-core -p genpool-devm -p loom-tests --all-targets -- -D warnings -A clippy::modulo_one
RUSTFLAGS="--cfg genpool_loom --cfg genpool_shuttle" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/shuttle" \
    cargo clippy -p genpool-core -p linearizability --all-targets -- -D warnings -A clippy::modulo_one
echo "clippy: ok"
