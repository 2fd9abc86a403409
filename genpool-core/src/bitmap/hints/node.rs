//! Nodes of hints, and what a search needs of a hint. Lines of nodes are in `vectors.rs` and `words.rs`.

use core::ops::Range;

use crate::units::WORD_BITS;

/// Hints in a node. Two in small models, so that a few words have two levels.
pub(in crate::bitmap) const NODE_HINTS: usize = if cfg!(genpool_small) {
    2
} else {
    size_of::<usize>()
};

/// The hints of the first two nodes.
pub(in crate::bitmap) const FIRST_HINTS: usize = 2 * NODE_HINTS;

/// Nodes in a line: a cache line on 64-bit machines. A search goes through a line in about the time of a locked
/// instruction, and the highest hint of so many words changes half as often as their hints do (2026-11). One in
/// small models.
pub(in crate::bitmap) const LINE_NODES: usize = if cfg!(genpool_small) { 1 } else { 8 };

/// Hints in a line.
pub(in crate::bitmap) const LINE_HINTS: usize = NODE_HINTS * LINE_NODES;

// If a node had bytes that are no hints, the slots of a line would not follow one another.
const _: () = assert!(LINE_NODES == 1 || NODE_HINTS == size_of::<usize>());

/// The hint of a run that is longer than a word.
pub(in crate::bitmap) const LONG: usize = WORD_BITS + 1;

/// The lowest bit of every byte.
const ONES: usize = usize::MAX / 0xff;

/// The top bit of every byte that is a hint.
pub(super) const TOPS: usize =
    (usize::MAX >> (usize::BITS as usize - 8 * NODE_HINTS)) / 0xff * 0x80;

/// A node without hints. Each of its bytes is above every deficit.
pub(super) const ABSENT: usize = ONES * 0x7f;

/// The bytes of a node that are no hints, set as in [`ABSENT`]. There are none except in small models.
pub(super) const UNUSED: usize = ABSENT & !(TOPS / 0x80 * 0xff);

/// The hint that a search needs, as a pattern that is compared with all bytes of a node at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need(usize);

impl Need {
    /// The need for a run of `n` granules, at least one.
    #[inline]
    pub(crate) fn of(n: usize) -> Self {
        // 0x80 + the highest deficit that will do, in every byte.
        Self(ONES * (0x80 + LONG - n.min(LONG)))
    }

    /// Returns one more than the highest deficit that will do.
    #[cfg(any(
        test,
        target_feature = "sse2",
        target_feature = "neon",
        target_feature = "simd128"
    ))]
    #[inline(always)]
    pub(super) fn limit(self) -> u8 {
        (self.0 & 0x7f) as u8 + 1
    }
}

/// The hints of one node. Each byte is a *deficit*, [`LONG`] minus the hint, so zeroed memory says "anything may be
/// free" and a fresh chunk of any size needs no initialisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bitmap) struct HintNode(pub(in crate::bitmap) usize);

impl HintNode {
    /// Nothing is free anywhere.
    pub(in crate::bitmap) const CLOSED: Self = Self(ONES * LONG);

    pub(in crate::bitmap) fn hint(self, slot: usize) -> usize {
        LONG - (self.0 >> (slot * 8) & 0xff)
    }

    /// Returns a node of which the first `slots` slots may have anything free, and the others never serve.
    pub(in crate::bitmap) const fn open(slots: usize) -> Self {
        if slots >= NODE_HINTS {
            return Self(0);
        }
        let absent = usize::MAX << (8 * slots);
        Self(Self::CLOSED.0 & absent & (TOPS / 0x80 * 0xff))
    }

    pub(in crate::bitmap) fn with(self, slot: usize, hint: usize) -> Self {
        Self(self.0 & !(0xff << (slot * 8)) | (LONG - hint) << (slot * 8))
    }

    /// Returns true if each of these slots, at least one, has the hint [`LONG`].
    #[inline]
    pub(in crate::bitmap) fn are_long(self, slots: Range<usize>) -> bool {
        let bits = usize::MAX >> (usize::BITS as usize - 8 * (slots.end - slots.start));
        self.0 & bits << (8 * slots.start) == 0
    }

    /// Returns the first slot from `slot` on that may serve.
    #[inline(always)]
    pub(in crate::bitmap) fn first(self, slot: usize, need: Need) -> Option<usize> {
        let found = (self.serving(need) & (TOPS << (slot * 8))).trailing_zeros() as usize / 8;
        (found < NODE_HINTS).then_some(found)
    }

    /// Returns the top bit of each byte that may serve. The other bits have no meaning.
    #[inline(always)]
    pub(super) fn serving(self, need: Need) -> usize {
        // The top bit stays set where the deficit is not above what will do. No byte borrows from the next, because
        // a deficit is below 0x80.
        need.0.wrapping_sub(self.0)
    }
}
