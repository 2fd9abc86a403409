#!/usr/bin/env bash
# Checks that every file is formatted as by rustfmt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all -- --check
cargo fmt --manifest-path verify/fuzz/Cargo.toml -- --check
cargo fmt --manifest-path verify/machines/Cargo.toml --all -- --check
rustfmt --check --edition 2024 benches/before/src/main.rs
echo "fmt: ok"
