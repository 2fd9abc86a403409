//! The bitmap of one chunk: which granules are taken.
//!
//! # Shape
//!
//! A *granule* is a bit, set while it is taken. A *word* is `usize` wide. A *block* is one cache
//! line of words. Every word has a *hint*, an upper limit on the free run
//! that begins in it and may go on into the next words (`hints.rs`), so a run that crosses words is
//! found at the word where it begins. Bits behind the last granule of the chunk are set for ever.
//!
//! # Changing bits
//!
//! A run inside one word is claimed by one compare-and-swap and released by one fetch-and: the
//! change is atomic and nobody else ever sees half of it. A run that crosses words is claimed word
//! by word, upwards, and taken back when a word refuses; it is released word by word. Others see
//! those intermediate states, so both announce themselves in [`Activity`] before the first bit
//! changes and until the last one has; whoever finds no room consults it before saying so.
//!
//! # What may be stale, and why that is harmless
//!
//! - A scan reads words at different times: what it proposes is claimed by compare-and-swap, so a
//!   stale proposal is refused, never honoured. What it failed to find is not a proof; see
//!   [`Activity`].
//! - A hint that is too high wastes a look; one that is too low, for the moment that `hints.rs`
//!   describes, hides a run from searches, not from the look that proves a failure.
//! - [`Bitmap::taken`] and [`Bitmap::free_runs`] read a word at a time: each figure lies between 0
//!   and the number of granules at every instant, and is exact when nobody moves.
//!
//! # Orderings
//!
//! A claim is at least `Acquire` and a release at least `Release`, so what an owner wrote before it
//! gave a granule back happens before the next owner's use (models: `handover`, `handover
//! by drop`). Both are `SeqCst`
//! because each is followed by a load that must not be ordered before it: of the chunk's state, of
//! the probers, of a hint. Looks that prove load with `SeqCst` because they stand between two readings
//! of the traffic; searches, see `search.rs`, `Relaxed`.

mod batch;
mod hint_node;
mod hints;
mod levels;
mod line;
mod run_index;
mod runs;
mod search;
mod starts;
#[cfg(all(test, not(genpool_loom)))]
mod tests;
mod tightest;
mod word;

pub(crate) use self::batch::Batch;
use self::hint_node::LONG;
pub(crate) use self::hint_node::Need;
pub(crate) use self::hints::{Hints, ParentSlot};
pub(crate) use self::search::Search;
pub(crate) use self::starts::{AlignedStarts, AnyStart};
use self::tightest::Change;
pub(crate) use self::word::WORD_BITS;
use self::word::{AtomicWord, FULL, free_prefix, free_suffix, longest_free, mask};
use crate::activity::Activity;
use crate::memory::{NoMemory, Node, Table};
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};

/// Words in a block: one cache line of bitmap. Two in small models.
const CACHE_LINE_WORDS: usize = if cfg!(genpool_small) {
    2
} else {
    64 / size_of::<usize>()
};

/// Granules in a block.
const CACHE_LINE_GRANULES: usize = CACHE_LINE_WORDS * WORD_BITS;

/// How closely a scan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Skips words whose hint says that they cannot serve, and lowers hints that were too high.
    Hinted,
    /// Looks at every bit.
    Exact,
}

/// The claim was refused: a granule of the run is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken;

/// How bits are cleared: see the module's text.
#[inline]
fn release_order() -> Ordering {
    if seeded(Fault::RelaxedRelease) {
        Ordering::Relaxed
    } else {
        Ordering::SeqCst
    }
}

/// A part of a run that lies in one word.
#[derive(Clone, Copy)]
struct Piece {
    word: usize,
    mask: usize,
}

impl Piece {
    /// `len` granules from bit `from` of a word on.
    #[inline]
    fn new(word: usize, from: usize, len: usize) -> Self {
        let mask = mask(from, len);
        Self { word, mask }
    }

    /// Its first granule.
    fn start(self) -> usize {
        self.word * WORD_BITS + self.mask.trailing_zeros() as usize
    }
}

/// What a release inside one word saw: its piece, and the word before.
#[derive(Clone, Copy)]
pub(crate) struct Released {
    piece: Piece,
    seen: usize,
}

