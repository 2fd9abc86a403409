//! The events of a pool.

use crate::error::{AddRefused, AllocError, FreeError, RemoveError, ResizeError};
use crate::placement::name::AlgorithmName;

/// An event of a pool, as an [`Observer`](crate::Observer) receives it. Addresses and sizes are in bytes.
///
/// A range that a [`Cache`](crate::Cache) hands out or takes back is reported as allocated or freed like any other,
/// with the flag `cached` set if the range neither comes from the pool nor goes back to it. Runs that a cache takes
/// from the pool in advance, and those that it returns, have events of their own. A range that
/// [`into_raw`](crate::Allocation::into_raw) turned into numbers is held until it is freed.
///
/// | what happens | event |
/// |---|---|
/// | a cache takes a batch of runs from the pool | `CacheFilled` |
/// | `Cache::alloc` hands out a run that it kept | `Allocated { cached: true }` |
/// | `Cache::alloc` takes the run from the pool | `Allocated { cached: false }` |
/// | `Cache::free` keeps the run, which no other thread can then take | `Freed { cached: true }` |
/// | `Cache::free` gives the run to the pool, as a drop does | `Freed { cached: false }` |
/// | `Cache::flush`, the drop of a cache, or a full magazine gives runs back to the pool | `CacheEmptied` |
///
/// ```
/// // features = ["observe"]
/// use std::sync::mpsc::{Sender, channel};
/// use genpool::{Event, Observer, Pool};
///
/// struct Calls(Sender<String>);
///
/// impl Observer for Calls {
///     fn event(&self, _number: usize, event: &Event<'_>) {
///         let call = match *event {
///             Event::Allocated { addr, asked, size, .. } => format!("{addr:#x}: {asked} in {size}"),
///             Event::Freed { addr, .. } => format!("{addr:#x}: freed"),
///             _ => return, // other events, and those of later versions
///         };
///         self.0.send(call).ok();
///     }
/// }
///
/// let (sender, events) = channel();
/// let pool = Pool::builder().order(12).observer(Calls(sender)).build()?;
/// pool.add(0x1000, 0x4000)?;
/// drop(pool.alloc(5000)?);
/// drop(pool);
/// assert_eq!(events.iter().collect::<Vec<_>>(), ["0x1000: 5000 in 8192", "0x1000: freed"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// The pool was built. This is the first event.
    #[non_exhaustive]
    Built {
        /// The pool's name.
        name: Option<&'e str>,
        /// A granule is `1 << order` bytes.
        order: u32,
        /// Whether the pool has boundary tracking.
        tracked: bool,
    },
    /// A range was handed out.
    #[non_exhaustive]
    Allocated {
        /// The first address.
        addr: usize,
        /// The size requested.
        asked: usize,
        /// The size taken, in whole granules.
        size: usize,
        /// The algorithm, if it has a name. None for a run out of a cache.
        algorithm: Option<AlgorithmName>,
        /// Whether a cache kept the range until now, so that it was unavailable to other threads.
        cached: bool,
        /// Whether the chunk is not being removed.
        serves: bool,
    },
    /// A request was refused.
    #[non_exhaustive]
    AllocRefused {
        /// The size requested.
        asked: usize,
        /// As in [`Allocated`](Self::Allocated).
        algorithm: Option<AlgorithmName>,
        /// The reason.
        error: AllocError,
    },
    /// A range came back.
    #[non_exhaustive]
    Freed {
        /// The first address.
        addr: usize,
        /// The size in whole granules. 0 if it is unknown because a callback of a drained chunk panicked out of a
        /// free by address alone.
        size: usize,
        /// Whether a cache keeps the range, so that no other thread can take it.
        cached: bool,
        /// Whether the chunk is not being removed.
        serves: bool,
    },
    /// A cache took runs from the pool to keep at hand, so that no other thread can take them.
    #[non_exhaustive]
    CacheFilled {
        /// The first address of each run.
        addrs: &'e [usize],
        /// The size of each run, in whole granules.
        size: usize,
        /// Whether the chunk is not being removed.
        serves: bool,
    },
    /// A cache gave kept runs back to the pool.
    #[non_exhaustive]
    CacheEmptied {
        /// The first address of each run.
        addrs: &'e [usize],
        /// The size of each run, in whole granules.
        size: usize,
        /// Whether the chunk is not being removed.
        serves: bool,
    },
    /// A free was refused, and nothing was changed.
    #[non_exhaustive]
    FreeRefused {
        /// The first address of the range.
        addr: usize,
        /// The size, if one was given.
        size: Option<usize>,
        /// The reason. None if an allocation ended whose range had been freed by address before.
        error: Option<FreeError>,
    },
    /// An allocation was resized in place.
    #[non_exhaustive]
    Resized {
        /// The first address.
        addr: usize,
        /// The size taken before, in whole granules.
        from: usize,
        /// The size requested.
        asked: usize,
        /// The size taken now, in whole granules.
        to: usize,
        /// Whether the chunk is not being removed.
        serves: bool,
    },
    /// A resize was refused, and the allocation kept its size.
    #[non_exhaustive]
    ResizeRefused {
        /// The first address.
        addr: usize,
        /// The size requested.
        asked: usize,
        /// The reason.
        error: ResizeError,
    },
    /// A chunk was added.
    #[non_exhaustive]
    ChunkAdded {
        /// The first address.
        start: usize,
        /// The size.
        size: usize,
        /// The physical address of the first byte, if the chunk has one.
        phys: Option<u64>,
    },
    /// A chunk was refused, or another of the same [`add_many`](crate::Pool::add_many) was.
    #[non_exhaustive]
    AddRefused {
        /// The first address that the chunk would have.
        start: usize,
        /// The size.
        size: usize,
        /// The reason.
        reason: AddRefused,
    },
    /// A chunk is being removed and hands out nothing more. An allocation that was made in it earlier may be reported
    /// after this event.
    #[non_exhaustive]
    Draining {
        /// The first address.
        start: usize,
        /// The size.
        size: usize,
        /// The bytes of the chunk that no allocation held.
        free: usize,
        /// The bytes of `free` that caches kept.
        cached: usize,
    },
    /// A removal was refused.
    #[non_exhaustive]
    RemoveRefused {
        /// The address given.
        start: usize,
        /// The reason.
        error: RemoveError,
    },
    /// The last range of a chunk that is being removed came back. May be reported before
    /// [`Draining`](Self::Draining), but has a higher number.
    #[non_exhaustive]
    Drained {
        /// The first address.
        start: usize,
        /// The size.
        size: usize,
    },
}

