//! Allocations of static pools.

use core::fmt;
use core::mem::ManuallyDrop;

use super::StaticPool;
use crate::chunk::{Extent, granules_for};
use crate::chunk_ops::Free;
use crate::error::ResizeError;
use crate::raw_range::RawRange;

/// A range of a [`StaticPool`], which is given back when this value is dropped. What was written to the memory before
/// happens before the next owner's use of it. It may be sent to another core, or kept in a `static`. It is four words.
///
/// ```
/// use genpool::{StaticAllocation, StaticPool, static_pool};
///
/// static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x1000);
///
/// struct Ring {
///     descriptors: StaticAllocation<'static>,
/// }
///
/// let ring = Ring { descriptors: POOL.alloc(256)? };
/// assert_eq!((ring.descriptors.addr(), ring.descriptors.size()), (0x1000, 256));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the range is given back when this is dropped"]
pub struct StaticAllocation<'p> {
    pub(super) pool: &'p StaticPool,
    pub(super) addr: usize,
    pub(super) extent: Extent,
}

impl StaticAllocation<'_> {
    /// Returns the address of the first byte.
    #[must_use]
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Returns the size in bytes, a multiple of the granule.
    #[must_use]
    pub fn size(&self) -> usize {
        self.extent.len() << self.pool.order()
    }

    /// Returns the physical address of the first byte, if the pool has one.
    #[must_use]
    pub fn phys(&self) -> Option<u64> {
        self.pool.chunk.phys_of(self.addr)
    }

    /// Grows or shrinks the allocation in place to hold `size` bytes.
    ///
    /// ```
    /// use genpool::{ResizeError, StaticPool, static_pool};
    ///
    /// static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x1000);
    /// let mut held = POOL.alloc(32)?;
    /// held.resize(1000)?;
    /// assert_eq!(held.size(), 1024);
    /// assert_eq!(held.resize(0x1001), Err(ResizeError::PastChunk));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResizeError`]; the size is unchanged.
    pub fn resize(&mut self, size: usize) -> Result<(), ResizeError> {
        if size == 0 {
            return Err(ResizeError::ZeroSize);
        }
        let (pool, wanted) = (self.pool, granules_for(size, self.pool.order()));
        if wanted != self.extent.len() {
            self.extent = Free::resize(pool, &pool.chunk, self.addr, self.extent, wanted)?;
        }
        Ok(())
    }

    /// Turns the allocation into plain numbers without giving the range back. [`StaticPool::free`] gives it back, and
    /// [`StaticPool::adopt`] makes an allocation of it again.
    pub fn into_raw(self) -> RawRange {
        let this = ManuallyDrop::new(self);
        let (addr, size) = (this.addr, this.size());
        RawRange { addr, size }
    }
}

impl Drop for StaticAllocation<'_> {
    #[inline]
    fn drop(&mut self) {
        let pool = self.pool;
        if !pool.give_back_to(&pool.chunk, self.addr, self.extent) {
            // Only a free by address can have released this range before.
            pool.counters.refused_free();
        }
    }
}

impl fmt::Debug for StaticAllocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticAllocation")
            .field("addr", &format_args!("{:#x}", self.addr))
            .field("size", &format_args!("{:#x}", self.size()))
            .finish()
    }
}
