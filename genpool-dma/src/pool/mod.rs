//! A pool over memory that it owns.
//!
//! - **A chunk is a window**: a range that is contiguous both virtually and for devices. An allocation lies in one
//!   chunk, so its DMA address is valid for every byte, and constraints on that address are constraints on granules.
//! - **The owner of a chunk keeps its region.** The core keeps a chunk's owner as long as the chunk, which lives as
//!   long as any allocation in it, also past the end of the pool. So no second reference count is needed.
//! - **The inner [`Pool`] is never exposed**, only its [`PoolView`]. A free by address is a safe call of the core,
//!   because the core accesses no memory. Here it could free memory that a slice refers to, so [`MemoryPool::free`] is
//!   `unsafe`.
//! - **A pool has one bus.** Physical addresses and IOVAs are numbers of different address spaces. A pool with both
//!   would sooner or later give a device the wrong ones. The bus is not a type parameter of the pool: every signature
//!   would carry it, and one driver gains nothing from it.
//! - **The list of regions is under a mutex**, which no allocation and no free takes. It is not held while chunks are
//!   added and removed, so an observer may add a region. The pool's bus is set before the first region has chunks.
//! - **Giving back needs no memory.** A region is listed with room for the drains of its chunks. A block of a
//!   collection is resized within its chunk (`Pool::adopt`), also with boundary tracking.

mod refused;
mod region_owner;

use core::fmt;
use core::ops::Deref;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use genpool_algos::FirstFitAlign;
use genpool_core::{
    AddRefused, Algorithm, BuildError, Builder, ChunkSpec, FirstPanic, FreeError, Pool, PoolView,
    RawRange, RemoveError,
};

pub use self::refused::{DevicePoolError, RegionError, RegionRefused};
pub use self::region_owner::RegionDrain;
use self::region_owner::{Entry, RegionOwner};
use crate::addr::{DmaAddr, PhysAddr, VirtAddr};
use crate::allocation::{DmaAlloc, DmaError};
use crate::kind::sealed::Token;
use crate::kind::{Device, Kind, Ram};
use crate::region::{Bus, Region};
use crate::volatile::Width;

/// A pool over [`Region`]s, which it owns. Every address that it hands out is memory, so it hands out buffers, zeroes
/// them, and serves as an allocator.
///
/// A region stays mapped until every allocation in it is given back, also past the end of the pool. A range that
/// `into_raw` turned into plain numbers keeps nothing mapped past the end of the pool. All regions that devices see
/// are on one [`Bus`]: that of the first such region whose windows consist of whole granules.
///
/// Calls cost as much as those of a [`Pool`], and are [signal-safe](crate#signal-safety) where those are. Zeroing is
/// linear in the bytes. Adding and removing regions is linear in the number of chunks and not signal-safe.
///
/// The pool dereferences to a [`PoolView`] for queries and settings. The physical addresses that the view reports are
/// those at which devices see the memory: on an [IOMMU's bus](Bus::Iommu), IOVAs. The view's calls that allocate
/// return a range without access to the bytes.
///
/// ```
/// use genpool::dma::{AddressMask, MemoryPool};
/// use genpool::{Constrained, Constraints, Pool, ThreadStart};
///
/// let pool = MemoryPool::build(Pool::builder().order(12).boundary_tracking())?;
/// let reached = AddressMask::bits(32)?.constrain(Constraints::new());
/// pool.set_algorithm(Constrained::new(ThreadStart, reached)); // every device reaches every buffer
/// assert_eq!((pool.granule(), pool.avail(), pool.live()?.len()), (4096, 0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::MemoryPool;
/// use genpool::dma::source::{PageMap, RamSource};
///
/// let pool: MemoryPool = MemoryPool::new(12)?;
/// let region = RamSource::new(1 << 20).prefault().map()?;
/// match PageMap::open()?.resolve(region) {
///     Ok(region) => {
///         pool.add(region)?;
///         let mut frame = pool.dma_zalloc(1500)?;
///         frame[..4].copy_from_slice(b"ping");
///         let shared = frame.share();
///         println!("the device gets {}", shared.dma());
///     }
///     // Only root may read frame numbers.
///     Err(refused) => println!("{refused}"),
/// }
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
///
/// # Invariants
///
/// A chunk is a window of a region of this kind, or a whole region that no device sees. Each chunk's owner keeps its
/// region. Of the inner pool only the view is exposed: a free by address from outside could free what a buffer holds.
pub struct MemoryPool<K: Kind = Ram> {
    pool: Pool,
    kind: K,
    /// Set by the first region that devices see, before its chunks are added.
    bus: OnceLock<Bus>,
    /// Regions by their start. Locked to insert or remove an entry, never while chunks are added or removed, since
    /// observers are notified of those.
    entries: Mutex<HashMap<VirtAddr, Entry<K>>>,
}

