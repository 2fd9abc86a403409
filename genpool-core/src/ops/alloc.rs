//! Allocation: a look at the newest chunk, then at all chunks, then a proof that there is no room.
//!
//! # Stages
//!
//! 1. The newest chunk, if it is permanent, which takes no pin.
//! 2. The other permanent chunks that may have room, newest first, from the free summary.
//! 3. All chunks of a pinned list, by their hints.
//! 4. The proof: all chunks again by every bit, between two readings of a prober (see `activity/mod.rs`).
//!
//! First fit, if it is the default, has its own form of stages 1 and 2, which searches and claims in one step. If that
//! finds nothing, the general form runs as well. A cached refusal is read before each stage, and ends the call.
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
//! - `Contended` is answered after a bounded number of attempts at the proof. An operation that crosses words and is
//!   stopped in the middle makes other calls answer `Contended` where they would answer `Exhausted`. It never keeps
//!   them from finding room. A signal handler that interrupted such an operation gets `Contended` however often it
//!   tries.
//!
//! # Code generation
//!
//! The common functions take and return what fits in registers. They leave everything uncommon to functions that they
//! end with, so that no registers need to be saved. An [`Allocation`] is assembled inline, because passing it through
//! memory costs as much as a locked instruction. The uncommon functions return [`Parts`], which has another field
//! order, so that the compiler does not merge all paths in memory.

use core::ops::ControlFlow;

use alloc::vec::Vec;
use crossbeam_utils::Backoff;

use crate::allocation::{Allocation, Origin, Parts};
use crate::bitmap::{AnyStart, Look, Search};
use crate::chunk::Extent;
use crate::chunk::{Chunk, Refused, State, granules_for};
use crate::chunks::{DefaultAlgorithm, Pin};
use crate::error::{AllocError, Impossible};
use crate::placement::{Algorithm, ChunkView, FirstFit, Request};
use crate::shared::Shared;
use crate::sync::{Fault, seeded};
use crate::units::{Granule, WORD_BITS};

/// How often a chunk's algorithm is asked again after a lost claim. Each loss means that another thread got something.
/// This many in a row mean that the algorithm proposes what is taken (2026-11).
const ASKS: usize = if cfg!(genpool_small) {
    4
} else if cfg!(miri) {
    64
} else {
    1 << 12
};

/// How often a caller that found nothing tries to prove it before it answers `Contended`. Each try is a search and two
/// scans (2026-11). A caller that cannot become a prober because there are too many proves nothing either.
const PROOFS: usize = if cfg!(genpool_small) { 2 } else { 16 };

impl Shared {
    /// Allocates by the default algorithm. `own` is the number of announced operations that this call is part of.
    #[inline(always)]
    pub(crate) fn alloc_default(
        &self,
        size: usize,
        own: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        if self.chunk_set.default() == DefaultAlgorithm::FirstFit
            && let Some(newest) = self.chunk_set.newest()
            && let Some(n) = (size > 0).then(|| granules_for(size, self.order))
            && let Some((chunk, granule)) = self.take_lowest(newest, n)
        {
            return Ok(self.hand_out(chunk, granule, n));
        }
        self.alloc_chosen(size, own).map(Parts::whole)
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

    /// Takes the first fit in the permanent chunks, of which `newest` is tried first. Returns its result in registers,
    /// and leaves everything uncommon to functions that it ends with.
    #[inline(never)]
    fn take_lowest<'p>(&'p self, newest: &'p Chunk, n: usize) -> Option<(&'p Chunk, Granule)> {
        match newest.bitmap().take_at_once(0, n) {
            Some(start) => self.taken(newest, start, n),
            None => self.take_low(newest, n),
        }
    }

