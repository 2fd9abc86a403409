//! Memory from the system, through genpool-dma.

use genpool_dma::Region;
use thiserror::Error;

/// The bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// Aligned, zeroed memory, readable and writable, with all of its pages present.
pub(super) struct Mapping {
    region: Region,
    len: usize,
    pages: Pages,
}

/// The kind of pages of an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages of [`HUGE_PAGE`] bytes.
    Huge,
    /// Pages of the ordinary size.
    Ordinary {
        /// The reason that they are not huge.
        because: String,
    },
}

impl Mapping {
    /// Maps `len` bytes, not 0, at a multiple of `align`, a power of two.
    pub(super) fn new(len: usize, align: usize) -> Result<Self, MapError> {
        let (region, pages) = system::map(len, align).map_err(|why| MapError::new(len, why))?;
        Ok(Self { region, len, pages })
    }

    /// Returns the first usable byte.
    pub(super) fn first(&self) -> *const u8 {
        self.region.as_ptr().as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }
}

#[cfg(target_os = "linux")]
mod system {
    use genpool_dma::Region;
    use genpool_dma::source::{PageSize, RamSource, SourceError};

    use super::Pages;
    use crate::chain::Chain;
    use crate::run::machine;
    use crate::size::Bytes;

    /// The run must not measure page faults, so every page is present from the start, in huge pages if there are any.
    pub(super) fn map(len: usize, align: usize) -> Result<(Region, Pages), String> {
        let source = RamSource::new(len).align(align);
        let because = match source.pages(PageSize::Huge2M).map() {
            Ok(region) => return Ok((region, Pages::Huge)),
            // Shorter than the error's own text, which covers any size and any node.
            Err(SourceError::HugePages { wanted, free, .. }) => format!(
                "{free} of {wanted} huge pages are free; `sysctl vm.nr_hugepages={wanted}` reserves more"
            ),
            Err(error) => Chain(&error).to_string(),
        };
        // A system that overcommits maps more than it has, and kills a process that writes to it. A tenth is left for
        // bookkeeping and for other processes.
        if let Some(available) = machine::available_memory()
            && available / 10 * 9 < len as u64
        {
            return Err(format!("{} are available", Bytes(available as usize)));
        }
        let region = match source.prefault().map() {
            // Kernels before 5.14 cannot prefault. Pages then appear one by one, at the first access.
            Err(SourceError::System { source: error, .. })
                if error.kind() == std::io::ErrorKind::InvalidInput =>
            {
                source.map()
            }
            region => region,
        };
        match region {
            Ok(region) => Ok((region, Pages::Ordinary { because })),
            Err(error) => Err(Chain(&error).to_string()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::num::NonZeroUsize;
    use std::ptr::NonNull;

    use genpool_dma::Region;

    use super::Pages;

    /// Heap memory that this value owns.
    struct Heap {
        start: NonNull<u8>,
        layout: Layout,
    }

    // SAFETY: any thread may free heap memory, and the value does nothing else with it.
    unsafe impl Send for Heap {}
    // SAFETY: as above.
    unsafe impl Sync for Heap {}

    impl Drop for Heap {
        fn drop(&mut self) {
            // SAFETY: it was allocated with this layout, and nothing uses it any more.
            unsafe { dealloc(self.start.as_ptr(), self.layout) };
        }
    }

    pub(super) fn map(len: usize, align: usize) -> Result<(Region, Pages), String> {
        let layout = Layout::from_size_align(len, align).map_err(|error| error.to_string())?;
        let size = NonZeroUsize::new(len).ok_or("no bytes")?;
        // SAFETY: the layout has a size other than 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or("there is no more")?;
        let heap = Heap { start, layout };
        // SAFETY: nothing else uses this heap memory until `heap` is dropped.
        let region = unsafe { Region::from_raw(start, size, heap) };
        let because = "huge pages are used on Linux only".to_owned();
        Ok((region, Pages::Ordinary { because }))
    }
}

/// Memory that could not be mapped.
#[derive(Debug, Error)]
#[error("cannot map {} of memory: {why}", crate::size::Bytes(*len))]
pub struct MapError {
    len: usize,
    why: String,
}

impl MapError {
    pub(super) fn new(len: usize, why: impl Into<String>) -> Self {
        Self {
            len,
            why: why.into(),
        }
    }
}
