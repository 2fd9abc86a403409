//! What an allocation is to its holder: a value that gives the range back when it is dropped.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use alloc::sync::Arc;

use crate::boundary_tags::Extent;
use crate::chunk::{Chunk, Owner, granules_for};
use crate::error::ResizeError;
#[cfg(feature = "observe")]
use crate::observer::{Event, Notifier};
use crate::pool::Inner;

/// An address range that was taken out of its pool, as plain numbers. Nobody gives it back unless
/// [`Pool::free`](crate::Pool::free) or [`free_addr`](crate::Pool::free_addr) is told.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let range = pool.alloc(5000)?.into_raw(); // numbers, which a device can keep
/// assert_eq!((range.addr, range.size), (0x1000, 8192));
/// pool.free(range.addr, range.size)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a range that is forgotten stays taken: give it back with `Pool::free`"]
pub struct RawRange {
    /// The address of the first byte.
    pub addr: usize,
    /// Bytes, whole granules.
    pub size: usize,
}

/// The chunk of an allocation, in one word, since allocations are moved about.
///
/// # Invariants
///
/// `tagged` came from a reference with lifetime `'p`, or its lowest bit is set, which no such pointer
/// has; the rest is then a generation.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'p> {
    tagged: *const Chunk,
    permanent: PhantomData<&'p Chunk>,
}

const _: () = assert!(align_of::<Chunk>() > 1);

// SAFETY: it stands for a shared reference to a chunk, and those may be sent.
unsafe impl Send for Origin<'_> {}
// SAFETY: as above.
unsafe impl Sync for Origin<'_> {}

/// What a [`Origin`] says.
#[derive(Clone, Copy)]
pub(crate) enum OriginKind<'p> {
    /// The chunk lives as long as the pool.
    Permanent(&'p Chunk),
    /// It is looked up under a pin, and is the right one if it is of this generation. If not, the
    /// range was freed by address while the allocation held it, and the chunk removed since.
    Listed { generation: usize },
}

impl<'p> Origin<'p> {
    #[inline(always)]
    pub(crate) fn permanent(chunk: &'p Chunk) -> Self {
        Self {
            tagged: chunk,
            permanent: PhantomData,
        }
    }

    /// Of a generation below half of what a word can hold.
    pub(crate) fn listed(generation: usize) -> Self {
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
            return OriginKind::Listed { generation };
        }
        // SAFETY: by the invariant it came from a reference with this lifetime.
        OriginKind::Permanent(unsafe { &*self.tagged })
    }
}

/// A range of a pool, given back when this value is dropped, by whichever thread.
///
/// What a thread wrote to the memory before the drop happens before the next owner's use of it.
/// Dropping is [signal-safe](crate#signal-safety) and costs one atomic instruction where the range lies in one word of the
/// bitmap. In a chunk that is being removed it also looks whether it was the last, at worst linear in
/// the chunk's granules.
///
/// What it is asked takes constant time. In a chunk that was added after the pool's first removal of
/// one, drops and questions about the chunk look it up first: logarithmic in the number of chunks.
///
/// While it lives, the range must not be freed by address as well; boundary tracking notices that,
/// and the drop then does nothing.
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
    inner: &'p Inner,
    origin: Origin<'p>,
    addr: usize,
    extent: Extent,
}

/// What an allocation is made of, not given back by itself: the answer of what is uncommon, of which the allocation
/// is made where it was asked for, as the common way makes it there of what registers hold. In another
/// order than there, so that the compiler does not take one for the other: then both ways would go through
/// memory, which costs as much as a locked instruction.
#[must_use]
#[repr(C)]
pub(crate) struct Parts<'p> {
    pub(crate) extent: Extent,
    pub(crate) addr: usize,
    pub(crate) origin: Origin<'p>,
    pub(crate) inner: &'p Inner,
}

impl<'p> Parts<'p> {
    #[inline(always)]
    pub(crate) fn whole(self) -> Allocation<'p> {
        Allocation::new(self.inner, self.origin, self.addr, self.extent)
    }
}

