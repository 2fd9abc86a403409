//! Physical memory through `/dev/mem`.

use core::num::NonZeroUsize;
use std::path::Path;

use super::error::SourceError;
use super::pci::map_device;
use crate::addr::PhysAddr;
use crate::kind::Device;
use crate::region::Region;

/// Maps `size` bytes at a physical address through `/dev/mem`, uncached if the architecture supports that. It is
/// meant for a device's memory that is neither a BAR nor a UIO map, such as on-chip SRAM on a board.
///
/// ```no_run
/// use std::num::NonZeroUsize;
///
/// use genpool::Pool;
/// use genpool::dma::source::physical_memory;
/// use genpool::dma::{MemoryPool, PhysAddr, Width};
///
/// let size = NonZeroUsize::new(0x4_0000).ok_or("no bytes")?;
/// // SAFETY: on this board it is SRAM, and no kernel driver uses it.
/// let sram = unsafe { physical_memory(PhysAddr::new(0x5c00_0000), size)? };
/// let pool = MemoryPool::of_device(Pool::builder().order(5), Width::Four)?;
/// pool.add(sram)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`SourceError`], among others [`SourceError::NoPrivilege`]. That is the answer for any process that is not root,
/// and for root too if the kernel was built to restrict `/dev/mem` (`CONFIG_STRICT_DEVMEM`, lockdown).
///
/// # Safety
///
/// The range is a device's memory, not the kernel's RAM. Until the region is dropped nobody else uses it: no kernel
/// driver and no other process.
pub unsafe fn physical_memory(
    phys: PhysAddr,
    size: NonZeroUsize,
) -> Result<Region<Device>, SourceError> {
    let path = Path::new("/dev/mem");
    let page = rustix::param::page_size() as u64;
    let skip = phys.get() % page;
    let whole = (size.get() as u64)
        .checked_add(skip)
        .and_then(|len| len.checked_next_multiple_of(page))
        .filter(|&len| (phys.get() - skip).checked_add(len - 1).is_some())
        .and_then(|len| NonZeroUsize::new(usize::try_from(len).ok()?))
        .filter(|len| isize::try_from(len.get()).is_ok());
    let Some(len) = whole else {
        return Err(SourceError::Format {
            path: path.to_owned(),
            text: format!("{size:#x} bytes at {phys}"),
        });
    };
    let region = map_device(path, phys.get() - skip, len, skip as usize, size)?;
    // SAFETY: this is what `/dev/mem` maps.
    Ok(unsafe { region.physically_at(phys) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri opens no devices")]
    fn ranges_beyond_the_address_space_are_refused() {
        for (phys, size) in [(u64::MAX, 2), (1, usize::MAX), (u64::MAX - 0xfff, 0x1001)] {
            let size = NonZeroUsize::new(size).unwrap();
            // SAFETY: nothing is mapped.
            let refused = unsafe { physical_memory(PhysAddr::new(phys), size) };
            assert!(
                matches!(refused, Err(SourceError::Format { .. })),
                "{phys:#x}"
            );
        }
    }
}
