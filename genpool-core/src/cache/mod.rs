//! A handle for one thread that keeps a few runs at hand.
//!
//! A layer over the pool: what a cache holds are granules that the pool counts as taken, and what it
//! hands out are ordinary allocations, so nobody else needs to know of it.
//!
//! # What costs what
//!
//! A cache has a [`Magazine`] for each length from one granule to [`SIZES`]. An alloc that finds its
//! magazine filled and a free that finds room change only memory of the cache's own. An empty
//! magazine is refilled by one compare-and-swap on a word of the bitmap, a full one emptied by half by
//! one fetch-and a word.
//!
//! # What it looks at in every call
//!
//! - The chunk's state: a chunk that is being removed hands out nothing more. The runs in the magazine
//!   are then given back, so that it can drain.
//! - Which algorithm is the pool's default. A cache takes what is near, so it keeps runs only while that
//!   is one for which every place is as good ([`Algorithm::any_place`](crate::Algorithm::any_place)),
//!   and gives all of them back when it no longer is.
//!
//! Only runs of permanent chunks are kept (see `chunk_set.rs`): a magazine refers to its chunk without a
//! pin. What lies in another chunk goes home at once.
//!
//! # Boundary tracking
//!
//! The ownership word of an allocation says that it lives, so a run in a magazine has none: alloc opens one, a
//! free closes it.

mod magazine;
mod slots;

use core::fmt;
use core::ptr;

use self::magazine::Magazine;
use self::slots::CacheSlot;
pub(crate) use self::slots::CacheSlots;
use crate::allocation::{Allocation, Origin, OriginKind, Parts};
use crate::chunk::{Chunk, State, granules_for};
use crate::chunk_set::DefaultVersion;
use crate::error::AllocError;
#[cfg(feature = "observe")]
use crate::observer::{Event, Notifier};
use crate::pool::{Inner, Pool};
use crate::sync::{Fault, seeded};
use crate::unwind::FirstPanic;

/// Runs of one granule to so many are kept; longer ones are rare, and few fit into a word beside each
/// other (2026-11).
pub(crate) const SIZES: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// A handle on a [`Pool`] for one thread, which keeps a few runs at hand: most of its calls touch
/// nothing that another thread uses. [`Pool::cache`] makes it.
///
/// It hands out ordinary [`Allocation`]s. They may be sent, kept and dropped as any other, and go home
/// to the pool whichever thread drops them; given to [`free`](Self::free), they stay at hand for the
/// next [`alloc`](Self::alloc) of that size.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x4000_0000, 0x100_0000)?;
/// std::thread::scope(|threads| {
///     for _ in 0..4 {
///         threads.spawn(|| {
///             let mut cache = pool.cache();
///             for _ in 0..1000 {
///                 let buffer = cache.alloc(4096).expect("there is room");
///                 cache.free(buffer);
///             }
///         });
///     }
/// });
/// assert_eq!(pool.avail(), pool.size());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it keeps, and for how long
///
/// Allocations of one to eight granules, at most 32 granules of each length:
/// [`MOST_GRANULES`](Self::MOST_GRANULES) in all. Everything else goes straight to the pool. Caching is off
/// (1) while the pool's default algorithm restricts where a run may lie, as aligned and constrained fits
/// do, (2) for chunks that were added after the first removal of one.
///
/// Runs kept by a cache are unavailable to other threads: one of them may get
/// [`Exhausted`](AllocError::Exhausted), and a chunk that is being removed is not drained before its runs
/// are back. They come back
///
/// - with [`flush`](Self::flush) and when the cache is dropped (one that is forgotten keeps it for ever);
/// - a batch at a time when there is too much of it;
/// - all of a chunk that is being removed, with the next call for a length of which it keeps some there;
/// - everything with the first alloc after the default algorithm was changed for one with rules.
///
/// [`Stats::cached`](crate::Stats::cached) says how much all caches keep.
///
/// A cache never makes its own calls fail: before it answers `Exhausted` or `Contended` it gives back
/// all it keeps and tries again.
///
/// As long as a range is kept here, it must not be freed by address as well; boundary tracking
/// refuses that.
///
/// # Signal safety
///
/// Its calls take no lock and allocate no heap memory. A handler cannot use the cache of the code it
/// interrupted, which borrows it; the pool's own calls are there for it.
#[must_use = "what it keeps goes back to the pool when it is dropped"]
pub struct Cache<'p> {
    pool: &'p Pool,
    inner: &'p Inner,
    /// Which default algorithm it goes by.
    tag: DefaultVersion,
    /// Bytes of the largest allocation that is kept; 0 while none is.
    largest: usize,
    order: u32,
    slot: &'p CacheSlot,
    /// For runs of one granule, of two, and so on.
    magazines: [Magazine<'p>; SIZES],
}

