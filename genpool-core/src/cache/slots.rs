//! The caches of a pool, as the pool sees them: how much each of them holds.
//!
//! A cache holds a *cache slot* while it lives. Slots are in a list that only grows. A slot that was released is
//! taken again by a later cache, so there are never more slots than caches that lived at the same time.
//!
//! # Orderings
//!
//! A cache slot is seen whole (`memory/append_list.rs`). It is taken with `Acquire` and released with `Release`, so
//! that of two caches that use a slot one after the other, only one writes to it at a time. The counts are `Relaxed`,
//! because no conclusion is drawn from them.

use crossbeam_utils::CachePadded;

use super::SIZES;
use crate::memory::AppendList;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// What one cache holds. Only the cache that has taken the slot writes here.
#[derive(Debug)]
pub(super) struct CacheSlot {
    /// The slot's index: unique within the pool, and below the number of cache slots.
    number: usize,
    taken: AtomicBool,
    /// The number of runs of one granule, of two, and so on. Every call of a cache writes here, so slots are on lines
    /// of their own.
    runs: [AtomicUsize; SIZES],
}

impl CacheSlot {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Records that the cache holds `count` runs of `n` granules.
    #[inline]
    pub(super) fn record(&self, n: usize, count: usize) {
        // A plain store, because no other thread writes here.
        self.runs[n - 1].store(count, Ordering::Relaxed);
    }

    /// Releases the slot of a cache that is gone and holds nothing.
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

    /// Takes a free cache slot, or adds one on the heap if there is none. Lock-free.
    pub(super) fn take(&self) -> &CacheSlot {
        let mut slots = self.0.iter().map(|slot| &**slot);
        let left = slots.find(|slot| {
            // Relaxed: only a hint whether the exchange is worth a try.
            // Not caught: of two caches that use one slot in turn, the earlier one's counts might overwrite the later
            // one's, but loom and Miri take stores in the order in which they are executed.
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

    /// Returns the number of granules in all caches.
    pub(crate) fn granules(&self) -> usize {
        self.0.iter().map(|slot| slot.granules()).sum()
    }

    /// Returns the bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.0.footprint(|_| 0)
    }
}
