//! The view of a chunk's bitmap that an algorithm gets. What it claims by is in `claim.rs`.

use super::constraints::Constraints;
use super::places::Places;
use super::plain::PlainView;
use crate::activity::Activity;
use crate::bitmap::{AnyStart, Look};
use crate::chunk::Chunk;
use crate::units::{Granule, Run};

/// One chunk, as an algorithm sees it while other threads allocate and free.
///
/// Everything that a view reports was true when it was read. The pool claims what the algorithm proposes by
/// compare-and-swap, so acting on stale information only costs a retry. All calls are
/// [signal-safe](crate#signal-safety), and take constant time unless their text says otherwise.
///
/// A view that [`Constrained`](crate::Constrained) passes on is under constraints: its searches find only places that
/// they allow, and what they do not allow counts as taken. Otherwise every place is allowed.
///
/// ```
/// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
///
/// /// Worst fit: the longest run that is free.
/// struct WorstFit;
///
/// impl Algorithm for WorstFit {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         assert_eq!((chunk.start(), chunk.last(), chunk.granules()), (0x1000, 0x8fff, 8));
///         let longest = chunk.runs(Granule(0), request.granules()).max_by_key(|run| run.len)?;
///         Some(longest.start)
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x8000)?;
/// let pages: Vec<_> = (0..3).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
/// let kept = pages.into_iter().last(); // granules 0 and 1 are free again, and 3 to 7
/// assert_eq!(pool.alloc_with(1, &WorstFit)?.addr(), 0x4000);
/// # drop(kept);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChunkView<'c> {
    plain: PlainView<'c>,
    /// The places that constraints allow, or none if there are no constraints.
    places: Option<&'c Places>,
}

impl<'c> ChunkView<'c> {
    pub(crate) fn new(chunk: &'c Chunk, look: Look, activity: &'c Activity) -> Self {
        let plain = PlainView {
            chunk,
            look,
            activity,
        };
        let places = None;
        Self { plain, places }
    }

