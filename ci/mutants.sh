#!/usr/bin/env bash
# Mutants: small changes of the code that some test should notice. verify/MUTANTS.md has the results. Not part of
# .ci/run, because all of it takes hours.
#
#   ci/mutants.sh layer CRATE [ARGS]     every mutant of a crate above genpool-core and genpool-algos, or of
#                                        genpool-plain, with that crate's own tests
#   ci/mutants.sh quick [ARGS]           every mutant of genpool-core and genpool-algos, with all quick tests
#   ci/mutants.sh slow [ARGS]            those that the last run missed, with the slower tests as well
#   ci/mutants.sh models PART RE [ARGS]  those whose name matches RE, with the loom models of
#                                        loom-tests/tests/models/PART.rs
#
# ARGS go to `cargo mutants`: `--file genpool-core/src/chunk/boundary_tags.rs`, `--shard 1/8`. The work is done in a
# copy of the sources in MUTANTS_DIR, which also has the results (mutants.out); they accumulate over runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly VERSION=27.1.0

stage="${1:?layer, quick, slow or models}"
shift
dir="${MUTANTS_DIR:-${TMPDIR:-/tmp}/genpool-mutants}"
copy="$dir/copy"
mkdir -p "$dir"
if ! cargo mutants --version 2>/dev/null | grep -qF "$VERSION"; then
    cargo install cargo-mutants --locked --version "$VERSION"
fi

export RUST_BACKTRACE=0 PROPTEST_MAX_SHRINK_ITERS=0
if [[ "$stage" == layer ]]; then
    crate="${1:?the name of a crate}"
    shift
    # Every feature that has tests; other crates have no such features.
    features=()
    case "$crate" in
        genpool-devm) features=(--features dma) ;;
        genpool-dma) features=(--features vfio-cdev) ;;
        genpool-observe) features=(--features observer,serde,metrics,tracing) ;;
    esac
    # Exit status 2 and 3: some mutants were missed, some timed out.
    PROPTEST_CASES=24 cargo mutants -p "$crate" --test-package "$crate" --jobs "$(nproc)" --baseline skip --timeout 60 \
        --output "$dir/$crate" --iterate "${features[@]}" -C=--lib -C=--bins -C=--tests "$@" || (($? == 2 || $? == 3))
    exit
fi

# Most of a mutant's time is spent on building, so it is tested by one program: the tests of three crates as modules.
programs=(
    tests/{algorithm,alloc,chunks,facade,free,genalloc,many_chunks,pool,refusals,thread_exit}
    genpool-core/tests/{cache,stale,tightest,view}
    genpool-algos/tests/{cache,concurrent,dma,suite}
)
rm -rf "$copy"
mkdir -p "$copy/mutants/tests" "$copy/mutants/src"
git ls-files -z | xargs -0 cp --parents -t "$copy"
sed -i 's/^members = \[/members = [\n    "mutants",/' "$copy/Cargo.toml"
touch "$copy/mutants/src/lib.rs"
cat >"$copy/mutants/Cargo.toml" <<'EOF'
[package]
name = "mutants"
publish = false
version.workspace = true
edition.workspace = true

[dev-dependencies]
genpool.workspace = true
genpool-algos.workspace = true
genpool-core.workspace = true
genpool-plain.workspace = true
libc.workspace = true
proptest.workspace = true
EOF
for program in "${programs[@]}"; do
    name="$(tr -c 'a-z\n' _ <<<"${program//\/tests/}")"
    printf '#[path = "../../%s.rs"]\nmod %s;\n' "$program" "$name"
    # What was the root of a crate becomes a module.
    if [[ -d "$copy/$program" ]]; then
        sed -i "s/\bcrate::/crate::$name::/" "$copy/$program"/*.rs
    fi
done >"$copy/mutants/tests/all.rs"
cat >"$copy/.cargo/config.toml" <<'EOF'
[profile.dev]
debug = 0
incremental = true
[profile.dev.package."*"]
opt-level = 2
[profile.dev.package.genpool-plain]
opt-level = 2
EOF

export CARGO_TARGET_DIR="$dir/target"
# A mutant may allocate all memory of the machine.
ulimit -v $((12 << 20))
# Tests with their own allocator are separate programs.
tests=(
    --test-package genpool-core --test-package mutants --test-package genpool
    -C=--lib -C=--test=all -C=--test=no_memory
)
mutate() { # arguments of cargo mutants...
    # Exit status 2 and 3: some mutants were missed, some timed out.
    cargo mutants --dir "$copy" --in-place --output "$dir" --iterate --baseline skip \
        -p genpool-core -p genpool-algos "$@" || (($? == 2 || $? == 3))
}
case "$stage" in
    quick)
        export PROPTEST_CASES=24
        # Excludes the tests that take longest at this level of optimisation.
        slow=(
            a_chunk_can_be_removed_while_others_allocate a_chunk_costs_256_bytes_and_a_granule
            a_reserve_is_always_found caches_share_nothing_and_lose_nothing one_of_two_racing_frees
            the_last_granule_is_always_found the_newest_serves_first_and_every_chunk_serves
            thread_locals_allocate_and_free threads_mix
        )
        # shellcheck disable=SC2046 # Two words for each.
        mutate "${tests[@]}" --timeout 25 "$@" -- -- $(printf -- '--skip %s ' "${slow[@]}")
        ;;
    slow)
        export PROPTEST_CASES=200
        mutate "${tests[@]}" --timeout 240 "$@"
        ;;
    models)
        part="${1:?the name of a file in loom-tests/tests/models}"
        names="${2:?a regular expression}"
        shift 2
        export RUSTFLAGS="--cfg genpool_loom --cfg genpool_small"
        mutate --test-package loom-tests --profile release --timeout 1800 --re "$names" -C=--test=models "$@" -- -- "$part::"
        ;;
    *)
        echo "mutants: there is no stage '$stage'" >&2
        exit 1
        ;;
esac
