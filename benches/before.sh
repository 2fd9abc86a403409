#!/usr/bin/env bash
# Builds the program with which `targets` runs genpool as it was at the commit that the targets are compared with. It
# needs the history of this repository, and no network that the repository's own build does not need. With --commit it
# prints the commit and does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
commit="$(sed -n 's/^pub const COMMIT: &str = "\(.*\)";$/\1/p' benches/src/before.rs)"
if [[ "${1:-}" == --commit ]]; then
    echo "$commit"
    exit
fi

tree=target/before/tree
if [[ "$(cat "$tree.commit" 2>/dev/null)" != "$commit" ]]; then
    rm -rf "$tree"
    mkdir -p "$tree"
    git archive "$commit" | tar -x -C "$tree"
    echo "$commit" >"$tree.commit"
fi
# The same versions of everything else.
cp Cargo.lock benches/before/Cargo.lock
CARGO_TARGET_DIR=target/before/build \
    cargo build --release --manifest-path benches/before/Cargo.toml
echo "before: $commit is built; targets finds it"
