//! Counters of refused calls and lost claims.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Ordering, array_of, const_fn};

/// The counters of a pool. They are written only on failure, so sharing a cache line does no harm. They are `Relaxed`,
/// because nothing is concluded from them.
#[derive(Debug)]
pub(crate) struct Counters {
    counts: CachePadded<[AtomicUsize; 6]>,
}

macro_rules! counters {
    ($($at:literal $name:ident),+) => {
        impl Counters {
            $(#[cold]
            pub(crate) fn $name(&self) {
                self.counts[$at].fetch_add(1, Ordering::Relaxed);
            })+
        }
    };
}

counters!(0 exhausted, 1 contended, 2 lost_claim, 3 refused_free, 4 unsuitable, 5 bad_proposal);

impl Counters {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                counts: CachePadded::new(array_of!(AtomicUsize::new(0))),
            }
        }
    }

    pub(crate) fn read(&self, at: usize) -> usize {
        self.counts[at].load(Ordering::Relaxed)
    }
}
