#!/usr/bin/env bash
# Runs programs over real memory under valgrind, which must report no error: the sources of memory, mappings that are
# added and removed, collections in a pool, and the binary. Installs valgrind on Debian if it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ci/need.sh valgrind valgrind libc6-dbg
valgrind --version

under=(--config 'target."cfg(all())".runner = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]')
cargo test "${under[@]}" -p genpool-dma --test sources --test mappings --test allocator -- --test-threads=1
cargo run "${under[@]}" -p genpool-dma --example collections
cargo run "${under[@]}" -p genpool-cli --bin genpool -- run --seconds 1 --threads 1 --size 256K
echo "valgrind: ok"
