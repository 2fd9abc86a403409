//! Which of several free places: first fit and best fit, open to constraints.

use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Notation, Request};

use crate::constraints::Constraints;

/// Chooses among the free places of a chunk that [`Constraints`] allow.
///
/// Every fit is an algorithm by itself; [`Constrained`](crate::Constrained) is one under
/// constraints.
pub trait Fit: Send + Sync {
    /// The start of `n` free granules, at least one, where `constraints` allow it.
    fn choose(&self, chunk: &ChunkView<'_>, n: usize, constraints: &Constraints)
    -> Option<Granule>;
}

impl Fit for FirstFit {
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        n: usize,
        constraints: &Constraints,
    ) -> Option<Granule> {
        constraints.first_free(chunk, Granule(0)..Granule(usize::MAX), n)
    }
}

/// Best fit: the smallest free run of the chunk that fits, the lowest of equals; an exact fit ends
/// the search. Otherwise linear in the chunk. Under constraints a run counts with its whole length,
/// also where only a part of it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestFit;

impl Fit for BestFit {
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        n: usize,
        constraints: &Constraints,
    ) -> Option<Granule> {
        let mut best: Option<(usize, Granule)> = None;
        for run in chunk.runs(Granule(0), n) {
            if best.is_some_and(|(len, _)| len <= run.len) {
                continue;
            }
            if let Some(start) = constraints.first_in(chunk, run, n) {
                if run.len == n {
                    return Some(start);
                }
                best = Some((run.len, start));
            }
        }
        best.map(|(_, start)| start)
    }
}

impl Algorithm for BestFit {
    fn any_place(&self) -> bool {
        true
    }

    fn notation(&self) -> Option<Notation> {
        Some(Notation::BestFit)
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        chunk.find_tightest(request.granules())
    }
}
