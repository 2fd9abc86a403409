//! The bitmap of one chunk: which granules are taken.
//!
//! # Shape
//!
//! A *granule* is a bit, set while it is taken. A *word* is `usize` wide. A *block* is one cache
//! line of words and carries a *bound*, an upper limit on the free runs inside it (`bound.rs`). A run
//! that crosses a block border is found through the bounds of both sides: it is no longer than the
//! free tail before the border plus the free head behind it. Bits behind the last granule of the
//! chunk are set for ever.
//!
//! # Changing bits
//!
//! A run inside one word is claimed by one compare-and-swap and released by one fetch-and: the
//! change is atomic and nobody else ever sees half of it. A run that crosses words is claimed word
//! by word, upwards, and taken back when a word refuses; it is released word by word. Others see
//! those intermediate states, so both announce themselves in [`Traffic`] before the first bit
//! changes and until the last one has; whoever finds no room consults it before saying so.
//!
//! # What may be stale, and why that is harmless
//!
//! - A scan reads words at different times: what it proposes is claimed by compare-and-swap, so a
//!   stale proposal is refused, never honoured. What it failed to find is not a proof; see
//!   [`Traffic`].
//! - A bound that is too high wastes a look.
//! - [`Bitmap::taken`] and [`Bitmap::free_runs`] read a word at a time: each figure lies between 0
//!   and the number of granules at every instant, and is exact when nobody moves.
//!
//! # Orderings
//!
//! A claim is at least `Acquire` and a release at least `Release`, so what an owner wrote before it
//! gave a granule back happens before the next owner's use (models: `handover`, `handover
//! by drop`). Both are `SeqCst`
//! because each is followed by a load that must not be ordered before it: of the chunk's state, of
//! the number of watchers, of the bound. Scans load with `SeqCst` because in the exact look they
//! stand between two readings of the traffic.

mod bound;
mod places;
mod runs;
mod word;

use self::bound::Bound;
pub(crate) use self::places::{Anywhere, Every, Places};
use self::word::{AtomicWord, FULL, WORD_BITS, find, free_prefix, free_suffix, longest_free, mask};
use crate::memory::{NoMemory, Node, Table};
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};
use crate::traffic::Traffic;

/// Words in a block: one cache line of bitmap. Two in the model.
const BLOCK_WORDS: usize = if cfg!(genpool_loom) {
    2
} else {
    64 / size_of::<usize>()
};

/// Granules in a block.
pub(crate) const BLOCK: usize = BLOCK_WORDS * WORD_BITS;

#[derive(Debug, Default)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[repr(C, align(64))]
struct Block([AtomicWord; BLOCK_WORDS]);

/// How closely a scan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Skips blocks whose bound says that they cannot serve, and lowers bounds that were too high.
    Bounded,
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

#[derive(Debug)]
pub(crate) struct Bitmap {
    blocks: Table<Block>,
    bounds: Table<Bound>,
    len: usize,
}

impl Bitmap {
    /// `len` free granules, at least one.
    pub(crate) fn new(len: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let padded = len.checked_next_multiple_of(BLOCK);
        let blocks = padded.ok_or(NoMemory { bytes: usize::MAX })? / BLOCK;
        let bitmap = Self {
            blocks: Table::zeroed(blocks, node)?,
            bounds: Table::zeroed(blocks, node)?,
            len,
        };
        for at in len / WORD_BITS..blocks * BLOCK_WORDS {
            // Relaxed: nobody else has seen the bitmap yet.
            bitmap.word(at).store(bitmap.padding(at), Ordering::Relaxed);
        }
        Ok(bitmap)
    }