    /// Continues [`take_lowest`](Self::take_lowest) where the first few words do not serve.
    #[inline(never)]
    fn take_low<'p>(&'p self, newest: &'p Chunk, n: usize) -> Option<(&'p Chunk, Granule)> {
        if self.activity.is_refused(n) {
            return None;
        }
        match newest.bitmap().take_at_once(1, n) {
            Some(start) => self.taken(newest, start, n),
            None => self.take_further(newest, n),
        }
    }

    /// Continues [`take_lowest`](Self::take_lowest) in all words and in the other permanent chunks.
    #[inline(never)]
    fn take_further<'p>(&'p self, newest: &'p Chunk, n: usize) -> Option<(&'p Chunk, Granule)> {
        if n > WORD_BITS {
            return None;
        }
        let take = |chunk: &'p Chunk| match chunk.bitmap().take_lowest(n, &self.activity) {
            Search::Found(start) => match chunk.keep(start, n, &self.activity) {
                Ok(()) => ControlFlow::Break(Some((chunk, start))),
                Err(_) => ControlFlow::Continue(()),
            },
            Search::Nowhere => ControlFlow::Continue(()),
            // Other threads were faster. The chunk may still have room.
            Search::Missed => {
                chunk.after_rollback();
                ControlFlow::Break(None)
            }
        };
        match take(newest) {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(()) => self.chunk_set.free_summary.find(n, take).flatten(),
        }
    }

    /// Returns what was just claimed, after notifying the probers.
    #[inline(always)]
    fn taken<'p>(
        &self,
        chunk: &'p Chunk,
        start: Granule,
        n: usize,
    ) -> Option<(&'p Chunk, Granule)> {
        if self.activity.has_no_listeners() && chunk.state() == State::Alive {
            return Some((chunk, start));
        }
        self.taken_beside(chunk, start, n)
    }

    /// Continues [`taken`](Self::taken) where there are probers or other listeners, or the chunk is being removed.
    #[cold]
    #[inline(never)]
    fn taken_beside<'p>(
        &self,
        chunk: &'p Chunk,
        start: Granule,
        n: usize,
    ) -> Option<(&'p Chunk, Granule)> {
        chunk.bitmap().claimed(start, n, &self.activity);
        chunk.keep(start, n, &self.activity).ok()?;
        Some((chunk, start))
    }

    /// Creates the allocation of `n` granules that were claimed in a permanent chunk.
    #[inline(always)]
    fn hand_out<'p>(&'p self, chunk: &'p Chunk, granule: Granule, n: usize) -> Allocation<'p> {
        let extent = chunk.open(granule, n);
        let origin = Origin::permanent(chunk);
        Allocation::new(self, origin, chunk.addr_of(granule), extent)
    }

    /// Allocates by a default algorithm that is known only at run time, or where the first look found nothing.
    #[inline(never)]
    fn alloc_chosen(&self, size: usize, own: usize) -> Result<Parts<'_>, AllocError> {
        let found = match self.chunk_set.default() {
            DefaultAlgorithm::FirstFit => self.alloc_with(size, &FirstFit, own),
            DefaultAlgorithm::BuiltWith => self.alloc_with(size, &*self.built_with, own),
            DefaultAlgorithm::Other => {
                let pin = self.chunk_set.pin();
                self.alloc_with(size, pin.algorithm(), own)
            }
        };
        found.map(Allocation::into_parts)
    }

    /// Allocates by `algorithm`, in the newest chunk first, then anywhere. Inlined, so that the allocation is assembled
    /// where it is used: passing it through memory costs as much as a locked instruction.
    #[inline(always)]
    pub(crate) fn alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
        own: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        // A cached refusal that stands saves the search.
        if let Some(request) = Request::new(size, self.order)
            && !self.activity.is_refused(request.granules())
            && let Some((chunk, granule)) = self.take_with(request, algorithm)
        {
            return Ok(self.hand_out(chunk, granule, request.granules()));
        }
        self.alloc_slowly(size, algorithm, own).map(Parts::whole)
    }

    /// Takes a first look at the permanent chunks, newest first. Takes and returns what fits in registers.
    #[inline(never)]
    fn take_with<A: Algorithm + ?Sized>(
        &self,
        request: Request,
        algorithm: &A,
    ) -> Option<(&Chunk, Granule)> {
        algorithm.check(&request).ok()?;
        let newest = self.chunk_set.newest()?;
        match self.first_look(newest, algorithm, request) {
            Search::Found(granule) => Some((newest, granule)),
            Search::Nowhere => self.look_further(newest, algorithm, request),
            // The slow path asks the algorithm again, or reports what is wrong.
            Search::Missed => None,
        }
    }

    /// Searches all chunks after a first look found nothing, or returns why there is no room.
    #[cold]
    #[inline(never)]
    fn alloc_slowly<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
        own: usize,
    ) -> Result<Parts<'_>, AllocError> {
        let Some(request) = Request::new(size, self.order) else {
            return Err(self.unsuitable(AllocError::ZeroSize));
        };
        if let Err(reason) = algorithm.check(&request) {
            return Err(self.unsuitable(AllocError::Unsuitable(reason)));
        }
        if self.activity.is_refused(request.granules()) {
            return Err(self.refused(algorithm, &request));
        }
        self.search(algorithm, request, own)
    }

    /// Returns why a request that the cached refusal covers is refused.
    fn refused<A: Algorithm + ?Sized>(&self, algorithm: &A, request: &Request) -> AllocError {
        if let Some(newest) = self.chunk_set.newest()
            && request.granules() <= newest.bitmap().len()
            && algorithm.rules_out(&self.exact(newest), request).is_none()
        {
            return self.exhausted(algorithm, request);
        }
        self.refused_by_all(algorithm, request)
    }

    /// Continues [`refused`](Self::refused) where the newest chunk could not serve the request even if it were free.
    #[cold]
    #[inline(never)]
    fn refused_by_all<A: Algorithm + ?Sized>(
        &self,
        algorithm: &A,
        request: &Request,
    ) -> AllocError {
        let outlook = |chunk| Feasibility::of(&self.exact(chunk), algorithm, request);
        let pin = self.chunk_set.pin();
        let alive = pin.chunks().filter(|chunk| chunk.state() == State::Alive);
        let all = alive.fold(Feasibility::NO_CHUNK, |all, chunk| {
            all.and(outlook(chunk), request)
        });
        match all {
            Feasibility::Never(reason) if self.chunk_set.is_current(&pin) => {
                self.impossible(reason)
            }
            _ => self.exhausted(algorithm, request),
        }
    }

    fn exact<'c>(&'c self, chunk: &'c Chunk) -> ChunkView<'c> {
        ChunkView::new(chunk, Look::Exact, &self.activity)
    }

    fn exhausted<A: Algorithm + ?Sized>(&self, algorithm: &A, request: &Request) -> AllocError {
        self.counters.exhausted();
        let size = request.size();
        match algorithm.place() {
            Some(addr) => AllocError::Taken { addr, size },
            None => AllocError::Exhausted { size },
        }
    }

    #[cold]
    fn impossible(&self, reason: Impossible) -> AllocError {
        self.unsuitable(AllocError::Impossible(reason))
    }

    #[cold]
    fn unsuitable(&self, error: AllocError) -> AllocError {
        self.counters.unsuitable();
        error
    }

    /// Makes one attempt in a chunk: one proposal and one claim.
    #[inline]
    fn first_look<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: Request,
    ) -> Search {
        let n = request.granules();
        let Some(last) = chunk.bitmap().len().checked_sub(n) else {
            return Search::Nowhere;
        };
        let view = ChunkView::new(chunk, Look::Hinted, &self.activity);
        let Some(granule) = algorithm.propose(&view, &request) else {
            return Search::Nowhere;
        };
        if granule.0 > last {
            return Search::Missed;
        }
        match chunk.claim(granule, n, &self.activity) {
            Ok(()) => Search::Found(granule),
            Err(Refused::Draining) => Search::Nowhere,
            Err(Refused::Taken) => {
                self.counters.lost_claim();
                Search::Missed
            }
        }
    }

    /// Takes a [`first_look`](Self::first_look) at each of the other permanent chunks.
    #[inline(never)]
    fn look_further<'p, A: Algorithm + ?Sized>(
        &'p self,
        newest: &Chunk,
        algorithm: &A,
        request: Request,
    ) -> Option<(&'p Chunk, Granule)> {
        let look = |chunk: &'p Chunk| {
            if core::ptr::eq(chunk, newest) {
                return ControlFlow::Continue(());
            }
            match self.first_look(chunk, algorithm, request) {
                Search::Found(granule) => ControlFlow::Break(Some((chunk, granule))),
                Search::Nowhere => ControlFlow::Continue(()),
                Search::Missed => ControlFlow::Break(None),
            }
        };
        self.chunk_set
            .free_summary
            .find(request.granules(), look)
            .flatten()
    }

    /// Searches all chunks, and proves at the end that there is no room in any of them (see `activity/mod.rs`).
    #[cold]
    fn search<A: Algorithm + ?Sized>(
        &self,
        algorithm: &A,
        request: Request,
        own: usize,
    ) -> Result<Parts<'_>, AllocError> {
        let request = &request;
        let size = request.size();
        for _ in 0..PROOFS {
            let pin = self.chunk_set.pin();
            let outlook = match self.try_chunks(&pin, algorithm, request, Look::Hinted, own)? {
                Ok(found) => return Ok(found),
                Err(outlook) => outlook,
            };
            if let Feasibility::Never(reason) = outlook {
                // The list is still current, so no chunk that was added meanwhile was left out. Chunks do not change,
                // and one that is being removed never serves again.
                if self.chunk_set.is_current(&pin) {
                    return Err(self.impossible(reason));
                }
                continue;
            }
            if seeded(Fault::Unproved) {
                return Err(AllocError::Exhausted { size });
            }
            let Some(prober) = self.activity.probe() else {
                break;
            };
            let before = prober.read();
            if let Ok(found) = self.try_chunks(&pin, algorithm, request, Look::Exact, own)? {
                return Ok(found);
            }
            // Scan again without the algorithm: a cached refusal holds for every algorithm.
            let nowhere = pin
                .chunks()
                .all(|chunk| !has_room(chunk, request.granules()));
            let after = prober.read();
            // The list must be the same too: room may have come with a new chunk.
            let is_current = || seeded(Fault::UncheckedList) || self.chunk_set.is_current(&pin);
            if before == after && before.is_quiet(own) && is_current() {
                if nowhere && before.is_quiet(0) {
                    prober.cache_refusal(request.granules(), before, is_current);
                }
                drop(prober);
                let refusal = self.exhausted(algorithm, request);
                // There is room that the algorithm may not use. So the refusal shows which granules are taken, and
                // with them claims whose authors have not notified yet. An earlier cached refusal would contradict it.
                return Err(if nowhere {
                    refusal
                } else {
                    self.reveal(refusal)
                });
            }
        }
        self.counters.contended();
        Err(AllocError::Contended { size })
    }

    fn try_chunks<'p, A: Algorithm + ?Sized>(
        &'p self,
        pin: &Pin<'p>,
        algorithm: &A,
        request: &Request,
        look: Look,
        own: usize,
    ) -> Result<Result<Parts<'p>, Feasibility>, AllocError> {
        let mut outlook = Feasibility::NO_CHUNK;
        for chunk in pin.chunks() {
            let (granule, extent) = match self.try_chunk(chunk, algorithm, request, look, own)? {
                Ok(found) => found,
                Err(chunk) => {
                    outlook = outlook.and(chunk, request);
                    continue;
                }
            };
            // SAFETY: the chunk is a chunk of the pinned list.
            let permanent = unsafe { pin.permanent(chunk) };
            let listed = || Origin::listed(chunk.generation());
            let origin = permanent.map_or_else(listed, Origin::permanent);
            let addr = chunk.addr_of(granule);
            return Ok(Ok(Parts {
                extent,
                addr,
                origin,
                shared: self,
            }));
        }
        Ok(Err(outlook))
    }

    /// Tries one chunk: asks the algorithm until a run that it proposes could be claimed. If there is none, returns
    /// whether there ever could be one.
    fn try_chunk<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
        look: Look,
        own: usize,
    ) -> Result<Result<(Granule, Extent), Feasibility>, AllocError> {
        let n = request.granules();
        let granules = chunk.bitmap().len();
        if chunk.state() != State::Alive {
            return Ok(Err(Feasibility::NO_CHUNK));
        }
        let view = ChunkView::new(chunk, look, &self.activity);
        if n > granules {
            return Ok(Err(Feasibility::of(&view, algorithm, request)));
        }
        let backoff = Backoff::new();
        for _ in 0..ASKS {
            let Some(granule) = algorithm.propose(&view, request) else {
                return Ok(Err(Feasibility::of(&view, algorithm, request)));
            };
            if granule.0 > granules - n {
                self.counters.bad_proposal();
                let granule = granule.0;
                return Err(AllocError::BadProposal { granule, granules });
            }
            match chunk.claim(granule, n, &self.activity) {
                Ok(()) => {
                    return Ok(Ok((granule, chunk.open(granule, n))));
                }
                Err(Refused::Draining) => return Ok(Err(Feasibility::NO_CHUNK)),
                Err(Refused::Taken) => {
                    self.counters.lost_claim();
                    backoff.spin();
                }
            }
        }
        Err(self.never_claimed(&view, algorithm, request, own))
    }

    /// Returns why every claim in a chunk was lost: to other threads, or because the algorithm proposes runs that are
    /// taken. The latter is so if it proposes one while nothing changes.
    #[cold]
    fn never_claimed<A: Algorithm + ?Sized>(
        &self,
        view: &ChunkView<'_>,
        algorithm: &A,
        request: &Request,
        own: usize,
    ) -> AllocError {
        let (size, granules) = (request.size(), view.granules());
        let mut bad = None;
        for _ in 0..PROOFS {
            let Some(prober) = self.activity.probe() else {
                bad = None;
                break;
            };
            let before = prober.read();
            let proposed = algorithm.propose(view, request);
            bad = proposed.filter(|&start| !view.is_free(start, request.granules()));
            // A single such look proves nothing: a claim may have come in between that has not notified the probers
            // yet. A correct algorithm sees that claim at the next look.
            if bad.is_none() || before != prober.read() || !before.is_quiet(own) {
                bad = None;
                break;
            }
        }
        match bad {
            Some(Granule(granule)) => {
                self.counters.bad_proposal();
                // It shows that a granule is taken.
                self.reveal(AllocError::BadProposal { granule, granules })
            }
            None => {
                self.counters.contended();
                AllocError::Contended { size }
            }
        }
    }
}

