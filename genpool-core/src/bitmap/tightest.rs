//! Best fit: the search for the tightest run, which is the shortest free run that is long enough. Also the recording
//! of changes in the run index, on which the search relies.

use super::hints::Need;
use super::run_index::{RunIndex, WordLine};
use super::word::{FULL, begins, find_all, free_bits, free_prefix, free_suffix, mask};
use super::{Bitmap, Look, Piece};
use crate::activity::Activity;
use crate::sync::{Fault, Ordering, seeded};
use crate::units::{Granule, LINE_WORDS, LineIndex, Run, WORD_BITS, WordIndex};

/// How many lengths are tried before all words are looked at: four times each (2026-11). A caller that is alone
/// needs no more. To find that a length is gone takes it as many tries as there are levels, or two if there is one
/// level: one for the lines and one for the root. Four levels are enough for 34 thousand million granules.
const TRIES: usize = 4 * WORD_BITS;

/// What was done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Claim,
    Release,
}

impl Bitmap {
    /// Returns the start of the shortest free run of at least `n` granules (not zero). Of equal runs it is the
    /// lowest.
    pub(crate) fn find_tightest(
        &self,
        n: usize,
        look: Look,
        activity: &Activity,
    ) -> Option<Granule> {
        if look == Look::Exact {
            let runs = self.free_runs(Granule(0), n, look);
            return runs.min_by_key(|run| run.len).map(|run| run.start);
        }
        let found = self.find_indexed(n, activity, |run| Some(run.start));
        // Also lowers hints if there is no such run, so that the chunk is not asked again.
        found.or_else(|| self.scan_tightest(n))
    }

    /// Returns a place in the shortest free run of at least `n` granules that has one. Of equal runs it is the lowest.
    /// `place` returns the place of `n` granules in a run. A longer run with the same start has the same place, or none
    /// is found in the shorter one.
    pub(crate) fn find_tightest_where(
        &self,
        n: usize,
        look: Look,
        activity: &Activity,
        place: impl Fn(Run) -> Option<Granule>,
    ) -> Option<Granule> {
        if look == Look::Hinted
            && let Some(found) = self.find_indexed(n, activity, &place)
        {
            return Some(found);
        }
        let mut best: Option<(usize, Granule)> = None;
        for run in self.free_runs(Granule(0), n, look) {
            if best.is_some_and(|(shortest, _)| shortest <= run.len) {
                continue;
            }
            if let Some(found) = place(run) {
                best = Some((run.len, found));
                if run.len == n {
                    break;
                }
            }
        }
        best.map(|(_, found)| found)
    }

    /// Searches as [`find_tightest_where`](Self::find_tightest_where) does, by the run index alone. May find nothing
    /// even if there is something.
    #[inline(always)]
    fn find_indexed(
        &self,
        n: usize,
        activity: &Activity,
        place: impl Fn(Run) -> Option<Granule>,
    ) -> Option<Granule> {
        let run_index = self.run_index()?;
        if !run_index.is_complete() {
            self.build_run_index(run_index, activity);
        }
        let mut shortest = n;
        for _ in 0..TRIES {
            let len = run_index.shortest(shortest)?;
            if len == WORD_BITS {
                return self.find_tightest_long(run_index, n, place);
            }
            let mut next = LineIndex(0);
            while let Some(line) = run_index.next(next, len) {
                let seen = self.line(line, Ordering::Relaxed);
                let starts = seen.all(len).map(|at| line.granule(at));
                let mut runs = starts.map(|start| Run { start, len }).peekable();
                if runs.peek().is_some() {
                    if let Some(found) = runs.find_map(&place) {
                        return Some(found);
                    }
                    // There is no place in a run of this length.
                    shortest = len + 1;
                } else {
                    run_index.lower(line, len, || {
                        let changed = !self.is_still(line, &seen);
                        changed && self.line(line, Ordering::SeqCst).first(len).is_some()
                    });
                }
                next = line.next();
            }
        }
        None
    }

