//! A pool of one chunk that needs no heap, for a `static`.
//!
//! The pool's bookkeeping is a `static` too, whose sizes are computed when the program is compiled. The chunk's tables
//! borrow it. Everything that changes is in there, so the pool itself is only a description: what the operations do is
//! what they do in a chunk of a [`Pool`](crate::Pool), by the same code.
//!
//! Zeroed memory is a fresh bitmap but for the padding of the last word and for the hints of words that are not there.
//! These are computed too, so a pool is ready before the program's first instruction.

mod allocation;
#[cfg(not(genpool_loom))]
mod books;

use core::fmt;
use core::iter;
use core::mem::ManuallyDrop;

pub use self::allocation::StaticAllocation;
#[cfg(not(genpool_loom))]
pub use self::books::StaticBooks;
use crate::activity::Activity;
use crate::bitmap::Attempt;
use crate::chunk::{Chunk, Extent};
use crate::chunk_ops::{Free, PoolState, SMALL_CODE, Search};
use crate::counters::Counters;
use crate::error::{AllocError, FreeError};
use crate::placement::{Algorithm, FirstFit, Request};
use crate::raw_range::RawRange;
use crate::units::Granule;
#[cfg(not(genpool_loom))]
use crate::{
    bitmap::Bitmap,
    chunk::{BoundaryTags, check_phys, check_range},
    error::{AddRefused, BuildError},
    memory::Table,
};

/// A pool of one chunk that needs no heap and can be a `static`: see [`static_pool!`](crate::static_pool!).
///
/// It does what a [`Pool`](crate::Pool) does with a chunk, by the same code, and at the same cost with the feature
/// `alloc`. Without it code is small rather than fast, and best fit reads every word. Any number of threads, cores and
/// interrupt handlers allocate and free at once, by any [`Algorithm`], also with [`Constraints`](crate::Constraints).
/// Refusals are proofs, and frees by address are checked. Its chunk stays for good, it has no caches and no observers,
/// and its default algorithm is first fit. [`SpreadFit`](https://docs.rs/genpool/latest/genpool/struct.SpreadFit.html)
/// is first fit here.
///
/// Allocations of a pool that is a `static` are `'static`.
///
/// All calls are [signal-safe](crate#signal-safety) if the algorithm is, and interrupt handlers may make them. In a
/// handler, as in a signal handler, [`Contended`](AllocError::Contended) is a refusal.
///
/// ```
/// use genpool::{AllocError, Constrained, Constraints, BestFit, StaticAllocation, StaticPool, static_pool};
///
/// static SRAM: StaticPool = static_pool!(order: 5, start: 0x1000_0000, size: 0x8000);
///
/// fn buffer() -> Result<StaticAllocation<'static>, AllocError> {
///     SRAM.alloc(200)
/// }
///
/// let held = buffer()?;
/// assert_eq!((held.addr(), held.size(), SRAM.avail()), (0x1000_0000, 224, 0x8000 - 224));
/// let aligned = Constrained::new(BestFit, Constraints::new().align(0x1000)?);
/// assert_eq!(SRAM.alloc_with(64, &aligned)?.addr(), 0x1000_1000);
/// assert!(matches!(SRAM.alloc(0x8000), Err(AllocError::Exhausted { .. })));
/// drop(held);
/// assert_eq!(SRAM.avail(), SRAM.size());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StaticPool {
    /// It borrows all that it has, so there is nothing to drop. A type that says so can be made in a constant.
    chunk: ManuallyDrop<Chunk>,
    activity: &'static Activity,
    counters: &'static Counters,
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<StaticPool>();
    shared::<StaticAllocation<'_>>();
};

