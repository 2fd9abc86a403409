//! The run index: in which lines of words free runs of each length begin. It serves best fit.
//!
//! A hint says how long the longest run of a word is, which does not help a caller that wants the shortest run that
//! fits. So there is a second summary, which is kept on demand.
//!
//! # Layout
//!
//! A *line* is a few words (`line.rs`). A run counts in the line where it begins, after a taken granule, with its
//! whole length. For each length up to [`WORD_BITS`], which stands for all longer runs too, there is a tree of
//! bits. At the bottom is a bit for each line, set where a run of that length may begin. A bit of a level above
//! stands for [`BITS`] bits below it, and is set where one of them may be. At the top is the *root*, with one bit
//! for each length.
//!
//! Best fit reads the shortest length that fits from the root, finds the lowest line with it from one or two cells
//! more, and looks at the words of that line.
//!
//! The rows of a level follow one another without gaps: an eighth of a bit a granule on 64-bit machines. Zeroed
//! memory is an empty index, so the memory of an index that is never used is never touched.
//!
//! # What may be stale, and why that is harmless
//!
//! As with hints, a bit that is wrongly set costs a look, which clears it. A bit that is wrongly clear hides a run
//! until the thread that should record the run has done so. A proof of a failure reads neither.
//!
//! # Change, look, record
//!
//! The length of a run is not an upper bound: claims shorten runs as frees lengthen them, and a claim makes new
//! runs of what it leaves. So both record. A thread changes its bits, then looks at the run that it made, or at
//! those that it left on either side, then records their lengths.
//!
//! One of the changes that made a run what it is was the last. Its author sees all of the run and records it. If
//! instead it sees a whole free word below, it stops, because the run was of the longest kind already, and another
//! thread has recorded where it begins.
//!
//! After a release inside one word, the look at that word is the value that the release itself left. The author of a
//! later change of the word looks at it after that change.
//!
//! A thread that changes several words looks at the run at each of them. Others may claim the first word before the
//! thread releases the last, or may release by mistake what the thread claimed first (models:
//! `free across vs a claim`, `refused growth vs a claim`, `claim across vs a foreign free`).
//!
//! # Clear, look again, record
//!
//! A search that looked in vain clears the bit, then looks again, and sets the bit if there is such a run now. The
//! levels follow the same protocol. So either the second look sees the bits of a change, or the author of the
//! change sees the bit cleared (models: `alloc vs tightest`, `free vs tightest`).
//!
//! # Kept on demand
//!
//! Recording costs every claim and every free one more look, and sometimes a locked instruction besides the one
//! that each of them needs. So it begins when a caller first asks for the tightest run
//! (`Activity::start_run_index`), and never ends. The flag is in the word that counts the probers, which every call
//! reads anyway. Pools that never use best fit pay nothing for it.
//!
//! The thread that begins it looks at all words and records every run. A thread that changed bits without knowing
//! of the flag did so before that look (model: `free vs first tightest`). A thread that needs the index meanwhile
//! does the same work, so that no thread waits.
//!
//! # Orderings
//!
//! "Bits changed, now the index" against "bit of the index cleared, now the bits" is store-to-load order, so the
//! accesses on both sides are `SeqCst`, or have a `SeqCst` fence between them.

mod line;

use core::hint::select_unpredictable;
use core::ops::Range;

pub(super) use self::line::{SURROUNDED, find_in_line};
use super::levels;
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};
use crate::units::{LINE_WORDS, LineIndex, WORD_BITS};

/// Bits in a cell: as many as there are lengths, and as many as one bit of the level above stands for. Two in small
/// models, so that a few lines have two levels.
const BITS: usize = WORD_BITS;

/// The most slots that the highest level may have: four cells are read in the time of one more level (2026-11).
const TOP: usize = if cfg!(genpool_small) { BITS } else { 4 * BITS };

/// Bitmaps of fewer lines have no index. A look at all of their words costs ten times the floor at most, and the
/// cells besides the rows would be more than the 1.3 bits a granule that are allowed (2026-11). Four in small
/// models, so that models of other things do without.
const FEWEST: usize = if cfg!(genpool_small) { 4 } else { 16 };

type Level = levels::Level<1, BITS, TOP>;

/// The run index of a bitmap. Zeroed memory is an empty index.
#[derive(Debug)]
pub(super) struct RunIndex<'h> {
    /// The root, whether all runs have been recorded, and the levels, the lowest first. A level has a row of bits
    /// for each length, as long as the level and without gaps, so it has as many cells as slots.
    cells: &'h [AtomicUsize],
    lines: usize,
}

impl<'h> RunIndex<'h> {
    /// Without the feature `alloc` there is no index: pools are small there, and so is the code to be.
    pub(super) const IS_THERE: bool = cfg!(any(feature = "alloc", test));

