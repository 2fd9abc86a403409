//! Where an allocation may lie: alignment, phase, lowest and highest address, boundaries that it may
//! not cross. As the `vmem_xalloc` of Solaris and BSD takes them.

use core::error::Error;
use core::fmt;

use genpool_core::{Algorithm, ChunkView, Granule, Request, Run, Unsuitable};

use crate::fit::Fit;

/// Where an allocation may lie. All of it concerns absolute addresses and whole granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    align: usize,
    phase: usize,
    lowest: usize,
    highest: usize,
    boundary: Option<usize>,
}

/// A constraint that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConstraintError {
    /// An alignment that is not a power of two.
    Align {
        /// The bytes given.
        bytes: usize,
    },
    /// A boundary that is not a power of two.
    Boundary {
        /// The bytes given.
        bytes: usize,
    },
    /// A phase that is not below its alignment.
    Phase {
        /// The phase in bytes.
        phase: usize,
        /// The alignment in bytes.
        align: usize,
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

/// `bytes`, if it is a power of two.
pub(crate) fn power_of_two(bytes: usize) -> Result<usize, ConstraintError> {
    if bytes.is_power_of_two() {
        Ok(bytes)
    } else {
        Err(ConstraintError::Align { bytes })
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
            align: 1,
            phase: 0,
            lowest: 0,
            highest: usize::MAX,
            boundary: None,
        }
    }

    /// The address is a multiple of `bytes`.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two.
    pub fn align(self, bytes: usize) -> Result<Self, ConstraintError> {
        self.align_phase(bytes, 0)
    }

    /// The address leaves the remainder `phase` when divided by `bytes`.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two, [`ConstraintError::Phase`] unless
    /// `phase` is below it.
    pub fn align_phase(mut self, bytes: usize, phase: usize) -> Result<Self, ConstraintError> {
        self.align = power_of_two(bytes)?;
        if phase >= bytes {
            return Err(ConstraintError::Phase {
                phase,
                align: bytes,
            });
        }
        self.phase = phase;
        Ok(self)
    }

    /// No byte lies below `addr`.
    #[must_use]
    pub fn lowest(mut self, addr: usize) -> Self {
        self.lowest = addr;
        self
    }

    /// No byte lies above `addr`: a device with a 32-bit address mask takes `0xffff_ffff`.
    #[must_use]
    pub fn highest(mut self, addr: usize) -> Self {
        self.highest = addr;
        self
    }

    /// The run does not cross a multiple of `bytes`.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Boundary`] unless `bytes` is a power of two.
    pub fn boundary(mut self, bytes: usize) -> Result<Self, ConstraintError> {
        if !bytes.is_power_of_two() {
            return Err(ConstraintError::Boundary { bytes });
        }
        self.boundary = Some(bytes);
        Ok(self)
    }

    /// Whether such a request can be served at all.
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        let granule = request.granule();
        if !self.phase.is_multiple_of(granule) {
            let phase = self.phase;
            return Err(Unsuitable::Phase { phase, granule });
        }
        if let Some(boundary) = self.boundary
            // In granules, because the bytes of whole granules may not fit an address.
            && request.granules() > boundary / granule
        {
            let size = request.size();
            return Err(Unsuitable::LongerThanBoundary { size, boundary });
        }
        Ok(())
    }

    /// The lowest acceptable start of `n` granules in a free run of at least as many.
    fn place(&self, chunk: &ChunkView<'_>, run: Run, n: usize) -> Option<Granule> {
        let granule = 1 << chunk.order();
        let bytes = n << chunk.order();
        // No overflow: the run lies in the chunk.
        let first = chunk.addr_of(run.start);
        let run_last = first + ((run.len << chunk.order()) - 1);
        let last_allowed = run_last.min(self.highest);
        let align = self.align.max(granule);

        let mut addr = first.max(self.lowest);
        // Twice: a run that is moved up to a boundary and aligned there crosses the next one only
        // if all aligned places do, for both are powers of two.
        for _ in 0..2 {
            let misaligned = addr.wrapping_sub(self.phase) & (align - 1);
            if misaligned != 0 {
                addr = addr.checked_add(align - misaligned)?;
            }
            let last = addr.checked_add(bytes - 1)?;
            if last > last_allowed {
                return None;
            }
            match self.boundary {
                Some(boundary) if addr / boundary != last / boundary => {
                    addr = last / boundary * boundary;
                }
                _ => return chunk.granule_at(addr),
            }
        }
        None
    }

    /// The first granule of the chunk worth looking at.
    fn from(&self, chunk: &ChunkView<'_>) -> Granule {
        chunk.granule_at(self.lowest).unwrap_or(Granule(0))
    }
}

/// A fit among the places that [`Constraints`] allow.
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

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if chunk.last() < self.constraints.lowest || self.constraints.highest < chunk.start() {
            return None;
        }
        let n = request.granules();
        let place = |run: Run| self.constraints.place(chunk, run, n);
        let from = self.constraints.from(chunk);
        self.fit.choose(chunk, from, n, &place)
    }
}
