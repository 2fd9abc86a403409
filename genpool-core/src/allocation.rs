//! Allocations: values that give their range back when they are dropped.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::sync::Arc;

use crate::chunk::Extent;
use crate::chunk::{Chunk, Owner, granules_for};
use crate::chunk_ops::{Free, PoolState};
use crate::error::ResizeError;
#[cfg(feature = "observe")]
use crate::observe::{Event, Notifier};
use crate::raw_range::RawRange;
use crate::shared::Shared;

/// The chunk of an allocation, in one word, because allocations are moved often.
///
/// An allocation in a permanent chunk holds a reference to it. In any other chunk, an allocation holds the chunk's
/// generation, and looks the chunk up by address under a pin when it needs it. The granules it holds keep the chunk
/// from being drained, so the look-up finds it. If the range was freed by address in the meantime and the chunk is
/// gone, the look-up finds nothing or a chunk of another generation. Nothing dangles, so a free by address can be a
/// safe function.
///
/// # Invariants
///
/// `tagged` either came from a reference with lifetime `'p`, or has its lowest bit set, which no such pointer has. In
/// the second case the other bits are a generation.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'p> {
    tagged: *const Chunk,
    permanent: PhantomData<&'p Chunk>,
}

const _: () = assert!(align_of::<Chunk>() > 1);

// SAFETY: an `Origin` stands for a shared reference to a chunk, and such references may be sent.
unsafe impl Send for Origin<'_> {}
// SAFETY: as above.
unsafe impl Sync for Origin<'_> {}

/// An [`Origin`], decoded.
#[derive(Clone, Copy)]
pub(crate) enum OriginKind<'p> {
    /// The chunk lives as long as the pool.
    Permanent(&'p Chunk),
    /// The chunk is looked up by address under a pin, and is the right one if it has this generation. If it has
    /// another, the range was freed by address while the allocation held it, and its chunk has been removed since.
    ByGeneration { generation: usize },
}

impl<'p> Origin<'p> {
    #[inline(always)]
    pub(crate) fn permanent(chunk: &'p Chunk) -> Self {
        Self {
            tagged: chunk,
            permanent: PhantomData,
        }
    }

    /// The generation must be below half of what a word can hold.
    pub(crate) fn by_generation(generation: usize) -> Self {
        Self {
            tagged: core::ptr::without_provenance(generation << 1 | 1),
            permanent: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn kind(self) -> OriginKind<'p> {
        let bits = self.tagged.addr();
        if bits & 1 != 0 {
            let generation = bits >> 1;
            return OriginKind::ByGeneration { generation };
        }
        // SAFETY: by the invariant, the pointer came from a reference with this lifetime.
        OriginKind::Permanent(unsafe { &*self.tagged })
    }
}

/// A range of a pool, which is given back when this value is dropped, on any thread.
///
/// What a thread wrote to the memory before the drop happens before the next owner's use of it. Dropping is
/// [signal-safe](crate#signal-safety) and, without boundary tracking, costs one atomic instruction if the range lies
/// in one word of the bitmap. In a chunk that is being removed, the drop also checks whether it was the last, which
/// is at worst linear in the chunk's granules.
///
/// Accessors take constant time. If the chunk was added after the pool's first removal of a chunk, drops and
/// accessors that concern the chunk look it up first, which is logarithmic in the number of chunks.
///
/// The range must not be freed by address while the allocation lives. Boundary tracking detects this, and the drop
/// then does nothing.
///
/// It cannot outlive its pool:
///
/// ```compile_fail,E0505
/// # use genpool::Pool;
/// let pool = Pool::new(0)?;
/// pool.add(0, 16)?;
/// let allocation = pool.alloc(1)?;
/// drop(pool);
/// drop(allocation);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An [`OwnedAllocation`] can:
///
/// ```
/// use genpool::Pool;
/// let pool = Pool::new(0)?;
/// pool.add(0, 16)?;
/// let allocation = pool.alloc_owned(1)?;
/// drop(pool);
/// drop(allocation);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the range is given back when this is dropped"]
pub struct Allocation<'p> {
    shared: &'p Shared,
    origin: Origin<'p>,
    addr: usize,
    extent: Extent,
}

