//! The caches of a pool, as the pool knows them: how much each of them holds.
//!
//! A cache has a *seat* while it lives. Seats are in a list that only grows and whose seats are taken
//! again once they are left, so there are no more of them than caches lived at one time.
//!
//! # Orderings
//!
//! A seat is seen whole (`growing.rs`). It is taken with `Acquire` and left with `Release`, so that of two
//! caches that follow each other on a seat only one writes to it at a time. The counts are `Relaxed`:
//! nothing is concluded from them.

use crossbeam_utils::CachePadded;

use super::SIZES;
use crate::growing::Growing;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// What one cache holds. Only the cache that has the seat writes here.
#[derive(Debug)]
pub(super) struct Seat {
    /// Unlike that of any other seat of the pool, and below the number of seats.
    number: usize,
    taken: AtomicBool,
    /// How many runs of one granule, of two, and so on. Written in every call, which is why seats lie
    /// apart.
    runs: [AtomicUsize; SIZES],
}

impl Seat {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The cache holds `count` runs of `n` granules.
    #[inline]
    pub(super) fn tell(&self, n: usize, count: usize) {
        // A plain store: nobody else writes here.
        self.runs[n - 1].store(count, Ordering::Relaxed);
    }

    /// The cache is gone, and holds nothing.
    pub(super) fn leave(&self) {
        // Not caught: see `take`.
        self.taken.store(false, Ordering::Release);
    }

    fn granules(&self) -> usize {
        let counts = self.runs.iter().map(|count| count.load(Ordering::Relaxed));
        counts.zip(1..).map(|(count, n)| count * n).sum()
    }
}

#[derive(Debug)]
pub(crate) struct Seats(Growing<CachePadded<Seat>>);

impl Seats {
    pub(crate) fn new() -> Self {
        Self(Growing::new())
    }

    /// A seat that nobody has; a new one if need be, on the heap. Lock-free.
    pub(super) fn take(&self) -> &Seat {
        let mut seats = self.0.iter().map(|seat| &**seat);
        let left = seats.find(|seat| {
            // Relaxed: only a hint whether the exchange is worth a try.
            // Not caught: of two caches on one seat the later one's counts might be overwritten by the
            // earlier one's, but loom and Miri take stores in the order in which they are executed.
            !seat.taken.load(Ordering::Relaxed)
                && seat
                    .taken
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        });
        left.unwrap_or_else(|| self.push())
    }

    fn push(&self) -> &Seat {
        loop {
            let newest = self.0.newest();
            let number = newest.value().map_or(0, |seat| seat.number + 1);
            let seat = CachePadded::new(Seat {
                number,
                taken: AtomicBool::new(true),
                runs: core::array::from_fn(|_| AtomicUsize::new(0)),
            });
            if let Some(seat) = self.0.push(&newest, seat) {
                return seat;
            }
        }
    }

    /// Granules in all caches.
    pub(crate) fn granules(&self) -> usize {
        self.0.iter().map(|seat| seat.granules()).sum()
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.0.footprint(|_| 0)
    }
}
