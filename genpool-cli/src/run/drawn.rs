//! The fixed fits at random places, so that they can be put under load too.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use genpool::{Algorithm, ChunkView, FixedAddress, FixedOffset, Granule, Request};

use super::load::Random;

/// The places that are tried in a chunk before it counts as full.
const DRAWS: usize = 16;

/// Tries a fixed fit at random places. Finding none proves nothing: for these, what a run calls full only means that
/// the tried places were taken.
pub(super) struct Drawn<F> {
    fixed: fn(&ChunkView<'_>, Granule) -> F,
}

impl Drawn<FixedOffset> {
    pub(super) fn offset() -> Self {
        Self {
            fixed: |chunk, granule| FixedOffset::new(granule.0 << chunk.order()),
        }
    }
}

impl Drawn<FixedAddress> {
    pub(super) fn address() -> Self {
        Self {
            fixed: |chunk, granule| FixedAddress::new(chunk.addr_of(granule)),
        }
    }
}

impl<F: Algorithm> Algorithm for Drawn<F> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        static SEED: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static RANDOM: RefCell<Random> =
                RefCell::new(Random::new(SEED.fetch_add(1, Ordering::Relaxed)));
        }
        let places = chunk.granules().checked_sub(request.granules())? + 1;
        (0..DRAWS).find_map(|_| {
            let granule = RANDOM.with_borrow_mut(|random| random.below(places));
            (self.fixed)(chunk, Granule(granule)).propose(chunk, request)
        })
    }
}
