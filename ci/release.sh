#!/usr/bin/env bash
# All that has to hold before a release, beyond .ci/run: every package builds by itself from what would
# be published, documentation builds as docs.rs builds it, and the version says what has changed since the
# last tag. Not part of .ci/run: it builds cargo-semver-checks when it is missing (some minutes), and
# everything once more. Arguments go to `cargo publish`, such as --allow-dirty.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ci/packages.sh "$@"
cargo publish --workspace --dry-run --locked "$@"

# As docs.rs does it: nightly, all features, and what needs which of them is shown.
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
    # What is for tests and for the command alone promises nothing.
    cargo semver-checks --workspace --baseline-rev "$last" --exclude genpool-plain --exclude genpool-cli
fi
echo "release: ok"
