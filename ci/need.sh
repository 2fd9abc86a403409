#!/usr/bin/env bash
# Installs Debian packages if a command is missing.
#
#   ci/need.sh COMMAND PACKAGE...
set -euo pipefail

if command -v "$1" >/dev/null; then exit; fi
shift
as_root=()
if [[ "$(id -u)" -ne 0 ]]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
