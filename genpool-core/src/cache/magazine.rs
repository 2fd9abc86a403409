//! The runs of one length that a cache holds.

use crate::chunk::Chunk;
use crate::pool::Inner;

/// Granules that a magazine holds at most. A batch is half of it, so that a thread that goes to and
/// fro around a full or an empty magazine comes to the pool every sixteenth time (2026-11).
pub(super) const GRANULES: usize = if cfg!(genpool_small) { 4 } else { 32 };

/// All of its runs lie in one chunk, one that lives as long as the pool.
#[derive(Debug)]
pub(super) struct Magazine<'p> {
    /// Where its runs lie, and where it looks for more.
    chunk: Option<&'p Chunk>,
    /// The granule from which it looks.
    from: usize,
    len: usize,
    /// How many runs it holds at most.
    most: usize,
    /// Their addresses, the latest last.
    runs: [usize; GRANULES],
}

impl<'p> Magazine<'p> {
    /// An empty one for runs of `n` granules.
    pub(super) fn new(n: usize) -> Self {
        Self {
            chunk: None,
            from: 0,
            len: 0,
            most: GRANULES / n,
            runs: [0; GRANULES],
        }
    }

    #[inline(always)]
    pub(super) fn chunk(&self) -> Option<&'p Chunk> {
        self.chunk
    }

    /// From now on the magazine, which is empty, is for runs of this chunk, and looks for them from
    /// granule `from` on.
    pub(super) fn turn_to(&mut self, chunk: Option<&'p Chunk>, from: usize) {
        debug_assert_eq!(self.len, 0);
        (self.chunk, self.from) = (chunk, from);
    }

    /// How many runs it holds.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= self.most
    }

    /// The run that was pushed last.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<usize> {
        let len = self.len.checked_sub(1)?;
        let run = *self.runs.get(len)?;
        self.len = len;
        Some(run)
    }

    /// Says whether there was room.
    #[inline(always)]
    pub(super) fn push(&mut self, run: usize) -> bool {
        let len = self.len;
        if len >= self.most || len >= GRANULES {
            return false;
        }
        self.runs[len] = run;
        self.len = len + 1;
        true
    }

    /// Fills the empty magazine by half with runs of `n` granules of its chunk, if some are near.
    pub(super) fn refill(&mut self, n: usize, inner: &Inner) {
        let Some(chunk) = self.chunk else { return };
        let batch = self.most.div_ceil(2);
        let Some(starts) = chunk.claim_batch(self.from, n, batch, &inner.activity) else {
            return;
        };
        for start in starts {
            self.from = start;
            self.push(chunk.addr_of(start));
        }
        // The lowest goes out first.
        self.runs[..self.len].reverse();
    }

    /// Gives back all but the `keep` runs that were pushed last.
    pub(super) fn shrink(&mut self, n: usize, keep: usize, inner: &Inner) {
        let Some(chunk) = self.chunk else { return };
        let held = self.len;
        let Some(gone) = held.checked_sub(keep) else {
            return;
        };
        self.runs[..held].rotate_left(gone);
        // Before they are given back: the last one may call a callback, and that may panic.
        self.len = keep;
        let gone = &mut self.runs[keep..held];
        gone.sort_unstable();
        let give_back = || {
            let starts = gone.iter().map(|&run| chunk.granule_of(run));
            if chunk.give_back_batch(starts, n, &inner.activity).is_err() {
                // Somebody freed by address what the cache held.
                inner.counters.refused_free();
            }
        };
        #[cfg(feature = "observe")]
        if let Some(notifier) = inner.notifier()
            && !gone.is_empty()
        {
            return inner.empty_cache_observed(notifier, chunk, gone, n, give_back);
        }
        give_back();
    }

    /// Their addresses, the latest last.
    #[cfg(feature = "observe")]
    pub(super) fn runs(&self) -> &[usize] {
        &self.runs[..self.len]
    }
}
