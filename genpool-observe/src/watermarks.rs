//! A word in time, before a pool is full.

use std::fmt;

use genpool_core::sync::{AtomicUsize, Ordering};
use genpool_core::{AllocError, Event, Observer};

/// Calls back when what is available in a pool falls below a low mark, when it rises above a high one, and, if
/// [asked for](Self::on_refusal), when a request is refused, so that a service can add a chunk in time or take one
/// away. An [`Observer`].
///
/// # What is counted
///
/// What is available to everybody in chunks that are not being removed, in bytes. What a
/// [`Cache`](genpool_core::Cache) keeps counts as taken, because only the thread with that cache can have it; with
/// [`cached_as_free`](Self::cached_as_free) it counts as free. Chunks that are added and removed count from and up to
/// that moment. The count is exact when nobody moves, and is [`Pool::avail`](genpool_core::Pool::avail) then; while
/// others are in calls, it differs from that by what those calls move.
///
/// One mistake of a program makes it wrong until the chunk is removed: without boundary tracking a free by
/// address can take a part of what an allocation or a cache still holds.
/// [`Event::change`](genpool_core::Event::change) says by how much.
///
/// # What is promised
///
/// - The marks are independent. Each time the count goes from the low mark or more to less, the callback
///   is called once with [`Mark::Low`], by the thread whose call changed it so. Each time it goes from the
///   high mark or less to more, once with [`Mark::High`]. A pool begins with nothing available and no mark
///   crossed, so its first chunks cross the high mark if they are large enough, never the low one.
/// - It is called at the end of that call, when the range is held or given back: the callback may call
///   the pool, and add to it. What it does there may cross marks too, and call it again, inside itself.
///   Where a cache takes runs from the pool or gives some back, it is called by that cache's thread, in the
///   call that needed it.
/// - Two threads that cross one after the other may call in the other order. [`Crossing::free`] is the
///   count that each of them made; [`free`](Self::free) is the count as it is.
/// - It may be called in any thread, for every call on the pool and every drop of an allocation, at
///   worst at each: a pool that stays about a mark crosses it often. A callback that needs quiet between
///   two calls remembers its own state.
/// - A panic of the callback ends in the pool, which counts it, as that of any observer. The count is right
///   all the same.
///
/// Costs one read-modify-write on a word of its own for each alloc and free, beside the one that the pool
/// spends on telling: a pair of both took 2.2 to 3.1 times as long as without (2026-11).
/// [Signal-safe](genpool_core#signal-safety), if the
/// callback is. Right for pools of less than half of all addresses.
///
/// # Marks and caches
///
/// A cache takes a batch of runs at a time, so the count moves in steps of up to 16 granules for each cache. The low
/// mark is more than all threads take while a chunk is being added, their batches included.
///
/// ```
/// use std::sync::mpsc::channel;
/// use genpool::Pool;
/// use genpool::observe::{Mark, Watermarks};
///
/// let (tell, told) = channel();
/// let marks = Watermarks::new(0x8000, usize::MAX, move |crossing| tell.send(crossing).unwrap_or(()));
/// let pool = Pool::builder().order(12).observer(marks).build()?;
/// pool.add(0x10_0000, 0x1_0000)?; // sixteen pages
/// let mut cache = pool.cache();
/// let buffer = cache.alloc(4096)?;
/// cache.free(buffer);
/// // No buffer is held, but the cache has taken so much that less than the mark is left for others.
/// assert_eq!(told.recv()?.mark, Mark::Low);
/// assert!(pool.avail() < 0x8000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # A callback that adds chunks
///
/// A call changes the count after it has changed the pool. Other threads may take a whole new chunk before the call
/// that added it counts it; the count then stays below the low mark, and the mark is not crossed again. A callback
/// that adds chunks therefore adds until [`Pool::avail`](genpool_core::Pool::avail) reaches the mark. The same
/// can happen to what a large free gives back; a request that is refused then still calls back with
/// [`on_refusal`](Self::on_refusal).
///
/// The pool owns the callback, so the callback must not own the pool, or neither would ever end:
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
    /// Bytes. Below zero, as a word, while a free that made room is not counted yet and what took the
    /// room is.
    free: AtomicUsize,
    callback: F,
}

/// Which mark.
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
    /// Less is available than the low mark.
    Low,
    /// More is available than the high mark.
    High,
    /// A request found no room, or no chunk that could serve it: see [`Watermarks::on_refusal`].
    Refused {
        /// Bytes that were asked for.
        asked: usize,
    },
}

/// A mark was crossed, or a request refused.
///
/// ```
/// use std::sync::mpsc::channel;
/// use genpool::Pool;
/// use genpool::observe::{Mark, Watermarks};
///
/// let (tell, told) = channel();
/// let marks = Watermarks::new(0x2000, 0x8000, move |crossing| tell.send(crossing).unwrap_or(()));
/// let pool = Pool::builder().order(12).observer(marks).build()?;
/// pool.add(0x10_0000, 0x4000)?;
/// let held = pool.alloc(0x3000)?;
/// let crossing = told.recv()?;
/// assert_eq!((crossing.mark, crossing.free), (Mark::Low, 0x1000));
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crossing {
    /// Which one: downwards for the low mark, upwards for the high one.
    pub mark: Mark,
    /// Bytes that were available then, by the count of the marks.
    pub free: usize,
}

impl<F: Fn(Crossing) + Send + Sync> Watermarks<F> {
    /// Calls `callback` when less than `low` bytes are available, and when more than `high` are. 0 for `low` or
    /// `usize::MAX` for `high` is a mark that is never crossed.
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

    /// Counts what caches keep as free: the marks go by what allocations hold. For a pool whose caches are given
    /// back before others need what they keep; otherwise requests may be refused though no mark was crossed.
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

    /// Calls the callback with [`Mark::Refused`] too, for each request that is answered
    /// [`Exhausted`](genpool_core::AllocError::Exhausted), [`Taken`](genpool_core::AllocError::Taken) or
    /// [`Impossible`](genpool_core::AllocError::Impossible), before the call returns. That happens with more than the
    /// low mark available where the pool is cut up or the request has constraints. A cache whose first try
    /// failed gives back what it keeps and tries again; only the answer counts. The request is not tried again
    /// after the callback: its caller does that.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use genpool::Pool;
    /// use genpool::observe::{Mark, Watermarks};
    ///
    /// let (tell, told) = channel();
    /// let marks = Watermarks::new(0, usize::MAX, move |crossing| tell.send(crossing).unwrap_or(()));
    /// let pool = Pool::builder().order(12).observer(marks.on_refusal()).build()?;
    /// pool.add(0x10_0000, 0x4000)?;
    /// assert!(pool.alloc(0x5000).is_err());
    /// let crossing = told.recv()?;
    /// assert_eq!((crossing.mark, crossing.free), (Mark::Refused { asked: 0x5000 }, 0x4000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_refusal(mut self) -> Self {
        self.on_refusal = true;
        self
    }

    /// Bytes that are available by its count. [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn free(&self) -> usize {
        // Relaxed: a count.
        at_least_none(self.free.load(Ordering::Relaxed))
    }
}

/// A count, or none where it is below zero.
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
        // Relaxed: one word, whose changes have one order. Each crossing is one of them, so one thread
        // sees it.
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
