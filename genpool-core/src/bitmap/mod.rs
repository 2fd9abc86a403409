//! The bitmap of one chunk: which granules are taken.
//!
//! # Vocabulary
//!
//! - A *granule* is one bit, set while the granule is taken.
//! - A *word* is a `usize` of granules, and the unit of every atomic change. Bits past the last granule of the
//!   chunk are *padding*, and always set.
//! - A *run* is a range of consecutive granules. A run *crosses* words if it lies in more than one. The part of a
//!   run that lies in one word is a *piece*.
//! - To *claim* a run is to set its bits, all or none of them. To *release* it is to clear them.
//! - The *hint* of a word is an upper bound on the free runs that begin in it (`hints`). Searches skip words by
//!   their hints.
//! - The *run index* records in which lines of words free runs of each length begin (`run_index`). It serves best
//!   fit, and is kept only once best fit has asked for it.
//! - The *unit index* records which thread allocates in which part of the bitmap, and where something is free there
//!   (`unit_index`). It serves spread first fit, and is kept only by pools that ask for it.
//! - A *search* goes by hints and may miss a run. An *exact* look reads every word ([`Look`]).
//! - A *prober* is a caller that found no room and is proving it. An *in-flight guard* announces an operation of
//!   several steps ([`Activity`]).
//!
//! The bits are the truth. The hints and the two indexes are summaries that only say where to look.
//!
//! # Claims and releases
//!
//! A run inside one word is claimed by one compare-exchange and released by another. Each is one atomic
//! change, so no thread ever sees half of it.
//!
//! One read-modify-write to take and one to give back is the floor of an allocator on shared bits, and the common
//! case adds none to them. So there is no shared counter of free granules (`avail` counts bits), no lock word, no
//! reference count per allocation, and no guard on the chunk list.
//!
//! A run that crosses words is claimed word by word, upwards. If a word refuses, the words already taken are
//! released again (a *rollback*). Such a run is released word by word too. Other threads see the intermediate
//! states, so both operations hold an in-flight guard from before the first change until after the last one. A
//! caller that finds no room consults [`Activity`] before it reports a failure.
//!
//! # After a change
//!
//! - A release, and a rollback, raises the hints that are too low now: those of its own words, and that of the word
//!   before. A claim raises none, because it makes no run longer.
//! - A claim or a release records the lengths of the runs that it made or left, if the run index is kept. A release
//!   records what is free in its words, if the unit index is.
//! - A change inside one word notifies the probers and withdraws the cached refusal, if there are any. A change of
//!   several words does so by its in-flight guard.
//!
//! The last two are skipped after one load if nothing depends on the change ([`Activity::has_no_listeners`]).
//! Proofs use no summary, so all may be updated after the guard is dropped.
//!
//! # What may be stale, and why each race is benign
//!
//! - *A search and any change.* A search reads words at different times, so what it proposes may be stale. The
//!   claim's compare-exchange decides: a stale proposal is refused, never honoured. That a search finds nothing
//!   proves nothing; see [`Activity`].
//! - *Two claims.* Where they overlap, the word that both need changes hands by compare-exchange, so one of them is
//!   refused.
//! - *A claim and a rollback.* The claim may be refused because of bits that the rollback is about to clear. No
//!   failure is proved by that: a prober sees the rollback in flight, or sees that the epoch has moved.
//! - *A release and the lowering of a hint.* A hint that is too high wastes a look. A hint that is too low hides a
//!   run for the moment that `hints` describes. It hides the run from searches, not from the exact look that proves
//!   a failure.
//! - *A change and an index.* The same holds for the bits of the run index and the bytes of the unit index; see there.
//! - *Two frees of one run by address.* The first word decides which of them is valid
//!   ([`release_checked`](Bitmap::release_checked)).
//! - *A count and any change.* [`Bitmap::taken`] and [`Bitmap::free_runs`] read a word at a time. Each figure lies
//!   between 0 and the number of granules at every instant, and is exact while no thread changes a bit.
//!
//! # Orderings
//!
//! A claim is at least `Acquire` and a release at least `Release`, so what an owner wrote before it released a
//! granule happens before the next owner's use (models: `handover`, `handover by drop`). Both are `SeqCst` because
//! each is followed by a load that must not be ordered before it: of the chunk's state, of the listeners, of a
//! hint. The whole words of a long run are released by stores with a fence after them (models: `handover of a whole
//! word`, `whole word vs search`). Looks that are part of a proof load with `SeqCst`, because they stand between two
//! readings of the epochs. Searches load `Relaxed`; see `search`.
//!
//! # Submodules
//!
//! - `word` is arithmetic on the value of one word.
//! - `fresh` makes bitmaps, on the heap or over borrowed memory.
//! - `bits` is the words and every atomic change of them. It knows no summary.
//! - `hints` and `run_index` are summaries; `levels` is the shape of their trees.
//! - `search` finds a run and is first fit; `starts` restricts where a run may begin.
//! - `tightest` is best fit, and records changes in the run index.
//! - `spread` is spread first fit; `unit_index` is what it goes by.
//! - `runs` iterates over the free and the taken runs.
//! - `batch` claims and releases several runs of one length, for caches.

