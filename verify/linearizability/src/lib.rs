//! The shared parts of the proofs of genpool's promises: random work for several threads, the record of the answers
//! that they get, and the sequential pool that such a record is checked against.

#![forbid(unsafe_code)]

pub mod history;
pub mod work;

/// Returns how many times longer than in a short run to search: `PROOFS_TIMES`, or 1 if it is not set.
#[must_use]
pub fn times() -> usize {
    let asked = std::env::var("PROOFS_TIMES");
    asked.ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Returns the seed of the random choices: `GENPOOL_SEED`, as in `ci/soak.sh`, or `always`.
#[must_use]
pub fn seed_or(always: u64) -> u64 {
    let asked = std::env::var("GENPOOL_SEED");
    asked
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(always)
}
