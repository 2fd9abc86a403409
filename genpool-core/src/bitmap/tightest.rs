//! Best fit: the search for the tightest run, which is the shortest free run that is long enough. Also the recording
//! of changes in the run index, on which the search relies.

use super::hints::Need;
use super::run_index::{RunIndex, SURROUNDED, find_in_line};
use super::word::{FULL, begins, find_all, free_bits, free_prefix, free_suffix, mask};
use super::{Bitmap, Look, Piece, WordRun};
use crate::activity::Activity;
use crate::sync::{Fault, Ordering, seeded};
use crate::units::{Granule, LineIndex, Run, WORD_BITS, WordIndex};

/// How many lengths are tried before all words are looked at: four times each (2026-11). A caller that is alone
/// needs no more. To find that a length is gone takes it as many tries as there are levels, or two if there is one
/// level: one for the lines and one for the root. Four levels are enough for 34 thousand million granules.
const TRIES: usize = 4 * WORD_BITS;

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
            return self.find_tightest_exactly(n);
        }
        let found = self.find_indexed(n, activity, |run| Some(run.start));
        // Also lowers hints if there is no such run, so that the chunk is not asked again.
        found.or_else(|| self.scan_tightest(n))
    }

    #[cold]
    fn find_tightest_exactly(&self, n: usize) -> Option<Granule> {
        let runs = self.free_runs(Granule(0), n, Look::Exact);
        runs.min_by_key(|run| run.len).map(|run| run.start)
    }

    /// Returns a place in the shortest free run of at least `n` granules that has one. Of equal runs it is the lowest.
    /// `place` returns the place of `n` granules in a run. A longer run with the same start has the same place, or none
    /// is found in the shorter one.
    #[inline(never)]
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
            self.build_run_index(&run_index, activity);
        }
        let mut shortest = n;
        for _ in 0..TRIES {
            let len = run_index.shortest(shortest)?;
            if len == WORD_BITS {
                return self.find_tightest_long(&run_index, n, place);
            }
            let mut next = LineIndex(0);
            while let Some(line) = run_index.next(next, len) {
                match self.place_in_line(&run_index, line, len, &place) {
                    Some(None) => {
                        // There is no place in a run of this length.
                        shortest = len + 1;
                    }
                    Some(found) => return found,
                    None => {}
                }
                next = line.next();
            }
        }
        None
    }

    /// Returns the first place in a run of this length, below [`WORD_BITS`], that begins in the line, or nothing inside
    /// if there is none. If there is no such run, clears the bit that led here.
    #[inline(never)]
    fn place_in_line(
        &self,
        run_index: &RunIndex<'_>,
        line: LineIndex,
        len: usize,
        place: impl Fn(Run) -> Option<Granule>,
    ) -> Option<Option<Granule>> {
        let mut seen = [FULL; SURROUNDED.end];
        let mut keep = |at: usize, word| {
            seen[at] = word;
            word
        };
        let mut is_refused = false;
        let place = |at| {
            is_refused = true;
            let start = line.first_word().granule(at);
            place(Run { start, len })
        };
        // All but the first line and the last have a word on either side, so that no look needs a check.
        let whole = self.bits.words().get(line.first_word().0.wrapping_sub(1)..);
        let found = match whole.and_then(<[_]>::first_chunk::<{ SURROUNDED.end }>) {
            Some(words) => {
                let look = |at: usize| keep(at, words[at].load(Ordering::Relaxed));
                find_in_line(len, look, place)
            }
            None => {
                let look = |at| keep(at, self.word_near(line, at, Ordering::Relaxed));
                find_in_line(len, look, place)
            }
        };
        if is_refused {
            return Some(found);
        }
        run_index.lower(line, len, || {
            let again = |at| self.word_near(line, at, Ordering::SeqCst);
            let changed = SURROUNDED.into_iter().any(|at| again(at) != seen[at]);
            changed && find_in_line(len, again, Some).is_some()
        });
        None
    }

    /// Returns a word by its position in a line: the words of the line come after the word before it, which is 0.
    /// Past the ends of the bitmap, everything is taken.
    #[inline(always)]
    fn word_near(&self, line: LineIndex, at: usize, order: Ordering) -> usize {
        self.word_or_full(WordIndex((line.first_word().0 + at).wrapping_sub(1)), order)
    }

    /// Returns a place in the shortest run of at least [`WORD_BITS`] granules that has one. Looks at each of them, until
    /// one fits exactly.
    #[inline(never)]
    fn find_tightest_long(
        &self,
        run_index: &RunIndex<'_>,
        n: usize,
        place: impl Fn(Run) -> Option<Granule>,
    ) -> Option<Granule> {
        let first = self.next_long(run_index, WordIndex(0))?;
        let further = |start: &Granule| self.next_long(run_index, start.word().next());
        if further(&first).is_none() {
            // It is the only candidate, so it does not matter how much longer it is.
            let len = self.len() - first.0;
            let found = place(Run { start: first, len })?;
            let reach = found.0 + n - first.0;
            return (self.free_from(first, reach) == reach).then_some(found);
        }
        let (mut found, mut shortest) = (None, usize::MAX);
        for start in core::iter::successors(Some(first), further) {
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

    /// Returns the start of the first run of at least [`WORD_BITS`] granules that begins in word `from` or a later one.
    #[inline(never)]
    fn next_long(&self, run_index: &RunIndex<'_>, mut from: WordIndex) -> Option<Granule> {
        loop {
            let mut line = from.line();
            let is_whole = from == line.first_word();
            if is_whole {
                line = run_index.next(line, WORD_BITS)?;
                from = line.first_word();
            }
            let found = self.long_in_line(from, Ordering::Relaxed);
            if found.is_some() {
                return found;
            }
            if is_whole {
                run_index.lower(line, WORD_BITS, || {
                    self.long_in_line(from, Ordering::SeqCst).is_some()
                });
            }
            from = line.next().first_word();
        }
    }

    /// Returns the start of the first such run that begins in word `from` or a later one of its line.
    #[inline(always)]
    fn long_in_line(&self, from: WordIndex, order: Ordering) -> Option<Granule> {
        let words = self.bits.words();
        let past = from.line().next().first_word().0.min(words.len());
        let is_last_free = |word| word >> (WORD_BITS - 1) == 0;
        let mut before = self.before(from, order);
        for (at, word) in (from.0..).zip(words.get(from.0..past)?) {
            let word = word.load(order);
            let goes_on = word == 0 && is_last_free(before);
            if is_last_free(word) && !goes_on {
                let (at, suffix) = (WordIndex(at), free_suffix(word));
                let after = self.word_or_full(at.next(), order);
                if suffix + free_prefix(after) >= WORD_BITS {
                    return Some(at.granule(WORD_BITS - suffix));
                }
            }
            before = word;
        }
        None
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

    /// Turns on the recording of changes, and records all runs that there are.
    #[cold]
    fn build_run_index(&self, run_index: &RunIndex<'_>, activity: &Activity) {
        activity.start_run_index();
        for run in self.free_runs(Granule(0), 1, Look::Exact) {
            run_index.record(run.start.line(), run.len);
        }
        run_index.set_complete();
    }

    /// Records the lengths of the free runs that a claim of `n` granules at `start` left on either side, if a run
    /// index is kept.
    #[inline(always)]
    pub(super) fn record_claim(&self, start: Granule, n: usize, activity: &Activity) {
        if self.records_runs(activity) {
            self.record_runs_around(start, n);
        }
    }

    /// Records the lengths of the free runs that a release of `n` granules at `start` made, if a run index is kept.
    #[inline(always)]
    pub(super) fn record_release(&self, start: Granule, n: usize, activity: &Activity) {
        if self.records_runs(activity) {
            self.record_runs_in(start, n);
        }
    }

    /// Returns true if changes are to be recorded.
    #[inline(always)]
    fn records_runs(&self, activity: &Activity) -> bool {
        RunIndex::is_kept(self.bits.words().len())
            && activity.keeps_run_index()
            && !seeded(Fault::UnrecordedRun)
    }

    /// Records the runs on either side of `n` granules that were claimed.
    #[inline(never)]
    fn record_runs_around(&self, start: Granule, n: usize) {
        let (mut first, end) = (start, start.plus(n));
        // At each word: meanwhile others may have released by mistake what was claimed before it.
        loop {
            if let Some(below) = first.0.checked_sub(1) {
                self.record_run(Granule(below));
            }
            first = first.word().end();
            if first >= end || seeded(Fault::UnrecordedRest) {
                break;
            }
        }
        self.record_run(end);
    }

    /// Records the runs that `n` released granules are part of.
    #[inline(never)]
    fn record_runs_in(&self, start: Granule, n: usize) {
        let (mut first, end) = (start, start.plus(n));
        // At each word: meanwhile others may have claimed what was released before it.
        while first < end {
            self.record_run(first);
            if seeded(Fault::UnrecordedRest) {
                break;
            }
            first = first.word().end();
        }
    }

    /// Records the length of the free run that the granule is part of, if there is one.
    #[inline(always)]
    fn record_run(&self, granule: Granule) {
        let (word, bit) = (granule.word(), granule.bit());
        // SeqCst: comes after the change (pairs with the second look of a thread that cleared a bit).
        let seen = self.word_or_full(word, Ordering::SeqCst);
        if seen >> bit & 1 == 0 {
            self.record_run_of(word, WordRun::around(Piece::new(word, bit, 1), seen));
        }
    }

    /// Records the length of a free run, of which `run` is the part that lies in `word`, as it was after the change.
    #[inline(never)]
    fn record_run_of(&self, word: WordIndex, run: WordRun) {
        let Some(run_index) = self.run_index() else {
            return;
        };
        let (mut start, mut end) = (word.granule(run.start), word.granule(run.end));
        if run.start == 0 && word.0 > 0 {
            // SeqCst: as in `record_run`.
            // Not caught: a free has looked at the word before for the hints, with `SeqCst`, and reads it no older
            // now; after a claim loom orders this look with the one above, and Miri's schedules do not reach it.
            let before = self.before(word, Ordering::SeqCst);
            if before == 0 {
                // It begins further down, and was of the longest kind before the change.
                return;
            }
            start.0 -= free_suffix(before);
        }
        if run.end == WORD_BITS {
            end = end.plus(self.bits.free_prefix_of(word.next()));
        }
        run_index.record(start.line(), end.0 - start.0);
    }

    /// Records the length of the run that a release inside one word made, if a run index is kept. `run` is the part
    /// of it that lies in `word`, as the release left it.
    #[inline(always)]
    pub(super) fn record_word_release(&self, word: WordIndex, run: WordRun, activity: &Activity) {
        if self.records_runs(activity) {
            self.record_run_of(word, run);
        }
    }

    /// Returns the tightest run without the run index. Ends at the first run of exactly `n` granules.
    #[inline(never)]
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