mod batch;
mod bits;
mod fresh;
mod hints;
mod levels;
mod run_index;
mod runs;
mod search;
mod spread;
mod starts;
#[cfg(all(test, not(genpool_loom)))]
mod tests;
mod tightest;
mod unit_index;
mod word;

pub(crate) use self::batch::Batch;
use self::bits::{Bits, Piece};
pub(crate) use self::bits::{MAX_GRANULES, NotTaken, Taken};
use self::hints::{FIRST_HINTS, LONG};
pub(crate) use self::hints::{Hints, Need, ParentSlot};
use self::run_index::RunIndex;
pub(crate) use self::search::Attempt;
pub(crate) use self::starts::{AlignedStarts, AnyStart};
use self::unit_index::UnitIndex;
pub(crate) use self::word::AtomicWord;
use self::word::{free_suffix, longest_free};
use crate::activity::Activity;
use crate::memory::Box;
use crate::sync::{Atomic, Fault, Ordering, seeded};
use crate::units::{Granule, WORD_BITS, WordIndex};

/// Words in a cache line of the bitmap. Two in small models.
const CACHE_LINE_WORDS: usize = if cfg!(genpool_small) {
    2
} else {
    64 / size_of::<usize>()
};

/// Granules in a cache line of the bitmap.
const CACHE_LINE_GRANULES: usize = CACHE_LINE_WORDS * WORD_BITS;

/// How closely a scan looks at the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Skips words that their hints rule out, and lowers hints that turn out too high.
    Hinted,
    /// Reads every word, whatever its hint.
    Exact,
}

/// A release inside one word: its piece, and what the word was before it.
#[derive(Clone, Copy)]
pub(crate) struct Released {
    piece: Piece,
    seen: usize,
}

/// Free granules of one word, from bit `start` up to bit `end`, which is excluded.
#[derive(Clone, Copy)]
struct WordRun {
    start: usize,
    end: usize,
}

impl WordRun {
    /// Returns the free run that `piece` is part of, as far as it lies in the word, once the bits of the piece are
    /// cleared in `seen`.
    #[inline(always)]
    fn around(piece: Piece, seen: usize) -> Self {
        let now = seen & !piece.mask;
        let bit = piece.mask.trailing_zeros();
        let below = now & !(usize::MAX << bit);
        Self {
            start: (usize::BITS - below.leading_zeros()) as usize,
            end: ((now >> bit << bit).trailing_zeros() as usize).min(WORD_BITS),
        }
    }
}

/// The bits and their summaries. The length is the first field: see `Chunk`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Bitmap {
    bits: Bits,
    hints: Hints,
    /// Present if the pool keeps one.
    units: Option<Box<UnitIndex>>,
}

impl Bitmap {
    /// Returns the address of the bits, which no other bitmap has.
    pub(crate) fn address(&self) -> usize {
        self.bits.words().as_ptr().addr()
    }

