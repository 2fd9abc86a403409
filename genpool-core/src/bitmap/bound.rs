//! The run bound of a block: how long its longest free run may be, at most.
//!
//! A bound may be too high (a wasted look), never too low (a lost run) once the free that made the
//! run has returned. Alloc leaves it alone; free raises it; only a scan that looked at the whole
//! block in vain lowers it, and lowering races with a free:
//!
//! - the scanner takes the *ticket* (one compare-exchange, version + 1), scans again, and
//!   compare-exchanges that exact word to the lower bound;
//! - a free clears its bits, then loads the word; if a ticket is out, or the bound is below the
//!   run it made, it compare-exchanges in the raised bound, ticket taken back, version + 1: the
//!   scanner's last step fails.
//!
//! Without the ticket a free between the second scan and the last step is lost; without the
//! version a second scanner of another size takes an equal ticket and the first one's last step
//! succeeds wrongly. Models: `free beside scan`, `free beside
//! two scans`.
//!
//! # Orderings
//!
//! "Bits cleared, now the bound" in a free against "ticket out, now the bits" in a scan is
//! store-to-load order, so the accesses on both sides are `SeqCst`.

use super::BLOCK;
use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded};

const TICKET: usize = 1 << 15;
const VERSION: usize = 1 << 16;
/// The field is the *deficit*, block size minus bound, so that zeroed memory means "anything may
/// be free" and a fresh chunk of any size needs no initialisation.
const DEFICIT: usize = TICKET - 1;

const _: () = assert!(BLOCK <= DEFICIT);

/// Bound, ticket and version in one word. The version takes the rest of the word: a scanner is
/// fooled only if it sleeps for exactly a multiple of 2^48 (2^16 on 32-bit machines) changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundWord(usize);

impl BoundWord {
    fn bound(self) -> usize {
        BLOCK - (self.0 & DEFICIT)
    }

    fn has_ticket(self) -> bool {
        self.0 & TICKET != 0
    }

    fn next_version(self, bound: usize, ticket: usize) -> Self {
        let step = if seeded(Fault::NoVersion) { 0 } else { VERSION };
        let version = (self.0 & !(VERSION - 1)).wrapping_add(step);
        Self(version | ticket | (BLOCK - bound))
    }

    fn with_ticket(self) -> Self {
        self.next_version(self.bound(), TICKET)
    }

    /// The word after a scan under a ticket: it found the longest run to be below `bound` or not.
    fn scanned(self, bound: usize) -> Self {
        self.next_version(bound, 0)
    }

    /// The word that a free of a run of `run` granules leaves; none if this one is good already.
    fn raised(self, run: usize) -> Option<Self> {
        (self.has_ticket() || self.bound() < run)
            .then(|| self.next_version(self.bound().max(run), 0))
    }
}

/// The bound of one block.
#[derive(Debug, Default)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[repr(transparent)]
pub(super) struct Bound(AtomicUsize);

impl Bound {
    /// No free run inside the block is longer.
    #[inline]
    pub(super) fn get(&self) -> usize {
        self.load().bound()
    }

    /// Whether no free run whatever could raise this bound.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        let word = self.load();
        word.0 & (DEFICIT | TICKET) == 0
    }

    #[inline]
    fn load(&self) -> BoundWord {
        // SeqCst: in a free, after the bits were cleared (pairs with the ticket in `lower`).
        BoundWord(self.0.load(Ordering::SeqCst))
    }

    fn exchange(&self, old: BoundWord, new: BoundWord) -> Result<(), BoundWord> {
        // SeqCst: the ticket in `lower` precedes its second scan (pairs with `load` in a free).
        self.0
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst)
            .map(drop)
            .map_err(BoundWord)
    }

    /// Called by a free that made a run of `run` granules, after its bits are cleared.
    pub(super) fn raise(&self, run: usize) {
        let mut word = self.load();
        while let Some(raised) = word.raised(run) {
            match self.exchange(word, raised) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Called by a scan that saw no free run of `run` granules in the block; `longest` looks again
    /// and answers how long the longest is. One try: a bound that stays too high costs a look,
    /// nothing more.
    pub(super) fn lower(&self, run: usize, longest: impl FnOnce() -> usize) {
        let seen = self.load();
        if seen.bound() < run {
            return;
        }
        if seeded(Fault::NoTicket) {
            let _ = self.exchange(seen, seen.scanned(run - 1));
            return;
        }
        let ticket = seen.with_ticket();
        if self.exchange(seen, ticket).is_err() {
            return;
        }
        model_fence();
        let bound = longest().min(ticket.bound());
        // Refused where a free came in between: its bound stands.
        let _ = self.exchange(ticket, ticket.scanned(bound));
    }
}