impl MemoryPool {
    /// Builds a pool of granules of `1 << order` bytes over ordinary memory, with first fit.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn new(order: u32) -> Result<Self, BuildError> {
        Self::build(Pool::builder().order(order))
    }

    /// Builds a pool with the settings of `builder` over ordinary memory.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::dma::MemoryPool;
    ///
    /// let pool = MemoryPool::build(Pool::builder().order(11).name("frames").boundary_tracking())?;
    /// assert_eq!((pool.granule(), pool.live()?.len()), (2048, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn build(builder: Builder) -> Result<Self, BuildError> {
        Ok(Self::over(builder.build()?, Ram))
    }
}

impl MemoryPool<Device> {
    /// Builds a pool with the settings of `builder` over a device's memory, which is zeroed and copied by accesses of
    /// `width`.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::dma::{DmaAddr, MemoryPool, PhysAddr, Region, Width};
    ///
    /// #[repr(align(4096))]
    /// struct Bar([u8; 4096]);
    /// let start = std::ptr::NonNull::from(Box::leak(Box::new(Bar([0; 4096])))).cast();
    /// let size = std::num::NonZeroUsize::new(4096).ok_or("no bytes")?;
    /// // SAFETY: the memory was leaked, and nobody else has its address.
    /// let region = unsafe { Region::from_raw(start, size, ()) };
    /// // SAFETY: no device is given the address, so it may be made up.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0xe000_0000)) };
    /// let pool = MemoryPool::of_device(Pool::builder().order(8), Width::Four)?;
    /// pool.add(region)?;
    /// let queue = pool.dma_zalloc(1024)?; // zeroed by words of four bytes
    /// assert_eq!(queue.dma(), DmaAddr::new(0xe000_0000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DevicePoolError`] if an access is wider than a granule, or if no pool can be built with the settings.
    pub fn of_device(builder: Builder, width: Width) -> Result<Self, DevicePoolError> {
        let order = builder.get_order();
        if order < width.log2() {
            return Err(DevicePoolError::Width { order, width });
        }
        Ok(Self::over(builder.build()?, Device { width }))
    }
}

impl<K: Kind> MemoryPool<K> {
    fn over(pool: Pool, kind: K) -> Self {
        Self {
            pool,
            kind,
            bus: OnceLock::new(),
            entries: Mutex::default(),
        }
    }

    // ---- regions ----

    /// Adds a region. Each window that devices see becomes a chunk, so devices see every allocation in one piece. A
    /// region that no device sees becomes one chunk. Other threads may allocate, and add and remove regions,
    /// concurrently. The region can be removed once this returns.
    ///
    /// # Errors
    ///
    /// [`RegionError`], which returns the region; also if there is no memory for the lists of its chunks. No chunk of
    /// a refused region is left in the pool, but the region may have set the pool's bus.
    ///
    /// # Panics
    ///
    /// If the destructor of a former default algorithm panics. The panic is passed on when the call is complete: the
    /// region was added unless it was refused, and a refused region is dropped.
    pub fn add(&self, region: Region<K>) -> Result<(), RegionError<K>> {
        let start = region.start();
        let (chunks, owner) = match self.enter(&region) {
            Ok(entered) => entered,
            Err(reason) => return Err(RegionError::new(reason, Some(region))),
        };
        owner.put(region);
        let mut panics = FirstPanic::default();
        for (done, chunk) in chunks.into_iter().enumerate() {
            let chunk = chunk.shared_owner(owner.clone());
            let refused = match self.pool.add_chunk_then(chunk, || {}, &mut panics) {
                Ok(()) => continue,
                Err(refused) => refused.reason,
            };
            let entry = self.entries().remove(&start);
            let entry = entry.expect("a region is removed when all its chunks are there");
            // Allocations that other threads made in these chunks keep the region.
            let drain = entry.drain(&self.pool, done);
            let back = panics.run(|| drain.finish().ok()).flatten();
            panics.resume();
            return Err(RegionError::new(RegionRefused::Chunk(refused), back));
        }
        if let Some(entry) = self.entries().get_mut(&start) {
            entry.complete = true;
        }
        panics.resume();
        Ok(())
    }

    /// Lists a region if this pool can have its chunks. From then on its bus is the pool's.
    fn enter(
        &self,
        region: &Region<K>,
    ) -> Result<(Vec<ChunkSpec>, Arc<RegionOwner<K>>), RegionRefused> {
        let chunks = self.chunks_of(region)?;
        let entry = Entry::new(region, &chunks)?;
        let owner = Arc::clone(&entry.owner);
        let mut entries = self.entries();
        if let Some(other) = entries.get(&region.start()) {
            // Two owners of the same memory: the caller broke the safety contract of a region.
            let (start, size) = other.owner.extent();
            return Err(RegionRefused::Chunk(AddRefused::Overlaps { start, size }));
        }
        entries
            .try_reserve(1)
            .map_err(|_| RegionRefused::no_memory::<(VirtAddr, Entry<K>)>(1))?;
        entries.insert(region.start(), entry);
        Ok((chunks, owner))
    }

