//! Lengths: in which lines of words free runs of each length begin, for best fit.
//!
//! A *line* is a few words (`line.rs`). For every length up to [`WORD_BITS`], which stands for
//! whatever is longer too, there is a tree of bits: at the bottom one for each line, set where a run of that
//! length may begin; above one for each [`BITS`] of those below, set where one of them may be; and at the top, in
//! the *root*, one for each length. So the shortest length that fits is known from the root, and the lowest line
//! with it from a few cells.
//!
//! # What may be stale, and why that is harmless
//!
//! As with hints (`hints.rs`), a bit too many costs a look, which clears it, and a bit too few hides a run until
//! whoever should tell of it has done so; a refusal asks neither.
//!
//! # Tell, lower, look, tell
//!
//! A run's length is not an upper limit: claims shorten runs as frees lengthen them, so both have to tell. They
//! change their bits, then look at the run that they made, or left on either side, then tell its length. Of the
//! changes that made a run what it is one was the last, and its author saw all of it; or saw so many free
//! granules below that the run was of the longest kind already, and somebody else told where it begins. Who
//! changes several words looks at each, for others may claim the first before it gives back the last, or give
//! back by mistake what it claimed first (models: `free across vs a claim`, `refused growth vs a claim`,
//! `claim across vs a stranger's free`).
//!
//! Who looked in vain clears the bit, then looks again, and sets it if there is such a run now. The same
//! between the levels. So either the second look sees the bits of a change, or its author sees the bit cleared
//! (models: `alloc vs tightest`, `free vs tightest`).
//!
//! It costs every claim and every free one more look and sometimes a locked instruction, so it begins when
//! somebody asks for the tightest run (`Activity::keep_run_index`), and goes on for good. Who begins looks at all
//! words and tells of every run. Whoever changed bits without knowing of that did so before that look (model:
//! `free vs first tightest`). Who comes by meanwhile does the same, so that nobody waits.
//!
//! # Orderings
//!
//! "Bits changed, now what is told" against "bit cleared, now the bits" is store-to-load order, so the accesses
//! on both sides are `SeqCst`.

use core::ops::Range;

use super::levels;
use super::line::LINE_WORDS;
use super::word::WORD_BITS;
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};

/// Bits in a cell, as many as there are lengths; and how many one of the level above stands for. Two in small models,
/// so that a few lines have two levels.
const BITS: usize = WORD_BITS;

/// Slots of a level above which there is no other: four cells are looked at in the time of a level (2026-11).
const TOP: usize = if cfg!(genpool_small) { BITS } else { 4 * BITS };

/// Lines below which it is not worth while: a look at all of their words costs ten times the floor at most, and the
/// cells besides the rows would be more than 1.3 bits a granule allow (2026-11). Four in small models, so that models
/// of other things do without.
const FEWEST: usize = if cfg!(genpool_small) { 4 } else { 16 };

type Level = levels::Level<1, BITS, TOP>;

/// What is told of a bitmap's lengths. Zeroed memory tells of none.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunIndex<'h> {
    /// The root, whether all runs have been told, and the levels, the lowest first. A level has a row of bits for
    /// each length, as long as the level and without gaps, so as many cells as slots.
    cells: &'h [AtomicUsize],
    lines: usize,
}

impl<'h> RunIndex<'h> {
    const ROOT: usize = 0;
    const COMPLETE: usize = 1;
    const FIRST_LEVEL: usize = 2;

    /// Whether lengths are kept for so many words. A look at all of fewer costs little more.
    #[inline]
    pub(super) fn is_kept(words: usize) -> bool {
        words > (FEWEST - 1) * LINE_WORDS
    }

    /// How many cells it takes for so many words.
    #[inline]
    pub(super) fn cells(words: usize) -> usize {
        if !Self::is_kept(words) {
            return 0;
        }
        Self::cells_for(words.div_ceil(LINE_WORDS))
    }

    #[inline]
    fn cells_for(lines: usize) -> usize {
        let levels = Self::lowest(lines).upwards();
        Self::FIRST_LEVEL + levels.map(Level::nodes).sum::<usize>()
    }

    /// What is told in these cells of so many words.
    #[inline]
    pub(super) fn of(cells: &'h [AtomicUsize], words: usize) -> Self {
        let lines = words.div_ceil(LINE_WORDS);
        Self { cells, lines }
    }

    #[inline]
    fn lowest(lines: usize) -> Level {
        Level::lowest(Self::FIRST_LEVEL, lines)
    }

    fn levels(self) -> impl Iterator<Item = Level> {
        Self::lowest(self.lines).upwards()
    }

    /// Which bit of a set of lengths stands for this one, at least one.
    #[inline]
    fn bit_of(len: usize) -> usize {
        len.min(WORD_BITS) - 1
    }

