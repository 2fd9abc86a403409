#!/usr/bin/env bash
# Every file is formatted as rustfmt does it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all -- --check
cargo fmt --manifest-path fuzz/Cargo.toml -- --check
echo "fmt: ok"
