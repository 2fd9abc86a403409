//! The pool: chunks, a default algorithm, and the calls of genalloc.

mod alloc_paths;
mod builder;
mod changes;
mod chunks;
mod free_paths;
#[cfg(feature = "observe")]
mod observed;
mod queries;

use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::TypeId;

pub use self::builder::Builder;
pub use self::chunks::{ChunkInfo, Chunks};
use crate::activity::Activity;
use crate::algorithm::{Algorithm, FirstFit};
#[cfg(feature = "observe")]
use crate::allocation::Parts;
use crate::allocation::{Allocation, OwnedAllocation, RawRange};
use crate::cache::{Cache, CacheSlots};
use crate::chunk::{Chunk, Owner, State};
use crate::chunk_set::{ChunkSet, DefaultAlgorithm, DefaultVersion};
use crate::drain::Drain;
use crate::error::{AllocError, BuildError, FreeError};
use crate::memory::Node;
#[cfg(feature = "observe")]
use crate::observer::Notifier;
use crate::stats::{Counters, Destroyed};
use crate::sync::{AtomicBool, Fault, model_fence, seeded};
use crate::unwind::{Guarded, contained};

/// What all handles on one pool share.
pub(crate) struct Inner {
    order: u32,
    pub(crate) chunk_set: ChunkSet,
    pub(crate) activity: Activity,
    pub(crate) counters: Counters,
    pub(crate) slots: CacheSlots,
    /// The algorithm that the pool was built with: it lives as long as the pool, so `alloc`
    /// reaches it without a pin.
    built_with: Arc<dyn Algorithm>,
    /// A chunk was removed: those that are added from now on are not permanent (see `chunk_set.rs`).
    removals: AtomicBool,
    tracked: bool,
    node: Option<Node>,
    name: Option<String>,
    #[cfg(feature = "observe")]
    notifier: Option<Arc<Notifier>>,
}

type Report = Guarded<Box<dyn FnOnce(Destroyed) + Send + Sync>>;

/// A pool of special-purpose memory, shared by reference (or in an `Arc`) between any number of
/// threads.
///
/// Chunks are tried newest first. No call on a pool ever waits for another thread. Sizes and addresses are
/// in bytes, or in whatever unit the chunks are counted in.
///
/// What it was built with ([`order`](Self::order), [`granule`](Self::granule), [`name`](Self::name),
/// [`node`](Self::node), [`is_tracked`](Self::is_tracked)) is read in constant time, and that is
/// [signal-safe](crate#signal-safety).
///
/// # Memory
///
/// No call that gives something back needs memory for it: not the drop of an [`Allocation`] or a [`Cache`], a
/// free, a [`resize`](Allocation::resize) to less, nor [`remove`](Self::remove) and the end of a [`Drain`].
/// [`add`](Self::add) and [`alloc_many`](Self::alloc_many) are refused where there is none.
/// [`set_algorithm`](Self::set_algorithm), [`cache`](Self::cache), [`chunks`](Self::chunks),
/// [`live`](Self::live), [`destroy`](Self::destroy), [`Drain::on_drained`] and the [`Builder`] end the process
/// then, as `Box` and `Arc` do; so do `add` in the rare case that another thread takes the last memory while it
/// runs, and the end of a pool in a thread that has changed or listed no pool's chunks before.
///
/// # Panics of users' code
///
/// Destructors of owners and of algorithms run at the end of a call that changes the chunk list, of a
/// [`Drain`], or of the pool; a callback runs at the end of the call that gives the last range of its chunk
/// back. If one panics, the call has done all of its work, everything else that is to be dropped or called is
/// dropped or called as well, and then the first panic goes on to the caller, instead of the call's answer. Later
/// panics are discarded, as are those in a thread that panics already. A chunk whose `add` was refused is
/// dropped with the answer in this case.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(5)?; // granules of 32 bytes
/// pool.add_virt(0x1000, 0x8000_0000, 4096)?;
/// let block = pool.alloc(100)?;
/// assert_eq!(block.size(), 128);
/// assert_eq!(block.phys(), Some(0x8000_0000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    inner: Arc<Inner>,
    on_leak: Option<Report>,
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Pool>();
    shared::<Allocation<'_>>();
    shared::<OwnedAllocation>();
    shared::<Drain>();
};

