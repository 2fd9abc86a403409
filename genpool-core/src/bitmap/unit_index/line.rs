//! Nodes and lines of run lengths: a byte each, compared with a need or with each other all at once.
//!
//! A node packs the bytes of eight places (on 64-bit machines) into one atomic, and eight nodes are a line. Nodes are
//! loaded and stored `Relaxed`, because nothing depends on them (see the module above). A byte is changed by a load and
//! a store of its node, so of two racing changes to one node one may be lost.

use wide::{i8x16, u8x16};

use crate::sync::{AtomicUsize, Ordering};

/// Bytes of a node in use. Two in small models, so that a few words fill several nodes.
pub(super) const NODE_BYTES: usize = if cfg!(genpool_small) {
    2
} else {
    size_of::<usize>()
};

/// Nodes of a line: a cache line on 64-bit machines. One in small models.
pub(super) const LINE_NODES: usize = if cfg!(genpool_small) { 1 } else { 8 };

/// Bytes of a line in use.
pub(super) const LINE_BYTES: usize = NODE_BYTES * LINE_NODES;

/// The nodes of a line.
pub(super) type Line = [AtomicUsize; LINE_NODES];

/// The lowest bit of every byte.
const ONES: usize = usize::MAX / 0xff;

/// The highest bit of every byte.
const TOPS: usize = ONES * 0x80;

/// Nodes that are compared together, as one vector.
const GROUP: usize = size_of::<u8x16>() / size_of::<usize>();

/// Returns the first byte of a node that is at least `n`.
#[inline(always)]
pub(super) fn first_in_node(node: &AtomicUsize, n: usize) -> Option<usize> {
    // The top bit of a byte stays set where the byte is not below `n`. No byte borrows from the next.
    let serving = (node.load(Ordering::Relaxed) | TOPS).wrapping_sub(ONES * n) & TOPS;
    (serving != 0).then(|| serving.trailing_zeros() as usize / 8)
}

/// Returns the first byte of a line that is at least `n`. No branch depends on which it is, because it would be
/// mispredicted.
#[inline(always)]
pub(super) fn first_in_line(line: &Line, n: usize) -> Option<usize> {
    let limit = i8x16::splat(n as i8 - 1);
    let serving = fold(line, 0, |all, at, group| {
        let above: i8x16 = bytemuck::cast::<_, i8x16>(group).simd_gt(limit);
        all | (above.to_bitmask() as u64) << (at * size_of::<u8x16>())
    });
    (serving != 0).then(|| serving.trailing_zeros() as usize)
}

/// Returns the highest byte of a node.
#[inline(always)]
pub(super) fn highest_in_node(node: &AtomicUsize) -> usize {
    highest_of([node.load(Ordering::Relaxed) as u64, 0])
}

/// Returns the highest byte of a line.
#[inline(always)]
pub(super) fn highest_in_line(line: &Line) -> usize {
    let all = fold(line, u8x16::splat(0), |all, _, group| all.max(group));
    let [low, high]: [u64; 2] = bytemuck::cast(all);
    highest_of(bytemuck::cast(
        bytemuck::cast::<_, u8x16>([low, 0]).max(bytemuck::cast([high, 0])),
    ))
}

/// Returns the highest of the low eight bytes.
#[inline(always)]
fn highest_of([mut all, _]: [u64; 2]) -> usize {
    // The highest of two halves, again and again, until one byte is left.
    for half in [32, 16, 8] {
        let halves = bytemuck::cast::<_, u8x16>([all, 0]).max(bytemuck::cast([all >> half, 0]));
        [all, _] = bytemuck::cast(halves);
    }
    usize::from(all as u8)
}

/// Folds over the nodes of a line, a vector at a time.
#[inline(always)]
fn fold<T>(line: &Line, start: T, step: impl Fn(T, usize, u8x16) -> T) -> T {
    let mut all = start;
    for (at, group) in line.chunks(GROUP).enumerate() {
        let mut nodes = [0; GROUP];
        for (copy, node) in nodes.iter_mut().zip(group) {
            // `to_le` puts the first byte first, as in a vector.
            *copy = node.load(Ordering::Relaxed).to_le();
        }
        all = step(all, at, bytemuck::cast(nodes));
    }
    all
}

/// Sets a byte of a node.
#[inline(always)]
pub(super) fn set(node: &AtomicUsize, at: usize, byte: usize) {
    let seen = node.load(Ordering::Relaxed);
    let shift = at * 8;
    node.store(seen & !(0xff << shift) | byte << shift, Ordering::Relaxed);
}

/// Raises a byte of a node to at least `byte`. Returns true if it was lower.
#[inline(always)]
pub(super) fn raise(node: &AtomicUsize, at: usize, byte: usize) -> bool {
    let seen = node.load(Ordering::Relaxed);
    let shift = at * 8;
    let more = byte.saturating_sub(seen >> shift & 0xff);
    node.store(seen + (more << shift), Ordering::Relaxed);
    more > 0
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use core::array;

    use super::*;

    #[test]
    fn nodes_and_lines_are_searched_and_summed_up() {
        for (n, at) in [(1, 0), (16, 3), (64, 7), (64, LINE_BYTES - 1), (17, 40 % LINE_BYTES)] {
            let line: Line = array::from_fn(|_| AtomicUsize::new(ONES * (n - 1)));
            let node = &line[at / NODE_BYTES];
            assert_eq!(first_in_line(&line, n), None);
            assert_eq!(first_in_node(node, n), None);
            assert_eq!((highest_in_line(&line), highest_in_node(node)), (n - 1, n - 1));
            set(node, at % NODE_BYTES, n);
            assert_eq!(first_in_line(&line, n), Some(at));
            assert_eq!(first_in_node(node, n), Some(at % NODE_BYTES));
            assert_eq!((highest_in_line(&line), highest_in_node(node)), (n, n));
            assert!(!raise(node, at % NODE_BYTES, n - 1));
            assert_eq!(highest_in_line(&line), n);
            set(node, at % NODE_BYTES, 0);
            assert_eq!(first_in_line(&line, n), None);
            assert!(raise(node, at % NODE_BYTES, n));
            assert_eq!(first_in_line(&line, n), Some(at));
        }
    }
}
