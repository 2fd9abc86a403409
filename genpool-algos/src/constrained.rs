//! An algorithm under constraints.

use genpool_core::{Algorithm, ChunkView, Granule, Impossible, Request, Unsuitable};

use crate::constraints::Constraints;
use crate::fit::Fit;

/// A fit that is restricted to the places that [`Constraints`] allow. [Signal-safe](genpool_core#signal-safety) if
/// the fit is.
///
/// ```
/// use genpool::{BestFit, Constrained, Constraints, Pool};
///
/// // As a default. Each call may name another algorithm.
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
    /// Combines a fit with constraints.
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
