#!/usr/bin/env bash
# The packages are ready to be published, as far as that takes no compiler: licences and sources of all
# dependencies, what the packages' pages show, and their files, in the order of publishing.
# ci/release.sh has the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 ci/packages.py
grep -qx 'publish = false' fuzz/Cargo.toml

# Tests are left out of the packages, which cargo says of each. Any other warning is one too many.
log="$(cargo publish --workspace --dry-run --no-verify "$@" 2>&1)" || { echo "$log" >&2; exit 1; }
grep -E 'Packag(ing|ed)' <<<"$log"
if grep '^warning' <<<"$log" | grep -vE 'ignoring (test|benchmark) |aborting upload due to dry run'; then
    echo "packages: cargo publish warns" >&2
    exit 1
fi
echo "packages: ok"
