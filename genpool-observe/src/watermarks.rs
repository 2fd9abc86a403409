//! A word in time, before a pool is full.

use std::fmt;

use genpool_core::sync::{AtomicUsize, Ordering};
use genpool_core::{Event, Observer};

/// Calls back when what is free in a pool falls below a low mark, and when it rises above a high one, so
/// that a service can add a chunk in time or take one away. An [`Observer`].
///
/// # What is counted
///
/// What is free in chunks that are not being removed, in bytes. What a [`Cache`](genpool_core::Cache)
/// keeps counts as free, for it is nobody's. Chunks that are added and removed count from and up to
/// that moment. The count is exact when nobody moves; while others are in calls, it is apart from
/// [`Pool::avail`](genpool_core::Pool::avail) by what those calls move.
///
/// One mistake of a program makes it wrong until the chunk is removed: without boundary tracking a free by
/// address can take a part of what an allocation or a cache still holds.
/// [`Event::change`](genpool_core::Event::change) says by how much.
///
/// # What is promised
///
/// - The marks are independent. Each time the count goes from the low mark or more to less, the callback
///   is called once with [`Mark::Low`], by the thread whose call changed it so. Each time it goes from the
///   high mark or less to more, once with [`Mark::High`]. A pool begins with nothing free and no mark
///   crossed, so its first chunks cross the high mark if they are large enough, never the low one.
/// - It is called at the end of that call, when the range is held or given back: the callback may call
///   the pool, and add to it. What it does there may cross marks too, and call it again, inside itself.
/// - Two threads that cross one after the other may call in the other order. [`Crossing::free`] is the
///   count that each of them made; [`free`](Self::free) is the count as it is.
/// - It may be called in any thread, for every call on the pool and every drop of an allocation, at
///   worst at each: a pool that stays about a mark crosses it often. A callback that needs quiet between
///   two calls remembers its own state.
///
/// Costs one read-modify-write on a word of its own for each alloc and free, beside the one that the pool
/// spends on telling: a pair of both took 2.2 to 3.1 times as long as without (2026-11).
/// [Signal-safe](genpool_core#signal-safety), if the
/// callback is. Right for pools of less than half of all addresses.
///
/// # The callback and the pool
///
/// The pool owns the callback, so the callback must not own the pool, or neither would ever end:
///
/// ```
/// use std::sync::Arc;
/// use genpool::Pool;
/// use genpool::observe::{Mark, Watermarks};
///
/// let pool = Arc::new_cyclic(|pool: &std::sync::Weak<Pool>| {
///     let pool = pool.clone();
///     let grow = Watermarks::new(0x2000, 0x8000, move |crossing| {
///         if crossing.mark == Mark::Low
///             && let Some(pool) = pool.upgrade()
///         {
///             // Refused the second time, for it is there already.
///             pool.add(0x10_0000, 0x1_0000).ok();
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
/// });
/// # drop(marks);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Less is free than the low mark.
    Low,
    /// More is free than the high mark.
    High,
}

/// A mark was crossed.
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
    /// Bytes that were free then.
    pub free: usize,
}

impl<F: Fn(Crossing) + Send + Sync> Watermarks<F> {
    /// Calls `callback` when less than `low` bytes are free, and when more than `high` are. 0 for `low` or
    /// `usize::MAX` for `high` is a mark that is never crossed.
    pub fn new(low: usize, high: usize, callback: F) -> Self {
        Self {
            low,
            high,
            free: AtomicUsize::new(0),
            callback,
        }
    }

    /// Bytes that are free by its count. [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn free(&self) -> usize {
        // Relaxed: a count.
        at_least_none(self.free.load(Ordering::Relaxed))
    }
}

/// A count, or none where it is below zero.
fn at_least_none(count: usize) -> usize {
    if (count as isize) < 0 { 0 } else { count }
}

impl<F: Fn(Crossing) + Send + Sync> Observer for Watermarks<F> {
    fn event(&self, _number: usize, event: &Event<'_>) {
        let change = event.change();
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
            .finish_non_exhaustive()
    }
}
