//! An algorithm under constraints.

use super::{Constraints, Places};
use crate::error::{Impossible, Unsuitable};
use crate::placement::{Algorithm, ChunkView, Request};
use crate::units::Granule;

/// An algorithm that is restricted to the places that [`Constraints`] allow. Costs what the algorithm costs, and a
/// little arithmetic. [Signal-safe](crate#signal-safety) if the algorithm is.
///
/// The algorithm gets a view of each chunk whose searches find only allowed places (see [`Algorithm`]). It may be
/// [`Constrained`] itself: then both constraints apply. A constrained algorithm has no name in traces, and as the
/// default of a pool it leaves caches empty.
///
/// ```
/// use genpool::{BestFit, Constrained, Constraints, OrderAlign, Pool};
///
/// // As a default. Each call may name another algorithm.
/// let reached = Constraints::new().highest(0xffff).align(0x2000)?;
/// let pool = Pool::builder().order(12).algorithm(Constrained::new(BestFit, reached)).build()?;
/// pool.add(0x1000, 0x10_0000)?;
/// assert_eq!(pool.alloc(1)?.addr(), 0x2000);
/// let high = Constrained::new(OrderAlign, Constraints::new().lowest(0x1_1000));
/// assert_eq!(pool.alloc_with(0x8000, &high)?.addr(), 0x1_8000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constrained<A> {
    algorithm: A,
    constraints: Constraints,
}

impl<A: Algorithm> Constrained<A> {
    /// Combines an algorithm with constraints.
    #[must_use]
    pub fn new(algorithm: A, constraints: Constraints) -> Self {
        Self {
            algorithm,
            constraints,
        }
    }
}

impl<A: Algorithm> Algorithm for Constrained<A> {
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        self.constraints.check(request)?;
        self.algorithm.check(request)
    }

    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let reason = self.constraints.rules_out(chunk, request);
        // Without any allowed place, the algorithm is not asked: its own reason would be about other places.
        reason.or_else(|| {
            let places = Places::new(&self.constraints, chunk)?;
            self.algorithm.rules_out(&chunk.under(&places), request)
        })
    }

    fn only_address(&self) -> Option<usize> {
        self.algorithm.only_address()
    }

    #[inline]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let places = Places::new(&self.constraints, chunk)?;
        let chunk = chunk.under(&places);
        let found = self.algorithm.propose(&chunk, request)?;
        let n = request.granules();
        if places.allow(&chunk, found, n) {
            return Some(found);
        }
        // The algorithm computed a place that is not allowed. To answer none would be no proof.
        chunk.find_run(Granule(0), Granule(usize::MAX), n)
    }
}
