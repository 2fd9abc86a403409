//! Chunks that are being removed and have no `Drain` any more: a stack of them.
//!
//! The last allocation in such a chunk is given back by a call that must not change the chunk list. So the chunk waits
//! here until a change of the list finds it drained and takes it off the list as well. Each change looks at all of
//! them.
//!
//! The stack's link is a field of the chunk, so a chunk can be put here without memory. Chunks are taken all at once, so
//! there is no ABA problem.

use core::ptr::{self, NonNull};

use crate::sync::Arc;

use crate::chunk::Chunk;
use crate::sync::{AtomicPtr, Ordering};
use crate::unwind::FirstPanic;

/// The stack: see the module's text.
///
/// # Invariants
///
/// `newest` and the `next_leaving` of each chunk on the stack are null or point to a chunk that is on it. Each pointer
/// to a chunk on the stack came from `Arc::into_raw` and owns one count.
pub(crate) struct LeavingChunks {
    newest: AtomicPtr<Chunk>,
}

impl LeavingChunks {
    pub(super) fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Puts a chunk on the stack. It is on none.
    pub(crate) fn push(&self, chunk: Arc<Chunk>) {
        let chunk = Arc::into_raw(chunk);
        // SAFETY: its count is ours until the exchange.
        let next = unsafe { &*chunk }.next_leaving();
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            next.store(newest, Ordering::Relaxed);
            // Release: hands the link over to the thread that takes the chunks.
            match self.newest.compare_exchange_weak(
                newest,
                chunk.cast_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// Takes all chunks.
    pub(super) fn take(&self) -> Taken {
        // Relaxed: a change that misses a chunk leaves it to a later one.
        if self.newest.load(Ordering::Relaxed).is_null() {
            return Taken(ptr::null_mut());
        }
        // Acquire: pairs with every `push`, since all writes of `newest` are read-modify-writes.
        Taken(self.newest.swap(ptr::null_mut(), Ordering::Acquire))
    }
}

/// Chunks that were taken from the stack, to be dropped or put back.
///
/// # Invariants
///
/// The pointer is null or owns a count on its chunk, as the links from there on do.
#[must_use = "chunks that are not drained are put back"]
pub(super) struct Taken(*mut Chunk);

impl Iterator for Taken {
    type Item = Arc<Chunk>;

    fn next(&mut self) -> Option<Arc<Chunk>> {
        let chunk = NonNull::new(self.0)?;
        // SAFETY: by the invariant the pointer owns a count. It is not used again.
        let chunk = unsafe { Arc::from_raw(chunk.as_ptr()) };
        self.0 = chunk.next_leaving().load(Ordering::Relaxed);
        Some(chunk)
    }
}

impl Drop for LeavingChunks {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        for chunk in self.take() {
            panics.run(|| drop(chunk));
        }
        panics.resume();
    }
}
