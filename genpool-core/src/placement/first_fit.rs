//! First fit. Finds and claims in one step on the fast path (`ops/alloc.rs`: `first_fit`).

use super::algorithm::Algorithm;
use super::claim::Claim;
use super::name::AlgorithmName;
use super::request::Request;
use super::view::ChunkView;
use crate::units::Granule;

/// First fit, the default: the lowest address in the first chunk that has room. Skips words of the bitmap that cannot
/// serve the request; at worst linear in the granules of the chunk, 64 at a time. [Signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{FirstFit, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let (first, second) = (pool.alloc(1)?, pool.alloc(1)?);
/// drop(first);
/// assert_eq!(pool.alloc_with(1, &FirstFit)?.addr(), 0x1000);
/// # drop(second);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFit;

impl Algorithm for FirstFit {
    fn any_place(&self) -> bool {
        true
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("first-fit"))
    }

    #[inline(always)]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
    }

    #[inline(always)]
    fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        chunk.claim_lowest(request)
    }

    #[inline]
    fn is_first_fit(&self) -> bool {
        true
    }
}
