#!/usr/bin/env bash
# No module takes part in an import cycle, in any crate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly VERSION=0.2.0

if ! cargo-cycles --version 2>/dev/null | grep -qF "$VERSION"; then
    CARGO_PROFILE_RELEASE_LTO=off cargo install cargo-cycles --locked --version "$VERSION"
fi
# Not as `cargo cycles`, which passes it a word that it does not know.
cargo-cycles
echo "cycles: ok"
