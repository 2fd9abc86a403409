//! The runs of a bitmap, free or taken, in ascending order.

use super::hints::Need;
use super::word::{FULL, find, free_bits, free_prefix, free_suffix, mask};
use super::{Bitmap, Look};
use crate::sync::Ordering;
use crate::units::{Granule, Run, WORD_BITS, WordIndex};

impl Bitmap {
    /// Iterates over the free runs of at least `min` granules (not zero), from `from` on, in ascending order. A run
    /// that begins before `from` is cut there. Words are read one at a time, while other threads may change them.
    pub(crate) fn free_runs(&self, from: Granule, min: usize, look: Look) -> FreeRuns<'_> {
        let end = Granule(self.len());
        let from = from.min(end);
        let mut runs = FreeRuns {
            bitmap: self,
            look,
            min,
            word: from.word(),
            free: 0,
            open: None,
        };
        if from < end {
            runs.enter(mask(0, from.bit()));
        }
        runs
    }

    /// Iterates over the maximal taken runs, in ascending order.
    pub(crate) fn taken_runs(&self) -> impl Iterator<Item = Run> {
        let mut free = self.free_runs(Granule(0), 1, Look::Exact);
        let end = Granule(self.len());
        let mut start = Granule(0);
        core::iter::from_fn(move || {
            while start < end {
                let next = free.next().unwrap_or(Run { start: end, len: 0 });
                let len = next.start.0 - start.0;
                let taken = Run { start, len };
                start = next.start.plus(next.len);
                if len > 0 {
                    return Some(taken);
                }
            }
            None
        })
    }
}

/// See [`Bitmap::free_runs`].
#[derive(Debug)]
pub(crate) struct FreeRuns<'b> {
    bitmap: &'b Bitmap,
    look: Look,
    min: usize,
    word: WordIndex,
    /// The free bits of the word that are not in a run yet.
    free: usize,
    /// The start of the run that reaches the start or the end of the word.
    open: Option<Granule>,
}

impl FreeRuns<'_> {
    /// Reads the word. The bits in `skip` count as taken.
    #[inline]
    fn enter(&mut self, skip: usize) {
        // SeqCst: the look may be part of a proof.
        let seen = self.bitmap.word(self.word).load(Ordering::SeqCst) | skip;
        self.free = free_bits(seen);
        let short = self.open.is_none() && self.min > 1;
        if short && (self.min > WORD_BITS || find(seen, self.min, FULL).is_none()) {
            // Only the run at the end of the word may become long enough.
            let suffix = free_suffix(seen);
            self.free = mask(WORD_BITS - suffix, suffix);
        }
    }

    /// Goes to the next word, past words in which no run that is long enough begins. Returns false at the end.
    #[inline]
    fn advance(&mut self) -> bool {
        self.word = self.word.next();
        if self.open.is_none() && self.look == Look::Hinted {
            let next = self.bitmap.hints.next(self.word, Need::of(self.min));
            self.word = next.unwrap_or(WordIndex(self.bitmap.bits.words().len()));
        }
        if self.word.0 >= self.bitmap.bits.words().len() {
            return false;
        }
        self.enter(0);
        true
    }
}

impl Iterator for FreeRuns<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        loop {
            if self.free == 0 {
                let reached = self.word.end();
                if !self.advance() {
                    // Padding ends every run, unless the last word has none.
                    let start = self.open.take()?;
                    let len = reached.0.min(self.bitmap.len()) - start.0;
                    return (len >= self.min).then_some(Run { start, len });
                }
                let Some(start) = self.open else { continue };
                // The run goes on in this word, or ended with the last.
                let more = free_prefix(!self.free & FULL);
                if more == WORD_BITS {
                    self.free = 0;
                    continue;
                }
                self.free &= !mask(0, more);
                self.open = None;
                let len = self.word.granule(more).0 - start.0;
                if len >= self.min {
                    return Some(Run { start, len });
                }
                continue;
            }
            let at = self.free.trailing_zeros() as usize;
            let start = self.word.granule(at);
            let len = free_prefix(!(self.free >> at) & FULL);
            self.free &= !mask(at, len);
            if at + len == WORD_BITS {
                self.open = Some(start);
            } else if len >= self.min {
                return Some(Run { start, len });
            }
        }
    }
}
