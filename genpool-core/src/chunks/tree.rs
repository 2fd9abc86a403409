//! Sorted chunks, in versions that share what they have in common: a B-tree that is copied on write.
//!
//! A clone of a tree shares all of its nodes. A change copies the nodes on the way to the place that it changes, unless
//! this tree alone has them. So a clone takes constant time, and a change takes logarithmic time and memory. Both the
//! list of chunks that readers have and the next one that a change makes are such clones.
//!
//! A full node is split in half, unless it grew at one of its ends, where chunks that come in order are put. Then the
//! new item alone goes to a node of its own, so that the nodes of such chunks stay full. A node that has become nearly
//! empty is merged with a neighbour if both are far from full.

use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::slice;

use crate::sync::Arc;
use alloc::vec::Vec;

use crate::chunk::Chunk;
use crate::memory::{NoMemory, reserve_exact};

/// The most items of a node. A pool with no more chunks has them all in one (2026-11).
const MOST: usize = if cfg!(genpool_small) { 4 } else { 16 };

/// A node with no more items is merged with a neighbour.
const FEW: usize = MOST / 4;

/// The most items of a node that two others are merged to.
const MERGED: usize = MOST * 3 / 4;

/// What chunks are sorted by. No two chunks of a tree have the same key.
pub(super) trait SortBy {
    fn key(chunk: &Chunk) -> u64;
}

/// The newest chunk comes first.
pub(super) struct ByAge;

impl SortBy for ByAge {
    fn key(chunk: &Chunk) -> u64 {
        !chunk.number()
    }
}

/// The lowest address comes first.
pub(super) struct ByStart;

impl SortBy for ByStart {
    fn key(chunk: &Chunk) -> u64 {
        chunk.start() as u64
    }
}

/// Chunks sorted by `S`: see the module's text.
///
/// A change that fails for lack of memory leaves a tree that is only good to be dropped.
pub(super) struct Tree<S> {
    /// None if there are no chunks.
    root: Option<Arc<Node>>,
    len: usize,
    by: PhantomData<fn() -> S>,
}

/// # Invariants
///
/// A node has at least one item. All leaves of a tree are at the same depth.
enum Node {
    Leaf(Vec<Arc<Chunk>>),
    Inner(Vec<Child>),
}

#[derive(Clone)]
struct Child {
    /// The least key of its chunks.
    least: u64,
    node: Arc<Node>,
}

/// Returns a list of copies of `items`, with room for `more`.
fn copy_of<T: Clone>(items: &[T], more: usize) -> Result<Vec<T>, NoMemory> {
    let mut copy = Vec::new();
    reserve_exact(&mut copy, items.len() + more)?;
    copy.extend_from_slice(items);
    Ok(copy)
}

/// Appends copies of `more` to `items`.
fn append<T: Clone>(items: &mut Vec<T>, more: &[T]) -> Result<(), NoMemory> {
    reserve_exact(items, more.len())?;
    items.extend_from_slice(more);
    Ok(())
}

/// Inserts an item. If there are too many then, returns the second part of them, to be put into another node. Items that
/// come in order leave full nodes: `is_first` says that the next are likely to come before all that are there.
fn insert<T: Clone>(
    items: &mut Vec<T>,
    at: usize,
    item: T,
    is_first: bool,
) -> Result<Option<Vec<T>>, NoMemory> {
    reserve_exact(items, 1)?;
    items.insert(at, item);
    let len = items.len();
    if len <= MOST {
        return Ok(None);
    }
    let from = if is_first {
        1
    } else if at + 1 == len {
        at
    } else {
        len / 2
    };
    let rest = copy_of(&items[from..], 0)?;
    items.truncate(from);
    Ok(Some(rest))
}

