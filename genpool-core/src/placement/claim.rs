//! What an algorithm that claims returns.

use core::mem::ManuallyDrop;

use crate::activity::Activity;
use crate::bitmap::Attempt;
use crate::chunk::{Chunk, ClaimError};
use crate::units::Granule;

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
    /// The algorithm saw a fit, but could not claim it: another thread was faster. The pool asks the algorithm again.
    Missed,
}

/// A run that is claimed. Dropping it gives it back. Its calls take constant time and are
/// [signal-safe](crate#signal-safety); so is the drop, as that of an [`Allocation`](crate::Allocation).
///
/// ```
/// use genpool::{Algorithm, ChunkView, Claim, Granule, Pool, Request};
///
/// /// The second free run rather than the first.
/// struct Second;
///
/// impl Algorithm for Second {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
///     }
///
///     fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
///         let first = chunk.claim_lowest(request);
///         if let Claim::Found(claimed) = &first {
///             assert_eq!((claimed.start(), claimed.granules()), (Granule(0), 1));
///         }
///         chunk.claim_lowest(request) // `first` is given back
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// assert_eq!(pool.alloc_with(1, &Second)?.addr(), 0x2000);
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
    /// Claims the run of `n` granules at `start`, if it lies in the chunk.
    #[inline(always)]
    pub(super) fn at(chunk: &'c Chunk, activity: &'c Activity, start: Granule, n: usize) -> Self {
        let last = chunk.bitmap().len().checked_sub(n);
        if last.is_none_or(|last| start.0 > last) {
            return Self::Missed;
        }
        match chunk.claim(start, n, activity) {
            Ok(()) => Self::Found(Claimed {
                chunk,
                activity,
                start,
                n,
            }),
            Err(ClaimError::Draining) => Self::Nowhere,
            Err(ClaimError::Taken) => Self::Missed,
        }
    }

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
