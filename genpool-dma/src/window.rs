//! From virtual to DMA addresses: windows in which both advance together.

use core::num::NonZeroUsize;

use thiserror::Error;

use crate::addr::{DmaAddr, VirtAddr};

/// A range that is contiguous in both address spaces.
///
/// ```
/// use genpool::dma::{DmaAddr, VirtAddr, Window};
///
/// let window = Window::new(VirtAddr::new(0x1000), DmaAddr::new(0x9000), 0x2000).ok_or("it wraps")?;
/// assert_eq!((window.virt(), window.dma()), (VirtAddr::new(0x1000), DmaAddr::new(0x9000)));
/// assert_eq!(window.size().get(), 0x2000);
/// assert_eq!(Window::new(VirtAddr::new(usize::MAX), DmaAddr::new(0), 2), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// Neither range wraps around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    virt: VirtAddr,
    dma: DmaAddr,
    len: NonZeroUsize,
}

impl Window {
    /// Returns a window of `len` bytes at `virt` that the device sees at `dma`. None if `len` is zero or
    /// one of the ranges wraps around.
    #[must_use]
    pub fn new(virt: VirtAddr, dma: DmaAddr, len: usize) -> Option<Self> {
        let len = NonZeroUsize::new(len)?;
        virt.checked_add(len.get() - 1)?;
        dma.checked_add(len.get() as u64 - 1)?;
        Some(Self { virt, dma, len })
    }

    /// Returns the virtual address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.virt
    }

    /// Returns the address at which the device sees the first byte.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.dma
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.len
    }

    /// The offset of the last byte.
    fn last(&self) -> usize {
        self.len.get() - 1
    }

    /// Whether `next` begins where `self` ends, in both address spaces.
    fn joins(&self, next: &Self) -> bool {
        self.virt.checked_add(self.len.get()) == Some(next.virt)
            && self.dma.checked_add(self.len.get() as u64) == Some(next.dma)
    }
}

/// The DMA addresses of a range of memory, exact for every byte.
///
/// ```
/// use genpool::dma::{DmaAddr, Translation, VirtAddr, Window};
///
/// let page = |virt, dma| Window::new(VirtAddr::new(virt), DmaAddr::new(dma), 0x1000).unwrap();
/// let map = Translation::new([page(0x1000, 0x9000), page(0x2000, 0xa000), page(0x3000, 0x4000)])?;
/// assert_eq!(map.windows().len(), 2); // the first two are joined
/// assert_eq!(map.dma(VirtAddr::new(0x1f00), 0x200)?, DmaAddr::new(0x9f00));
/// assert!(map.dma(VirtAddr::new(0x2f00), 0x200).is_err()); // would be in two pieces
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Ascending by virtual address, disjoint, and as few as possible.
    windows: Vec<Window>,
}

impl Translation {
    /// Makes a translation of windows in any order. Adjacent windows that join are merged.
    ///
    /// # Errors
    ///
    /// [`Overlap`] if two of them share virtual addresses.
    pub fn new(windows: impl IntoIterator<Item = Window>) -> Result<Self, Overlap> {
        let mut list: Vec<Window> = windows.into_iter().collect();
        list.sort_by_key(|window| window.virt);
        let mut joined: Vec<Window> = Vec::new();
        for window in list {
            match joined.last_mut() {
                Some(before) if before.joins(&window) => {
                    // No overflow: both ranges end inside the address space.
                    before.len = before.len.saturating_add(window.len.get());
                }
                Some(before) if window.virt.get() - before.virt.get() <= before.last() => {
                    return Err(Overlap { at: window.virt });
                }
                _ => joined.push(window),
            }
        }
        Ok(Self { windows: joined })
    }

    /// Returns the contiguous parts in ascending order.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Returns the DMA address at which the device sees the `len` bytes at `virt`. O(log windows).
    ///
    /// # Errors
    ///
    /// [`Untranslated`] if `len` is zero, or unless the device sees all the bytes in one piece.
    pub fn dma(&self, virt: VirtAddr, len: usize) -> Result<DmaAddr, Untranslated> {
        let refused = |at| Err(Untranslated { virt, len, at });
        let after = self.windows.partition_point(|window| window.virt <= virt);
        let Some(window) = after.checked_sub(1).map(|at| self.windows[at]) else {
            return refused(virt);
        };
        let offset = virt.get() - window.virt.get();
        if len == 0 || offset > window.last() {
            return refused(virt);
        }
        let left = window.len.get() - offset;
        if len > left {
            return match virt.checked_add(left) {
                Some(end) => refused(end),
                None => refused(virt),
            };
        }
        Ok(DmaAddr::new(window.dma.get() + offset as u64))
    }
}

/// Two windows share virtual addresses.
///
/// ```
/// use genpool::dma::{DmaAddr, Overlap, Translation, VirtAddr, Window};
///
/// let window = |virt| Window::new(VirtAddr::new(virt), DmaAddr::new(0), 0x1000);
/// let pages = [window(0x1000), window(0x1800)].into_iter().flatten();
/// assert_eq!(Translation::new(pages), Err(Overlap { at: VirtAddr::new(0x1800) }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("virtual address {at} is in two windows")]
pub struct Overlap {
    /// The start of the second window.
    pub at: VirtAddr,
}

/// A range has no DMA address, or none that is valid for all of it.
///
/// ```
/// use genpool::dma::{DmaAddr, Translation, Untranslated, VirtAddr, Window};
///
/// let page = Window::new(VirtAddr::new(0x1000), DmaAddr::new(0x9000), 0x1000);
/// let map = Translation::new(page)?;
/// let refused = map.dma(VirtAddr::new(0x1f00), 0x200);
/// println!("{}", refused.unwrap_err()); // says where the translation ends
/// assert!(map.dma(VirtAddr::new(0x1f00), 0x100).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{len:#x} bytes at {virt}: the device does not see them in one piece, from {at} on")]
pub struct Untranslated {
    /// The start of the range.
    pub virt: VirtAddr,
    /// The size of the range in bytes.
    pub len: usize,
    /// The first byte that the device does not see contiguously with those before it.
    pub at: VirtAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(virt: usize, dma: u64) -> Window {
        Window::new(VirtAddr::new(virt), DmaAddr::new(dma), 0x1000).unwrap()
    }

    #[test]
    fn windows_join_only_where_both_addresses_go_on() {
        for (second, dma, windows) in [
            (0x2000, 0xa000, 1),
            // Gaps and overlaps in DMA addresses.
            (0x2000, 0xb000, 2),
            (0x2000, 0xa001, 2),
            (0x2000, 0x9000, 2),
            (0x2000, 0x8000, 2),
            // A gap in virtual addresses.
            (0x3000, 0xa000, 2),
            (0x3000, 0xb000, 2),
        ] {
            for pages in [
                [window(0x1000, 0x9000), window(second, dma)],
                [window(second, dma), window(0x1000, 0x9000)],
            ] {
                let map = Translation::new(pages).unwrap();
                assert_eq!(map.windows().len(), windows, "{second:#x} at {dma:#x}");
                let over = map.dma(VirtAddr::new(0x1fff), 2);
                assert_eq!(over.is_ok(), windows == 1, "{second:#x} at {dma:#x}");
                let inside = map.dma(VirtAddr::new(second), 0x1000);
                assert_eq!(inside, Ok(DmaAddr::new(dma)));
            }
        }
    }
}
