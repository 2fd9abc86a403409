//! Constraints on where an allocation may lie: alignment, phase, lowest and highest address, and boundaries that it
//! must not cross. They are those of `vmem_xalloc` in Solaris and BSD, for each of the two addresses that an
//! allocation may have.

use thiserror::Error;

use super::request::Request;
use crate::error::{Impossible, Unsuitable};

/// Constraints on where an allocation may lie.
///
/// They apply to absolute addresses and whole granules. Methods whose names begin with `dma` constrain the address
/// that a device sees, which is counted from the chunk's physical address. The others constrain the addresses that
/// the pool hands out. A chunk without a physical address cannot serve a request with `dma` constraints.
///
/// Each call replaces what an earlier call of the same name required.
///
/// All units are bytes. Creating constraints takes constant time and allocates nothing. A search under them is at
/// worst linear in the granules of the chunk, each read a few times. [Signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{Constrained, Constraints, FirstFit, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add_virt(0x7000_0000, 0x0fff_e000, 0x10_0000)?; // the border of 28 bits lies inside
///
/// // A device with a 28-bit address mask.
/// let reached = Constrained::new(FirstFit, Constraints::new().dma_highest(0x0fff_ffff));
/// assert_eq!(pool.alloc_with(0x2000, &reached)?.phys(), Some(0x0fff_e000));
/// assert!(pool.alloc_with(0x3000, &reached).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    pub(super) virt: Rule,
    pub(super) dma: Option<Rule>,
}

/// The constraints on one of an allocation's two addresses.
///
/// # Invariants
///
/// `align` and `boundary` are powers of two, and `phase` is below `align`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) align: u64,
    pub(super) phase: u64,
    pub(super) lowest: u64,
    pub(super) highest: u64,
    pub(super) boundary: Option<u64>,
}

impl Rule {
    const NONE: Self = Self {
        align: 1,
        phase: 0,
        lowest: 0,
        highest: u64::MAX,
        boundary: None,
    };

    fn align_phase(&mut self, bytes: u64, phase: u64) -> Result<(), ConstraintError> {
        if !bytes.is_power_of_two() {
            return Err(ConstraintError::Align { bytes });
        }
        if phase >= bytes {
            return Err(ConstraintError::Phase {
                phase,
                align: bytes,
            });
        }
        (self.align, self.phase) = (bytes, phase);
        Ok(())
    }

    fn boundary(&mut self, bytes: u64) -> Result<(), ConstraintError> {
        if !bytes.is_power_of_two() {
            return Err(ConstraintError::Boundary { bytes });
        }
        self.boundary = Some(bytes);
        Ok(())
    }

    /// Checks that a run of this length can lie between two boundaries, and between the lowest and the highest
    /// address.
    pub(super) fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        let (lowest, highest) = (self.lowest, self.highest);
        let bytes = request.granules() as u128 * request.granule() as u128;
        if u128::from(lowest) + bytes > u128::from(highest) + 1 {
            let size = request.size();
            return Err(Unsuitable::LongerThanRange {
                size,
                lowest,
                highest,
            });
        }
        match self.boundary {
            // In granules, because a `usize` may be too small for the bytes of whole granules.
            Some(boundary) if request.granules() as u64 > boundary >> request.order() => {
                Err(Unsuitable::LongerThanBoundary {
                    size: request.size(),
                    boundary,
                })
            }
            _ => Ok(()),
        }
    }
}

