//! The slow path of an allocation: a search of all chunks, and the proof that there is no room in any of them.

use super::refusal::{Feasibility, Refuse};
use super::state::PoolState;
use crate::bitmap::{AnyStart, Attempt, Look};
use crate::chunk::{Chunk, ClaimError, Extent, State};
use crate::error::AllocError;
use crate::placement::{Algorithm, ChunkView, Claim, Request};
use crate::sync::{Backoff, Fault, seeded};
use crate::units::Granule;

/// How often a chunk's algorithm is asked again after a lost claim. Each loss means that another thread got something.
/// This many in a row mean that the algorithm proposes what is taken (2026-11).
const MAX_CLAIMS: usize = if cfg!(genpool_small) {
    4
} else if cfg!(miri) {
    64
} else {
    1 << 12
};

/// How often a caller that found nothing tries to prove it before it answers `Contended`. Each try is a search and a
/// proof (2026-11). A caller that cannot become a prober because there are too many proves nothing either.
const MAX_PROOFS: usize = if cfg!(genpool_small) { 2 } else { 16 };

/// The outcome of a search that claims what it finds.
pub(crate) enum Outcome<T> {
    Found(T),
    /// Nothing was found.
    Nowhere(Feasibility),
}

/// The outcome of an attempt at a proof.
pub(crate) enum Proof<T> {
    Found(T),
    /// There is no room.
    NoRoom,
    /// Other threads changed something meanwhile.
    Failed,
    /// There are too many probers.
    NoProber,
}

