//! Pools as allocators of collections, by the traits of `allocator-api2`.

use core::alloc::Layout;
use core::fmt;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use std::sync::Arc;

use allocator_api2::alloc::{AllocError, Allocator};
use genpool_algos::{FirstFitAlign, FixedAddress};

use crate::pool::MemoryPool;

/// A `Vec` or a `HashMap` in a pool over huge pages. Whole granules are handed out, so a `Vec` has the
/// rest of the last one as capacity; it grows in place where what is behind it is free.
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
// SAFETY: a block is a range that the pool claimed for the caller alone, in a region of ordinary memory,
// which stays until it is given back by `deallocate`: its chunk is not drained before. Moving the pool
// moves no memory. There is no `Clone`.
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
        let aligned = start.addr().get().is_multiple_of(new.align());
        if old.size() > 0 && aligned && self.extend(start, old.size(), new.size()) {
            let size = new.size().next_multiple_of(self.granule());
            return block(start.addr().get(), size).ok_or(AllocError);
        }
        let grown = self.allocate(new)?;
        // SAFETY: the old block has `old.size()` bytes, the new one at least as many, and they are two.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), grown.as_ptr().cast(), old.size()) };
        // SAFETY: the caller's promise for the old block; it is not used any more.
        unsafe { self.deallocate(start, old) };
        Ok(grown)
    }

    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let granule = self.granule();
        let (before, after) = (
            old.size().next_multiple_of(granule),
            new.size().next_multiple_of(granule),
        );
        let aligned = start.addr().get().is_multiple_of(new.align());
        // A record of the whole block cannot be shortened by address.
        if new.size() > 0 && aligned && !self.pool().is_tracked() {
            if after < before {
                let freed = self.pool().free(start.addr().get() + after, before - after);
                debug_assert!(freed.is_ok(), "{freed:?}");
            }
            return block(start.addr().get(), after).ok_or(AllocError);
        }
        let shrunk = self.allocate(new)?;
        // SAFETY: both blocks have `new.size()` bytes, and they are two.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), shrunk.as_ptr().cast(), new.size()) };
        // SAFETY: the caller's promise for the old block; it is not used any more.
        unsafe { self.deallocate(start, old) };
        Ok(shrunk)
    }
}

impl MemoryPool {
    /// Makes a block longer where it is, if what is behind it is free and in the same chunk. Not where
    /// blocks are tracked: the block would be two to the records.
    fn extend(&self, start: NonNull<u8>, old: usize, new: usize) -> bool {
        let (start, granule) = (start.addr().get(), self.granule());
        let before = old.next_multiple_of(granule);
        if new <= before {
            return true;
        }
        if self.pool().is_tracked() || !self.pool().contains(start, new) {
            return false;
        }
        let behind = FixedAddress::new(start + before);
        match self.pool().alloc_with(new - before, &behind) {
            Ok(tail) => {
                // It goes with the block from now on.
                let _ = tail.into_raw();
                true
            }
            Err(_) => false,
        }
    }
}

fn empty(layout: Layout) -> NonNull<[u8]> {
    let dangling = NonNull::without_provenance(
        core::num::NonZeroUsize::new(layout.align()).expect("an alignment is not zero"),
    );
    NonNull::slice_from_raw_parts(dangling, 0)
}

/// None at address 0, which regions do not have.
fn block(start: usize, size: usize) -> Option<NonNull<[u8]>> {
    let first = NonNull::new(ptr::with_exposed_provenance_mut(start))?;
    Some(NonNull::slice_from_raw_parts(first, size))
}

/// A pool that its allocations keep alive: an allocator that can be cloned and sent anywhere.
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
    /// `pool`, shared from now on.
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

// SAFETY: every call goes to the one pool, which lives until the last clone is dropped.
unsafe impl Allocator for SharedPool {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        (**self).allocate(layout)
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { (**self).deallocate(start, layout) }
    }

    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { (**self).grow(start, old, new) }
    }

    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { (**self).shrink(start, old, new) }
    }
}