/// An invalid constraint.
///
/// ```
/// use genpool::{ConstraintError, Constraints};
///
/// let refused = Constraints::new().boundary(3000);
/// assert_eq!(refused, Err(ConstraintError::Boundary { bytes: 3000 }));
/// let refused = Constraints::new().align_phase(64, 64);
/// assert_eq!(refused, Err(ConstraintError::Phase { phase: 64, align: 64 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The alignment is not a power of two.
    #[error("an alignment of {bytes} is not a power of two")]
    Align {
        /// The bytes given.
        bytes: u64,
    },
    /// The boundary is not a power of two.
    #[error("a boundary of {bytes} is not a power of two")]
    Boundary {
        /// The bytes given.
        bytes: u64,
    },
    /// The phase is not below its alignment.
    #[error("a phase of {phase} is not below the alignment of {align}")]
    Phase {
        /// The phase in bytes.
        phase: u64,
        /// The alignment in bytes.
        align: u64,
    },
}

impl Rule {
    /// Returns the lowest or the highest address as the reason, if it rules out all addresses from `first` to `last`
    /// as the beginning of a run that ends `more` bytes after its first byte.
    pub(super) fn beyond(&self, first: u64, last: u64, more: u64) -> Option<Impossible> {
        let &Self {
            lowest, highest, ..
        } = self;
        if highest < first + more {
            let start = first;
            return Some(Impossible::TooHigh { highest, start });
        }
        (lowest > last - more).then_some(Impossible::TooLow { lowest, last })
    }

    /// Returns the rule without its boundary.
    pub(super) fn unbounded(self) -> Self {
        Self {
            boundary: None,
            ..self
        }
    }
}

impl Default for Constraints {
    fn default() -> Self {
        Self::new()
    }
}

