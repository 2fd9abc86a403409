#!/usr/bin/env bash
# Runs the README's test command: unit, integration, property, conformance and doc tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="cargo test --workspace"
if ! grep -qxF "$command" README.md; then
    echo "test: README.md gives another test command than '$command'" >&2
    exit 1
fi
$command
