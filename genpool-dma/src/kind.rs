//! Two kinds of memory, by what the processor may do with them.
//!
//! The kinds are types because their buffers differ. A buffer of [`Ram`] gives slices. A buffer of
//! [`Device`] gives volatile words only: with a slice of a BAR, the compiler would choose how to access it.

use core::fmt;
use core::mem::MaybeUninit;

use crate::allocation::DmaAllocation;
use crate::buffer::CpuBuffer;
use crate::io::IoBuffer;
use crate::volatile::Width;

/// A kind of memory: [`Ram`] or [`Device`].
///
/// ```
/// use genpool::dma::{Kind, MemoryPool};
///
/// /// Accepts any kind of memory.
/// fn percent_free<K: Kind>(pool: &MemoryPool<K>) -> usize {
///     pool.avail() * 100 / pool.size().max(1)
/// }
///
/// assert_eq!(percent_free(&MemoryPool::new(12)?), 0); // nothing in it yet
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Kind: Copy + fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// The buffer that an allocation returns.
    type Buffer<'p>;
    /// The buffer that a zeroed allocation returns.
    type Zeroed<'p>;

    #[doc(hidden)]
    fn buffer(self, allocation: DmaAllocation<'_>, _: sealed::Token) -> Self::Buffer<'_>;

    #[doc(hidden)]
    fn zeroed(buffer: Self::Buffer<'_>, _: sealed::Token) -> Self::Zeroed<'_>;
}

/// Ordinary memory, which may be accessed in any way: as slices, by `memcpy`, by atomics.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{MemoryPool, Ram, Region};
///
/// let region: Region<Ram> = RamSource::new(1 << 16).map()?;
/// let pool: MemoryPool<Ram> = MemoryPool::new(12)?; // or `MemoryPool`, which is the same type
/// pool.add(region)?;
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram;

/// Memory of a device. It is accessed by volatile words, never as slices, and is zeroed and copied by words
/// of one width.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{Device, MemoryPool, Width};
///
/// // The device accepts accesses of 32 bits; a granule holds at least one of them.
/// let pool: MemoryPool<Device> = MemoryPool::of_device(Pool::builder().order(8), Width::Four)?;
/// assert_eq!(pool.granule(), 256);
/// assert!(MemoryPool::of_device(Pool::builder().order(1), Width::Four).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub(crate) width: Width,
}

impl Kind for Ram {
    type Buffer<'p> = CpuBuffer<'p, MaybeUninit<u8>>;
    type Zeroed<'p> = CpuBuffer<'p>;

    fn buffer(self, allocation: DmaAllocation<'_>, _: sealed::Token) -> Self::Buffer<'_> {
        CpuBuffer::new(allocation)
    }

    fn zeroed(buffer: Self::Buffer<'_>, _: sealed::Token) -> Self::Zeroed<'_> {
        buffer.zeroed()
    }
}

impl Kind for Device {
    type Buffer<'p> = IoBuffer<'p>;
    type Zeroed<'p> = IoBuffer<'p>;

    fn buffer(self, allocation: DmaAllocation<'_>, _: sealed::Token) -> Self::Buffer<'_> {
        IoBuffer::new(allocation, self.width)
    }

    fn zeroed(mut buffer: Self::Buffer<'_>, _: sealed::Token) -> Self::Zeroed<'_> {
        buffer.zero();
        buffer
    }
}

pub(crate) mod sealed {
    /// Sealed: only the kinds of this crate are known to behave as documented.
    pub trait Sealed {}

    /// Only this crate turns allocations into buffers.
    #[derive(Clone, Copy, Debug)]
    pub struct Token;

    impl Sealed for super::Ram {}
    impl Sealed for super::Device {}
}
