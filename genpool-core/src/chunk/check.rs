//! What the addresses of a chunk must satisfy, whatever other chunks there are.

#[cfg(feature = "alloc")]
use super::ChunkSpec;
use super::MAX_TRACKED;
use crate::bitmap::MAX_GRANULES;
use crate::error::AddRefused;

/// Checks everything about a chunk that does not depend on other chunks.
#[cfg(feature = "alloc")]
pub(crate) fn check_spec(spec: &ChunkSpec, order: u32, tracked: bool) -> Result<(), AddRefused> {
    check_range(spec.start(), spec.size(), order, tracked)?;
    match spec.phys_of_start() {
        Some(phys) => check_phys(phys, spec.size()),
        None => Ok(()),
    }
}

/// Checks the addresses of a chunk. The order is below the number of bits of an address.
pub(crate) const fn check_range(
    start: usize,
    size: usize,
    order: u32,
    tracked: bool,
) -> Result<(), AddRefused> {
    let granule = 1 << order;
    if size == 0 {
        return Err(AddRefused::ZeroSize);
    }
    if !start.is_multiple_of(granule) {
        return Err(AddRefused::MisalignedStart { granule });
    }
    if !size.is_multiple_of(granule) {
        return Err(AddRefused::MisalignedSize { granule });
    }
    if start.checked_add(size - 1).is_none() {
        return Err(AddRefused::Wraps);
    }
    let most = if tracked { MAX_TRACKED } else { MAX_GRANULES };
    if size >> order > most {
        return Err(AddRefused::TooManyGranules { most });
    }
    Ok(())
}

/// Checks the physical addresses of a chunk that is otherwise valid.
pub(crate) const fn check_phys(phys: u64, size: usize) -> Result<(), AddRefused> {
    match phys.checked_add(size as u64 - 1) {
        Some(_) => Ok(()),
        None => Err(AddRefused::PhysWraps { phys }),
    }
}
