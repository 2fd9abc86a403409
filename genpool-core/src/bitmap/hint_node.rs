//! Hints packed into nodes, and nodes into lines: what one look at a node or at a line shows.
//!
//! # Orderings
//!
//! A look at a line is `SeqCst`, as one at a node is (`hints.rs`): it may be the second look of who lowered the byte
//! above.

use core::array;

use wide::{i8x16, u8x16};

use super::word::WORD_BITS;
use crate::sync::{AtomicUsize, Ordering};

/// Hints in a node. Two in small models, so that a few words have two levels.
pub(super) const NODE_HINTS: usize = if cfg!(genpool_small) {
    2
} else {
    size_of::<usize>()
};

/// Nodes in a line: a cache line on 64-bit machines. A search looks through one in about the time of a
/// locked instruction, and the highest hint of so many words changes half as often as they do (2026-11). One
/// in small models.
pub(super) const LINE_NODES: usize = if cfg!(genpool_small) { 1 } else { 8 };

/// Hints in a line.
pub(super) const LINE_HINTS: usize = NODE_HINTS * LINE_NODES;

// Where a node has bytes that are no hints, a line's slots would not follow one another.
const _: () = assert!(LINE_NODES == 1 || NODE_HINTS == size_of::<usize>());

/// The hint of a run that is longer than a word.
pub(super) const LONG: usize = WORD_BITS + 1;

/// The lowest bit of every byte.
const ONES: usize = usize::MAX / 0xff;

/// The top bit of every byte that is a hint.
const TOPS: usize = (usize::MAX >> (usize::BITS as usize - 8 * NODE_HINTS)) / 0xff * 0x80;

/// Nodes that are looked at together.
const GROUP: usize = size_of::<u8x16>() / size_of::<usize>();

/// A node of which no byte is a hint: what would be one is above all deficits.
const ABSENT: usize = ONES * 0x7f;

/// The bytes of a node that are no hints, as in such a node. None but in small models.
const UNUSED: usize = ABSENT & !(TOPS / 0x80 * 0xff);

/// What a search needs the hint to be, as a pattern to compare all bytes of a node with at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need(usize);

impl Need {
    /// A run of `n` granules, at least one.
    #[inline]
    pub(crate) fn of(n: usize) -> Self {
        // 0x80 + the highest deficit that will do, in every byte.
        Self(ONES * (0x80 + LONG - n.min(LONG)))
    }

    /// One more than the highest deficit that will do.
    #[inline(always)]
    fn limit(self) -> i8x16 {
        i8x16::splat((self.0 & 0x7f) as i8 + 1)
    }
}

/// The hints of one node. A byte is the *deficit*, [`LONG`] minus the hint, so that zeroed
/// memory says "anything may be free" and a fresh chunk of any size needs no initialisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HintNode(pub(super) usize);

impl HintNode {
    /// Nothing is free anywhere.
    pub(super) const CLOSED: Self = Self(ONES * LONG);

    pub(super) fn hint(self, slot: usize) -> usize {
        LONG - (self.0 >> (slot * 8) & 0xff)
    }

    pub(super) fn with(self, slot: usize, hint: usize) -> Self {
        Self(self.0 & !(0xff << (slot * 8)) | (LONG - hint) << (slot * 8))
    }

    /// The first slot from `slot` on that may serve.
    #[inline(always)]
    pub(super) fn first(self, slot: usize, need: Need) -> Option<usize> {
        let found = (self.serving(need) & (TOPS << (slot * 8))).trailing_zeros() as usize / 8;
        (found < NODE_HINTS).then_some(found)
    }

    /// The top bit of each byte that may serve; other bits mean nothing.
    #[inline(always)]
    fn serving(self, need: Need) -> usize {
        // The bit stays set where the deficit is not above what will do; no byte borrows from the
        // next, because a deficit is below 0x80.
        need.0.wrapping_sub(self.0)
    }
}

/// The nodes of a line, or of what there is of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum HintLine<'h> {
    /// So many that a look at them is unrolled.
    Whole(&'h [AtomicUsize; LINE_NODES]),
    /// The last ones of a level.
    Cut(&'h [AtomicUsize]),
}

impl HintLine<'_> {
    /// The highest hint.
    #[inline]
    pub(super) fn highest(self) -> usize {
        let least = |a: [u64; 2], b: [u64; 2]| -> [u64; 2] {
            bytemuck::cast(bytemuck::cast::<_, u8x16>(a).min(bytemuck::cast(b)))
        };
        let group = self.fold([u64::MAX; 2], |all, _, group| {
            least(all, bytemuck::cast(group))
        });
        // Of two halves again and again, until one byte is left.
        let [mut all, _] = least(group, [group[1], 0]);
        for half in [32, 16, 8] {
            [all, _] = least([all, 0], [all >> half, 0]);
        }
        LONG.saturating_sub(usize::from(all as u8))
    }

    /// A bit for each slot that may serve, the first lowest. Without a branch that depends on what is found,
    /// which would be mispredicted.
    #[inline(always)]
    pub(super) fn serving(self, need: Need) -> usize {
        let limit = need.limit();
        self.fold(0, |all, at, group| {
            let serving = bytemuck::cast::<_, i8x16>(group).simd_lt(limit);
            all | (serving.to_bitmask() as usize) << (at * size_of::<u8x16>())
        })
    }

    /// Goes through the nodes, a group at a time.
    #[inline(always)]
    fn fold<T>(self, start: T, step: impl Fn(T, usize, u8x16) -> T) -> T {
        match self {
            Self::Whole(nodes) => Self::fold_groups(nodes, start, step),
            Self::Cut(nodes) => Self::fold_groups(nodes, start, step),
        }
    }

    #[inline(always)]
    fn fold_groups<T>(nodes: &[AtomicUsize], start: T, step: impl Fn(T, usize, u8x16) -> T) -> T {
        // SeqCst: as in `Hints::load` (pairs with the exchanges there). The first slot's byte first, as in a vector.
        let node = |node: &AtomicUsize| (node.load(Ordering::SeqCst) | UNUSED).to_le();
        let (groups, rest) = nodes.as_chunks::<GROUP>();
        let mut all = start;
        for (at, group) in groups.iter().enumerate() {
            all = step(all, at, bytemuck::cast(group.each_ref().map(node)));
        }
        if !rest.is_empty() {
            let group: [usize; GROUP] = array::from_fn(|at| rest.get(at).map_or(ABSENT, node));
            all = step(all, groups.len(), bytemuck::cast(group));
        }
        all
    }
}