/// The fields of an allocation, without its drop. Uncommon paths return `Parts`, and the allocation is put together
/// from them at the call site, where the common path puts it together from registers. The order of the fields differs
/// from that of [`Allocation`], so that the compiler does not merge the two paths. If it did, both would pass the
/// value through memory: stores of eight bytes that are read back sixteen at a time stall, which costs as much as a
/// locked instruction.
#[must_use]
#[repr(C)]
pub(crate) struct Parts<'p> {
    pub(crate) extent: Extent,
    pub(crate) addr: usize,
    pub(crate) origin: Origin<'p>,
    pub(crate) shared: &'p Shared,
}

impl<'p> Parts<'p> {
    #[inline(always)]
    pub(crate) fn whole(self) -> Allocation<'p> {
        Allocation::new(self.shared, self.origin, self.addr, self.extent)
    }
}

impl<'p> Allocation<'p> {
    /// The caller has claimed the granules and hands them over.
    #[inline]
    pub(crate) fn new(shared: &'p Shared, origin: Origin<'p>, addr: usize, extent: Extent) -> Self {
        Self {
            shared,
            origin,
            addr,
            extent,
        }
    }

    /// Returns the address of the first byte. [Signal-safe](crate#signal-safety).
    #[must_use]
    #[inline]
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Returns the size in bytes: whole granules, and at least what was asked for.
    /// [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn size(&self) -> usize {
        self.granules() << self.shared.order()
    }

    /// Returns the physical address of the first byte, if the chunk has one. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::{ChunkSpec, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_chunk(ChunkSpec::new(0x1000, 0x2000).phys(0x8000_0000).owner("bank 0"))?;
    /// let (_first, second) = (pool.alloc(1)?, pool.alloc(1)?);
    /// assert_eq!(second.phys(), Some(0x8000_1000));
    /// assert_eq!(second.owner_as::<&str>(), Some("bank 0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn phys(&self) -> Option<u64> {
        self.in_chunk(|chunk| chunk.phys_of(self.addr)).flatten()
    }

    /// Returns the chunk's owner, if it has one. [Signal-safe](crate#signal-safety), except for dropping the returned
    /// value.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.in_chunk(|chunk| chunk.owner().cloned()).flatten()
    }

    /// Returns a copy of the chunk's owner, if it has one of this type. [Signal-safe](crate#signal-safety) if its
    /// `clone` and drop are.
    #[must_use]
    pub fn owner_as<T: Clone + 'static>(&self) -> Option<T> {
        self.in_chunk(|chunk| chunk.owner()?.downcast_ref::<T>().cloned())
            .flatten()
    }

    /// Attaches `tag` to the allocation, for reports. Does nothing without boundary tracking, because there is no
    /// place to store it. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::builder().order(12).boundary_tracking().build()?;
    /// pool.add(0x1000, 0x4000)?;
    /// let ring = pool.alloc(4096)?;
    /// ring.set_tag(7); // the number of a queue, say
    /// assert_eq!(pool.live()?[0].tag, Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_tag(&self, tag: usize) {
        self.in_chunk(|chunk| {
            let start = chunk.granule_of(self.addr);
            if let Some(boundary_tags) = chunk.boundary_tags()
                && self.extent.ownership() == Some(boundary_tags.get(start))
            {
                boundary_tags.set_tag(start, tag);
            }
        });
    }

    /// Grows or shrinks the allocation in place to hold `size` bytes. Linear in the granules added or given back, 64
    /// at a time. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0, 0x4000)?;
    /// let mut a = pool.alloc(4096)?;
    /// a.resize(3 * 4096)?;
    /// assert_eq!(a.size(), 3 * 4096);
    /// a.resize(1)?;
    /// assert_eq!(pool.avail(), 3 * 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResizeError`]; the size is unchanged. [`ResizeError::Neighbour`] comes from a single look: a claim that
    /// another thread is about to roll back counts as taken.
    pub fn resize(&mut self, size: usize) -> Result<(), ResizeError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.shared.notifier() {
            self.extent = self.resized_observed(notifier, size)?;
            return Ok(());
        }
        self.extent = self.resized(size)?;
        Ok(())
    }

    /// Resizes the range and returns its new extent.
    fn resized(&self, size: usize) -> Result<Extent, ResizeError> {
        if size == 0 {
            return Err(ResizeError::ZeroSize);
        }
        let wanted = granules_for(size, self.shared.order());
        if wanted == self.granules() {
            return Ok(self.extent);
        }
        self.in_chunk(|chunk| self.shared.resize(chunk, self.addr, self.extent, wanted))
            .unwrap_or(Err(ResizeError::Lost))
    }

    #[cfg(feature = "observe")]
    #[cold]
    fn resized_observed(&self, notifier: &Notifier, asked: usize) -> Result<Extent, ResizeError> {
        let (addr, from, order) = (self.addr, self.size(), self.shared.order());
        let event = |outcome: Option<&Result<Extent, ResizeError>>| {
            if let Some(&Err(error)) = outcome {
                return Event::ResizeRefused { addr, asked, error };
            }
            let granules = granules_for(asked, order);
            Event::Resized {
                addr,
                from,
                asked,
                to: granules << order,
                serves: self.account(granules as isize - self.granules() as isize),
            }
        };
        if asked < from {
            return notifier.around(|| self.resized(asked), event);
        }
        // The event's number must be drawn after the granules are claimed.
        let outcome = self.resized(asked);
        notifier.notify(&event(Some(&outcome)));
        outcome
    }

    /// Adds granules to the account of the allocation's chunk, or subtracts them. Returns true if the chunk is not
    /// being removed.
    #[cfg(feature = "observe")]
    pub(crate) fn account(&self, granules: isize) -> bool {
        self.in_chunk(|chunk| chunk.account(granules))
            .unwrap_or(false)
    }

    /// Turns the allocation into plain numbers without giving the range back. [`Pool::free`](crate::Pool::free) gives
    /// it back. [Signal-safe](crate#signal-safety).
    pub fn into_raw(self) -> RawRange {
        ManuallyDrop::new(self).raw()
    }

    /// Converts to an allocation that is kept alive by a reference count instead of a borrow. `shared` must be the
    /// pool that it borrows.
    pub(crate) fn into_owned(self, shared: &Arc<Shared>) -> OwnedAllocation {
        assert!(
            core::ptr::eq(self.shared, &**shared),
            "another pool's count"
        );
        let this = ManuallyDrop::new(self);
        let shared = Arc::clone(shared);
        // SAFETY: the count keeps the referent in place. Only the allocation uses the reference, and it is dropped
        // before the count.
        let lasting: &'static Shared = unsafe { &*Arc::as_ptr(&shared) };
        let origin = match this.origin.kind() {
            OriginKind::Permanent(chunk) => {
                // SAFETY: a permanent chunk lives as long as the chunk set, which `shared` owns. Used as above.
                Origin::permanent(unsafe { NonNull::from(chunk).as_ref() })
            }
            OriginKind::ByGeneration { generation } => Origin::by_generation(generation),
        };
        let allocation = Allocation::new(lasting, origin, this.addr, this.extent);
        OwnedAllocation {
            allocation: ManuallyDrop::new(allocation),
            shared: ManuallyDrop::new(shared),
        }
    }

    /// Takes the allocation apart without giving the range back.
    #[inline(always)]
    pub(crate) fn into_parts(self) -> Parts<'p> {
        let this = ManuallyDrop::new(self);
        Parts {
            extent: this.extent,
            addr: this.addr,
            origin: this.origin,
            shared: this.shared,
        }
    }

    pub(crate) fn is_of(&self, shared: &Shared) -> bool {
        core::ptr::eq(self.shared, shared)
    }

    #[inline]
    pub(crate) fn granules(&self) -> usize {
        self.extent.len()
    }

    /// Returns the chunk, if it is permanent.
    pub(crate) fn permanent_chunk(&self) -> Option<&'p Chunk> {
        match self.origin.kind() {
            OriginKind::Permanent(chunk) => Some(chunk),
            OriginKind::ByGeneration { .. } => None,
        }
    }

    /// Ends the allocation and leaves its granules taken; the caller now holds them. Returns false, with boundary
    /// tracking, if the range was freed by address in the meantime.
    pub(crate) fn close(self) -> bool {
        let this = ManuallyDrop::new(self);
        this.in_chunk(|chunk| this.shared.close(chunk, this.addr, this.extent))
            .unwrap_or(false)
    }

    fn raw(&self) -> RawRange {
        RawRange {
            addr: self.addr,
            size: self.size(),
        }
    }

    /// Calls `with` on the chunk. Returns none if the chunk is gone, which happens only after a free by address of
    /// the range.
    fn in_chunk<R>(&self, with: impl FnOnce(&Chunk) -> R) -> Option<R> {
        match self.origin.kind() {
            OriginKind::Permanent(chunk) => Some(with(chunk)),
            OriginKind::ByGeneration { generation } => {
                self.shared.in_generation(self.addr, generation, with)
            }
        }
    }
}

