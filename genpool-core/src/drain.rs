//! A chunk on its way out of the pool.

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use alloc::boxed::Box;
use alloc::sync::Arc;
use crossbeam_utils::Backoff;

use crate::chunk::{Chunk, ChunkSpec, State};
use crate::pool::Inner;
use crate::unwind::{FirstPanic, Guarded};

/// The longest nap while waiting for a chunk to drain: short beside the work of taking a device
/// down, long enough to cost nothing (2026-11).
const NAP: Duration = Duration::from_millis(1);

/// A chunk that is being removed: [`Pool::remove`](crate::Pool::remove) answers it.
///
/// Dropping it does not stop the removal: the chunk leaves the pool with a later change of the
/// chunk list, once the last allocation is back. If it is dropped after that, it takes the chunk off the list
/// itself, unless there is no memory for a list without it.
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
    inner: Arc<Inner>,
    chunk: Arc<Chunk>,
}

impl Drain {
    pub(crate) fn new(inner: Arc<Inner>, chunk: Arc<Chunk>) -> Self {
        Self { inner, chunk }
    }

    /// The address of the chunk's first byte. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn start(&self) -> usize {
        self.chunk.start()
    }

    /// Whether the last allocation is back: from then on nobody uses the chunk's memory. At worst
    /// linear in the chunk's granules. May be the one who calls the callback.
    /// [Signal-safe](crate#signal-safety), if that is.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        // What each owner did happens before this answer: its release was seen, then the state set.
        self.chunk.is_drained()
    }

    /// Bytes that are still held, none once the last allocation is back. Linear in the chunk's
    /// granules. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn held(&self) -> usize {
        let taken = self.chunk.bitmap().taken();
        // What a claim took that came too late, and is about to give back, is nobody's.
        if self.chunk.state() == State::Drained {
            return 0;
        }
        taken << self.chunk.order()
    }

    /// Waits until the last allocation is back, or until `timeout` is over if one is given; says
    /// whether it is back. This is the only call of the crate that waits: it looks, spins a while, and
    /// then sleeps for a millisecond between looks. Not [signal-safe](crate#signal-safety).
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

    /// Has `callback` called once when the last allocation is back: now, if it is back already, else
    /// by the thread that gives it back, or by one whose `alloc` took a granule of the chunk and had
    /// to return it. If the pool is used in signal handlers, the callback must be
    /// [signal-safe](crate#signal-safety), the
    /// drop of what it captures included. It should not panic: the panic would come out of somebody's
    /// drop of an allocation, after the range was given back. An earlier callback that was not called yet is dropped. The call itself
    /// allocates memory, ends the process where there is none, and is not signal-safe.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let held = pool.alloc(1)?;
    /// let (told, drained) = mpsc::channel();
    /// let drain = pool.remove(0x1000)?;
    /// drain.on_drained(move || told.send("unmap it").expect("somebody listens"));
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

    /// Takes the chunk off the pool's list, and answers it as it was given, if the last allocation
    /// is back. Linear in the number of chunks. Not [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// This value again, if something is still held.
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
        // The chunk leaves the list also if the callback panics.
        let mut panics = FirstPanic::default();
        let drained = panics.run(|| self.is_drained());
        if drained.unwrap_or_else(|| self.chunk.state() == State::Drained) {
            panics.run(|| self.inner.remove_drained(&self.chunk));
        }
        panics.resume();
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.chunk).finish()
    }
}
