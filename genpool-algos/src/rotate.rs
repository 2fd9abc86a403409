//! Fits that do not start at the chunk's beginning, and come round to it.

use genpool_core::sync::{AtomicUsize, Ordering, set_thread_place, thread_index, thread_place};
use genpool_core::{Algorithm, ChunkView, Granule, Request};

use crate::constraints::Constraints;
use crate::fit::Fit;

/// First fit from `start` to the end of the chunk, then from its beginning: the second pass looks at
/// all of it, so that finding nothing is a proof by itself.
fn around(
    chunk: &ChunkView<'_>,
    start: Granule,
    n: usize,
    constraints: &Constraints,
) -> Option<Granule> {
    constraints
        .first_free(chunk, start..Granule(usize::MAX), n)
        .or_else(|| constraints.first_free(chunk, Granule(0)..Granule(usize::MAX), n))
}

/// Next fit: the first free run behind the last allocation of this value, and round again.
///
/// The position is a hint that all threads share; between threads that race for it the later one
/// stands.
#[derive(Debug, Default)]
pub struct NextFit {
    /// An address.
    next: AtomicUsize,
}

impl NextFit {
    /// From the beginning on.
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

impl Fit for NextFit {
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        n: usize,
        constraints: &Constraints,
    ) -> Option<Granule> {
        let found = around(chunk, self.position(chunk), n, constraints)?;
        // Relaxed: a hint; the claim decides.
        let next = chunk.addr_of(Granule(found.0 + n));
        self.next.store(next, Ordering::Relaxed);
        Some(found)
    }
}

impl Algorithm for NextFit {
    fn any_place(&self) -> bool {
        true
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        self.choose(chunk, request.granules(), &Constraints::new())
    }
}

/// First fit from a position of the calling thread's own, and round again: threads that allocate at
/// once work on different cache lines of the bitmap, and still find the last free granule.
///
/// A thread goes on where it found something last, so that it meets again what it gave back, and
/// what the caches have. It begins at a place of its own: threads are numbered in order of their
/// first use; the number with its bits reversed is the fraction of the chunk where the thread begins
/// (0, 1/2, 1/4, 3/4, …). So any few threads that run at a time are spread well however many came and
/// went before. A thread remembers its place in the chunk that it used last, and there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStart;

/// Granules in a cache line of bitmap: threads begin at multiples of this, so that two do not share
/// a line from the outset (2026-11).
const LINE: usize = 512;

/// Granules in a word of bitmap: a thread goes on at the beginning of the word where it found
/// something, not behind it, so that what is given back there is found again (2026-11).
const WORD: usize = usize::BITS as usize;

impl ThreadStart {
    /// Where this thread begins in a chunk that it has not used before.
    #[cold]
    fn beginning(chunk: &ChunkView<'_>) -> usize {
        let lines = (chunk.granules() / LINE) as u64;
        // The low 32 bits of the number, as a fraction of 2^32.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the low bits are what is meant"
        )]
        let fraction = u64::from((thread_index() as u32).reverse_bits());
        // Lines beyond 2^32 (bitmaps of 256 GiB) begin in the first 2^32.
        let line = (lines.min(1 << 32) * fraction) >> 32;
        #[allow(clippy::cast_possible_truncation, reason = "below the number of lines")]
        {
            line as usize * LINE
        }
    }

    #[inline]
    fn position(chunk: &ChunkView<'_>) -> Granule {
        let known = thread_place(chunk.start());
        Granule(known.unwrap_or_else(|| Self::beginning(chunk)))
    }

    #[cold]
    fn further(chunk: &ChunkView<'_>, n: usize) -> Option<Granule> {
        Self.choose(chunk, n, &Constraints::new())
    }

    #[inline]
    fn found(chunk: &ChunkView<'_>, found: Granule) {
        set_thread_place(chunk.start(), found.0 & !(WORD - 1));
    }
}

impl Fit for ThreadStart {
    fn choose(
        &self,
        chunk: &ChunkView<'_>,
        n: usize,
        constraints: &Constraints,
    ) -> Option<Granule> {
        let found = around(chunk, Self::position(chunk), n, constraints)?;
        Self::found(chunk, found);
        Some(found)
    }
}

impl Algorithm for ThreadStart {
    fn any_place(&self) -> bool {
        true
    }

    #[inline(always)]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let n = request.granules();
        let from = Self::position(chunk);
        let Some(found) = chunk.find_nearby(from, n) else {
            return Self::further(chunk, n);
        };
        Self::found(chunk, found);
        Some(found)
    }
}
