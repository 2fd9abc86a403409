//! The caches of a pool, as the pool knows them: how much each of them holds.
//!
//! A cache has a *cache slot* while it lives. Seats are in a list that only grows and whose cache slots are taken
//! again once they are left, so there are no more of them than caches lived at one time.
//!
//! # Orderings
//!
//! A cache slot is seen whole (`append_list.rs`). It is taken with `Acquire` and left with `Release`, so that of two
//! caches that follow each other on a cache slot only one writes to it at a time. The counts are `Relaxed`:
//! nothing is concluded from them.

use crossbeam_utils::CachePadded;

use super::SIZES;
use crate::append_list::AppendList;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// What one cache holds. Only the cache that has the cache slot writes here.
#[derive(Debug)]
pub(super) struct CacheSlot {
    /// Unlike that of any other cache slot of the pool, and below the number of cache slots.
    number: usize,
    taken: AtomicBool,
    /// How many runs of one granule, of two, and so on. Written in every call, which is why cache slots lie
    /// apart.
    runs: [AtomicUsize; SIZES],
}

impl CacheSlot {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The cache holds `count` runs of `n` granules.
    #[inline]
    pub(super) fn record(&self, n: usize, count: usize) {
        // A plain store: nobody else writes here.
        self.runs[n - 1].store(count, Ordering::Relaxed);
    }

    /// The cache is gone, and holds nothing.
    pub(super) fn release(&self) {
        // Not caught: see `take`.
        self.taken.store(false, Ordering::Release);
    }

    fn granules(&self) -> usize {
        let counts = self.runs.iter().map(|count| count.load(Ordering::Relaxed));
        counts.zip(1..).map(|(count, n)| count * n).sum()
    }
}

#[derive(Debug)]
pub(crate) struct CacheSlots(AppendList<CachePadded<CacheSlot>>);

impl CacheSlots {
    pub(crate) fn new() -> Self {
        Self(AppendList::new())
    }

    /// A cache slot that nobody has; a new one if need be, on the heap. Lock-free.
    pub(super) fn take(&self) -> &CacheSlot {
        let mut slots = self.0.iter().map(|slot| &**slot);
        let left = slots.find(|slot| {
            // Relaxed: only a hint whether the exchange is worth a try.
            // Not caught: of two caches on one cache slot the later one's counts might be overwritten by the
            // earlier one's, but loom and Miri take stores in the order in which they are executed.
            !slot.taken.load(Ordering::Relaxed)
                && slot
                    .taken
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        });
        left.unwrap_or_else(|| self.push())
    }

    fn push(&self) -> &CacheSlot {
        loop {
            let newest = self.0.newest();
            let number = newest.value().map_or(0, |slot| slot.number + 1);
            let slot = CachePadded::new(CacheSlot {
                number,
                taken: AtomicBool::new(true),
                runs: core::array::from_fn(|_| AtomicUsize::new(0)),
            });
            if let Some(slot) = self.0.push(&newest, slot) {
                return slot;
            }
        }
    }

    /// Granules in all caches.
    pub(crate) fn granules(&self) -> usize {
        self.0.iter().map(|slot| slot.granules()).sum()
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.0.footprint(|_| 0)
    }
}
