//! The search that wraps around.

use genpool_core::{ChunkView, Granule};

/// Returns the first fit from `start` to the end of the chunk, or else from its beginning. The second pass covers the
/// whole chunk, so finding nothing in it is a proof by itself.
pub(crate) fn first_around(chunk: &ChunkView<'_>, start: Granule, n: usize) -> Option<Granule> {
    let end = Granule(usize::MAX);
    let found = chunk.find_run(start, end, n);
    found.or_else(|| chunk.find_run(Granule(0), end, n))
}
