//! Who may touch the bytes: the processor or a device, told apart by type.

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

/// What a buffer's bytes are known to be: `u8`, or `MaybeUninit<u8>` where nobody has written them yet.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::mem::MaybeUninit;
///
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{CpuBuffer, MemoryPool, PhysAddr};
///
/// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// // SAFETY: no device is told anything, so the address may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
/// let pool = MemoryPool::new(12)?;
/// pool.add(region)?;
/// let fresh: CpuBuffer<'_, MaybeUninit<u8>> = pool.dma_alloc(100)?; // as others left it
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

/// Memory that belongs to the processor: a slice of whole granules, exclusively its holder's. Given back
/// when it is dropped,
/// as [signal-safely](crate#signal-safety) as an [`Allocation`](genpool_core::Allocation).
///
/// A device is to touch it only after it was [shared](Self::share), which consumes it:
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
/// The allocation lies in a region of [`Ram`](crate::Ram). With content `u8` all its bytes are
/// initialised.
pub struct CpuBuffer<'p, T: Content = u8> {
    allocation: DmaAllocation<'p>,
    content: PhantomData<T>,
}

/// Memory that a device may access at any time: no slice, only volatile words and the address that the
/// device is told.
///
/// Before it is dropped or [reclaimed](Self::reclaim) the device must be quiet: every transfer that was
/// told this address is over, none will be begun, and what the device wrote has arrived (on most buses:
/// after its answer to a read of one of its registers, or its interrupt). Otherwise the device writes
/// into what the pool hands out next. Where the device cannot be brought to rest:
///
/// - Behind an IOMMU, [remove](crate::MemoryPool::remove) the region from its pool, then drop the buffer,
///   finish the drain, and drop the region: nobody is given the range meanwhile, and the IOMMU forgets it
///   before the memory is unmapped.
/// - Else the memory has to stay: [`forget`](core::mem::forget) a buffer of
///   [`dma_alloc_owned_with`](crate::MemoryPool::dma_alloc_owned_with), which keeps its region as long as
///   the process lives. A range that [`into_raw`](Self::into_raw) let go is unmapped with its pool.
///
/// Processor and device are taken to be coherent, as they are on x86-64 and on servers and most systems
/// of other kinds; caches are not flushed.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::RamSource;
/// use genpool::dma::{MemoryPool, PhysAddr};
///
/// let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// // SAFETY: no device is told anything, so the address may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
/// let pool = MemoryPool::new(12)?;
/// pool.add(region)?;
/// let mut frame = pool.dma_zalloc(1514)?;
/// frame[..6].fill(0xff);
/// let mut frame = frame.share(); // from here on the device's: no slice
/// println!("the device is told {}", frame.dma());
/// frame.write(6, 0x1234_u16)?; // a volatile word, for rings that both sides use
/// assert_eq!(frame.read::<u16>(6)?, 0x1234);
/// // SAFETY: no device was told the address, so all of them are quiet.
/// let frame = unsafe { frame.reclaim() };
/// assert_eq!(frame[..6], [0xff; 6]);
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
pub struct DeviceBuffer<'p, T: Content = u8> {
    buffer: CpuBuffer<'p, T>,
}

impl<'p> CpuBuffer<'p, MaybeUninit<u8>> {
    /// Of an allocation in a region of ordinary memory.
    pub(crate) fn new(allocation: DmaAllocation<'p>) -> Self {
        Self {
            allocation,
            content: PhantomData,
        }
    }

    /// The same, all granules zeroed. The compiler removes none of it.
    #[must_use]
    pub fn zeroed(self) -> CpuBuffer<'p> {
        self.cells().zero(Width::Eight);
        // SAFETY: every byte was written.
        unsafe { self.assume_init() }
    }

    /// The same, beginning with `bytes` and zeroed behind them.
    ///
    /// # Errors
    ///
    /// The buffer again, if it is too short.
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

    /// The same, taken to be initialised.
    ///
    /// # Safety
    ///
    /// Every byte was written since the buffer was allocated, by its holder or by a device.
    #[must_use]
    pub unsafe fn assume_init(self) -> CpuBuffer<'p> {
        CpuBuffer {
            allocation: self.allocation,
            content: PhantomData,
        }
    }
}

impl<'p, T: Content> CpuBuffer<'p, T> {
    /// The address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.allocation.virt()
    }

    /// What a device will see the first byte at.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.allocation.dma()
    }

    /// Hands it over to a device. What the processor wrote is written when the device is told
    /// afterwards.
    #[must_use]
    pub fn share(self) -> DeviceBuffer<'p, T> {
        // Not caught: the other side is a device, and no model has one.
        fence(Ordering::SeqCst);
        DeviceBuffer { buffer: self }
    }

    fn cells(&self) -> Cells {
        // SAFETY: the allocation owns these bytes of a region, which stays as long as it is held.
        unsafe { Cells::new(self.allocation.as_ptr(), self.allocation.size()) }
    }
}

impl<T: Content> Deref for CpuBuffer<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let first = self.allocation.as_ptr().cast::<T>();
        // SAFETY: the allocation owns these bytes of a region of ordinary memory, which stays as long as
        // it is held, and by the invariant they are what `T` says. No device was told of them, or it is
        // quiet.
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
    /// The address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        self.buffer.virt()
    }

    /// What the device is told.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.buffer.dma()
    }

    /// Bytes, whole granules.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buffer.allocation.size()
    }

    /// Takes it back from the device, by the type that it was shared with. What the device wrote is read
    /// afterwards.
    ///
    /// # Safety
    ///
    /// The device is quiet, as the type's documentation says, and stays so until the buffer is shared
    /// again.
    #[must_use]
    pub unsafe fn reclaim(self) -> CpuBuffer<'p, T> {
        // Not caught: the other side is a device, and no model has one.
        fence(Ordering::SeqCst);
        self.buffer
    }

    /// Lets the range go as plain numbers: it stays taken as long as there is the pool, which does not
    /// wait for it at its end.
    pub fn into_raw(self) -> RawRange {
        self.buffer.allocation.into_raw()
    }
}

impl DeviceBuffer<'_> {
    /// Reads a word at an offset in bytes, as it is at this moment.
    ///
    /// # Errors
    ///
    /// [`AccessError`] unless it is an aligned word of the buffer.
    pub fn read<W: Word>(&self, offset: usize) -> Result<W, AccessError> {
        self.buffer.cells().read(offset)
    }

    /// Writes a word at an offset in bytes. Words are written in the order of the calls.
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
