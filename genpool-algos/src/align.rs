//! First fit at aligned addresses.

use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Request};

use crate::constraints::{Constrained, ConstraintError, Constraints};

/// First fit at a multiple of a power of two. The absolute address is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFitAlign(Constrained<FirstFit>);

impl FirstFitAlign {
    /// Aligned to `bytes`.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two.
    pub fn new(bytes: usize) -> Result<Self, ConstraintError> {
        let constraints = Constraints::new().align(bytes)?;
        Ok(Self(Constrained::new(FirstFit, constraints)))
    }
}

impl Algorithm for FirstFitAlign {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        self.0.propose(chunk, request)
    }
}

/// First fit at a multiple of the size asked for, rounded up to a power of two: 60 bytes come 64-byte
/// aligned. The absolute address is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderAlign;

impl Algorithm for OrderAlign {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        match request.size().checked_next_power_of_two() {
            Some(align) => FirstFitAlign::new(align).ok()?.propose(chunk, request),
            // More than half of all addresses: only address 0 is that aligned.
            None => FirstFit
                .propose(chunk, request)
                .filter(|&start| chunk.addr_of(start) == 0),
        }
    }
}