    /// Returns the region's chunks if this pool can have them. From then on its bus is the pool's.
    fn chunks_of(&self, region: &Region<K>) -> Result<Vec<ChunkSpec>, RegionRefused> {
        let granule = self.pool.granule();
        let windows = region.windows();
        let mut chunks = list_of(windows.len().max(1))?;
        match region.bus() {
            None => chunks.push(ChunkSpec::new(region.start().get(), region.size().get())),
            Some(_) => chunks.extend(windows.iter().map(|window| {
                let (start, size) = (window.virt().get(), window.size().get());
                ChunkSpec::new(start, size).phys(window.dma().get())
            })),
        }
        if chunks.is_empty() {
            return Err(RegionRefused::Unseen);
        }
        for chunk in &chunks {
            if !(chunk.start() | chunk.size()).is_multiple_of(granule) {
                return Err(RegionRefused::Granule {
                    start: VirtAddr::new(chunk.start()),
                    size: chunk.size(),
                    granule,
                });
            }
        }
        match region.bus() {
            Some(bus) if self.bus.get_or_init(|| bus.clone()) != bus => {
                Err(RegionRefused::AnotherBus)
            }
            _ => Ok(chunks),
        }
    }

    /// Begins to remove the region that starts at `start`. Nothing more is allocated in it, and existing allocations
    /// stay valid until they are given back. Needs no heap memory, except for what a thread's first access to the
    /// chunk list takes.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{MemoryPool, PhysAddr, VirtAddr};
    ///
    /// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
    /// // SAFETY: no device is given the address, so it may be made up.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
    /// let pool = MemoryPool::new(12)?;
    /// pool.add(region)?;
    /// let start = pool.chunks().map(|chunk| chunk.start()).next().ok_or("no chunk")?;
    /// let frame = pool.dma_alloc(1)?;
    /// let drain = pool.remove(VirtAddr::new(start))?;
    /// assert!(pool.dma_alloc(1).is_err() && !drain.is_drained());
    /// drop(frame);
    /// let region = drain.finish().map_err(|_| "something is held")?;
    /// drop(region); // unmapped
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`RemoveError::NoChunk`] if no region starts there, or if it is already being removed.
    pub fn remove(&self, start: VirtAddr) -> Result<RegionDrain<K>, RemoveError> {
        let entry = {
            let mut entries = self.entries();
            match entries.get(&start) {
                Some(entry) if entry.complete => entries.remove(&start),
                _ => None,
            }
        };
        let entry = entry.ok_or(RemoveError::NoChunk { start: start.get() })?;
        let chunks = entry.owner.chunks().len();
        Ok(entry.drain(&self.pool, chunks))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<VirtAddr, Entry<K>>> {
        // No panic can leave the list half updated.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- genalloc's calls ----

    /// Allocates `size` bytes, rounded up to whole granules, by the default algorithm. As
    /// [signal-safe](crate#signal-safety) as [`PoolView::alloc`].
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{MemoryPool, PhysAddr};
    ///
    /// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
    /// // SAFETY: no device is given the address, so it may be made up.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
    /// let pool = MemoryPool::new(12)?;
    /// pool.add(region)?;
    /// let frame = pool.dma_alloc(1514)?.filled(b"ping").map_err(|_| "it is too short")?;
    /// assert_eq!((&frame[..4], frame.len()), (&b"ping"[..], 4096));
    /// let table = pool.dma_zalloc_align(4096, 1 << 13)?;
    /// assert!(table.virt().is_aligned(1 << 13));
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`DmaError`], among others [`DmaError::NoAddress`] if the place that was found is in a region that no device
    /// sees.
    pub fn dma_alloc(&self, size: usize) -> Result<K::Buffer<'_>, DmaError> {
        Ok(self.kind.buffer(self.pool.dma_alloc(size)?, Token))
    }

    /// Like [`dma_alloc`](Self::dma_alloc), by the given algorithm. [`Constrained`](genpool_core::Constrained) puts
    /// constraints on the DMA address.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc).
    pub fn dma_alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<K::Buffer<'_>, DmaError> {
        let allocation = self.pool.dma_alloc_with(size, algorithm)?;
        Ok(self.kind.buffer(allocation, Token))
    }

    /// Like [`dma_alloc`](Self::dma_alloc), by first fit at a virtual address that is a multiple of `align`.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc), and [`DmaError::Constraint`] unless `align` is a power of two.
    pub fn dma_alloc_align(&self, size: usize, align: usize) -> Result<K::Buffer<'_>, DmaError> {
        self.dma_alloc_with(size, &FirstFitAlign::new(align)?)
    }

    /// Like [`dma_alloc_with`](Self::dma_alloc_with), as a value that does not borrow the pool. If it is dropped
    /// after the pool, its drop may unmap the region, which is not [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc).
    pub fn dma_alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<K::Buffer<'static>, DmaError> {
        let allocation = self.pool.dma_alloc_owned_with(size, algorithm)?;
        Ok(self.kind.buffer(allocation, Token))
    }

    /// Like [`dma_alloc`](Self::dma_alloc), zeroed: all granules, not only the bytes asked for.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc).
    pub fn dma_zalloc(&self, size: usize) -> Result<K::Zeroed<'_>, DmaError> {
        Ok(K::zeroed(self.dma_alloc(size)?, Token))
    }

    /// Like [`dma_alloc_with`](Self::dma_alloc_with), zeroed.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc).
    pub fn dma_zalloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<K::Zeroed<'_>, DmaError> {
        Ok(K::zeroed(self.dma_alloc_with(size, algorithm)?, Token))
    }

    /// Like [`dma_alloc_align`](Self::dma_alloc_align), zeroed.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc_align`](Self::dma_alloc_align).
    pub fn dma_zalloc_align(&self, size: usize, align: usize) -> Result<K::Zeroed<'_>, DmaError> {
        Ok(K::zeroed(self.dma_alloc_align(size, align)?, Token))
    }

    /// Returns the physical address of `addr`. None outside of the pool, in a region that no device sees, and where
    /// an IOMMU translates, because DMA addresses are not physical ones there. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{MemoryPool, PhysAddr, VirtAddr};
    ///
    /// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
    /// // SAFETY: no device is given the address, so it may be made up.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
    /// let pool = MemoryPool::new(12)?;
    /// pool.add(region)?;
    /// let frame = pool.dma_alloc(1)?;
    /// assert_eq!(pool.virt_to_phys(frame.virt()), Some(PhysAddr::new(0x8000_0000)));
    /// assert_eq!(pool.virt_to_phys(VirtAddr::new(0)), None);
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn virt_to_phys(&self, addr: VirtAddr) -> Option<PhysAddr> {
        match self.bus.get()? {
            Bus::Physical => self.pool.virt_to_phys(addr),
            Bus::Iommu(_) => None,
        }
    }

    /// Returns the address at which devices see the byte at `addr`, if they see it.
    /// [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{MemoryPool, PhysAddr};
    ///
    /// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
    /// // SAFETY: no device is given the address, so it may be made up.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
    /// let pool = MemoryPool::new(12)?;
    /// pool.add(region)?;
    /// let frame = pool.dma_alloc(1)?;
    /// assert_eq!(pool.virt_to_dma(frame.virt()), Some(frame.dma()));
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn virt_to_dma(&self, addr: VirtAddr) -> Option<DmaAddr> {
        self.pool.phys_of(addr.get()).map(DmaAddr::new)
    }

    /// Frees a range that an `into_raw` returned. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{MemoryPool, PhysAddr};
    ///
    /// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
    /// // SAFETY: no device is given the address, so it may be made up.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
    /// let pool = MemoryPool::new(12)?;
    /// pool.add(region)?;
    /// let range = pool.dma_zalloc(5000)?.share().into_raw(); // kept as numbers, in a table of the driver
    /// // SAFETY: the range is of this pool, is freed once, and no device was given its address.
    /// unsafe { pool.free(range)? };
    /// assert_eq!(pool.avail(), pool.size());
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed then.
    ///
    /// # Safety
    ///
    /// The range was returned by `into_raw` of a buffer of this pool and has not been freed since. Neither the
    /// processor nor a device uses it any more.
    pub unsafe fn free(&self, range: RawRange) -> Result<(), FreeError> {
        self.pool.free(range.addr, range.size)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl<K: Kind> Deref for MemoryPool<K> {
    type Target = PoolView;

    #[inline]
    fn deref(&self) -> &PoolView {
        &self.pool
    }
}

impl<K: Kind> fmt::Debug for MemoryPool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPool")
            .field("bus", &self.bus.get())
            .field("size", &format_args!("{:#x}", self.size()))
            .finish_non_exhaustive()
    }
}

/// Returns an empty list with room for `len` values.
fn list_of<T>(len: usize) -> Result<Vec<T>, RegionRefused> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(|_| RegionRefused::no_memory::<T>(len))?;
    Ok(list)
}
