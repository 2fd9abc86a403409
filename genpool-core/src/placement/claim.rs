//! Claims by an algorithm: a run that it finds and claims in one step.

use core::mem::ManuallyDrop;

use super::plain::PlainView;
use super::request::Request;
use super::view::ChunkView;
use crate::activity::Activity;
use crate::bitmap::{Attempt, Taken};
use crate::chunk::Chunk;
use crate::units::{Granule, WORD_BITS};

/// The outcome of [`Algorithm::claim`](super::Algorithm::claim) in one chunk.
///
/// ```
/// use genpool::{Algorithm, ChunkView, Claim, Granule, Pool, Request};
///
/// /// The first granules, or where they are taken, the lowest fit.
/// struct FromFront;
///
/// impl Algorithm for FromFront {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
///     }
///
///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
///         match chunk.claim(Granule(0), request) {
///             Claim::Missed => chunk.claim_lowest(request),
///             claim => claim,
///         }
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let pages = [pool.alloc_with(1, &FromFront)?, pool.alloc_with(1, &FromFront)?];
/// assert_eq!(pages.map(|page| page.addr()), [0x1000, 0x2000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub enum Claim<'c> {
    /// A run is claimed.
    Found(Claimed<'c>),
    /// The algorithm saw no fit in the chunk.
    Nowhere,
    /// The algorithm saw a fit, but could not claim it: another thread was faster, or it leaves the chunk. The pool asks
    /// for a proposal.
    Missed,
}

/// A run that is claimed. Dropping it gives it back; forgetting it leaks it. Its calls take constant time and are
/// [signal-safe](crate#signal-safety); so is the drop, as that of an [`Allocation`](crate::Allocation).
///
/// Claim nothing that you may give back: another caller may be refused for want of it meanwhile.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use genpool::{Algorithm, ChunkView, Claim, FirstFit, Granule, Pool, Request};
///
/// /// First fit that counts the granules in the first half of a chunk.
/// struct Counting(AtomicUsize);
///
/// impl Algorithm for Counting {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         FirstFit.propose(chunk, request)
///     }
///
///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
///         let claim = chunk.claim_lowest(request);
///         if let Claim::Found(claimed) = &claim
///             && claimed.start().0 < chunk.granules() / 2
///         {
///             self.0.fetch_add(claimed.granules(), Ordering::Relaxed);
///         }
///         claim
///     }
/// }
///
/// let (pool, counting) = (Pool::new(12)?, Counting(AtomicUsize::new(0)));
/// pool.add(0x1000, 0x4000)?;
/// let pages = [pool.alloc_with(0x2000, &counting)?, pool.alloc_with(1, &counting)?];
/// assert_eq!(counting.0.into_inner(), 2);
/// # drop(pages);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Claimed<'c> {
    chunk: &'c Chunk,
    activity: &'c Activity,
    start: Granule,
    n: usize,
}

impl<'c> Claim<'c> {
    /// Keeps the run of `n` granules that an attempt claimed in the bitmap of `chunk`, unless the chunk is being
    /// removed.
    #[inline(always)]
    pub(super) fn of_attempt(
        attempt: Attempt,
        chunk: &'c Chunk,
        activity: &'c Activity,
        n: usize,
    ) -> Self {
        match attempt {
            Attempt::Found(start) => match chunk.confirm_claim(start, n, activity) {
                Ok(()) => Self::Found(Claimed {
                    chunk,
                    activity,
                    start,
                    n,
                }),
                Err(_) => Self::Nowhere,
            },
            Attempt::Nowhere => Self::Nowhere,
            Attempt::Missed => {
                chunk.after_rollback();
                Self::Missed
            }
        }
    }
}

impl Claimed<'_> {
    /// Returns the first granule.
    #[must_use]
    #[inline]
    pub fn start(&self) -> Granule {
        self.start
    }

    /// Returns the number of granules.
    #[must_use]
    #[inline]
    pub fn granules(&self) -> usize {
        self.n
    }

    /// Returns the first granule, and keeps the run claimed.
    #[inline(always)]
    pub(crate) fn keep(self) -> Granule {
        ManuallyDrop::new(self).start
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.chunk.give_back(self.start, self.n, self.activity).ok();
    }
}