#[cfg(not(genpool_loom))]
impl StaticPool {
    /// Creates a pool over bookkeeping that nothing else uses, with the chunk at `start`, and at `phys` as far as
    /// devices see it. A granule is `1 << order` bytes. For [`static_pool!`](crate::static_pool!), and for programs
    /// that place the bookkeeping themselves, say in another section.
    ///
    /// ```
    /// use genpool::{StaticBooks, StaticPool};
    ///
    /// const SIZES: [usize; 4] = StaticPool::sizes(6, 0x1_0000, false);
    /// // #[unsafe(link_section = ".dtcm")]
    /// static BOOKS: StaticBooks<{ SIZES[1] }, { SIZES[2] }, { SIZES[3] }> = StaticBooks::new(SIZES[0]);
    /// static POOL: StaticPool = match StaticPool::new(&BOOKS, 6, 0x3000_0000, None) {
    ///     Ok(pool) => pool,
    ///     Err(_) => panic!("the values are valid"),
    /// };
    /// assert_eq!(POOL.alloc(64)?.addr(), 0x3000_0000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The start may be known at run time only, as that of a symbol of the linker. The number of granules is a
    /// constant.
    ///
    /// Two pools over the same bookkeeping are one: a granule, by its number, is handed out once between them.
    ///
    /// # Errors
    ///
    /// [`BuildError::Order`], or [`BuildError::Chunk`] with the rule that the chunk breaks. [`BuildError::Books`] if
    /// the bookkeeping has the wrong sizes.
    pub const fn new<const WORDS: usize, const CELLS: usize, const TAGS: usize>(
        books: &'static StaticBooks<WORDS, CELLS, TAGS>,
        order: u32,
        start: usize,
        phys: Option<u64>,
    ) -> Result<Self, BuildError> {
        let granules = books.granules;
        let tracked = TAGS > 0;
        if order >= usize::BITS {
            return Err(BuildError::Order { order });
        }
        if granules > usize::MAX >> order {
            let most = usize::MAX >> order;
            return Err(BuildError::Chunk(AddRefused::TooManyGranules { most }));
        }
        if let Err(refused) = check_range(start, granules << order, order, tracked) {
            return Err(BuildError::Chunk(refused));
        }
        if let Some(phys) = phys
            && let Err(refused) = check_phys(phys, granules << order)
        {
            return Err(BuildError::Chunk(refused));
        }
        let fits = WORDS == Bitmap::words_for(granules)
            && CELLS == Bitmap::cells_for(granules)
            && (TAGS == granules || !tracked);
        if !fits {
            return Err(BuildError::Books { granules });
        }
        let bitmap = Bitmap::of(
            granules,
            Table::borrowed(&books.words),
            Table::borrowed(&books.cells),
        );
        let boundary_tags = if tracked {
            Some(BoundaryTags::of(Table::borrowed(&books.tags)))
        } else {
            None
        };
        Ok(Self {
            chunk: ManuallyDrop::new(Chunk::lasting(start, order, phys, bitmap, boundary_tags)),
            activity: &books.activity,
            counters: &books.counters,
        })
    }

    /// Returns the number of granules of a pool of `size` bytes, and the sizes of its bookkeeping: the parameters of
    /// [`StaticBooks`].
    ///
    /// ```
    /// use genpool::StaticPool;
    ///
    /// let [granules, words, _cells, tags] = StaticPool::sizes(6, 0x1000, false);
    /// assert_eq!((granules, words, tags), (64, 64 / usize::BITS as usize, 0));
    /// ```
    ///
    /// # Panics
    ///
    /// If `order` is not below the number of bits of an address, or `size` is not a multiple of a granule, at least
    /// one.
    #[must_use]
    pub const fn sizes(order: u32, size: usize, tracked: bool) -> [usize; 4] {
        assert!(order < usize::BITS, "order: a granule is 1 << order bytes");
        let granules = size >> order;
        assert!(granules > 0, "size: a pool has at least one granule");
        assert!(
            granules << order == size,
            "size: not a multiple of a granule"
        );
        let tags = if tracked { granules } else { 0 };
        [
            granules,
            Bitmap::words_for(granules),
            Bitmap::cells_for(granules),
            tags,
        ]
    }

