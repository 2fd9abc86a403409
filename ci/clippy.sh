#!/usr/bin/env bash
# Requires that rustc and clippy report no lint, neither in the crates as users build them nor in the code that loom
# explores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rustup target add thumbv7em-none-eabihf x86_64-unknown-none

cargo clippy --workspace --all-targets -- -D warnings
cargo clippy -p genpool-dma --all-targets --all-features -- -D warnings

# Without the standard library, and without a heap.
cargo clippy -p genpool -p genpool-algos -p genpool-core --no-default-features -- -D warnings
cargo clippy -p genpool -p genpool-algos -p genpool-core --no-default-features --features genpool/alloc -- -D warnings
cargo clippy -p genpool -p genpool-algos -p genpool-core --no-default-features \
    --features genpool/alloc,genpool/portable-atomic -- -D warnings
(
    cd verify/machines
    # One after the other: together they have the features of both, and one has no heap.
    cargo clippy --target thumbv7em-none-eabihf -p machine-cortex-m -- -D warnings
    cargo clippy --target thumbv7em-none-eabihf -p machine-cortex-m --no-default-features -- -D warnings
    cargo clippy --target thumbv7em-none-eabihf -p machine-size -- -D warnings
    cargo clippy --target x86_64-unknown-none -p machine-x86-64 -- -D warnings
)

# Tables have only one entry there, so arithmetic on their sizes looks pointless.
RUSTFLAGS="--cfg genpool_loom --cfg genpool_small" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom" \
    cargo clippy -p genpool-core -p genpool-devm -p loom-tests --all-targets -- -D warnings -A clippy::modulo_one
RUSTFLAGS="--cfg genpool_loom --cfg genpool_shuttle" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/shuttle" \
    cargo clippy -p genpool-core -p linearizability --all-targets -- -D warnings -A clippy::modulo_one
echo "clippy: ok"
