#!/usr/bin/env bash
# Builds and runs every example of every crate; each checks itself. The list is taken from the files, so that none is
# forgotten. An example that needs root or a device says so and succeeds without.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The time limit of an example, in seconds.
readonly LIMIT=60

# These are already built by `cargo test --workspace`.
built=$(cargo build --workspace --examples --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/examples\/[^"]*\)".*/\1/p')

count=0
for file in examples/*.rs genpool-*/examples/*.rs; do
    name="$(basename "$file" .rs)"
    printf '\n---- %s\n' "$file"
    if program="$(grep -m 1 "/$name\$" <<<"$built")"; then
        timeout "$LIMIT" "$program"
    else
        # It needs features that the workspace's other crates do not enable.
        cargo build --quiet --manifest-path "${file%examples/*}Cargo.toml" --all-features --example "$name"
        timeout "$LIMIT" cargo run --quiet --manifest-path "${file%examples/*}Cargo.toml" \
            --all-features --example "$name"
    fi
    count=$((count + 1))
done
printf '\nexamples: %d ran: ok\n' "$count"
