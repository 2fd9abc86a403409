#!/usr/bin/env bash
# The hot paths execute no more instructions than the committed figures say. With --bless the figures
# are rewritten: to be looked at, and committed with the change that made the difference. Installs
# valgrind on Debian when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
figures="benches/counts/$(uname -m).toml"

ci/need.sh valgrind valgrind libc6-dbg
valgrind --version

cargo run --release -p benches --bin counts -- check "$figures" "$@"
echo "counts: ok"
