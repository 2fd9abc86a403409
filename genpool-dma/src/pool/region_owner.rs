//! Regions in a pool, and their way out of it.
//!
//! All chunks of a region have one owner, which keeps the region. The last of them to be reclaimed drops it.
//!
//! A region's guard is user code, and its destructor may panic. The panic ends in the owner's drop, so no call of
//! the core is left half done, and two guards that panic at a pool's end do not abort the process. A region that is
//! back in the caller's hands passes the panic on.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genpool_core::{ChunkSpec, Drain, Pool, discard_panic};

use super::list_of;
use super::refused::RegionRefused;
use crate::addr::VirtAddr;
use crate::kind::{Kind, Ram};
use crate::region::Region;

/// A pool's entry for a region.
pub(super) struct Entry<K: Kind> {
    pub(super) owner: Arc<RegionOwner<K>>,
    /// Empty, with capacity for one drain per chunk, so that a removal needs no memory.
    drains: Vec<Drain>,
    /// Whether all its chunks were added, so that it can be removed.
    pub(super) complete: bool,
}

impl<K: Kind> Entry<K> {
    /// Makes an entry for a region with these chunks. The region itself is [put](RegionOwner::put) into its owner
    /// later.
    pub(super) fn new(region: &Region<K>, chunks: &[ChunkSpec]) -> Result<Self, RegionRefused> {
        let mut starts = list_of(chunks.len())?;
        starts.extend(chunks.iter().map(ChunkSpec::start));
        let drains = list_of(chunks.len())?;
        let owner = Arc::new(RegionOwner {
            start: region.start(),
            size: region.size().get(),
            chunks: starts,
            region: Mutex::new(None),
        });
        Ok(Self {
            owner,
            drains,
            complete: false,
        })
    }

    /// Begins to remove the first `count` chunks of the region: those that are in the pool.
    pub(super) fn drain(self, pool: &Pool, count: usize) -> RegionDrain<K> {
        let Self {
            owner, mut drains, ..
        } = self;
        drains.extend(owner.chunks[..count].iter().map(|&start| {
            let drain = pool.remove(start);
            drain.expect("chunks are removed only with their region, and once")
        }));
        RegionDrain { drains, owner }
    }
}

/// The owner of the chunks of one region.
pub(super) struct RegionOwner<K: Kind> {
    start: VirtAddr,
    size: usize,
    /// The starts of the chunks.
    chunks: Vec<usize>,
    /// Taken out when all chunks are drained.
    region: Mutex<Option<Region<K>>>,
}

impl<K: Kind> RegionOwner<K> {
    /// The region's first address and its size in bytes.
    pub(super) fn extent(&self) -> (usize, usize) {
        (self.start.get(), self.size)
    }

    /// The starts of the chunks.
    pub(super) fn chunks(&self) -> &[usize] {
        &self.chunks
    }

    pub(super) fn put(&self, region: Region<K>) {
        *self.lock() = Some(region);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Region<K>>> {
        // No panic can leave the value half updated.
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kind> Drop for RegionOwner<K> {
    /// The destructor of the region's guard is user code. It runs in whichever call drops the last chunk: a change
    /// of the chunk list, the drop of an allocation, or the end of the pool. A panic ends here, so that none of these
    /// is left half done and no second panic aborts the process.
    fn drop(&mut self) {
        let region = self.lock().take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(region))) {
            discard_panic(payload);
        }
    }
}

/// A region that is being removed. If this is dropped before [`finish`](Self::finish) succeeded, the region stays
/// mapped until the pool's end.
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
/// let frame = pool.dma_alloc(5000)?;
/// let drain = pool.remove(VirtAddr::new(start))?;
/// assert_eq!((drain.is_drained(), drain.held()), (false, 8192));
/// drop(frame);
/// assert!(drain.finish().is_ok());
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[must_use = "`finish` gives the region back"]
pub struct RegionDrain<K: Kind = Ram> {
    drains: Vec<Drain>,
    owner: Arc<RegionOwner<K>>,
}

impl<K: Kind> RegionDrain<K> {
    /// Whether every allocation was given back.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drains.iter().all(Drain::is_drained)
    }

    /// Returns the bytes that are still allocated.
    #[must_use]
    pub fn held(&self) -> usize {
        self.drains.iter().map(Drain::held).sum()
    }

    /// Takes the region out of the pool if every allocation was given back. Dropping the region unmaps it.
    ///
    /// # Errors
    ///
    /// Returns `self` if something is still allocated.
    ///
    /// # Panics
    ///
    /// If the destructor of a former default algorithm panics. If nothing is allocated any more, the region is
    /// dropped.
    pub fn finish(self) -> Result<Region<K>, Self> {
        if !self.is_drained() {
            return Err(self);
        }
        // All chunks are drained, so nobody holds a byte of the region or ever will.
        let region = self.owner.lock().take();
        let region = region.expect("a region is taken out once, by its only drain");
        // Dropped first: if this panics, a value that is already returned would be lost.
        drop(self);
        Ok(region)
    }
}

impl<K: Kind> fmt::Debug for RegionDrain<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionDrain")
            .field("start", &self.owner.start)
            .field("held", &format_args!("{:#x}", self.held()))
            .finish()
    }
}
