//! Why a pool over memory was not built, or does not accept a region.

use core::fmt;

use genpool_core::{AddRefused, BuildError};
use thiserror::Error;

use crate::addr::VirtAddr;
use crate::kind::{Kind, Ram};
use crate::region::Region;
use crate::volatile::Width;

/// The reason why [`MemoryPool::of_device`](crate::MemoryPool::of_device) built no pool.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{DevicePoolError, MemoryPool, Width};
///
/// let refused = MemoryPool::of_device(Pool::builder().order(1), Width::Four).unwrap_err();
/// assert_eq!(refused, DevicePoolError::Width { order: 1, width: Width::Four });
/// assert_eq!(refused.to_string(), "a granule of 2 bytes (order 1) is less than an access of 4 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DevicePoolError {
    /// A granule is smaller than an access.
    #[error("a granule of {} (order {order}) is less than an access of {}", Bytes(1 << order), Bytes(width.bytes()))]
    Width {
        /// The given order.
        order: u32,
        /// The given width.
        width: Width,
    },
    /// No pool can be built with these settings.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Formats a number of bytes with its unit in the singular or plural.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// A region was not added.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{MemoryPool, RegionRefused};
///
/// let pool = MemoryPool::new(21)?; // granules of 2 MiB
/// let refused = pool.add(RamSource::new(1 << 20).map()?).unwrap_err();
/// assert!(matches!(refused.reason, RegionRefused::Granule { granule: 0x20_0000, .. }));
/// println!("{refused}");
/// let region = refused.region.ok_or("it comes back")?;
/// assert_eq!(region.size().get(), 1 << 20);
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct RegionError<K: Kind = Ram> {
    /// The reason.
    pub reason: RegionRefused,
    /// The region as it was given. None if another thread has already allocated in a part of it; the pool then keeps
    /// the region until that allocation is given back.
    pub region: Option<Region<K>>,
}

impl<K: Kind> RegionError<K> {
    pub(super) fn new(reason: RegionRefused, region: Option<Region<K>>) -> Self {
        Self { reason, region }
    }
}

/// The reason why a region was not added.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{AddressSpace, Bus, MemoryPool, RegionRefused, Translation};
///
/// let seen = |bus| {
///     let region = RamSource::new(1 << 16).map()?;
///     let window = genpool::dma::Window::new(region.start(), genpool::dma::DmaAddr::new(0), 1 << 16);
///     let translation = Translation::new(window)?;
///     // SAFETY: no device is given an address here.
///     Ok::<_, Box<dyn std::error::Error>>(unsafe { region.seen_at(bus, translation) })
/// };
/// let pool = MemoryPool::new(12)?;
/// pool.add(seen(Bus::Physical)?)?;
/// let refused = pool.add(seen(Bus::Iommu(AddressSpace::new()))?).unwrap_err();
/// assert_eq!(refused.reason, RegionRefused::AnotherBus);
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegionRefused {
    /// A part that devices see in one piece does not consist of whole granules.
    #[error(
        "{size:#x} bytes at {start}, which the device sees in one piece, are not whole granules of {granule:#x} bytes"
    )]
    Granule {
        /// The start of the part.
        start: VirtAddr,
        /// Its size in bytes.
        size: usize,
        /// The size of a granule in bytes.
        granule: usize,
    },
    /// Devices see the pool's other regions through another bus.
    #[error("devices see the pool's other regions by another bus")]
    AnotherBus,
    /// The region is on a bus, but its translation has no windows.
    #[error("the region's translation has no windows")]
    Unseen,
    /// The pool refused a chunk.
    #[error(transparent)]
    Chunk(AddRefused),
}

impl RegionRefused {
    /// There is no memory for a list of `len` values.
    pub(super) fn no_memory<T>(len: usize) -> Self {
        Self::Chunk(AddRefused::NoMemory {
            bytes: len.saturating_mul(size_of::<T>()),
        })
    }
}
