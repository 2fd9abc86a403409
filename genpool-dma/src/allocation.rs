//! The calls of genalloc's dma layer on any pool: allocations that come with the device's address.

use core::error::Error;
use core::fmt;
use core::ops::Deref;
use core::ptr;

use genpool_algos::{ConstraintError, FirstFitAlign};
use genpool_core::{Algorithm, AllocError, Allocation, OwnedAllocation, Pool, RawRange};

use crate::addr::{DmaAddr, PhysAddr, VirtAddr};

/// genalloc's dma layer on a [`Pool`] whose chunks were added with their physical address. Nothing is
/// touched: for that the pool would have to know that its addresses are memory, as a
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
    /// Allocates by the default algorithm. The device's address is the chunk's physical one. Costs what
    /// [`Pool::alloc`] does, and is as [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// [`DmaError`]. A chunk without a physical address has none to give, and the call says so; give
    /// [`dma_alloc_with`](Self::dma_alloc_with) a constraint on the DMA address to pass over such
    /// chunks.
    fn dma_alloc(&self, size: usize) -> Result<DmaAllocation<'_>, DmaError>;

    /// Allocates by the given algorithm. Costs what [`Pool::alloc_with`] does, and is
    /// as [signal-safe](crate#signal-safety).
    ///
    /// # Errors
    ///
    /// As [`dma_alloc`](Self::dma_alloc).
    fn dma_alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<DmaAllocation<'_>, DmaError>;

    /// Allocates at a virtual address that is a multiple of `align`, first fit.
    ///
    /// # Errors
    ///
    /// As [`dma_alloc`](Self::dma_alloc), and [`DmaError::Constraint`] unless `align` is a power of two.
    fn dma_alloc_align(&self, size: usize, align: usize) -> Result<DmaAllocation<'_>, DmaError> {
        self.dma_alloc_with(size, &FirstFitAlign::new(align)?)
    }

    /// As [`dma_alloc_with`](Self::dma_alloc_with), as a value that does not borrow the pool.
    ///
    /// # Errors
    ///
    /// As [`dma_alloc`](Self::dma_alloc).
    fn dma_alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<DmaAllocation<'static>, DmaError>;

    /// The physical address that `addr` stands for; none outside of the chunks and in one without a
    /// physical address. [Signal-safe](crate#signal-safety).
    fn virt_to_phys(&self, addr: VirtAddr) -> Option<PhysAddr>;
}

impl DmaAlloc for Pool {
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

/// An allocation and its DMA address. Given back when it is dropped; before that, every device that was
/// told the address must be done with it.
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

    /// The address of the first byte.
    #[must_use]
    pub fn virt(&self) -> VirtAddr {
        VirtAddr::new(self.held.addr())
    }

    /// What the device sees the first byte at. The bytes behind it follow without a gap.
    #[must_use]
    pub fn dma(&self) -> DmaAddr {
        self.dma
    }

    /// Bytes, whole granules.
    #[must_use]
    pub fn size(&self) -> usize {
        self.held.size()
    }

    /// The first byte. Only what is known to be memory may be accessed by it.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.held.addr())
    }

    /// Lets the range go as plain numbers: it stays taken. [Signal-safe](crate#signal-safety).
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

/// Why nothing was allocated for a device.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DmaError {
    /// The pool has no room, or its algorithm refused.
    Alloc(AllocError),
    /// The place that was found is in a chunk without a physical address; it was given back.
    NoAddress {
        /// Where it was.
        virt: VirtAddr,
    },
    /// The alignment means nothing.
    Constraint(ConstraintError),
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alloc(error) => error.fmt(f),
            Self::NoAddress { virt } => write!(
                f,
                "the chunk around {virt} was added without a physical address, so no device sees it"
            ),
            Self::Constraint(error) => error.fmt(f),
        }
    }
}

impl Error for DmaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Alloc(error) => Some(error),
            Self::NoAddress { .. } => None,
            Self::Constraint(error) => Some(error),
        }
    }
}

impl From<AllocError> for DmaError {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

impl From<ConstraintError> for DmaError {
    fn from(error: ConstraintError) -> Self {
        Self::Constraint(error)
    }
}
