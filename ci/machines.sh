#!/usr/bin/env bash
# Checks the crates without the standard library: compiles them for processors without an operating system, runs the
# programs of verify/machines in qemu (a Cortex-M4, and four bare x86-64 cores), and measures the smallest program.
# Prints all results as a table. Each machine has a control: the same program whose claims are not atomic must fail.
# Installs qemu on Debian, and Rust targets, if they are missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The time limit of a machine in seconds; each takes about 5 (2026-12).
readonly LIMIT=100
# The most bytes of code of the smallest program.
readonly MOST_CODE=8192
# What a user of a shared pool says whose granules another one got.
readonly TORN='^FAILED: (0x[0-9a-f]+ was (handed out twice|given to)|a right free was refused)'
readonly ARM=thumbv7em-none-eabihf
readonly X86=x86_64-unknown-none
# Targets with compare-and-swap, and those without.
readonly WITH=("$X86" "$ARM" wasm32-unknown-unknown)
readonly WITHOUT=(thumbv6m-none-eabi riscv32imc-unknown-none-elf)

ci/need.sh qemu-system-arm qemu-system-arm
ci/need.sh qemu-system-x86_64 qemu-system-x86
ci/need.sh readelf binutils
rustup target add "${WITH[@]}" "${WITHOUT[@]}"

out="${CARGO_TARGET_DIR:-target}/machines"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
export CARGO_TARGET_DIR="$out"

rows=()
failed=0
row() { # what, result
    rows+=("$1|$2")
    if [[ "$2" == FAILED* ]]; then failed=1; fi
}

# ---- compiling ----

check() { # target, features
    local result=ok
    cargo check --locked -p genpool --no-default-features --features "$2" --target "$1" || result=FAILED
    row "cargo check, $1, ${2:-no features}" "$result"
}
for target in "${WITH[@]}"; do
    check "$target" ""
    check "$target" alloc
done
for target in "${WITHOUT[@]}"; do
    check "$target" critical-section
    check "$target" alloc,critical-section
done

# ---- running ----

# Builds the machines in a copy of the tree, or in the tree itself.
build() { # tree, where the programs go
    local tree="$1" to="$2"
    mkdir -p "$to"
    (
        cd "$tree/verify/machines"
        cargo build --locked --release --target "$ARM" -p machine-cortex-m --no-default-features
        cp "$out/$ARM/release/machine-cortex-m" "$to/machine-heapless"
        cargo build --locked --release --target "$ARM" -p machine-cortex-m
        cargo build --locked --release --target "$X86" -p machine-x86-64
    )
    cp "$out/$ARM/release/machine-cortex-m" "$out/$X86/release/machine-x86-64" "$to"
}

# With -icount time is the number of instructions, of 32 ns here, and interrupts come between any two of them.
cortex_m() { # folder of programs, program
    timeout "$LIMIT" qemu-system-arm -machine mps2-an386 -cpu cortex-m4 -nographic -icount shift=5 \
        -semihosting-config enable=on,target=native -kernel "$1/${2:-machine-cortex-m}" </dev/null
}

heapless() { # folder of programs
    cortex_m "$1" machine-heapless
}

# qemu's status is twice the program's and one more.
x86_64() { # folder of programs
    local status=0
    timeout "$LIMIT" qemu-system-x86_64 -accel tcg,thread=multi -smp 4 -m 128M -display none -serial stdio -no-reboot \
        -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$1/machine-x86-64" </dev/null || status=$?
    if ((status == 33)); then return 0; fi
    return "$status"
}

# Runs a machine and makes a row of each line that it prints as one.
run() { # name, function
    local began="$SECONDS" log="$out/$2.log" line
    if "$2" "$out/programs" >"$log" 2>&1 && grep -qx ok "$log"; then
        while IFS='|' read -r _ line; do row "$1: ${line%%|*}" "ok, ${line#*|}"; done < <(grep '^row|' "$log")
        row "$1" "ok, $((SECONDS - began)) s"
    else
        cat "$log"
        row "$1" "FAILED: $(tail -n 1 "$log")"
    fi
}

# Runs a machine with a fault in the library, which must be noticed.
control() { # name, function
    local log="$out/$2.control.log"
    if "$2" "$out/control-programs" >"$log" 2>&1; then
        row "control of $1: claims that are not atomic" "FAILED: not noticed"
    elif grep -qE "$TORN" "$log"; then
        row "control of $1: claims that are not atomic" "ok, noticed: $(grep -E "$TORN" "$log" | head -n 1 | cut -d' ' -f2-)"
    else
        cat "$log"
        row "control of $1: claims that are not atomic" "FAILED for another reason"
    fi
}

build . "$out/programs"
run "Cortex-M4" cortex_m
run "Cortex-M4 without a heap" heapless
run "x86-64, 4 cores" x86_64

rm -rf "$out/tree"
mkdir -p "$out/tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$out/tree"
sed -i 's/seeded(Fault::TornClaim)/true/' "$out/tree/genpool-core/src/bitmap/bits.rs"
if diff -q genpool-core/src/bitmap/bits.rs "$out/tree/genpool-core/src/bitmap/bits.rs"; then
    echo "machines: the fault of the controls is not in the code any more" >&2
    exit 1
fi
build "$out/tree" "$out/control-programs"
control "Cortex-M4" cortex_m
control "Cortex-M4 without a heap" heapless
control "x86-64, 4 cores" x86_64

# ---- the smallest program ----

(cd verify/machines && cargo build --locked --profile size --target "$ARM" -p machine-size)
small="$out/$ARM/size/machine-size"
code=$((16#$(readelf -SW "$small" | awk '{ for (i = 1; i < NF; i++) if ($i == ".text") { print $(i + 4); exit } }')))
what="code of the smallest program, $ARM"
if ((code <= MOST_CODE)); then
    row "$what" "ok, $code bytes of at most $MOST_CODE"
else
    row "$what" "FAILED: $code bytes, at most $MOST_CODE"
fi

# Symbols of an allocator, of whichever mangling: the functions that the compiler calls, those of crate `alloc`, malloc.
allocators() { # program
    readelf -sW "$1" | awk '{ print $8 }' | grep -E \
        '__rust_(alloc|dealloc|realloc|alloc_zeroed|no_alloc_shim)|__(rdl|rg)_|^_ZN5alloc|^_R.*5alloc5alloc|^(malloc|calloc|realloc|free)$' || true
}
found="$(allocators "$small")"
what="symbols of an allocator in the smallest program"
if [[ -z "$found" ]]; then row "$what" "ok, none"; else row "$what" "FAILED: $found"; fi
what="control: symbols of an allocator in a program with a heap"
if [[ -n "$(allocators "$out/programs/machine-cortex-m")" ]]; then
    row "$what" "ok, found"
else
    row "$what" "FAILED: none found"
fi

echo
for line in "${rows[@]}"; do printf '%-72s %s\n' "${line%%|*}" "${line#*|}"; done
if ((failed)); then
    echo "machines: FAILED" >&2
    exit 1
fi
echo "machines: ok"