    /// Checks the values of [`static_pool!`](crate::static_pool!).
    ///
    /// # Panics
    ///
    /// If they make no valid pool. The text says which of them is wrong.
    #[doc(hidden)]
    pub const fn check(order: u32, start: usize, size: usize, phys: Option<u64>, tracked: bool) {
        assert!(order < usize::BITS, "order: a granule is 1 << order bytes");
        match check_range(start, size, order, tracked) {
            Ok(()) => {}
            Err(AddRefused::ZeroSize) => panic!("size: a pool has at least one granule"),
            Err(AddRefused::MisalignedStart { .. }) => panic!("start: not a multiple of a granule"),
            Err(AddRefused::MisalignedSize { .. }) => panic!("size: not a multiple of a granule"),
            Err(AddRefused::Wraps) => panic!("size: past the end of the address space"),
            Err(_) => panic!("size: more granules than can be counted"),
        }
        if let Some(phys) = phys {
            assert!(
                check_phys(phys, size).is_ok(),
                "phys: the range goes past 64 bits"
            );
        }
    }
}

#[cfg(genpool_loom)]
impl StaticPool {
    /// Creates a pool for a model, whose atomics are made at run time. Its bookkeeping is on the heap and stays.
    #[doc(hidden)]
    #[must_use]
    pub fn for_model(order: u32, start: usize, size: usize) -> Self {
        use alloc::boxed::Box;

        let spec = crate::chunk::ChunkSpec::new(start, size);
        let chunk = Chunk::new(&spec, order, 0, true, false, None);
        Self {
            chunk: ManuallyDrop::new(chunk.expect("the model's chunk is valid")),
            activity: Box::leak(Box::new(Activity::new())),
            counters: Box::leak(Box::new(Counters::new())),
        }
    }
}

