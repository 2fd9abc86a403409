//! Where an allocation may lie: alignment, phase, lowest and highest address, boundaries that it may
//! not cross. As the `vmem_xalloc` of Solaris and BSD takes them.

use core::error::Error;
use core::fmt;
use core::ops::Range;

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

    /// The lowest free and allowed start of `n` granules in a part of the chunk.
    #[must_use]
    pub fn first_free(
        &self,
        chunk: &ChunkView<'_>,
        part: Range<Granule>,
        n: usize,
    ) -> Option<Granule> {
        let window = self.window(chunk, n)?;
        let (from, limit) = (part.start.max(window.start), part.end.min(window.end));
        if self.boundary.is_none() {
            return chunk.find_aligned(from, limit, n, self.align, self.phase);
        }
        // Run by run rather than from boundary to boundary: each granule is looked at once.
        chunk
            .runs(from, n)
            .take_while(|run| run.start < limit)
            .find_map(|run| self.first_in(chunk, run, n))
            .filter(|&found| found < limit)
    }

    /// The lowest allowed start of `n` granules in a free run.
    #[must_use]
    pub fn first_in(&self, chunk: &ChunkView<'_>, run: Run, n: usize) -> Option<Granule> {
        let window = self.window(chunk, n)?;
        let behind = run.start.0.checked_add(run.len)?.min(chunk.granules());
        let end = Granule(behind.checked_sub(n)? + 1).min(window.end);
        let mut start = run.start.max(window.start);
        loop {
            let past = chunk.addr_of(start).wrapping_sub(self.phase) & (self.align - 1);
            let step = (past.wrapping_neg() & (self.align - 1)) >> chunk.order();
            start = Granule(start.0.checked_add(step)?);
            if start >= end {
                return None;
            }
            match self.behind_boundary(chunk, start, n) {
                Some(next) => start = next?,
                None => return Some(start),
            }
        }
    }

    /// The starts of `n` granules between the lowest and the highest address; none where no start
    /// can do.
    fn window(&self, chunk: &ChunkView<'_>, n: usize) -> Option<Range<Granule>> {
        let (order, granule) = (chunk.order(), 1_usize << chunk.order());
        if n == 0 || self.boundary.is_some_and(|boundary| n > boundary >> order) {
            return None;
        }
        let from = self.lowest.saturating_sub(chunk.start()).div_ceil(granule);
        let last = self.highest.min(chunk.last()).checked_sub(chunk.start())?;
        // The granules that lie below the last address as a whole.
        let whole = (last >> order) + usize::from(last & (granule - 1) == granule - 1);
        Some(Granule(from)..Granule(whole.checked_sub(n)? + 1))
    }

    /// If `n` granules at `start` cross a boundary: the first granule behind it, unless the address
    /// space ends before.
    #[allow(
        clippy::option_option,
        reason = "crossing, and where to go on, are two questions"
    )]
    fn behind_boundary(
        &self,
        chunk: &ChunkView<'_>,
        start: Granule,
        n: usize,
    ) -> Option<Option<Granule>> {
        let boundary = self.boundary?;
        let first = chunk.addr_of(start);
        // No overflow: the run lies in the chunk.
        let last = first + ((n << chunk.order()) - 1);
        (first / boundary != last / boundary).then(|| chunk.granule_at(last / boundary * boundary))
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
        self.fit
            .choose(chunk, request.granules(), &self.constraints)
    }
}
