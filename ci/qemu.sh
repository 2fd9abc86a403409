#!/usr/bin/env bash
# Runs genpool-dma on real devices: boots Debian's kernel in qemu (software emulation) with the program of verify/qemu as
# init, and prints the result of each step and of its controls as a table. Installs what is missing on Debian, and the
# Rust target for static programs; the kernel is unpacked, not installed. With --no-install nothing is installed or
# fetched, and exit status 77 says that something is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly RUST_TARGET=x86_64-unknown-linux-musl
readonly KERNEL=linux-image-cloud-amd64
readonly MODULES=(vfio-pci vfio_iommu_type1 uio_netx)
# The time limit of the machine in seconds; it takes about 30 (2026-11).
readonly LIMIT=240

install=1
if [[ "${1:-}" == --no-install ]]; then install=0; fi

missing() { # what
    if ((install)); then
        echo "qemu: $1 is missing, and could not be installed" >&2
        exit 1
    fi
    echo "qemu: skipped: $1 is missing; ci/qemu.sh installs it on Debian"
    exit 77
}

as_root=()
if [[ "$(id -u)" -ne 0 ]]; then as_root=(sudo); fi

if [[ "$(uname -sm)" != "Linux x86_64" ]]; then
    install=0
    missing "a Linux machine of x86-64 that the program is built on"
fi

# ---- tools ----

readonly TOOLS=(qemu-system-x86_64 cpio depmod modprobe gzip)
PATH="$PATH:/usr/sbin:/sbin"
absent() {
    local tool
    for tool in "${TOOLS[@]}"; do
        command -v "$tool" >/dev/null || echo "$tool"
    done
}
if ((install)) && [[ -n "$(absent)" ]]; then
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends qemu-system-x86 cpio kmod gzip
fi
if [[ -n "$(absent)" ]]; then missing "$(absent | head -n 1)"; fi
command -v rustup >/dev/null || missing rustup
if ! rustup target list --installed | grep -qx "$RUST_TARGET"; then
    if ((install)); then rustup target add "$RUST_TARGET"; fi
    rustup target list --installed | grep -qx "$RUST_TARGET" || missing "the Rust target $RUST_TARGET"
fi

work="${CARGO_TARGET_DIR:-target}/qemu"
mkdir -p "$work"
work="$(cd "$work" && pwd)"

# ---- kernel ----

kernel="$work/kernel"
if [[ ! -e "$kernel/complete" ]]; then
    if ((!install)); then missing "Debian's kernel image, unpacked"; fi
    if ! apt-cache show "$KERNEL" >/dev/null 2>&1; then "${as_root[@]}" apt-get update; fi
    image="$(apt-cache depends "$KERNEL" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)"
    if [[ -z "$image" ]]; then missing "the package $KERNEL"; fi
    rm -rf "$kernel"
    mkdir -p "$kernel/root"
    (cd "$kernel" && apt-get download "$image")
    dpkg-deb -x "$kernel"/*.deb "$kernel/root"
    rm "$kernel"/*.deb
    ls "$kernel/root/lib/modules" >"$kernel/version"
    depmod -b "$kernel/root" "$(cat "$kernel/version")"
    touch "$kernel/complete"
fi
version="$(cat "$kernel/version")"

# ---- the machine's file system ----

target_dir="${CARGO_TARGET_DIR:-target}"
cargo build -p qemu-tests --target "$RUST_TARGET"
program="$target_dir/$RUST_TARGET/debug/qemu-tests"

files="$work/files"
rm -rf "$files"
mkdir -p "$files/modules"
cp "$program" "$files/init"
number=10
while read -r module; do
    cp "$module" "$files/modules/$number-$(basename "$module")"
    number=$((number + 1))
done < <(for module in "${MODULES[@]}"; do
    modprobe -d "$kernel/root" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
(cd "$files" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initramfs.gz"

# ---- the machine ----

bar="$work/bar"
head -c 4194304 /dev/zero | tr '\0' '\356' >"$bar"
log="$work/console.log"
machine=(
    -accel tcg -machine "q35,kernel-irqchip=split" -cpu max -smp 2
    -m 2560
    -object memory-backend-ram,id=low,size=512M -numa node,nodeid=0,cpus=0,memdev=low
    -object memory-backend-ram,id=high,size=2048M -numa node,nodeid=1,cpus=1,memdev=high
    -nographic -no-reboot -nic none -monitor none -serial stdio
    -device intel-iommu
    -device edu
    -object "memory-backend-file,id=bar,size=4M,share=on,mem-path=$bar"
    -device ivshmem-plain,memdev=bar
    -kernel "$kernel/root/boot/vmlinuz-$version" -initrd "$work/initramfs.gz"
    # Physical addresses are passed through untranslated until VFIO takes the device.
    -append "console=ttyS0 panic=-1 quiet hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=160 intel_iommu=on iommu=pt"
)
began="$SECONDS"
status=0
timeout --kill-after=10 "$LIMIT" qemu-system-x86_64 "${machine[@]}" </dev/null >"$log.raw" 2>&1 || status=$?
tr -d '\r' <"$log.raw" >"$log"
echo "qemu: kernel $version ran for $((SECONDS - began)) s"

# ---- what came of it ----

printf '| step | what | | found |\n|---|---|---|---|\n'
host=0
found="$("$program" check "$log" "$bar")" || host=$?
{ grep '^| ' "$log" || true; grep '^| ' <<<"$found" || true; } | tee "$work/table"

failed=0
for want in "0 " "1 " "1b " "2 " "3 " "4 " "5 "; do
    if ! grep -q "^| $want" "$work/table"; then
        echo "qemu: step $want has no line" >&2
        failed=1
    fi
done
if grep -q '| FAILED |' "$work/table"; then failed=1; fi
if ! grep -q '^RESULT .* 0 failed$' "$log"; then failed=1; fi
if ((failed || host || status)); then
    echo "qemu: FAILED (qemu's status $status); the end of the machine's console:" >&2
    grep -v '^| ' "$log" | tail -n 40 >&2
    exit 1
fi
echo "qemu: ok, $(grep -c '| ok |' "$work/table") lines, $(grep -c '| control: ' "$work/table") of them controls"
