//! The pool: chunks, a default algorithm, and genalloc's calls.

mod builder;
mod changes;
mod chunks;
mod queries;

use core::fmt;
use core::ops::Deref;

use crate::sync::{Arc, arc_dyn};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::TypeId;

pub use self::builder::Builder;
pub use self::chunks::{ChunkInfo, Chunks};
#[cfg(feature = "observe")]
use crate::allocation::Parts;
use crate::allocation::{Allocation, OwnedAllocation};
use crate::chunk::Owner;
use crate::chunks::DefaultAlgorithm;
use crate::drain::Drain;
use crate::error::{AllocError, BuildError, FreeError};
use crate::memory::Node;
use crate::placement::{Algorithm, FirstFit};
use crate::raw_range::RawRange;
use crate::shared::Shared;
use crate::stats::Destroyed;
use crate::unwind::{Guarded, contained};

type Report = Guarded<Box<dyn FnOnce(Destroyed) + Send + Sync>>;

/// A pool of special-purpose memory, shared by any number of threads, by reference or in an `Arc`.
///
/// Chunks are tried newest first. No call on a pool ever waits for another thread. Sizes and addresses are in bytes,
/// or in whatever unit the chunks are counted in.
///
/// Allocation and queries are the calls of [`PoolView`], to which a pool dereferences. The calls of the pool itself
/// add and remove chunks, free by address, and end the pool.
///
/// # Memory
///
/// No call that gives something back allocates memory to do so. This covers dropping an [`Allocation`] or a
/// [`Cache`](crate::Cache), freeing, shrinking with [`resize`](Allocation::resize), [`remove`](Self::remove), and ending
/// a [`Drain`].
///
/// If memory runs out:
///
/// - [`add`](Self::add) and [`alloc_many`](PoolView::alloc_many) return an error.
/// - [`set_algorithm`](PoolView::set_algorithm), [`cache`](PoolView::cache), [`chunks`](PoolView::chunks),
///   [`live`](PoolView::live), [`destroy`](Self::destroy), [`Drain::on_drained`] and the [`Builder`] abort the process,
///   as `Box` and `Arc` do.
/// - `add` also aborts in the rare case that another thread takes the last memory while it runs.
/// - Dropping a pool also aborts on a thread that has never changed or listed the chunks of any pool.
///
/// # Panics of users' code
///
/// Destructors of owners and of algorithms run at the end of a call that changes the chunk list, of a [`Drain`], or
/// of the pool. A callback runs at the end of the call that gives back the last range of its chunk.
///
/// If one of them panics, the call has already done all of its work, and everything else that is due to be dropped or
/// called still is. The first panic then reaches the caller in place of the call's result. Later panics are
/// discarded, and so are panics on a thread that is already panicking. If `add` panics and the chunk was refused, the
/// chunk is dropped with the result.
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
    view: PoolView,
    on_leak: Option<Report>,
}

/// What every user of a pool may do: allocate, read what the pool holds, and choose the default algorithm. No call
/// changes the chunks, and none frees what another value holds.
///
/// A [`Pool`] dereferences to this. So does a type that owns a pool and restricts the other calls: the pool of a
/// device, whose chunks end with the device, or a pool over memory, in which a free by address is `unsafe`.
///
/// The properties that a pool was built with ([`order`](Self::order), [`granule`](Self::granule),
/// [`name`](Self::name), [`node`](Self::node), [`is_tracked`](Self::is_tracked)) are read in constant time, and
/// reading them is [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{Pool, PoolView};
///
/// /// Accepts any kind of pool.
/// fn percent_free(pool: &PoolView) -> usize {
///     pool.avail() * 100 / pool.size().max(1)
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let _held = pool.alloc(1)?;
/// assert_eq!(percent_free(&pool), 75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PoolView {
    shared: Arc<Shared>,
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Pool>();
    shared::<PoolView>();
    shared::<Allocation<'_>>();
    shared::<OwnedAllocation>();
    shared::<Drain>();
};

impl Pool {
    /// Creates a pool of granules of `1 << order` bytes that uses first fit and has no name and no chunks. Use
    /// [`builder`](Self::builder) to choose more. Not [signal-safe](crate#signal-safety).
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
    /// [`BuildError::Order`] if `order` is above 63 (31 on 32-bit machines).
    pub fn new(order: u32) -> Result<Self, BuildError> {
        Self::builder().order(order).build()
    }

    /// Returns a [`Builder`], which has every option of a pool. Not [signal-safe](crate#signal-safety).
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
}

