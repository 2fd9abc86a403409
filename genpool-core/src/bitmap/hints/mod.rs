//! Hints: an upper bound on the free runs that begin in each word.
//!
//! # What a hint is
//!
//! The *run of a word* is the longest run of free granules whose first granule lies in the word. It goes on as far
//! as granules are free, into the next words too. The *hint* of the word is an upper bound on the length of that
//! run. It is a byte: a length of up to a word, or [`LONG`], which stands for every longer run. A search for `n`
//! granules skips a word whose hint is below `n`, or below [`LONG`] where `n` is greater.
//!
//! A run counts where it begins and is followed over word borders. So a claim never has to change a hint: whatever
//! it leaves of a run begins in a word whose run was no shorter. A free has to raise at most the hints of its own
//! words and that of the word before.
//!
//! # Nodes, lines and levels
//!
//! A *node* packs the hints of eight words (on 64-bit machines) into one atomic. It is compared with a need in four
//! instructions. Eight nodes are a *line*. A search looks at a line as a whole and gathers the words that may serve
//! in one bit mask, so no branch on the way is hard to predict. A byte of the level above holds the highest hint of
//! a line, and so on up to a single line. A search goes from the top down to the first word that may serve.
//!
//! A byte is stored as a deficit (`node.rs`), so zeroed memory holds the hints of a fresh bitmap, and adding a huge
//! chunk touches almost no memory.
//!
//! The top line may have a parent: a slot of other hints. Those of a pool's permanent chunks have theirs in the
//! free summary (`chunks/free_summary.rs`), which is one level more.
//!
//! # What may be stale, and why that is harmless
//!
//! A hint that is too high costs a look. Claims may leave it so; a look in vain lowers it.
//!
//! A hint that is too low hides a free run. At rest no hint is too low. While other threads work there may be one
//! for a moment: until the free that should raise it has done so, or until the search that lowered it too far has
//! looked again. What is hidden is not lost, because a caller looks at every word without the hints before it is
//! refused (see `activity`).
//!
//! # Lower, look again, raise
//!
//! A free clears bits, then raises the hint if it is too low. A search that looked in vain lowers the hint, then
//! looks at the bits again, and raises the hint to what it sees. So either the second look sees the bits of the
//! free, or the free sees the lowered hint.
//!
//! The levels follow the same protocol. A thread that raises a byte then raises the byte above. A thread that
//! lowered the highest hint of a line, or found every hint of a line below the byte above, lowers that byte, then
//! looks at the line again. Without the second look a freed run stays hidden (models: `free vs search`,
//! `free vs two levels`).
//!
//! A claim shortens a run, so first fit lowers at once what the next search would find too high. It lowers the hint and
//! the byte above by what its search saw ([`Sighting`]), one after the other, and looks again only then. Both exchanges
//! fail if the node has changed since, and each second look comes after its exchange. So what was seen may be old
//! (models: `free vs claim in its line`, `free vs two claims`).
//!
//! A bound that searches lower and frees raise can also be lowered with a ticket and a version in a word of its
//! own. That takes two compare-exchanges, and room for both in every bound. Lowering first takes one
//! compare-exchange, and a byte is enough. The price is that a hint may hide, between the two steps, a run whose
//! free has already returned. No caller is refused because of it, since the look that proves a failure reads every
//! word. A search may take a later run in that moment. The models check that no hint is too low at rest.
//!
//! # Orderings
//!
//! "Bits cleared, now the hint" against "hint lowered, now the bits" is store-to-load order, so the accesses on
//! both sides are `SeqCst`, or have a `SeqCst` fence between them.

mod fresh;
mod node;
#[cfg(all(test, not(genpool_loom)))]
mod tests;
#[cfg(any(
    test,
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
))]
mod vectors;
#[cfg(any(
    all(test, not(genpool_loom)),
    not(any(
        target_feature = "sse2",
        target_feature = "neon",
        target_feature = "simd128"
    ))
))]
mod words;

use core::ops::Range;

pub(crate) use self::node::Need;
pub(super) use self::node::{FIRST_HINTS, LINE_HINTS, LONG, NODE_HINTS};
use self::node::{HintNode, LINE_NODES};
#[cfg(any(
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
))]
use self::vectors::SeenLine;
#[cfg(not(any(
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
)))]
use self::words::SeenLine;
use super::levels;
use crate::memory::{Arc, Table};
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};
use crate::units::WordIndex;

