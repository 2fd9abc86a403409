//! Lines of hints as vectors, for processors that compare sixteen bytes at once.

use core::array;

use wide::{i8x16, u8x16};

use super::node::{ABSENT, LINE_NODES, LONG, Need, UNUSED};
use crate::sync::{AtomicUsize, Ordering};

/// Nodes that are compared together, as one vector.
const GROUP: usize = size_of::<u8x16>() / size_of::<usize>();

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
pub(in crate::bitmap::hints) struct SeenLine([u8x16; GROUPS]);

impl SeenLine {
    /// Whether a look at an array is faster than one at a slice.
    pub(in crate::bitmap::hints) const TAKES_ARRAYS: bool = true;

    /// Looks at the nodes of a line. An array of known length, so that the loops are unrolled.
    #[inline(always)]
    pub(in crate::bitmap::hints) fn look(nodes: &[AtomicUsize; LINE_NODES]) -> Self {
        Self(array::from_fn(|group| Self::group(nodes, group)))
    }

    /// Looks at the nodes of a line that has fewer. Returns them in registers.
    #[inline(always)]
    pub(in crate::bitmap::hints) fn look_at_few(nodes: &[AtomicUsize]) -> Self {
        let seen = Self::look_at_few_slowly(nodes);
        Self(array::from_fn(|group| seen.0[group]))
    }

    #[cold]
    #[inline(never)]
    fn look_at_few_slowly(nodes: &[AtomicUsize]) -> Self {
        Self(array::from_fn(|group| Self::group(nodes, group)))
    }

    /// Returns what [`serving`](Self::serving) would for a line of only a few nodes.
    #[inline(always)]
    pub(in crate::bitmap::hints) fn serving_of_few(nodes: &[AtomicUsize], need: Need) -> usize {
        if nodes.len() <= GROUP {
            return Self::serving_of(Self::group(nodes, 0), need);
        }
        Self::look_at_few_slowly(nodes).serving(need)
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
    pub(in crate::bitmap::hints) fn highest(self) -> usize {
        Self::highest_of(self.0)
    }

    /// Returns the highest hint of the other slots.
    #[inline(always)]
    pub(in crate::bitmap::hints) fn highest_but(self, slot: usize) -> usize {
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
    pub(in crate::bitmap::hints) fn serving(self, need: Need) -> usize {
        let mut all = 0;
        for (at, &group) in self.0.iter().enumerate() {
            all |= Self::serving_of(group, need) << (at * size_of::<u8x16>());
        }
        all
    }

    #[inline(always)]
    fn serving_of(group: u8x16, need: Need) -> usize {
        let serving = bytemuck::cast::<_, i8x16>(group).simd_lt(i8x16::splat(need.limit() as i8));
        serving.to_bitmask() as usize
    }
}