impl Deref for Pool {
    type Target = PoolView;

    #[inline(always)]
    fn deref(&self) -> &PoolView {
        &self.view
    }
}

impl PoolView {
    // ---- properties ----

    /// Returns the order: a granule is `1 << order` bytes.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.shared.order
    }

    /// Returns the size of a granule in bytes.
    #[must_use]
    pub fn granule(&self) -> usize {
        1 << self.shared.order
    }

    /// Returns the name that the pool was built with.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Returns the NUMA node that holds the pool's bookkeeping, if one was chosen.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.shared.node.map(Node::number)
    }

    /// Whether the pool was built with boundary tracking.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.shared.tracked
    }

    // ---- allocation ----

    /// Allocates `size` bytes, rounded up to whole granules, with the default algorithm. Dropping the allocation
    /// gives the range back.
    ///
    /// Costs one compare-and-swap if the run lies in one word of the bitmap, and one per word if it is longer. The
    /// search skips words that cannot serve the request; at worst it is linear in the granules of the pool, 64 at a
    /// time. A failing call reads all of them, unless an earlier proof that there is no run of this length still
    /// holds. [Signal-safe](crate#signal-safety) if the default algorithm is.
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
    /// - [`Exhausted`](AllocError::Exhausted) if there is no fit.
    /// - [`Impossible`](AllocError::Impossible) if there would be no fit even with every chunk free.
    /// - [`Contended`](AllocError::Contended) if neither could be proved.
    /// - [`ZeroSize`](AllocError::ZeroSize) if `size` is 0.
    /// - [`Taken`](AllocError::Taken), [`Unsuitable`](AllocError::Unsuitable) or
    ///   [`BadProposal`](AllocError::BadProposal) from a default algorithm with rules of its own.
    #[inline(always)]
    pub fn alloc(&self, size: usize) -> Result<Allocation<'_>, AllocError> {
        let shared = &*self.shared;
        #[cfg(feature = "observe")]
        if let Some(notifier) = shared.notifier() {
            return shared.alloc_observed(notifier, size).map(Parts::whole);
        }
        shared.alloc_default(size, 0)
    }

    /// Allocates as [`alloc`](Self::alloc) does, but with the given algorithm, which determines the cost of the
    /// search. [Signal-safe](crate#signal-safety) if the algorithm is.
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
    /// assert_eq!(pool.alloc(1)?.addr(), 0x1000); // the default is unchanged
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
        let shared = &*self.shared;
        #[cfg(feature = "observe")]
        if let Some(notifier) = shared.notifier() {
            return shared
                .alloc_with_observed(notifier, size, algorithm)
                .map(Parts::whole);
        }
        shared.alloc_with(size, algorithm, 0)
    }

    /// Allocates as [`alloc`](Self::alloc) does and returns a value that does not borrow the pool. The bookkeeping
    /// that is needed to take the range back lives as long as the value does. Allocating is
    /// [signal-safe](crate#signal-safety). Dropping the last such value after the pool's end is not, because it frees
    /// the pool's bookkeeping.
    ///
    /// ```
    /// use genpool::{OwnedAllocation, Pool};
    ///
    /// /// May live as long as the pool, or longer.
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
        Ok(self.alloc(size)?.into_owned(&self.shared))
    }

    /// Allocates as [`alloc_owned`](Self::alloc_owned) does, but with the given algorithm.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<OwnedAllocation, AllocError> {
        Ok(self.alloc_with(size, algorithm)?.into_owned(&self.shared))
    }

    /// Makes several allocations with the default algorithm, in the order given, all or nothing. To other threads, a
    /// refused call never held anything: it causes no [`Exhausted`](AllocError::Exhausted) elsewhere. While the call
    /// runs, they may get [`Contended`](AllocError::Contended) instead. Costs as much as the same number of calls of
    /// [`alloc`](Self::alloc), plus memory for the list. Not [signal-safe](crate#signal-safety).
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
    /// As [`alloc`](Self::alloc), for the first allocation that found no room, and [`NoMemory`](AllocError::NoMemory)
    /// if there is none for the list. `Exhausted` means that at some instant this allocation did not fit next to
    /// those already placed by the same call.
    pub fn alloc_many(&self, sizes: &[usize]) -> Result<Vec<Allocation<'_>>, AllocError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.shared.notifier() {
            return self.shared.alloc_many_observed(notifier, sizes);
        }
        // Dropped after the list, so that a rollback is complete before the observer is notified.
        let _in_flight = self.shared.activity.enter();
        let mut list = Vec::new();
        self.shared.alloc_each(sizes, &mut list)?;
        Ok(list)
    }

    /// Makes `algorithm`, with its data, the default from now on. Other threads may allocate meanwhile; each call
    /// uses either the old or the new algorithm throughout. Constant time. Not [signal-safe](crate#signal-safety).
    /// Aborts the process if there is no memory for some 200 bytes.
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
        let mut change = self.shared.chunk_set.change();
        let changed = change.publish(|list| {
            list.set_algorithm(&algorithm, default);
            Ok::<_, core::convert::Infallible>(true)
        });
        match changed {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Pool {
    // ---- free by address ----

    /// Gives back `size` bytes at `addr`, without an [`Allocation`]. The whole range is checked before anything
    /// changes. If two frees of one allocation race, exactly one succeeds. Linear in the granules of the range, 64 at
    /// a time. With boundary tracking, a refused free also searches downwards from the address, granule by granule,
    /// for the allocation around it. [Signal-safe](crate#signal-safety).
    ///
    /// Without boundary tracking, the pool knows which granules are taken but not by which allocation. It then cannot
    /// detect a free with a wrong size that covers other allocations, nor a free of a range that an [`Allocation`]
    /// still holds or a [`Cache`](crate::Cache) keeps.
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
    /// The range is [empty](FreeError::ZeroSize), [in no chunk](FreeError::Foreign), [not aligned to a
    /// granule](FreeError::Misaligned), [longer than its chunk](FreeError::PastChunk), or [already
    /// free](FreeError::NotAllocated). With boundary tracking, it may also have [the wrong
    /// size](FreeError::WrongSize) or begin [inside an allocation](FreeError::Interior). Nothing was changed.
    pub fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.shared.free(addr, Some(size), |_, _| ())
    }

    /// Frees as [`free`](Self::free) does, and returns the chunk's owner. [Signal-safe](crate#signal-safety), except
    /// for dropping the returned value.
    ///
    /// # Errors
    ///
    /// As [`free`](Self::free).
    pub fn free_owner(&self, addr: usize, size: usize) -> Result<Option<Owner>, FreeError> {
        self.shared
            .free(addr, Some(size), |chunk, _| chunk.owner().cloned())
    }

    /// Gives back the allocation that starts at `addr` and returns its size in bytes. Requires boundary tracking.
    /// Costs the same as [`free`](Self::free). [Signal-safe](crate#signal-safety).
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
        let order = self.shared.order;
        self.shared
            .free(addr, None, |_, granules| granules << order)
    }

    /// Turns a range from [`into_raw`](Allocation::into_raw) back into an [`Allocation`], which can be resized in
    /// place and is given back when dropped. The range is checked as in [`free`](Self::free), with the same limits:
    /// without boundary tracking, the pool knows which granules are taken but not by which allocation. A range must
    /// have only one allocation. If it is adopted while another allocation holds it, the first drop gives the range
    /// back while the second still uses it. Linear in the granules of the range, 64 at a time.
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
    /// allocation.resize(0x1000)?; // shrinking needs no room, so it works in a full pool
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
        self.shared.adopt_range(range)
    }

    // ---- the end ----

    /// Ends the pool and reports what is still held. Allocations that do not borrow the pool stay valid until they
    /// are given back, and their bookkeeping lives on with them. Ranges known only by address can no longer be given
    /// back. Linear in the granules. Not [signal-safe](crate#signal-safety).
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
        // Both run users' code. The second is dropped even if the first panics.
        drop(self);
        drop(unused);
        report
    }

    fn report(&self) -> Destroyed {
        Destroyed {
            name: self.shared.name.clone(),
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
        self.view.fmt(f)
    }
}

impl fmt::Debug for PoolView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("order", &self.order())
            .field("size", &self.size())
            .field("avail", &self.avail())
            .finish_non_exhaustive()
    }
}

/// Wraps an algorithm for the chunk set. First fit is recognised, so that `alloc` can use it without reading the
/// chunk list.
fn as_default<A: Algorithm + 'static>(algorithm: A) -> (Arc<dyn Algorithm>, DefaultAlgorithm) {
    let default = if TypeId::of::<A>() == TypeId::of::<FirstFit>() {
        DefaultAlgorithm::FirstFit
    } else {
        DefaultAlgorithm::Other
    };
    (arc_dyn!(Guarded::new(algorithm), dyn Algorithm), default)
}
