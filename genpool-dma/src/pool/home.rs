//! Regions in a pool, and on their way out of it.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genpool_core::{ChunkSpec, Drain, Pool, discard_panic};

use super::list_of;
use super::refused::RegionRefused;
use crate::addr::VirtAddr;
use crate::kind::{Kind, Ram};
use crate::region::Region;

/// A region in the list of its pool.
pub(super) struct Entry<K: Kind> {
    pub(super) home: Arc<Home<K>>,
    /// Empty, with room for the drain of each chunk, so that a removal needs no memory.
    drains: Vec<Drain>,
    /// Whether all its chunks are there, so that it can be removed.
    pub(super) complete: bool,
}

impl<K: Kind> Entry<K> {
    /// Of a region that is to be [put](Home::put) in its home, and has these chunks.
    pub(super) fn new(region: &Region<K>, chunks: &[ChunkSpec]) -> Result<Self, RegionRefused> {
        let mut starts = list_of(chunks.len())?;
        starts.extend(chunks.iter().map(ChunkSpec::start));
        let drains = list_of(chunks.len())?;
        let home = Arc::new(Home {
            start: region.start(),
            size: region.size().get(),
            chunks: starts,
            region: Mutex::new(None),
        });
        Ok(Self {
            home,
            drains,
            complete: false,
        })
    }

    /// Begins to remove the first `count` chunks of the region, which are those that are in the pool.
    pub(super) fn drain(self, pool: &Pool, count: usize) -> RegionDrain<K> {
        let Self {
            home, mut drains, ..
        } = self;
        drains.extend(home.chunks[..count].iter().map(|&start| {
            let drain = pool.remove(start);
            drain.expect("chunks are removed only with their region, and once")
        }));
        RegionDrain { drains, home }
    }
}

/// Where the chunks of one region are at home: their owner.
pub(super) struct Home<K: Kind> {
    start: VirtAddr,
    size: usize,
    /// The starts of its chunks.
    chunks: Vec<usize>,
    /// Taken out when all of them are drained.
    region: Mutex<Option<Region<K>>>,
}

impl<K: Kind> Home<K> {
    /// The region's first address and its bytes.
    pub(super) fn extent(&self) -> (usize, usize) {
        (self.start.get(), self.size)
    }

    /// The starts of its chunks.
    pub(super) fn chunks(&self) -> &[usize] {
        &self.chunks
    }

    pub(super) fn put(&self, region: Region<K>) {
        *self.lock() = Some(region);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Region<K>>> {
        // Nothing is half done where a panic could pass.
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kind> Drop for Home<K> {
    /// The destructor of what keeps the region is code of others. It runs in the middle of whatever lets go of the
    /// last chunk: a change of the chunk list, the drop of an allocation, the pool's end. Its panic ends here, so
    /// that none of them is left half done, and that no second panic on the way aborts the process.
    fn drop(&mut self) {
        let region = self.lock().take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(region))) {
            discard_panic(payload);
        }
    }
}

/// A region that is being removed. Dropped unfinished, it leaves the region to the pool's end.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{MemoryPool, PhysAddr, VirtAddr};
///
/// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// // SAFETY: no device is told anything, so the address may be made up.
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
    home: Arc<Home<K>>,
}

impl<K: Kind> RegionDrain<K> {
    /// Whether the last allocation is back.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drains.iter().all(Drain::is_drained)
    }

    /// Bytes that are still held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.drains.iter().map(Drain::held).sum()
    }

    /// Takes the region out of the pool, if the last allocation is back: it is unmapped when it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// This value again, if something is still held.
    ///
    /// # Panics
    ///
    /// If the destructor of an algorithm does that was the pool's default before. If nothing is held any more, the
    /// region is dropped.
    pub fn finish(self) -> Result<Region<K>, Self> {
        if !self.is_drained() {
            return Err(self);
        }
        // Nobody holds a byte of it, and nobody ever will: its chunks are drained.
        let region = self.home.lock().take();
        let region = region.expect("a region is taken out once, by its only drain");
        // A value that is returned already would be lost if this panics.
        drop(self);
        Ok(region)
    }
}

impl<K: Kind> fmt::Debug for RegionDrain<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionDrain")
            .field("start", &self.home.start)
            .field("held", &format_args!("{:#x}", self.held()))
            .finish()
    }
}
