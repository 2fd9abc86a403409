//! The trait for placement algorithms.
//!
//! `ops/alloc.rs` says when the pool asks [`Algorithm::rules_out`], and why that needs no proof.

use super::claim::Claim;
use super::name::AlgorithmName;
use super::request::Request;
use super::view::ChunkView;
use crate::error::{Impossible, Unsuitable};
#[cfg(feature = "alloc")]
use crate::memory::{Arc, Box};
use crate::units::Granule;
#[cfg(feature = "alloc")]
use crate::unwind::Guarded;

/// Chooses where in a chunk an allocation goes.
///
/// The pool asks chunk by chunk, newest first, and claims what the algorithm proposes. If another thread took it
/// first, the pool asks again. A wrong proposal is harmless: a place that is taken or outside the chunk is refused,
/// never handed out. An algorithm may also panic: whatever the call holds at that time (the earlier allocations of an
/// `alloc_many`) is given back as the panic unwinds.
///
/// An algorithm and its data are one value. It must be `Sync`, because any number of threads run it at once. To serve
/// in signal handlers, it must itself be [signal-safe](crate#signal-safety).
///
/// # Proving a failure
///
/// Before the pool returns [`Exhausted`](crate::AllocError::Exhausted), it asks every chunk again while it watches
/// that nothing changes. For that to be a proof, `propose` must meet three conditions:
///
/// - In a chunk that does not change, it must find a place whenever there is one under its own rules.
/// - Before it answers none, its last pass must cover the whole chunk and read each word of the bitmap once. So it is
///   one call of [`find_run`](ChunkView::find_run), [`find_aligned`](ChunkView::find_aligned) or
///   [`find_tightest`](ChunkView::find_tightest), one walk over [`runs`](ChunkView::runs), or
///   [`is_free`](ChunkView::is_free) of the only place. A loop of such calls is no proof. Earlier passes may be
///   partial, as those of an algorithm with a preference, but what they found must not count.
/// - What it saw must not leave the call. Another thread that acted on it would know of changes before the pool does.
///
/// # Under constraints
///
/// [`Constrained`](crate::Constrained) restricts any algorithm to the places that constraints allow. The algorithm then
/// gets a view whose searches find only such places, and keeps its preference among them. A place that it computes
/// itself, as the end of a run, may not be allowed: check it with [`ChunkView::is_free`], or find the first allowed one
/// of a run by [`ChunkView::first_in`]. If it proposes one that is not allowed, first fit takes its place for that
/// proposal, so a refusal remains a proof.
///
/// An algorithm chooses within one chunk. Any place in a newer chunk comes before the best place in an older one.
///
/// # Example
///
/// Last fit, which takes the highest free place:
///
/// ```
/// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
///
/// struct LastFit;
///
/// impl Algorithm for LastFit {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         let n = request.granules();
///         let last = chunk.runs(Granule(0), n).last()?;
///         Some(Granule(last.start.0 + last.len - n))
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x10_0000, 0x10_0000)?;
/// assert_eq!(pool.alloc_with(8192, &LastFit)?.addr(), 0x1f_e000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Algorithm: Send + Sync {
    /// Checks whether the request can be served at all, whatever chunks there are. The pool asks before it looks at
    /// any chunk, and again after a first search found nothing.
    ///
    /// # Errors
    ///
    /// The reason, which the caller of `alloc` gets as [`AllocError::Unsuitable`](crate::AllocError::Unsuitable).
    #[inline]
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        let _ = request;
        Ok(())
    }

    /// Returns true if a caller may be given any free run of the right length, even one that `propose` would not choose:
    /// true for an algorithm that only prefers places, as best fit does, and false for one that must avoid some.
    /// A [`Cache`](crate::Cache) may then take several nearby runs at once. False by default, and for algorithms that
    /// restrict where a run may lie: a cache then passes every call on to the pool.
    #[inline]
    fn any_place(&self) -> bool {
        false
    }

    /// Returns true if the algorithm claims by [`ChunkView::claim_own`]. The chunks of a pool that is built with it then
    /// keep an index of units, as if its builder had been asked to ([`Builder::unit_index`](crate::Builder::unit_index)).
    /// False by default.
    #[inline]
    fn spreads(&self) -> bool {
        false
    }

    /// Returns the algorithm's name and parameter, which observers get with each allocation. A trace keeps the names
    /// that its format defines, from which a replay can recreate the algorithm. None by default.
    #[inline]
    fn name(&self) -> Option<AlgorithmName> {
        None
    }

    /// Returns the reason why this chunk could not serve the request even if all of it were free, or none if it
    /// could. None by default. Asked only after [`propose`](Self::propose) found nothing. If no chunk of the pool
    /// could serve the request, the caller of `alloc` gets [`AllocError::Impossible`](crate::AllocError::Impossible)
    /// instead of [`Exhausted`](crate::AllocError::Exhausted). The pool itself detects a request that is longer than
    /// a chunk. The result may depend on the chunk's address, physical address and length, but not on what is free.
    ///
    /// ```
    /// use genpool::{
    ///     Algorithm, AllocError, ChunkView, FirstFit, Granule, Impossible, Pool, Request,
    /// };
    ///
    /// /// First fit in chunks that a device can reach.
    /// struct Reached;
    ///
    /// impl Algorithm for Reached {
    ///     fn rules_out(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Impossible> {
    ///         chunk.phys().is_none().then_some(Impossible::NoPhys)
    ///     }
    ///
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         chunk.phys().and_then(|_| FirstFit.propose(chunk, request))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let refused = pool.alloc_with(1, &Reached).unwrap_err();
    /// assert_eq!(refused, AllocError::Impossible(Impossible::NoPhys));
    /// pool.add_virt(0x8000, 0x1_0000, 0x4000)?;
    /// assert!(pool.alloc_with(1, &Reached).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let _ = (chunk, request);
        None
    }

    /// Returns the only address at which the algorithm ever allocates, if there is just one. A refusal then names it,
    /// as [`AllocError::Taken`](crate::AllocError::Taken).
    #[inline]
    fn only_address(&self) -> Option<usize> {
        None
    }

    /// Returns the first granule of a free run of [`request.granules()`](Request::granules) in this chunk, or none if
    /// there is no fit in it.
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule>;

    /// Finds a free run as [`propose`](Self::propose) does, and claims it. By default it claims what `propose` returns.
    /// The pool calls it on the fast path only, and `propose` wherever it must know more: an algorithm overrides it where
    /// to claim in the same step costs less. It may then answer [`Claim::Nowhere`] although there is a fit. [`Claim`] has
    /// an example.
    #[inline]
    fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        let found = self.propose(chunk, request);
        found.map_or(Claim::Nowhere, |start| chunk.claim(start, request))
    }

    /// Returns true if this is [`FirstFit`](crate::FirstFit), which the pool need not ask in the simplest case.
    #[doc(hidden)]
    #[inline]
    fn is_first_fit(&self) -> bool {
        false
    }
}

macro_rules! forward {
    ($($pointer:ty),+) => {
        $(impl<A: Algorithm + ?Sized> Algorithm for $pointer {
            #[inline]
            fn check(&self, request: &Request) -> Result<(), Unsuitable> {
                (**self).check(request)
            }

            #[inline]
            fn any_place(&self) -> bool {
                (**self).any_place()
            }

            #[inline]
            fn spreads(&self) -> bool {
                (**self).spreads()
            }

            #[inline]
            fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
                (**self).rules_out(chunk, request)
            }

            #[inline]
            fn only_address(&self) -> Option<usize> {
                (**self).only_address()
            }

            #[inline]
            fn name(&self) -> Option<AlgorithmName> {
                (**self).name()
            }

            #[inline]
            fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
                (**self).propose(chunk, request)
            }

            #[inline]
            fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
                (**self).claim(chunk, request)
            }

            #[inline]
            fn is_first_fit(&self) -> bool {
                (**self).is_first_fit()
            }
        })+
    };
}

forward!(&A);
#[cfg(feature = "alloc")]
forward!(Box<A>, Arc<A>, Guarded<A>);
