//! What several test programs need.

#![allow(dead_code, reason = "no program needs all of it")]

use std::sync::atomic::{AtomicBool, Ordering};

use genpool::{AddRefused, Builder, ChunkSpec, Pool};

pub(crate) const PAGE: usize = 4096;

/// Ends the threads that look at it, also when the test fails.
pub(crate) struct Done<'a>(pub(crate) &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// With boundary tracking or without.
pub(crate) fn builder(tracked: bool) -> Builder {
    if tracked {
        Pool::builder().boundary_tracking()
    } else {
        Pool::builder()
    }
}

/// A pool of pages with boundary tracking.
pub(crate) fn tracked(chunks: &[(usize, usize)]) -> Pool {
    let pool = builder(true).order(12).build().unwrap();
    for &(start, size) in chunks {
        pool.add(start, size).unwrap();
    }
    pool
}

/// Why the chunk is not added; the pool is as before.
pub(crate) fn refusal(pool: &Pool, chunk: ChunkSpec) -> AddRefused {
    let before = (pool.size(), pool.chunks().len());
    let refused = pool.add_chunk(chunk.clone()).unwrap_err();
    assert_eq!(refused.chunk.start(), chunk.start());
    assert_eq!((pool.size(), pool.chunks().len()), before, "changed");
    refused.reason
}