impl Event<'_> {
    /// Returns the change, in bytes, of what no allocation holds in chunks that are not being removed. What caches
    /// keep counts as free. While no other thread uses the pool, the sum over all events, in any order, is
    /// [`PoolView::avail`](crate::PoolView::avail) plus what caches keep. [`available`](Self::available) counts what
    /// caches keep as taken. Constant time. [Signal-safe](crate#signal-safety).
    ///
    /// The sum is wrong if a free by address took what an [`Allocation`](crate::Allocation) or a
    /// [`Cache`](crate::Cache) still held, which is [possible](crate::Pool::free) without boundary tracking:
    ///
    /// - If the free took part of an allocation, and no other allocation has that part when the first one ends, the
    ///   end is reported as a refused free although the rest comes back. The sum is then too low by the rest.
    /// - If the allocation was instead shrunk by that part, or went into a cache, the sum is too high by the part.
    /// - If the free took something from a cache, the sum is too high by that.
    /// - If another allocation has the part by then, it loses the part to the first one's drop, and the same cases
    ///   apply to it.
    ///
    /// Each error lasts until the chunk is removed.
    ///
    /// ```
    /// // features = ["observe"]
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicIsize, Ordering};
    /// use genpool::{Event, Observer, Pool};
    ///
    /// #[derive(Default)]
    /// struct Free(AtomicIsize);
    ///
    /// impl Observer for Free {
    ///     fn event(&self, _number: usize, event: &Event<'_>) {
    ///         self.0.fetch_add(event.change(), Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let free = Arc::new(Free::default());
    /// let pool = Pool::builder().order(12).observer(Arc::clone(&free)).build()?;
    /// pool.add(0, 0x4000)?;
    /// let held = pool.alloc(5000)?;
    /// assert_eq!(free.0.load(Ordering::Relaxed), 0x2000);
    /// # drop(held);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn change(&self) -> isize {
        // Sums wrap, and no true sum exceeds the pool's size. For a chunk of more than half of all addresses, the sum
        // is correct as a word.
        match *self {
            Self::Allocated {
                size, serves: true, ..
            } => 0usize.wrapping_sub(size) as isize,
            Self::Freed {
                size, serves: true, ..
            } => size as isize,
            Self::Resized {
                from,
                to,
                serves: true,
                ..
            } => from.wrapping_sub(to) as isize,
            Self::ChunkAdded { size, .. } => size as isize,
            Self::Draining { free, .. } => 0usize.wrapping_sub(free) as isize,
            _ => 0,
        }
    }

    /// Returns the change, in bytes, of what is available to every thread. As [`change`](Self::change), but what
    /// caches keep counts as taken. While no other thread uses the pool, the sum over all events, in any order, is
    /// [`PoolView::avail`](crate::PoolView::avail), with the same exceptions. Constant time.
    /// [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// // features = ["observe"]
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicIsize, Ordering};
    /// use genpool::{Event, Observer, Pool};
    ///
    /// #[derive(Default)]
    /// struct Available(AtomicIsize);
    ///
    /// impl Observer for Available {
    ///     fn event(&self, _number: usize, event: &Event<'_>) {
    ///         self.0.fetch_add(event.available(), Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let available = Arc::new(Available::default());
    /// let pool = Pool::builder().order(12).observer(Arc::clone(&available)).build()?;
    /// pool.add(0, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let held = cache.alloc(4096)?; // the cache takes a batch
    /// cache.free(held); // and keeps this one too
    /// assert_eq!(available.0.load(Ordering::Relaxed), pool.avail() as isize);
    /// assert_eq!(pool.avail(), pool.size() - cache.held());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn available(&self) -> isize {
        self.change().wrapping_sub(self.kept())
    }

    /// Returns the change, in bytes, of what caches keep in chunks that are not being removed.
    fn kept(&self) -> isize {
        let (grown, shrunk) = match *self {
            Self::Freed {
                size,
                cached: true,
                serves: true,
                ..
            } => (size, 0),
            Self::Allocated {
                size,
                cached: true,
                serves: true,
                ..
            } => (0, size),
            Self::CacheFilled {
                addrs,
                size,
                serves: true,
            } => (addrs.len().wrapping_mul(size), 0),
            Self::CacheEmptied {
                addrs,
                size,
                serves: true,
            } => (0, addrs.len().wrapping_mul(size)),
            Self::Draining { cached, .. } => (0, cached),
            _ => (0, 0),
        };
        grown.wrapping_sub(shrunk) as isize
    }
}
