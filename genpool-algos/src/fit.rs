//! Fits: first fit and best fit, with or without constraints.

use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Notation, Request};

use crate::constraints::Constraints;

/// Chooses among the free places of a chunk that [`Constraints`] allow.
///
/// Every fit is also an algorithm. [`Constrained`](crate::Constrained) adds constraints to it.
///
/// ```
/// use core::ops::Range;
///
/// use genpool::{ChunkView, Constrained, Constraints, FirstFit, Fit, Granule, Pool};
///
/// /// First fit in a part of the chunk.
/// struct Within(Range<Granule>);
///
/// impl Fit for Within {
///     fn choose(&self, chunk: &ChunkView<'_>, n: usize, constraints: &Constraints) -> Option<Granule> {
///         constraints.first_free(chunk, self.0.clone(), n)
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x8000)?;
/// let upper = Within(Granule(4)..Granule(8));
/// let aligned = Constrained::new(upper, Constraints::new().align(0x4000)?);
/// assert_eq!(pool.alloc_with(1, &aligned)?.addr(), 0x8000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Fit: Send + Sync {
    /// Returns the start of `n` free granules, at least one, that `constraints` allow.
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

/// Best fit: the smallest free run of the chunk that fits, and the lowest of several. The cost hardly depends on the
/// size of the chunk, unless only runs of 64 granules or more fit. From the first call on, the pool's other calls
/// cost more: see [`ChunkView::find_tightest`]. Under constraints, the search is linear in the chunk and ends at an
/// exact fit. A run then counts with its whole length, even if only part of it is allowed.
/// [Signal-safe](genpool_core#signal-safety).
///
/// ```
/// use genpool::{BestFit, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x8000)?;
/// let mut pages: Vec<_> = (0..6).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
/// drop((pages.remove(4), pages.remove(0), pages.remove(0))); // free: two pages, one page, two pages
/// assert_eq!(pool.alloc_with(1, &BestFit)?.addr(), 0x5000); // the hole that it fills
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
