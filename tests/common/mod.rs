//! Helpers that several test programs share.

#![allow(dead_code, reason = "no program needs all of it")]

use std::sync::atomic::{AtomicBool, Ordering};

use genpool::{AddRefused, Builder, ChunkSpec, FixedOffset, Pool};

pub(crate) const PAGE: usize = 4096;

/// Ends the threads that watch the flag, even when the test fails.
pub(crate) struct Done<'a>(pub(crate) &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns a builder with or without boundary tracking.
pub(crate) fn builder(tracked: bool) -> Builder {
    if tracked {
        Pool::builder().boundary_tracking()
    } else {
        Pool::builder()
    }
}

/// Makes a pool of one chunk at 0, with granules of one byte.
pub(crate) fn pool(granules: usize) -> Pool {
    pool_with(granules, &[])
}

/// Like [`pool`], with the ranges in `held` taken.
pub(crate) fn pool_with(granules: usize, held: &[(usize, usize)]) -> Pool {
    let pool = Pool::new(0).unwrap();
    pool.add(0, granules).unwrap();
    for &(start, n) in held {
        let _ = pool
            .alloc_with(n, &FixedOffset::new(start))
            .unwrap()
            .into_raw();
    }
    pool
}

/// Makes a pool of pages with boundary tracking.
pub(crate) fn tracked(chunks: &[(usize, usize)]) -> Pool {
    let pool = builder(true).order(12).build().unwrap();
    for &(start, size) in chunks {
        pool.add(start, size).unwrap();
    }
    pool
}

/// Returns why the chunk is refused, and checks that the pool is unchanged.
pub(crate) fn refusal(pool: &Pool, chunk: ChunkSpec) -> AddRefused {
    let before = (pool.size(), pool.chunks().len());
    let refused = pool.add_chunk(chunk.clone()).unwrap_err();
    assert_eq!(refused.chunk.start(), chunk.start());
    assert_eq!((pool.size(), pool.chunks().len()), before, "changed");
    refused.reason
}

/// Installs `handler` for a signal.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: all-zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is initialised and its handler has the type that these flags ask for.
    let installed = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
}
