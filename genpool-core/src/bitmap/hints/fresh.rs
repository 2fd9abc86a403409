//! Hints that are made: on the heap, or over borrowed memory whose content is known when the program is compiled.

use super::node::HintNode;
use super::{Hints, Level, NODE_HINTS};
use crate::memory::Table;
#[cfg(feature = "alloc")]
use crate::memory::{NoMemory, Node};
#[cfg(not(genpool_loom))]
use crate::sync::AtomicUsize;
#[cfg(feature = "alloc")]
use crate::sync::Ordering;

impl Hints {
    /// Creates hints for `words` words in borrowed nodes, which are as [`last_node`](Self::last_node) says, and cells.
    #[cfg(not(genpool_loom))]
    pub(in crate::bitmap) const fn of(words: usize, nodes: Table<AtomicUsize>) -> Self {
        let above = None;
        Self {
            nodes,
            words,
            above,
        }
    }

    /// Returns how many nodes the hints of `words` words have.
    pub(in crate::bitmap) const fn nodes(words: usize) -> usize {
        Level::lowest(0, words).end()
    }

    /// Returns where the last node of a level of fresh hints for `words` words is, and the node. Anything may be free, but
    /// slots that stand for no word never serve. All other nodes are zero. None if there is no such level.
    pub(in crate::bitmap) const fn last_node(words: usize, level: usize) -> Option<(usize, usize)> {
        let mut this = Level::lowest(0, words);
        let mut below = 0;
        while below < level {
            this = match this.above() {
                Some(above) => above,
                None => return None,
            };
            below += 1;
        }
        let Some(before) = this.nodes().checked_sub(1) else {
            return None;
        };
        let node = HintNode::open(this.slots - before * NODE_HINTS);
        Some((this.start + before, node.0))
    }

    /// Creates hints that say "anything may be free", for `words` words, at least one. Reserves so many zeroed cells.
    #[cfg(feature = "alloc")]
    pub(in crate::bitmap) fn new(
        words: usize,
        reserved: usize,
        numa: Option<Node>,
    ) -> Result<Self, NoMemory> {
        let hints = Self {
            nodes: Table::zeroed(Self::nodes(words) + reserved, numa)?,
            words,
            above: None,
        };
        for (last, node) in (0..).map_while(|level| Self::last_node(words, level)) {
            // Relaxed: no other thread has seen the hints yet.
            hints.nodes[last].store(node, Ordering::Relaxed);
        }
        Ok(hints)
    }

    /// Creates hints that say "nothing is free", for `words` words, at least one.
    #[cfg(feature = "alloc")]
    pub(crate) fn closed(words: usize) -> Result<Self, NoMemory> {
        let hints = Self::new(words, 0, None)?;
        for node in &*hints.nodes {
            // Relaxed: as in `new`.
            node.store(HintNode::CLOSED.0, Ordering::Relaxed);
        }
        Ok(hints)
    }
}
