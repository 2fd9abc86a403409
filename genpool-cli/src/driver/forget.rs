//! A thread's notes on chunks that are gone.

use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
use genpool_core::sync::{ThreadPlace, set_thread_place};

/// Makes this thread forget what it noted for `ThreadStart` on an earlier chunk that had its place in memory
/// where the newest chunk of `pool` has it now; otherwise a trace would be played differently each time.
pub(super) fn forget(pool: &Pool) {
    // Refused or not: what counts is that the newest chunk was proposed from.
    drop(pool.alloc_with(1, &Forget));
}

struct Forget;

impl Algorithm for Forget {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let nowhere = ThreadPlace {
            at: 0,
            from: 0,
            len: 0,
        };
        set_thread_place(chunk.id(), nowhere);
        chunk.find_run(Granule(0), Granule(usize::MAX), 1)
    }
}
