//! Nodes and lines of hints: what one look at either shows.
//!
//! # Orderings
//!
//! A look at a line is `SeqCst`, as is a look at a node (`Hints::load`). It may be the second look of a thread that
//! lowered the byte above.

use core::array;

use wide::{i8x16, u8x16};

use crate::sync::{AtomicUsize, Ordering};
use crate::units::WORD_BITS;

/// Hints in a node. Two in small models, so that a few words have two levels.
pub(in crate::bitmap) const NODE_HINTS: usize = if cfg!(genpool_small) {
    2
} else {
    size_of::<usize>()
};

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
const TOPS: usize = (usize::MAX >> (usize::BITS as usize - 8 * NODE_HINTS)) / 0xff * 0x80;

/// Nodes that are compared together, as one vector.
const GROUP: usize = size_of::<u8x16>() / size_of::<usize>();

/// A node without hints. Each of its bytes is above every deficit.
const ABSENT: usize = ONES * 0x7f;

/// The bytes of a node that are no hints, set as in [`ABSENT`]. There are none except in small models.
const UNUSED: usize = ABSENT & !(TOPS / 0x80 * 0xff);

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

    /// Returns one more than the highest deficit that will do, in every byte.
    #[inline(always)]
    fn limit(self) -> i8x16 {
        i8x16::splat((self.0 & 0x7f) as i8 + 1)
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

    pub(in crate::bitmap) fn with(self, slot: usize, hint: usize) -> Self {
        Self(self.0 & !(0xff << (slot * 8)) | (LONG - hint) << (slot * 8))
    }

    /// Returns the first slot from `slot` on that may serve.
    #[inline(always)]
    pub(in crate::bitmap) fn first(self, slot: usize, need: Need) -> Option<usize> {
        let found = (self.serving(need) & (TOPS << (slot * 8))).trailing_zeros() as usize / 8;
        (found < NODE_HINTS).then_some(found)
    }

    /// Returns the top bit of each byte that may serve. The other bits have no meaning.
    #[inline(always)]
    fn serving(self, need: Need) -> usize {
        // The top bit stays set where the deficit is not above what will do. No byte borrows from the next, because
        // a deficit is below 0x80.
        need.0.wrapping_sub(self.0)
    }
}

/// The nodes of a line, or those that there are of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::bitmap) enum HintLine<'h> {
    /// All of them: an array, so that loops over it are unrolled.
    Whole(&'h [AtomicUsize; LINE_NODES]),
    /// The last ones of a level.
    Cut(&'h [AtomicUsize]),
}

impl HintLine<'_> {
    /// Returns the highest hint.
    #[inline]
    pub(in crate::bitmap) fn highest(self) -> usize {
        let least = |a: [u64; 2], b: [u64; 2]| -> [u64; 2] {
            bytemuck::cast(bytemuck::cast::<_, u8x16>(a).min(bytemuck::cast(b)))
        };
        let group = self.fold([u64::MAX; 2], |all, _, group| {
            least(all, bytemuck::cast(group))
        });
        // The least of two halves, again and again, until one byte is left.
        let [mut all, _] = least(group, [group[1], 0]);
        for half in [32, 16, 8] {
            [all, _] = least([all, 0], [all >> half, 0]);
        }
        LONG.saturating_sub(usize::from(all as u8))
    }

    /// Returns a bit for each slot that may serve, the first slot lowest. No branch depends on what is found,
    /// because it would be mispredicted.
    #[inline(always)]
    pub(in crate::bitmap) fn serving(self, need: Need) -> usize {
        let limit = need.limit();
        self.fold(0, |all, at, group| {
            let serving = bytemuck::cast::<_, i8x16>(group).simd_lt(limit);
            all | (serving.to_bitmask() as usize) << (at * size_of::<u8x16>())
        })
    }

    /// Folds over the nodes, a group at a time.
    #[inline(always)]
    fn fold<T>(self, start: T, step: impl Fn(T, usize, u8x16) -> T) -> T {
        match self {
            Self::Whole(nodes) => Self::fold_groups(nodes, start, step),
            Self::Cut(nodes) => Self::fold_groups(nodes, start, step),
        }
    }

    #[inline(always)]
    fn fold_groups<T>(nodes: &[AtomicUsize], start: T, step: impl Fn(T, usize, u8x16) -> T) -> T {
        // SeqCst: as in `Hints::load` (pairs with the exchanges there). `to_le` puts the first slot's byte first,
        // as in a vector.
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