    /// Does the same among runs of at least [`WORD_BITS`] granules. Looks at each of them, until one fits exactly.
    fn find_tightest_long(
        &self,
        run_index: RunIndex<'_>,
        n: usize,
        place: impl Fn(Run) -> Option<Granule>,
    ) -> Option<Granule> {
        let mut runs = self.long_runs(run_index);
        let first = runs.next()?;
        let Some(second) = runs.next() else {
            // It is the only candidate, so it does not matter how much longer it is.
            let whole = Run {
                start: first,
                len: self.len() - first.0,
            };
            let found = place(whole)?;
            let reach = found.0 + n - first.0;
            return (self.free_from(first, reach) == reach).then_some(found);
        };
        let (mut found, mut shortest) = (None, usize::MAX);
        for start in [first, second].into_iter().chain(runs) {
            let len = self.free_from(start, shortest);
            if (n..shortest).contains(&len)
                && let Some(at) = place(Run { start, len })
            {
                (found, shortest) = (Some(at), len);
            }
            if shortest == n {
                break;
            }
        }
        found
    }

    /// Iterates over the starts of the runs of at least [`WORD_BITS`] granules, in ascending order.
    fn long_runs(&self, run_index: RunIndex<'_>) -> impl Iterator<Item = Granule> {
        let mut next = LineIndex(0);
        let lines = core::iter::from_fn(move || {
            let line = run_index.next(next, WORD_BITS)?;
            next = line.next();
            Some(line)
        });
        lines.flat_map(move |line| {
            let seen = self.line(line, Ordering::Relaxed);
            let mut runs = seen.long().peekable();
            if runs.peek().is_none() {
                run_index.lower(line, WORD_BITS, || {
                    self.line(line, Ordering::SeqCst).long().next().is_some()
                });
            }
            let first = line.granule(0);
            runs.map(move |at| first.plus(at))
        })
    }

    /// Returns how many granules are free from `start` on, up to `most`.
    fn free_from(&self, start: Granule, most: usize) -> usize {
        let seen = self.word(start.word()).load(Ordering::Relaxed);
        let at = start.bit();
        let inside = free_prefix(seen >> at).min(WORD_BITS - at);
        let ends = at + inside < WORD_BITS || inside >= most;
        let through = if ends {
            0
        } else {
            let ceiling = Granule(start.0.saturating_add(most));
            self.bits.free_after(start.word().end(), ceiling)
        };
        (inside + through).min(most)
    }

    /// Returns a word. Past the last, everything is taken.
    #[inline(always)]
    fn word_or_full(&self, at: WordIndex, order: Ordering) -> usize {
        self.bits
            .words()
            .get(at.0)
            .map_or(FULL, |word| word.load(order))
    }

    /// Returns the word before this one. Before the first, everything is taken.
    #[inline(always)]
    fn before(&self, word: WordIndex, order: Ordering) -> usize {
        let before = word.0.checked_sub(1);
        before.map_or(FULL, |at| self.word_or_full(WordIndex(at), order))
    }

    /// Reads a line of words. Past the last word, everything is taken.
    #[inline(always)]
    fn line(&self, line: LineIndex, order: Ordering) -> WordLine {
        let first = line.first_word();
        let mut seen = WordLine {
            before: self.before(first, order),
            words: [FULL; LINE_WORDS],
            after: self.word_or_full(line.next().first_word(), order),
        };
        for (seen, word) in seen.words.iter_mut().zip(&self.bits.words()[first.0..]) {
            *seen = word.load(order);
        }
        seen
    }

    /// Returns true if a line is still as it was seen.
    #[inline(always)]
    fn is_still(&self, line: LineIndex, seen: &WordLine) -> bool {
        let first = line.first_word();
        let before = self.before(first, Ordering::SeqCst);
        let after = self.word_or_full(line.next().first_word(), Ordering::SeqCst);
        let outside = before ^ seen.before | after ^ seen.after;
        // Word by word, because `seen` was written word by word.
        let pairs = self.bits.words()[first.0..].iter().zip(&seen.words);
        pairs.fold(outside, |changed, (word, seen)| {
            changed | word.load(Ordering::SeqCst) ^ seen
        }) == 0
    }

