//! Where an allocation may lie: alignment, phase, lowest and highest address, boundaries that it may
//! not cross. As the `vmem_xalloc` of Solaris and BSD takes them, for each of the two addresses that
//! an allocation may have.

mod terms;

use core::error::Error;
use core::fmt;
use core::ops::Range;

use genpool_core::{Algorithm, ChunkView, Granule, Impossible, Request, Run, Unsuitable};

use self::terms::Terms;
use crate::fit::Fit;

/// Where an allocation may lie. All of it concerns absolute addresses and whole granules: addresses as
/// the pool hands them out, and, by the methods whose names begin with `dma`, those that a device sees,
/// which are the chunk's physical address and what follows it. A chunk without a physical address
/// serves nothing that asks for the latter.
///
/// All units are bytes. Making constraints takes constant time and allocates nothing; a search under them
/// is at worst linear in the granules of the chunk, each looked at a few times.
/// [Signal-safe](genpool_core#signal-safety).
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
    virt: Rule,
    dma: Option<Rule>,
}

/// What is asked of one of an allocation's two addresses.
///
/// # Invariants
///
/// `align` and `boundary` are powers of two, `phase` is below `align`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    align: u64,
    phase: u64,
    lowest: u64,
    highest: u64,
    boundary: Option<u64>,
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

    /// Whether a run so long can lie between two boundaries, and between the lowest and the highest
    /// address, at all.
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
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
            // In granules, because the bytes of whole granules may not fit an address.
            Some(boundary) if request.granules() as u64 > boundary / request.granule() as u64 => {
                Err(Unsuitable::LongerThanBoundary {
                    size: request.size(),
                    boundary,
                })
            }
            _ => Ok(()),
        }
    }
}

/// A constraint that means nothing.
///
/// ```
/// use genpool::{ConstraintError, Constraints};
///
/// let refused = Constraints::new().boundary(3000);
/// assert_eq!(refused, Err(ConstraintError::Boundary { bytes: 3000 }));
/// let refused = Constraints::new().align_phase(64, 64);
/// assert_eq!(refused, Err(ConstraintError::Phase { phase: 64, align: 64 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConstraintError {
    /// An alignment that is not a power of two.
    Align {
        /// The bytes given.
        bytes: u64,
    },
    /// A boundary that is not a power of two.
    Boundary {
        /// The bytes given.
        bytes: u64,
    },
    /// A phase that is not below its alignment.
    Phase {
        /// The phase in bytes.
        phase: u64,
        /// The alignment in bytes.
        align: u64,
    },
}

impl fmt::Display for ConstraintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Align { bytes } => write!(f, "an alignment of {bytes} is not a power of two"),
            Self::Boundary { bytes } => write!(f, "a boundary of {bytes} is not a power of two"),
            Self::Phase { phase, align } => {
                write!(
                    f,
                    "a phase of {phase} is not below the alignment of {align}"
                )
            }
        }
    }
}

impl Error for ConstraintError {}

impl Rule {
    /// Why none of the addresses from `first` to `last` can begin a run with so many bytes `more` behind the
    /// first, if the lowest or the highest address is the reason.
    fn beyond(&self, first: u64, last: u64, more: u64) -> Option<Impossible> {
        let &Self {
            lowest, highest, ..
        } = self;
        if highest < first + more {
            let start = first;
            return Some(Impossible::TooHigh { highest, start });
        }
        (lowest > last - more).then_some(Impossible::TooLow { lowest, last })
    }