/// Free granules of a word, from bit `start` to `end`.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
}

impl Run {
    /// The run that a piece is part of, as far as it lies in the word, once its bits are cleared in
    /// what was seen.
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

/// The most granules of a bitmap: so few that places up to twice as far can be counted.
pub(crate) const MAX_GRANULES: usize = usize::MAX / 2;

/// The length first: see `Chunk`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Bitmap {
    len: usize,
    words: Table<AtomicWord>,
    hints: Hints,
}

impl Bitmap {
    /// `len` free granules, at least one.
    pub(crate) fn new(len: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let words = len.div_ceil(WORD_BITS);
        let bitmap = Self {
            words: Table::zeroed(words, node)?,
            hints: Hints::new(words, node)?,
            len,
        };
        let last = words - 1;
        // Relaxed: nobody else has seen the bitmap yet.
        bitmap.words[last].store(bitmap.padding(last), Ordering::Relaxed);
        Ok(bitmap)
    }

    /// Granules.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.words) + self.hints.footprint()
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicWord {
        &self.words[at]
    }

    /// Where number `number` of several that keep apart begins: the number with its bits reversed is a
    /// fraction of the granules (0, 1/2, 1/4, 3/4, …), so that any few of them are spread well. In
    /// whole blocks, so that two do not share a line from the outset.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low bits of the number are what is meant, and the block is below their count"
    )]
    pub(crate) fn start_apart(&self, number: usize) -> usize {
        let fraction = u64::from((number as u32).reverse_bits());
        // Blocks beyond 2^32 begin in the first 2^32.
        let blocks = ((self.len / CACHE_LINE_GRANULES) as u64).min(1 << 32);
        ((blocks * fraction) >> 32) as usize * CACHE_LINE_GRANULES
    }

    /// The bits of word `at` that stand for no granule.
    fn padding(&self, at: usize) -> usize {
        let granules = self.len.saturating_sub(at * WORD_BITS).min(WORD_BITS);
        FULL & !mask(0, granules)
    }

    /// The pieces of the run of `n` granules at `start`, upwards.
    fn pieces(start: usize, n: usize) -> impl DoubleEndedIterator<Item = Piece> + Clone {
        let end = start + n;
        (start / WORD_BITS..end.div_ceil(WORD_BITS)).map(move |word| {
            let from = start.max(word * WORD_BITS) % WORD_BITS;
            let to = end.min((word + 1) * WORD_BITS) - word * WORD_BITS;
            Piece::new(word, from, to - from)
        })
    }

    /// The run as one piece, if it lies in one word.
    #[inline]
    fn single(start: usize, n: usize) -> Option<Piece> {
        let from = start % WORD_BITS;
        (n <= WORD_BITS - from).then(|| Piece::new(start / WORD_BITS, from, n))
    }

    // ---- claims and releases ----

    /// Takes the run of `n` granules at `start`, all or nothing.
    #[inline(always)]
    pub(crate) fn claim(&self, start: usize, n: usize, activity: &Activity) -> Result<(), Taken> {
        if let Some(piece) = Self::single(start, n) {
            self.claim_piece(piece)?;
            self.claimed(start, n, activity);
            return Ok(());
        }
        self.claim_across(start, n, activity)
    }

    /// Tells of a claim inside one word, which has just been made.
    #[inline(always)]
    pub(crate) fn claimed(&self, start: usize, n: usize, activity: &Activity) {
        if !activity.has_no_listeners() {
            self.notify_claims(core::iter::once(start), n, activity);
        }
    }

    /// The same of several, whether anybody heeds it or not.
    #[cold]
    #[inline(never)]
    fn notify_claims(&self, starts: impl Iterator<Item = usize>, n: usize, activity: &Activity) {
        for start in starts {
            self.record_runs(Change::Claim, start, n, activity);
        }
        if !seeded(Fault::UnnotifiedClaim) {
            activity.notify();
        }
    }

    #[cold]
    #[inline(never)]
    fn claim_across(&self, start: usize, n: usize, activity: &Activity) -> Result<(), Taken> {
        let in_flight = activity.enter();
        for (done, piece) in Self::pieces(start, n).enumerate() {
            if self.claim_piece(piece).is_err() {
                let done = if seeded(Fault::KeptClaim) { 0 } else { done };
                let claimed = Self::pieces(start, n).take(done);
                for piece in claimed.clone() {
                    self.release_piece(piece);
                }
                if let Some(last) = claimed.last() {
                    // As after a free: somebody may have lowered a hint meanwhile.
                    let n = last.word * WORD_BITS + WORD_BITS - start;
                    self.raise_hints(start, n);
                    self.record_runs(Change::Release, start, n, activity);
                }
                return Err(Taken);
            }
        }
        drop(in_flight);
        self.record_runs(Change::Claim, start, n, activity);
        Ok(())
    }

    #[inline(always)]
    fn claim_piece(&self, piece: Piece) -> Result<(), Taken> {
        let word = self.word(piece.word);
        // Relaxed: the exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        while seen & piece.mask == 0 {
            match Self::try_claim(word, piece.mask, seen) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
        Err(Taken)
    }

    /// Sets the bits of `mask` in a word that was seen without them, unless the word has changed.
    #[inline(always)]
    fn try_claim(word: &AtomicWord, mask: usize, seen: usize) -> Result<(), usize> {
        let set = seen | mask;
        if seeded(Fault::TornClaim) {
            word.store(set, Ordering::Relaxed);
            return Ok(());
        }
        // SeqCst: Acquire pairs with `release_piece` (hand-over); the rest is for the loads that
        // follow a claim, of the chunk's state and of the probers.
        word.compare_exchange_weak(seen, set, Ordering::SeqCst, Ordering::Relaxed)?;
        model_fence();
        Ok(())
    }

    /// Lowers the hint of a word, which was just seen to be `seen`, to its run.
    #[inline(never)]
    fn lower_hint(&self, word: usize, seen: usize) {
        let low = self.longest_from_seen(word, seen);
        self.hints.lower(word, low, || {
            let now = self.word(word).load(Ordering::SeqCst);
            // The next word has no part in a run that ends before it.
            if now == seen && free_suffix(now) == 0 {
                low
            } else {
                self.longest_from_seen(word, now)
            }
        });
    }

    /// Clears the bits of a run that lies in one word; the caller settles the rest. What is answered
    /// serves for that.
    #[inline(always)]
    pub(crate) fn release_at_once(&self, start: usize, n: usize) -> Option<Released> {
        let piece = Self::single(start, n)?;
        // The release waits for the word, and what is loaded after it for the release.
        self.hints.fetch(piece.word);
        let seen = self.release_piece(piece);
        Some(Released { piece, seen })
    }

    /// Whether nothing is left to be done about the hints, and the granules were taken.
    #[inline(always)]
    pub(crate) fn is_settled(&self, Released { piece, seen }: Released) -> bool {
        let run = Run::around(piece, seen);
        let hint = self.hints.get(piece.word);
        let covered = hint == LONG
            || (run.end < WORD_BITS && run.end - run.start <= hint)
            || seeded(Fault::UncheckedHint);
        let before_covered = run.start > 0 || piece.word == 0 || self.covers_border(piece.word);
        covered && before_covered && seen & piece.mask == piece.mask
    }

    /// Whether a run that begins in the word before `word` and goes on into this one is hinted at.
    #[inline(always)]
    fn covers_border(&self, word: usize) -> bool {
        let before = word - 1;
        let top = self.word(before).load(Ordering::SeqCst) >> (WORD_BITS - 1);
        top != 0 || self.hints.get(before) == LONG || seeded(Fault::UncheckedBorder)
    }

    /// Does what is left to be done after [`release_at_once`](Self::release_at_once).
    pub(crate) fn settle(
        &self,
        Released { piece, seen }: Released,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        self.released(piece, seen, activity);
        NotTaken::check(piece, piece.mask & !seen)
    }

    /// Gives back the run of `n` granules at `start`. The caller owns it; a granule that was free
    /// all the same (somebody freed by address what the caller held) is told.
    #[inline(always)]
    pub(crate) fn release(
        &self,
        start: usize,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        match self.release_at_once(start, n) {
            Some(released) => self.settle(released, activity),
            None => self.release_across(start, n, activity),
        }
    }

    #[cold]
    fn release_across(&self, start: usize, n: usize, activity: &Activity) -> Result<(), NotTaken> {
        let mut outcome = Ok(());
        {
            let _in_flight = activity.enter();
            for piece in Self::pieces(start, n) {
                let missing = piece.mask & !self.release_piece(piece);
                outcome = outcome.and(NotTaken::check(piece, missing));
            }
        }
        self.raise_hints(start, n);
        self.record_runs(Change::Release, start, n, activity);
        outcome
    }

    /// Clears the piece; answers what the word was before.
    #[inline(always)]
    fn release_piece(&self, piece: Piece) -> usize {
        // SeqCst: Release pairs with `claim_piece` (hand-over); the rest is for the loads that
        // follow, of the hint, of the probers and of the chunk's state.
        let seen = self
            .word(piece.word)
            .fetch_and(!piece.mask, release_order());
        if !seeded(Fault::NoFence) {
            model_fence();
        }
        seen
    }

    /// Gives back a run that the caller only claims to own: refused as a whole if a granule of it
    /// is free. The first word decides between racing frees of one run.
    pub(crate) fn release_checked(
        &self,
        start: usize,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        self.check_taken(start, n)?;
        if let Some(piece) = Self::single(start, n) {
            let seen = self.release_piece_checked(piece)?;
            self.released(piece, seen, activity);
            return Ok(());
        }
        {
            let _in_flight = activity.enter();
            let mut pieces = Self::pieces(start, n);
            if let Some(first) = pieces.next() {
                self.release_piece_checked(first)?;
            }
            for piece in pieces {
                // Missing bits here mean that another free by address of these granules went on
                // beside this one. Without an ownership word nobody can tell whose they were; PROMISES.md says
                // what that means.
                self.release_piece(piece);
            }
        }
        self.raise_hints(start, n);
        self.record_runs(Change::Release, start, n, activity);
        Ok(())
    }

    /// Refused unless every granule of a run is taken.
    pub(crate) fn check_taken(&self, start: usize, n: usize) -> Result<(), NotTaken> {
        for piece in Self::pieces(start, n) {
            // Acquire: as in `taken`, for a refusal tells what is free.
            // Not caught: as there, the look for probers is executed after this one and misses none.
            let seen = self.word(piece.word).load(Ordering::Acquire);
            NotTaken::check(piece, piece.mask & !seen)?;
        }
        Ok(())
    }

    fn release_piece_checked(&self, piece: Piece) -> Result<usize, NotTaken> {
        let word = self.word(piece.word);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            if seeded(Fault::UncheckedFree) {
                return Ok(self.release_piece(piece));
            }
            NotTaken::check(piece, piece.mask & !seen)?;
            // As in `release_piece`.
            let cleared = seen & !piece.mask;
            match word.compare_exchange_weak(seen, cleared, release_order(), Ordering::Relaxed) {
                Ok(_) => {
                    if !seeded(Fault::NoFence) {
                        model_fence();
                    }
                    return Ok(seen);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// What follows a release inside one word; `seen` is what the word was before.
    #[inline(always)]
    fn released(&self, piece: Piece, seen: usize, activity: &Activity) {
        let run = Run::around(piece, seen);
        if run.start == 0 && piece.word > 0 {
            self.raise_before(piece.word);
        }
        let hint = self.hints.get(piece.word);
        if hint < LONG && (hint < run.end - run.start || run.end == WORD_BITS) {
            self.raise_hint(piece.word, run);
        }
        if !activity.has_no_listeners() {
            self.notify_release(piece, activity);
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_release(&self, piece: Piece, activity: &Activity) {
        let n = piece.mask.count_ones() as usize;
        self.record_runs(Change::Release, piece.start(), n, activity);
        if !seeded(Fault::UnnotifiedFree) {
            activity.notify();
        }
    }

    /// Gives the bitmap a slot for its highest hint, before anybody else sees it.
    pub(crate) fn set_parent(&mut self, above: ParentSlot) {
        self.hints.set_parent(above);
    }

    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Raises the hint of the word before `word`, whose first granule became free.
    fn raise_before(&self, word: usize) {
        let before = word - 1;
        let free = free_suffix(self.word(before).load(Ordering::SeqCst));
        if free > 0 && self.hints.get(before) < LONG {
            let run = Run {
                start: WORD_BITS - free,
                end: WORD_BITS,
            };
            self.raise_hint(before, run);
        }
    }

    /// Raises the hint of a word in which the granules of `run` are free.
    #[inline(never)]
    fn raise_hint(&self, word: usize, run: Run) {
        let further = if run.end == WORD_BITS {
            self.free_prefix_of(word + 1)
        } else {
            0
        };
        if !seeded(Fault::UnraisedHint) {
            self.hints.raise(word, run.end - run.start + further);
        }
    }

    /// Raises the hints of the words whose run grew when a run of `n` granules at `start` became
    /// free. Of the words before, only the last may need it: the run of one further down goes
    /// through a free word and is [`LONG`] already.
    #[cold]
    fn raise_hints(&self, start: usize, n: usize) {
        let end = start + n;
        for word in (start / WORD_BITS).saturating_sub(1)..end.div_ceil(WORD_BITS) {
            if !seeded(Fault::UnraisedHint) {
                self.hints.raise(word, self.longest_from(word));
            }
        }
    }

    /// The longest run that begins in the word, up to [`LONG`].
    fn longest_from(&self, word: usize) -> usize {
        self.longest_from_seen(word, self.word(word).load(Ordering::SeqCst))
    }

    /// The same of a word that was seen to be `seen`.
    #[inline]
    fn longest_from_seen(&self, word: usize, seen: usize) -> usize {
        let suffix = free_suffix(seen);
        let through = if suffix > 0 {
            suffix + self.free_prefix_of(word + 1)
        } else {
            0
        };
        longest_free(seen).max(through).min(LONG)
    }

    /// How many granules are free from the beginning of a word on, which may be behind the last.
    fn free_prefix_of(&self, word: usize) -> usize {
        let word = self.words.get(word);
        word.map_or(0, |word| free_prefix(word.load(Ordering::SeqCst)))
    }

    // ---- counts ----

    /// How many granules are taken.
    pub(crate) fn taken(&self) -> usize {
        // Acquire: what is told of is told to the probers first (`Inner::reveal`).
        // Not caught: loom and Miri execute the look for probers, which is `SeqCst`, after this one, and
        // then it misses none of them.
        let set = |word: &AtomicWord| word.load(Ordering::Acquire).count_ones() as usize;
        self.words.iter().map(set).sum::<usize>() - (self.words.len() * WORD_BITS - self.len)
    }

    /// Whether no granule is taken. `busy` remembers the word that the last look found taken, which
    /// is looked at first: while something stays there, a look is one load.
    pub(crate) fn is_empty(&self, busy: &AtomicUsize) -> bool {
        let is_clear = |at: usize| self.word(at).load(Ordering::SeqCst) == self.padding(at);
        // Relaxed: any word will do.
        if !is_clear(busy.load(Ordering::Relaxed)) {
            return false;
        }
        let found = (0..self.words.len()).find(|&at| !is_clear(at));
        if let Some(at) = found {
            busy.store(at, Ordering::Relaxed);
        }
        found.is_none()
    }

    /// At rest: whether no hint is below the run of its word, every run's length is told, and the
    /// padding is in place.
    pub(crate) fn is_sound(&self) -> bool {
        let words = 0..self.words.len();
        let hinted = words
            .clone()
            .all(|word| self.longest_from(word) <= self.hints.get(word));
        let padded = |at| {
            let padding = self.padding(at);
            self.word(at).load(Ordering::Relaxed) & padding == padding
        };
        let mut runs = self.free_runs(0, 1, Look::Exact);
        let observed = self.hints.run_index().is_none_or(|run_index| {
            runs.all(|(start, len)| run_index.includes(start / line::LINE_GRANULES, len))
        });
        hinted && observed && self.hints.is_sound() && words.last().is_some_and(padded)
    }
}

/// A granule was free that should have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTaken {
    /// The first such granule.
    pub(crate) granule: usize,
}

impl NotTaken {
    #[inline]
    fn check(piece: Piece, missing: usize) -> Result<(), Self> {
        if missing == 0 {
            return Ok(());
        }
        Err(Self {
            granule: piece.word * WORD_BITS + missing.trailing_zeros() as usize,
        })
    }
}