/// Returns the place of the child that has the key, if any has.
fn child_for(children: &[Child], key: u64) -> usize {
    let after = children.partition_point(|child| child.least <= key);
    after.saturating_sub(1)
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(chunks) => chunks.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn least<S: SortBy>(&self) -> u64 {
        let least = match self {
            Self::Leaf(chunks) => chunks.first().map(|chunk| S::key(chunk)),
            Self::Inner(children) => children.first().map(|child| child.least),
        };
        least.unwrap_or(0)
    }

    /// Returns the node to be changed: it is copied if other trees have it.
    fn own(node: &mut Arc<Self>) -> Result<&mut Self, NoMemory> {
        if Arc::get_mut(node).is_none() {
            *node = Arc::new(match &**node {
                Self::Leaf(chunks) => Self::Leaf(copy_of(chunks, 1)?),
                Self::Inner(children) => Self::Inner(copy_of(children, 1)?),
            });
        }
        // It is there: no other tree has the node now.
        let bytes = size_of::<Self>();
        Arc::get_mut(node).ok_or(NoMemory { bytes })
    }

    /// Inserts a chunk. Returns the node that comes after this one if it was split.
    fn insert<S: SortBy>(
        node: &mut Arc<Self>,
        chunk: &Arc<Chunk>,
    ) -> Result<Option<Child>, NoMemory> {
        let key = S::key(chunk);
        let rest = match Self::own(node)? {
            Self::Leaf(chunks) => {
                let at = chunks.partition_point(|other| S::key(other) < key);
                insert(chunks, at, Arc::clone(chunk), at == 0)?.map(Self::Leaf)
            }
            Self::Inner(children) => {
                let at = child_for(children, key);
                let child = &mut children[at];
                child.least = child.least.min(key);
                match Self::insert::<S>(&mut child.node, chunk)? {
                    Some(more) => {
                        let is_first = at == 0 && children[0].node.len() == 1;
                        insert(children, at + 1, more, is_first)?.map(Self::Inner)
                    }
                    None => None,
                }
            }
        };
        Ok(rest.map(Child::new::<S>))
    }

    /// Removes the chunk that has the key, and that is there.
    fn remove<S: SortBy>(node: &mut Arc<Self>, key: u64) -> Result<(), NoMemory> {
        match Self::own(node)? {
            Self::Leaf(chunks) => chunks.retain(|chunk| S::key(chunk) != key),
            Self::Inner(children) => {
                let at = child_for(children, key);
                Self::remove::<S>(&mut children[at].node, key)?;
                Self::tidy::<S>(children, at)?;
            }
        }
        Ok(())
    }

    /// Removes the child that lost an item if it has none left. Merges it with a neighbour if it has few.
    fn tidy<S: SortBy>(children: &mut Vec<Child>, at: usize) -> Result<(), NoMemory> {
        let len = children[at].node.len();
        if len == 0 {
            children.remove(at);
            return Ok(());
        }
        children[at].least = children[at].node.least::<S>();
        if len > FEW {
            return Ok(());
        }
        for left in [at.wrapping_sub(1), at] {
            let pair = left.checked_add(2).and_then(|end| children.get(left..end));
            if pair.is_some_and(|pair| pair[0].node.len() + pair[1].node.len() <= MERGED) {
                let right = children.remove(left + 1);
                return match (Self::own(&mut children[left].node)?, &*right.node) {
                    (Self::Leaf(chunks), Self::Leaf(more)) => append(chunks, more),
                    (Self::Inner(children), Self::Inner(more)) => append(children, more),
                    // They are at the same depth.
                    _ => Ok(()),
                };
            }
        }
        Ok(())
    }

    fn footprint(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Leaf(chunks) => chunks.capacity() * size_of::<Arc<Chunk>>(),
                Self::Inner(children) => {
                    let nodes = children.iter().map(|child| child.node.footprint());
                    children.capacity() * size_of::<Child>() + nodes.sum::<usize>()
                }
            }
    }
}

impl Child {
    fn new<S: SortBy>(node: Node) -> Self {
        Self {
            least: node.least::<S>(),
            node: Arc::new(node),
        }
    }
}

impl<S: SortBy> Tree<S> {
    pub(super) fn new() -> Self {
        Self {
            root: None,
            len: 0,
            by: PhantomData,
        }
    }

    /// Returns the number of chunks.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the chunks of the leaf in which the key belongs, and the first key of the next leaf.
    fn leaf_for(&self, key: u64) -> (&[Arc<Chunk>], Option<u64>) {
        let Some(mut node) = self.root.as_deref() else {
            return (&[], None);
        };
        let mut next = None;
        loop {
            match node {
                Node::Leaf(chunks) => return (chunks, next),
                Node::Inner(children) => {
                    let at = child_for(children, key);
                    let after = children.get(at + 1).map(|child| child.least);
                    next = after.or(next);
                    node = &children[at].node;
                }
            }
        }
    }

    /// Returns the last chunk whose key is at most this one.
    pub(super) fn at_or_before(&self, key: u64) -> Option<&Arc<Chunk>> {
        let (chunks, _) = self.leaf_for(key);
        let after = chunks.partition_point(|chunk| S::key(chunk) <= key);
        chunks[..after].last()
    }

    /// Returns true if this chunk is there.
    pub(super) fn has(&self, chunk: &Chunk) -> bool {
        let found = self.at_or_before(S::key(chunk));
        found.is_some_and(|found| core::ptr::eq(&**found, chunk))
    }