    /// Without boundaries.
    fn unbounded(self) -> Self {
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
    /// None: anywhere.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            virt: Rule::NONE,
            dma: None,
        }
    }

    /// The address is a multiple of `bytes`.
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

    /// The address leaves the remainder `phase` when divided by `bytes`.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(4)?;
    /// pool.add(0x1000, 0x1000)?;
    /// // 16 bytes behind a cache line of 64, so that what follows a header of 48 is aligned.
    /// let behind = Constrained::new(FirstFit, Constraints::new().align_phase(64, 16)?);
    /// assert_eq!(pool.alloc_with(100, &behind)?.addr(), 0x1010);
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

    /// No byte lies below `addr`.
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
    pub fn lowest(mut self, addr: usize) -> Self {
        self.virt.lowest = addr as u64;
        self
    }

    /// No byte lies above `addr`.
    ///
    /// ```
    /// use genpool::{Constrained, Constraints, FirstFit, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x00ff_f000, 0x10_0000)?;
    /// let low = Constrained::new(FirstFit, Constraints::new().highest(0x00ff_ffff)); // as of old DMA
    /// assert_eq!(pool.alloc_with(4096, &low)?.addr(), 0x00ff_f000);
    /// assert!(pool.alloc_with(8192, &low).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn highest(mut self, addr: usize) -> Self {
        self.virt.highest = addr as u64;
        self
    }

    /// The run does not cross a multiple of `bytes`.
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

    /// The address that the device sees is a multiple of `bytes`; 1 asks for nothing but that there is
    /// such an address.
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

    /// The address that the device sees leaves the remainder `phase` when divided by `bytes`.
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
        self.of_device().align_phase(bytes, phase)?;
        Ok(self)
    }

    /// The device sees no byte below `addr`.
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
    pub fn dma_lowest(mut self, addr: u64) -> Self {
        self.of_device().lowest = addr;
        self
    }

    /// The device sees no byte above `addr`: one with a 32-bit address mask takes `0xffff_ffff`.
    #[must_use]
    pub fn dma_highest(mut self, addr: u64) -> Self {
        self.of_device().highest = addr;
        self
    }

    /// The run does not cross a multiple of `bytes` as the device sees it.
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
        self.of_device().boundary(bytes)?;
        Ok(self)
    }

    /// Why a chunk has no place for a request, even if all of it were free.
    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let (n, granules) = (request.granules(), chunk.granules());
        let has_place = |constraints: &Self| {
            let whole = Run {
                start: Granule(0),
                len: granules,
            };
            constraints.first_in(chunk, whole, n).is_some()
        };
        // A request that is longer than the chunk is seen by the pool.
        if n > granules || has_place(self) {
            return None;
        }
        // No overflow: the run lies in the chunk.
        let more = ((n << chunk.order()) - 1) as u64;
        let size = (chunk.last() - chunk.start()) as u64;
        let beyond = |rule: &Rule, first: u64| rule.beyond(first, first + size, more);
        let reason = match (self.dma, chunk.phys()) {
            (Some(_), None) => Some(Impossible::NoPhys),
            (Some(dma), Some(phys)) => beyond(&dma, phys),
            (None, _) => None,
        };
        let reason = beyond(&self.virt, chunk.start() as u64).or(reason);
        if reason.is_some() {
            return reason;
        }
        // Which of the two it is, and what of it.
        let virt_alone = Self { dma: None, ..*self };
        let rule = match self.dma {
            Some(dma) if has_place(&virt_alone) => dma,
            _ => self.virt,
        };
        let unbounded = Self {
            virt: self.virt.unbounded(),
            dma: self.dma.map(Rule::unbounded),
        };
        Some(match rule {
            Rule {
                boundary: Some(boundary),
                ..
            } if has_place(&unbounded) => Impossible::CrossesBoundary { boundary },
            Rule { align, phase, .. } if align > 1 && !has_place(&unbounded) => {
                Impossible::Unaligned { align, phase }
            }
            _ => Impossible::NoPlace {
                size: request.size(),
            },
        })
    }

    fn of_device(&mut self) -> &mut Rule {
        self.dma.get_or_insert(Rule::NONE)
    }

    /// Whether such a request can be served at all.
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        let granule = request.granule();
        // It was given as an address.
        let phase = self.virt.phase as usize;
        if !phase.is_multiple_of(granule) {
            return Err(Unsuitable::Phase { phase, granule });
        }
        self.virt.check(request)?;
        self.dma.map_or(Ok(()), |dma| dma.check(request))
    }

    /// The lowest free and allowed start of `n` granules in a part of the chunk. At worst linear in the
    /// part.
    ///
    /// ```
    /// use genpool::{ChunkView, Constrained, Constraints, Fit, Granule, Pool};
    ///
    /// /// The chunk's second half, then all of it.
    /// struct UpperFirst;
    ///
    /// impl Fit for UpperFirst {
    ///     fn choose(&self, chunk: &ChunkView<'_>, n: usize, constraints: &Constraints) -> Option<Granule> {
    ///         let (middle, end) = (Granule(chunk.granules() / 2), Granule(chunk.granules()));
    ///         constraints
    ///             .first_free(chunk, middle..end, n)
    ///             .or_else(|| constraints.first_free(chunk, Granule(0)..end, n))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// let anywhere = Constrained::new(UpperFirst, Constraints::new());
    /// assert_eq!(pool.alloc_with(1, &anywhere)?.addr(), 0x5000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn first_free(
        &self,
        chunk: &ChunkView<'_>,
        part: Range<Granule>,
        n: usize,
    ) -> Option<Granule> {
        /// Places that may cross a boundary before whole runs are looked at. One is enough for most
        /// requests; a pool full of short runs at boundaries is searched faster by runs (2026-11).
        const TRIES: usize = 4;

        let terms = Terms::new(self, chunk, n)?;
        let (from, limit) = (
            part.start.max(terms.window.start),
            part.end.min(terms.window.end),
        );
        // Place by place first: a run need not be followed to its end to know that one fits. Behind a
        // boundary that a place crosses comes the next that does not, so none is passed over.
        if let Some((align, phase)) = terms.alignment() {
            let mut next = from;
            for attempt in 0..TRIES {
                let Some(found) = chunk.find_aligned(next, limit, n, align, phase) else {
                    // The first pass is whole; what follows from several is no proof.
                    if attempt == 0 {
                        return None;
                    }
                    break;
                };
                match terms.behind_border(chunk, found, n) {
                    Some(behind) => next = behind,
                    None => return Some(found),
                }
            }
        }
        // Run by run: each granule is looked at once.
        chunk
            .runs(from, n)
            .take_while(|run| run.start < limit)
            .find_map(|run| terms.first_in(chunk, run, n))
            .filter(|&found| found < limit)
    }

    /// The lowest allowed start of `n` granules in a free run. Constant time.
    ///
    /// ```
    /// use genpool::{ChunkView, Constrained, Constraints, Fit, Granule, Pool};
    ///
    /// /// The highest free run that has an allowed place.
    /// struct HighestRun;
    ///
    /// impl Fit for HighestRun {
    ///     fn choose(&self, chunk: &ChunkView<'_>, n: usize, constraints: &Constraints) -> Option<Granule> {
    ///         let place = |run| constraints.first_in(chunk, run, n);
    ///         chunk.runs(Granule(0), n).filter_map(place).last()
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// let mut pages: Vec<_> = (0..4).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
    /// drop(pages.remove(0)); // free: 0x1000, and from 0x5000 on
    /// let aligned = Constrained::new(HighestRun, Constraints::new().align(0x2000)?);
    /// assert_eq!(pool.alloc_with(1, &aligned)?.addr(), 0x6000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn first_in(&self, chunk: &ChunkView<'_>, run: Run, n: usize) -> Option<Granule> {
        Terms::new(self, chunk, n)?.first_in(chunk, run, n)
    }
}

/// A fit among the places that [`Constraints`] allow.
/// [Signal-safe](genpool_core#signal-safety), if the fit is.
///
/// ```
/// use genpool::{BestFit, Constrained, Constraints, Pool};
///
/// // As a default, for who asks for nothing else; each call may name another.
/// let reached = Constraints::new().highest(0xffff).align(0x2000)?;
/// let pool = Pool::builder().order(12).algorithm(Constrained::new(BestFit, reached)).build()?;
/// pool.add(0x1000, 0x10_0000)?;
/// assert_eq!(pool.alloc(1)?.addr(), 0x2000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constrained<F> {
    fit: F,
    constraints: Constraints,
}

impl<F: Fit> Constrained<F> {
    /// `fit` under `constraints`.
    #[must_use]
    pub fn new(fit: F, constraints: Constraints) -> Self {
        Self { fit, constraints }
    }
}

impl<F: Fit> Algorithm for Constrained<F> {
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        self.constraints.check(request)
    }

    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        self.constraints.rules_out(chunk, request)
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        self.fit
            .choose(chunk, request.granules(), &self.constraints)
    }
}