/// Whether chunks could serve a request if all of their granules were free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feasibility {
    Possible,
    Never(Impossible),
}

impl Feasibility {
    /// The feasibility in no chunk at all, or in one that is being removed.
    const NO_CHUNK: Self = Self::Never(Impossible::NoChunk);

    fn of<A: Algorithm + ?Sized>(view: &ChunkView<'_>, algorithm: &A, request: &Request) -> Self {
        if let Some(reason) = algorithm.rules_out(view, request) {
            return Self::Never(reason);
        }
        if request.granules() <= view.granules() {
            return Self::Possible;
        }
        Self::Never(Impossible::TooLong {
            size: request.size(),
            longest: view.granules() << view.order(),
        })
    }

    /// Returns the feasibility in these chunks and others together.
    fn and(self, others: Self, request: &Request) -> Self {
        match (self, others) {
            (Self::Never(one), Self::Never(other)) => Self::Never(one.and(other, request.size())),
            _ => Self::Possible,
        }
    }
}

/// Returns true if there is room for `n` granules. Looks at every bit.
fn has_room(chunk: &Chunk, n: usize) -> bool {
    chunk.state() == State::Alive
        && chunk
            .bitmap()
            .find_run(Granule(0), Granule(usize::MAX), n, AnyStart, Look::Exact)
            .is_some()
}
