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
    /// Creates hints for `words` words in borrowed nodes, which are as [`fresh_node`](Self::fresh_node) says, and cells.
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

    /// Returns node `at` of fresh hints for `words` words: anything may be free. Slots that stand for no word never
    /// serve. A node past the last is zero, as the cells that are reserved are.
    pub(in crate::bitmap) const fn fresh_node(words: usize, at: usize) -> usize {
        let mut level = Some(Level::lowest(0, words));
        while let Some(this) = level {
            if at < this.start + this.nodes() {
                let before = (at - this.start) * NODE_HINTS;
                return HintNode::open(this.slots - before).0;
            }
            level = this.above();
        }
        0
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
        // All others are zero.
        for last in Level::lowest(0, words)
            .upwards()
            .map(|level| level.start + level.nodes() - 1)
        {
            // Relaxed: no other thread has seen the hints yet.
            hints.nodes[last].store(Self::fresh_node(words, last), Ordering::Relaxed);
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
