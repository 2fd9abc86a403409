//! Why a pool over memory was not built, or does not accept a region.

use core::error::Error;
use core::fmt;

use genpool_core::{AddRefused, BuildError};

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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DevicePoolError {
    /// A granule is smaller than an access.
    Width {
        /// The given order.
        order: u32,
        /// The given width.
        width: Width,
    },
    /// No pool can be built with these settings.
    Build(BuildError),
}

impl From<BuildError> for DevicePoolError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl fmt::Display for DevicePoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Width { order, width } => {
                let bytes = |bytes: usize| match bytes {
                    1 => "1 byte".to_owned(),
                    bytes => format!("{bytes} bytes"),
                };
                let (granule, access) = (bytes(1 << order), bytes(width.bytes()));
                write!(
                    f,
                    "a granule of {granule} (order {order}) is less than an access of {access}"
                )
            }
            Self::Build(error) => error.fmt(f),
        }
    }
}

impl Error for DevicePoolError {}

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
#[derive(Debug)]
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

impl<K: Kind> fmt::Display for RegionError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<K: Kind> Error for RegionError<K> {}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionRefused {
    /// A part that devices see in one piece does not consist of whole granules.
    Granule {
        /// The start of the part.
        start: VirtAddr,
        /// Its size in bytes.
        size: usize,
        /// The size of a granule in bytes.
        granule: usize,
    },
    /// Devices see the pool's other regions through another bus.
    AnotherBus,
    /// The region is on a bus, but its translation has no windows.
    Unseen,
    /// The pool refused a chunk.
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

impl fmt::Display for RegionRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granule {
                start,
                size,
                granule,
            } => write!(
                f,
                "the device sees {size:#x} bytes at {start} in one piece, which are not whole granules of {granule:#x} bytes"
            ),
            Self::AnotherBus => f.write_str("devices see the pool's other regions by another bus"),
            Self::Unseen => f.write_str("the region's translation has no windows"),
            Self::Chunk(reason) => reason.fmt(f),
        }
    }
}
