#!/usr/bin/env bash
# Runs `genpool dt` on the device trees of all boards in Debian's arm64 and armhf kernels, and compares each result with
# that of another reader (libfdt, ci/boards.py). Not part of .ci/run, because it fetches 100 MB of kernel packages. They
# are unpacked, not installed. The argument is the folder to keep them in. Installs python3-libfdt on Debian if it is
# missing. DEBIAN_MIRROR and DEBIAN_SUITE select another archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "${1:-$target/boards}"
kept="$(cd "${1:-$target/boards}" && pwd)"
mirror="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
suite="${DEBIAN_SUITE:-bookworm}"
# Debian's own Python, which has the binding.
python=/usr/bin/python3

if ! "$python" -c 'import libfdt' 2>/dev/null; then
    as_root=()
    if [[ "$(id -u)" -ne 0 ]]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends python3-libfdt
fi

# apt with its own state, so that the system's stays unchanged.
apt="$kept/apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
touch "$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
options=(
    -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
    -o "Dir::Cache=$apt/cache" -o APT::Architecture=arm64
    -o APT::Architectures::=arm64 -o APT::Architectures::=armhf -o "APT::Sandbox::User=$(id -un)"
)
apt-get "${options[@]}" -q update
for kernel in linux-image-arm64:arm64 linux-image-armmp:armhf; do
    architecture="${kernel##*:}"
    # The package on which the unversioned name depends at the moment.
    package="$(apt-cache "${options[@]}" depends "$kernel" | sed -n 's/^ *Depends: \(linux-image-[^: ]*\).*/\1/p')"
    trees="$kept/$architecture/$package"
    if [[ ! -e "$trees/complete" ]]; then
        mkdir -p "$trees"
        (cd "$kept" && apt-get "${options[@]}" -q download "$package:$architecture")
        for deb in "$kept/${package}_"*"_$architecture.deb"; do
            dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$trees" --wildcards '*.dtb'
            rm "$deb"
        done
        touch "$trees/complete"
    fi
done

cargo build --release -p genpool-cli
status=0
find "$kept" -name '*.dtb' -print0 | sort -z |
    xargs -0 "$target/release/genpool" dt --json >"$kept/genpool.jsonl" 2>"$kept/errors" || status=$?
# 123 and 2: some tree is invalid. The other reader decides whether that is right.
if ((status != 0 && status != 2 && status != 123)); then
    echo "boards: genpool dt ended with $status" >&2
    exit 1
fi
"$python" ci/boards.py "$kept" "$kept/genpool.jsonl" "$kept/errors"
echo "boards: ok"