    /// Turns on the recording of changes, and records all runs that there are.
    #[cold]
    fn build_run_index(&self, run_index: RunIndex<'_>, activity: &Activity) {
        activity.start_run_index();
        for run in self.free_runs(Granule(0), 1, Look::Exact) {
            run_index.record(run.start.line(), run.len);
        }
        run_index.set_complete();
    }

    /// Records the lengths of the free runs that a change of `n` granules at `start` made or left, if a run index
    /// is kept.
    #[inline(always)]
    pub(super) fn record_runs(
        &self,
        change: Change,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) {
        let kept = RunIndex::is_kept(self.bits.words().len()) && activity.keeps_run_index();
        if kept && !seeded(Fault::UnrecordedRun) {
            self.record_runs_around(change, start, n);
        }
    }

    #[inline(never)]
    fn record_runs_around(&self, change: Change, start: Granule, n: usize) {
        let Some(run_index) = self.run_index() else {
            return;
        };
        let words = if seeded(Fault::UnrecordedRest) {
            1
        } else {
            usize::MAX
        };
        let pieces = Piece::all(start, n).take(words);
        let firsts = pieces.map(Piece::start);
        match change {
            // At each word: meanwhile others may have released by mistake what was claimed before it, or claimed
            // what was released before it.
            Change::Claim => {
                for first in firsts {
                    if let Some(below) = first.0.checked_sub(1) {
                        self.record_run(run_index, Granule(below));
                    }
                }
                self.record_run(run_index, start.plus(n));
            }
            Change::Release => firsts.for_each(|first| self.record_run(run_index, first)),
        }
    }

    /// Records the length of the free run that the granule is part of, if there is one.
    fn record_run(&self, run_index: RunIndex<'_>, granule: Granule) {
        let (word, at) = (granule.word(), granule.bit());
        let Some(seen) = self.bits.words().get(word.0) else {
            return;
        };
        // SeqCst: comes after the change (pairs with the second look of a thread that cleared a bit).
        let seen = seen.load(Ordering::SeqCst);
        if seen >> at & 1 != 0 {
            return;
        }
        // Free granules below the granule, and from the granule itself on.
        let mut below = free_suffix(seen << (WORD_BITS - 1 - at) << 1).min(at);
        let mut above = free_prefix(seen >> at).min(WORD_BITS - at);
        if below == at && word.0 > 0 {
            // SeqCst: as above.
            // Not caught: a free has looked at the word before for the hints, with `SeqCst`, and reads it no older
            // now; after a claim loom orders this look with the one above, and Miri's schedules do not reach it.
            let before = self.word(WordIndex(word.0 - 1)).load(Ordering::SeqCst);
            if before == 0 {
                // It begins further down, and was of the longest kind before the change.
                return;
            }
            below += free_suffix(before);
        }
        if at + above == WORD_BITS {
            above += self.bits.free_prefix_of(word.next());
        }
        run_index.record(Granule(granule.0 - below).line(), below + above);
    }

