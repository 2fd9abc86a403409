//! Spread first fit.

use genpool_core::{Algorithm, AlgorithmName, ChunkView, Claim, FirstFit, Granule, Request};

/// Spread first fit, for threads that allocate and free all the time: a thread gets the lowest fit in the parts of the
/// chunk that it owns. So threads work on different cache lines of the bitmap, as under
/// [`ThreadStart`](crate::ThreadStart), and the long runs survive, as under [`FirstFit`].
///
/// A chunk is divided into units of 512 granules (4,096 in a chunk of more than 262,144). A thread that finds nothing in
/// its own units takes the lowest that nobody owns, and at first one that is not beside another thread's. If there is none
/// with room, strict first fit serves it, from any unit, and it takes that unit over if at least 64 granules are free
/// there. The last tenth of the units is never owned, so that long runs remain even in a chunk that is nearly full. At
/// most 64 threads have units of their own in a chunk, and fewer in a small one: one for each four units. With more,
/// several share theirs. What a thread owned when it ended serves the others in the same way.
///
/// # What it promises, and what not
///
/// - It finds a fit wherever first fit does. Requests of more than a word of the bitmap (64 granules on 64-bit machines)
///   are first fit. So is every request in a chunk without an index of units.
/// - Which fit a thread gets depends on all that happened before. Usually it is low in the chunk.
/// - With one thread at 70 % use, the longest free run is some 0.9 of first fit's; with 16 threads in 65,536 granules
///   some 0.45. It has no lower bound.
///
/// # Index of units
///
/// A pool keeps the index in each chunk of at least 1,024 granules if `SpreadFit` was its default when it was built, or
/// if the builder was asked to ([`Builder::unit_index`](genpool_core::Builder::unit_index)). It takes up to 2.5 bits per
/// granule, of which memory is touched only where threads own units. Every free in the pool then updates it.
///
/// Under constraints ([`Constrained`](genpool_core::Constrained)) it is first fit.
///
/// An alloc usually takes constant time. At worst it is linear in the granules of the chunk, like first fit.
/// [Signal-safe](genpool_core#signal-safety) in executables and in libraries that are loaded at program start, because
/// of thread-local storage. A handler that interrupts an alloc or a free may leave an entry of the index wrong, which
/// costs packing and nothing else.
///
/// ```
/// use genpool::{Pool, SpreadFit};
///
/// let pool = Pool::builder().order(12).algorithm(SpreadFit).build()?;
/// pool.add(0, 64 << 20)?;
/// std::thread::scope(|threads| {
///     for _ in 0..4 {
///         threads.spawn(|| {
///             let buffers: Vec<_> = (0..500).map(|_| pool.alloc(4096).expect("room")).collect();
///             drop(buffers);
///         });
///     }
/// });
/// // Whatever the threads own, long runs are served.
/// assert_eq!(pool.alloc(48 << 20)?.size(), 48 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadFit;

impl Algorithm for SpreadFit {
    fn any_place(&self) -> bool {
        true
    }

    fn spreads(&self) -> bool {
        true
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("spread-fit"))
    }

    #[inline(always)]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        FirstFit.propose(chunk, request)
    }

    #[inline(always)]
    fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        chunk.claim_own(request)
    }
}
