//! Lines of hints as words, for processors without vectors of bytes: all bytes of a word are compared at once.

use super::node::{ABSENT, HintNode, LINE_NODES, LONG, NODE_HINTS, Need, TOPS, UNUSED};
use crate::sync::{AtomicUsize, Ordering};

/// The top bit of every byte.
const ALL_TOPS: usize = usize::MAX / 0xff * 0x80;

/// A factor that gathers the lowest bits of all bytes at the top of the product, the first byte's lowest. No two
/// terms of the product meet, so none carries.
const GATHER: usize = {
    let (mut factor, mut byte) = (0, 0);
    while byte < size_of::<usize>() {
        factor |= 1 << (usize::BITS as usize - size_of::<usize>() - 7 * byte);
        byte += 1;
    }
    factor
};

/// Nodes in a line, at most.
const NODES: usize = 8;
const _: () = assert!(LINE_NODES <= NODES);

/// The hints of a line as they were seen.
#[derive(Clone, Copy, Debug)]
pub(in crate::bitmap::hints) struct SeenLine([usize; NODES]);

impl SeenLine {
    #[cfg_attr(test, expect(dead_code, reason = "the vectors are in use"))]
    pub(in crate::bitmap::hints) const TAKES_ARRAYS: bool = false;

    /// Looks at the nodes of a line.
    pub(in crate::bitmap::hints) fn look(nodes: &[AtomicUsize; LINE_NODES]) -> Self {
        Self::look_at_few(nodes)
    }

    /// Looks at the nodes of a line, which may be fewer, and may go on after the line.
    #[inline(never)]
    pub(in crate::bitmap::hints) fn look_at_few(nodes: &[AtomicUsize]) -> Self {
        // SeqCst: as in `Hints::load` (pairs with the exchanges there).
        let node = |node: &AtomicUsize| node.load(Ordering::SeqCst) | UNUSED;
        let node = |at| nodes.get(at).map_or(ABSENT, node);
        // One by one, because a loop first clears the line, and that by a function of the library.
        Self([
            node(0),
            node(1),
            node(2),
            node(3),
            node(4),
            node(5),
            node(6),
            node(7),
        ])
    }

    /// Returns what [`serving`](Self::serving) would for a line of only a few nodes.
    pub(in crate::bitmap::hints) fn serving_of_few(nodes: &[AtomicUsize], need: Need) -> usize {
        Self::look_at_few(nodes).serving(need)
    }

    /// Returns the highest hint.
    pub(in crate::bitmap::hints) fn highest(&self) -> usize {
        self.highest_beside(ABSENT, 0)
    }

    /// Returns the highest hint of the other slots.
    pub(in crate::bitmap::hints) fn highest_but(&self, slot: usize) -> usize {
        let but = 0x7f << (8 * (slot % NODE_HINTS));
        self.highest_beside(slot / NODE_HINTS, but)
    }

    /// Returns the highest hint, where these deficits of a node count as those of no hint.
    #[inline(never)]
    fn highest_beside(&self, node: usize, absent: usize) -> usize {
        // The deficits are below 0x80. So a byte of the difference has its top bit where the first is not less.
        let least_of = |a: usize, b: usize| {
            let not_less = ((a | ALL_TOPS) - b) & ALL_TOPS;
            let mask = not_less | (not_less - (not_less >> 7));
            b & mask | a & !mask
        };
        let mut least = ABSENT;
        for (at, &seen) in self.0.iter().enumerate() {
            least = least_of(least, if at == node { seen | absent } else { seen });
        }
        let mut half = usize::BITS / 2;
        while half >= 8 {
            least = least_of(least, least >> half);
            half /= 2;
        }
        LONG.saturating_sub(least & 0x7f)
    }

    /// Returns a bit for each slot that may serve, the first slot lowest.
    #[inline(never)]
    pub(in crate::bitmap::hints) fn serving(&self, need: Need) -> usize {
        let mut all = 0;
        for (at, &node) in self.0.iter().enumerate() {
            let tops = HintNode(node).serving(need) & TOPS;
            let bits =
                (tops >> 7).wrapping_mul(GATHER) >> (usize::BITS as usize - size_of::<usize>());
            all |= bits << (at * NODE_HINTS);
        }
        all
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use core::array;

    use super::super::vectors;
    use super::*;

    #[test]
    fn words_say_what_vectors_say() {
        let mut random = 1_u64;
        let mut next = |end: usize| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (random >> 33) as usize % end
        };
        for _ in 0..if cfg!(miri) { 20 } else { 5000 } {
            let highest = [1, 4, LONG + 1][next(3)];
            let nodes: [AtomicUsize; LINE_NODES] = array::from_fn(|_| {
                let mut deficit = |node, slot| node | (LONG - next(highest)) << (8 * slot);
                AtomicUsize::new((0..NODE_HINTS).fold(0, &mut deficit))
            });
            let (mine, theirs) = (SeenLine::look(&nodes), vectors::SeenLine::look(&nodes));
            assert_eq!(mine.highest(), theirs.highest());
            for n in [1, 2, 3, LONG - 1, LONG, LONG + 1] {
                let need = Need::of(n);
                assert_eq!(mine.serving(need), theirs.serving(need), "{n}: {nodes:x?}");
            }
            for slot in 0..LINE_NODES * NODE_HINTS {
                assert_eq!(mine.highest_but(slot), theirs.highest_but(slot));
            }
        }
        let few = [const { AtomicUsize::new(0) }; 3];
        for count in 0..=few.len() {
            let need = Need::of(1);
            let (mine, theirs) = (
                SeenLine::serving_of_few(&few[..count], need),
                vectors::SeenLine::serving_of_few(&few[..count], need),
            );
            assert_eq!(mine, theirs);
            assert_eq!(mine.count_ones() as usize, count * NODE_HINTS);
        }
    }
}
