//! Best fit.

use genpool_core::{Algorithm, AlgorithmName, ChunkView, Granule, Request};

/// Best fit: the smallest free run of the chunk that fits, and the lowest of several. The cost hardly depends on the
/// size of the chunk, unless only runs of 64 granules or more fit. From the first call on, the pool's other calls
/// cost more: see [`ChunkView::find_tightest`]. Under constraints, a run counts with its whole
/// length, even if only part of it is allowed.
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

impl Algorithm for BestFit {
    fn any_place(&self) -> bool {
        true
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("best-fit"))
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        chunk.find_tightest(request.granules())
    }
}