    /// Returns the number of granules.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bits.len()
    }

    /// Returns the bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        let units = self.units.as_deref().map_or(0, UnitIndex::footprint);
        self.bits.footprint() + self.hints.footprint() + units
    }

    #[inline]
    fn word(&self, at: WordIndex) -> &AtomicWord {
        self.bits.word(at)
    }

    /// Returns the run index, if one is kept for so many words. Its cells lie after the nodes of the hints, because a
    /// second table would cost each chunk more than it may.
    #[inline]
    fn run_index(&self) -> Option<RunIndex<'_>> {
        if !RunIndex::IS_THERE {
            return None;
        }
        let cells = self.hints.reserved()?;
        (!cells.is_empty()).then(|| RunIndex::of(cells, self.bits.words().len()))
    }

    /// Returns start position `number` of several that keep apart. The number with its bits reversed is a fraction
    /// of the bitmap (0, 1/2, 1/4, 3/4, …), so the first few positions are well spread, however many they are. Each
    /// is the start of a cache line, so that no two share a line from the outset.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low bits of the number are what is meant, and the block is below their count"
    )]
    pub(crate) fn start_apart(&self, number: usize) -> Granule {
        let fraction = u64::from((number as u32).reverse_bits());
        // In a bitmap of more than 2^32 lines, all positions lie in the first 2^32.
        let blocks = ((self.len() / CACHE_LINE_GRANULES) as u64).min(1 << 32);
        Granule(((blocks * fraction) >> 32) as usize * CACHE_LINE_GRANULES)
    }

    /// Returns true if the bitmap is small, and its hints rule out a fit for `n` granules: what
    /// [`take_at_once`](Self::take_at_once) looks at is all there is.
    #[inline(always)]
    pub(crate) fn is_small_without_fit(&self, n: usize) -> bool {
        let is_small = self.bits.words().len() <= FIRST_HINTS;
        is_small && self.hints.in_first_nodes(Need::of(n)).is_none()
    }

    // ---- claims and releases ----

    /// Claims the run of `n` granules at `start`, all or nothing.
    #[inline(always)]
    pub(crate) fn claim(&self, start: Granule, n: usize, activity: &Activity) -> Result<(), Taken> {
        if let Some(piece) = Piece::single(start, n) {
            self.bits.claim_piece(piece)?;
            self.claimed(start, n, activity);
            return Ok(());
        }
        self.claim_across(start, n, activity)
    }

    /// Records a claim inside one word, which has just been made, and notifies the probers.
    #[inline(always)]
    pub(crate) fn claimed(&self, start: Granule, n: usize, activity: &Activity) {
        if !activity.has_no_listeners() {
            self.notify_claims(core::iter::once(start), n, activity);
        }
    }

    /// Does the same for several claims, without a check for listeners.
    #[cold]
    #[inline(never)]
    fn notify_claims(&self, starts: impl Iterator<Item = Granule>, n: usize, activity: &Activity) {
        for start in starts {
            self.record_claim(start, n, activity);
        }
        if !seeded(Fault::UnnotifiedClaim) {
            activity.notify();
        }
    }

    #[cold]
    #[inline(never)]
    fn claim_across(&self, start: Granule, n: usize, activity: &Activity) -> Result<(), Taken> {
        let in_flight = activity.enter();
        for (done, piece) in Piece::all(start, n).enumerate() {
            if self.bits.claim_piece(piece).is_err() {
                let done = if seeded(Fault::KeptClaim) { 0 } else { done };
                let claimed = Piece::all(start, n).take(done);
                for piece in claimed.clone() {
                    self.bits.release_piece(piece);
                }
                if let Some(last) = claimed.last() {
                    // As after a free: another thread may have lowered a hint meanwhile.
                    let n = last.word.end().0 - start.0;
                    self.raise_hints(start, n);
                    self.record_release(start, n, activity);
                }
                return Err(Taken);
            }
        }
        drop(in_flight);
        self.record_claim(start, n, activity);
        Ok(())
    }

    /// Lowers the hint of a word, which was just seen as `seen`, to the word's run.
    #[inline(always)]
    fn lower_hint(&self, word: WordIndex, seen: usize) {
        let low = self.longest_from_seen(word, seen);
        self.hints
            .lower(word, low, || self.longest_now(word, seen, low));
    }

    /// Returns the length of the longest run that begins in the word, up to [`LONG`]. It was `low` when the word was
    /// `seen`.
    #[inline(always)]
    fn longest_now(&self, word: WordIndex, seen: usize, low: usize) -> usize {
        let now = self.word(word).load(Ordering::SeqCst);
        // The next word has no part in a run that ends before it.
        if now == seen && free_suffix(now) == 0 {
            return low;
        }
        self.longest_from_seen_again(word, now)
    }

    #[inline(never)]
    fn longest_from_seen_again(&self, word: WordIndex, now: usize) -> usize {
        self.longest_from_seen(word, now)
    }

    /// Clears the bits of a run if it lies in one word. The caller completes the release by
    /// [`complete_release`](Self::complete_release), unless [`is_settled`](Self::is_settled) shows that the bitmap needs
    /// nothing more.
    #[inline(always)]
    pub(crate) fn release_in_word(&self, start: Granule, n: usize) -> Option<Released> {
        let piece = Piece::single(start, n)?;
        // Prefetched here: the release waits for the word, and everything that is loaded after the release waits
        // for the release.
        self.hints.fetch(piece.word);
        let seen = self.bits.release_piece(piece);
        Some(Released { piece, seen })
    }

    /// Returns true if the granules were taken and no hint is too low now.
    #[inline(always)]
    pub(crate) fn is_settled(&self, Released { piece, seen }: Released) -> bool {
        let run = WordRun::around(piece, seen);
        self.is_covered(piece.word, run)
            && self.is_covered_before(piece.word, run)
            && seen & piece.mask == piece.mask
    }

    /// Returns true if the hint of `word` is known to cover `run`. A run that reaches the end of the word may
    /// continue in the next, which is not read here, so only [`LONG`] covers it.
    #[inline(always)]
    fn is_covered(&self, word: WordIndex, run: WordRun) -> bool {
        let hint = self.hints.get(word);
        hint == LONG
            || (run.end < WORD_BITS && run.end - run.start <= hint)
            || seeded(Fault::UncheckedHint)
    }

    /// Returns true if the hint of the word before is known to cover a run that begins there and continues into
    /// this one.
    #[inline(always)]
    fn is_covered_before(&self, word: WordIndex, run: WordRun) -> bool {
        if run.start > 0 || word.0 == 0 {
            return true;
        }
        let before = WordIndex(word.0 - 1);
        let top = self.word(before).load(Ordering::SeqCst) >> (WORD_BITS - 1);
        top != 0 || self.hints.get(before) == LONG || seeded(Fault::UncheckedBorder)
    }

    /// Completes a release after [`release_in_word`](Self::release_in_word). Returns an error if a granule was free
    /// before.
    pub(crate) fn complete_release(
        &self,
        released: Released,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        self.update_and_notify(released, activity);
        self.record_free(released);
        let Released { piece, seen } = released;
        NotTaken::check(piece, piece.mask & !seen)
    }

    /// Releases the run of `n` granules at `start`, which the caller owns. Returns an error if a granule of it was
    /// free before, because another caller freed by address what this one held. The bits are cleared in either
    /// case.
    #[inline(always)]
    pub(crate) fn release(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        match self.release_in_word(start, n) {
            Some(released) => self.complete_release(released, activity),
            None => self.release_across(start, n, activity),
        }
    }

    #[cold]
    fn release_across(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let outcome = {
            let _in_flight = activity.enter();
            self.bits.release_run(start, n)
        };
        self.raise_hints(start, n);
        self.record_release(start, n, activity);
        outcome
    }

    /// Releases a run that the caller only claims to own. Refuses the whole run if a granule of it is free. The
    /// first word decides between racing frees of one run.
    #[inline(always)]
    pub(crate) fn release_checked(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        self.bits.check_taken(start, n)?;
        if let Some(piece) = Piece::single(start, n) {
            let seen = self.bits.release_piece_checked(piece)?;
            // Not by `complete_release`, which would check once more (43 instructions, 2026-11).
            let released = Released { piece, seen };
            self.update_and_notify(released, activity);
            self.record_free(released);
            return Ok(());
        }
        {
            let _in_flight = activity.enter();
            let mut pieces = Piece::all(start, n);
            if let Some(first) = pieces.next() {
                self.bits.release_piece_checked(first)?;
            }
            for piece in pieces {
                // Missing bits here mean that another free by address of these granules ran concurrently with this
                // one. Without an ownership word it cannot be known which of the two owned them; PROMISES.md says
                // what that means.
                self.bits.release_piece(piece);
            }
        }
        self.raise_hints(start, n);
        self.record_release(start, n, activity);
        Ok(())
    }

    /// Raises the hints that are too low after a release inside one word, records the run, and notifies the probers.
    #[inline(always)]
    fn update_and_notify(&self, Released { piece, seen }: Released, activity: &Activity) {
        let run = WordRun::around(piece, seen);
        if !self.is_covered_before(piece.word, run) {
            self.raise_before(piece.word);
        }
        self.raise_hint(piece.word, run);
        if !activity.has_no_listeners() {
            self.notify_release(piece.word, run, activity);
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_release(&self, word: WordIndex, run: WordRun, activity: &Activity) {
        self.record_word_release(word, run, activity);
        if !seeded(Fault::UnnotifiedFree) {
            activity.notify();
        }
    }

    /// Gives the bitmap a parent slot for its highest hint, before any other thread sees it.
    pub(crate) fn set_parent(&mut self, above: ParentSlot) {
        self.hints.set_parent(above);
    }

    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Raises the hint of the word before `word`, after the first granule of `word` became free.
    #[inline(never)]
    fn raise_before(&self, word: WordIndex) {
        let before = WordIndex(word.0 - 1);
        // Relaxed: `is_covered_before` has just read the word, and this reads it no older.
        let free = free_suffix(self.word(before).load(Ordering::Relaxed));
        if free > 0 {
            let run = WordRun {
                start: WORD_BITS - free,
                end: WORD_BITS,
            };
            self.raise_hint(before, run);
        }
    }

    /// Raises the hint of a word in which the granules of `run` are free.
    #[inline(always)]
    fn raise_hint(&self, word: WordIndex, run: WordRun) {
        let further = if run.end == WORD_BITS {
            self.bits.free_prefix_of(word.next())
        } else {
            0
        };
        if !seeded(Fault::UnraisedHint) {
            self.hints.raise(word, run.end - run.start + further);
        }
    }

    /// Raises the hints of the words whose run grew when the `n` granules at `start` became free. Of the words
    /// before them, only the last may need it: the run of a word further down goes through a whole free word, so it
    /// is [`LONG`] already. The words of which more than a word became free, from the word or from `start` on, need no
    /// look.
    #[cold]
    fn raise_hints(&self, start: Granule, n: usize) {
        if seeded(Fault::UnraisedHint) {
            return;
        }
        let (first, end) = (start.word().0, start.0 + n);
        let long_end = match n {
            LONG.. => (end - LONG) / WORD_BITS + 1,
            _ => first,
        };
        self.hints.raise_to_long(first..long_end);
        let before = first.saturating_sub(1)..first;
        for word in before.chain(long_end..end.div_ceil(WORD_BITS)) {
            let word = WordIndex(word);
            if self.hints.get(word) < LONG {
                self.hints.raise(word, self.longest_from(word));
            }
        }
        if self.keeps_units() {
            for word in first..end.div_ceil(WORD_BITS) {
                self.record_free_in(WordIndex(word));
            }
        }
    }

    /// Returns the length of the longest run that begins in the word, up to [`LONG`].
    fn longest_from(&self, word: WordIndex) -> usize {
        self.longest_from_seen(word, self.word(word).load(Ordering::SeqCst))
    }

    /// Does the same for a word that was just seen as `seen`.
    #[inline]
    fn longest_from_seen(&self, word: WordIndex, seen: usize) -> usize {
        let suffix = free_suffix(seen);
        let through = if suffix > 0 {
            suffix + self.bits.free_prefix_of(word.next())
        } else {
            0
        };
        longest_free(seen).max(through).min(LONG)
    }

    // ---- looks ----

    /// Returns true if the whole run of `n` granules at `start` is free. Returns false if it leaves the chunk.
    pub(crate) fn is_free(&self, start: Granule, n: usize) -> bool {
        self.bits.is_free(start, n)
    }

    /// Returns an error unless every granule of the run is taken.
    pub(crate) fn check_taken(&self, start: Granule, n: usize) -> Result<(), NotTaken> {
        self.bits.check_taken(start, n)
    }

    /// Returns how many granules are taken.
    pub(crate) fn taken(&self) -> usize {
        self.bits.taken()
    }

    /// Returns true if no granule is taken. `busy` remembers the word that the last call found taken. It is read
    /// first, so while something stays there, a call is one load.
    pub(crate) fn is_empty(&self, busy: &Atomic<u32>) -> bool {
        self.bits.is_empty(busy)
    }

    /// At rest: returns true if no hint is below the run of its word, every free run is in the run index, and the
    /// padding is in place.
    pub(crate) fn is_sound(&self) -> bool {
        let mut words = (0..self.bits.words().len()).map(WordIndex);
        let hinted = words
            .clone()
            .all(|word| self.longest_from(word) <= self.hints.get(word));
        let padded = |at| {
            let padding = self.bits.padding(at);
            self.word(at).load(Ordering::Relaxed) & padding == padding
        };
        let mut runs = self.free_runs(Granule(0), 1, Look::Exact);
        let indexed = self
            .run_index()
            .is_none_or(|run_index| runs.all(|run| run_index.includes(run.start.line(), run.len)));
        hinted && indexed && self.hints.is_sound() && words.next_back().is_some_and(padded)
    }
}