impl Drop for Allocation<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.give_back(self.origin, self.addr, self.extent);
    }
}

impl fmt::Debug for Allocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation")
            .field("addr", &format_args!("{:#x}", self.addr))
            .field("size", &format_args!("{:#x}", self.size()))
            .finish()
    }
}

/// An [`Allocation`] that does not borrow its pool. The range stays valid, and can be given back, even after the pool
/// was destroyed. It has all calls of an [`Allocation`].
///
/// Dropping it is [signal-safe](crate#signal-safety) as long as the pool lives. Dropping the last one after the
/// pool's end is not, because it frees the pool's bookkeeping.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let buffer = pool.alloc_owned(5000)?;
/// std::thread::spawn(move || println!("{} bytes at {:#x}", buffer.size(), buffer.addr()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The allocation inside can be borrowed, but not moved out:
///
/// ```compile_fail,E0594
/// # use genpool::{Allocation, OwnedAllocation};
/// fn steal(mut owned: OwnedAllocation, other: Allocation<'static>) {
///     *owned = other;
/// }
/// ```
///
/// # Invariants
///
/// `allocation` refers to what `shared` keeps alive, and is dropped before it. It is lent out by shared reference
/// only, so it cannot be moved out.
#[must_use = "the range is given back when this is dropped"]
pub struct OwnedAllocation {
    allocation: ManuallyDrop<Allocation<'static>>,
    shared: ManuallyDrop<Arc<Shared>>,
}

