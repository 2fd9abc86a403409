//! Summaries of summaries: where each level of a tree lies in one table.

/// One level: its nodes, of `PACK` slots each, are those from `start` on. A slot of the lowest level stands
/// for what is summed up, one above for `SPAN` slots of the level below. One of up to `TOP` slots is the highest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level<const PACK: usize, const SPAN: usize, const TOP: usize> {
    pub(super) start: usize,
    pub(super) slots: usize,
}

impl<const PACK: usize, const SPAN: usize, const TOP: usize> Level<PACK, SPAN, TOP> {
    /// The level of so many slots whose nodes begin there.
    #[inline]
    pub(super) const fn lowest(start: usize, slots: usize) -> Self {
        Self { start, slots }
    }

    /// This level and all above it.
    pub(super) fn upwards(self) -> impl Iterator<Item = Self> {
        core::iter::successors(Some(self), |level| level.above())
    }

    #[inline]
    pub(super) fn nodes(self) -> usize {
        self.slots.div_ceil(PACK)
    }

    /// The level above, unless this is the highest.
    #[inline]
    pub(super) fn above(self) -> Option<Self> {
        (self.slots > TOP).then(|| Self {
            start: self.start + self.nodes(),
            slots: self.slots.div_ceil(SPAN),
        })
    }
}
