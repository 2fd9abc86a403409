//! Spread first fit.

use genpool_core::{Algorithm, AlgorithmName, ChunkView, FirstFit, Granule, Request};

/// First fit for many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadFit;

impl Algorithm for SpreadFit {
    fn any_place(&self) -> bool {
        true
    }

    fn spreads(&self) -> bool {
        true
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("spread-fit"))
    }

    #[inline(always)]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        FirstFit.propose(chunk, request)
    }
}