/// An attempt in one chunk, and the slow path, for every kind of pool.
pub(crate) trait Search: Refuse {
    /// Makes one attempt in a chunk, on the fast path: the algorithm may find and claim in one step.
    #[inline(always)]
    fn attempt<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: Request,
    ) -> Attempt {
        let n = request.granules();
        if n > chunk.bitmap().len() {
            return Attempt::Nowhere;
        }
        let view = ChunkView::new(chunk, Look::Hinted, self.activity());
        match algorithm.claim(&view, &request) {
            Claim::Found(claimed) if claimed.granules() == n => Attempt::Found(claimed.keep()),
            Claim::Nowhere => Attempt::Nowhere,
            Claim::Found(_) | Claim::Missed => {
                self.counters().lost_claim();
                Attempt::Missed
            }
        }
    }

    /// Allocates by `algorithm` where the fast path found nothing, or returns why there is no room. `own_guards`: see
    /// `Shared::alloc_default`.
    #[cold]
    #[inline(never)]
    fn alloc_slowly<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
        own_guards: usize,
    ) -> Result<Self::Found<'_>, AllocError> {
        let Some(request) = Request::new(size, self.order()) else {
            return Err(self.unsuitable(AllocError::ZeroSize));
        };
        if let Err(reason) = algorithm.check(&request) {
            return Err(self.unsuitable(AllocError::Unsuitable(reason)));
        }
        if self.is_refused(algorithm, &request) {
            return Err(self.refuse_from_cache(algorithm, &request));
        }
        self.search_or_prove(algorithm, &request, own_guards)
    }

    /// Searches all chunks, and proves at the end that there is no room in any of them (see `activity/mod.rs`).
    #[cold]
    fn search_or_prove<A: Algorithm + ?Sized>(
        &self,
        algorithm: &A,
        request: &Request,
        own_guards: usize,
    ) -> Result<Self::Found<'_>, AllocError> {
        let size = request.size();
        for attempt in 0..MAX_PROOFS {
            // Another prober may have been faster.
            if attempt > 0 && self.is_refused(algorithm, request) {
                return Err(self.refuse_from_cache(algorithm, request));
            }
            let pin = self.pin();
            match self.try_chunks(&pin, algorithm, request, own_guards)? {
                Outcome::Found(found) => return Ok(found),
                Outcome::Nowhere(Feasibility::Possible) => {}
                Outcome::Nowhere(Feasibility::Never(reason)) => {
                    // If the list is still current, no chunk that was added meanwhile was left out. Chunks do not
                    // change, and one that is being removed never serves again.
                    if self.is_current(&pin) {
                        return Err(self.impossible(reason));
                    }
                    continue;
                }
            }
            if seeded(Fault::Unproved) {
                return Err(AllocError::Exhausted { size });
            }
            match self.prove(&pin, algorithm, request, own_guards)? {
                Proof::Found(found) => return Ok(found),
                Proof::NoRoom => return Err(self.exhausted(algorithm, request)),
                Proof::Failed => {}
                Proof::NoProber => break,
            }
        }
        self.counters().contended();
        Err(AllocError::Contended { size })
    }

    /// Searches the chunks of a list by their hints.
    fn try_chunks<'p, A: Algorithm + ?Sized>(
        &'p self,
        pin: &Self::Pin<'p>,
        algorithm: &A,
        request: &Request,
        own_guards: usize,
    ) -> Result<Outcome<Self::Found<'p>>, AllocError> {
        let mut feasibility = Feasibility::NO_CHUNK;
        for chunk in Self::chunks(pin) {
            match self.try_chunk(chunk, algorithm, request, Look::Hinted, own_guards)? {
                Outcome::Found((granule, extent)) => {
                    return Ok(Outcome::Found(self.found(pin, chunk, granule, extent)));
                }
                Outcome::Nowhere(of_chunk) => {
                    feasibility = Self::and(feasibility, of_chunk, request)
                }
            }
        }
        Ok(Outcome::Nowhere(feasibility))
    }

    /// Looks at every bit of the chunks of a list, between two readings of a prober. If nothing changed in between, that
    /// proves that there is no room.
    fn prove<'p, A: Algorithm + ?Sized>(
        &'p self,
        pin: &Self::Pin<'p>,
        algorithm: &A,
        request: &Request,
        own_guards: usize,
    ) -> Result<Proof<Self::Found<'p>>, AllocError> {
        let n = request.granules();
        let Some(prober) = self.activity().probe() else {
            return Ok(Proof::NoProber);
        };
        let before = prober.read();
        // A cached refusal holds for every algorithm, so each chunk is also searched without this one's rules. A request
        // for one address shows by its answer which chunks there are, so its refusal is not cached.
        let mut nowhere = algorithm.only_address().is_none();
        for chunk in Self::chunks(pin) {
            match self.try_chunk(chunk, algorithm, request, Look::Exact, own_guards)? {
                Outcome::Found((granule, extent)) => {
                    return Ok(Proof::Found(self.found(pin, chunk, granule, extent)));
                }
                Outcome::Nowhere(_) => nowhere = nowhere && !has_room(chunk, n),
            }
        }
        let after = prober.read();
        // The list must be the same too: room may have come with a new chunk.
        let is_current = || seeded(Fault::UncheckedList) || self.is_current(pin);
        if before != after || !before.is_quiet(own_guards) || !is_current() {
            return Ok(Proof::Failed);
        }
        if nowhere {
            prober.notify_of_refusal();
            if before.is_quiet(0) {
                prober.cache_refusal(n, before, is_current);
            }
        }
        drop(prober);
        // If there is room that the algorithm may not use, the refusal shows which granules are taken, and with them
        // claims whose authors have not notified yet. An earlier cached refusal would contradict it.
        if !nowhere {
            self.reveal(());
        }
        Ok(Proof::NoRoom)
    }

    /// Asks the algorithm until a run that it proposes in this chunk could be claimed.
    fn try_chunk<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
        look: Look,
        own_guards: usize,
    ) -> Result<Outcome<(Granule, Extent)>, AllocError> {
        let n = request.granules();
        let granules = chunk.bitmap().len();
        if chunk.state() != State::Alive {
            return Ok(Outcome::Nowhere(Feasibility::NO_CHUNK));
        }
        let view = ChunkView::new(chunk, look, self.activity());
        let nowhere = || Outcome::Nowhere(Feasibility::of(&view, algorithm, request));
        if n > granules {
            return Ok(nowhere());
        }
        let backoff = Backoff::new();
        for _ in 0..MAX_CLAIMS {
            let Some(granule) = self.ask(chunk, algorithm, request, look) else {
                return Ok(nowhere());
            };
            if granule.0 > granules - n {
                self.counters().bad_proposal();
                let granule = granule.0;
                // It shows that there is a chunk of this length.
                self.reveal(());
                return Err(AllocError::BadProposal { granule, granules });
            }
            match chunk.claim(granule, n, self.activity()) {
                Ok(()) => return Ok(Outcome::Found((granule, chunk.open(granule, n)))),
                Err(ClaimError::Draining) => return Ok(Outcome::Nowhere(Feasibility::NO_CHUNK)),
                Err(ClaimError::Taken) => {
                    self.counters().lost_claim();
                    backoff.spin();
                }
            }
        }
        Err(self.never_claimed(chunk, algorithm, request, look, own_guards))
    }

    /// Asks the algorithm for a place. Kept out of line, because the code of a search is long and is needed twice. It makes
    /// the view itself: the compiler then sees that the view has no constraints.
    #[inline(never)]
    fn ask<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
        look: Look,
    ) -> Option<Granule> {
        algorithm.propose(&ChunkView::new(chunk, look, self.activity()), request)
    }

    /// Returns why every claim in a chunk was lost: to other threads, or because the algorithm proposes runs that are
    /// taken. The latter is so if it proposes one while nothing changes.
    #[cold]
    fn never_claimed<A: Algorithm + ?Sized>(
        &self,
        chunk: &Chunk,
        algorithm: &A,
        request: &Request,
        look: Look,
        own_guards: usize,
    ) -> AllocError {
        let (size, granules) = (request.size(), chunk.bitmap().len());
        let mut bad = None;
        for _ in 0..MAX_PROOFS {
            let Some(prober) = self.activity().probe() else {
                bad = None;
                break;
            };
            let before = prober.read();
            let proposed = self.ask(chunk, algorithm, request, look);
            bad = proposed.filter(|&start| !chunk.bitmap().is_free(start, request.granules()));
            // A single such look proves nothing: a claim may have come in between that has not notified the probers
            // yet. A correct algorithm sees that claim at the next look.
            if bad.is_none() || before != prober.read() || !before.is_quiet(own_guards) {
                bad = None;
                break;
            }
        }
        match bad {
            Some(Granule(granule)) => {
                self.counters().bad_proposal();
                // It shows that a granule is taken.
                self.reveal(());
                AllocError::BadProposal { granule, granules }
            }
            None => {
                self.counters().contended();
                AllocError::Contended { size }
            }
        }
    }
}

impl<P: PoolState> Search for P {}

/// Returns true if there is room for `n` granules. Looks at every bit.
fn has_room(chunk: &Chunk, n: usize) -> bool {
    chunk.state() == State::Alive
        && chunk
            .bitmap()
            .find_run(Granule(0), Granule(usize::MAX), n, AnyStart, Look::Exact)
            .is_some()
}
