//! Who is told what a pool does: the trait, and how the pool tells.
//!
//! Compiled with the feature `observe` only. A pool that was built without an observer then has one
//! branch more in each call; a pool with one takes other paths from the beginning of a call
//! (`pool/observed.rs`), which go the usual way and tell about it.
//!
//! # Numbers
//!
//! The number of an event is drawn after what it takes was taken, and before what it gives back may
//! be taken by others. Claims acquire and releases release, and numbers are drawn by one
//! read-modify-write, so events in the order of their numbers are a history that the pool could have
//! had: no range is handed out before it came back.
//!
//! # Accounts
//!
//! Each chunk counts what allocations hold in it, in a word that also says whether the chunk has
//! begun to be removed, and what caches keep in it, in another such word. So each event knows whether it changed
//! what is free in chunks that serve, and the sums over all events are exact, whatever races. They are not where a
//! free by address takes what an allocation or a cache still holds: see [`Event::change`].
//!
//! A run that goes from an allocation into a cache, or out of it, changes both words. If the chunk begins to be removed
//! between the two changes only one of them counts. Then two events are told instead of one: that the pool
//! has the run back, and that a cache takes it, or the other way round. Each of them belongs to one word.
//!
//! # Panics
//!
//! A panic of an observer ends where it was told, and one of its destructor where it is dropped. So whatever a call answers is answered, which is more
//! than an allocation that comes back by itself: a removal's `Drain`, a refused chunk, the pool itself. And
//! who calls several times, to seal the pools of a device say, is not stopped in the middle.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use alloc::boxed::Box;
use alloc::sync::Arc;
use crossbeam_utils::CachePadded;

use crate::algorithm::Notation;
use crate::error::{AddRefused, AllocError, FreeError, RemoveError, ResizeError};
use crate::sync::{AtomicUsize, Ordering};
use crate::unwind::discard_panic;

/// Is told what a pool does, by the thread that does it: see
/// [`Builder::observer`](crate::Builder::observer).
///
/// It is told outside of what other threads could run into: an allocation holds its range, a free is
/// over. (Only a refused [`alloc_many`](crate::Pool::alloc_many) is told before it is rolled back.) So
/// an observer may call the pool, and a pool over memory or of a device that is around it; what it does
/// there is told to it as well.
///
/// # Signal safety
///
/// A call on a pool with an observer is as [signal-safe](crate#signal-safety) as the observer.
///
/// # Panics
///
/// An observer takes no part in what it is told of, so a panic of it ends where it was told: the call goes
/// on and answers as it would have without. The program's panic hook has heard of it by then, and
/// [`Stats::observer_panics`](crate::Stats::observer_panics) counts it. A test whose observer asserts
/// something should look there. A panic of its destructor ends there too: what the pool that drops it has to answer,
/// such as the report of [`destroy`](crate::Pool::destroy), is answered.
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
    /// Whether it wants its pool's events numbered, which costs each of them a read-modify-write on a
    /// word that all threads share. Asked once, when the pool is built; no, unless said.
    fn numbered(&self) -> bool {
        false
    }

    /// Something happened. Threads tell side by side, so events may come in another order than that
    /// of their numbers, which is one in which they could have happened one after the other.
    ///
    /// Numbers begin at 0, none is left out, and they wrap. All are 0 where they were not asked for.
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