impl StaticPool {
    /// Returns the order: a granule is `1 << order` bytes.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.chunk.order()
    }

    /// Returns the size of a granule in bytes.
    #[must_use]
    pub fn granule(&self) -> usize {
        1 << self.chunk.order()
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.chunk.start()
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.chunk.size()
    }

    /// Returns the number of free bytes. Linear in the granules, 64 at a time.
    #[must_use]
    pub fn avail(&self) -> usize {
        self.reveal(self.chunk.avail())
    }

    /// Whether the pool has boundary tags.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.chunk.boundary_tags().is_some()
    }

    /// Allocates `size` bytes, rounded up to whole granules, by first fit. Dropping the allocation gives the range
    /// back.
    ///
    /// # Errors
    ///
    /// [`Exhausted`](AllocError::Exhausted) if there is no fit, [`Impossible`](AllocError::Impossible) if there would
    /// be none even in an empty pool, [`Contended`](AllocError::Contended) if neither could be proved, and
    /// [`ZeroSize`](AllocError::ZeroSize).
    #[inline]
    pub fn alloc(&self, size: usize) -> Result<StaticAllocation<'_>, AllocError> {
        self.alloc_with(size, &FirstFit)
    }

    /// Allocates as [`alloc`](Self::alloc) does, but by the given algorithm.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc), and those of the algorithm: [`Taken`](AllocError::Taken),
    /// [`Unsuitable`](AllocError::Unsuitable), [`BadProposal`](AllocError::BadProposal).
    #[inline]
    pub fn alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<StaticAllocation<'_>, AllocError> {
        let (granule, extent) = self.take(size, algorithm)?;
        Ok(StaticAllocation {
            pool: self,
            addr: self.chunk.addr_of(granule),
            extent,
        })
    }

    /// Takes the range on the fast path, as [`Pool`](crate::Pool) does, or on the slow path.
    fn take<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<(Granule, Extent), AllocError> {
        if !SMALL_CODE
            && let Some(request) = Request::new(size, self.order())
            && !self.activity.is_refused(request.granules())
            && algorithm.check(&request).is_ok()
            && let Attempt::Found(granule) = self.attempt(&self.chunk, algorithm, request)
        {
            return Ok((granule, self.chunk.open(granule, request.granules())));
        }
        self.alloc_slowly(size, algorithm, 0)
    }

    /// Gives back `size` bytes at `addr`, without a [`StaticAllocation`]. The whole range is checked before anything
    /// changes, and of two frees of one allocation that race, one succeeds.
    ///
    /// ```
    /// use genpool::{FreeError, StaticPool, static_pool};
    ///
    /// static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x1000);
    /// let range = POOL.alloc(100)?.into_raw(); // two numbers, for a device's descriptor
    /// POOL.free(range.addr, range.size)?;
    /// let twice = POOL.free(range.addr, range.size);
    /// assert_eq!(twice, Err(FreeError::NotAllocated { addr: 0x1000 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FreeError`] if the range is not allocated as a whole. Then nothing was freed.
    pub fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.free_unobserved(addr, Some(size), |_, _| ())
    }

    /// Gives back the allocation at `addr`, whatever its size, in a pool with boundary tags. Returns its size in bytes.
    ///
    /// ```
    /// use genpool::{StaticPool, static_pool};
    ///
    /// static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x1000, tracked: true);
    /// let range = POOL.alloc(100)?.into_raw();
    /// assert_eq!(POOL.free_addr(range.addr), Ok(128));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FreeError`] if no allocation begins there, or the pool has no boundary tags.
    pub fn free_addr(&self, addr: usize) -> Result<usize, FreeError> {
        let order = self.order();
        self.free_unobserved(addr, None, |_, n| n << order)
    }

    /// Turns a range into an allocation again that [`into_raw`](StaticAllocation::into_raw) turned into plain numbers.
    ///
    /// ```
    /// use genpool::{StaticPool, static_pool};
    ///
    /// static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x1000);
    /// let range = POOL.alloc(100)?.into_raw(); // on its way through a device
    /// let held = POOL.adopt(range)?; // in the device's interrupt handler
    /// assert_eq!(held.addr(), range.addr);
    /// drop(held);
    /// assert_eq!(POOL.avail(), POOL.size());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FreeError`] if the range is not allocated as a whole.
    pub fn adopt(&self, range: RawRange) -> Result<StaticAllocation<'_>, FreeError> {
        let RawRange { addr, size } = range;
        let extent = Free::adopt(self, addr, size, |_, extent| extent)?;
        let pool = self;
        Ok(StaticAllocation { pool, addr, extent })
    }
}

impl PoolState for StaticPool {
    /// The chunk stays for good.
    type Pin<'p> = &'p Chunk;
    type Found<'p> = (Granule, Extent);

    const HAS_ONE_CHUNK: bool = true;

    #[inline(always)]
    fn order(&self) -> u32 {
        self.chunk.order()
    }

    #[inline(always)]
    fn activity(&self) -> &Activity {
        self.activity
    }

    #[inline(always)]
    fn counters(&self) -> &Counters {
        self.counters
    }

    fn newest(&self) -> Option<&Chunk> {
        Some(&self.chunk)
    }

    fn pin(&self) -> &Chunk {
        &self.chunk
    }

    fn is_current(&self, _pin: &&Chunk) -> bool {
        true
    }

    fn chunks<'a, 'p: 'a>(pin: &'a &'p Chunk) -> impl Iterator<Item = &'a Chunk> {
        iter::once(*pin)
    }

    fn found<'p>(
        &'p self,
        _pin: &&'p Chunk,
        _chunk: &Chunk,
        granule: Granule,
        extent: Extent,
    ) -> (Granule, Extent) {
        (granule, extent)
    }

    fn in_chunk<R>(&self, addr: usize, with: impl FnOnce(&Chunk) -> R) -> Option<R> {
        self.chunk.contains(addr).then(|| with(&self.chunk))
    }
}

impl fmt::Debug for StaticPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticPool")
            .field("start", &format_args!("{:#x}", self.start()))
            .field("size", &format_args!("{:#x}", self.size()))
            .field("granule", &self.granule())
            .finish_non_exhaustive()
    }
}