impl OwnedAllocation {
    /// As [`Allocation::resize`].
    ///
    /// # Errors
    ///
    /// As [`Allocation::resize`].
    pub fn resize(&mut self, size: usize) -> Result<(), ResizeError> {
        self.allocation.resize(size)
    }

    /// As [`Allocation::into_raw`]. The range cannot be given back once the pool is destroyed. As
    /// [signal-safe](crate#signal-safety) as the drop.
    pub fn into_raw(self) -> RawRange {
        let mut this = ManuallyDrop::new(self);
        let range = this.allocation.raw();
        // SAFETY: `this` is never dropped nor used again, so the count is released once. The allocation is forgotten,
        // because it must not give the range back.
        unsafe { ManuallyDrop::drop(&mut this.shared) };
        range
    }
}

impl Drop for OwnedAllocation {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and not used again. It is dropped below, even if a callback panics.
        let shared = unsafe { ManuallyDrop::take(&mut self.shared) };
        // SAFETY: dropped once, here, while `shared` still keeps alive what it refers to.
        unsafe { ManuallyDrop::drop(&mut self.allocation) };
        drop(shared);
    }
}

impl Deref for OwnedAllocation {
    type Target = Allocation<'static>;

    fn deref(&self) -> &Allocation<'static> {
        &self.allocation
    }
}

impl fmt::Debug for OwnedAllocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.allocation.fmt(f)
    }
}
