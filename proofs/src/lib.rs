//! What the proofs of genpool's promises share: random work for several threads, the record of what
//! they were answered, and the sequential pool that such a record is checked against.

#![forbid(unsafe_code)]

pub mod history;
pub mod work;

/// How many times longer than in a short run to look: `PROOFS_TIMES`, 1 unless set.
#[must_use]
pub fn times() -> usize {
    let asked = std::env::var("PROOFS_TIMES");
    asked.ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// What choices begin with: `GENPOOL_SEED`, as in `ci/soak.sh`, or `always`.
#[must_use]
pub fn seed_or(always: u64) -> u64 {
    let asked = std::env::var("GENPOOL_SEED");
    asked
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(always)
}
