//! Buffers in a device's memory.

use core::fmt;

use crate::addr::{DmaAddr, VirtAddr};
use crate::allocation::DmaAllocation;
use crate::volatile::{AccessError, Cells, Width, Word};

/// An allocation in a device's memory, such as a BAR or a UIO map. It is read and written by volatile words and freed
/// when it is dropped.
///
/// The device may read and write the memory at any time; what the bytes mean to it is up to the device. Whatever the
/// device was asked to do with these bytes has to be over before the drop.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{MemoryPool, PhysAddr, Region, Width};
///
/// #[repr(align(4096))]
/// struct Bar([u8; 4096]);
/// let start = std::ptr::NonNull::from(Box::leak(Box::new(Bar([0; 4096])))).cast();
/// let size = std::num::NonZeroUsize::new(4096).ok_or("no bytes")?;
/// // SAFETY: the memory was leaked, and nobody else has its address.
/// let region = unsafe { Region::from_raw(start, size, ()) };
/// // SAFETY: no device is given the address, so it may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0xe000_0000)) };
/// let pool = MemoryPool::of_device(Pool::builder().order(8), Width::Four)?;
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
/// assert!(queue.read::<u32>(2).is_err()); // not aligned
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

    /// Returns the virtual address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.allocation.virt()
    }

    /// Returns the address at which other devices on the bus see the first byte.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.allocation.dma()
    }

    /// Returns the size in bytes: whole granules.
    #[must_use]
    pub fn size(&self) -> usize {
        self.allocation.size()
    }

    /// Returns the width of an access in this pool.
    #[must_use]
    pub fn width(&self) -> Width {
        self.width
    }

    /// Reads the word at an offset in bytes. Whether this width is accepted is up to the device.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn read<W: Word>(&self, offset: usize) -> Result<W, AccessError> {
        self.cells().read(offset)
    }

    /// Writes the word at an offset in bytes. Whether this width is accepted is up to the device.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn write<W: Word>(&mut self, offset: usize, value: W) -> Result<(), AccessError> {
        self.cells().write(offset, value)
    }

    /// Writes bytes at an offset by words of the pool's width.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless they are whole words of the buffer; nothing was written then.
    pub fn copy_from_slice(&mut self, offset: usize, from: &[u8]) -> Result<(), AccessError> {
        let cells = self.cells();
        match self.width {
            Width::One => cells.copy_in::<u8>(offset, from),
            Width::Two => cells.copy_in::<u16>(offset, from),
            Width::Four => cells.copy_in::<u32>(offset, from),
            Width::Eight => cells.copy_in::<u64>(offset, from),
        }
    }

    /// Reads bytes at an offset by words of the pool's width.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless they are whole words of the buffer; nothing was read then.
    pub fn copy_to_slice(&self, offset: usize, to: &mut [u8]) -> Result<(), AccessError> {
        let cells = self.cells();
        match self.width {
            Width::One => cells.copy_out::<u8>(offset, to),
            Width::Two => cells.copy_out::<u16>(offset, to),
            Width::Four => cells.copy_out::<u32>(offset, to),
            Width::Eight => cells.copy_out::<u64>(offset, to),
        }
    }

    /// Zeroes the whole buffer by words of the pool's width.
    pub fn zero(&mut self) {
        self.cells().zero(self.width);
    }

    fn cells(&self) -> Cells {
        // SAFETY: the allocation owns these bytes of a region, which stays as long as the allocation is held, and
        // regions of devices are valid for volatile accesses.
        unsafe { Cells::new(self.allocation.as_ptr(), self.size()) }
    }
}

impl fmt::Debug for IoBuffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IoBuffer").field(&self.allocation).finish()
    }
}
