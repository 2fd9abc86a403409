//! Hints: how long a free run may begin in each word, at most.
//!
//! The *run* of a word is the longest run of free granules that begins at one of its granules
//! and goes on as far as it goes, into the next words too. Its hint is a byte: the length, or
//! [`LONG`] for whatever is longer than a word. A *node* packs the hints of eight words (on 64-bit
//! machines) into one atomic, and eight nodes are a *line*. A byte of the level above holds the
//! highest hint of a line, and so on up to a single line. So a search goes down from the top to the
//! first word that may serve.
//!
//! # What may be stale, and why that is harmless
//!
//! A hint that is too high costs a look. Claims may leave hints alone; a look in vain lowers them.
//!
//! A hint that is too low hides a free run. At rest there is none. Beside others there may be
//! one for a moment, while the free that should raise it, or the look that lowered it too far, is
//! still on its way. What is hidden is not lost: before a caller is refused, it looks at every word
//! without asking the hints (see `activity.rs`).
//!
//! # Lower, look, raise
//!
//! A free clears bits, then raises the hint if it is too low. Who looked in vain lowers the hint,
//! then looks at the bits again, and raises it to what it sees. So either the second look sees the
//! bits of the free, or the free sees the lowered hint. The same between the levels: who raises a
//! byte then raises the one above it; who lowered the highest of a line, or found all of them below the byte
//! above, lowers that, then looks at the line again. Without the second look a freed run stays hidden (models:
//! `free vs search`, `free vs two levels`).
//!
//! Hints may go on above their top line, in a slot of other hints: those of the chunks of a pool do, in
//! `free_summary.rs`.
//!
//! # Orderings
//!
//! "Bits cleared, now the hint" against "hint lowered, now the bits" is store-to-load order, so the
//! accesses on both sides are `SeqCst`.

use alloc::sync::Arc;

use super::hint_node::{HintLine, HintNode, LINE_HINTS, LINE_NODES, LONG, NODE_HINTS, Need};
use super::levels;
use super::run_index::RunIndex;
use crate::memory::{NoMemory, Node, Table};
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};

/// The hints of a bitmap, or of whatever else has numbered places for runs: of "words".
#[derive(Debug)]
pub(crate) struct Hints {
    /// Level by level, the lowest first; then what there is of lengths.
    nodes: Table<AtomicUsize>,
    words: usize,
    above: Option<ParentSlot>,
}

/// The slot of other hints that stands for the top line of these.
#[derive(Debug)]
pub(crate) struct ParentSlot {
    pub(crate) hints: Arc<Hints>,
    pub(crate) slot: usize,
}

/// A slot of the lowest level stands for a word.
type Level = levels::Level<NODE_HINTS, LINE_HINTS, LINE_HINTS>;

impl Hints {
    /// Hints that say "anything may be free", and lengths that say nothing, for `words` words, at least one.
    pub(super) fn new(words: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        Self::with_run_index(words, RunIndex::cells(words), node)
    }

    fn with_run_index(words: usize, cells: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let levels = || Level::lowest(0, words).upwards();
        let nodes: usize = levels().map(Level::nodes).sum();
        let hints = Self {
            nodes: Table::zeroed(nodes + cells, node)?,
            words,
            above: None,
        };
        for level in levels() {
            // Slots that stand for nothing never serve.
            for slot in level.slots..level.nodes() * NODE_HINTS {
                let node = &hints.nodes[level.start + slot / NODE_HINTS];
                // Relaxed: nobody else has seen the hints yet.
                let none = HintNode(node.load(Ordering::Relaxed)).with(slot % NODE_HINTS, 0);
                node.store(none.0, Ordering::Relaxed);
            }
        }
        Ok(hints)
    }

