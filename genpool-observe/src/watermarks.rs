//! A callback before a pool is full.
//!
//! The count of available bytes is one atomic, the sum of the events' changes. It is exact because each chunk keeps an
//! account of what is held in it and of whether it is being removed, which decides each race between a free and a
//! removal once for both. So this observer needs no list of chunks. Counting by the sizes of chunks alone would be too
//! low by what a chunk in removal still holds.
//!
//! Each mark is one threshold, without hysteresis. With it, a callback would stay silent if the chunk that it added is
//! too small to reach the upper threshold.

use std::fmt;

use genpool_core::sync::{AtomicUsize, Ordering};
use genpool_core::{AllocError, Event, Observer};

/// Calls back when the available bytes of a pool fall below a low mark, rise above a high mark, or, if [asked
/// for](Self::on_refusal), when a request is refused. A service can then add a chunk in time, or take one away. An
/// [`Observer`].
///
/// # What is counted
///
/// The bytes available to every thread, in chunks that are not being removed. What a [`Cache`](genpool_core::Cache)
/// keeps counts as taken, because only the cache's thread can use it. With [`cached_as_free`](Self::cached_as_free) it
/// counts as free. A chunk counts from when it is added until its removal begins. The count is exact when no call is in
/// progress, and then equals [`PoolView::avail`](genpool_core::PoolView::avail). While other threads are in calls, it
/// differs from that by what those calls move.
///
/// One mistake of a program makes the count wrong until the chunk is removed: without boundary tracking, a free by
/// address can take part of what an allocation or a cache still holds. [`Event::change`](genpool_core::Event::change)
/// says by how much.
///
/// # What is promised
///
/// - The marks are independent. Each time the count goes from the low mark or more to less, the callback is called once
///   with [`Mark::Low`], by the thread whose call changed it. Each time it goes from the high mark or less to more, it
///   is called once with [`Mark::High`]. A pool begins with nothing available and no mark crossed, so its first chunks
///   cross the high mark if they are large enough, and never the low one.
/// - It is called at the end of that call, when the range is already held or given back. The callback may call the
///   pool, and add to it. That may cross a mark too, and call the callback again from within. When a cache takes runs
///   from the pool or returns some, it is called by the cache's thread, in the call that caused it.
/// - Two threads that cross marks one after the other may call back in the other order. [`Crossing::free`] is the count
///   at the crossing; [`free`](Self::free) is the current count.
/// - It may be called in any thread, from every call on the pool and every drop of an allocation, in the worst case
///   from each one: a pool that stays near a mark crosses it often. A callback that must not act so often keeps its own
///   state.
/// - A panic of the callback is caught and counted by the pool, as for any observer. The count of bytes stays right.
///
/// Costs one read-modify-write on a word of its own for each alloc and free, besides the one that the pool spends on
/// notifying. An alloc and free pair took 2.2 to 3.1 times as long as without (2026-11).
/// [Signal-safe](genpool_core#signal-safety) if the callback is. Correct for pools of less than half of all addresses.
///
/// # Marks and caches
///
/// A cache takes a batch of runs at a time, so the count moves in steps of up to 16 granules for each cache. The low
/// mark should be more than all threads take while a chunk is being added, including the batches of their caches.
///
/// ```
/// use std::sync::mpsc::channel;
/// use genpool::Pool;
/// use genpool::observe::{Mark, Watermarks};
///
/// let (sender, receiver) = channel();
/// let marks = Watermarks::new(0x8000, usize::MAX, move |crossing| sender.send(crossing).unwrap_or(()));
/// let pool = Pool::builder().order(12).observer(marks).build()?;
/// pool.add(0x10_0000, 0x1_0000)?; // sixteen pages
/// let mut cache = pool.cache();
/// let buffer = cache.alloc(4096)?;
/// cache.free(buffer);
/// // No buffer is held, but the cache has taken so many runs that less than the mark is left for others.
/// assert_eq!(receiver.recv()?.mark, Mark::Low);
/// assert!(pool.avail() < 0x8000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # A callback that adds chunks
///
/// A call updates the count after it has changed the pool. Other threads may take a whole new chunk before the call
/// that added it has counted it. The count then stays below the low mark, and the mark is not crossed again. So a
/// callback that adds chunks keeps adding until [`PoolView::avail`](genpool_core::PoolView::avail) reaches the mark. The
/// same can happen to what a large free gives back; a request that is then refused still calls back with
/// [`on_refusal`](Self::on_refusal).
///
/// The pool owns the callback, so the callback must not own the pool, or neither would ever be dropped:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use genpool::Pool;
/// use genpool::observe::{Mark, Watermarks};
///
/// let pool = Arc::new_cyclic(|pool: &std::sync::Weak<Pool>| {
///     let (pool, next) = (pool.clone(), AtomicUsize::new(0x10_0000));
///     let grow = Watermarks::new(0x2000, 0x8000, move |crossing| {
///         if crossing.mark == Mark::Low
///             && let Some(pool) = pool.upgrade()
///         {
///             while pool.avail() < 0x2000 {
///                 let base = next.fetch_add(0x1_0000, Ordering::Relaxed);
///                 if pool.add(base, 0x1_0000).is_err() {
///                     break;
///                 }
///             }
///         }
///     });
///     Pool::builder().order(12).observer(grow).build().expect("an order below 64")
/// });
/// pool.add(0, 0x4000)?;
/// let held = pool.alloc(0x3000)?; // leaves less than 0x2000
/// assert_eq!(pool.size(), 0x1_4000);
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Watermarks<F> {
    low: usize,
    high: usize,
    cached_as_free: bool,
    on_refusal: bool,
    /// Available bytes. Negative, as a word, while a free is not counted yet but an allocation that used the freed room
    /// is.
    free: AtomicUsize,
    callback: F,
}

