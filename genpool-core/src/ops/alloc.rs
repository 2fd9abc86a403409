//! Allocation: the fast path.
//!
//! # Stages
//!
//! 1. The fast path, here: one attempt in each permanent chunk that may have room, which takes no pin. The newest chunk
//!    comes first, the others from the free summary.
//! 2. The slow path, in `chunk_ops/search.rs`: all chunks of a pinned list, by their hints.
//! 3. The proof, at the end of the slow path: every bit of all chunks, by the algorithm and then without its rules,
//!    between two readings of a prober (see `activity/mod.rs`).
//!
//! On the fast path an algorithm may find and claim in one step ([`Algorithm::claim`]), as first fit and thread start do.
//! On the slow path it proposes a run, which the pool claims. Each path reads the cached refusal first: the fast path then
//! gives up, the slow path returns it.
//!
//! # Refusals
//!
//! - `Exhausted` (or `Taken`, of a fixed address) is answered only after the proof, or while a cached refusal stands.
//! - `Impossible` needs no proof. A chunk that is full may have room again, but one that is too short, or lies beyond a
//!   device's mask, never will. An algorithm says so by the chunk's addresses and length alone
//!   (`Algorithm::rules_out`). If no chunk of the list could serve the request, and the list is still current
//!   afterwards, the answer is `Impossible` with the value that makes it so. Chunks do not change, so this is answered
//!   even while other threads are active. The pool asks after a search found nothing. It also asks before a cached
//!   refusal answers, and then starts with the newest chunk.
//! - `Contended` is answered after a bounded number of attempts at the proof (`activity/mod.rs`).
//!
//! # Code generation
//!
//! The common functions take and return what fits in registers. They leave everything uncommon to functions that they
//! end with, so that no registers need to be saved. An [`Allocation`] is assembled inline, because passing it through
//! memory costs as much as a locked instruction. The uncommon functions return [`Parts`], which has another field
//! order, so that the compiler does not merge all paths in memory.

use core::ops::ControlFlow;
use core::ptr;

use alloc::vec::Vec;

use crate::allocation::{Allocation, Origin, Parts};
use crate::bitmap::Attempt;
use crate::chunk::{Chunk, State};
use crate::chunk_ops::Search;
use crate::chunks::DefaultAlgorithm;
use crate::error::AllocError;
use crate::placement::{Algorithm, FirstFit, Request};
use crate::shared::Shared;
use crate::units::Granule;

impl Shared {
    /// Allocates by the default algorithm. `own_guards` is the number of in-flight guards that
    /// this call holds: 1 inside `alloc_many`, otherwise 0. A proof takes no notice of them.
    #[inline(always)]
    pub(crate) fn alloc_default(
        &self,
        size: usize,
        own_guards: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        if self.chunk_set.tag().is(DefaultAlgorithm::FirstFit)
            && let Some(request) = Request::new(size, self.order)
            && !self.activity.is_refused(request.granules())
            && let Some((chunk, granule)) = self.first_fit(request.granules())
        {
            return Ok(self.hand_out(chunk, granule, request.granules()));
        }
        self.alloc_default_further(size, own_guards)
            .map(Parts::whole)
    }

