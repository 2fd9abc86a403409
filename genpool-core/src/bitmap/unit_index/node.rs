//! Nodes of run lengths: a byte for each of eight places (on 64-bit machines) in one atomic, compared with a need all at
//! once.
//!
//! Nodes are loaded and stored `Relaxed`, because nothing depends on them (see the module above). A byte is changed by a
//! load and a store of its node, so of two racing changes to one node one may be lost.

use wide::{i8x16, u8x16, u64x2};

use crate::sync::{AtomicUsize, Ordering, load_hint};

/// Bytes of a node in use. Two in small models, so that a few words fill several nodes.
pub(super) const NODE_BYTES: usize = if cfg!(genpool_small) {
    2
} else {
    size_of::<usize>()
};

/// Nodes of a group: as many as fill a vector. One in small models.
pub(super) const GROUP_NODES: usize = if cfg!(genpool_small) {
    1
} else {
    size_of::<u8x16>() / size_of::<usize>()
};

/// Bytes of a group in use.
pub(super) const GROUP_BYTES: usize = NODE_BYTES * GROUP_NODES;

/// The lowest bit of every byte.
const ONES: usize = usize::MAX / 0xff;

/// The highest bit of every byte.
const TOPS: usize = ONES * 0x80;

/// A node.
#[derive(Debug)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[cfg_attr(genpool_loom, derive(Default))]
#[repr(transparent)]
pub(super) struct Node(AtomicUsize);

/// Nodes that are compared at once.
pub(super) type Group = [Node; GROUP_NODES];

impl Node {
    #[inline(always)]
    fn load(&self) -> usize {
        load_hint(&self.0)
    }

    /// Returns the number that the node holds instead of bytes.
    #[inline(always)]
    pub(super) fn number(&self) -> usize {
        self.load()
    }

    /// Stores a number instead of bytes.
    #[inline(always)]
    pub(super) fn set_number(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Returns the first byte that is at least `n`.
    #[inline(always)]
    pub(super) fn first(&self, n: usize) -> Option<usize> {
        // The top bit of a byte stays set where the byte is not below `n`. No byte borrows from the next.
        let serving = (self.load() | TOPS).wrapping_sub(ONES * n) & TOPS;
        (serving != 0).then(|| serving.trailing_zeros() as usize / 8)
    }

    /// Returns byte `at`.
    #[cfg(all(test, not(genpool_loom)))]
    pub(super) fn get(&self, at: usize) -> usize {
        self.load() >> (at * 8) & 0xff
    }

    /// Returns the highest byte.
    #[inline(always)]
    pub(super) fn highest(&self) -> usize {
        highest_of(u64x2::new([self.load() as u64, 0]))
    }

    /// Sets byte `at`.
    #[inline(always)]
    pub(super) fn set(&self, at: usize, byte: usize) {
        let shift = at as u32 * 8;
        let seen = self.load().rotate_right(shift);
        let now = seen & !0xff | byte;
        self.0.store(now.rotate_left(shift), Ordering::Relaxed);
    }

    /// Raises byte `at` to at least `byte`.
    #[inline(always)]
    pub(super) fn raise(&self, at: usize, byte: usize) {
        let shift = at as u32 * 8;
        let seen = self.load().rotate_right(shift);
        let now = seen & !0xff | byte.max(seen & 0xff);
        self.0.store(now.rotate_left(shift), Ordering::Relaxed);
    }
}

/// Returns the first byte of a group that is at least `n`. No branch depends on which it is, because it would be
/// mispredicted.
#[inline(always)]
pub(super) fn first_in(group: &Group, n: usize) -> Option<usize> {
    let all: i8x16 = bytemuck::cast(vector(group));
    let serving = all.simd_gt(i8x16::splat(n as i8 - 1)).to_bitmask();
    (serving != 0).then(|| serving.trailing_zeros() as usize)
}

/// Returns the highest byte of a group.
#[inline(always)]
pub(super) fn highest_in(group: &Group) -> usize {
    let all: u8x16 = bytemuck::cast(vector(group));
    let [low, high]: [u64; 2] = bytemuck::cast(all);
    let (low, high): (u8x16, u8x16) = (bytemuck::cast([low, 0]), bytemuck::cast([high, 0]));
    highest_of(bytemuck::cast(low.max(high)))
}

#[inline(always)]
fn vector(group: &Group) -> [usize; size_of::<u8x16>() / size_of::<usize>()] {
    let mut vector = [0; _];
    for (copy, node) in vector.iter_mut().zip(group) {
        // `to_le` puts the first byte first, as in a vector.
        *copy = node.load().to_le();
    }
    vector
}

/// Returns the highest of the low eight bytes.
#[inline(always)]
fn highest_of(mut all: u64x2) -> usize {
    // The higher of two halves, again and again, until one byte is left.
    for half in [32_u32, 16, 8] {
        let shifted: u8x16 = bytemuck::cast(all >> half);
        all = bytemuck::cast(shifted.max(bytemuck::cast(all)));
    }
    let [low, _] = all.to_array();
    usize::from(low as u8)
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use core::array;

    use super::*;

    #[test]
    fn nodes_and_groups_are_searched_and_summed_up() {
        for (n, at) in [(1, 0), (16, 3), (64, NODE_BYTES - 1), (64, GROUP_BYTES - 1)] {
            let group: Group = array::from_fn(|_| Node(AtomicUsize::new(ONES * (n - 1))));
            let (node, byte) = (&group[at / NODE_BYTES], at % NODE_BYTES);
            let check = |first: Option<usize>, highest| {
                assert_eq!(first_in(&group, n), first);
                assert_eq!(node.first(n), first.map(|_| byte));
                assert_eq!((highest_in(&group), node.highest()), (highest, highest));
            };
            check(None, n - 1);
            node.set(byte, n);
            check(Some(at), n);
            node.raise(byte, n - 1);
            check(Some(at), n);
            node.set(byte, 0);
            assert_eq!(first_in(&group, n), None);
            node.raise(byte, n);
            check(Some(at), n);
        }
    }
}
