//! Buffers that the processor may access, and buffers that a device may access. The two are different types.
//!
//! Bytes are `MaybeUninit` until somebody has written them. A pool hands out what the previous owner left, which may
//! include the padding of a `Vec`'s items. A zeroed buffer consists of plain bytes and is what most drivers want.
//!
//! Reclaiming a buffer is `unsafe` and dropping one is not. A reclaim makes a slice of the bytes, and only the driver
//! knows whether the device is at rest. A drop creates no reference; the code that gave the address to a device is
//! responsible for stopping it first.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::slice;
use core::sync::atomic::{Ordering, fence};

use genpool_core::RawRange;

use crate::addr::{DmaAddr, VirtAddr};
use crate::allocation::DmaAllocation;
use crate::volatile::{AccessError, Cells, Width, Word};

/// What is known about a buffer's bytes: `u8`, or `MaybeUninit<u8>` if nobody has written them yet.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::mem::MaybeUninit;
///
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{CpuBuffer, MemoryPool, PhysAddr};
///
/// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// // SAFETY: no device is given the address, so it may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
/// let pool = MemoryPool::new(12)?;
/// pool.add(region)?;
/// let fresh: CpuBuffer<'_, MaybeUninit<u8>> = pool.dma_alloc(100)?; // as the previous owner left it
/// let zeroed: CpuBuffer<'_> = fresh.zeroed();
/// assert!(zeroed.iter().all(|&byte| byte == 0));
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
pub trait Content: sealed::Sealed + 'static {}

impl Content for u8 {}
impl Content for MaybeUninit<u8> {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for core::mem::MaybeUninit<u8> {}
}

/// Memory that belongs to the processor: a slice of whole granules, exclusive to its holder. It is freed when it is
/// dropped, as [signal-safely](crate#signal-safety) as an [`Allocation`](genpool_core::Allocation).
///
/// A device may access the memory only after it was [shared](Self::share), which consumes the buffer:
///
/// ```compile_fail,E0382
/// # fn with(mut buffer: genpool::dma::CpuBuffer<'_>) {
/// let shared = buffer.share();
/// buffer[0] = 1;
/// # }
/// ```
///
/// ```
/// use genpool::dma::CpuBuffer;
///
/// fn with(mut buffer: CpuBuffer<'_>) {
///     buffer[0] = 1;
///     let shared = buffer.share();
/// }
/// ```
///
/// # Invariants
///
/// The allocation lies in a region of [`Ram`](crate::Ram). If the content is `u8`, all bytes are initialised.
pub struct CpuBuffer<'p, T: Content = u8> {
    allocation: DmaAllocation<'p>,
    content: PhantomData<T>,
}

/// Memory that a device may access at any time. It offers no slice, only volatile words and the address to give to
/// the device.
///
/// Before the buffer is dropped or [reclaimed](Self::reclaim), the device must be quiet: every transfer that uses
/// this address is over, none will begin, and what the device wrote has arrived. On most buses it has arrived once
/// the device has answered a read of one of its registers, or has raised its interrupt. Otherwise the device writes
/// into a later allocation of the pool. If the device cannot be brought to rest:
///
/// - With an IOMMU, [remove](crate::MemoryPool::remove) the region from its pool, then drop the buffer, finish the
///   drain, and drop the region. Nobody is given the range meanwhile, and the IOMMU unmaps it before the memory is
///   unmapped.
/// - Without one the memory has to stay: [`forget`](core::mem::forget) a buffer of
///   [`dma_alloc_owned_with`](crate::MemoryPool::dma_alloc_owned_with), which keeps its region as long as the process
///   lives. A range of [`into_raw`](Self::into_raw) is unmapped with its pool.
///
/// Processor and device are assumed to be cache-coherent, as they are on x86-64, on servers, and on most systems of
/// other kinds. Caches are not flushed.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{MemoryPool, PhysAddr};
///
/// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// // SAFETY: no device is given the address, so it may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
/// let pool = MemoryPool::new(12)?;
/// pool.add(region)?;
/// let mut frame = pool.dma_zalloc(1514)?;
/// frame[..6].fill(0xff);
/// let mut frame = frame.share(); // now it belongs to the device: no slice
/// println!("the device gets {}", frame.dma());
/// frame.write(6, 0x1234_u16)?; // a volatile word, for rings that both sides use
/// assert_eq!(frame.read::<u16>(6)?, 0x1234);
/// // SAFETY: no device was given the address, so all of them are quiet.
/// let frame = unsafe { frame.reclaim() };
/// assert_eq!(frame[..6], [0xff; 6]);
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
pub struct DeviceBuffer<'p, T: Content = u8> {
    buffer: CpuBuffer<'p, T>,
}

