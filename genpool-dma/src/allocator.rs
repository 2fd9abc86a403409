//! Pools as allocators for collections, by the traits of `allocator-api2`.

use core::alloc::Layout;
use core::fmt;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use std::sync::Arc;

use allocator_api2::alloc::{AllocError, Allocator};
use genpool_algos::FirstFitAlign;
use genpool_core::RawRange;

use crate::pool::MemoryPool;

/// Allocates the blocks of a `Vec` or a `HashMap` in a pool, for instance over huge pages, by the traits of the crate
/// [`allocator_api2`](crate::allocator_api2). Blocks are whole granules, so a `Vec` has the rest of the last granule
/// as capacity.
///
/// A block grows in place if the granules after it are free and in the same chunk, also with boundary tracking.
/// Shrinking and deallocating need no memory of the pool or of the heap, so they succeed in a full pool. The one
/// exception is a shrink to an alignment that the block's address does not have, which no collection asks for. That
/// block has to move, and if there is no room the call fails and changes nothing.
///
/// A block that is aligned to more than a granule is placed by first fit, any other by the pool's default algorithm.
/// Costs and signal safety are those of [`PoolView::alloc`](genpool_core::PoolView::alloc),
/// [`free`](genpool_core::Pool::free) and [`resize`](genpool_core::Allocation::resize). A block that moves is copied.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::MemoryPool;
/// use genpool::dma::allocator_api2::vec::Vec;
/// use genpool::dma::source::RamSource;
///
/// let pool = MemoryPool::new(12)?;
/// pool.add(RamSource::new(1 << 20).map()?)?;
/// let mut list = Vec::new_in(&pool);
/// list.extend(0..10_000_u32);
/// assert_eq!(list.iter().sum::<u32>(), 49_995_000);
/// assert!(pool.avail() <= pool.size() - 40_000);
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
// SAFETY: a block is a range that the pool claimed for the caller alone, in a region of ordinary memory. The region
// stays until `deallocate` gives the block back, because its chunk is not drained before. Moving the pool moves no
// memory. There is no `Clone`.
unsafe impl Allocator for MemoryPool {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        // Granules are aligned to their size.
        let found = if layout.align() <= self.granule() {
            self.pool().alloc(layout.size())
        } else {
            let aligned = FirstFitAlign::new(layout.align()).map_err(|_| AllocError)?;
            self.pool().alloc_with(layout.size(), &aligned)
        };
        let range = found.map_err(|_| AllocError)?.into_raw();
        block(range.addr, range.size).ok_or(AllocError)
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            let freed = self.pool().free(start.addr().get(), layout.size());
            debug_assert!(freed.is_ok(), "{freed:?}");
        }
    }

    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if let Some(block) = self.resize(start, old, new) {
            return Ok(block);
        }
        // SAFETY: the caller promises this.
        unsafe { self.relocate(start, old, new) }
    }

    unsafe fn grow_zeroed(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises this.
        let block = unsafe { self.grow(start, old, new) }?;
        // SAFETY: the block is no shorter than `new`, and `new` is no shorter than `old`.
        let added = unsafe { block.cast::<u8>().byte_add(old.size()) };
        // SAFETY: the rest of the block belongs to the caller.
        unsafe { added.write_bytes(0, block.len() - old.size()) };
        Ok(block)
    }

    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if let Some(block) = self.resize(start, old, new) {
            return Ok(block);
        }
        // The shrink is to zero bytes, which needs no memory, or to an alignment that the block does not have.
        // SAFETY: the caller promises this.
        unsafe { self.relocate(start, old, new) }
    }
}

impl MemoryPool {
    /// Resizes a block in place. None if its address is not a multiple of the new alignment, if the block is empty,
    /// or if it would grow into granules that are not free or not in its chunk.
    fn resize(&self, start: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<[u8]>> {
        let addr = start.addr().get();
        if old.size() == 0 || !addr.is_multiple_of(new.align()) {
            return None;
        }
        let range = RawRange {
            addr,
            size: old.size(),
        };
        let mut held = self.pool().adopt(range).ok()?;
        let resized = held.resize(new.size());
        let RawRange { addr, size } = held.into_raw();
        resized.ok()?;
        block(addr, size)
    }

    /// Moves a block to a new place.
    ///
    /// # Safety
    ///
    /// `start` is a block of this pool that fits `old`. It is not used any more if the call succeeds.
    unsafe fn relocate(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let moved = self.allocate(new)?;
        let kept = old.size().min(new.size());
        // SAFETY: both blocks have at least this many bytes, and they do not overlap.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), moved.as_ptr().cast(), kept) };
        // SAFETY: the caller promises this for the old block.
        unsafe { self.deallocate(start, old) };
        Ok(moved)
    }
}

fn empty(layout: Layout) -> NonNull<[u8]> {
    let dangling = NonNull::without_provenance(
        core::num::NonZeroUsize::new(layout.align()).expect("an alignment is not zero"),
    );
    NonNull::slice_from_raw_parts(dangling, 0)
}

/// None at address 0, where no region lies.
fn block(start: usize, size: usize) -> Option<NonNull<[u8]>> {
    let first = NonNull::new(ptr::with_exposed_provenance_mut(start))?;
    Some(NonNull::slice_from_raw_parts(first, size))
}

/// A pool that its allocations keep alive: an allocator that can be cloned and sent to other threads.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // features = ["dma"]
/// // dependencies = { hashbrown = "0.17" }
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{MemoryPool, SharedPool};
/// use hashbrown::HashMap;
///
/// let pool = MemoryPool::new(6)?;
/// pool.add(RamSource::new(1 << 20).map()?)?;
/// let pool = SharedPool::new(pool);
/// let mut names: HashMap<u32, &str, _, SharedPool> = HashMap::new_in(pool.clone());
/// names.insert(7, "seven");
/// let elsewhere = std::thread::spawn(move || names.get(&7).copied());
/// assert_eq!(elsewhere.join().expect("it does not panic"), Some("seven"));
/// assert_eq!(pool.avail(), pool.size());
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Clone)]
pub struct SharedPool(Arc<MemoryPool>);

impl SharedPool {
    /// Makes an allocator that shares `pool`.
    #[must_use]
    pub fn new(pool: impl Into<Arc<MemoryPool>>) -> Self {
        Self(pool.into())
    }
}

impl Deref for SharedPool {
    type Target = MemoryPool;

    fn deref(&self) -> &MemoryPool {
        &self.0
    }
}

impl fmt::Debug for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// SAFETY: every call goes to the one shared pool, which lives until the last clone is dropped.
unsafe impl Allocator for SharedPool {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        (**self).allocate(layout)
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller promises this.
        unsafe { (**self).deallocate(start, layout) }
    }

    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises this.
        unsafe { (**self).grow(start, old, new) }
    }

    unsafe fn grow_zeroed(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises this.
        unsafe { (**self).grow_zeroed(start, old, new) }
    }

    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises this.
        unsafe { (**self).shrink(start, old, new) }
    }
}
