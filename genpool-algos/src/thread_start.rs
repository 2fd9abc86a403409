//! Start positions that depend on the thread.

use genpool_core::sync::thread_index;
use genpool_core::{Algorithm, AlgorithmName, ChunkView, Claim, Granule, Request};

use crate::around::first_around;
use crate::thread_places::{ThreadPlace, move_thread_place, set_thread_place, thread_place};

/// Gives each thread a region of its own in a chunk. Threads that allocate and free concurrently then work on
/// different cache lines of the bitmap. The last free granule is still found. But few long runs remain: in a chunk of
/// 65,536 granules that is 70 % full, the longest may have less than a hundred. [`SpreadFit`](crate::SpreadFit) leaves
/// them.
///
/// Within its region, a thread continues where it last found something, and wraps around at the region's end. It
/// thereby reuses what it gave back, which is likely to be in the processor's caches. A region in which nothing is
/// found doubles in size.
///
/// A region begins small, at a place that depends on the thread. Threads are numbered in order of their first use,
/// and a thread begins at the fraction of the chunk that results from reversing the bits of its number (0, 1/2, 1/4,
/// 3/4, …). So the few threads that run at a time are well spread, no matter how many came and went before. A thread
/// remembers its regions in the few chunks that it used last; there is no table. Without the feature `std` it remembers
/// none, and begins at its place each time.
///
/// At worst linear in the granules of the chunk, like first fit. [Signal-safe](genpool_core#signal-safety) in
/// executables and in libraries that are loaded at program start, because of thread-local storage.
///
/// ```
/// use genpool::{Pool, ThreadStart};
///
/// let pool = Pool::builder().order(12).algorithm(ThreadStart).build()?;
/// pool.add(0, 64 << 20)?;
/// std::thread::scope(|threads| {
///     for _ in 0..4 {
///         threads.spawn(|| {
///             for _ in 0..1000 {
///                 let buffer = pool.alloc(4096).expect("there is room");
///                 drop(buffer); // in this thread's own region, which no other thread's bits share
///             }
///         });
///     }
/// });
/// assert_eq!(pool.avail(), pool.size());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStart;

/// Granules in a cache line of the bitmap. Regions are multiples of this, so that two threads do not start out
/// sharing a line (2026-11).
const LINE: usize = 512;

/// Granules in a word of the bitmap. A thread continues at the beginning of the word where it found something, not
/// after the run, so that it finds again what is given back there (2026-11).
const WORD: usize = usize::BITS as usize;

/// The number of regions in a chunk at first, and thus the number of threads that begin apart (2026-11).
const REGIONS: usize = 64;

impl ThreadStart {
    /// Returns where this thread begins in a chunk that it has not used before.
    #[cold]
    fn beginning(chunk: &ChunkView<'_>) -> ThreadPlace {
        let at = chunk.start_apart(thread_index()).0;
        let len = (chunk.granules() / REGIONS).max(LINE);
        let len = len.checked_next_power_of_two().unwrap_or(len);
        ThreadPlace {
            at,
            from: at - at % len,
            len,
        }
    }

    /// Returns the region of which this one is a half, or none if this one is the whole chunk.
    fn doubled(place: ThreadPlace, chunk: &ChunkView<'_>) -> Option<ThreadPlace> {
        let len = place.len.checked_mul(2).filter(|&len| len > 0)?;
        (place.len < chunk.granules()).then(|| ThreadPlace {
            at: place.at,
            from: place.from - place.from % len,
            len,
        })
    }

    /// Searches a region from granule `from` on.
    #[inline(always)]
    fn look(chunk: &ChunkView<'_>, place: ThreadPlace, from: usize, n: usize) -> Option<Granule> {
        let found = chunk.find_nearby(Granule(from), n)?;
        place.contains(found).then_some(found)
    }

    /// Claims what [`propose`](Algorithm::propose) finds.
    #[inline(never)]
    fn claim_proposed<'c>(chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        let found = Self.propose(chunk, request);
        found.map_or(Claim::Nowhere, |start| chunk.claim(start, request))
    }

    /// Returns the first granule of the word in which something was found.
    #[inline(always)]
    fn word_of(found: Granule) -> usize {
        found.0 & !(WORD - 1)
    }

    /// Searches a chunk that the thread has not used before.
    #[cold]
    fn begin(chunk: &ChunkView<'_>, n: usize) -> Option<Granule> {
        let place = Self::beginning(chunk);
        set_thread_place(chunk.id(), place);
        let found = Self::look(chunk, place, place.at, n);
        found.or_else(|| Self::further(chunk, place, n))
    }

    /// Searches the region from its beginning, then larger ones, then every granule of the chunk.
    #[cold]
    fn further(chunk: &ChunkView<'_>, mut place: ThreadPlace, n: usize) -> Option<Granule> {
        loop {
            if let Some(found) = Self::look(chunk, place, place.from, n) {
                place.at = Self::word_of(found);
                set_thread_place(chunk.id(), place);
                return Some(found);
            }
            match Self::doubled(place, chunk) {
                Some(doubled) => place = doubled,
                None => return first_around(chunk, Granule(place.at), n),
            }
        }
    }
}

impl Algorithm for ThreadStart {
    fn any_place(&self) -> bool {
        true
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("thread-start"))
    }

    #[inline(always)]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let n = request.granules();
        let Some(place) = thread_place(chunk.id()) else {
            return Self::begin(chunk, n);
        };
        let Some(found) = Self::look(chunk, place, place.at, n) else {
            return Self::further(chunk, place, n);
        };
        move_thread_place(chunk.id(), Self::word_of(found));
        Some(found)
    }

    #[inline(always)]
    fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        let Some(place) = thread_place(chunk.id()) else {
            return Self::claim_proposed(chunk, request);
        };
        let mut found = place.at;
        let claim = chunk.claim_nearby(Granule(place.at), request, |start| {
            found = Self::word_of(start);
            place.contains(start)
        });
        match claim {
            Claim::Nowhere => Self::claim_proposed(chunk, request),
            _ => {
                move_thread_place(chunk.id(), found);
                claim
            }
        }
    }
}
