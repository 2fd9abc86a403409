//! Which of several free runs: first fit and best fit, open to constraints.

use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Request, Run};

/// Chooses among free runs, given what in a run would be acceptable.
///
/// Every fit is an algorithm by itself; under [`Constrained`](crate::Constrained) it chooses among
/// the places that the constraints allow.
pub trait Fit: Send + Sync {
    /// The start of `n` granules. `place` answers the lowest acceptable start of `n` granules in a
    /// free run, if there is one; runs that begin below `from` need not be looked at.
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        from: Granule,
        n: usize,
        place: &dyn Fn(Run) -> Option<Granule>,
    ) -> Option<Granule>;
}

impl Fit for FirstFit {
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        from: Granule,
        n: usize,
        place: &dyn Fn(Run) -> Option<Granule>,
    ) -> Option<Granule> {
        chunk.runs(from, n).find_map(place)
    }
}

/// Best fit: the smallest free run of the chunk that fits, the lowest of equals; an exact fit ends
/// the search. Otherwise linear in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestFit;

impl Fit for BestFit {
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        from: Granule,
        n: usize,
        place: &dyn Fn(Run) -> Option<Granule>,
    ) -> Option<Granule> {
        let mut best: Option<(usize, Granule)> = None;
        for run in chunk.runs(from, n) {
            if best.is_some_and(|(len, _)| len <= run.len) {
                continue;
            }
            if let Some(start) = place(run) {
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
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let anywhere = |run: Run| Some(run.start);
        self.choose(chunk, Granule(0), request.granules(), &anywhere)
    }
}