/// What became of an allocation that a cache was given.
enum Put<'p> {
    /// It is over, and its range, in this chunk, is kept.
    Kept(
        #[cfg_attr(
            not(feature = "observe"),
            expect(dead_code, reason = "for who is observed")
        )]
        &'p Chunk,
    ),
    /// It was over before: somebody freed it by address.
    Lost,
    /// It cannot be kept.
    Origin(#[expect(dead_code, reason = "dropped")] Allocation<'p>),
}

const _: () = {
    const fn sent<T: Send>() {}
    sent::<Cache<'_>>();
};

impl<'p> Cache<'p> {
    /// The most granules that a cache keeps.
    pub const MOST_GRANULES: usize = {
        let (mut n, mut sum) = (1, 0);
        while n <= SIZES {
            sum += magazine::GRANULES / n * n;
            n += 1;
        }
        sum
    };

    pub(crate) fn new(pool: &'p Pool, inner: &'p Inner) -> Self {
        let tag = inner.chunk_set.tag();
        let mut cache = Self {
            pool,
            inner,
            tag,
            largest: 0,
            order: inner.order(),
            slot: inner.slots.take(),
            magazines: core::array::from_fn(|at| Magazine::new(at + 1)),
        };
        cache.go_by(tag);
        cache
    }

    /// Allocates `size` bytes as [`Pool::alloc`] does, from what is kept where it can.
    ///
    /// No atomic read-modify-write where a run is at hand, one compare-and-swap where a batch of them
    /// is near; else what [`Pool::alloc`] costs.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?; // takes a batch, of which the rest stays at hand
    /// assert!(cache.held() > 0);
    /// # drop(buffer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Pool::alloc`], after all that is kept was given back.
    #[inline(always)]
    pub fn alloc(&mut self, size: usize) -> Result<Allocation<'p>, AllocError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.inner.notifier() {
            return self.alloc_observed(notifier, size).map(Parts::whole);
        }
        self.alloc_unobserved(size)
    }

    #[inline(always)]
    fn alloc_unobserved(&mut self, size: usize) -> Result<Allocation<'p>, AllocError> {
        match self.at_hand(size) {
            Some(found) => Ok(found),
            None => self.alloc_slowly(size).map(Parts::whole),
        }
    }

    /// What is kept and serves the request, if that may be handed out without a look at anything else.
    #[inline(always)]
    fn at_hand(&mut self, size: usize) -> Option<Allocation<'p>> {
        // A size of zero wraps, and is none that is kept.
        if size.wrapping_sub(1) < self.largest
            && (self.inner.chunk_set.tag() == self.tag || seeded(Fault::UncheckedAlgorithm))
        {
            return self.pop(granules_for(size, self.order));
        }
        None
    }

    /// Keeps the allocation at hand. It goes home to the pool where it cannot be kept: another pool's,
    /// of another length than is kept, in another chunk than what is kept of that length, or in one
    /// that is being removed.
    ///
    /// No atomic read-modify-write where there is room; where there is none, half of what is kept of that
    /// length is given back first, by one a word of the bitmap.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?;
    /// let addr = buffer.addr();
    /// cache.free(buffer);
    /// assert_eq!(cache.alloc(4096)?.addr(), addr); // the one that was just used, still in the processor's cache
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn free(&mut self, allocation: Allocation<'p>) {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.inner.notifier() {
            return self.free_observed(notifier, allocation);
        }
        let Parts {
            extent,
            addr,
            origin,
            inner,
        } = allocation.into_parts();
        let n = extent.len();
        if let OriginKind::Permanent(chunk) = origin.kind()
            && chunk.boundary_tags().is_none()
            && let Some(magazine) = self.magazines.get_mut(n.wrapping_sub(1))
            && magazine.chunk().is_some_and(|own| ptr::eq(own, chunk))
            && chunk.state() == State::Alive
            && magazine.push(addr)
        {
            self.slot.record(n, magazine.len());
            return;
        }
        self.free_slowly(Allocation::new(inner, origin, addr, extent));
    }

    #[cfg(feature = "observe")]
    #[cold]
    fn alloc_observed(
        &mut self,
        notifier: &Notifier,
        size: usize,
    ) -> Result<Parts<'p>, AllocError> {
        let kept = self.at_hand(size).or_else(|| self.restocked(size));
        if let Some(found) = kept {
            if let Some(chunk) = found.permanent_chunk() {
                self.inner.notify_cached(notifier, size, chunk, &found);
            }
            return Ok(found.into_parts());
        }
        let found = self.alloc_past(size);
        self.inner.notify_alloc(notifier, size, None, &found);
        found.map(Allocation::into_parts)
    }

    #[cfg(feature = "observe")]
    #[cold]
    fn free_observed(&mut self, notifier: &Notifier, allocation: Allocation<'p>) {
        let (addr, size) = (allocation.addr(), allocation.size());
        let n = allocation.granules();
        match self.keep(allocation) {
            // What goes home is told by its drop.
            Put::Origin(_) => {}
            // The number may be drawn late: nobody else has what is kept.
            Put::Kept(chunk) => self.inner.notify_kept(notifier, chunk, addr, n),
            Put::Lost => notifier.notify(&Event::FreeRefused {
                addr,
                size: Some(size),
                error: None,
            }),
        }
    }

    /// Bytes that are kept. Constant time.
    #[must_use]
    pub fn held(&self) -> usize {
        let runs = self.magazines.iter().map(Magazine::len).zip(1..);
        runs.map(|(count, n)| count * n).sum::<usize>() << self.order
    }

    /// Gives back all that is kept, by one atomic instruction a word of the bitmap. The cache goes on.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?;
    /// cache.free(buffer);
    /// cache.flush(); // before a long pause, for the sake of the other threads
    /// assert_eq!((cache.held(), pool.avail()), (0, pool.size()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&mut self) {
        self.leave(|_| true);
    }

    /// The pool that it is a handle on.
    #[must_use]
    pub fn pool(&self) -> &'p Pool {
        self.pool
    }

    /// A run of `n` granules, 1 to [`SIZES`], that is at hand and may be handed out.
    #[inline(always)]
    fn pop(&mut self, n: usize) -> Option<Allocation<'p>> {
        let magazine = self.magazines.get_mut(n - 1)?;
        let chunk = magazine.chunk()?;
        if chunk.state() != State::Alive && !seeded(Fault::UncheckedMagazine) {
            return None;
        }
        let addr = magazine.pop()?;
        self.slot.record(n, magazine.len());
        let extent = chunk.open(chunk.granule_of(addr), n);
        let origin = Origin::permanent(chunk);
        Some(Allocation::new(self.inner, origin, addr, extent))
    }

    #[cold]
    fn alloc_slowly(&mut self, size: usize) -> Result<Parts<'p>, AllocError> {
        let found = match self.restocked(size) {
            Some(found) => found,
            None => self.alloc_past(size)?,
        };
        Ok(found.into_parts())
    }

    /// What is at hand once the cache goes by what the pool is now, and once an empty magazine is refilled.
    fn restocked(&mut self, size: usize) -> Option<Allocation<'p>> {
        let tag = self.inner.chunk_set.tag();
        if tag != self.tag {
            self.go_by(tag);
        }
        self.leave(|chunk| chunk.state() != State::Alive);
        if !self.keeps(size) {
            return None;
        }
        let n = granules_for(size, self.order);
        self.refill(n);
        self.pop(n)
    }

    /// Whether allocations of such a size are kept.
    fn keeps(&self, size: usize) -> bool {
        size.wrapping_sub(1) < self.largest
    }

    /// Has the pool serve the request.
    fn alloc_past(&mut self, size: usize) -> Result<Allocation<'p>, AllocError> {
        let found = match self.inner.alloc_default(size, 0) {
            Err(AllocError::Exhausted { .. } | AllocError::Contended { .. }) if self.held() > 0 => {
                self.flush();
                self.inner.alloc_default(size, 0)
            }
            outcome => outcome,
        }?;
        if self.keeps(size) {
            // More may be where this one was.
            self.turn_to_chunk_of(&found);
        }
        Ok(found)
    }

    /// Fills the magazine for runs of `n` granules by half, if it is empty and there are some where it
    /// looks.
    fn refill(&mut self, n: usize) {
        let magazine = &mut self.magazines[n - 1];
        if magazine.len() > 0 {
            return;
        }
        if magazine.chunk().is_none() {
            let newest = self.inner.chunk_set.newest();
            let from = newest.map_or(0, |chunk| chunk.bitmap().start_apart(self.slot.number()));
            magazine.turn_to(newest, from);
        }
        magazine.refill(n, self.inner);
        self.slot.record(n, magazine.len());
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.inner.notifier()
            && let Some(chunk) = magazine.chunk()
            && magazine.len() > 0
        {
            let addrs = magazine.runs();
            self.inner.fill_cache_observed(notifier, chunk, addrs, n);
        }
    }

    /// Has the magazine for such allocations keep runs of the same chunk, if it may: then this is it.
    fn turn_to_chunk_of(&mut self, allocation: &Allocation<'p>) -> Option<&'p Chunk> {
        let chunk = allocation.permanent_chunk()?;
        let magazine = &mut self.magazines[allocation.granules() - 1];
        if magazine.len() == 0 {
            magazine.turn_to(Some(chunk), chunk.granule_of(allocation.addr()));
        }
        let may = chunk.state() == State::Alive
            && magazine.chunk().is_some_and(|own| ptr::eq(own, chunk));
        may.then_some(chunk)
    }

    #[cold]
    fn free_slowly(&mut self, allocation: Allocation<'p>) {
        // Dropped, it goes home.
        drop(self.keep(allocation));
    }

    fn keep(&mut self, allocation: Allocation<'p>) -> Put<'p> {
        self.leave(|chunk| chunk.state() != State::Alive);
        let n = allocation.granules();
        if self.largest == 0 || n > SIZES || !allocation.is_of(self.inner) {
            return Put::Origin(allocation);
        }
        let Some(chunk) = self.turn_to_chunk_of(&allocation) else {
            return Put::Origin(allocation);
        };
        let magazine = &mut self.magazines[n - 1];
        if magazine.is_full() {
            magazine.shrink(n, magazine.len() / 2, self.inner);
        }
        let addr = allocation.addr();
        let closed = allocation.close();
        if closed {
            magazine.push(addr);
        }
        self.slot.record(n, magazine.len());
        if closed { Put::Kept(chunk) } else { Put::Lost }
    }

    /// Gives back what is kept in the chunks for which `gone` says so, and turns away from them. If a
    /// callback panics because the last of a chunk came back, the others are given back all the same.
    fn leave(&mut self, gone: impl Fn(&Chunk) -> bool) {
        let mut panics = FirstPanic::default();
        for (magazine, n) in self.magazines.iter_mut().zip(1..) {
            if magazine.chunk().is_some_and(&gone) {
                self.slot.record(n, 0);
                panics.run(|| magazine.shrink(n, 0, self.inner));
                magazine.turn_to(None, 0);
            }
        }
        panics.resume();
    }

    /// Goes by the default algorithm of this tag, or a later one.
    fn go_by(&mut self, tag: DefaultVersion) {
        if self.inner.any_place(tag) {
            self.largest = SIZES.saturating_mul(1 << self.order);
        } else {
            self.flush();
            self.largest = 0;
        }
        self.tag = tag;
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        panics.run(|| self.flush());
        self.slot.release();
        panics.resume();
    }
}

impl fmt::Debug for Cache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("pool", self.pool)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