impl<'p> Allocation<'p> {
    /// The caller claimed the granules and hands them over.
    #[inline]
    pub(crate) fn new(inner: &'p Inner, origin: Origin<'p>, addr: usize, extent: Extent) -> Self {
        Self {
            inner,
            origin,
            addr,
            extent,
        }
    }

    /// The address of the first byte. [Signal-safe](crate#signal-safety).
    #[must_use]
    #[inline]
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Bytes, whole granules: at least what was asked for. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn size(&self) -> usize {
        self.granules() << self.inner.order()
    }

    /// The physical address of the first byte, if the chunk was given one.
    /// [Signal-safe](crate#signal-safety).
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

    /// The owner's value of the chunk, if it was given one.
    /// [Signal-safe](crate#signal-safety) but for its drop.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.in_chunk(|chunk| chunk.owner().cloned()).flatten()
    }

    /// A copy of the owner's value of the chunk, if it has one of this type.
    /// [Signal-safe](crate#signal-safety), if its
    /// `clone` and drop are.
    #[must_use]
    pub fn owner_as<T: Clone + 'static>(&self) -> Option<T> {
        self.in_chunk(|chunk| chunk.owner()?.downcast_ref::<T>().cloned())
            .flatten()
    }

    /// Notes `tag` beside the allocation, for reports. Without boundary tracking there is no place
    /// for it, and this does nothing. [Signal-safe](crate#signal-safety).
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
                && boundary_tags.get(start) == self.extent.ownership()
            {
                boundary_tags.set_tag(start, tag);
            }
        });
    }

    /// Grows or shrinks in place to hold `size` bytes. Linear in the granules that come or go, 64 at a
    /// time. [Signal-safe](crate#signal-safety).
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
    /// [`ResizeError`]; the size is as before. [`ResizeError::Neighbour`] is the news of one look:
    /// a claim that another thread is about to roll back counts as taken.
    pub fn resize(&mut self, size: usize) -> Result<(), ResizeError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.inner.notifier() {
            self.extent = self.resized_observed(notifier, size)?;
            return Ok(());
        }
        self.extent = self.resized(size)?;
        Ok(())
    }

    /// What it is made of when it has another size.
    fn resized(&self, size: usize) -> Result<Extent, ResizeError> {
        if size == 0 {
            return Err(ResizeError::ZeroSize);
        }
        let wanted = granules_for(size, self.inner.order());
        if wanted == self.granules() {
            return Ok(self.extent);
        }
        self.in_chunk(|chunk| self.inner.resize(chunk, self.addr, self.extent, wanted))
            .unwrap_or(Err(ResizeError::Lost))
    }

    #[cfg(feature = "observe")]
    #[cold]
    fn resized_observed(&self, notifier: &Notifier, asked: usize) -> Result<Extent, ResizeError> {
        let (addr, from, order) = (self.addr, self.size(), self.inner.order());
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
        // The number comes after what is taken was.
        let outcome = self.resized(asked);
        notifier.notify(&event(Some(&outcome)));
        outcome
    }

    /// Its chunk's account has so many granules more, or fewer. Says whether the chunk serves.
    #[cfg(feature = "observe")]
    pub(crate) fn account(&self, granules: isize) -> bool {
        self.in_chunk(|chunk| chunk.account(granules))
            .unwrap_or(false)
    }

    /// Lets the range go as plain numbers; [`Pool::free`](crate::Pool::free) gives it back.
    /// [Signal-safe](crate#signal-safety).
    pub fn into_raw(self) -> RawRange {
        ManuallyDrop::new(self).raw()
    }

    /// The same, kept alive by a count instead of a borrow. `inner` is what it borrows.
    pub(crate) fn into_owned(self, inner: &Arc<Inner>) -> OwnedAllocation {
        assert!(core::ptr::eq(self.inner, &**inner), "another pool's count");
        let this = ManuallyDrop::new(self);
        let inner = Arc::clone(inner);
        // SAFETY: the reference is to what the count keeps in place, and it is used only by the
        // allocation, which is dropped before the count.
        let lasting: &'static Inner = unsafe { &*Arc::as_ptr(&inner) };
        let origin = match this.origin.kind() {
            OriginKind::Permanent(chunk) => {
                // SAFETY: a permanent chunk lives as long as the chunk set, which `inner` owns; used as
                // above.
                Origin::permanent(unsafe { NonNull::from(chunk).as_ref() })
            }
            OriginKind::Listed { generation } => Origin::listed(generation),
        };
        let allocation = Allocation::new(lasting, origin, this.addr, this.extent);
        OwnedAllocation {
            allocation: ManuallyDrop::new(allocation),
            inner: ManuallyDrop::new(inner),
        }
    }

    /// All that it is made of: pool, chunk, address, length. It is not given back.
    #[inline(always)]
    pub(crate) fn into_parts(self) -> Parts<'p> {
        let this = ManuallyDrop::new(self);
        Parts {
            extent: this.extent,
            addr: this.addr,
            origin: this.origin,
            inner: this.inner,
        }
    }

    pub(crate) fn is_of(&self, inner: &Inner) -> bool {
        core::ptr::eq(self.inner, inner)
    }

    #[inline]
    pub(crate) fn granules(&self) -> usize {
        if self.inner.is_tracked() {
            self.extent.ownership().len()
        } else {
            self.extent.len()
        }
    }

    /// Its chunk, if that lives as long as the pool.
    pub(crate) fn permanent_chunk(&self) -> Option<&'p Chunk> {
        match self.origin.kind() {
            OriginKind::Permanent(chunk) => Some(chunk),
            OriginKind::Listed { .. } => None,
        }
    }

    /// Ends the allocation; its granules stay taken, and are the caller's. Refused, where ownership words are
    /// kept, if it was freed by address meanwhile.
    pub(crate) fn close(self) -> bool {
        let this = ManuallyDrop::new(self);
        this.in_chunk(|chunk| this.inner.close(chunk, this.addr, this.extent))
            .unwrap_or(false)
    }

    fn raw(&self) -> RawRange {
        RawRange {
            addr: self.addr,
            size: self.size(),
        }
    }

    /// None where the chunk is gone, which takes a free by address of what is held here.
    fn in_chunk<R>(&self, with: impl FnOnce(&Chunk) -> R) -> Option<R> {
        match self.origin.kind() {
            OriginKind::Permanent(chunk) => Some(with(chunk)),
            OriginKind::Listed { generation } => {
                self.inner.in_generation(self.addr, generation, with)
            }
        }
    }
}

