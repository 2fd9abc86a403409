#!/usr/bin/env bash
# Checks that the hot paths execute no more instructions than the committed figures say. With --bless the figures are
# rewritten: review them, and commit them with the change that made the difference. Installs valgrind on Debian if it is
# missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
figures="benches/counts/$(uname -m).toml"

ci/need.sh valgrind valgrind libc6-dbg
valgrind --version

cargo run --release -p benches --bin counts -- check "$figures" "$@"
echo "counts: ok"
