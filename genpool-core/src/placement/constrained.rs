//! An algorithm under constraints.

use super::algorithm::Algorithm;
use super::constraints::{Constraints, Rule};
use super::first_fit::FirstFit;
use super::places::Places;
use super::request::Request;
use super::view::ChunkView;
use crate::error::{Impossible, Unsuitable};
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
        let of_algorithm =
            |places: &Places| self.algorithm.rules_out(&chunk.under(places), request);
        if chunk.surely_allows(&self.constraints, request.granules()) {
            // The compiler leaves the places out if the algorithm has no rules of its own.
            return of_algorithm(&chunk.places_under(&self.constraints)?);
        }
        let places = chunk.places_under(&self.constraints);
        let reason = rule_out(&self.constraints, places.as_ref(), chunk, request);
        // Without any allowed place, the algorithm is not asked: its own reason would be about other places.
        reason.or_else(|| of_algorithm(places.as_ref()?))
    }

    fn only_address(&self) -> Option<usize> {
        self.algorithm.only_address()
    }

    #[inline]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let places = chunk.places_under(&self.constraints)?;
        let chunk = chunk.under(&places);
        let found = self.algorithm.propose(&chunk, request)?;
        if places.allow(chunk.plain(), found, request.granules()) {
            return Some(found);
        }
        // The algorithm computed a place that is not allowed. To answer none would be no proof.
        FirstFit.propose(&chunk, request)
    }
}

/// Returns the reason why a chunk has no place for a request even if all of it is free. `places` are those that the
/// constraints allow together with those that the view is already under, which are not named as the reason.
fn rule_out(
    constraints: &Constraints,
    places: Option<&Places>,
    chunk: &ChunkView<'_>,
    request: &Request,
) -> Option<Impossible> {
    let (n, size) = (request.granules(), request.size());
    let plain = chunk.plain();
    // The pool itself detects a request that is longer than the chunk.
    if n > chunk.granules() || places.is_some_and(|places| places.allow_any(plain, n)) {
        return None;
    }
    let has_place = |constraints: &Constraints| {
        let places = Places::new(constraints, plain, None);
        places.is_some_and(|places| places.allow_any(plain, n))
    };
    if has_place(constraints) {
        return Some(Impossible::NoPlace { size });
    }
    // No overflow: the run lies in the chunk.
    let more = ((n << chunk.order()) - 1) as u64;
    let length = (chunk.last() - chunk.start()) as u64;
    let beyond = |rule: &Rule, first: u64| rule.beyond(first, first + length, more);
    let reason = match (constraints.dma, chunk.phys()) {
        (Some(_), None) => Some(Impossible::NoPhys),
        (Some(dma), Some(phys)) => beyond(&dma, phys),
        (None, _) => None,
    };
    let reason = beyond(&constraints.virt, chunk.start() as u64).or(reason);
    if reason.is_some() {
        return reason;
    }
    // Find out which of the two addresses is the reason, and which constraint on it.
    let virt_alone = Constraints {
        dma: None,
        ..*constraints
    };
    let rule = match constraints.dma {
        Some(dma) if has_place(&virt_alone) => dma,
        _ => constraints.virt,
    };
    let unbounded = Constraints {
        virt: constraints.virt.unbounded(),
        dma: constraints.dma.map(Rule::unbounded),
    };
    Some(match rule {
        Rule {
            boundary: Some(boundary),
            ..
        } if has_place(&unbounded) => Impossible::CrossesBoundary { boundary },
        Rule { align, phase, .. } if align > 1 && !has_place(&unbounded) => {
            Impossible::Unaligned { align, phase }
        }
        _ => Impossible::NoPlace { size },
    })
}