    /// Returns the view under the constraints that these places meet.
    #[inline]
    pub(super) fn under<'p>(&self, places: &'p Places) -> ChunkView<'p>
    where
        'c: 'p,
    {
        let (plain, places) = (self.plain, Some(places));
        ChunkView { plain, places }
    }

    /// Returns the places that the constraints allow, and those that the view is under.
    #[inline]
    pub(super) fn places_under(&self, constraints: &Constraints) -> Option<Places> {
        Places::new(constraints, &self.plain, self.places)
    }

    /// Returns true only if constraints surely allow a place for `n` granules while all of the chunk is free.
    #[inline]
    pub(super) fn surely_allows(&self, constraints: &Constraints, n: usize) -> bool {
        self.places.is_none() && constraints.surely_allow(&self.plain, n)
    }

    /// Returns true if first fit may claim in a single step: there are no constraints, and no failure is being proved.
    #[inline(always)]
    pub(super) fn is_unrestricted(&self) -> bool {
        self.places.is_none() && self.plain.look == Look::Hinted
    }

    #[inline(always)]
    pub(super) fn plain(&self) -> &PlainView<'c> {
        &self.plain
    }

    /// Returns a number that identifies the chunk: no other chunk of the process, in any pool, has it or ever had it.
    /// (On a 32-bit machine, numbers repeat after 2^31 chunks.) For data that an algorithm keeps about chunks.
    #[must_use]
    #[inline]
    pub fn id(&self) -> usize {
        self.plain.chunk.id()
    }

    /// Returns the address of the chunk's first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.plain.start()
    }

    /// Returns the address of the chunk's last byte.
    #[must_use]
    pub fn last(&self) -> usize {
        self.plain.last()
    }

    /// Returns the physical address of the chunk's first byte, if the chunk has one.
    #[must_use]
    pub fn phys(&self) -> Option<u64> {
        self.plain.phys()
    }

    /// Returns the pool's order: a granule is `1 << order` bytes.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.plain.order()
    }

    /// Returns the chunk's size in granules.
    #[must_use]
    pub fn granules(&self) -> usize {
        self.plain.granules()
    }

    /// Returns the address of a granule of this chunk. The result is meaningless for a granule outside the chunk.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` starts at 0x1000 and has four granules of 4 KiB:
    ///         assert_eq!(chunk.addr_of(Granule(2)), 0x3000);
    ///         assert_eq!(chunk.granule_at(0x3fff), Some(Granule(2)));
    ///         assert_eq!(chunk.granule_at(0x5000), None);
    ///         Some(Granule(0))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn addr_of(&self, granule: Granule) -> usize {
        self.plain.addr_of(granule)
    }

    /// Returns the granule that `addr` lies in, or none if `addr` is outside the chunk.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` starts at 0x1000 and has four granules of 4 KiB:
    ///         assert_eq!(chunk.granule_at(0x1234), Some(Granule(0)));
    ///         assert_eq!(chunk.granule_at(0x0fff), None);
    ///         Some(Granule(0))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn granule_at(&self, addr: usize) -> Option<Granule> {
        self.plain
            .chunk
            .contains(addr)
            .then(|| self.plain.chunk.granule_of(addr))
    }

    /// Returns start position `number` of a sequence that spreads over the chunk: its beginning, its middle, the
    /// first quarter, and so on. Any few consecutive positions are well spread. For users of the chunk that should
    /// keep apart.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` has 65,536 granules:
    ///         let starts = [0, 1, 2, 3].map(|number| chunk.start_apart(number));
    ///         assert_eq!(starts, [Granule(0), Granule(32_768), Granule(16_384), Granule(49_152)]);
    ///         Some(Granule(0))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(0)?;
    /// pool.add(0, 65_536)?;
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn start_apart(&self, number: usize) -> Granule {
        self.plain.chunk.bitmap().start_apart(number)
    }

    /// Returns true if all `n` granules from `start` on are in the chunk, free, and an allowed place. O(n / 64).
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` has four granules; the first is taken:
    ///         assert!(chunk.is_free(Granule(1), 3));
    ///         assert!(!chunk.is_free(Granule(0), 2));
    ///         assert!(!chunk.is_free(Granule(1), 4)); // the last would be outside
    ///         Some(Granule(1))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let _first = pool.alloc(1)?;
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_free(&self, start: Granule, n: usize) -> bool {
        let allowed = self
            .places
            .is_none_or(|places| places.allow(&self.plain, start, n));
        allowed && self.plain.chunk.bitmap().is_free(start, n)
    }

    /// Returns the lowest allowed start of `n` granules in a free run of this chunk. Without constraints this is the
    /// run's start. None if there is none, or if `n` is zero.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Constrained, Constraints, Granule, Pool, Request};
    ///
    /// /// The highest free run that has an allowed place.
    /// struct HighestRun;
    ///
    /// impl Algorithm for HighestRun {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         let n = request.granules();
    ///         chunk.runs(Granule(0), n).filter_map(|run| chunk.first_in(run, n)).last()
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// let mut pages: Vec<_> = (0..4).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
    /// drop(pages.remove(0)); // free: 0x1000, and from 0x5000 on
    /// let aligned = Constrained::new(HighestRun, Constraints::new().align(0x2000)?);
    /// assert_eq!(pool.alloc_with(1, &aligned)?.addr(), 0x6000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn first_in(&self, run: Run, n: usize) -> Option<Granule> {
        match self.places {
            Some(places) => places.first_in(&self.plain, run, n),
            None => (1..=run.len).contains(&n).then_some(run.start),
        }
    }

    /// Returns the lowest start in `from..limit` at which `n` granules are free. Skips words that cannot serve the
    /// request; at worst linear in the size of the chunk. None if `n` is zero.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` has eight granules; the first is taken:
    ///         assert_eq!(chunk.find_run(Granule(0), Granule(usize::MAX), 2), Some(Granule(1)));
    ///         assert_eq!(chunk.find_run(Granule(4), Granule(usize::MAX), 2), Some(Granule(4)));
    ///         assert_eq!(chunk.find_run(Granule(0), Granule(1), 2), None); // no start below 1
    ///         Some(Granule(1))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// let _first = pool.alloc(1)?;
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn find_run(&self, from: Granule, limit: Granule, n: usize) -> Option<Granule> {
        if n == 0 {
            return None;
        }
        match self.places {
            Some(places) => places.find_run(&self.plain, from..limit, n),
            None => self.plain.find_run(from, limit, n),
        }
    }

    /// Returns `n` free granules within one word of the bitmap (64 granules on 64-bit machines), the first from the word
    /// of `from` on, or none, even if there are some. Always none if `n` exceeds a word, and while a failure is being
    /// proved. For algorithms that continue where they last found something, and fall back to
    /// [`find_run`](Self::find_run).
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// /// Continues near the last place, and searches everywhere if there is nothing.
    /// struct Near(AtomicUsize);
    ///
    /// impl Algorithm for Near {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         let (n, last) = (request.granules(), Granule(self.0.load(Ordering::Relaxed)));
    ///         let found = chunk
    ///             .find_nearby(last, n)
    ///             .or_else(|| chunk.find_run(Granule(0), Granule(usize::MAX), n))?;
    ///         self.0.store(found.0, Ordering::Relaxed);
    ///         Some(found)
    ///     }
    /// }
    ///
    /// let pool = Pool::builder().algorithm(Near(AtomicUsize::new(512))).build()?;
    /// pool.add(0, 1024)?;
    /// assert_eq!(pool.alloc(1)?.addr(), 512);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn find_nearby(&self, from: Granule, n: usize) -> Option<Granule> {
        if n == 0 || self.plain.look == Look::Exact {
            return None;
        }
        match self.places {
            Some(places) => places.find_nearby(&self.plain, from, n),
            None => {
                let bitmap = self.plain.chunk.bitmap();
                bitmap.find_nearby(from, n, AnyStart)
            }
        }
    }

    /// Searches as [`find_run`](Self::find_run) does, but only among granules whose address leaves the remainder
    /// `phase` when divided by `align` (both in bytes). None if `align` is not a power of two. An alignment below the
    /// granule has no effect. The phase is rounded down to a granule. To align the index of a granule instead of its
    /// address, take the remainder of the chunk's [`start`](Self::start) as the phase.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` starts at 0x1000; a granule is 4 KiB:
    ///         let aligned = chunk.find_aligned(Granule(0), Granule(usize::MAX), 1, 0x4000, 0);
    ///         assert_eq!(aligned, Some(Granule(3))); // 0x4000
    ///         let with_phase = chunk.find_aligned(Granule(0), Granule(usize::MAX), 1, 0x4000, 0x2000);
    ///         assert_eq!(with_phase, Some(Granule(1))); // 0x2000
    ///         Some(Granule(1))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn find_aligned(
        &self,
        from: Granule,
        limit: Granule,
        n: usize,
        align: usize,
        phase: usize,
    ) -> Option<Granule> {
        if n == 0 || !align.is_power_of_two() {
            return None;
        }
        match self.places {
            Some(places) => places.find_aligned(&self.plain, from..limit, n, align, phase),
            None => {
                let starts = self.plain.aligned_starts(align, phase);
                self.plain.find_among(from, limit, n, starts)
            }
        }
    }

    /// Returns the start of the shortest free run of at least `n` granules, and the lowest of several such runs: best
    /// fit. None if `n` is zero. Under constraints, of the runs that have an allowed place; a run counts with its whole
    /// length, even if only a part of it is allowed.
    ///
    /// Usually reads only a few words of the bitmap, however large the chunk is. It reads all of them in the first
    /// call for a chunk, and in every call for a chunk of fewer than some 8,000 granules. If no shorter run fits, it
    /// measures every run that is at least as long as a word of the bitmap (64 granules on 64-bit machines).
    ///
    /// The first call for a larger chunk turns on an index of run lengths. From then on, each alloc and each free in
    /// the pool's larger chunks, by any algorithm, updates the index for the runs around the range. A pair of both
    /// then costs nearly twice as much.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
    ///
    /// struct BestFit;
    ///
    /// impl Algorithm for BestFit {
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         chunk.find_tightest(request.granules())
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// let mut pages: Vec<_> = (0..6).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
    /// drop((pages.remove(4), pages.remove(0), pages.remove(0))); // granules 0, 1 and 4 are free, and 6 and 7
    /// assert_eq!(pool.alloc_with(1, &BestFit)?.addr(), 0x5000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn find_tightest(&self, n: usize) -> Option<Granule> {
        if n == 0 {
            return None;
        }
        let bitmap = self.plain.chunk.bitmap();
        let Some(places) = self.places else {
            return bitmap.find_tightest(n, self.plain.look, self.plain.activity);
        };
        let place = |run| places.first_in(&self.plain, run, n);
        bitmap.find_tightest_where(n, self.plain.look, self.plain.activity, place)
    }

    /// Returns the free runs of at least `min` granules (at least one), upwards from `from`. A run that begins before
    /// `from` is cut off there. Linear in the chunk, but skips words that cannot contain such a run. Under constraints,
    /// a run begins at its lowest allowed start of `min` granules and ends with the last allowed granule;
    /// [`first_in`](Self::first_in) finds other allowed places in it.
    ///
    /// ```
    /// use genpool::{Algorithm, ChunkView, Granule, Pool, Request, Run};
    ///
    /// struct Look;
    ///
    /// impl Algorithm for Look {
    ///     fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
    ///         // `chunk` has eight granules; 0 and 3 are taken:
    ///         let runs: Vec<Run> = chunk.runs(Granule(0), 3).collect();
    ///         assert_eq!(runs, [Run { start: Granule(4), len: 4 }]);
    ///         Some(Granule(4))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x8000)?;
    /// let mut pages: Vec<_> = (0..4).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
    /// # drop((pages.remove(1), pages.remove(1)));
    /// assert!(pool.alloc_with(1, &Look).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn runs(&self, from: Granule, min: usize) -> impl Iterator<Item = Run> + use<'c> {
        let (chunk, min) = (*self, min.max(1));
        let runs = self.plain.runs(from, min);
        runs.filter_map(move |run| match chunk.places {
            Some(places) => places.cut(&chunk.plain, run, min),
            None => Some(run),
        })
    }
}