impl Drop for Allocation<'_> {
    #[inline]
    fn drop(&mut self) {
        self.inner.give_back(self.origin, self.addr, self.extent);
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

/// An [`Allocation`] that does not borrow its pool: the range stays valid and can be given back even
/// after the pool was destroyed. It has all calls of an [`Allocation`].
///
/// Dropping it is [signal-safe](crate#signal-safety) as long as the pool lives; the last one after the pool's end frees the
/// pool's bookkeeping, which is not.
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
/// The allocation inside is lent out, and cannot be moved out:
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
/// `allocation` refers to what `inner` keeps alive, and is dropped before it. It is lent out by
/// shared reference only, so it cannot be moved out.
#[must_use = "the range is given back when this is dropped"]
pub struct OwnedAllocation {
    allocation: ManuallyDrop<Allocation<'static>>,
    inner: ManuallyDrop<Arc<Inner>>,
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

    /// As [`Allocation::into_raw`]. Once the pool is destroyed nobody takes the range back.
    /// As [signal-safe](crate#signal-safety)
    /// as the drop.
    pub fn into_raw(self) -> RawRange {
        let mut this = ManuallyDrop::new(self);
        let range = this.allocation.raw();
        // SAFETY: `this` is never dropped nor used again, so the count ends once. The allocation,
        // which must not give the range back, is forgotten.
        unsafe { ManuallyDrop::drop(&mut this.inner) };
        range
    }
}

impl Drop for OwnedAllocation {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and not used again. Dropped below, also if a callback panics.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        // SAFETY: dropped once, here, while `inner` still keeps alive what it refers to.
        unsafe { ManuallyDrop::drop(&mut self.allocation) };
        drop(inner);
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
