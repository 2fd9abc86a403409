//! [`Drain`]: the removal of a chunk, which lasts until its last allocation was given back.

use core::fmt;
#[cfg(feature = "std")]
use core::time::Duration;
#[cfg(feature = "std")]
use std::time::Instant;

use crate::sync::Arc;
use alloc::boxed::Box;
#[cfg(feature = "std")]
use crossbeam_utils::Backoff;

use crate::chunk::{Chunk, ChunkSpec, State};
use crate::shared::Shared;
use crate::unwind::{FirstPanic, Guarded};

/// The longest nap while waiting for a chunk to drain: short compared with the work of taking a device down, long
/// enough to cost nothing (2026-11).
#[cfg(feature = "std")]
const NAP: Duration = Duration::from_millis(1);

/// A chunk that is being removed, as returned by [`Pool::remove`](crate::Pool::remove).
///
/// Dropping it does not stop the removal: once the last allocation was given back, the chunk leaves the pool with a
/// later change of the chunk list. If the `Drain` is dropped after the last allocation was given back, it takes the
/// chunk off the list itself, unless there is no memory for a list without the chunk.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let held = pool.alloc(5000)?;
///
/// let drain = pool.remove(0x1000)?;
/// assert_eq!((drain.start(), drain.held(), drain.is_drained()), (0x1000, 8192, false));
/// drop(held);
/// assert!(drain.wait(None));
/// let chunk = drain.finish().expect("the last allocation is back");
/// assert_eq!(chunk.size(), 0x4000); // its memory may be unmapped now
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "tells when the chunk's memory is no longer used"]
pub struct Drain {
    shared: Arc<Shared>,
    chunk: Arc<Chunk>,
}

impl Drain {
    pub(crate) fn new(shared: Arc<Shared>, chunk: Arc<Chunk>) -> Self {
        Self { shared, chunk }
    }

    /// Returns the address of the chunk's first byte. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn start(&self) -> usize {
        self.chunk.start()
    }

    /// Returns true if the last allocation was given back. From then on no owner uses the chunk's memory. May run the
    /// callback. At worst linear in the chunk's granules. [Signal-safe](crate#signal-safety) if the callback is.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        // What each owner did happens before this answer: its release was seen before the state was set.
        self.chunk.is_drained()
    }

    /// Returns the number of bytes that are still held: 0 once the last allocation was given back. Linear in the
    /// chunk's granules. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn held(&self) -> usize {
        let taken = self.chunk.bitmap().taken();
        // A claim that came too late may have taken granules that it is about to give back. They are not held.
        if self.chunk.state() == State::Drained {
            return 0;
        }
        taken << self.chunk.order()
    }

    /// Waits until the last allocation was given back, or until `timeout` is over if one is given. Returns true if the
    /// last allocation was given back.
    ///
    /// This is the only call of the crate that waits. It spins a while, and then sleeps for a millisecond between
    /// looks. Not [signal-safe](crate#signal-safety).
    #[cfg(feature = "std")]
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let begin = Instant::now();
        let backoff = Backoff::new();
        while !self.is_drained() {
            if timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
                return false;
            }
            if backoff.is_completed() {
                std::thread::sleep(NAP);
            } else {
                backoff.snooze();
            }
        }
        true
    }

    /// Sets a callback that is called once when the last allocation was given back. If it was given back already, the
    /// callback is called now. Otherwise it is called by the thread that gives it back, or by one whose `alloc` took a
    /// granule of the chunk and had to return it. An earlier callback that was not called yet is dropped.
    ///
    /// If the pool is used in signal handlers, the callback must be [signal-safe](crate#signal-safety), including the
    /// drop of what it captures. It should not panic: the panic would come out of another thread's drop of an
    /// allocation, after the range was given back.
    ///
    /// The call itself allocates memory, aborts the process if there is none, and is not signal-safe.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let held = pool.alloc(1)?;
    /// let (sender, drained) = mpsc::channel();
    /// let drain = pool.remove(0x1000)?;
    /// drain.on_drained(move || sender.send("unmap it").expect("somebody listens"));
    /// assert!(drained.try_recv().is_err());
    /// drop(held);
    /// assert_eq!(drained.recv(), Ok("unmap it"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_drained(&self, callback: impl FnOnce() + Send + 'static) {
        let mut callback = Some(Guarded::new(callback));
        let once = move || {
            if let Some(callback) = callback.take() {
                callback.into_inner()();
            }
        };
        drop(self.chunk.on_drained(Box::new(once)));
    }

    /// Takes the chunk off the pool's list and returns it as it was given, if the last allocation was given back.
    /// Logarithmic in the number of chunks, and linear in the removed ones that are held and whose `Drain` was dropped.
    /// Not [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// Returns this value again if something is still held.
    pub fn finish(self) -> Result<ChunkSpec, Self> {
        if !self.is_drained() {
            return Err(self);
        }
        let chunk = self.chunk.spec();
        drop(self);
        Ok(chunk)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        // The chunk leaves the list even if the callback panics.
        let mut panics = FirstPanic::default();
        let drained = panics.run(|| self.is_drained());
        if drained.unwrap_or_else(|| self.chunk.state() == State::Drained) {
            panics.run(|| self.shared.remove_drained(&self.chunk));
        } else {
            self.shared.chunk_set.leaving.push(Arc::clone(&self.chunk));
        }
        panics.resume();
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.chunk).finish()
    }
}