    /// Allocates the sizes one after the other by the default algorithm, up to the first that is refused.
    pub(crate) fn alloc_each<'p>(
        &'p self,
        sizes: &[usize],
        list: &mut Vec<Allocation<'p>>,
    ) -> Result<(), AllocError> {
        let count = sizes.len();
        list.try_reserve_exact(count)
            .map_err(|_| AllocError::NoMemory { count })?;
        for &size in sizes {
            list.push(self.alloc_default(size, 1)?);
        }
        Ok(())
    }

    /// Takes the first fit in the permanent chunks. Takes and returns what fits in registers, and leaves everything
    /// uncommon to functions that it ends with.
    #[inline(never)]
    fn first_fit(&self, n: usize) -> Option<(&Chunk, Granule)> {
        let newest = self.chunk_set.newest()?;
        match newest.bitmap().take_at_once(n) {
            Some(start) => self.finish_claim(newest, start, n),
            None => self.first_fit_further(n),
        }
    }

    /// Continues [`first_fit`](Self::first_fit) where the simplest case does not apply.
    #[inline(never)]
    fn first_fit_further(&self, n: usize) -> Option<(&Chunk, Granule)> {
        let request = Request::new(n.checked_mul(1 << self.order)?, self.order)?;
        let newest = self.chunk_set.newest()?;
        // The newest chunk has just been searched as a whole.
        if newest.bitmap().is_small_without_fit(n) {
            return self.take_from_others(newest, &FirstFit, request);
        }
        self.take_with(request, &FirstFit)
    }

    /// Returns what was just claimed, after notifying the probers.
    #[inline(always)]
    fn finish_claim<'p>(
        &self,
        chunk: &'p Chunk,
        start: Granule,
        n: usize,
    ) -> Option<(&'p Chunk, Granule)> {
        if self.activity.has_no_listeners() && chunk.state() == State::Alive {
            return Some((chunk, start));
        }
        self.finish_claim_slowly(chunk, start, n)
    }

    /// Continues [`finish_claim`](Self::finish_claim) where there are probers or other listeners, or the chunk is being
    /// removed.
    #[cold]
    #[inline(never)]
    fn finish_claim_slowly<'p>(
        &self,
        chunk: &'p Chunk,
        start: Granule,
        n: usize,
    ) -> Option<(&'p Chunk, Granule)> {
        chunk.bitmap().claimed(start, n, &self.activity);
        chunk.confirm_claim(start, n, &self.activity).ok()?;
        Some((chunk, start))
    }

    /// Creates the allocation of `n` granules that were claimed in a permanent chunk.
    #[inline(always)]
    fn hand_out<'p>(&'p self, chunk: &'p Chunk, granule: Granule, n: usize) -> Allocation<'p> {
        let extent = chunk.open(granule, n);
        let origin = Origin::permanent(chunk);
        Allocation::new(self, origin, chunk.addr_of(granule), extent)
    }

    /// Continues [`alloc_default`](Self::alloc_default) with a default algorithm that is known only at run time, or
    /// where the fast path of first fit found nothing, or a cache knows that it would not.
    #[inline(never)]
    pub(crate) fn alloc_default_further(
        &self,
        size: usize,
        own_guards: usize,
    ) -> Result<Parts<'_>, AllocError> {
        let tag = self.chunk_set.tag();
        if tag.is(DefaultAlgorithm::FirstFit) {
            self.alloc_slowly(size, &FirstFit, own_guards)
        } else if tag.is(DefaultAlgorithm::BuiltWith) {
            self.alloc_dyn(size, &*self.built_with, own_guards)
        } else {
            let pin = self.chunk_set.pin();
            self.alloc_dyn(size, pin.algorithm(), own_guards)
        }
    }

    /// Allocates by an algorithm that is known only at run time. A refusal is passed on as it is.
    #[inline(never)]
    fn alloc_dyn(
        &self,
        size: usize,
        algorithm: &dyn Algorithm,
        own_guards: usize,
    ) -> Result<Parts<'_>, AllocError> {
        match self.take_unless_refused(size, algorithm) {
            Some(found) => Ok(found.into_parts()),
            None => self.alloc_slowly(size, algorithm, own_guards),
        }
    }

    /// Allocates by `algorithm`, in the newest chunk first, then anywhere. Inlined, so that the allocation is assembled
    /// where it is used: passing it through memory costs as much as a locked instruction.
    #[inline(always)]
    pub(crate) fn alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
        own_guards: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        match self.take_unless_refused(size, algorithm) {
            Some(found) => Ok(found),
            None => self
                .alloc_slowly(size, algorithm, own_guards)
                .map(Parts::whole),
        }
    }

    /// Allocates by `algorithm` on the fast path, unless the cached refusal covers the size.
    #[inline(always)]
    fn take_unless_refused<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Option<Allocation<'_>> {
        let request = Request::new(size, self.order)?;
        let n = request.granules();
        if self.activity.is_refused(n) {
            return None;
        }
        let (chunk, granule) = if algorithm.is_first_fit() {
            self.first_fit(n)?
        } else {
            self.take_with(request, algorithm)?
        };
        Some(self.hand_out(chunk, granule, n))
    }

    /// Makes one attempt in each of the permanent chunks that may have room. Takes and returns what fits in registers.
    #[inline(never)]
    fn take_with<A: Algorithm + ?Sized>(
        &self,
        request: Request,
        algorithm: &A,
    ) -> Option<(&Chunk, Granule)> {
        algorithm.check(&request).ok()?;
        let newest = self.chunk_set.newest()?;
        match self.attempt(newest, algorithm, request) {
            Attempt::Found(granule) => Some((newest, granule)),
            Attempt::Nowhere => self.take_from_others(newest, algorithm, request),
            // Other threads were faster. The slow path tries the chunk again.
            Attempt::Missed => None,
        }
    }

    /// Continues [`take_with`](Self::take_with) in the other permanent chunks.
    #[inline(never)]
    fn take_from_others<A: Algorithm + ?Sized>(
        &self,
        newest: &Chunk,
        algorithm: &A,
        request: Request,
    ) -> Option<(&Chunk, Granule)> {
        let attempt = |chunk| self.attempt(chunk, algorithm, request);
        self.try_others(newest, request.granules(), attempt)
    }

    /// Makes an attempt in each permanent chunk but the newest that may have room for `n` granules, newest first.
    #[inline(always)]
    fn try_others<'p>(
        &'p self,
        newest: &Chunk,
        n: usize,
        attempt: impl Fn(&'p Chunk) -> Attempt,
    ) -> Option<(&'p Chunk, Granule)> {
        let visit = |chunk: &'p Chunk| {
            if ptr::eq(chunk, newest) {
                return ControlFlow::Continue(());
            }
            match attempt(chunk) {
                Attempt::Found(granule) => ControlFlow::Break(Some((chunk, granule))),
                Attempt::Nowhere => ControlFlow::Continue(()),
                Attempt::Missed => ControlFlow::Break(None),
            }
        };
        self.chunk_set.free_summary.find(n, visit).flatten()
    }
}
