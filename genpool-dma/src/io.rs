//! A piece of a device's memory.

use core::fmt;

use crate::addr::{DmaAddr, VirtAddr};
use crate::allocation::DmaAllocation;
use crate::volatile::{AccessError, Cells, Width, Word};

/// An allocation in a device's memory: a BAR, a UIO map. It is read and written by volatile words, and
/// given back when it is dropped.
///
/// The device may read and write it at any time; what it makes of it is its own business. Before the
/// drop, whatever the device was told to do with these bytes has to be over.
///
/// ```
/// use genpool::dma::{MemoryPool, PhysAddr, Region, Width};
///
/// #[repr(align(4096))]
/// struct Bar([u8; 4096]);
/// let start = std::ptr::NonNull::from(Box::leak(Box::new(Bar([0; 4096])))).cast();
/// let size = std::num::NonZeroUsize::new(4096).ok_or("no bytes")?;
/// // SAFETY: the memory was leaked, and nobody else has its address.
/// let region = unsafe { Region::from_raw(start, size, ()) };
/// // SAFETY: no device is told anything, so the address may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0xe000_0000)) };
/// let pool = MemoryPool::of_device(8, Width::Four)?;
/// pool.add(region)?; // of a BAR, say
///
/// let mut queue = pool.dma_alloc(1000)?;
/// assert_eq!((queue.size(), queue.width()), (1024, Width::Four));
/// queue.zero();
/// queue.write(8, 0xdead_beef_u32)?;
/// assert_eq!(queue.read::<u32>(8)?, 0xdead_beef);
/// queue.copy_from_slice(16, b"12345678")?; // by words of four bytes
/// let mut back = [0; 8];
/// queue.copy_to_slice(16, &mut back)?;
/// assert_eq!(&back, b"12345678");
/// assert!(queue.read::<u32>(2).is_err()); // not a word
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IoBuffer<'p> {
    allocation: DmaAllocation<'p>,
    width: Width,
}

impl<'p> IoBuffer<'p> {
    pub(crate) fn new(allocation: DmaAllocation<'p>, width: Width) -> Self {
        Self { allocation, width }
    }

    /// The address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.allocation.virt()
    }

    /// What other devices on the bus see the first byte at.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.allocation.dma()
    }

    /// Bytes, whole granules.
    #[must_use]
    pub fn size(&self) -> usize {
        self.allocation.size()
    }

    /// The pool's width of an access.
    #[must_use]
    pub fn width(&self) -> Width {
        self.width
    }

    /// Reads a word at an offset in bytes. The device decides whether it takes this width.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn read<W: Word>(&self, offset: usize) -> Result<W, AccessError> {
        self.cells().read(offset)
    }

    /// Writes a word at an offset in bytes. The device decides whether it takes this width.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn write<W: Word>(&mut self, offset: usize, value: W) -> Result<(), AccessError> {
        self.cells().write(offset, value)
    }

    /// Writes bytes at an offset, by words of the pool's width.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless they are whole words of the buffer; nothing was written.
    pub fn copy_from_slice(&mut self, offset: usize, from: &[u8]) -> Result<(), AccessError> {
        let cells = self.cells();
        match self.width {
            Width::One => cells.copy_in::<u8>(offset, from),
            Width::Two => cells.copy_in::<u16>(offset, from),
            Width::Four => cells.copy_in::<u32>(offset, from),
            Width::Eight => cells.copy_in::<u64>(offset, from),
        }
    }

    /// Reads bytes at an offset, by words of the pool's width.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless they are whole words of the buffer; nothing was read.
    pub fn copy_to_slice(&self, offset: usize, to: &mut [u8]) -> Result<(), AccessError> {
        let cells = self.cells();
        match self.width {
            Width::One => cells.copy_out::<u8>(offset, to),
            Width::Two => cells.copy_out::<u16>(offset, to),
            Width::Four => cells.copy_out::<u32>(offset, to),
            Width::Eight => cells.copy_out::<u64>(offset, to),
        }
    }

    /// Zeroes all of it, by words of the pool's width.
    pub fn zero(&mut self) {
        self.cells().zero(self.width);
    }

    fn cells(&self) -> Cells {
        // SAFETY: the allocation owns these bytes of a region, which stays as long as it is held, and
        // regions of devices are valid for volatile accesses.
        unsafe { Cells::new(self.allocation.as_ptr(), self.size()) }
    }
}

impl fmt::Debug for IoBuffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IoBuffer").field(&self.allocation).finish()
    }
}
