#!/usr/bin/env bash
# Compiles every example of the README, the guide and the crates' pages in a new crate that depends on `genpool` alone,
# as a reader would paste it, with the features that it names. A broken example is the control.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 ci/paste.py