impl Constraints {
    /// Returns constraints that allow every place.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            virt: Rule::NONE,
            dma: None,
        }
    }

    /// Requires the address to be a multiple of `bytes`.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x10_0000)?;
    /// let aligned = Constrained::new(FirstFit, Constraints::new().align(0x8000)?);
    /// assert_eq!(pool.alloc_with(1, &aligned)?.addr(), 0x8000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two.
    pub fn align(self, bytes: usize) -> Result<Self, ConstraintError> {
        self.align_phase(bytes, 0)
    }

    /// Requires the address to leave the remainder `phase` when divided by `bytes`.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(4)?;
    /// pool.add(0x1000, 0x1000)?;
    /// // 16 bytes past a multiple of 64, so that what follows a header of 48 bytes is aligned.
    /// let after_header = Constrained::new(FirstFit, Constraints::new().align_phase(64, 16)?);
    /// assert_eq!(pool.alloc_with(100, &after_header)?.addr(), 0x1010);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two, [`ConstraintError::Phase`] unless
    /// `phase` is below it.
    pub fn align_phase(mut self, bytes: usize, phase: usize) -> Result<Self, ConstraintError> {
        self.virt.align_phase(bytes as u64, phase as u64)?;
        Ok(self)
    }

    /// Requires every byte to lie at `addr` or above.
    ///
    /// ```
    /// use genpool::{BestFit, Constrained, Constraints, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0, 0x10_0000)?;
    /// let above = Constrained::new(BestFit, Constraints::new().lowest(0x8_0000).highest(0x8_0fff));
    /// assert_eq!(pool.alloc_with(4096, &above)?.addr(), 0x8_0000);
    /// assert!(pool.alloc_with(4097, &above).is_err()); // the last byte would lie above
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn lowest(mut self, addr: usize) -> Self {
        self.virt.lowest = addr as u64;
        self
    }

    /// Requires every byte to lie at `addr` or below.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x00ff_f000, 0x10_0000)?;
    /// let low = Constrained::new(FirstFit, Constraints::new().highest(0x00ff_ffff)); // for old DMA
    /// assert_eq!(pool.alloc_with(4096, &low)?.addr(), 0x00ff_f000);
    /// assert!(pool.alloc_with(8192, &low).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn highest(mut self, addr: usize) -> Self {
        self.virt.highest = addr as u64;
        self
    }

    /// Requires that the run does not cross a multiple of `bytes`.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0xf000, 0x10_0000)?;
    /// let inside = Constrained::new(FirstFit, Constraints::new().boundary(0x1_0000)?);
    /// assert_eq!(pool.alloc_with(8192, &inside)?.addr(), 0x1_0000); // not 0xf000, across 64 KiB
    /// assert_eq!(pool.alloc_with(4096, &inside)?.addr(), 0xf000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Boundary`] unless `bytes` is a power of two.
    pub fn boundary(mut self, bytes: usize) -> Result<Self, ConstraintError> {
        self.virt.boundary(bytes as u64)?;
        Ok(self)
    }

    /// Requires the device address to be a multiple of `bytes`. With 1, it only requires that there is a device
    /// address.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_virt(0x10_0000, 0x8000_3000, 0x1_0000)?;
    /// let aligned = Constrained::new(FirstFit, Constraints::new().dma_align(0x4000)?);
    /// let ring = pool.alloc_with(1, &aligned)?;
    /// assert_eq!((ring.addr(), ring.phys()), (0x10_1000, Some(0x8000_4000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two.
    pub fn dma_align(self, bytes: u64) -> Result<Self, ConstraintError> {
        self.dma_align_phase(bytes, 0)
    }

    /// Requires the device address to leave the remainder `phase` when divided by `bytes`.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_virt(0x10_0000, 0x8000_0000, 0x1_0000)?;
    /// let odd_page = Constrained::new(FirstFit, Constraints::new().dma_align_phase(0x2000, 0x1000)?);
    /// assert_eq!(pool.alloc_with(1, &odd_page)?.phys(), Some(0x8000_1000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`align_phase`](Self::align_phase).
    pub fn dma_align_phase(mut self, bytes: u64, phase: u64) -> Result<Self, ConstraintError> {
        let mut dma = self.of_device();
        dma.align_phase(bytes, phase)?;
        self.dma = Some(dma);
        Ok(self)
    }

    /// Requires the device address of every byte to be `addr` or above.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_virt(0x10_0000, 0xffff_f000, 0x1_0000)?;
    /// let high = Constrained::new(FirstFit, Constraints::new().dma_lowest(1 << 32));
    /// assert_eq!(pool.alloc_with(1, &high)?.phys(), Some(1 << 32));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn dma_lowest(mut self, addr: u64) -> Self {
        let mut dma = self.of_device();
        dma.lowest = addr;
        self.dma = Some(dma);
        self
    }

    /// Requires the device address of every byte to be `addr` or below. For a device with a 32-bit address mask, this
    /// is `0xffff_ffff`.
    #[must_use]
    pub const fn dma_highest(mut self, addr: u64) -> Self {
        let mut dma = self.of_device();
        dma.highest = addr;
        self.dma = Some(dma);
        self
    }

    /// Requires that the run does not cross a multiple of `bytes` in device addresses.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_virt(0x10_0000, 0x8000_f000, 0x10_0000)?;
    /// let inside = Constrained::new(FirstFit, Constraints::new().dma_boundary(0x1_0000)?);
    /// assert_eq!(pool.alloc_with(8192, &inside)?.phys(), Some(0x8001_0000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Boundary`] unless `bytes` is a power of two.
    pub fn dma_boundary(mut self, bytes: u64) -> Result<Self, ConstraintError> {
        let mut dma = self.of_device();
        dma.boundary(bytes)?;
        self.dma = Some(dma);
        Ok(self)
    }

    /// Returns the constraints on the device address, which may be none.
    const fn of_device(&self) -> Rule {
        match self.dma {
            Some(dma) => dma,
            None => Rule::NONE,
        }
    }

    /// Checks that the request can be served by some chunk.
    pub(super) fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        let granule = request.granule();
        // It was given as a `usize`.
        let phase = self.virt.phase as usize;
        // A division would cost more than the rest of a refusal.
        if phase & (granule - 1) != 0 {
            return Err(Unsuitable::Phase { phase, granule });
        }
        self.virt.check(request)?;
        self.dma.map_or(Ok(()), |dma| dma.check(request))
    }
}