    /// Hints that say "nothing is free", and no lengths, for `words` words, at least one.
    pub(crate) fn closed(words: usize) -> Result<Self, NoMemory> {
        let hints = Self::with_run_index(words, 0, None)?;
        for node in &*hints.nodes {
            // Relaxed: as in `new`.
            node.store(HintNode::CLOSED.0, Ordering::Relaxed);
        }
        Ok(hints)
    }

    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.nodes)
    }

    /// What is told of the lengths of runs, if that is worth while.
    #[inline]
    pub(super) fn run_index(&self) -> Option<RunIndex<'_>> {
        let nodes: usize = self.lowest().upwards().map(Level::nodes).sum();
        let cells = self.nodes.get(nodes..)?;
        (!cells.is_empty()).then(|| RunIndex::of(cells, self.words))
    }

    #[inline]
    fn lowest(&self) -> Level {
        Level::lowest(0, self.words)
    }

    #[inline]
    fn load(&self, level: Level, node: usize) -> HintNode {
        // SeqCst: in a free, after the bits were cleared (pairs with the exchange in `try_lower`).
        HintNode(self.nodes[level.start + node].load(Ordering::SeqCst))
    }

    fn exchange(
        &self,
        level: Level,
        node: usize,
        old: HintNode,
        new: HintNode,
    ) -> Result<(), HintNode> {
        // SeqCst: a lowered hint precedes the second look (pairs with `load` in a free). Relaxed where
        // another change came first: what is read is no older than what `load` read before.
        self.nodes[level.start + node]
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Relaxed)
            .map(drop)
            .map_err(HintNode)
    }

    #[inline]
    fn hint(&self, level: Level, slot: usize) -> usize {
        self.load(level, slot / NODE_HINTS).hint(slot % NODE_HINTS)
    }

    /// Has the hint of a word brought near, for whoever is about to wait for the word itself.
    #[inline(always)]
    pub(super) fn fetch(&self, word: usize) {
        // Relaxed: it is looked at later.
        self.nodes[word / NODE_HINTS].load(Ordering::Relaxed);
    }

    /// The hint of a word.
    #[inline]
    pub(super) fn get(&self, word: usize) -> usize {
        self.hint(self.lowest(), word)
    }

    /// The nodes of a line.
    #[inline]
    fn line(&self, level: Level, line: usize) -> HintLine<'_> {
        let nodes = &self.nodes[level.start + line * LINE_NODES..];
        match nodes.first_chunk::<LINE_NODES>() {
            // Of known length, so that looks at it are unrolled.
            Some(whole) if (line + 1) * LINE_HINTS <= level.slots => HintLine::Whole(whole),
            _ => HintLine::Cut(&nodes[..level.nodes() - line * LINE_NODES]),
        }
    }

    // ---- search ----

    /// The first word of node `node` that may serve, and its hint.
    #[inline(always)]
    pub(super) fn in_node(&self, node: usize, need: Need) -> Option<(usize, usize)> {
        // Relaxed: a proposal; the claim decides.
        let hint_node = HintNode(self.nodes.get(node)?.load(Ordering::Relaxed));
        let slot = hint_node.first(0, need)?;
        Some((node * NODE_HINTS + slot, hint_node.hint(slot)))
    }

    /// The first word from `word` on that may serve.
    #[inline(always)]
    pub(crate) fn next(&self, word: usize, need: Need) -> Option<usize> {
        if word == 0 {
            return self.first(need);
        }
        if word >= self.words {
            return None;
        }
        let node = word / NODE_HINTS;
        match self
            .load(self.lowest(), node)
            .first(word % NODE_HINTS, need)
        {
            Some(slot) => Some(node * NODE_HINTS + slot),
            None => self.next_in(self.lowest(), (node + 1) * NODE_HINTS, need),
        }
    }

    /// The first word that may serve: in the first node, or from the top down.
    #[inline]
    pub(super) fn first(&self, need: Need) -> Option<usize> {
        let lowest = self.lowest();
        let near = self.load(lowest, 0).first(0, need);
        near.or_else(|| self.next_in(lowest, 0, need))
    }

    /// The first slot of `level` from `slot` on that may serve.
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
            // The byte above promised more than the line keeps.
            self.lower_line(level, line);
            line += 1;
        }
    }

    /// The first slot that may serve, from `slot` to the end of its line.
    #[inline]
    fn search_line(&self, level: Level, slot: usize, need: Need) -> Option<usize> {
        if slot >= level.slots {
            return None;
        }
        let (line, rest) = (slot / LINE_HINTS, slot % LINE_HINTS);
        let found = self.line(level, line).serving(need);
        let found = found & usize::MAX << rest;
        (found != 0).then(|| slot - rest + found.trailing_zeros() as usize)
    }

    // ---- changes ----

    /// Called by a free, after its bits are cleared: a run of that length begins in the word.
    pub(super) fn raise(&self, word: usize, run: usize) {
        self.raise_in(self.lowest(), word, run.min(LONG));
    }

    /// Called by who saw that no run longer than `low` begins in the word; `again` looks again
    /// and answers how long the longest is.
    pub(crate) fn lower(&self, word: usize, low: usize, again: impl Fn() -> usize) {
        self.lower_in(self.lowest(), word, low, again);
    }

    fn raise_in(&self, mut level: Level, mut slot: usize, hint: usize) {
        loop {
            let (node, at) = (slot / NODE_HINTS, slot % NODE_HINTS);
            let mut seen = self.load(level, node);
            loop {
                if seen.hint(at) >= hint {
                    // Whoever raised it goes on to the levels above.
                    return;
                }
                match self.exchange(level, node, seen, seen.with(at, hint)) {
                    Ok(()) => break,
                    Err(now) => seen = now,
                }
            }
            model_fence();
            let Some(above) = level.above() else {
                if let Some(above) = &self.above {
                    above.hints.raise(above.slot, hint);
                }
                return;
            };
            (level, slot) = (above, slot / LINE_HINTS);
        }
    }

    /// Lowers a hint, then the byte above, if that was the highest of its line. Further up looks in vain do it.
    #[inline(always)]
    fn lower_in(&self, level: Level, slot: usize, low: usize, again: impl Fn() -> usize) {
        if let Some(was) = self.try_lower(level, slot, low, again)
            && let Some(above) = level.above()
            && self.hint(above, slot / LINE_HINTS) == was
        {
            self.lower_line(level, slot / LINE_HINTS);
        }
    }

    /// Has the byte above a line say what the line keeps: less than was promised there.
    #[inline(never)]
    fn lower_line(&self, level: Level, line: usize) {
        if let Some(above) = level.above() {
            let highest = || self.line(level, line).highest();
            self.try_lower(above, line, highest(), highest);
        }
    }

    /// One try: a hint that stays too high costs a look, nothing more. What it was if it is lower now.
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

    /// The highest hint of all.
    #[cold]
    fn top(&self) -> usize {
        let top = self.lowest().upwards().last();
        top.map_or(0, |level| self.line(level, 0).highest())
    }

    /// Makes them go on there, before anybody else sees them.
    pub(super) fn set_parent(&mut self, above: ParentSlot) {
        self.above = Some(above);
    }

    /// Has the slot above say what these say.
    pub(crate) fn raise_parent(&self) {
        if let Some(ParentSlot { hints, slot }) = &self.above {
            hints.raise(*slot, self.top());
        }
    }

    /// Called by who was sent here by the slot above and found nothing.
    pub(crate) fn lower_parent(&self) {
        if let Some(ParentSlot { hints, slot }) = &self.above {
            hints.lower(*slot, self.top(), || self.top());
        }
    }

    /// At rest: whether each byte is at least the highest of the line below it.
    pub(super) fn is_sound(&self) -> bool {
        let covers = |level: Level, above| {
            let hint = |slot| self.hint(level, slot);
            (0..level.slots).all(|slot| hint(slot) <= self.hint(above, slot / LINE_HINTS))
        };
        self.lowest()
            .upwards()
            .all(|level| level.above().is_none_or(|above| covers(level, above)))
    }

    /// At rest: whether the slot above says enough.
    pub(crate) fn is_covered(&self) -> bool {
        let above = self.above.as_ref();
        above.is_none_or(|above| self.top() <= above.hints.get(above.slot))
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words; three levels in the last, which is long under Miri.
    const SIZES: &[usize] = if cfg!(miri) {
        &[1, 9, LINE_HINTS, LINE_HINTS + 1]
    } else {
        &[
            1,
            7,
            8,
            9,
            LINE_HINTS - 1,
            LINE_HINTS,
            LINE_HINTS + 1,
            1000,
            20_000,
        ]
    };

    #[test]
    fn the_highest_of_a_line_is_its_own() {
        let hints = Hints::new(3 * LINE_HINTS + 2, None).unwrap();
        for word in 0..3 * LINE_HINTS + 2 {
            hints.lower(word, 1, || 1);
        }
        for (word, run) in [
            (0, 3),
            (2 * LINE_HINTS - 1, 5),
            (2 * LINE_HINTS, 9),
            (3 * LINE_HINTS + 1, 4),
        ] {
            hints.raise(word, run);
        }
        let highest = [0, 1, 2, 3].map(|line| hints.line(hints.lowest(), line).highest());
        assert_eq!(highest, [3, 5, 9, 4]);
    }

    #[test]
    fn the_byte_above_is_lowered_with_the_highest_of_its_line() {
        let words = 2 * LINE_HINTS + 3;
        let hints = Hints::new(words, None).unwrap();
        let above = hints.lowest().above().unwrap();
        let said = || [0, 1, 2].map(|line| hints.hint(above, line));
        for word in 0..words {
            hints.lower(word, 3, || 3);
        }
        assert_eq!(said(), [3; 3]);
        for line in 0..3 {
            let (one, other) = (line * LINE_HINTS, line * LINE_HINTS + 2);
            hints.raise(one, 7);
            hints.raise(other, 7);
            hints.lower(one, 2, || 2);
            assert_eq!(said()[line], 7, "another is as high");
            hints.lower(other, 5, || 5);
            assert_eq!(said()[line], 5);
            hints.lower(other, 0, || 0);
            assert_eq!(said()[line], 3);
            hints.raise(one, 6);
            assert_eq!(said()[line], 6);
            hints.lower(one, 0, || 4);
            assert_eq!((hints.get(one), said()[line]), (4, 6), "raised again");
            assert!(hints.is_sound());
        }
        assert_eq!(hints.first(Need::of(5)), None);
        assert_eq!(said(), [4; 3], "the look in vain lowers it");
    }

    #[test]
    fn the_slot_above_says_the_highest() {
        for words in [3, LINE_HINTS + 3, 3 * LINE_HINTS] {
            let above = Arc::new(Hints::closed(9).unwrap());
            let mut hints = Hints::new(words, None).unwrap();
            assert!(hints.is_covered(), "there is nothing above");
            let slot = 5;
            hints.set_parent(ParentSlot {
                hints: Arc::clone(&above),
                slot,
            });
            assert!(!hints.is_covered());
            hints.raise_parent();
            assert_eq!(above.get(slot), LONG);
            for word in 0..words {
                hints.lower(word, 4, || 4);
            }
            // The levels above learn it from a search in vain.
            assert_eq!(hints.first(Need::of(5)), None);
            hints.lower_parent();
            assert_eq!(above.get(slot), 4);
            hints.raise(words - 1, 9);
            assert_eq!(above.get(slot), 9);
            assert!(hints.is_covered());
            assert!((0..9).all(|other| other == slot || above.get(other) == 0));
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Raise(usize, usize),
        Lower(usize, usize),
        Next(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let run = prop_oneof![0..=LONG, Just(0), Just(1000)];
        prop_oneof![
            (any::<usize>(), run.clone()).prop_map(|(word, to)| Op::Raise(word, to)),
            (any::<usize>(), run).prop_map(|(word, to)| Op::Lower(word, to)),
            (any::<usize>(), 1..=2 * LONG).prop_map(|(word, n)| Op::Next(word, n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

        /// On one level, on two and on three; alone, where no hint is too high.
        #[test]
        fn searches_find_the_first_that_may_serve(
            words in prop::sample::select(SIZES),
            low in 0..3_usize,
            ops in prop::collection::vec(op(), 1..60),
        ) {
            let hints = Hints::new(words, None).unwrap();
            let mut known = vec![LONG; words];
            if low < 2 {
                for (word, known) in known.iter_mut().enumerate() {
                    hints.lower(word, low, || low);
                    *known = low;
                }
            }
            for op in ops {
                match op {
                    Op::Raise(word, to) => {
                        let word = word % words;
                        hints.raise(word, to);
                        known[word] = known[word].max(to.min(LONG));
                    }
                    Op::Lower(word, to) => {
                        let word = word % words;
                        let to = to.min(LONG);
                        hints.lower(word, to, || to);
                        known[word] = known[word].min(to);
                    }
                    Op::Next(from, n) => {
                        let from = from % (words + 1);
                        let expected = (from..words).find(|&word| known[word] >= n.min(LONG));
                        prop_assert_eq!(hints.next(from, Need::of(n)), expected);
                    }
                }
                prop_assert!(hints.is_sound());
            }
            for (word, &hint) in known.iter().enumerate() {
                prop_assert_eq!(hints.get(word), hint);
            }
        }
    }
}
