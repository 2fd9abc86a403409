//! How an allocation finds its place: the newest chunk first, then all of them, then a proof that
//! there is no place.

use crossbeam_utils::Backoff;

use super::Inner;
use crate::algorithm::{Algorithm, FirstFit, Request};
use crate::allocation::{Allocation, Home};
use crate::bitmap::Look;
use crate::chunk::{Chunk, Refused, State};
use crate::error::AllocError;
use crate::records::Deed;
use crate::shelf::{Pin, Route};
use crate::sync::{Fault, seeded};
use crate::view::{ChunkView, Granule};

/// How often a chunk's algorithm is asked again after a lost claim. Each loss means that another
/// thread got something; so many in a row mean that the algorithm proposes what is taken (2026-11).
const ASKS: usize = if cfg!(genpool_loom) { 4 } else { 1 << 12 };

/// How often a caller that found nothing tries to prove it before it answers `Contended`. Each try
/// is two scans (2026-11).
const PROOFS: usize = if cfg!(genpool_loom) { 2 } else { 16 };

impl Inner {
    /// `own` is the number of announced operations that this call is part of.
    #[inline(always)]
    pub(super) fn alloc_default(
        &self,
        size: usize,
        own: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        match self.shelf.default() {
            Route::FirstFit => self.alloc_with(size, &FirstFit, own),
            Route::BuiltWith => self.alloc_with(size, &*self.built_with, own),
            Route::Other => {
                let pin = self.shelf.pin();
                self.alloc_with(size, pin.algorithm(), own)
            }
        }
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
        let Some(request) = Request::new(size, self.order) else {
            return Err(self.unsuitable(AllocError::ZeroSize));
        };
        if let Err(reason) = algorithm.check(&request) {
            return Err(self.unsuitable(AllocError::Unsuitable(reason)));
        }
        if let Some(chunk) = self.shelf.newest()
            && let Some(granule) = self.first_look(chunk, algorithm, &request)
        {
            let n = request.granules();
            let deed = chunk.open(granule, n);
            let addr = chunk.addr_of(granule);
            return Ok(Allocation::new(self, Home::Permanent(chunk), addr, n, deed));
        }
        self.search(algorithm, &request, own)
    }

    #[cold]
    fn unsuitable(&self, error: AllocError) -> AllocError {
        self.counters.unsuitable();
        error
    }

    /// One proposal and one claim.
    fn first_look<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
    ) -> Option<usize> {
        let (n, granules) = (request.granules(), chunk.bitmap().len());
        if n > granules || chunk.state() != State::Alive {
            return None;
        }
        let view = ChunkView::new(chunk, Look::Bounded);
        let Granule(granule) = algorithm.propose(&view, request)?;
        if granule > granules - n {
            // `search` says what is wrong with it.
            return None;
        }
        match chunk.claim(granule, n, &self.traffic) {
            Ok(()) => Some(granule),
            Err(refused) => {
                if refused == Refused::Taken {
                    self.counters.lost_claim();
                }
                None
            }
        }
    }

    /// All chunks, and at the end a proof that there is no place in any of them (see
    /// `traffic.rs`).
    #[cold]
    fn search<A: Algorithm + ?Sized>(
        &self,
        algorithm: &A,
        request: &Request,
        own: usize,
    ) -> Result<Allocation<'_>, AllocError> {
        let size = request.size();
        for _ in 0..PROOFS {
            let pin = self.shelf.pin();
            if let Some(found) = self.try_chunks(&pin, algorithm, request, Look::Bounded, own)? {
                return Ok(found);
            }
            if seeded(Fault::Unproved) {
                return Err(AllocError::Exhausted { size });
            }
            let watch = self.traffic.watch();
            let before = watch.read();
            if let Some(found) = self.try_chunks(&pin, algorithm, request, Look::Exact, own)? {
                return Ok(found);
            }
            let after = watch.read();
            // The list must be the same too: a hole may have come with a chunk.
            if before == after && before.is_quiet(own) && self.shelf.is_current(&pin) {
                self.counters.exhausted();
                return Err(AllocError::Exhausted { size });
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
    ) -> Result<Option<Allocation<'p>>, AllocError> {
        for chunk in pin.chunks() {
            if let Some((granule, deed)) = self.try_chunk(chunk, algorithm, request, look, own)? {
                let (addr, n) = (chunk.addr_of(granule), request.granules());
                // SAFETY: the chunk is one of the pinned snapshot's.
                let permanent = unsafe { pin.permanent(chunk) };
                let generation = chunk.generation();
                let home = permanent.map_or(Home::Listed { generation }, Home::Permanent);
                return Ok(Some(Allocation::new(self, home, addr, n, deed)));
            }
        }
        Ok(None)
    }

    /// One chunk: asks the algorithm until what it proposes could be claimed.
    fn try_chunk<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
        look: Look,
        own: usize,
    ) -> Result<Option<(usize, Deed)>, AllocError> {
        let n = request.granules();
        let granules = chunk.bitmap().len();
        if n > granules || chunk.state() != State::Alive {
            return Ok(None);
        }
        let view = ChunkView::new(chunk, look);
        let backoff = Backoff::new();
        for _ in 0..ASKS {
            let Some(Granule(granule)) = algorithm.propose(&view, request) else {
                return Ok(None);
            };
            if granule > granules - n {
                self.counters.bad_proposal();
                return Err(AllocError::BadProposal { granule, granules });
            }
            match chunk.claim(granule, n, &self.traffic) {
                Ok(()) => {
                    return Ok(Some((granule, chunk.open(granule, n))));
                }
                Err(Refused::Draining) => return Ok(None),
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
            let watch = self.traffic.watch();
            let before = watch.read();
            let proposed = algorithm.propose(view, request);
            bad = proposed.filter(|&start| !view.is_free(start, request.granules()));
            // One such look may be bad luck: a claim came in between and has not told yet. An honest
            // algorithm knows of that claim at the next.
            if bad.is_none() || before != watch.read() || !before.is_quiet(own) {
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