impl<'p> CpuBuffer<'p, MaybeUninit<u8>> {
    /// Makes a buffer of an allocation in a region of ordinary memory.
    pub(crate) fn new(allocation: DmaAllocation<'p>) -> Self {
        Self {
            allocation,
            content: PhantomData,
        }
    }

    /// Zeroes all granules. The compiler removes none of the stores.
    #[must_use]
    pub fn zeroed(self) -> CpuBuffer<'p> {
        self.cells().zero(Width::Eight);
        // SAFETY: every byte was written.
        unsafe { self.assume_init() }
    }

    /// Like [`zeroed`](Self::zeroed), with `bytes` at the beginning of the buffer.
    ///
    /// # Errors
    ///
    /// Returns the buffer if it is too short.
    pub fn filled(mut self, bytes: &[u8]) -> Result<CpuBuffer<'p>, Self> {
        let Some((head, tail)) = self.split_at_mut_checked(bytes.len()) else {
            return Err(self);
        };
        for (to, from) in head.iter_mut().zip(bytes) {
            to.write(*from);
        }
        for to in tail {
            to.write(0);
        }
        // SAFETY: every byte was written.
        Ok(unsafe { self.assume_init() })
    }

    /// Like [`zeroed`](Self::zeroed), for a buffer that is initialised already; nothing is written.
    ///
    /// # Safety
    ///
    /// Every byte has been written since the buffer was allocated, by its holder or by a device.
    #[must_use]
    pub unsafe fn assume_init(self) -> CpuBuffer<'p> {
        CpuBuffer {
            allocation: self.allocation,
            content: PhantomData,
        }
    }
}

impl<'p, T: Content> CpuBuffer<'p, T> {
    /// Returns the virtual address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.allocation.virt()
    }

    /// Returns the address at which a device will see the first byte.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.allocation.dma()
    }

    /// Hands the buffer to a device. The processor's earlier writes are visible to a device that is notified
    /// afterwards.
    #[must_use]
    pub fn share(self) -> DeviceBuffer<'p, T> {
        // Not caught: the other side is a device, and no model has one.
        fence(Ordering::SeqCst);
        DeviceBuffer { buffer: self }
    }

    fn cells(&self) -> Cells {
        // SAFETY: the allocation owns these bytes of a region, and the region stays as long as the allocation is
        // held.
        unsafe { Cells::new(self.allocation.as_ptr(), self.allocation.size()) }
    }
}

impl<T: Content> Deref for CpuBuffer<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let first = self.allocation.as_ptr().cast::<T>();
        // SAFETY: the allocation owns these bytes of a region of ordinary memory, and the region stays as long as the
        // allocation is held. By the invariant the bytes are what `T` says. No device was given their address, or the
        // device is quiet.
        unsafe { slice::from_raw_parts(first, self.allocation.size()) }
    }
}

impl<T: Content> DerefMut for CpuBuffer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let first = self.allocation.as_ptr().cast::<T>();
        // SAFETY: as in `deref`; the buffer is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(first, self.allocation.size()) }
    }
}

impl<T: Content> fmt::Debug for CpuBuffer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuBuffer").field(&self.allocation).finish()
    }
}

impl<'p, T: Content> DeviceBuffer<'p, T> {
    /// Returns the virtual address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.buffer.virt()
    }

    /// Returns the address to give to the device.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.buffer.dma()
    }

    /// Returns the size in bytes: whole granules.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buffer.allocation.size()
    }

    /// Takes the buffer back from the device, with the content type that it was shared with. Reads after this call
    /// see what the device wrote.
    ///
    /// # Safety
    ///
    /// The device is quiet, as described at [`DeviceBuffer`], and stays so until the buffer is shared again.
    #[must_use]
    pub unsafe fn reclaim(self) -> CpuBuffer<'p, T> {
        // Not caught: the other side is a device, and no model has one.
        fence(Ordering::SeqCst);
        self.buffer
    }

    /// Turns the buffer into plain numbers. The range stays allocated as long as the pool exists, and the pool does
    /// not wait for it at its end.
    pub fn into_raw(self) -> RawRange {
        self.buffer.allocation.into_raw()
    }
}

impl DeviceBuffer<'_> {
    /// Reads the word at an offset in bytes, as it is at this moment.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn read<W: Word>(&self, offset: usize) -> Result<W, AccessError> {
        self.buffer.cells().read(offset)
    }

    /// Writes the word at an offset in bytes. Words are written in the order of the calls.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn write<W: Word>(&mut self, offset: usize, value: W) -> Result<(), AccessError> {
        self.buffer.cells().write(offset, value)
    }
}

impl<T: Content> fmt::Debug for DeviceBuffer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceBuffer")
            .field(&self.buffer.allocation)
            .finish()
    }
}