    /// Returns the tightest run without the run index. Ends at the first run of exactly `n` granules.
    pub(super) fn scan_tightest(&self, n: usize) -> Option<Granule> {
        let (mut start, mut shortest) = (None, usize::MAX);
        let need = Need::of(n);
        let mut next = WordIndex(0);
        while let Some(word) = self.hints.next(next, need) {
            // Relaxed: see `search`.
            let seen = self.word(word).load(Ordering::Relaxed);
            let free = free_bits(seen);
            let begin = begins(self.before(word, Ordering::Relaxed), seen);
            next = word.next();
            if seen == 0 && begin == 0 {
                // In the middle of a long run.
                continue;
            }
            // Where runs begin that end in this word and are long enough.
            let suffix = free_suffix(seen);
            let fitting = if n <= WORD_BITS {
                begin & mask(0, WORD_BITS - suffix) & find_all(seen, n)
            } else {
                0
            };
            let mut len = n;
            while len < shortest && fitting != 0 {
                let ending = fitting & !(free >> len);
                if ending != 0 {
                    (start, shortest) = (Some(word.granule(ending.trailing_zeros() as usize)), len);
                    break;
                }
                len += 1;
            }
            if shortest == n {
                return start;
            }
            // The run at the end of the word, if it begins here. It is followed only as far as it may be shorter than
            // the best so far.
            let mut through = 0;
            if suffix > 0 {
                let further = shortest.saturating_sub(suffix).min(self.len());
                let past = word.end();
                let first = Granule(past.0 - suffix);
                through = suffix + self.bits.free_after(past, past.plus(further));
                if through >= n && through < shortest {
                    (start, shortest) = (Some(first), through);
                }
                // No other run begins inside it.
                next = next.max(first.plus(through).word());
            }
            if fitting == 0 && through < n {
                self.lower_hint(word, seen);
            }
        }
        start
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::*;
    use crate::units::LINE_GRANULES;

    #[test]
    fn a_line_is_still_as_it_was_seen_until_a_word_of_it_or_next_to_it_changes() {
        let activity = Activity::new();
        for line in 0..3 {
            let bitmap = Bitmap::new(3 * LINE_GRANULES, None).unwrap();
            bitmap
                .claim(Granule(1), 3 * LINE_GRANULES - 2, &activity)
                .unwrap();
            let seen = bitmap.line(LineIndex(line), Ordering::SeqCst);
            let of_it = (line * LINE_WORDS).saturating_sub(1)..=(line + 1) * LINE_WORDS;
            for (one, other) in
                (0..3 * LINE_WORDS).flat_map(|one| (0..=one).map(move |at| (one, at)))
            {
                assert!(bitmap.is_still(LineIndex(line), &seen));
                let mut changed = [one, other].map(|word| word * WORD_BITS + 1).to_vec();
                changed.dedup();
                for &granule in &changed {
                    bitmap.release(Granule(granule), 1, &activity).unwrap();
                }
                let expected = !of_it.contains(&one) && !of_it.contains(&other);
                assert_eq!(
                    bitmap.is_still(LineIndex(line), &seen),
                    expected,
                    "{one}, {other}"
                );
                for &granule in &changed {
                    bitmap.claim(Granule(granule), 1, &activity).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_run_over_a_border_is_recorded_whole() {
        let activity = Activity::new();
        let bitmap = Bitmap::new(40 * LINE_GRANULES, None).unwrap();
        bitmap
            .claim(Granule(0), 40 * LINE_GRANULES, &activity)
            .unwrap();
        assert_eq!(bitmap.find_tightest(1, Look::Hinted, &activity), None);
        let release = |start, n| bitmap.release(Granule(start), n, &activity).unwrap();
        let claim = |start, n| bitmap.claim(Granule(start), n, &activity).unwrap();
        // A line for each change, so that no other has recorded the same length there; and the borders of lines.
        let border = |line| line * LINE_GRANULES + WORD_BITS;
        let mut changes: [&mut dyn FnMut(); _] = [
            &mut || (release(border(0) - 4, 4), release(border(0), 6)).0,
            &mut || (release(border(1), 6), release(border(1) - 3, 3)).0,
            &mut || release(border(2) - 5, 11),
            &mut || (release(border(3) - 9, 17), claim(border(3) - 9, 4)).0,
            &mut || (release(border(4) - 9, 17), claim(border(4) + 6, 2)).0,
            &mut || (release(border(5) - 9, 20), claim(border(5), 1)).0,
            &mut || {
                (
                    release(7 * LINE_GRANULES - 6, 6),
                    release(7 * LINE_GRANULES, 7),
                )
                    .0
            },
            &mut || {
                (
                    release(9 * LINE_GRANULES, 7),
                    release(9 * LINE_GRANULES - 7, 7),
                )
                    .0
            },
            &mut || {
                (
                    release(11 * LINE_GRANULES - 30, 200),
                    claim(11 * LINE_GRANULES + 20, 1),
                )
                    .0
            },
            &mut || {
                (
                    release(13 * LINE_GRANULES - 63, 64),
                    claim(13 * LINE_GRANULES, 1),
                )
                    .0
            },
        ];
        for (at, change) in changes.iter_mut().enumerate() {
            change();
            assert!(bitmap.is_sound(), "{at}");
        }
    }
}