/// The reason for a callback.
///
/// ```
/// use genpool::observe::{Mark, Watermarks};
///
/// let marks = Watermarks::new(0x2000, 0x8000, |crossing| match crossing.mark {
///     Mark::Low => eprintln!("only {} bytes are left: add a chunk", crossing.free),
///     Mark::High => eprintln!("{} bytes are free: one might go", crossing.free),
///     Mark::Refused { asked } => eprintln!("no room for {asked} bytes in {}", crossing.free),
///     _ => {} // what later versions call for
/// });
/// # drop(marks);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// Fewer bytes are available than the low mark.
    Low,
    /// More bytes are available than the high mark.
    High,
    /// A request found no room, or no chunk that could serve it: see [`Watermarks::on_refusal`].
    Refused {
        /// The bytes that were requested.
        asked: usize,
    },
}

/// A mark that was crossed, or a refused request.
///
/// ```
/// use std::sync::mpsc::channel;
/// use genpool::Pool;
/// use genpool::observe::{Mark, Watermarks};
///
/// let (sender, receiver) = channel();
/// let marks = Watermarks::new(0x2000, 0x8000, move |crossing| sender.send(crossing).unwrap_or(()));
/// let pool = Pool::builder().order(12).observer(marks).build()?;
/// pool.add(0x10_0000, 0x4000)?;
/// let held = pool.alloc(0x3000)?;
/// let crossing = receiver.recv()?;
/// assert_eq!((crossing.mark, crossing.free), (Mark::Low, 0x1000));
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crossing {
    /// Which mark: crossed downwards if it is the low one, upwards if it is the high one.
    pub mark: Mark,
    /// The bytes that were available then, by the count of the marks.
    pub free: usize,
}

impl<F: Fn(Crossing) + Send + Sync> Watermarks<F> {
    /// Calls `callback` when fewer than `low` bytes are available, and when more than `high` are. A `low` of 0 or a
    /// `high` of `usize::MAX` is never crossed.
    pub fn new(low: usize, high: usize, callback: F) -> Self {
        Self {
            low,
            high,
            cached_as_free: false,
            on_refusal: false,
            free: AtomicUsize::new(0),
            callback,
        }
    }

