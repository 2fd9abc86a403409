//! How an allocation finds its place: the newest chunk first, then all of them, then a proof that
//! there is no place.

use core::ops::ControlFlow;

use alloc::vec::Vec;
use crossbeam_utils::Backoff;

use super::Inner;
use crate::algorithm::{Algorithm, FirstFit, Request};
use crate::allocation::{Allocation, Origin, Parts};
use crate::bitmap::{AnyStart, Look, Search, WORD_BITS};
use crate::boundary_tags::Extent;
use crate::chunk::{Chunk, Refused, State, granules_for};
use crate::chunk_set::{DefaultAlgorithm, Pin};
use crate::error::{AllocError, Impossible};
use crate::sync::{Fault, seeded};
use crate::view::{ChunkView, Granule};

/// How often a chunk's algorithm is asked again after a lost claim. Each loss means that another
/// thread got something; so many in a row mean that the algorithm proposes what is taken (2026-11).
const ASKS: usize = if cfg!(genpool_small) {
    4
} else if cfg!(miri) {
    64
} else {
    1 << 12
};

/// How often a caller that found nothing tries to prove it before it answers `Contended`. Each try
/// is a search and two scans (2026-11). One that cannot watch because too many do proves nothing either.
const PROOFS: usize = if cfg!(genpool_small) { 2 } else { 16 };

impl Inner {
    /// `own` is the number of announced operations that this call is part of.
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

    /// One after the other by the default algorithm, up to the first that finds no room.
    pub(super) fn alloc_each<'p>(
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

