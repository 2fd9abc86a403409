#!/usr/bin/env bash
# Plants the bugs of verify/plants in a copy of the tree and requires that the checks of CI notice each. See
# ci/plants.py for the format of a patch, and for the arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec python3 ci/plants.py "$@"
