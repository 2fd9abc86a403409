//! A chunk and its searches, without constraints.

use crate::activity::Activity;
use crate::bitmap::{AlignedStarts, AnyStart, Look};
use crate::chunk::Chunk;
use crate::units::{Granule, Run};

/// A chunk and the way to look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainView<'c> {
    pub(super) chunk: &'c Chunk,
    pub(super) look: Look,
    pub(super) activity: &'c Activity,
}

impl<'c> PlainView<'c> {
    pub(super) fn start(&self) -> usize {
        self.chunk.start()
    }

    pub(super) fn last(&self) -> usize {
        self.chunk.last()
    }

    pub(super) fn phys(&self) -> Option<u64> {
        self.chunk.phys_of(self.chunk.start())
    }

    pub(super) fn order(&self) -> u32 {
        self.chunk.order()
    }

    pub(super) fn granules(&self) -> usize {
        self.chunk.bitmap().len()
    }

    pub(super) fn addr_of(&self, granule: Granule) -> usize {
        let offset = granule.0.wrapping_shl(self.order());
        self.start().wrapping_add(offset)
    }

    /// Returns the lowest start in `from..limit` at which `n` granules, at least one, are free.
    #[inline(always)]
    pub(super) fn find_run(&self, from: Granule, limit: Granule, n: usize) -> Option<Granule> {
        let bitmap = self.chunk.bitmap();
        bitmap.find_run(from, limit, n, AnyStart, self.look)
    }

    /// Does the same among certain granules.
    #[inline]
    pub(super) fn find_among(
        &self,
        from: Granule,
        limit: Granule,
        n: usize,
        starts: AlignedStarts,
    ) -> Option<Granule> {
        if starts.mask == 0 {
            return self.find_run(from, limit, n);
        }
        let bitmap = self.chunk.bitmap();
        bitmap.find_run(from, limit, n, starts, self.look)
    }

    /// Returns a start, among certain granules, at which `n`, at least one, are free within one word, from the word of
    /// `from` on. Not for a proof.
    #[inline]
    pub(super) fn find_nearby_among(
        &self,
        from: Granule,
        n: usize,
        starts: AlignedStarts,
    ) -> Option<Granule> {
        self.chunk.bitmap().find_nearby(from, n, starts)
    }

    /// Returns the granules whose address leaves this remainder.
    #[inline]
    pub(super) fn aligned_starts(&self, align: usize, phase: usize) -> AlignedStarts {
        AlignedStarts {
            mask: (align - 1) >> self.order(),
            shift: (self.start() >> self.order()).wrapping_sub(phase >> self.order()),
        }
    }

    pub(super) fn runs(&self, from: Granule, min: usize) -> impl Iterator<Item = Run> + use<'c> {
        self.chunk.bitmap().free_runs(from, min, self.look)
    }
}
