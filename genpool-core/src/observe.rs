//! Observers: the trait, the events, and how a pool reports them.
//!
//! Compiled with the feature `observe` only. A pool that was built with an observer takes other paths from the
//! beginning of each public call (`ops/observed.rs`), which do the usual work and then notify the observer. So the
//! usual paths have one more branch with the feature, and nothing without it (`ci/counts.sh` builds without it).
//!
//! The trait has one method that takes an enum, rather than a method for each event. Observers can then be combined
//! in one place, and a new event breaks no observer.
//!
//! # Numbers
//!
//! The number of an event is drawn after the operation has taken what it takes, and before other threads can take
//! what it gives back. Claims acquire, releases release, and numbers are drawn by one read-modify-write. So events in
//! the order of their numbers are a possible history of the pool: no range is handed out before it came back. A free
//! into a cache may draw its number late, because no other thread can take what a cache keeps.
//!
//! The pool draws the numbers, not the observer, so several observers can share them. Each number belongs to exactly
//! one event, so a reader knows what is missing. Only a pool whose observer asks for numbers has the counter.
//!
//! # Accounts
//!
//! Whether a free changes what is free in chunks that are not being removed depends on a race with the removal of its
//! chunk. So each chunk has a word that counts what allocations hold in it and also records whether its removal has
//! begun. This word decides the race once, for both sides. A second such word counts what caches keep in the chunk.
//!
//! Each event therefore knows whether it changed what is free, and the sums over all events are exact whatever the
//! interleaving. [`Event::change`] goes by the first word, [`Event::available`] by both. An observer needs one atomic
//! and no list of chunks. A sum that subtracts the size of each removed chunk instead would be too low by what is
//! still held in it. The sums are not exact if a free by address takes what an allocation or a cache still holds: see
//! [`Event::change`].
//!
//! A run that moves between an allocation and a cache changes both words. If the chunk's removal begins between the
//! two changes, only one of them counts. Two events are then reported instead of one: the pool has the run back, and
//! a cache takes it, or the other way round. Each event belongs to one word.
//!
//! # Panics
//!
//! A panic of an observer is caught where it is notified, and counted. A panic of its destructor is caught where it
//! is dropped. Otherwise the result of the call would be lost. An allocation would give itself back, but other
//! results would not: the `Drain` of a removal, without which nobody can wait for the chunk, a refused chunk, the
//! pool itself, or the report of a destroyed pool. A caller that makes several calls, for example to seal all pools
//! of a device, would be stopped halfway.
//!
//! Giving something back may run callbacks of drained chunks, which may panic as well. The event is then reported as
//! done, and the panic goes on.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use alloc::boxed::Box;
use alloc::sync::Arc;
use crossbeam_utils::CachePadded;

use crate::error::{AddRefused, AllocError, FreeError, RemoveError, ResizeError};
use crate::placement::AlgorithmName;
use crate::sync::{AtomicUsize, Ordering};
use crate::unwind::discard_panic;

/// Receives notifications of what a pool does, on the thread that does it: see
/// [`Builder::observer`](crate::Builder::observer).
///
/// The observer runs while nothing is half done that another thread could run into: an allocation already holds its
/// range, and a free is complete. (The exception is a refused [`alloc_many`](crate::PoolView::alloc_many), which is
/// reported before it is rolled back.) So an observer may call the pool, and a pool over memory or of a device that
/// wraps it. Those calls are reported to the observer too.
///
/// # Signal safety
///
/// A call on a pool with an observer is as [signal-safe](crate#signal-safety) as the observer.
///
/// # Panics
///
/// A panic of the observer does not affect the call that it was notified of: the panic is caught, and the call goes
/// on and returns as it would have otherwise. The program's panic hook has run by then, and
/// [`Stats::observer_panics`](crate::Stats::observer_panics) counts the panic. A test whose observer asserts
/// something should check that count. A panic of the observer's destructor is caught too, so the pool that drops it
/// still returns its result, such as the report of [`destroy`](crate::Pool::destroy).
///
/// ```
/// // features = ["observe"]
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use genpool::{Event, Observer, Pool};
///
/// #[derive(Default)]
/// struct Refusals(AtomicUsize);
///
/// impl Observer for Refusals {
///     fn event(&self, _number: usize, event: &Event<'_>) {
///         if let Event::AllocRefused { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let refusals = Arc::new(Refusals::default());
/// let pool = Pool::builder().order(12).observer(Arc::clone(&refusals)).build()?;
/// pool.add(0, 4096)?;
/// assert!(pool.alloc(4097).is_err());
/// assert_eq!(refusals.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync {
    /// Returns true if the observer wants numbered events. Each event then costs a read-modify-write on a word that
    /// all threads share. Called once, when the pool is built. False by default.
    fn numbered(&self) -> bool {
        false
    }

    /// Handles an event. Threads report concurrently, so events may arrive in a different order from that of their
    /// numbers. The order of the numbers is one in which they could have happened one after the other.
    ///
    /// Numbers begin at 0, have no gaps, and wrap. They are all 0 if numbers were not asked for.
    fn event(&self, number: usize, event: &Event<'_>);
}

macro_rules! forward {
    ($($pointer:ty),+) => {
        $(impl<O: Observer + ?Sized> Observer for $pointer {
            fn numbered(&self) -> bool {
                (**self).numbered()
            }

            fn event(&self, number: usize, event: &Event<'_>) {
                (**self).event(number, event);
            }
        })+
    };
}

