//! genalloc's dma calls on any pool: allocations that come with the device's address.

use core::fmt;
use core::ops::Deref;
use core::ptr;

use genpool_algos::FirstFitAlign;
use genpool_core::{
    Algorithm, AllocError, Allocation, ConstraintError, OwnedAllocation, PoolView, RawRange,
};
use thiserror::Error;

use crate::addr::{DmaAddr, PhysAddr, VirtAddr};

/// genalloc's dma calls on a [`Pool`](genpool_core::Pool), or on a pool of a device, whose chunks were added with a
/// physical address. They do not access memory: the pool does not know that its addresses are memory. A
/// [`MemoryPool`](crate::MemoryPool) does.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{DmaAddr, DmaAlloc, PhysAddr, VirtAddr};
///
/// let pool = Pool::new(12)?;
/// pool.add_virt(0x4000_0000, 0x1_0000_0000, 0x10_0000)?;
/// let ring = pool.dma_alloc_align(0x3000, 0x1_0000)?;
/// assert_eq!(ring.virt(), VirtAddr::new(0x4000_0000));
/// assert_eq!(ring.dma(), DmaAddr::new(0x1_0000_0000));
/// let inside = VirtAddr::new(0x4000_1234);
/// assert_eq!(pool.virt_to_phys(inside), Some(PhysAddr::new(0x1_0000_1234)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DmaAlloc {
    /// Allocates by the default algorithm. The device's address is the physical address that the chunk was added
    /// with. Costs as much as [`PoolView::alloc`] and is as [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// [`DmaError`]. If the place that was found is in a chunk without a physical address, the call fails. To skip
    /// such chunks, pass [`dma_alloc_with`](Self::dma_alloc_with) a constraint on the DMA address.
    fn dma_alloc(&self, size: usize) -> Result<DmaAllocation<'_>, DmaError>;

    /// Allocates by the given algorithm. Costs as much as [`PoolView::alloc_with`] and is as
    /// [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc).
    fn dma_alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<DmaAllocation<'_>, DmaError>;

    /// Allocates by first fit at a virtual address that is a multiple of `align`.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc), and [`DmaError::Constraint`] unless `align` is a power of two.
    fn dma_alloc_align(&self, size: usize, align: usize) -> Result<DmaAllocation<'_>, DmaError> {
        self.dma_alloc_with(size, &FirstFitAlign::new(align)?)
    }

    /// Like [`dma_alloc_with`](Self::dma_alloc_with), as a value that does not borrow the pool.
    ///
    /// # Errors
    ///
    /// As for [`dma_alloc`](Self::dma_alloc).
    fn dma_alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<DmaAllocation<'static>, DmaError>;

    /// Returns the physical address of `addr`. None outside of the chunks and in a chunk without a physical address.
    /// [Signal-safe](crate#signal-safety).
    fn virt_to_phys(&self, addr: VirtAddr) -> Option<PhysAddr>;
}

impl DmaAlloc for PoolView {
    fn dma_alloc(&self, size: usize) -> Result<DmaAllocation<'_>, DmaError> {
        DmaAllocation::new(Held::Lent(self.alloc(size)?))
    }

    fn dma_alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<DmaAllocation<'_>, DmaError> {
        DmaAllocation::new(Held::Lent(self.alloc_with(size, algorithm)?))
    }

    fn dma_alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<DmaAllocation<'static>, DmaError> {
        DmaAllocation::new(Held::Owned(self.alloc_owned_with(size, algorithm)?))
    }

    fn virt_to_phys(&self, addr: VirtAddr) -> Option<PhysAddr> {
        self.phys_of(addr.get()).map(PhysAddr::new)
    }
}

/// An allocation and its DMA address. It is freed when it is dropped. Before that, every device that was given the
/// address must be finished with it.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{DmaAddr, DmaAlloc, VirtAddr};
///
/// let pool = Pool::new(12)?;
/// pool.add_virt(0x4000_0000, 0x1_0000_0000, 0x10_0000)?;
/// let ring = pool.dma_alloc(5000)?;
/// assert_eq!((ring.virt(), ring.size()), (VirtAddr::new(0x4000_0000), 8192));
/// assert_eq!(ring.dma(), DmaAddr::new(0x1_0000_0000)); // for a register of the device
/// let range = ring.into_raw();
/// pool.free(range.addr, range.size)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the range is given back when this is dropped"]
pub struct DmaAllocation<'p> {
    held: Held<'p>,
    dma: DmaAddr,
}

enum Held<'p> {
    Lent(Allocation<'p>),
    Owned(OwnedAllocation),
}

impl<'p> Deref for Held<'p> {
    type Target = Allocation<'p>;

    fn deref(&self) -> &Allocation<'p> {
        match self {
            Self::Lent(allocation) => allocation,
            Self::Owned(allocation) => allocation,
        }
    }
}

impl<'p> DmaAllocation<'p> {
    fn new(held: Held<'p>) -> Result<Self, DmaError> {
        match held.phys() {
            Some(phys) => Ok(Self {
                dma: DmaAddr::new(phys),
                held,
            }),
            None => Err(DmaError::NoAddress {
                virt: VirtAddr::new(held.addr()),
            }),
        }
    }

    /// Returns the virtual address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        VirtAddr::new(self.held.addr())
    }

    /// Returns the address at which the device sees the first byte. The other bytes follow it without a gap.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.dma
    }

    /// Returns the size in bytes: whole granules.
    #[must_use]
    pub fn size(&self) -> usize {
        self.held.size()
    }

    /// Returns a pointer to the first byte. It may be dereferenced only if the range is known to be memory.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.held.addr())
    }

    /// Turns the allocation into plain numbers. The range stays allocated. [Signal-safe](crate#signal-safety).
    pub fn into_raw(self) -> RawRange {
        match self.held {
            Held::Lent(allocation) => allocation.into_raw(),
            Held::Owned(allocation) => allocation.into_raw(),
        }
    }
}

impl fmt::Debug for DmaAllocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaAllocation")
            .field("virt", &self.virt())
            .field("dma", &self.dma)
            .field("size", &format_args!("{:#x}", self.size()))
            .finish()
    }
}

/// The reason why nothing was allocated for a device.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{DmaAlloc, DmaError, VirtAddr};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x4000_0000, 0x10_0000)?; // without a physical address
/// let refused = pool.dma_alloc(1).unwrap_err();
/// assert_eq!(refused, DmaError::NoAddress { virt: VirtAddr::new(0x4000_0000) });
/// assert_eq!(pool.avail(), pool.size());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DmaError {
    /// The pool has no room, or the algorithm refused.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// The place that was found is in a chunk without a physical address. It was freed again.
    #[error("the chunk around {virt} was added without a physical address, so no device sees it")]
    NoAddress {
        /// The virtual address of that place.
        virt: VirtAddr,
    },
    /// The alignment is invalid.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
}
