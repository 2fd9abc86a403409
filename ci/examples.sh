#!/usr/bin/env bash
# Every example of every crate is built and run; each checks itself. The list is that of the files, so
# none is forgotten. What takes root or a device says so and ends well without.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Seconds that an example may take.
readonly LIMIT=60

# What `cargo test --workspace` has built already.
built=$(cargo build --workspace --examples --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/examples\/[^"]*\)".*/\1/p')

count=0
for file in examples/*.rs genpool-*/examples/*.rs; do
    name="$(basename "$file" .rs)"
    printf '\n---- %s\n' "$file"
    if program="$(grep -m 1 "/$name\$" <<<"$built")"; then
        timeout "$LIMIT" "$program"
    else
        # It takes features that the workspace's other crates do not ask for.
        cargo build --quiet --manifest-path "${file%examples/*}Cargo.toml" --all-features --example "$name"
        timeout "$LIMIT" cargo run --quiet --manifest-path "${file%examples/*}Cargo.toml" \
            --all-features --example "$name"
    fi
    count=$((count + 1))
done
printf '\nexamples: %d ran: ok\n' "$count"
