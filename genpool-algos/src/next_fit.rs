//! Next fit.

use genpool_core::sync::{AtomicUsize, Ordering};
use genpool_core::{Algorithm, AlgorithmName, ChunkView, Granule, Request};

use crate::around::first_around;

/// Next fit: the first free run after this value's last allocation, wrapping around.
///
/// The position is a hint that all threads share; if threads race to store it, the last store remains. At worst two
/// passes over the chunk. [Signal-safe](genpool_core#signal-safety).
///
/// The position is stored in the value, so create one value and pass it to every call, or make it the pool's default.
/// `pool.alloc_with(size, &NextFit::new())` starts at the chunk's beginning each time, which is first fit.
///
/// ```
/// use genpool::{NextFit, Pool};
///
/// let pool = Pool::builder().order(12).algorithm(NextFit::new()).build()?;
/// pool.add(0x1000, 0x3000)?;
/// // Freed memory is reused as late as possible, so a late device reads old data rather than new.
/// let addresses = [(); 4].map(|()| pool.alloc(1).map(|page| page.addr()));
/// assert_eq!(addresses, [Ok(0x1000), Ok(0x2000), Ok(0x3000), Ok(0x1000)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct NextFit {
    /// An address.
    next: AtomicUsize,
}

impl NextFit {
    /// Creates a next fit that starts at the beginning. Keep the value: one that is made for a single call is first
    /// fit.
    ///
    /// ```
    /// use genpool::{NextFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x3000)?;
    /// let kept = NextFit::new();
    /// let addresses = [(); 2].map(|()| pool.alloc_with(1, &kept).map(|page| page.addr()));
    /// assert_eq!(addresses, [Ok(0x1000), Ok(0x2000)]);
    /// let addresses = [(); 2].map(|()| pool.alloc_with(1, &NextFit::new()).map(|page| page.addr()));
    /// assert_eq!(addresses, [Ok(0x1000), Ok(0x1000)]); // first fit
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn position(&self, chunk: &ChunkView<'_>) -> Granule {
        // Relaxed: a hint; the claim decides.
        chunk
            .granule_at(self.next.load(Ordering::Relaxed))
            .unwrap_or(Granule(0))
    }
}

impl Algorithm for NextFit {
    fn any_place(&self) -> bool {
        true
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("next-fit"))
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let n = request.granules();
        let found = first_around(chunk, self.position(chunk), n)?;
        // Relaxed: a hint; the claim decides.
        let next = chunk.addr_of(Granule(found.0 + n));
        self.next.store(next, Ordering::Relaxed);
        Some(found)
    }
}