impl<'c> ChunkView<'c> {
    /// Claims the run of the request's length at `start`. [`Claim::Missed`] if it is not free or leaves the chunk.
    /// Whether the constraints allow the place is not checked.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Claim, FirstFit, Granule, Pool, Request};
    ///
    /// struct Claims;
    ///
    /// impl Algorithm for Claims {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         FirstFit.propose(chunk, request)
    ///     }
    ///
    ///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
    ///         chunk.claim(Granule(2), request)
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// assert_eq!(pool.alloc_with(1, &Claims)?.addr(), 0x3000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn claim(&self, start: Granule, request: &Request) -> Claim<'c> {
        let &PlainView {
            chunk, activity, ..
        } = self.plain();
        let n = request.granules();
        let last = chunk.bitmap().len().checked_sub(n);
        if last.is_none_or(|last| start.0 > last) {
            return Claim::Missed;
        }
        let attempt = match chunk.bitmap().claim(start, n, activity) {
            Ok(()) => Attempt::Found(start),
            Err(Taken) => Attempt::Missed,
        };
        Claim::of_attempt(attempt, chunk, activity, n)
    }

    /// Claims the lowest free run of the request's length, in one step. Under constraints, finds it first.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Claim, FirstFit, Granule, Pool, Request};
    ///
    /// struct Claims;
    ///
    /// impl Algorithm for Claims {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         FirstFit.propose(chunk, request)
    ///     }
    ///
    ///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
    ///         chunk.claim_lowest(request)
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// assert_eq!(pool.alloc_with(1, &Claims)?.addr(), 0x1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn claim_lowest(&self, request: &Request) -> Claim<'c> {
        let n = request.granules();
        if n > WORD_BITS || !self.is_unrestricted() {
            let found = self.find_run(Granule(0), Granule(usize::MAX), n);
            return found.map_or(Claim::Nowhere, |start| self.claim(start, request));
        }
        let &PlainView {
            chunk, activity, ..
        } = self.plain();
        let attempt = chunk.bitmap().take_lowest(n, activity);
        Claim::of_attempt(attempt, chunk, activity, n)
    }

    /// Claims the lowest free run of the request's length in the parts of the chunk that belong to the calling thread, or
    /// else in all of it, in one step, as [`SpreadFit`](https://docs.rs/genpool/latest/genpool/struct.SpreadFit.html)
    /// does. As [`claim_lowest`](Self::claim_lowest) if the pool keeps no index of units
    /// ([`Builder::unit_index`](crate::Builder::unit_index)), if the request is longer than a word of the bitmap, and
    /// under constraints.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Claim, FirstFit, Granule, Pool, Request};
    ///
    /// struct Claims;
    ///
    /// impl Algorithm for Claims {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         FirstFit.propose(chunk, request)
    ///     }
    ///
    ///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
    ///         chunk.claim_own(request)
    ///     }
    ///
    ///     fn spreads(&self) -> bool {
    ///         true
    ///     }
    /// }
    ///
    /// let pool = Pool::builder().order(12).algorithm(Claims).build()?;
    /// pool.add(0x1000, 0x8000)?;
    /// assert_eq!(pool.alloc(1)?.addr(), 0x1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn claim_own(&self, request: &Request) -> Claim<'c> {
        let n = request.granules();
        if n > WORD_BITS || !self.is_unrestricted() {
            return self.claim_lowest(request);
        }
        let &PlainView {
            chunk, activity, ..
        } = self.plain();
        let attempt = match chunk.bitmap().take_own(n) {
            Some(start) => {
                chunk.bitmap().claimed(start, n, activity);
                Attempt::Found(start)
            }
            None => chunk.bitmap().take_spread(n, activity),
        };
        Claim::of_attempt(attempt, chunk, activity, n)
    }

    /// Claims a free run of the request's length in the word of `from` or the next, the first there, in one step.
    /// [`Claim::Nowhere`] if there is none, if `accept` is false of its first granule, or under constraints.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Claim, FirstFit, Granule, Pool, Request};
    ///
    /// struct Claims;
    ///
    /// impl Algorithm for Claims {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         FirstFit.propose(chunk, request)
    ///     }
    ///
    ///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
    ///         chunk.claim_nearby(Granule(0), request, |start| start.0 < 4)
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// assert_eq!(pool.alloc_with(1, &Claims)?.addr(), 0x1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn claim_nearby(
        &self,
        from: Granule,
        request: &Request,
        accept: impl FnOnce(Granule) -> bool,
    ) -> Claim<'c> {
        if !self.is_unrestricted() {
            return Claim::Nowhere;
        }
        let &PlainView {
            chunk, activity, ..
        } = self.plain();
        let n = request.granules();
        let attempt = chunk.bitmap().take_nearby(from, n, accept, activity);
        Claim::of_attempt(attempt, chunk, activity, n)
    }
}