/// The hints of a bitmap, or of other numbered places for runs. The places are called words either way.
#[derive(Debug)]
pub(crate) struct Hints {
    /// Level by level, the lowest first. Then cells that are reserved for the owner of the hints.
    nodes: Table<AtomicUsize>,
    words: usize,
    above: Option<ParentSlot>,
}

/// The slot of other hints that stands for the top line of these.
#[derive(Debug)]
pub(crate) struct ParentSlot {
    pub(crate) hints: Arc<Hints>,
    pub(crate) slot: WordIndex,
}

/// What a search saw of the hint of a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) word: WordIndex,
    /// The node of the hint.
    node: HintNode,
    /// The highest of the other hints of the line.
    highest_other: usize,
    /// The node of the byte above the line. Closed if there is none.
    above: HintNode,
}

impl Sighting {
    /// Returns the hint.
    #[inline(always)]
    pub(super) fn hint(&self) -> usize {
        self.node.hint(self.word.0 % NODE_HINTS)
    }
}

/// A slot of the lowest level stands for a word.
type Level = levels::Level<NODE_HINTS, LINE_HINTS, LINE_HINTS>;

impl Hints {
    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.nodes)
    }

    /// Returns the reserved cells.
    #[inline]
    pub(super) fn reserved(&self) -> Option<&[AtomicUsize]> {
        let top = self.lowest().upwards().last()?;
        let start = top.start + top.nodes();
        self.nodes.get(start..)
    }

    #[inline]
    fn lowest(&self) -> Level {
        Level::lowest(0, self.words)
    }

    #[inline]
    fn load(&self, level: Level, node: usize) -> HintNode {
        // SeqCst: in a free, this comes after the bits were cleared (pairs with the exchange in `try_lower`).
        HintNode(self.nodes[level.start + node].load(Ordering::SeqCst))
    }

    fn exchange(
        &self,
        level: Level,
        node: usize,
        old: HintNode,
        new: HintNode,
    ) -> Result<(), HintNode> {
        // SeqCst: a lowered hint precedes the second look (pairs with `load` in a free). Relaxed where another
        // change came first: what is read is no older than what `load` read before.
        self.nodes[level.start + node]
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Relaxed)
            .map(drop)
            .map_err(HintNode)
    }

    #[inline]
    fn hint(&self, level: Level, slot: usize) -> usize {
        self.load(level, slot / NODE_HINTS).hint(slot % NODE_HINTS)
    }

    /// Prefetches the hint of a word. The caller is about to wait for the word itself.
    #[inline(always)]
    pub(super) fn fetch(&self, word: WordIndex) {
        // Relaxed: the hint is read again when it is used.
        self.nodes[word.0 / NODE_HINTS].load(Ordering::Relaxed);
    }

    /// Returns the hint of a word.
    #[inline]
    pub(super) fn get(&self, word: WordIndex) -> usize {
        self.hint(self.lowest(), word.0)
    }

    /// Returns the nodes of a line, as an array if there are all of them and a line takes one. A slice may go on after
    /// the line.
    #[inline(always)]
    fn nodes_of(
        &self,
        level: Level,
        line: usize,
    ) -> Result<&[AtomicUsize; LINE_NODES], &[AtomicUsize]> {
        let nodes = &self.nodes[level.start + line * LINE_NODES..];
        match nodes.first_chunk() {
            Some(whole) if SeenLine::TAKES_ARRAYS && (line + 1) * LINE_HINTS <= level.slots => {
                Ok(whole)
            }
            _ => Err(&nodes[..level.nodes() - line * LINE_NODES]),
        }
    }

    /// Looks at the hints of a line.
    #[inline(always)]
    fn line(&self, level: Level, line: usize) -> SeenLine {
        match self.nodes_of(level, line) {
            Ok(nodes) => SeenLine::look(nodes),
            Err(nodes) => SeenLine::look_at_few(nodes),
        }
    }

    /// Returns a bit for each slot of a line that may serve.
    #[inline(always)]
    fn serving(&self, level: Level, line: usize, need: Need) -> usize {
        match self.nodes_of(level, line) {
            Ok(nodes) => SeenLine::look(nodes).serving(need),
            Err(nodes) => SeenLine::serving_of_few(nodes, need),
        }
    }

    // ---- search ----

    /// Returns the first word that may serve, if it is among the first [`FIRST_HINTS`], and its hint.
    #[inline(always)]
    pub(super) fn in_first_nodes(&self, need: Need) -> Option<(WordIndex, usize)> {
        // A single node has nothing after it: no level above, and no cells that are reserved.
        let look = |at: usize| {
            // Relaxed: a proposal; the claim decides.
            let node = HintNode(self.nodes.get(at)?.load(Ordering::Relaxed));
            let slot = node.first(0, need)?;
            Some((WordIndex(at * NODE_HINTS + slot), node.hint(slot)))
        };
        look(0).or_else(|| look(1))
    }

    /// Returns the first word from `word` on that may serve.
    #[inline(always)]
    pub(crate) fn next(&self, word: WordIndex, need: Need) -> Option<WordIndex> {
        let word = word.0;
        if word == 0 {
            return self.first(need);
        }
        if word >= self.words {
            return None;
        }
        let node = word / NODE_HINTS;
        let near = self.load(self.lowest(), node);
        let found = match near.first(word % NODE_HINTS, need) {
            Some(slot) => Some(node * NODE_HINTS + slot),
            None => self.next_in(self.lowest(), (node + 1) * NODE_HINTS, need),
        };
        found.map(WordIndex)
    }

    /// Returns the first word that may serve.
    #[inline]
    pub(super) fn first(&self, need: Need) -> Option<WordIndex> {
        self.descend(need).map(|(word, _)| word)
    }

    /// Returns the first word that may serve, with what was seen of its hint.
    #[inline(always)]
    pub(super) fn sight(&self, need: Need) -> Option<Sighting> {
        let (word, seen) = self.descend(need)?;
        Some(self.sighting(word, seen))
    }

    /// Returns the first word that may serve, and its line. Looks at one line of each level, from the top down. Most
    /// bitmaps have two levels.
    #[inline(always)]
    fn descend(&self, need: Need) -> Option<(WordIndex, SeenLine)> {
        let lowest = self.lowest();
        let above = lowest.above();
        loop {
            let line = match above {
                None => 0,
                Some(above) if above.above().is_none() => {
                    let serving = self.serving(above, 0, need);
                    (serving != 0).then(|| serving.trailing_zeros() as usize)?
                }
                Some(above) => self.first_in(above, need)?,
            };
            let seen = self.line(lowest, line);
            let serving = seen.serving(need);
            if serving != 0 {
                let slot = serving.trailing_zeros() as usize;
                return Some((WordIndex(line * LINE_HINTS + slot), seen));
            }
            // The byte above, if there is one, promised more than the line holds.
            above?;
            self.lower_line(lowest, line);
        }
    }

    /// Looks at the hint of a word again.
    #[inline(always)]
    pub(super) fn sight_again(&self, word: WordIndex) -> Sighting {
        self.sighting(word, self.line(self.lowest(), word.0 / LINE_HINTS))
    }

    #[inline(always)]
    fn sighting(&self, word: WordIndex, seen: SeenLine) -> Sighting {
        let lowest = self.lowest();
        let above = lowest.above();
        let node_above = above.map(|above| self.load(above, word.0 / LINE_HINTS / NODE_HINTS));
        Sighting {
            word,
            node: self.load(lowest, word.0 / NODE_HINTS),
            highest_other: seen.highest_but(word.0 % LINE_HINTS),
            above: node_above.unwrap_or(HintNode::CLOSED),
        }
    }

    /// Returns the first slot of `level` that may serve.
    #[inline(never)]
    fn first_in(&self, level: Level, need: Need) -> Option<usize> {
        let Some(above) = level.above() else {
            return self.search_line(level, 0, need);
        };
        loop {
            let line = self.first_in(above, need)?;
            let found = self.search_line(level, line * LINE_HINTS, need);
            if found.is_some() {
                return found;
            }
            self.lower_line(level, line);
        }
    }

    /// Returns the first slot of `level` from `slot` on that may serve.
    #[inline(never)]
    fn next_in(&self, level: Level, slot: usize, need: Need) -> Option<usize> {
        let mut line = slot / LINE_HINTS;
        let Some(above) = level.above() else {
            return self.search_line(level, slot, need);
        };
        if !slot.is_multiple_of(LINE_HINTS) {
            let found = self.search_line(level, slot, need);
            if found.is_some() {
                return found;
            }
            line += 1;
        }
        loop {
            line = self.next_in(above, line, need)?;
            let found = self.search_line(level, line * LINE_HINTS, need);
            if found.is_some() {
                return found;
            }
            // The byte above promised more than the line holds.
            self.lower_line(level, line);
            line += 1;
        }
    }

    /// Returns the first slot that may serve, from `slot` to the end of its line.
    #[inline]
    fn search_line(&self, level: Level, slot: usize, need: Need) -> Option<usize> {
        if slot >= level.slots {
            return None;
        }
        let (line, rest) = (slot / LINE_HINTS, slot % LINE_HINTS);
        let found = self.serving(level, line, need);
        let found = found & usize::MAX << rest;
        (found != 0).then(|| slot - rest + found.trailing_zeros() as usize)
    }

    // ---- changes ----

    /// Raises the hint of a word in which a run of length `run` begins. A free calls this after its bits are
    /// cleared.
    #[inline]
    pub(super) fn raise(&self, word: WordIndex, run: usize) {
        self.raise_in(self.lowest(), word.0, run.min(LONG));
    }

    /// Raises the hints of these words to [`LONG`], as [`raise`](Self::raise) does. Looks at a node at a time.
    pub(super) fn raise_to_long(&self, words: Range<usize>) {
        let mut from = words.start;
        while from < words.end {
            let node = from / NODE_HINTS;
            let end = words.end.min((node + 1) * NODE_HINTS);
            let seen = self.load(self.lowest(), node);
            if !seen.are_long(from % NODE_HINTS..end - node * NODE_HINTS) {
                for word in from..end {
                    self.raise(WordIndex(word), LONG);
                }
            }
            from = end;
        }
    }

    /// Lowers the hint of a word to `low`, because the caller saw that no longer run begins there. `again` looks a
    /// second time and returns the length of the longest.
    pub(crate) fn lower(&self, word: WordIndex, low: usize, again: impl Fn() -> usize) {
        self.lower_in(self.lowest(), word.0, low, again);
    }

    /// Raises a hint, and the levels above as far as they are too low. Most bitmaps have two levels.
    #[inline(always)]
    fn raise_in(&self, mut level: Level, mut slot: usize, hint: usize) {
        if !self.raise_one(level, slot, hint) {
            return;
        }
        if let Some(above) = level.above() {
            (level, slot) = (above, slot / LINE_HINTS);
            if !self.raise_one(level, slot, hint) {
                return;
            }
        }
        self.raise_above(level, slot, hint);
    }

    /// Raises a single hint. Returns false if it was high enough; the thread that raised it goes on to the levels above.
    #[inline(always)]
    fn raise_one(&self, level: Level, slot: usize, hint: usize) -> bool {
        let (node, at) = (slot / NODE_HINTS, slot % NODE_HINTS);
        let mut seen = self.load(level, node);
        while seen.hint(at) < hint {
            match self.exchange(level, node, seen, seen.with(at, hint)) {
                Ok(()) => {
                    model_fence();
                    return true;
                }
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Continues [`raise_in`](Self::raise_in) above `level`.
    #[inline(never)]
    fn raise_above(&self, mut level: Level, mut slot: usize, hint: usize) {
        while let Some(above) = level.above() {
            (level, slot) = (above, slot / LINE_HINTS);
            if !self.raise_one(level, slot, hint) {
                return;
            }
        }
        if let Some(above) = &self.above {
            above.hints.raise(above.slot, hint);
        }
    }

    /// Lowers the hint of a word as [`lower`](Self::lower) does, and the byte above, by what was seen of them. If other
    /// threads have changed them since, they stay as they are.
    #[inline(always)]
    pub(super) fn lower_sighted(&self, seen: &Sighting, low: usize, again: impl Fn() -> usize) {
        let (lowest, word) = (self.lowest(), seen.word.0);
        let node = seen.node.with(word % NODE_HINTS, low);
        if self
            .exchange(lowest, word / NODE_HINTS, seen.node, node)
            .is_err()
        {
            return;
        }
        let (line, highest) = (word / LINE_HINTS, low.max(seen.highest_other));
        let lowered = highest < seen.above.hint(line % NODE_HINTS)
            && lowest.above().is_some_and(|above| {
                let node = seen.above.with(line % NODE_HINTS, highest);
                self.exchange(above, line / NODE_HINTS, seen.above, node)
                    .is_ok()
            });
        model_fence();
        if seeded(Fault::NoSecondLook) {
            return;
        }
        let now = again();
        if now > low {
            self.raise_in(lowest, word, now);
        }
        if lowered {
            self.look_again(lowest, line, highest);
        }
    }

    /// Lowers a hint, then the byte above if the hint was the highest of its line. Higher levels are left to looks
    /// in vain.
    #[inline(always)]
    fn lower_in(&self, level: Level, slot: usize, low: usize, again: impl Fn() -> usize) {
        if let Some(was) = self.try_lower(level, slot, low, again)
            && let Some(above) = level.above()
            && self.hint(above, slot / LINE_HINTS) == was
        {
            self.lower_line(level, slot / LINE_HINTS);
        }
    }

    /// Lowers the byte above a line to the highest hint of the line, because the byte promises more.
    #[inline(never)]
    fn lower_line(&self, level: Level, line: usize) {
        if let Some(above) = level.above() {
            let highest = self.line(level, line).highest();
            self.try_lower(above, line, highest, || self.line(level, line).highest());
        }
    }

    /// Raises the byte above a line if the line now holds more than `highest`.
    #[inline(always)]
    fn look_again(&self, level: Level, line: usize, highest: usize) {
        let now = self.line(level, line);
        if let Some(above) = level.above()
            && now.serving(Need::of(highest + 1)) != 0
        {
            self.raise_in(above, line, now.highest());
        }
    }

    /// Tries once to lower a hint, because one that stays too high only costs a look. Returns the former hint if it
    /// is lower now.
    #[inline(always)]
    fn try_lower(
        &self,
        level: Level,
        slot: usize,
        low: usize,
        again: impl Fn() -> usize,
    ) -> Option<usize> {
        let (node, at) = (slot / NODE_HINTS, slot % NODE_HINTS);
        let seen = self.load(level, node);
        let was = seen.hint(at);
        if low >= was
            || self
                .exchange(level, node, seen, seen.with(at, low))
                .is_err()
        {
            return None;
        }
        model_fence();
        if seeded(Fault::NoSecondLook) {
            return None;
        }
        let now = again();
        if now > low {
            self.raise_in(level, slot, now);
            return None;
        }
        Some(was)
    }

    /// Returns the highest hint of all.
    #[cold]
    fn top(&self) -> usize {
        let top = self.lowest().upwards().last();
        top.map_or(0, |level| self.line(level, 0).highest())
    }

    /// Connects the top line to a parent slot, before any other thread sees these hints.
    pub(super) fn set_parent(&mut self, above: ParentSlot) {
        self.above = Some(above);
    }

    /// Raises the parent slot to the highest of these hints.
    pub(crate) fn raise_parent(&self) {
        if let Some(ParentSlot { hints, slot }) = &self.above {
            hints.raise(*slot, self.top());
        }
    }

    /// Lowers the parent slot to the highest of these hints. A search that the slot led here and that found nothing
    /// calls this.
    pub(crate) fn lower_parent(&self) {
        if let Some(ParentSlot { hints, slot }) = &self.above {
            hints.lower(*slot, self.top(), || self.top());
        }
    }

    /// At rest: returns true if each byte is at least the highest of the line below it.
    pub(super) fn is_sound(&self) -> bool {
        let covers = |level: Level, above| {
            let hint = |slot| self.hint(level, slot);
            (0..level.slots).all(|slot| hint(slot) <= self.hint(above, slot / LINE_HINTS))
        };
        self.lowest()
            .upwards()
            .all(|level| level.above().is_none_or(|above| covers(level, above)))
    }

    /// At rest: returns true if the parent slot is high enough.
    pub(crate) fn is_covered(&self) -> bool {
        let above = self.above.as_ref();
        above.is_none_or(|above| self.top() <= above.hints.get(above.slot))
    }
}