    /// Counts what caches keep as free, so that the marks follow what allocations hold. This suits a pool whose caches
    /// are emptied before other threads need what they keep. Otherwise requests may be refused although no mark was
    /// crossed.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::observe::Watermarks;
    ///
    /// let marks = Watermarks::new(0x8000, usize::MAX, |crossing| panic!("{crossing:?}")).cached_as_free();
    /// let pool = Pool::builder().order(12).observer(marks).build()?;
    /// pool.add(0x10_0000, 0x1_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?; // of a batch, of which the rest counts as free
    /// assert!(pool.avail() < 0x8000);
    /// assert_eq!(pool.stats().observer_panics, 0); // it was not called
    /// # drop(buffer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cached_as_free(mut self) -> Self {
        self.cached_as_free = true;
        self
    }

    /// Also calls the callback with [`Mark::Refused`] for each request that fails with
    /// [`Exhausted`](genpool_core::AllocError::Exhausted), [`Taken`](genpool_core::AllocError::Taken) or
    /// [`Impossible`](genpool_core::AllocError::Impossible), before the call returns. A request can fail with more than
    /// the low mark available if the pool is fragmented or the request has constraints. A cache whose first attempt
    /// fails returns what it keeps and tries again; only the final answer counts. The pool does not retry the request
    /// after the callback; that is left to its caller.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use genpool::Pool;
    /// use genpool::observe::{Mark, Watermarks};
    ///
    /// let (sender, receiver) = channel();
    /// let marks = Watermarks::new(0, usize::MAX, move |crossing| sender.send(crossing).unwrap_or(()));
    /// let pool = Pool::builder().order(12).observer(marks.on_refusal()).build()?;
    /// pool.add(0x10_0000, 0x4000)?;
    /// assert!(pool.alloc(0x5000).is_err());
    /// let crossing = receiver.recv()?;
    /// assert_eq!((crossing.mark, crossing.free), (Mark::Refused { asked: 0x5000 }, 0x4000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_refusal(mut self) -> Self {
        self.on_refusal = true;
        self
    }

    /// Returns the available bytes by the count of the marks. [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn free(&self) -> usize {
        // Relaxed: a count.
        at_least_none(self.free.load(Ordering::Relaxed))
    }
}

/// Returns a count, or 0 if it is negative.
fn at_least_none(count: usize) -> usize {
    (count as isize).max(0) as usize
}

impl<F: Fn(Crossing) + Send + Sync> Observer for Watermarks<F> {
    fn event(&self, _number: usize, event: &Event<'_>) {
        if self.on_refusal
            && let Event::AllocRefused {
                asked,
                error:
                    AllocError::Exhausted { .. } | AllocError::Taken { .. } | AllocError::Impossible(_),
                ..
            } = *event
        {
            let (mark, free) = (Mark::Refused { asked }, self.free());
            (self.callback)(Crossing { mark, free });
        }
        let change = match self.cached_as_free {
            true => event.change(),
            false => event.available(),
        };
        if change == 0 {
            return;
        }
        // Relaxed: the changes of one word have a single order. Each crossing is one change, so exactly one thread sees
        // it.
        let count = self.free.fetch_add(change as usize, Ordering::Relaxed);
        let before = at_least_none(count);
        let free = at_least_none(count.wrapping_add(change as usize));
        let mark = if before >= self.low && free < self.low {
            Mark::Low
        } else if before <= self.high && free > self.high {
            Mark::High
        } else {
            return;
        };
        (self.callback)(Crossing { mark, free });
    }
}

impl<F> fmt::Debug for Watermarks<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watermarks")
            .field("low", &self.low)
            .field("high", &self.high)
            .field("cached_as_free", &self.cached_as_free)
            .field("on_refusal", &self.on_refusal)
            .finish_non_exhaustive()
    }
}
