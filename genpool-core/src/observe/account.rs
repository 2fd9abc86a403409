//! The account of a chunk: what allocations hold and what caches keep in it.

use crate::sync::Arc;

use super::Notifier;
use crate::sync::{AtomicUsize, Ordering};

/// The account of a chunk: what allocations hold and caches keep in it, and the notifier of its pool.
pub(crate) struct Account {
    pub(crate) notifier: Arc<Notifier>,
    held: Count,
    kept: Count,
}

impl Account {
    pub(crate) fn new(notifier: Arc<Notifier>) -> Self {
        Self {
            notifier,
            held: Count::new(),
            kept: Count::new(),
        }
    }

    /// Adds granules to what allocations hold, or subtracts them. Returns true if the chunk is not being removed.
    pub(crate) fn hold(&self, granules: isize) -> bool {
        self.held.change(granules)
    }

    /// Adds granules to what caches keep, or subtracts them. Returns true if the chunk is not being removed.
    pub(crate) fn keep(&self, granules: isize) -> bool {
        self.kept.change(granules)
    }

    /// Marks the chunk as being removed. Returns the granules that allocations hold, and those that caches keep.
    pub(crate) fn close(&self) -> (usize, usize) {
        (self.held.close(), self.kept.close())
    }
}

/// A number of granules, doubled, and a bit that says whether the chunk is being removed. The number wraps below zero
/// if granules that nobody held were freed by address.
struct Count(AtomicUsize);

impl Count {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Adds granules. Returns true if the chunk is not being removed.
    fn change(&self, granules: isize) -> bool {
        // Relaxed: one word, and sums do not depend on the order.
        let before = self
            .0
            .fetch_add((granules as usize) << 1, Ordering::Relaxed);
        before & 1 == 0
    }

    /// Marks the chunk as being removed, and returns the granules.
    fn close(&self) -> usize {
        // Relaxed: as above.
        let before = self.0.fetch_or(1, Ordering::Relaxed);
        ((before as isize) >> 1) as usize
    }
}
