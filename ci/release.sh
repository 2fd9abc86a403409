#!/usr/bin/env bash
# Checks what a release requires beyond .ci/run: every package builds by itself from what would be published, the
# documentation builds as on docs.rs, and the version reflects the changes since the last tag. Not part of .ci/run,
# because it builds cargo-semver-checks if it is missing (some minutes), and everything once more. Arguments go to
# `cargo publish`, such as --allow-dirty.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ci/packages.sh "$@"
cargo publish --workspace --dry-run --locked "$@"

# As docs.rs does it: nightly, all features, and marks on what needs which feature.
for manifest in Cargo.toml genpool-*/Cargo.toml; do
    RUSTDOCFLAGS="-D warnings --cfg docsrs" \
        cargo +nightly doc --manifest-path "$manifest" --all-features --no-deps --lib
done

last="$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)"
if [[ -z "$last" ]]; then
    echo "release: there is no tag v* yet, so nothing to compare the API with"
else
    if ! command -v cargo-semver-checks >/dev/null; then
        cargo install cargo-semver-checks --locked --profile dev
    fi
    # The crates for tests, and the command itself, promise no stable API.
    cargo semver-checks --workspace --baseline-rev "$last" --exclude genpool-plain --exclude genpool-cli
fi
echo "release: ok"