    /// The bits of a level for this length.
    #[inline]
    fn row(level: Level, len: usize) -> Range<usize> {
        let start = level.start * BITS + Self::bit_of(len) * level.slots;
        start..start + level.slots
    }

    /// The bit of the root for this length.
    #[inline]
    fn root(len: usize) -> usize {
        Self::ROOT * BITS + Self::bit_of(len)
    }

    #[inline]
    fn load(self, bit: usize, order: Ordering) -> usize {
        self.cells[bit / BITS].load(order) >> (bit % BITS)
    }

    #[inline]
    fn has(self, bit: usize) -> bool {
        // SeqCst: after the change that is told (pairs with `clear`).
        self.load(bit, Ordering::SeqCst) & 1 != 0
    }

    #[inline]
    fn set(self, bit: usize) {
        self.cells[bit / BITS].fetch_or(1 << (bit % BITS), Ordering::SeqCst);
        model_fence();
    }

    #[inline]
    fn clear(self, bit: usize) {
        // SeqCst: before the second look (pairs with `has`).
        self.cells[bit / BITS].fetch_and(!(1 << (bit % BITS)), Ordering::SeqCst);
        model_fence();
    }

    /// The first of these bits that is set.
    #[inline]
    fn first(self, bits: Range<usize>, order: Ordering) -> Option<usize> {
        let mut at = bits.start;
        while at < bits.end {
            let seen = self.load(at, order);
            if seen != 0 {
                let found = at + seen.trailing_zeros() as usize;
                return (found < bits.end).then_some(found);
            }
            at = (at / BITS + 1) * BITS;
        }
        None
    }

    /// Whether all runs have been told.
    #[inline]
    pub(super) fn is_complete(self) -> bool {
        // Relaxed: who reads this and not yet what was told before finds less than there is, as beside whoever
        // tells.
        self.cells[Self::COMPLETE].load(Ordering::Relaxed) != 0
    }

    /// All runs have been told.
    pub(super) fn set_complete(self) {
        // Relaxed: see `is_complete`.
        self.cells[Self::COMPLETE].store(1, Ordering::Relaxed);
    }

    // ---- search ----

    /// The shortest length of at least `n` of which there may be a run.
    #[inline]
    pub(super) fn shortest(self, n: usize) -> Option<usize> {
        // Relaxed, as in `next_in`: a proposal; the claim decides.
        let fitting = self.load(Self::root(n), Ordering::Relaxed);
        (fitting != 0).then(|| n.min(WORD_BITS) + fitting.trailing_zeros() as usize)
    }

    /// The first line from `line` on where a run of this length may begin.
    #[inline]
    pub(super) fn next(self, line: usize, len: usize) -> Option<usize> {
        let found = self.next_in(Self::lowest(self.lines), line, len);
        if found.is_none() && line == 0 {
            // The root promised more than there is.
            let top = self.levels().last()?;
            self.clear(Self::root(len));
            if self.looks_again(Self::row(top, len)) {
                self.set(Self::root(len));
            }
        }
        found
    }

    /// The first slot of a level from `slot` on whose bit is set.
    fn next_in(self, level: Level, slot: usize, len: usize) -> Option<usize> {
        let row = Self::row(level, len);
        let Some(above) = level.above() else {
            let found = self.first(row.start + slot..row.end, Ordering::Relaxed);
            return found.map(|bit| bit - row.start);
        };
        let (mut group, mut from) = (slot / BITS, slot);
        loop {
            if from == group * BITS {
                group = self.next_in(above, group, len)?;
                from = group * BITS;
            }
            let end = level.slots.min((group + 1) * BITS);
            let bits = row.start + from..row.start + end;
            if let Some(bit) = self.first(bits.clone(), Ordering::Relaxed) {
                return Some(bit - row.start);
            }
            if from == group * BITS {
                // The bit above promised more than there is.
                self.clear(Self::row(above, len).start + group);
                if self.looks_again(bits) {
                    self.raise_in(above, group, len);
                }
            }
            group += 1;
            from = group * BITS;
        }
    }

    /// Whether one of these bits is set after all.
    fn looks_again(self, bits: Range<usize>) -> bool {
        !seeded(Fault::NoSecondLook) && self.first(bits, Ordering::SeqCst).is_some()
    }

    // ---- changes ----

    /// Called by who changed bits: a run of this length, at least one, begins in the line.
    pub(super) fn record(self, line: usize, len: usize) {
        self.raise_in(Self::lowest(self.lines), line, len);
    }

    /// Called by who saw that no run of this length begins in the line; `again` looks again.
    pub(super) fn lower(self, line: usize, len: usize, again: impl Fn() -> bool) {
        let lowest = Self::lowest(self.lines);
        self.clear(Self::row(lowest, len).start + line);
        if !seeded(Fault::NoSecondLook) && again() {
            self.raise_in(lowest, line, len);
        }
    }

