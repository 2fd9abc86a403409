#!/usr/bin/env bash
# The hot paths execute no more instructions than the committed figures say. With --bless the figures
# are rewritten: to be looked at, and committed with the change that made the difference. Installs
# valgrind on Debian when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
figures="benches/counts/$(uname -m).toml"

if ! command -v valgrind >/dev/null; then
    as_root=()
    if [[ "$(id -u)" -ne 0 ]]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends valgrind libc6-dbg
fi
valgrind --version

cargo run --release -p benches --bin counts -- check "$figures" "$@"
echo "counts: ok"