    const ROOT: usize = 0;
    const COMPLETE: usize = 1;
    const FIRST_LEVEL: usize = 2;

    /// Returns true if an index is kept for so many words. A look at all of fewer words costs little more.
    #[inline]
    pub(super) const fn is_kept(words: usize) -> bool {
        Self::IS_THERE && words > (FEWEST - 1) * LINE_WORDS
    }

    /// Returns how many cells an index of so many words takes.
    #[inline]
    pub(super) const fn cells(words: usize) -> usize {
        if !Self::is_kept(words) {
            return 0;
        }
        Self::cells_for(words.div_ceil(LINE_WORDS))
    }

    #[inline]
    const fn cells_for(lines: usize) -> usize {
        Self::lowest(lines).end()
    }

    /// The index in these cells, of so many words.
    #[inline]
    pub(super) fn of(cells: &'h [AtomicUsize], words: usize) -> Self {
        let lines = words.div_ceil(LINE_WORDS);
        Self { cells, lines }
    }

    #[inline]
    const fn lowest(lines: usize) -> Level {
        Level::lowest(Self::FIRST_LEVEL, lines)
    }

    fn levels(&self) -> impl Iterator<Item = Level> + use<> {
        Self::lowest(self.lines).upwards()
    }

    /// Returns which bit of a set of lengths stands for this one, which is at least one.
    #[inline]
    fn bit_of(len: usize) -> usize {
        len.min(WORD_BITS) - 1
    }

    /// Returns the bits of a level for this length.
    #[inline]
    fn row(level: Level, len: usize) -> Range<usize> {
        let start = level.start * BITS + Self::bit_of(len) * level.slots;
        start..start + level.slots
    }

    /// Returns the bit of the root for this length.
    #[inline]
    fn root(len: usize) -> usize {
        Self::ROOT * BITS + Self::bit_of(len)
    }

    #[inline]
    fn load(&self, bit: usize, order: Ordering) -> usize {
        self.cells[bit / BITS].load(order) >> (bit % BITS)
    }

    #[inline]
    fn has(&self, bit: usize) -> bool {
        // SeqCst: comes after the change that is recorded (pairs with `clear`).
        self.load(bit, Ordering::SeqCst) & 1 != 0
    }

    #[inline]
    fn set(&self, bit: usize) {
        self.cells[bit / BITS].fetch_or(1 << (bit % BITS), Ordering::SeqCst);
        model_fence();
    }

    #[inline]
    fn clear(&self, bit: usize) {
        // SeqCst: comes before the second look (pairs with `has`).
        self.cells[bit / BITS].fetch_and(!(1 << (bit % BITS)), Ordering::SeqCst);
        model_fence();
    }

    /// Returns the first of these bits that is set.
    #[inline]
    fn first(&self, bits: Range<usize>, order: Ordering) -> Option<usize> {
        let mut at = bits.start;
        while at < bits.end {
            // Two cells at a time, without a branch between them, because it could not be predicted.
            let next = (at / BITS + 1) * BITS;
            let near = self.load(at, order);
            // It may hold bits of the next row, or there may be none.
            let far = self.cells.get(next / BITS);
            let far = far.map_or(0, |cell| cell.load(order));
            if near | far != 0 {
                let from = select_unpredictable(near != 0, at, next);
                let seen = select_unpredictable(near != 0, near, far);
                let found = from + seen.trailing_zeros() as usize;
                return (found < bits.end).then_some(found);
            }
            at = next + BITS;
        }
        None
    }

