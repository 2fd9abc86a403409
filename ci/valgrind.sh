#!/usr/bin/env bash
# Programs over real memory run under valgrind, without an error that it can see: the sources of memory, mappings
# that come and go, collections in a pool, and the binary. Installs valgrind on Debian when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ci/need.sh valgrind valgrind libc6-dbg
valgrind --version

under=(--config 'target."cfg(all())".runner = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]')
cargo test "${under[@]}" -p genpool-dma --test sources --test mappings --test allocator -- --test-threads=1
cargo run "${under[@]}" -p genpool-dma --example collections
cargo run "${under[@]}" -p genpool-cli --bin genpool -- run --seconds 1 --threads 1 --size 256K
echo "valgrind: ok"
