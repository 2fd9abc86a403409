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