/// What an [`Observer`] is told. Addresses and sizes are bytes.
///
/// What a [`Cache`](crate::Cache) hands out and takes back is allocated and freed as any other range, with a flag
/// `cached` that says that the range does not come from the pool or go back to it. What a cache takes from the pool to
/// have it at hand, and what it returns, are events of their own. A range that an allocation let go of by
/// [`into_raw`](crate::Allocation::into_raw) is held until it is freed.
///
/// | what happens | events |
/// |---|---|
/// | a cache takes a batch of runs from the pool | `CacheFilled` |
/// | `Cache::alloc` hands out a run that it kept | `Allocated { cached: true }` |
/// | `Cache::alloc` has the pool serve the request | `Allocated { cached: false }` |
/// | `Cache::free` keeps the run: nobody else can have it | `Freed { cached: true }` |
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
///             _ => return, // what is not asked for, and what later versions tell
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
    /// The pool was built: the first event.
    #[non_exhaustive]
    Built {
        /// The pool's name.
        name: Option<&'e str>,
        /// A granule is `1 << order` bytes.
        order: u32,
        /// Whether it tracks boundaries.
        tracked: bool,
    },
    /// A range was handed out.
    #[non_exhaustive]
    Allocated {
        /// Where it begins.
        addr: usize,
        /// What was asked for.
        asked: usize,
        /// What it takes, whole granules.
        size: usize,
        /// By which algorithm, if that has a notation; none out of a cache.
        algorithm: Option<Notation>,
        /// Whether a cache kept it until now, so that it was not available to anybody else.
        cached: bool,
        /// Whether its chunk is not being removed.
        serves: bool,
    },
    /// A request was refused.
    #[non_exhaustive]
    AllocRefused {
        /// What was asked for.
        asked: usize,
        /// As of [`Allocated`](Self::Allocated).
        algorithm: Option<Notation>,
        /// Why.
        error: AllocError,
    },
    /// A range came back.
    #[non_exhaustive]
    Freed {
        /// Where it begins.
        addr: usize,
        /// Whole granules. 0 if that is not known, because a callback of a drained chunk panicked out
        /// of a free by address alone.
        size: usize,
        /// Whether a cache keeps it, so that nobody else can have it.
        cached: bool,
        /// Whether its chunk is not being removed.
        serves: bool,
    },
    /// A cache took runs from the pool, to have them at hand: nobody else can have them.
    #[non_exhaustive]
    CacheFilled {
        /// Where each run begins.
        addrs: &'e [usize],
        /// Bytes of each run, whole granules.
        size: usize,
        /// Whether their chunk is not being removed.
        serves: bool,
    },
    /// A cache gave runs that it kept back to the pool.
    #[non_exhaustive]
    CacheEmptied {
        /// Where each run begins.
        addrs: &'e [usize],
        /// Bytes of each run, whole granules.
        size: usize,
        /// Whether their chunk is not being removed.
        serves: bool,
    },
    /// A free was refused, and nothing was changed.
    #[non_exhaustive]
    FreeRefused {
        /// Where the range begins.
        addr: usize,
        /// Bytes, if any were given.
        size: Option<usize>,
        /// Why. None where an allocation ended whose range had been freed by address before.
        error: Option<FreeError>,
    },
    /// An allocation has another size, at the same place.
    #[non_exhaustive]
    Resized {
        /// Where it begins.
        addr: usize,
        /// What it took, whole granules.
        from: usize,
        /// What was asked for.
        asked: usize,
        /// What it takes now, whole granules.
        to: usize,
        /// Whether its chunk is not being removed.
        serves: bool,
    },
    /// An allocation kept its size.
    #[non_exhaustive]
    ResizeRefused {
        /// Where it begins.
        addr: usize,
        /// What was asked for.
        asked: usize,
        /// Why.
        error: ResizeError,
    },
    /// A chunk was added.
    #[non_exhaustive]
    ChunkAdded {
        /// Where it begins.
        start: usize,
        /// Bytes.
        size: usize,
        /// The physical address of its first byte.
        phys: Option<u64>,
    },
    /// A chunk was not added.
    #[non_exhaustive]
    AddRefused {
        /// Where it would begin.
        start: usize,
        /// Bytes.
        size: usize,
        /// Why.
        reason: AddRefused,
    },
    /// A chunk hands out nothing more from now on. An alloc that took something of it before may be
    /// told after this.
    #[non_exhaustive]
    Draining {
        /// Where it begins.
        start: usize,
        /// Bytes.
        size: usize,
        /// Bytes of it that no allocation held.
        free: usize,
        /// Bytes of `free` that caches kept.
        cached: usize,
    },
    /// A chunk was not removed.
    #[non_exhaustive]
    RemoveRefused {
        /// The address given.
        start: usize,
        /// Why.
        error: RemoveError,
    },
    /// The last range of a chunk that is being removed came back. May be told before
    /// [`Draining`](Self::Draining) is, but has a higher number.
    #[non_exhaustive]
    Drained {
        /// Where it begins.
        start: usize,
        /// Bytes.
        size: usize,
    },
}

