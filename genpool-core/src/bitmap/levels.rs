//! Trees of summaries: where each level lies in one table.

/// One level of a tree. Its nodes, of `PACK` slots each, begin at `start`. A slot of the lowest level stands for
/// one thing that is summed up, a slot of a level above for `SPAN` slots of the level below. A level of up to `TOP`
/// slots is the highest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level<const PACK: usize, const SPAN: usize, const TOP: usize> {
    pub(super) start: usize,
    pub(super) slots: usize,
}

impl<const PACK: usize, const SPAN: usize, const TOP: usize> Level<PACK, SPAN, TOP> {
    /// The lowest level, of `slots` slots, whose nodes begin at `start`.
    #[inline]
    pub(super) const fn lowest(start: usize, slots: usize) -> Self {
        Self { start, slots }
    }

    /// Iterates over this level and all above it.
    pub(super) fn upwards(self) -> impl Iterator<Item = Self> {
        core::iter::successors(Some(self), |level| level.above())
    }

    #[inline]
    pub(super) const fn nodes(self) -> usize {
        self.slots.div_ceil(PACK)
    }

    /// Returns the level above, unless this is the highest.
    #[inline]
    pub(super) const fn above(self) -> Option<Self> {
        if self.slots <= TOP {
            return None;
        }
        Some(Self {
            start: self.start + self.nodes(),
            slots: self.slots.div_ceil(SPAN),
        })
    }

    /// Returns where the highest level ends.
    #[inline]
    pub(super) const fn end(self) -> usize {
        let mut level = self;
        while let Some(above) = level.above() {
            level = above;
        }
        level.start + level.nodes()
    }
}