    fn raise_in(self, mut level: Level, mut slot: usize, len: usize) {
        loop {
            let bit = Self::row(level, len).start + slot;
            if self.has(bit) {
                // Whoever set it goes on to the levels above.
                return;
            }
            self.set(bit);
            let Some(above) = level.above() else { break };
            (level, slot) = (above, slot / BITS);
        }
        if !self.has(Self::root(len)) {
            self.set(Self::root(len));
        }
    }

    /// At rest: whether it is told on all levels that a run of this length may begin in the line, or nobody has
    /// told of all runs yet.
    pub(super) fn includes(self, line: usize, len: usize) -> bool {
        let mut slot = line;
        let mut levels = self.levels();
        let observed = levels.all(|level| {
            let bit = Self::row(level, len).start + slot;
            slot /= BITS;
            self.has(bit)
        });
        !self.is_complete() || observed && self.has(Self::root(len))
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Lines; two levels from 257 on, three in the last, which is long under Miri.
    const SIZES: &[usize] = if cfg!(miri) {
        &[1, TOP + 1]
    } else {
        &[1, BITS, BITS + 1, TOP, TOP + 1, 1000, TOP * BITS + 1]
    };

    fn cells(lines: usize) -> Vec<AtomicUsize> {
        core::iter::repeat_with(Default::default)
            .take(RunIndex::cells_for(lines))
            .collect()
    }

    #[test]
    fn they_are_kept_where_they_cost_little() {
        assert_eq!(RunIndex::cells(15 * LINE_WORDS), 0);
        assert_eq!(RunIndex::cells(15 * LINE_WORDS + 1), 2 + 16);
        assert_eq!(RunIndex::cells(TOP * LINE_WORDS), 2 + TOP);
        assert_eq!(
            RunIndex::cells(TOP * LINE_WORDS + 1),
            2 + TOP + 1 + TOP / BITS + 1
        );
        let bitmap = super::super::Bitmap::new(16 * LINE_WORDS * WORD_BITS, None).unwrap();
        assert!(bitmap.hints.run_index().is_some());
        let small = super::super::Bitmap::new(15 * LINE_WORDS * WORD_BITS, None).unwrap();
        assert!(small.hints.run_index().is_none());
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Tell(usize, usize),
        /// Nothing of that length begins there; or there is something again at the second look.
        Lower(usize, usize, bool),
        Next(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let len = || prop_oneof![1..4_usize, 1..=WORD_BITS, Just(1000)];
        prop_oneof![
            (any::<usize>(), len()).prop_map(|(line, len)| Op::Tell(line, len)),
            (any::<usize>(), len(), any::<bool>())
                .prop_map(|(which, len, again)| Op::Lower(which, len, again)),
            (any::<usize>(), len()).prop_map(|(line, len)| Op::Next(line, len)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: if cfg!(miri) { 2 } else { 64 },
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_shortest_and_the_lowest_are_found(
            lines in prop::sample::select(SIZES),
            ops in prop::collection::vec(op(), 1..if cfg!(miri) { 20 } else { 200 }),
        ) {
            let cells = cells(lines);
            let run_index = RunIndex { cells: &cells, lines };
            let mut observed = BTreeSet::new();
            let kind = |len: usize| len.min(WORD_BITS);
            for op in ops {
                match op {
                    Op::Tell(line, len) => {
                        run_index.record(line % lines, len);
                        observed.insert((kind(len), line % lines));
                    }
                    Op::Lower(which, len, again) => {
                        let known = observed.iter().cycle().nth(which % (observed.len() + 1)).copied();
                        let (len, line) = known.unwrap_or((kind(len), which % lines));
                        run_index.lower(line, len, || again);
                        if again {
                            observed.insert((len, line));
                        } else {
                            observed.remove(&(len, line));
                        }
                    }
                    Op::Next(line, len) => {
                        let (line, len) = (line % lines, kind(len));
                        let first = |from| observed.range((len, from)..=(len, lines)).next();
                        let expected = first(line).map(|&(_, line)| line);
                        prop_assert_eq!(run_index.next(line, len), expected);
                    }
                }
                for &(len, line) in &observed {
                    prop_assert!(run_index.includes(line, len));
                    prop_assert!(run_index.shortest(len) == Some(len));
                }
            }
            for &(len, line) in &observed {
                run_index.lower(line, len, || false);
            }
            // A look in vain takes back what one level says; the last what the root does.
            for len in (1..=WORD_BITS).flat_map(|len| [len; 3]) {
                prop_assert_eq!(run_index.next(0, len), None);
            }
            prop_assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == 0));
            prop_assert_eq!(run_index.shortest(1), None);
        }
    }
}