impl Event<'_> {
    /// By how many bytes it changed what no allocation holds in chunks that are not being removed. What caches
    /// keep counts as free. The sum over all events, in any order, is [`Pool::avail`](crate::Pool::avail) and what
    /// caches keep, when nobody moves. [`available`](Self::available) counts what caches keep as taken. Constant
    /// time. [Signal-safe](crate#signal-safety).
    ///
    /// Not so where a free by address took what an [`Allocation`](crate::Allocation) or a
    /// [`Cache`](crate::Cache) still held, as it [can](crate::Pool::free) without boundary tracking. If it
    /// took a part of an allocation and nobody else has that part when the allocation ends, the end is told
    /// as a free that was refused although the rest comes back: the sum is too low by this rest. It is
    /// too high by the part if the allocation was shrunk by it, or went into a cache, and by what was taken
    /// from a cache. Where the part is somebody else's by then, it is theirs that is given back, and what
    /// was said holds for them. Each lasts until the chunk is removed.
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
        // Sums wrap, and no true sum exceeds the pool's size; that of a chunk of more than half of all
        // addresses is right as a word.
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

    /// By how many bytes it changed what is available to everybody: as [`change`](Self::change), but what caches
    /// keep counts as taken. The sum over all events, in any order, is [`Pool::avail`](crate::Pool::avail) when
    /// nobody moves, with the same exceptions. Constant time. [Signal-safe](crate#signal-safety).
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

    /// By how many bytes it changed what caches keep in chunks that are not being removed.
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

/// The observer of a pool, and its count of events.
pub(crate) struct Notifier {
    observer: SilentDrop,
    /// The next number, where numbers are asked for.
    next: Option<CachePadded<AtomicUsize>>,
    panics: AtomicUsize,
}

/// An observer whose destructor may panic: such a panic ends here. It would otherwise take the place of a result,
/// such as the report of a pool that is destroyed, or end the process beside another panic.
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

    /// How often the observer panicked.
    pub(crate) fn panics(&self) -> usize {
        // Relaxed: a count.
        self.panics.load(Ordering::Relaxed)
    }

    /// Whoever draws one tells one event.
    pub(crate) fn number(&self) -> usize {
        // Relaxed: claims and releases order what the numbers order (see the module's text).
        self.next
            .as_ref()
            .map_or(0, |next| next.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells what took something, or changed nothing.
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

    /// Does `step`, which may give something back, and tells what `event` makes of its outcome: none if
    /// a callback of a drained chunk panicked, by which time it is done all the same.
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

/// What allocations hold and caches keep in a chunk, and who is told of it.
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

    /// Allocations hold so many granules more, or fewer. Says whether the chunk is not being removed.
    pub(crate) fn hold(&self, granules: isize) -> bool {
        self.held.change(granules)
    }

    /// Caches keep so many granules more, or fewer. Says whether the chunk is not being removed.
    pub(crate) fn keep(&self, granules: isize) -> bool {
        self.kept.change(granules)
    }

    /// The chunk is being removed. Answers the granules that allocations hold, and those that caches keep.
    pub(crate) fn close(&self) -> (usize, usize) {
        (self.held.close(), self.kept.close())
    }
}

/// Granules, doubled, and a bit that says that the chunk is being removed. The granules wrap below zero where
/// somebody freed by address what nobody held.
struct Count(AtomicUsize);

impl Count {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Says whether the chunk is not being removed.
    fn change(&self, granules: isize) -> bool {
        // Relaxed: one word, and sums do not depend on the order.
        let before = self
            .0
            .fetch_add((granules as usize) << 1, Ordering::Relaxed);
        before & 1 == 0
    }

    /// The chunk is being removed.
    fn close(&self) -> usize {
        // Relaxed: as above.
        let before = self.0.fetch_or(1, Ordering::Relaxed);
        ((before as isize) >> 1) as usize
    }
}