impl Pool {
    /// A pool of granules of `1 << order` bytes, first fit, without a name and without chunks.
    /// [`builder`](Self::builder) has more to choose from. Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pages = Pool::new(12)?;
    /// assert_eq!((pages.granule(), pages.size()), (4096, 0));
    /// let numbers = Pool::new(0)?; // each number by itself: queues, ports, interrupts
    /// assert_eq!(numbers.granule(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Order`] above 63 (31 on 32-bit machines).
    pub fn new(order: u32) -> Result<Self, BuildError> {
        Self::builder().order(order).build()
    }

    /// Everything that can be chosen for a pool. Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::builder().order(5).name("sram").boundary_tracking().build()?;
    /// assert_eq!((pool.order(), pool.name(), pool.is_tracked()), (5, Some("sram"), true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    // ---- what it is ----

    /// A granule is `1 << order` bytes.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.inner.order
    }

    /// A granule in bytes.
    #[must_use]
    pub fn granule(&self) -> usize {
        1 << self.inner.order
    }

    /// The name that it was built with.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// The NUMA node that its bookkeeping is placed on.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.inner.node.map(Node::number)
    }

    /// Whether it was built with boundary tracking.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.inner.tracked
    }

    // ---- allocation ----

    /// Allocates `size` bytes, rounded up to whole granules, by the default algorithm. The
    /// allocation comes back when it is dropped.
    ///
    /// One compare-and-swap where the run lies in one word of the bitmap, one a word where it is longer;
    /// the search skips what cannot serve, and is at worst linear in the granules of the pool, 64 at a
    /// time. A failing call looks at all of them, unless the last proof that no run is so long still holds.
    /// [Signal-safe](crate#signal-safety), if the default algorithm is.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let buffer = pool.alloc(5000)?;
    /// assert_eq!((buffer.addr(), buffer.size()), (0x1000, 8192));
    /// drop(buffer);
    /// assert_eq!(pool.avail(), pool.size());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Exhausted`](AllocError::Exhausted) where there is no fit, [`Impossible`](AllocError::Impossible) where
    /// there would be none if all chunks were free, [`Contended`](AllocError::Contended) where neither could be
    /// proved, [`ZeroSize`](AllocError::ZeroSize); from a default algorithm with rules
    /// of its own also [`Taken`](AllocError::Taken), [`Unsuitable`](AllocError::Unsuitable) and
    /// [`BadProposal`](AllocError::BadProposal).
    #[inline(always)]
    pub fn alloc(&self, size: usize) -> Result<Allocation<'_>, AllocError> {
        let inner = &*self.inner;
        #[cfg(feature = "observe")]
        if let Some(notifier) = inner.notifier() {
            return inner.alloc_observed(notifier, size).map(Parts::whole);
        }
        inner.alloc_default(size, 0)
    }

    /// Allocates as [`alloc`](Self::alloc) does, by the given algorithm, which decides what the search
    /// costs. [Signal-safe](crate#signal-safety), if that is.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// /// The chunk's second half first.
    /// struct UpperHalf;
    ///
    /// impl Algorithm for UpperHalf {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         let (n, middle) = (request.granules(), Granule(chunk.granules() / 2));
    ///         chunk
    ///             .find_run(middle, Granule(usize::MAX), n)
    ///             .or_else(|| chunk.find_run(Granule(0), Granule(usize::MAX), n))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert_eq!(pool.alloc_with(1, &UpperHalf)?.addr(), 0x3000);
    /// assert_eq!(pool.alloc(1)?.addr(), 0x1000); // the default is as before
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    #[inline(always)]
    pub fn alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<Allocation<'_>, AllocError> {
        let inner = &*self.inner;
        #[cfg(feature = "observe")]
        if let Some(notifier) = inner.notifier() {
            return inner
                .alloc_with_observed(notifier, size, algorithm)
                .map(Parts::whole);
        }
        inner.alloc_with(size, algorithm, 0)
    }

    /// Allocates as [`alloc`](Self::alloc) does, as a value that does not borrow the pool: what the
    /// pool needs to take it back lives as long as it does.
    /// [Signal-safe](crate#signal-safety) to allocate; the drop of the
    /// last one after the pool's end frees the pool's bookkeeping, which is not.
    ///
    /// ```
    /// use genpool::{OwnedAllocation, Pool};
    ///
    /// /// Lives as long as it likes, beside the pool or after it.
    /// struct Connection {
    ///     buffer: OwnedAllocation,
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let connection = Connection { buffer: pool.alloc_owned(5000)? };
    /// let report = pool.destroy();
    /// assert_eq!(report.held[0].addr, connection.buffer.addr());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_owned(&self, size: usize) -> Result<OwnedAllocation, AllocError> {
        Ok(self.alloc(size)?.into_owned(&self.inner))
    }

    /// As [`alloc_owned`](Self::alloc_owned), by the given algorithm.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<OwnedAllocation, AllocError> {
        Ok(self.alloc_with(size, algorithm)?.into_owned(&self.inner))
    }

    /// Several allocations, all or nothing, each by the default algorithm in the order given. For
    /// everybody else a refused call never held anything: no caller is told
    /// [`Exhausted`](AllocError::Exhausted) because of it. While the call lasts they are told
    /// [`Contended`](AllocError::Contended) instead. Costs what so many calls of [`alloc`](Self::alloc)
    /// do, and memory for the list. Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0, 0x4000)?;
    /// let rings = pool.alloc_many(&[4096, 8192])?;
    /// assert!(pool.alloc_many(&[4096, 4096]).is_err());
    /// assert_eq!(pool.avail(), 4096);
    /// # drop(rings);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc), of the first that found no room, and [`NoMemory`](AllocError::NoMemory) for
    /// the list. `Exhausted` says that at some
    /// instant there was no fit for that one beside those that had been placed before it.
    pub fn alloc_many(&self, sizes: &[usize]) -> Result<Vec<Allocation<'_>>, AllocError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.inner.notifier() {
            return self.inner.alloc_many_observed(notifier, sizes);
        }
        // Dropped after the list, so that a rollback is over before it is told.
        let _in_flight = self.inner.activity.enter();
        let mut list = Vec::new();
        self.inner.alloc_each(sizes, &mut list)?;
        Ok(list)
    }

    /// Makes `algorithm`, with its data, the default from now on; others allocate meanwhile, each by
    /// the old one or the new one, whole. Constant time. Not [signal-safe](crate#signal-safety). Ends the
    /// process where there is no memory for some 200 bytes.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct LastFit;
    ///
    /// impl Algorithm for LastFit {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         let n = request.granules();
    ///         let last = chunk.runs(Granule(0), n).last()?;
    ///         Some(Granule(last.start.0 + last.len - n))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert_eq!(pool.alloc(1)?.addr(), 0x1000);
    /// pool.set_algorithm(LastFit);
    /// assert_eq!(pool.alloc(1)?.addr(), 0x4000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_algorithm<A: Algorithm + 'static>(&self, algorithm: A) {
        let (algorithm, default) = as_default(algorithm);
        let mut change = self.inner.chunk_set.change();
        let changed = change.publish(|list| {
            Ok::<_, core::convert::Infallible>(Some(list.with_algorithm(&algorithm, default)))
        });
        match changed {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// A handle for one thread that keeps a few runs at hand, so that most of its calls touch nothing
    /// that another thread uses. Linear in the number of caches. Not [signal-safe](crate#signal-safety). Ends the
    /// process where there is no memory for some 200 bytes, which are needed if no cache has ended before.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?;
    /// cache.free(buffer); // or dropped, here or in any other thread
    /// assert!(pool.avail() < pool.size());
    /// cache.flush();
    /// assert_eq!(pool.avail(), pool.size());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cache(&self) -> Cache<'_> {
        Cache::new(self, &self.inner)
    }

    // ---- free by address ----

    /// Gives back `size` bytes at `addr`, for who kept no [`Allocation`]: checked as a whole before
    /// anything changes. Of two frees of one allocation that race exactly one succeeds. Linear in the
    /// granules of the range, 64 at a time; with boundary tracking a refusal looks for the allocation
    /// around the address, granule by granule downwards. [Signal-safe](crate#signal-safety).
    ///
    /// Without boundary tracking the pool knows which granules are taken, not by whom: a free with a
    /// wrong size inside other allocations cannot be told from a right one, nor can one of a range
    /// that an [`Allocation`] still holds or a [`Cache`] keeps.
    ///
    /// ```
    /// use genpool::{FreeError, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let range = pool.alloc(5000)?.into_raw();
    /// pool.free(range.addr, range.size)?;
    /// assert_eq!(pool.free(range.addr, range.size), Err(FreeError::NotAllocated { addr: 0x1000 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The range is [empty](FreeError::ZeroSize), [no chunk's](FreeError::Foreign),
    /// [not on a granule](FreeError::Misaligned), [longer than its chunk](FreeError::PastChunk), or
    /// [free already](FreeError::NotAllocated); with boundary tracking also
    /// [of another size](FreeError::WrongSize) or [inside an allocation](FreeError::Interior). Nothing was
    /// changed.
    pub fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.inner.free(addr, Some(size), |_, _| ())
    }

    /// As [`free`](Self::free), and hands back the owner's value of the chunk.
    /// [Signal-safe](crate#signal-safety) but for
    /// the drop of what it returns.
    ///
    /// # Errors
    ///
    /// As [`free`](Self::free).
    pub fn free_owner(&self, addr: usize, size: usize) -> Result<Option<Owner>, FreeError> {
        self.inner
            .free(addr, Some(size), |chunk, _| chunk.owner().cloned())
    }

    /// Gives back the allocation that starts at `addr` and answers its size in bytes. Needs boundary
    /// tracking. Costs what [`free`](Self::free) does. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::builder().order(12).boundary_tracking().build()?;
    /// pool.add(0x1000, 0x4000)?;
    /// let addr = pool.alloc(5000)?.into_raw().addr;
    /// assert_eq!(pool.free_addr(addr), Ok(8192));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`free`](Self::free), and [`FreeError::NotTracked`] without boundary tracking. Nothing was changed.
    pub fn free_addr(&self, addr: usize) -> Result<usize, FreeError> {
        let order = self.inner.order;
        self.inner.free(addr, None, |_, granules| granules << order)
    }

    /// Makes an [`Allocation`] again of a range that [`into_raw`](Allocation::into_raw) let go, so that it
    /// can be resized in place or given back by a drop. The range is checked as [`free`](Self::free)
    /// checks it, with the same limits: without boundary tracking the pool knows which granules are taken,
    /// not by whom. A range has one allocation: if it is adopted while another one is alive, the first drop gives
    /// it back under the second. Linear in the granules of the range, 64 at a time.
    /// [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::{FreeError, Pool};
    ///
    /// let pool = Pool::builder().order(12).boundary_tracking().build()?;
    /// pool.add(0x1000, 0x2000)?;
    /// let range = pool.alloc(0x2000)?.into_raw(); // numbers, which a device can keep
    ///
    /// let mut allocation = pool.adopt(range)?;
    /// allocation.resize(0x1000)?; // needs no room, so it works in a full pool
    /// let range = allocation.into_raw();
    /// assert_eq!((range.size, pool.avail()), (0x1000, 0x1000));
    /// drop(pool.adopt(range)?);
    /// let twice = pool.adopt(range).unwrap_err();
    /// assert_eq!(twice, FreeError::NotAllocated { addr: 0x1000 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`free`](Self::free). Nothing was changed.
    pub fn adopt(&self, range: RawRange) -> Result<Allocation<'_>, FreeError> {
        self.inner.adopt(range)
    }

    // ---- the end ----

    /// Ends the pool and reports what is still held. Allocations that do not borrow the pool stay
    /// valid until they are given back, and the bookkeeping they need lives on with them; ranges
    /// that are only known by address are given up. Linear in the granules.
    /// Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let kept = pool.alloc_owned(5000)?;
    /// let report = pool.destroy();
    /// assert_eq!(report.held[0].size, 8192);
    /// drop(kept);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn destroy(mut self) -> Destroyed {
        let unused = self.on_leak.take();
        let report = self.report();
        // Code of users, of which each is dropped whatever panics.
        drop(self);
        drop(unused);
        report
    }

    fn report(&self) -> Destroyed {
        Destroyed {
            name: self.inner.name.clone(),
            held: self.held(usize::MAX),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(on_leak) = self.on_leak.take() {
            let report = self.report();
            if !report.held.is_empty() {
                contained(|| on_leak.into_inner()(report));
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("order", &self.order())
            .field("size", &self.size())
            .field("avail", &self.avail())
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked
    }

    pub(crate) fn observer_panics(&self) -> usize {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.notifier() {
            return notifier.panics();
        }
        0
    }

    /// Whether every place is as good to the default algorithm of this tag, or of a later one.
    pub(crate) fn any_place(&self, tag: DefaultVersion) -> bool {
        match tag.default {
            DefaultAlgorithm::FirstFit => FirstFit.any_place(),
            DefaultAlgorithm::BuiltWith => self.built_with.any_place(),
            DefaultAlgorithm::Other => self.chunk_set.pin().algorithm().any_place(),
        }
    }

    /// Calls `with` on the chunk that `addr` lies in, if there is one. Only what `with` returns may
    /// leave: the chunk may not outlive the call.
    #[inline]
    pub(crate) fn in_chunk<R>(&self, addr: usize, with: impl FnOnce(&Chunk) -> R) -> Option<R> {
        if let Some(chunk) = self.chunk_set.newest()
            && chunk.contains(addr)
            && chunk.state() != State::Drained
        {
            return Some(with(chunk));
        }
        if let Some(chunk) = self.chunk_set.address_index.find(addr) {
            return Some(with(chunk));
        }
        let pin = self.chunk_set.pin();
        pin.find(addr).map(|chunk| with(chunk))
    }

    /// As [`in_chunk`](Self::in_chunk), if the chunk there is of that generation.
    pub(crate) fn in_generation<R>(
        &self,
        addr: usize,
        generation: usize,
        with: impl FnOnce(&Chunk) -> R,
    ) -> Option<R> {
        let pin = self.chunk_set.pin();
        pin.find(addr)
            .filter(|chunk| chunk.generation() == generation)
            .map(|chunk| with(chunk))
    }

    /// `answer`, which was read from bitmaps or from the chunk list. It may show a change that its
    /// author has not told the probers yet; from now on it is known, so it is told.
    pub(crate) fn reveal<T>(&self, answer: T) -> T {
        if !seeded(Fault::UnnotifiedAnswer) {
            // "Bits read, now the probers": `SeqCst` loads, as everywhere in the protocol.
            model_fence();
            self.activity.notify();
        }
        answer
    }
}

/// An algorithm as the chunk set keeps it. First fit is recognised so that `alloc` finds it without a
/// look at the list.
fn as_default<A: Algorithm + 'static>(algorithm: A) -> (Arc<dyn Algorithm>, DefaultAlgorithm) {
    let default = if TypeId::of::<A>() == TypeId::of::<FirstFit>() {
        DefaultAlgorithm::FirstFit
    } else {
        DefaultAlgorithm::Other
    };
    (Arc::new(Guarded::new(algorithm)), default)
}