    /// First fit among permanent chunks, of which this one is tried first. Answers in registers, and
    /// leaves all that is uncommon to the end of other functions, so that none have to be saved.
    #[inline(never)]
    fn take_lowest<'p>(&'p self, newest: &'p Chunk, n: usize) -> Option<(&'p Chunk, usize)> {
        match newest.bitmap().take_at_once(0, n) {
            Some(start) => self.taken(newest, start, n),
            None => self.take_low(newest, n),
        }
    }

    /// As [`take_lowest`](Self::take_lowest), where the first few words do not serve.
    #[inline(never)]
    fn take_low<'p>(&'p self, newest: &'p Chunk, n: usize) -> Option<(&'p Chunk, usize)> {
        if self.activity.is_refused(n) {
            return None;
        }
        match newest.bitmap().take_at_once(1, n) {
            Some(start) => self.taken(newest, start, n),
            None => self.take_further(newest, n),
        }
    }

    /// As [`take_lowest`](Self::take_lowest), in any case.
    #[inline(never)]
    fn take_further<'p>(&'p self, newest: &'p Chunk, n: usize) -> Option<(&'p Chunk, usize)> {
        if n > WORD_BITS {
            return None;
        }
        let take = |chunk: &'p Chunk| match chunk.bitmap().take_lowest(n, &self.activity) {
            Search::Found(start) => match chunk.keep(start, n, &self.activity) {
                Ok(()) => ControlFlow::Break(Some((chunk, start))),
                Err(_) => ControlFlow::Continue(()),
            },
            Search::Nowhere => ControlFlow::Continue(()),
            // Others are faster: the chunk may have room still.
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

    /// What was just claimed, once the probers are told.
    #[inline(always)]
    fn taken<'p>(&self, chunk: &'p Chunk, start: usize, n: usize) -> Option<(&'p Chunk, usize)> {
        if self.activity.has_no_listeners() && chunk.state() == State::Alive {
            return Some((chunk, start));
        }
        self.taken_beside(chunk, start, n)
    }

    /// Somebody watches, or the chunk is being removed.
    #[cold]
    #[inline(never)]
    fn taken_beside<'p>(
        &self,
        chunk: &'p Chunk,
        start: usize,
        n: usize,
    ) -> Option<(&'p Chunk, usize)> {
        chunk.bitmap().claimed(start, n, &self.activity);
        chunk.keep(start, n, &self.activity).ok()?;
        Some((chunk, start))
    }

    /// An allocation of `n` granules that were claimed in a permanent chunk.
    #[inline(always)]
    fn hand_out<'p>(&'p self, chunk: &'p Chunk, granule: usize, n: usize) -> Allocation<'p> {
        let extent = chunk.open(granule, n);
        let origin = Origin::permanent(chunk);
        Allocation::new(self, origin, chunk.addr_of(granule), extent)
    }

    /// By a default algorithm that is known at run time only, or where a first look found nothing.
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

    /// The newest chunk first, then everything else. In line, so that the allocation is put together
    /// where it is used: handed over through memory it costs as much as a locked instruction.
    #[inline(always)]
    pub(super) fn alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
        own: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        // A cached refusal that stands spares the call.
        if let Some(request) = Request::new(size, self.order)
            && !self.activity.is_refused(request.granules())
            && let Some((chunk, granule)) = self.take_with(request, algorithm)
        {
            return Ok(self.hand_out(chunk, granule, request.granules()));
        }
        self.alloc_slowly(size, algorithm, own).map(Parts::whole)
    }

    /// A first look at the permanent chunks, the newest first. Takes and answers what fits registers.
    #[inline(never)]
    fn take_with<A: Algorithm + ?Sized>(
        &self,
        request: Request,
        algorithm: &A,
    ) -> Option<(&Chunk, usize)> {
        algorithm.check(&request).ok()?;
        let newest = self.chunk_set.newest()?;
        match self.first_look(newest, algorithm, request) {
            Search::Found(granule) => Some((newest, granule)),
            Search::Nowhere => self.look_further(newest, algorithm, request),
            // Asked again by who looks slowly, or told what is wrong.
            Search::Missed => None,
        }
    }

    /// Where a first look found nothing: all chunks, or why there is no place.
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

    /// Why a request is refused that is covered by the cached refusal.
    fn refused<A: Algorithm + ?Sized>(&self, algorithm: &A, request: &Request) -> AllocError {
        if let Some(newest) = self.chunk_set.newest()
            && request.granules() <= newest.bitmap().len()
            && algorithm.rules_out(&self.exact(newest), request).is_none()
        {
            return self.exhausted(algorithm, request);
        }
        self.refused_by_all(algorithm, request)
    }

    /// As [`refused`](Self::refused), where the newest chunk could not serve the request.
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

    /// One proposal and one claim.
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
        let Some(Granule(granule)) = algorithm.propose(&view, &request) else {
            return Search::Nowhere;
        };
        if granule > last {
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

    /// As [`first_look`](Self::first_look), in the other permanent chunks.
    #[inline(never)]
    fn look_further<'p, A: Algorithm + ?Sized>(
        &'p self,
        newest: &Chunk,
        algorithm: &A,
        request: Request,
    ) -> Option<(&'p Chunk, usize)> {
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

    /// All chunks, and at the end a proof that there is no place in any of them (see
    /// `activity.rs`).
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
                // No chunk that was added meanwhile was left out. Chunks do not change, and one that is being
                // removed serves no more.
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
            // Whatever the algorithm's own rules are.
            let nowhere = pin
                .chunks()
                .all(|chunk| !has_room(chunk, request.granules()));
            let after = prober.read();
            // The list must be the same too: a hole may have come with a chunk.
            let is_current = || seeded(Fault::UncheckedList) || self.chunk_set.is_current(&pin);
            if before == after && before.is_quiet(own) && is_current() {
                if nowhere && before.is_quiet(0) {
                    prober.cache_refusal(request.granules(), before, is_current);
                }
                return Err(self.exhausted(algorithm, request));
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
            // SAFETY: the chunk is one of the pinned list's.
            let permanent = unsafe { pin.permanent(chunk) };
            let listed = || Origin::listed(chunk.generation());
            let origin = permanent.map_or_else(listed, Origin::permanent);
            let addr = chunk.addr_of(granule);
            return Ok(Ok(Parts {
                extent,
                addr,
                origin,
                inner: self,
            }));
        }
        Ok(Err(outlook))
    }

    /// One chunk: asks the algorithm until what it proposes could be claimed. If there is nothing, answers
    /// whether there ever could be.
    fn try_chunk<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
        look: Look,
        own: usize,
    ) -> Result<Result<(usize, Extent), Feasibility>, AllocError> {
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
            let Some(Granule(granule)) = algorithm.propose(&view, request) else {
                return Ok(Err(Feasibility::of(&view, algorithm, request)));
            };
            if granule > granules - n {
                self.counters.bad_proposal();
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

    /// Every claim was lost: to others, or because the algorithm proposes what is taken. It does if
    /// it does so while nothing moves.
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
            // One such look may be bad luck: a claim came in between and has not told yet. An honest
            // algorithm knows of that claim at the next.
            if bad.is_none() || before != prober.read() || !before.is_quiet(own) {
                bad = None;
                break;
            }
        }
        match bad {
            Some(Granule(granule)) => {
                self.counters.bad_proposal();
                AllocError::BadProposal { granule, granules }
            }
            None => {
                self.counters.contended();
                AllocError::Contended { size }
            }
        }
    }
}

/// Whether chunks could serve a request, if all of them were free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feasibility {
    Possible,
    Never(Impossible),
}

impl Feasibility {
    /// Of no chunk at all, or one that is being removed.
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

    /// Of these chunks and others.
    fn and(self, others: Self, request: &Request) -> Self {
        match (self, others) {
            (Self::Never(one), Self::Never(other)) => Self::Never(one.and(other, request.size())),
            _ => Self::Possible,
        }
    }
}

/// Whether there is room for `n` granules, by a look at every bit.
fn has_room(chunk: &Chunk, n: usize) -> bool {
    chunk.state() == State::Alive
        && chunk
            .bitmap()
            .find_run(0, usize::MAX, n, AnyStart, Look::Exact)
            .is_some()
}
