//! The bits of a bitmap: the words, and every atomic change of them.
//!
//! This module knows neither the summaries nor the probers; [`Bitmap`](super::Bitmap) keeps both up to date after a
//! change. The orderings are explained there.

use super::word::{AtomicWord, FULL, free_prefix, mask};
use crate::memory::Table;
#[cfg(feature = "alloc")]
use crate::memory::{NoMemory, Node};
use crate::sync::{Atomic, Fault, Ordering, fence, model_fence, seeded};
use crate::units::{Granule, WORD_BITS, WordIndex};

/// A claim was refused because a granule of the run is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken;

/// A granule that should have been taken was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTaken {
    /// The first such granule.
    pub(crate) granule: Granule,
}

impl NotTaken {
    #[inline]
    pub(super) fn check(piece: Piece, missing: usize) -> Result<(), Self> {
        if missing == 0 {
            return Ok(());
        }
        Err(Self {
            granule: piece
                .word
                .granule(0)
                .plus(missing.trailing_zeros() as usize),
        })
    }
}

/// The ordering of a release: see the module's text.
#[inline]
fn release_order() -> Ordering {
    if seeded(Fault::RelaxedRelease) {
        Ordering::Relaxed
    } else {
        Ordering::SeqCst
    }
}

/// The ordering of a release by a store.
#[inline]
fn release_store_order() -> Ordering {
    if seeded(Fault::RelaxedRelease) {
        Ordering::Relaxed
    } else {
        Ordering::Release
    }
}

/// The most granules that a bitmap may have, so that the sum of two positions cannot overflow.
pub(crate) const MAX_GRANULES: usize = usize::MAX / 2;

/// A part of a run that lies in one word.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) word: WordIndex,
    pub(super) mask: usize,
}

impl Piece {
    /// The `len` granules of a word from bit `from` on.
    #[inline]
    pub(super) fn new(word: WordIndex, from: usize, len: usize) -> Self {
        let mask = mask(from, len);
        Self { word, mask }
    }

    /// Returns its first granule.
    #[inline]
    pub(super) fn start(self) -> Granule {
        self.word.granule(self.mask.trailing_zeros() as usize)
    }

    /// Returns the pieces of the run of `n` granules at `start`, at least one, in ascending order.
    #[inline(always)]
    pub(super) fn all(start: Granule, n: usize) -> impl DoubleEndedIterator<Item = Self> + Clone {
        let last = Granule(start.0 + n - 1);
        let (first, last_word) = (start.word().0, last.word().0);
        let from_start = FULL << start.bit() & FULL;
        let to_last = FULL >> (WORD_BITS - 1 - last.bit());
        (first..last_word + 1).map(move |word| {
            let below = if word == first { from_start } else { FULL };
            let above = if word == last_word { to_last } else { FULL };
            Self {
                word: WordIndex(word),
                mask: below & above,
            }
        })
    }

    /// Returns the run as one piece, if it lies in one word.
    #[inline]
    pub(super) fn single(start: Granule, n: usize) -> Option<Self> {
        let from = start.bit();
        (n <= WORD_BITS - from).then(|| Self::new(start.word(), from, n))
    }
}

/// Returns the bits of word `at` that stand for no granule in a bitmap of `len` granules.
pub(super) const fn padding(len: usize, at: WordIndex) -> usize {
    let granules = len.saturating_sub(at.granule(0).0);
    let granules = if granules < WORD_BITS {
        granules
    } else {
        WORD_BITS
    };
    FULL & !mask(0, granules)
}

/// The words of a bitmap. `len` is the first field: see `Chunk`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Bits {
    len: usize,
    words: Table<AtomicWord>,
}

impl Bits {
    /// Creates `len` free granules in borrowed words, whose padding is set (see [`padding`]).
    #[cfg(not(genpool_loom))]
    pub(super) const fn of(len: usize, words: Table<AtomicWord>) -> Self {
        Self { len, words }
    }

