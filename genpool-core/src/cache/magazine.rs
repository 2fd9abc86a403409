//! A magazine: the runs of one length that a cache holds.

use crate::chunk::Chunk;
use crate::shared::Shared;
use crate::units::Granule;

/// The granules that a magazine holds, unless they are fewer than [`FEWEST`] runs. They are unavailable to other
/// threads, so there are few. A batch is half of them, so a thread that alternates around a full or an empty magazine
/// of single granules calls the pool every sixteenth time (2026-11).
pub(super) const GRANULES: usize = if cfg!(genpool_small) { 4 } else { 32 };

/// The fewest runs that a magazine holds, however long they are. With fewer, a thread that frees and allocates runs of
/// mixed lengths comes to the pool in every third call (2026-11).
const FEWEST: usize = if cfg!(genpool_small) { 1 } else { 4 };

/// Returns the most runs of `n` granules that a magazine holds.
pub(super) const fn most_runs(n: usize) -> usize {
    let most = GRANULES / n;
    if most < FEWEST { FEWEST } else { most }
}

/// A stack of runs of one length. All of them lie in one chunk, which lives as long as the pool.
#[derive(Debug)]
pub(super) struct Magazine<'p> {
    /// The chunk of the runs, in which the magazine also looks for more.
    chunk: Option<&'p Chunk>,
    /// The granule from which it looks.
    from: Granule,
    len: usize,
    /// The most runs that it holds.
    most: usize,
    /// The addresses of the runs, the latest last.
    runs: [usize; GRANULES],
}

impl<'p> Magazine<'p> {
    /// Creates an empty magazine for runs of `n` granules.
    pub(super) fn new(n: usize) -> Self {
        Self {
            chunk: None,
            from: Granule(0),
            len: 0,
            most: most_runs(n),
            runs: [0; GRANULES],
        }
    }

    #[inline(always)]
    pub(super) fn chunk(&self) -> Option<&'p Chunk> {
        self.chunk
    }

    /// Makes the empty magazine hold runs of this chunk, and look for them from granule `from` on.
    pub(super) fn turn_to(&mut self, chunk: Option<&'p Chunk>, from: Granule) {
        debug_assert_eq!(self.len, 0);
        (self.chunk, self.from) = (chunk, from);
    }

    /// Returns the number of runs.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= self.most
    }

    /// Removes and returns the run that was pushed last.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<usize> {
        let len = self.len.checked_sub(1)?;
        let run = *self.runs.get(len)?;
        self.len = len;
        Some(run)
    }

    /// Adds a run. Returns false if there is no room.
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

    /// Fills the empty magazine by half with runs of `n` granules of its chunk, if there are some nearby.
    pub(super) fn refill(&mut self, n: usize, shared: &Shared) {
        let Some(chunk) = self.chunk else { return };
        let batch = self.most.div_ceil(2);
        let Some(starts) = chunk.claim_batch(self.from, n, batch, &shared.activity) else {
            return;
        };
        for start in starts {
            self.from = start;
            self.push(chunk.addr_of(start));
        }
        // The lowest is handed out first.
        self.runs[..self.len].reverse();
    }

    /// Gives back all but the `keep` runs that were pushed last.
    pub(super) fn shrink(&mut self, n: usize, keep: usize, shared: &Shared) {
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
            if chunk.give_back_batch(starts, n, &shared.activity).is_err() {
                // A run that the cache held was freed by address.
                shared.counters.refused_free();
            }
        };
        #[cfg(feature = "observe")]
        if let Some(notifier) = shared.notifier()
            && !gone.is_empty()
        {
            return shared.empty_cache_observed(notifier, chunk, gone, n, give_back);
        }
        give_back();
    }

    /// Returns the addresses of the runs, the latest last.
    #[cfg(feature = "observe")]
    pub(super) fn runs(&self) -> &[usize] {
        &self.runs[..self.len]
    }
}
