#!/usr/bin/env bash
# Tests the core, the algorithms and the facade with words of 32 bits: as i686, which x86-64 machines run. Then most of it
# again as it is without the standard library and on processors without compare-and-swap: the pool's own hazard pointers
# own the list of chunks, in place of arc-swap, and the atomics are those of portable-atomic.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ "$(uname -m)" != x86_64 ]]; then
    echo "narrow: this machine does not run i686: nothing done"
    exit
fi
target=i686-unknown-linux-musl
rustup target add "$target"
# The linker that comes with Rust, so that no system packages are needed.
export CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER=rust-lld PROPTEST_CASES=32
cargo test --target "$target" -p genpool-core -p genpool-scripts --lib --tests
export RUSTFLAGS="${RUSTFLAGS:-} --cfg genpool_own_list"
cargo test --target "$target" -p genpool-core --features portable-atomic --lib --test cache --test stale --test static_pool
cargo test --target "$target" -p genpool-algos -p genpool --features genpool/portable-atomic --test suite --test constrained --test algorithm --test alloc \
    --test chunks --test free --test genalloc --test many_chunks --test pool --test refusals
echo "narrow: ok"
