#!/usr/bin/env bash
# Checks that the packages are ready to be published, as far as that needs no build: licences, sources and versions of
# all dependencies (cargo-deny, installed if it is missing), what the packages' pages show, and their files, in the
# order of publishing. ci/release.sh does the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.20.2 # of cargo-deny

if ! cargo deny --version 2>/dev/null | grep -qF "$VERSION"; then
    # Optimised for build time, not speed.
    CARGO_PROFILE_DEV_DEBUG=false cargo install cargo-deny --version "$VERSION" --locked --profile dev
fi
# Without advisories, which change from day to day and are fetched from elsewhere.
cargo deny --locked check licenses bans sources

python3 ci/packages.py
grep -qx 'publish = false' verify/fuzz/Cargo.toml

# Tests are left out of the packages, and cargo warns of each. Any other warning is an error.
log="$(cargo publish --workspace --dry-run --no-verify "$@" 2>&1)" || { echo "$log" >&2; exit 1; }
grep -E 'Packag(ing|ed)' <<<"$log"
if grep '^warning' <<<"$log" | grep -vE 'ignoring (test|benchmark) |aborting upload due to dry run'; then
    echo "packages: cargo publish warns" >&2
    exit 1
fi
echo "packages: ok"