    /// Returns the chunks in order.
    pub(super) fn iter(&self) -> Iter<'_, S> {
        self.iter_from(0)
    }

    /// Returns the chunks in order, without those whose key is less than this one.
    pub(super) fn iter_from(&self, key: u64) -> Iter<'_, S> {
        let (chunks, next) = self.leaf_for(key);
        let from = chunks.partition_point(|chunk| S::key(chunk) < key);
        Iter {
            tree: self,
            chunks: chunks[from..].iter(),
            next,
        }
    }

    /// Inserts a chunk whose key no other has.
    pub(super) fn insert(&mut self, chunk: &Arc<Chunk>) -> Result<(), NoMemory> {
        self.len += 1;
        let Some(root) = &mut self.root else {
            let chunks = copy_of(slice::from_ref(chunk), 0)?;
            self.root = Some(Arc::new(Node::Leaf(chunks)));
            return Ok(());
        };
        if let Some(second) = Node::insert::<S>(root, chunk)? {
            let first = Child {
                least: root.least::<S>(),
                node: Arc::clone(root),
            };
            let children = copy_of(&[first, second], 0)?;
            *root = Arc::new(Node::Inner(children));
        }
        Ok(())
    }

    /// Removes a chunk. Returns true if it was there.
    pub(super) fn remove(&mut self, chunk: &Chunk) -> Result<bool, NoMemory> {
        if !self.has(chunk) {
            return Ok(false);
        }
        self.len -= 1;
        if let Some(root) = &mut self.root {
            Node::remove::<S>(root, S::key(chunk))?;
        }
        // The root needs no node above it that has no other child.
        while let Some(root) = &self.root {
            self.root = match &**root {
                Node::Inner(children) if children.len() == 1 => Some(Arc::clone(&children[0].node)),
                node if node.len() == 0 => None,
                _ => break,
            };
        }
        Ok(true)
    }

    /// Returns the bytes on the heap, without those of the chunks.
    pub(super) fn footprint(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.footprint())
    }
}

impl<S> Clone for Tree<S> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            len: self.len,
            by: PhantomData,
        }
    }
}

/// An iterator over the chunks of a tree, in order.
pub(super) struct Iter<'t, S> {
    tree: &'t Tree<S>,
    /// What is left of the current leaf.
    chunks: slice::Iter<'t, Arc<Chunk>>,
    /// The first key of the next leaf.
    next: Option<u64>,
}

impl<S> Clone for Iter<'_, S> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            ..*self
        }
    }
}

impl<'t, S: SortBy> Iterator for Iter<'t, S> {
    type Item = &'t Arc<Chunk>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(chunk) = self.chunks.next() {
                return Some(chunk);
            }
            // Found from the root, so that an iterator needs no stack.
            let (chunks, next) = self.tree.leaf_for(self.next?);
            (self.chunks, self.next) = (chunks.iter(), next);
        }
    }
}