    /// Granules.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.blocks) + size_of_val(&*self.bounds)
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicWord {
        &self.blocks[at / BLOCK_WORDS].0[at % BLOCK_WORDS]
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
            Piece {
                word,
                mask: mask(from, to - from),
            }
        })
    }

    /// The run as one piece, if it lies in one word.
    #[inline]
    fn single(start: usize, n: usize) -> Option<Piece> {
        let from = start % WORD_BITS;
        (n <= WORD_BITS - from).then(|| Piece {
            word: start / WORD_BITS,
            mask: mask(from, n),
        })
    }

    // ---- claims and releases ----

    /// Takes the run of `n` granules at `start`, all or nothing.
    #[inline]
    pub(crate) fn claim(&self, start: usize, n: usize, traffic: &Traffic) -> Result<(), Taken> {
        if let Some(piece) = Self::single(start, n) {
            self.claim_piece(piece)?;
            if !seeded(Fault::UntoldClaim) {
                traffic.changed();
            }
            return Ok(());
        }
        self.claim_across(start, n, traffic)
    }

    #[cold]
    fn claim_across(&self, start: usize, n: usize, traffic: &Traffic) -> Result<(), Taken> {
        let _crossing = traffic.cross();
        for (done, piece) in Self::pieces(start, n).enumerate() {
            if self.claim_piece(piece).is_err() {
                let done = if seeded(Fault::KeptClaim) { 0 } else { done };
                let claimed = Self::pieces(start, n).take(done);
                for piece in claimed.clone() {
                    self.release_piece(piece);
                }
                if let Some(last) = claimed.last() {
                    // As after a free: a scan may have lowered a bound meanwhile.
                    self.raise_bounds(start, last.word * WORD_BITS + WORD_BITS - start);
                }
                return Err(Taken);
            }
        }
        Ok(())
    }

    #[inline]
    fn claim_piece(&self, piece: Piece) -> Result<(), Taken> {
        let word = self.word(piece.word);
        let mut seen = word.load(Ordering::Relaxed);
        while seen & piece.mask == 0 {
            if seeded(Fault::TornClaim) {
                word.store(seen | piece.mask, Ordering::SeqCst);
                return Ok(());
            }
            // SeqCst: Acquire pairs with `release_piece` (hand-over); the rest is for the loads
            // that follow a claim, of the chunk's state and of the watchers.
            match word.compare_exchange_weak(
                seen,
                seen | piece.mask,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    model_fence();
                    return Ok(());
                }
                Err(now) => seen = now,
            }
        }
        Err(Taken)
    }

    /// Gives back the run of `n` granules at `start`. The caller owns it; a granule that was free
    /// all the same (somebody freed by address what the caller held) is told.
    #[inline]
    pub(crate) fn release(
        &self,
        start: usize,
        n: usize,
        traffic: &Traffic,
    ) -> Result<(), NotTaken> {
        let Some(piece) = Self::single(start, n) else {
            return self.release_across(start, n, traffic);
        };
        let missing = self.release_piece(piece);
        self.released(piece, start, n, traffic);
        NotTaken::check(piece, missing)
    }

    #[cold]
    fn release_across(&self, start: usize, n: usize, traffic: &Traffic) -> Result<(), NotTaken> {
        let mut outcome = Ok(());
        {
            let _crossing = traffic.cross();
            for piece in Self::pieces(start, n) {
                let missing = self.release_piece(piece);
                outcome = outcome.and(NotTaken::check(piece, missing));
            }
        }
        self.raise_bounds(start, n);
        outcome
    }

    /// Clears the piece; answers its bits that were clear already.
    #[inline]
    fn release_piece(&self, piece: Piece) -> usize {
        // SeqCst: Release pairs with `claim_piece` (hand-over); the rest is for the loads that
        // follow, of the bound, of the watchers and of the chunk's state.
        let seen = self
            .word(piece.word)
            .fetch_and(!piece.mask, release_order());
        if !seeded(Fault::NoFence) {
            model_fence();
        }
        piece.mask & !seen
    }

    /// Gives back a run that the caller only claims to own: refused as a whole if a granule of it
    /// is free. The first word decides between racing frees of one run.
    pub(crate) fn release_checked(
        &self,
        start: usize,
        n: usize,
        traffic: &Traffic,
    ) -> Result<(), NotTaken> {
        for piece in Self::pieces(start, n) {
            let seen = self.word(piece.word).load(Ordering::Acquire);
            NotTaken::check(piece, piece.mask & !seen)?;
        }
        if let Some(piece) = Self::single(start, n) {
            self.release_piece_checked(piece)?;
            self.released(piece, start, n, traffic);
            return Ok(());
        }
        {
            let _crossing = traffic.cross();
            let mut pieces = Self::pieces(start, n);
            if let Some(first) = pieces.next() {
                self.release_piece_checked(first)?;
            }
            for piece in pieces {
                // Missing bits here mean that another free by address of these granules went on
                // beside this one. Without a deed nobody can tell whose they were; PROMISES.md says
                // what that means.
                self.release_piece(piece);
            }
        }
        self.raise_bounds(start, n);
        Ok(())
    }

    fn release_piece_checked(&self, piece: Piece) -> Result<(), NotTaken> {
        let word = self.word(piece.word);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            if seeded(Fault::UncheckedFree) {
                self.release_piece(piece);
                return Ok(());
            }
            NotTaken::check(piece, piece.mask & !seen)?;
            // As in `release_piece`.
            let cleared = seen & !piece.mask;
            match word.compare_exchange_weak(seen, cleared, release_order(), Ordering::Relaxed) {
                Ok(_) => {
                    if !seeded(Fault::NoFence) {
                        model_fence();
                    }
                    return Ok(());
                }
                Err(now) => seen = now,
            }
        }
    }

    /// What follows a release inside one word.
    #[inline]
    fn released(&self, piece: Piece, start: usize, n: usize, traffic: &Traffic) {
        if !self.bounds[piece.word / BLOCK_WORDS].is_open() {
            self.raise_bounds(start, n);
        }
        if !seeded(Fault::UntoldFree) {
            traffic.changed();
        }
    }

    /// Raises the bounds of the blocks in which a run of `n` granules at `start` became free.
    #[cold]
    fn raise_bounds(&self, start: usize, n: usize) {
        if seeded(Fault::UnraisedBound) {
            return;
        }
        let end = start + n;
        for block in start / BLOCK..end.div_ceil(BLOCK) {
            let (first, last) = (block * BLOCK, (block + 1) * BLOCK);
            let (from, to) = (start.max(first), end.min(last));
            let before = from - self.free_before(from, first);
            let after = to + self.free_after(to, last);
            self.bounds[block].raise(after - before);
        }
    }

    // ---- scans ----

    /// Whether all of the run of `n` granules at `start` is free; false where it leaves the chunk.
    pub(crate) fn is_free(&self, start: usize, n: usize) -> bool {
        start.checked_add(n).is_some_and(|end| end <= self.len)
            && Self::pieces(start, n)
                .all(|piece| self.word(piece.word).load(Ordering::SeqCst) & piece.mask == 0)
    }

    /// The lowest `start` in `from..limit`, among `places`, at which `n` granules are free. `n` is
    /// not zero.
    #[inline]
    pub(crate) fn find_run<P: Places>(
        &self,
        from: usize,
        limit: usize,
        n: usize,
        places: P,
        look: Look,
    ) -> Option<usize> {
        let limit = limit.min(self.len.checked_sub(n)?.saturating_add(1));
        if from >= limit {
            return None;
        }
        // The free run that reaches the block's start: its length or, where blocks were skipped,
        // a limit on it.
        let mut tail = 0;
        let mut tail_is_exact = true;
        for block in from / BLOCK..self.bounds.len() {
            let start = block * BLOCK;
            if start - tail >= limit {
                return None;
            }
            let bound = match look {
                Look::Bounded => self.bounds[block].get(),
                // Nothing is skipped, so that every word is read once.
                Look::Exact => n,
            };
            if tail + bound >= n && !tail_is_exact {
                tail = self.free_before(start, from);
                tail_is_exact = true;
            }
            if tail + bound < n {
                tail = if bound == BLOCK { tail + BLOCK } else { bound };
                tail_is_exact = false;
                continue;
            }
            if let Some(found) = self.scan_block(block, from, &mut tail, n, places) {
                return (found < limit).then_some(found);
            }
            let shortest = n.min(BLOCK);
            // A longer run than a block leaves wholly free blocks behind, and one in the wrong
            // place leaves runs that are long enough: they are no reason.
            let in_vain = P::ALL && start >= from && bound >= shortest && tail < BLOCK;
            if look == Look::Bounded && in_vain {
                self.lower_bound(block, shortest);
            }
        }
        None
    }

    /// Looks through one block for `n` free granules; `carry` is the free run that reaches its
    /// start, and on return the one that reaches its end. Granules below `from` count as taken.
    #[inline]
    fn scan_block<P: Places>(
        &self,
        block: usize,
        from: usize,
        carry: &mut usize,
        n: usize,
        places: P,
    ) -> Option<usize> {
        let first = block * BLOCK_WORDS;
        for (at, word) in self.blocks[block].0.iter().enumerate() {
            let start = (first + at) * WORD_BITS;
            let mut seen = word.load(Ordering::SeqCst);
            if start < from {
                seen |= mask(0, (from - start).min(WORD_BITS));
            }
            if seen == FULL {
                *carry = 0;
                continue;
            }
            let reach = *carry + free_prefix(seen);
            if reach >= n {
                let place = places.up(start - *carry);
                if place - (start - *carry) <= reach - n {
                    return Some(place);
                }
            }
            if seen == 0 {
                *carry += WORD_BITS;
                continue;
            }
            if n <= WORD_BITS
                && let Some(at) = find(seen, n, places.pattern(start))
            {
                return Some(start + at);
            }
            *carry = free_suffix(seen);
        }
        None
    }

    /// Lowers the bound of a block in which a scan saw no free run of `run` granules.
    #[cold]
    fn lower_bound(&self, block: usize, run: usize) {
        self.bounds[block].lower(run, || self.longest_run(block));
    }

    /// The longest free run inside a block.
    fn longest_run(&self, block: usize) -> usize {
        let (mut longest, mut carry) = (0, 0);
        for word in &self.blocks[block].0 {
            let seen = word.load(Ordering::SeqCst);
            longest = longest
                .max(carry + free_prefix(seen))
                .max(longest_free(seen));
            carry = if seen == 0 {
                carry + WORD_BITS
            } else {
                free_suffix(seen)
            };
        }
        longest
    }

    /// How many granules are free right below `at`, down to `floor`.
    fn free_before(&self, at: usize, floor: usize) -> usize {
        let mut start = at;
        while start > floor {
            let word = (start - 1) / WORD_BITS;
            let in_word = start - word * WORD_BITS;
            let seen = self.word(word).load(Ordering::SeqCst);
            // The bits from `in_word` on are not asked for: shift them out.
            let free = free_suffix((seen << (WORD_BITS - in_word)) & FULL).min(in_word);
            start -= free;
            if free < in_word {
                break;
            }
        }
        at - start.max(floor)
    }

    /// How many granules are free from `at` on, up to `ceiling`.
    pub(crate) fn free_after(&self, at: usize, ceiling: usize) -> usize {
        let ceiling = ceiling.min(self.len);
        let mut end = at;
        while end < ceiling {
            let in_word = end % WORD_BITS;
            let seen = self.word(end / WORD_BITS).load(Ordering::SeqCst);
            let free = free_prefix(seen >> in_word).min(WORD_BITS - in_word);
            end += free;
            if free < WORD_BITS - in_word {
                break;
            }
        }
        end.min(ceiling).saturating_sub(at)
    }

    /// How many granules are taken.
    pub(crate) fn taken(&self) -> usize {
        let words = self.blocks.iter().flat_map(|block| &block.0);
        let set: usize = words
            .map(|word| word.load(Ordering::SeqCst).count_ones() as usize)
            .sum();
        set - (self.blocks.len() * BLOCK - self.len)
    }

    /// Whether no granule is taken. `busy` remembers the word that the last look found taken, which
    /// is looked at first: while something stays there, a look is one load.
    pub(crate) fn is_empty(&self, busy: &AtomicUsize) -> bool {
        let is_clear = |at: usize| self.word(at).load(Ordering::SeqCst) == self.padding(at);
        // Relaxed: any word will do.
        if !is_clear(busy.load(Ordering::Relaxed)) {
            return false;
        }
        let found = (0..self.len.div_ceil(WORD_BITS)).find(|&at| !is_clear(at));
        if let Some(at) = found {
            busy.store(at, Ordering::Relaxed);
        }
        found.is_none()
    }

    /// At rest: whether no bound is below a free run of its block, and the padding is in place.
    pub(crate) fn is_sound(&self) -> bool {
        let mut blocks = self.bounds.iter().enumerate();
        let bounded = blocks.all(|(block, bound)| self.longest_run(block) <= bound.get());
        let padded = (self.len / WORD_BITS..self.blocks.len() * BLOCK_WORDS).all(|at| {
            let padding = self.padding(at);
            self.word(at).load(Ordering::SeqCst) & padding == padding
        });
        bounded && padded
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