    /// Creates `len` free granules, at least one.
    #[cfg(feature = "alloc")]
    pub(super) fn new(len: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let words = Table::zeroed(len.div_ceil(WORD_BITS), node)?;
        let bits = Self { len, words };
        let last = WordIndex(bits.words.len() - 1);
        // Relaxed: no other thread has seen the bits yet.
        bits.word(last).store(bits.padding(last), Ordering::Relaxed);
        Ok(bits)
    }

    /// Returns the number of granules.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.words)
    }

    #[inline]
    pub(super) fn words(&self) -> &[AtomicWord] {
        &self.words
    }

    #[inline]
    pub(super) fn word(&self, at: WordIndex) -> &AtomicWord {
        &self.words[at.0]
    }

    /// Returns the bits of word `at` that stand for no granule.
    pub(super) fn padding(&self, at: WordIndex) -> usize {
        padding(self.len, at)
    }

    // ---- claims and releases ----

    #[inline(always)]
    pub(super) fn claim_piece(&self, piece: Piece) -> Result<(), Taken> {
        let word = self.word(piece.word);
        // Relaxed: the compare-exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        while seen & piece.mask == 0 {
            match Self::try_claim(word, piece.mask, seen) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
        Err(Taken)
    }

    /// Sets the bits of `mask` in a word that was seen without them. Fails with the current value if the word has
    /// changed, or spuriously.
    #[inline(always)]
    pub(super) fn try_claim(word: &AtomicWord, mask: usize, seen: usize) -> Result<(), usize> {
        let set = seen | mask;
        if seeded(Fault::TornClaim) {
            word.store(set, Ordering::Relaxed);
            return Ok(());
        }
        // SeqCst: Acquire pairs with `release_piece` (handover). The rest is for the loads that follow a claim, of
        // the chunk's state and of the listeners.
        word.compare_exchange_weak(seen, set, Ordering::SeqCst, Ordering::Relaxed)?;
        model_fence();
        Ok(())
    }

    /// Clears the bits of the piece and returns what the word was before.
    ///
    /// A loop, because x86 has no other way to learn what the word was. Written out, what the caller makes of the word
    /// does not wait for the exchange.
    #[inline(always)]
    pub(super) fn release_piece(&self, piece: Piece) -> usize {
        let word = self.word(piece.word);
        // Relaxed: the compare-exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        // SeqCst: Release pairs with `claim_piece` (handover). The rest is for the loads that follow, of the hint,
        // of the listeners and of the chunk's state.
        while let Err(now) =
            word.compare_exchange_weak(seen, seen & !piece.mask, release_order(), Ordering::Relaxed)
        {
            seen = now;
        }
        if !seeded(Fault::NoFence) {
            model_fence();
        }
        seen
    }

    /// Clears the bits of a run that the caller owns, of more than one word. Returns an error if one was clear before.
    ///
    /// After the first word, whole words are cleared by a store, which costs a fraction of an exchange: no other thread
    /// changes a word that the caller owns whole, unless it frees by address what it does not own. The first word is
    /// cleared by an exchange, which decides between two frees of one run.
    #[inline]
    pub(super) fn release_run(&self, start: Granule, n: usize) -> Result<(), NotTaken> {
        let (first, end) = (start.word(), Granule(start.0 + n));
        let whole = first.0 + 1..end.word().0;
        let mut outcome = Ok(());
        let mut note = |piece: Piece, seen: usize| {
            outcome = outcome.and(NotTaken::check(piece, piece.mask & !seen));
        };
        let piece = Piece::new(first, start.bit(), WORD_BITS - start.bit());
        note(piece, self.release_piece(piece));
        for at in whole.clone() {
            let word = WordIndex(at);
            let cell = self.word(word);
            // Relaxed: the bits are the caller's.
            note(Piece { word, mask: FULL }, cell.load(Ordering::Relaxed));
            // Release pairs with `claim_piece` (model `handover of a whole word`).
            cell.store(0, release_store_order());
        }
        if !whole.is_empty() && !seeded(Fault::NoFence) {
            // For the loads that follow, as the exchange of `release_piece` (model `whole word vs search`).
            fence(Ordering::SeqCst);
        }
        if end.bit() > 0 {
            let piece = Piece::new(end.word(), 0, end.bit());
            note(piece, self.release_piece(piece));
        }
        outcome
    }

    pub(super) fn release_piece_checked(&self, piece: Piece) -> Result<usize, NotTaken> {
        let word = self.word(piece.word);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            if seeded(Fault::UncheckedFree) {
                return Ok(self.release_piece(piece));
            }
            NotTaken::check(piece, piece.mask & !seen)?;
            // The ordering of `release_piece`.
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

    // ---- looks ----

    /// Returns an error unless every granule of the run is taken.
    pub(super) fn check_taken(&self, start: Granule, n: usize) -> Result<(), NotTaken> {
        for piece in Piece::all(start, n) {
            // Acquire: as in `taken`, because a refusal reveals what is free.
            // Not caught: as there, the look for probers is executed after this one and misses none.
            let seen = self.word(piece.word).load(Ordering::Acquire);
            NotTaken::check(piece, piece.mask & !seen)?;
        }
        Ok(())
    }

    /// Returns true if the whole run of `n` granules at `start` is free. Returns false if it leaves the chunk.
    pub(super) fn is_free(&self, start: Granule, n: usize) -> bool {
        let end = start.0.checked_add(n);
        end.is_some_and(|end| end <= self.len)
            && (n == 0
                || Piece::all(start, n)
                    .all(|piece| self.word(piece.word).load(Ordering::SeqCst) & piece.mask == 0))
    }

    /// Returns how many granules are free from `at` on, where a word begins, up to `ceiling`.
    pub(super) fn free_after(&self, at: Granule, ceiling: Granule) -> usize {
        let ceiling = ceiling.min(Granule(self.len));
        let mut end = at;
        while end < ceiling {
            let free = free_prefix(self.word(end.word()).load(Ordering::Relaxed));
            end = end.plus(free);
            if free < WORD_BITS {
                break;
            }
        }
        end.min(ceiling).0.saturating_sub(at.0)
    }

    /// Returns how many granules are free from the beginning of a word on. Past the last word there are none.
    pub(super) fn free_prefix_of(&self, word: WordIndex) -> usize {
        let word = self.words.get(word.0);
        word.map_or(0, |word| free_prefix(word.load(Ordering::SeqCst)))
    }

    /// Returns how many granules are taken.
    pub(super) fn taken(&self) -> usize {
        // Acquire: the probers are notified before the count is revealed (`Shared::reveal`).
        // Not caught: loom and Miri execute the look for probers, which is `SeqCst`, after this one, and then it
        // misses none of them.
        let set = |word: &AtomicWord| word.load(Ordering::Acquire).count_ones() as usize;
        self.words.iter().map(set).sum::<usize>() - (self.words.len() * WORD_BITS - self.len)
    }

    /// Returns true if no granule is taken. `busy` remembers the word that the last call found taken. It is read
    /// first, so while something stays there, a call is one load.
    pub(super) fn is_empty(&self, busy: &Atomic<u32>) -> bool {
        let is_clear = |at: usize| {
            let word = WordIndex(at);
            self.word(word).load(Ordering::SeqCst) == self.padding(word)
        };
        // Relaxed: any word will do to begin with.
        if !is_clear(busy.load(Ordering::Relaxed) as usize) {
            return false;
        }
        let found = (0..self.words.len()).find(|&at| !is_clear(at));
        if let Some(at) = found {
            busy.store(u32::try_from(at).unwrap_or(0), Ordering::Relaxed);
        }
        found.is_none()
    }
}
