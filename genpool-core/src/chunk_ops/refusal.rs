//! Refusals: which error a request gets that was not served.

use super::state::PoolState;
use crate::bitmap::Look;
use crate::chunk::{Chunk, State};
use crate::error::{AllocError, Impossible};
use crate::placement::{Algorithm, ChunkView, Request};

/// Refusals, for every kind of pool.
pub(crate) trait Refuse: PoolState {
    /// Returns true if the cached refusal covers requests of this size, under any algorithm but one for a single address.
    #[inline(always)]
    fn refuses_size(&self, size: usize) -> bool {
        let request = Request::new(size, self.order());
        request.is_some_and(|request| self.activity().is_refused(request.granules()))
    }

    /// Returns true if the cached refusal covers the request. It never covers one for a single address, whose refusal
    /// says that the address is taken: the chunk may be newer than the cached refusal, and free.
    #[inline(always)]
    fn is_refused<A: Algorithm + ?Sized>(&self, algorithm: &A, request: &Request) -> bool {
        self.activity().is_refused(request.granules()) && algorithm.only_address().is_none()
    }

    /// Returns why a request that the cached refusal covers is refused. The request must not be for a single address.
    /// `Exhausted` says nothing of whether a chunk is long enough, so the newest chunk may be asked without a pin, whatever
    /// its state.
    fn refuse_from_cache<A: Algorithm + ?Sized>(
        &self,
        algorithm: &A,
        request: &Request,
    ) -> AllocError {
        if let Some(newest) = self.newest()
            && request.granules() <= newest.bitmap().len()
            && algorithm.rules_out(&self.exact(newest), request).is_none()
        {
            self.counters().exhausted();
            let size = request.size();
            return AllocError::Exhausted { size };
        }
        self.refuse_by_all(algorithm, request)
    }

    /// Continues [`refuse_from_cache`](Self::refuse_from_cache) where the newest chunk could not serve the request even
    /// if it were free.
    #[cold]
    #[inline(never)]
    fn refuse_by_all<A: Algorithm + ?Sized>(&self, algorithm: &A, request: &Request) -> AllocError {
        let pin = self.pin();
        let alive = Self::chunks(&pin).filter(|chunk| chunk.state() == State::Alive);
        let all = alive
            .map(|chunk| Feasibility::of(&self.exact(chunk), algorithm, request))
            .reduce(|all, one| Self::and(all, one, request))
            .unwrap_or(Feasibility::NO_CHUNK);
        match all {
            Feasibility::Never(reason) if self.is_current(&pin) => self.impossible(reason),
            _ => self.exhausted(algorithm, request),
        }
    }

    /// Returns the feasibility in these chunks and others together.
    fn and(these: Feasibility, others: Feasibility, request: &Request) -> Feasibility {
        if Self::HAS_ONE_CHUNK {
            return others;
        }
        these.and(others, request)
    }

    fn exact<'c>(&'c self, chunk: &'c Chunk) -> ChunkView<'c> {
        ChunkView::new(chunk, Look::Exact, self.activity())
    }

    fn exhausted<A: Algorithm + ?Sized>(&self, algorithm: &A, request: &Request) -> AllocError {
        self.counters().exhausted();
        let size = request.size();
        match algorithm.only_address() {
            Some(addr) => AllocError::Taken { addr, size },
            None => AllocError::Exhausted { size },
        }
    }

    /// Refuses a request that no chunk could ever serve. The reason may show a chunk whose author has not notified yet.
    #[cold]
    fn impossible(&self, reason: Impossible) -> AllocError {
        self.counters().unsuitable();
        self.reveal(());
        AllocError::Impossible(reason)
    }

    #[cold]
    fn unsuitable(&self, error: AllocError) -> AllocError {
        self.counters().unsuitable();
        error
    }
}

impl<P: PoolState> Refuse for P {}

/// Whether chunks could serve a request if all of their granules were free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feasibility {
    Possible,
    Never(Impossible),
}

impl Feasibility {
    /// The feasibility in no chunk at all, or in one that is being removed.
    pub(super) const NO_CHUNK: Self = Self::Never(Impossible::NoChunk);

    pub(super) fn of<A: Algorithm + ?Sized>(
        view: &ChunkView<'_>,
        algorithm: &A,
        request: &Request,
    ) -> Self {
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