forward!(&O, Box<O>, Arc<O>);

/// An event of a pool, as an [`Observer`] receives it. Addresses and sizes are in bytes.
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
/// let (tell, told) = channel();
/// let pool = Pool::builder().order(12).observer(Calls(tell)).build()?;
/// pool.add(0x1000, 0x4000)?;
/// drop(pool.alloc(5000)?);
/// drop(pool);
/// assert_eq!(told.iter().collect::<Vec<_>>(), ["0x1000: 5000 in 8192", "0x1000: freed"]);
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
    /// A chunk was refused.
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

/// The observer of a pool, with the counter of its events.
pub(crate) struct Notifier {
    observer: SilentDrop,
    /// The next number, if the observer asked for numbers.
    next: Option<CachePadded<AtomicUsize>>,
    panics: AtomicUsize,
}

/// An observer whose destructor's panic is caught. The panic would otherwise replace a result, such as the report of
/// a pool that is destroyed, or abort the process during another panic.
pub(crate) struct SilentDrop(Option<Box<dyn Observer>>);

impl SilentDrop {
    pub(crate) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Box::new(observer)))
    }

    fn numbered(&self) -> bool {
        self.0.as_ref().is_some_and(|observer| observer.numbered())
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        if let Some(observer) = &self.0 {
            observer.event(number, event);
        }
    }
}

impl Drop for SilentDrop {
    fn drop(&mut self) {
        let observer = self.0.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(observer))) {
            discard_panic(payload);
        }
    }
}

impl Notifier {
    pub(crate) fn new(observer: SilentDrop) -> Self {
        let next = observer
            .numbered()
            .then(|| CachePadded::new(AtomicUsize::new(0)));
        let panics = AtomicUsize::new(0);
        Self {
            observer,
            next,
            panics,
        }
    }

    /// Returns how often the observer panicked.
    pub(crate) fn panics(&self) -> usize {
        // Relaxed: a count.
        self.panics.load(Ordering::Relaxed)
    }

    /// Draws the number of an event. The caller must report exactly one event with it.
    pub(crate) fn number(&self) -> usize {
        // Relaxed: claims and releases order what the numbers order (see the module's text).
        self.next
            .as_ref()
            .map_or(0, |next| next.fetch_add(1, Ordering::Relaxed))
    }

    /// Reports an operation that took something or changed nothing.
    pub(crate) fn notify(&self, event: &Event<'_>) {
        self.notify_as(self.number(), event);
    }

    fn notify_as(&self, number: usize, event: &Event<'_>) {
        let observed = catch_unwind(AssertUnwindSafe(|| self.observer.event(number, event)));
        if let Err(payload) = observed {
            self.end_panic(payload);
        }
    }

    #[cold]
    fn end_panic(&self, payload: Box<dyn Any + Send>) {
        // Relaxed: a count.
        self.panics.fetch_add(1, Ordering::Relaxed);
        discard_panic(payload);
    }

    /// Runs `step`, which may give something back, and reports the event that `event` makes of its result. The result
    /// is none if a callback of a drained chunk panicked; the step is complete in this case too.
    pub(crate) fn around<'e, R>(
        &self,
        step: impl FnOnce() -> R,
        event: impl FnOnce(Option<&R>) -> Event<'e>,
    ) -> R {
        let number = self.number();
        let done = catch_unwind(AssertUnwindSafe(step));
        self.notify_as(number, &event(done.as_ref().ok()));
        done.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// The account of a chunk: what allocations hold and caches keep in it, and the notifier of its pool.
pub(crate) struct Account {
    pub(crate) notifier: Arc<Notifier>,
    held: Count,
    kept: Count,
}

impl Account {
    pub(crate) fn new(notifier: Arc<Notifier>) -> Self {
        Self {
            notifier,
            held: Count::new(),
            kept: Count::new(),
        }
    }

    /// Adds granules to what allocations hold, or subtracts them. Returns true if the chunk is not being removed.
    pub(crate) fn hold(&self, granules: isize) -> bool {
        self.held.change(granules)
    }

    /// Adds granules to what caches keep, or subtracts them. Returns true if the chunk is not being removed.
    pub(crate) fn keep(&self, granules: isize) -> bool {
        self.kept.change(granules)
    }

    /// Marks the chunk as being removed. Returns the granules that allocations hold, and those that caches keep.
    pub(crate) fn close(&self) -> (usize, usize) {
        (self.held.close(), self.kept.close())
    }
}

/// A number of granules, doubled, and a bit that says whether the chunk is being removed. The number wraps below zero
/// if granules that nobody held were freed by address.
struct Count(AtomicUsize);

impl Count {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Adds granules. Returns true if the chunk is not being removed.
    fn change(&self, granules: isize) -> bool {
        // Relaxed: one word, and sums do not depend on the order.
        let before = self
            .0
            .fetch_add((granules as usize) << 1, Ordering::Relaxed);
        before & 1 == 0
    }

    /// Marks the chunk as being removed, and returns the granules.
    fn close(&self) -> usize {
        // Relaxed: as above.
        let before = self.0.fetch_or(1, Ordering::Relaxed);
        ((before as isize) >> 1) as usize
    }
}