impl<S: SortBy> FusedIterator for Iter<'_, S> {}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::chunk::ChunkSpec;

    fn chunk(number: u64, start: usize) -> Arc<Chunk> {
        let spec = ChunkSpec::new(start, 1);
        Arc::new(Chunk::new(&spec, 0, number, false, false, None).unwrap())
    }

    /// Checks the nodes of a subtree, and returns the depth of its leaves.
    fn check_node<S: SortBy>(node: &Node, least: u64, depth: usize) -> usize {
        assert_eq!(node.least::<S>(), least);
        assert!((1..=MOST).contains(&node.len()));
        match node {
            Node::Leaf(_) => depth,
            Node::Inner(children) => {
                assert!(children.is_sorted_by(|one, other| one.least < other.least));
                let below = children.iter();
                let mut depths =
                    below.map(|child| check_node::<S>(&child.node, child.least, depth + 1));
                let first = depths.next().unwrap();
                assert!(depths.all(|depth| depth == first));
                first
            }
        }
    }

    /// Checks that a tree has exactly these chunks.
    fn check<S: SortBy>(tree: &Tree<S>, model: &BTreeMap<u64, Arc<Chunk>>) {
        let depth = tree
            .root
            .as_ref()
            .map(|root| check_node::<S>(root, root.least::<S>(), 0));
        assert!(depth.unwrap_or(0) <= 20);
        assert_eq!(
            (tree.len(), tree.root.is_none()),
            (model.len(), model.is_empty())
        );
        assert!(
            tree.iter()
                .map(Arc::as_ptr)
                .eq(model.values().map(Arc::as_ptr))
        );
    }

    /// Inserts chunks with these keys, or removes them if they are there. Each version stays as it was.
    fn churn<S: SortBy>(keys: &[u64], chunk_at: impl Fn(u64) -> Arc<Chunk>) {
        let mut versions = Vec::new();
        let (mut tree, mut model) = (Tree::<S>::new(), BTreeMap::<u64, Arc<Chunk>>::new());
        for (step, &at) in keys.iter().enumerate() {
            let chunk = chunk_at(at);
            let key = S::key(&chunk);
            if let Some(there) = model.remove(&key) {
                assert!(!tree.remove(&chunk).unwrap(), "another chunk with its key");
                assert!(tree.remove(&there).unwrap());
            } else {
                tree.insert(&chunk).unwrap();
                model.insert(key, chunk);
            }
            if step % 16 == 0 {
                versions.push((tree.clone(), model.clone()));
            }
            let from = |key| tree.iter_from(key).next().map(|chunk| S::key(chunk));
            assert_eq!(from(key), model.range(key..).next().map(|(&key, _)| key));
            let until = tree.at_or_before(key).map(|chunk| S::key(chunk));
            assert_eq!(until, model.range(..=key).next_back().map(|(&key, _)| key));
        }
        versions.push((tree, model));
        for (tree, model) in &versions {
            check(tree, model);
        }
    }

    const MOST_STEPS: usize = if cfg!(miri) { 60 } else { 1500 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 24 }))]

        #[test]
        fn a_tree_is_a_sorted_map_in_versions(keys in prop::collection::vec(0_u64..600, 0..MOST_STEPS)) {
            churn::<ByAge>(&keys, |at| chunk(at, 0));
            churn::<ByStart>(&keys, |at| chunk(0, at as usize));
        }
    }

    #[test]
    fn a_tree_that_grows_at_an_end_and_shrinks_is_whole() {
        let count = if cfg!(miri) { 40 } else { 500 };
        let up: Vec<u64> = (0..count).collect();
        let down: Vec<u64> = up.iter().rev().copied().collect();
        for (grow, shrink) in [(&up, &up), (&up, &down), (&down, &up), (&down, &down)] {
            let keys: Vec<u64> = grow.iter().chain(shrink).chain(grow).copied().collect();
            churn::<ByStart>(&keys, |at| chunk(0, at as usize));
        }
    }

    /// Returns the number of nodes of `tree` that `other` does not have.
    fn copied<S>(tree: &Tree<S>, other: &Tree<S>) -> usize {
        fn nodes(node: &Arc<Node>, all: &mut Vec<*const Node>) {
            all.push(Arc::as_ptr(node));
            if let Node::Inner(children) = &**node {
                children.iter().for_each(|child| nodes(&child.node, all));
            }
        }
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        tree.root.iter().for_each(|root| nodes(root, &mut ours));
        other.root.iter().for_each(|root| nodes(root, &mut others));
        others.sort_unstable();
        let is_new = |node: &&*const Node| others.binary_search(node).is_err();
        ours.iter().filter(is_new).count()
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn a_change_copies_few_nodes() {
        const COUNT: usize = 20_000;
        // 7919 is coprime to the count.
        // In the last order, all but the first come into a gap after it.
        let places: [fn(usize) -> usize; 4] = [
            |at| at,
            |at| COUNT - at,
            |at| at * 7919 % COUNT,
            |at| match at {
                0 => 0,
                1..20 => 2 * COUNT + at,
                _ => at,
            },
        ];
        for place in places {
            let mut tree = Tree::<ByStart>::new();
            let chunks: Vec<_> = (0..COUNT).map(|at| chunk(0, place(at))).collect();
            let mut most = 0;
            for chunk in &chunks {
                let before = tree.clone();
                tree.insert(chunk).unwrap();
                if tree.len().is_multiple_of(100) {
                    most = most.max(copied(&tree, &before));
                }
            }
            // One of each depth, and one more where a node was split.
            assert!(most <= 10, "{most}");
            // Nodes are at least half full, and those of chunks that came in order are full.
            let least = COUNT * size_of::<Arc<Chunk>>();
            assert!((least..4 * least).contains(&tree.footprint()));
            for chunk in &chunks {
                let before = tree.clone();
                assert!(tree.remove(chunk).unwrap());
                if tree.len().is_multiple_of(100) {
                    most = most.max(copied(&tree, &before));
                }
            }
            assert!(most <= 10 && tree.root.is_none(), "{most}");
            assert_eq!(tree.footprint(), 0);
        }
    }
}
