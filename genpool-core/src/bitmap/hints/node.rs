//! Nodes and lines of hints: what one look at either shows.
//!
//! # Orderings
//!
//! A look at a line is `SeqCst`, as is a look at a node (`Hints::load`). It may be the second look of a thread that
//! lowered the byte above.

use core::array;
use core::ops::Range;

use wide::{i8x16, u8x16};

use crate::sync::{AtomicUsize, Ordering};
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
    fn serving(self, need: Need) -> usize {
        // The top bit stays set where the deficit is not above what will do. No byte borrows from the next, because
        // a deficit is below 0x80.
        need.0.wrapping_sub(self.0)
    }
}

/// Vectors in a line.
const GROUPS: usize = LINE_NODES.div_ceil(GROUP);

/// The slots of a line, in order.
const SLOTS: [u8x16; GROUPS] = {
    let (mut groups, mut group) = ([u8x16::new([0; _]); GROUPS], 0);
    while group < GROUPS {
        let (mut slots, mut at) = ([0; size_of::<u8x16>()], 0);
        while at < slots.len() {
            slots[at] = (group * slots.len() + at) as u8;
            at += 1;
        }
        groups[group] = u8x16::new(slots);
        group += 1;
    }
    groups
};

/// The hints of a line as they were seen.
#[derive(Clone, Copy, Debug)]
pub(in crate::bitmap) struct SeenLine([u8x16; GROUPS]);

impl SeenLine {
    /// Looks at the nodes of a line. An array of known length, so that the loops are unrolled.
    #[inline(always)]
    pub(in crate::bitmap) fn look(nodes: &[AtomicUsize; LINE_NODES]) -> Self {
        Self(array::from_fn(|group| Self::group(nodes, group)))
    }

    /// Looks at the nodes of a line that has fewer.
    #[cold]
    #[inline(never)]
    pub(in crate::bitmap) fn look_at_few(nodes: &[AtomicUsize]) -> Self {
        Self(array::from_fn(|group| Self::group(nodes, group)))
    }

    /// Returns the same in registers.
    #[inline(always)]
    pub(in crate::bitmap) fn copied(self) -> Self {
        Self(array::from_fn(|group| self.0[group]))
    }

    /// Returns what [`serving`](Self::serving) would for a line of only a few nodes.
    #[inline(always)]
    pub(in crate::bitmap) fn serving_of_few(nodes: &[AtomicUsize], need: Need) -> usize {
        if nodes.len() <= GROUP {
            return Self::serving_of(Self::group(nodes, 0), need);
        }
        Self::look_at_few(nodes).serving(need)
    }

    #[inline(always)]
    fn group(nodes: &[AtomicUsize], group: usize) -> u8x16 {
        // SeqCst: as in `Hints::load` (pairs with the exchanges there). `to_le` puts the first slot's byte first,
        // as in a vector.
        let node = |node: &AtomicUsize| (node.load(Ordering::SeqCst) | UNUSED).to_le();
        let nodes: [usize; GROUP] =
            array::from_fn(|at| nodes.get(group * GROUP + at).map_or(ABSENT, node));
        bytemuck::cast(nodes)
    }

    /// Returns the highest hint.
    #[inline(always)]
    pub(in crate::bitmap) fn highest(self) -> usize {
        Self::highest_of(self.0)
    }

    /// Returns the highest hint of the other slots.
    #[inline(always)]
    pub(in crate::bitmap) fn highest_but(self, slot: usize) -> usize {
        let slot = u8x16::splat(slot as u8);
        Self::highest_of(array::from_fn(|at| self.0[at] | SLOTS[at].simd_eq(slot)))
    }

    #[inline(always)]
    fn highest_of(groups: [u8x16; GROUPS]) -> usize {
        let mut least = groups[0];
        for &group in &groups[1..] {
            least = least.min(group);
        }
        let [low, high]: [u64; 2] = bytemuck::cast(least);
        let least_of = |a: u64, b: u64| -> u64 {
            let [least, _]: [u64; 2] = bytemuck::cast(
                bytemuck::cast::<_, u8x16>([a, 0_u64]).min(bytemuck::cast([b, 0_u64])),
            );
            least
        };
        // The least of two halves, again and again, until one byte is left.
        let mut all = least_of(low, high);
        for half in [32, 16, 8] {
            all = least_of(all, all >> half);
        }
        LONG.saturating_sub(usize::from(all as u8))
    }

    /// Returns a bit for each slot that may serve, the first slot lowest. No branch depends on what is found,
    /// because it would be mispredicted.
    #[inline(always)]
    pub(in crate::bitmap) fn serving(self, need: Need) -> usize {
        let mut all = 0;
        for (at, &group) in self.0.iter().enumerate() {
            all |= Self::serving_of(group, need) << (at * size_of::<u8x16>());
        }
        all
    }

    #[inline(always)]
    fn serving_of(group: u8x16, need: Need) -> usize {
        let serving = bytemuck::cast::<_, i8x16>(group).simd_lt(need.limit());
        serving.to_bitmask() as usize
    }
}