    /// Returns true if all runs have been recorded.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        // Relaxed: a reader that sees the flag but not the bits set before it may miss runs. That is allowed, as it
        // is concurrently with any thread that records.
        self.cells[Self::COMPLETE].load(Ordering::Relaxed) != 0
    }

    /// Notes that all runs have been recorded.
    pub(super) fn set_complete(&self) {
        // Relaxed: see `is_complete`.
        self.cells[Self::COMPLETE].store(1, Ordering::Relaxed);
    }

    // ---- search ----

    /// Returns the shortest length of at least `n` of which there may be a run.
    #[inline]
    pub(super) fn shortest(&self, n: usize) -> Option<usize> {
        // Relaxed, as in `next_in`: a proposal; the claim decides.
        let fitting = self.load(Self::root(n), Ordering::Relaxed);
        (fitting != 0).then(|| n.min(WORD_BITS) + fitting.trailing_zeros() as usize)
    }

    /// Returns the first line from `line` on where a run of this length may begin.
    #[inline(always)]
    pub(super) fn next(&self, line: LineIndex, len: usize) -> Option<LineIndex> {
        let lowest = Self::lowest(self.lines);
        let found = if lowest.above().is_none() {
            self.next_in_row(lowest, line.0, len)
        } else {
            self.next_in(lowest, line.0, len)
        };
        if found.is_none() && line.0 == 0 {
            self.lower_root(len);
        }
        found.map(LineIndex)
    }

    /// Clears the bit of the root for this length, which promised more than there is.
    #[inline(never)]
    fn lower_root(&self, len: usize) {
        if let Some(top) = self.levels().last() {
            self.clear(Self::root(len));
            if self.looks_again(Self::row(top, len)) {
                self.set(Self::root(len));
            }
        }
    }

    /// Returns the first slot of the highest level, from `slot` on, whose bit is set.
    #[inline(always)]
    fn next_in_row(&self, top: Level, slot: usize, len: usize) -> Option<usize> {
        let row = Self::row(top, len);
        let found = self.first(row.start + slot..row.end, Ordering::Relaxed);
        found.map(|bit| bit - row.start)
    }

    /// Returns the first slot of a level, from `slot` on, whose bit is set.
    #[inline(never)]
    fn next_in(&self, level: Level, slot: usize, len: usize) -> Option<usize> {
        let Some(above) = level.above() else {
            return self.next_in_row(level, slot, len);
        };
        let row = Self::row(level, len);
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

    /// The second look, after a bit above was cleared: returns true if one of these bits is set.
    fn looks_again(&self, bits: Range<usize>) -> bool {
        !seeded(Fault::NoSecondLook) && self.first(bits, Ordering::SeqCst).is_some()
    }

    // ---- changes ----

    /// Records that a run of this length, at least one, begins in the line. Called after a change of bits.
    #[inline]
    pub(super) fn record(&self, line: LineIndex, len: usize) {
        let lowest = Self::lowest(self.lines);
        // The thread that has set the bit goes on to the levels above.
        if !self.has(Self::row(lowest, len).start + line.0) {
            self.raise_in(lowest, line.0, len);
        }
    }

    /// Clears the bit of a length in a line, because the caller saw that no such run begins there. `again` looks a
    /// second time.
    #[inline(always)]
    pub(super) fn lower(&self, line: LineIndex, len: usize, again: impl Fn() -> bool) {
        let lowest = Self::lowest(self.lines);
        self.clear(Self::row(lowest, len).start + line.0);
        if !seeded(Fault::NoSecondLook) && again() {
            self.raise_in(lowest, line.0, len);
        }
    }

    /// Sets a bit that was just clear, and those above it.
    #[inline(never)]
    fn raise_in(&self, mut level: Level, mut slot: usize, len: usize) {
        loop {
            self.set(Self::row(level, len).start + slot);
            let Some(above) = level.above() else { break };
            (level, slot) = (above, slot / BITS);
            if self.has(Self::row(level, len).start + slot) {
                return;
            }
        }
        if !self.has(Self::root(len)) {
            self.set(Self::root(len));
        }
    }

    /// At rest: returns true if all levels say that a run of this length may begin in the line, or if not all runs
    /// have been recorded yet.
    pub(super) fn includes(&self, line: LineIndex, len: usize) -> bool {
        let mut slot = line.0;
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

    /// Numbers of lines. There are two levels from 257 on, and three in the last, which takes long under Miri.
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
        assert!(bitmap.run_index().is_some());
        let small = super::super::Bitmap::new(15 * LINE_WORDS * WORD_BITS, None).unwrap();
        assert!(small.run_index().is_none());
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Record(usize, usize),
        /// No run of that length begins there; or the second look finds one.
        Lower(usize, usize, bool),
        Next(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let len = || prop_oneof![1..4_usize, 1..=WORD_BITS, Just(1000)];
        prop_oneof![
            (any::<usize>(), len()).prop_map(|(line, len)| Op::Record(line, len)),
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
                    Op::Record(line, len) => {
                        run_index.record(LineIndex(line % lines), len);
                        observed.insert((kind(len), line % lines));
                    }
                    Op::Lower(which, len, again) => {
                        let known = observed.iter().cycle().nth(which % (observed.len() + 1)).copied();
                        let (len, line) = known.unwrap_or((kind(len), which % lines));
                        run_index.lower(LineIndex(line), len, || again);
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
                        prop_assert_eq!(run_index.next(LineIndex(line), len), expected.map(LineIndex));
                    }
                }
                for &(len, line) in &observed {
                    prop_assert!(run_index.includes(LineIndex(line), len));
                    prop_assert!(run_index.shortest(len) == Some(len));
                }
            }
            for &(len, line) in &observed {
                run_index.lower(LineIndex(line), len, || false);
            }
            // A look in vain clears the bits of one level, the last one that of the root.
            for len in (1..=WORD_BITS).flat_map(|len| [len; 3]) {
                prop_assert_eq!(run_index.next(LineIndex(0), len), None);
            }
            prop_assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == 0));
            prop_assert_eq!(run_index.shortest(1), None);
        }
    }
}
