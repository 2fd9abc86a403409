//! A handle for one thread that keeps a few runs at hand.
//!
//! The cache is a layer over the pool. What it keeps are granules that are taken in the bitmap, and nothing else, so
//! the pool's protocols do not know of caches. A batch is one atomic change of one word, reported to probers like any
//! other claim, and a batch that races with a removal takes itself back. What a cache hands out are ordinary
//! allocations, which need no way back to the cache they came from.
//!
//! # Costs
//!
//! The pool's floor is two locked instructions for an alloc and its free. A pair through a cache costs a sixth of
//! that on a Xeon (2026-11), because it touches only the thread's own memory.
//!
//! A cache has a [`Magazine`] for each length from one granule to [`SIZES`], each for exactly that length. There is
//! no division and no rounding to a size class, and a run from the cache is as long as one from the pool. An alloc
//! from a magazine that is not empty and a free into one that is not full change only the cache's memory. An empty
//! magazine is refilled by one compare-and-swap on a word of the bitmap. A full one is emptied by half, by one
//! compare-and-swap per word.
//!
//! # What every call checks
//!
//! - The chunk's state, which is one load of a line that is seldom written. A chunk that is being removed hands out
//!   nothing more, and this holds for runs claimed long ago as well. The runs in the magazine are then given back, so
//!   that the chunk can drain. The price is that the drain waits for the cache's next call.
//! - The version of the pool's default algorithm. Runs claimed in advance may lie anywhere, so a cache keeps runs
//!   only while the default algorithm says that every place is as good as any other
//!   ([`Algorithm::any_place`](crate::Algorithm::any_place), false by default). When it no longer does, the cache
//!   gives all its runs back.
//!
//! Only runs of permanent chunks are kept (see `chunks/mod.rs`), and those of a magazine all lie in one chunk. So a
//! magazine refers to its chunk without a pin or a generation, and a free compares one pointer. A run in any other
//! chunk goes straight back to the pool.
//!
//! # Failure
//!
//! A cache's own granules never make its calls fail: it gives back everything it keeps before it answers that there
//! is no room. The pool's failure counters include the first attempt.
//!
//! # Counts
//!
//! Each cache stores how much it holds in a cache slot of its own (`cache/slots.rs`), by plain stores. Slots are
//! never freed but taken again by later caches, so summing them up needs no pin.
//!
//! # Boundary tracking
//!
//! The ownership word of an allocation says that it is live, so a run in a magazine has none: `alloc` opens one and
//! `free` closes it. If kept runs had ownership words, they would look like live allocations.
//!
//! # Rejected designs
//!
//! - A magazine as a mask of one word is smaller, but a free in any other word finds no room in it.
//! - A thread-local cache inside the pool would be built by `alloc` in signal handlers, and nothing would determine
//!   when it is emptied.

mod magazine;
pub(crate) mod slots;

use core::fmt;
use core::ptr;

use self::magazine::Magazine;
use self::slots::CacheSlot;
use crate::allocation::{Allocation, Origin, OriginKind, Parts};
use crate::chunk::{Chunk, State, granules_for};
use crate::chunk_ops::{PoolState, Refuse};
use crate::chunks::DefaultVersion;
use crate::error::AllocError;
#[cfg(feature = "observe")]
use crate::observe::{Event, Notifier};
use crate::pool::PoolView;
use crate::shared::Shared;
use crate::sync::{Fault, seeded};
use crate::units::Granule;
use crate::unwind::FirstPanic;

/// Runs of at most this many granules are kept. Longer ones are rare, and few of them fit into one word (2026-11).
pub(crate) const SIZES: usize = if cfg!(genpool_small) { 2 } else { 16 };

/// A handle on a [`Pool`](crate::Pool) for one thread, which keeps a few runs at hand. Most of its calls touch nothing
/// that another thread uses. Created by [`PoolView::cache`].
///
/// A cache hands out ordinary [`Allocation`]s. They can be sent, kept and dropped like any others, and return to the
/// pool no matter which thread drops them. An allocation that is passed to [`free`](Self::free) instead stays at hand
/// for the next [`alloc`](Self::alloc) of its size.
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
/// A cache keeps allocations of one to sixteen granules: at most 32 granules of each length, or four runs if they are
/// more, and [`MOST_GRANULES`](Self::MOST_GRANULES) in all. Everything else goes straight to the pool. Caching is off
///
/// - while the pool's default algorithm restricts where a run may lie, as aligned and constrained fits do;
/// - for chunks that were added after the pool's first removal of a chunk.
///
/// Runs kept by a cache are unavailable to other threads: one of them may get [`Exhausted`](AllocError::Exhausted),
/// and a chunk that is being removed is not drained before its runs are back. They go back
///
/// - all at once, by [`flush`](Self::flush) and when the cache is dropped (a cache that is forgotten keeps them
///   forever);
/// - a batch at a time, when a magazine is full;
/// - for a chunk that is being removed, with the next call for a length of which the cache keeps runs there;
/// - all at once, with the first alloc after the default algorithm was replaced by one with rules.
///
/// [`Stats::cached`](crate::Stats::cached) reports how much all caches keep.
///
/// A cache never makes its own calls fail: before it returns `Exhausted` or `Contended`, it gives back all it keeps
/// and tries again.
///
/// While a cache keeps a range, the range must not be freed by address. Boundary tracking refuses such a free.
///
/// # Signal safety
///
/// Its calls take no lock and allocate no heap memory. A handler cannot use the cache of the code it interrupted,
/// because that code borrows it, but it can call the pool directly.
#[must_use = "what it keeps goes back to the pool when it is dropped"]
pub struct Cache<'p> {
    pool: &'p PoolView,
    shared: &'p Shared,
    /// The version of the default algorithm that the cache follows.
    tag: DefaultVersion,
    /// The bytes of the largest allocation that is kept; 0 while caching is off.
    largest: usize,
    order: u32,
    slot: &'p CacheSlot,
    /// False only while no magazine has a chunk, so that all are empty.
    may_hold: bool,
    /// The magazines for runs of one granule, of two, and so on.
    magazines: [Magazine<'p>; SIZES],
}

/// What became of an allocation that was given to a cache.
enum Put<'p> {
    /// The allocation has ended, and the cache keeps its range, in this chunk.
    Kept(
        #[cfg_attr(
            not(feature = "observe"),
            expect(dead_code, reason = "for who is observed")
        )]
        &'p Chunk,
    ),
    /// The range was freed by address earlier.
    Lost,
    /// It cannot be kept, and returns to the pool when this is dropped.
    Returned(#[expect(dead_code, reason = "dropped")] Allocation<'p>),
}

const _: () = {
    const fn sent<T: Send>() {}
    sent::<Cache<'_>>();
};

impl PoolView {
    /// Creates a cache: a handle for one thread that keeps a few runs at hand, so that most of its calls touch
    /// nothing that another thread uses. Linear in the number of caches. Not [signal-safe](crate#signal-safety). If
    /// no earlier cache of the pool has ended, this needs some 300 bytes, and aborts the process if they cannot be
    /// had.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?;
    /// cache.free(buffer); // or drop it, on this or any other thread
    /// assert!(pool.avail() < pool.size());
    /// cache.flush();
    /// assert_eq!(pool.avail(), pool.size());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cache(&self) -> Cache<'_> {
        Cache::new(self, self.shared())
    }
}

impl<'p> Cache<'p> {
    /// The most granules that a cache keeps.
    pub const MOST_GRANULES: usize = {
        let (mut n, mut sum) = (1, 0);
        while n <= SIZES {
            sum += magazine::most_runs(n) * n;
            n += 1;
        }
        sum
    };

    pub(crate) fn new(pool: &'p PoolView, shared: &'p Shared) -> Self {
        let tag = shared.chunk_set.tag();
        let mut cache = Self {
            pool,
            shared,
            tag,
            largest: 0,
            order: shared.order(),
            slot: shared.slots.take(),
            may_hold: false,
            magazines: core::array::from_fn(|at| Magazine::new(at + 1)),
        };
        cache.go_by(tag);
        cache
    }

    /// Allocates `size` bytes as [`PoolView::alloc`] does, from the cache if possible.
    ///
    /// Costs no atomic read-modify-write if a run is at hand, and one compare-and-swap if a batch of runs is nearby.
    /// Otherwise it costs what [`PoolView::alloc`] does.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?; // takes a batch; the rest stays at hand
    /// assert!(cache.held() > 0);
    /// # drop(buffer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PoolView::alloc`], after everything in the cache was given back.
    #[inline(always)]
    pub fn alloc(&mut self, size: usize) -> Result<Allocation<'p>, AllocError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.shared.notifier() {
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

    /// Returns a kept run for the request, if it can be handed out without any further checks.
    #[inline(always)]
    fn at_hand(&mut self, size: usize) -> Option<Allocation<'p>> {
        // A size of zero wraps, and is therefore not kept.
        if size.wrapping_sub(1) < self.largest
            && (self.shared.chunk_set.tag() == self.tag || seeded(Fault::UncheckedAlgorithm))
        {
            return self.pop(granules_for(size, self.order));
        }
        None
    }

    /// Frees the allocation and keeps its range at hand. The range returns to the pool if it cannot be kept: because
    /// it belongs to another pool, has a length that is not kept, lies in a different chunk from the kept runs of its
    /// length, or lies in a chunk that is being removed.
    ///
    /// Costs no atomic read-modify-write if there is room. Otherwise half of the kept runs of this length are given
    /// back first, by one read-modify-write per word of the bitmap.
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
    /// assert_eq!(cache.alloc(4096)?.addr(), addr); // the run that was just used, still in the CPU's cache
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn free(&mut self, allocation: Allocation<'p>) {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.shared.notifier() {
            return self.free_observed(notifier, allocation);
        }
        let Parts {
            extent,
            addr,
            origin,
            shared,
        } = allocation.into_parts();
        let n = extent.len();
        if let OriginKind::Permanent(chunk) = origin.kind()
            && extent.ownership().is_none()
            && let Some(magazine) = self.magazines.get_mut(n.wrapping_sub(1))
            && magazine.chunk().is_some_and(|own| ptr::eq(own, chunk))
            && chunk.state() == State::Alive
            && magazine.push(addr)
        {
            self.slot.record(n, magazine.len());
            return;
        }
        self.free_slowly(Allocation::new(shared, origin, addr, extent));
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
                self.shared.notify_cached(notifier, size, chunk, &found);
            }
            return Ok(found.into_parts());
        }
        let found = self.alloc_past(size);
        self.shared.notify_alloc(notifier, size, None, &found);
        found.map(Allocation::into_parts)
    }

    #[cfg(feature = "observe")]
    #[cold]
    fn free_observed(&mut self, notifier: &Notifier, allocation: Allocation<'p>) {
        let (addr, size) = (allocation.addr(), allocation.size());
        let n = allocation.granules();
        match self.keep(allocation) {
            // Its drop notifies the observer.
            Put::Returned(_) => {}
            // The number may be drawn late, because no other thread can take what the cache keeps.
            Put::Kept(chunk) => self.shared.notify_kept(notifier, chunk, addr, n),
            Put::Lost => notifier.notify(&Event::FreeRefused {
                addr,
                size: Some(size),
                error: None,
            }),
        }
    }

    /// Returns the bytes that the cache keeps. Constant time.
    #[must_use]
    pub fn held(&self) -> usize {
        let runs = self.magazines.iter().map(Magazine::len).zip(1..);
        runs.map(|(count, n)| count * n).sum::<usize>() << self.order
    }

    /// Gives back everything that the cache keeps, by one atomic instruction per word of the bitmap. The cache stays
    /// usable.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x10_0000)?;
    /// let mut cache = pool.cache();
    /// let buffer = cache.alloc(4096)?;
    /// cache.free(buffer);
    /// cache.flush(); // before a long pause, so that other threads can use the runs
    /// assert_eq!((cache.held(), pool.avail()), (0, pool.size()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&mut self) {
        self.may_hold = false;
        self.leave(|_| true);
    }

    /// Gives back everything that the cache keeps. Returns true if that was anything.
    fn flush_any(&mut self) -> bool {
        let kept = self.held();
        self.flush();
        kept > 0
    }

    /// Returns the pool that this is a cache of.
    #[must_use]
    pub fn pool(&self) -> &'p PoolView {
        self.pool
    }

    /// Returns a run of `n` granules, 1 to [`SIZES`], if one is at hand and may be handed out.
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
        Some(Allocation::new(self.shared, origin, addr, extent))
    }

    #[cold]
    fn alloc_slowly(&mut self, size: usize) -> Result<Parts<'p>, AllocError> {
        if !self.may_hold
            && self.shared.refuses_size(size)
            && self.shared.chunk_set.tag() == self.tag
        {
            // Nothing is kept, and there is nothing to keep.
            return self.shared.alloc_default_further(size, 0);
        }
        let found = match self.restocked(size) {
            Some(found) => found,
            None => self.alloc_past(size)?,
        };
        Ok(found.into_parts())
    }

    /// Brings the cache up to date with the pool, refills an empty magazine, and returns a kept run for the request.
    fn restocked(&mut self, size: usize) -> Option<Allocation<'p>> {
        let tag = self.shared.chunk_set.tag();
        if tag != self.tag {
            self.go_by(tag);
        }
        self.leave(|chunk| chunk.state() != State::Alive);
        if !self.keeps(size) {
            return None;
        }
        let n = granules_for(size, self.order);
        // While a refusal is cached, there is nothing to refill from.
        if !self.shared.activity.is_refused(n) {
            self.refill(n);
        }
        self.pop(n)
    }

    /// Whether allocations of this size are kept.
    fn keeps(&self, size: usize) -> bool {
        size.wrapping_sub(1) < self.largest
    }

    /// Allocates from the pool.
    fn alloc_past(&mut self, size: usize) -> Result<Allocation<'p>, AllocError> {
        let mut found = self.shared.alloc_default(size, 0);
        let is_short = matches!(
            found,
            Err(AllocError::Exhausted { .. } | AllocError::Contended { .. })
        );
        if is_short && self.flush_any() {
            found = self.shared.alloc_default(size, 0);
        }
        let found = found?;
        if self.keeps(size) {
            // There may be more near it.
            self.turn_to_chunk_of(&found);
        }
        Ok(found)
    }

    /// Fills the magazine for runs of `n` granules by half, if it is empty and there are some where it looks.
    fn refill(&mut self, n: usize) {
        let magazine = &mut self.magazines[n - 1];
        if magazine.len() > 0 {
            return;
        }
        if magazine.chunk().is_none() {
            let newest = self.shared.chunk_set.newest();
            let from = newest.map_or(Granule(0), |chunk| {
                chunk.bitmap().start_apart(self.slot.number())
            });
            magazine.turn_to(newest, from);
            self.may_hold = true;
        }
        magazine.refill(n, self.shared);
        self.slot.record(n, magazine.len());
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.shared.notifier()
            && let Some(chunk) = magazine.chunk()
            && magazine.len() > 0
        {
            let addrs = magazine.runs();
            self.shared.fill_cache_observed(notifier, chunk, addrs, n);
        }
    }

    /// Makes the magazine for this length keep runs of the allocation's chunk, if it is empty. Returns the chunk if
    /// the magazine can now keep the allocation.
    fn turn_to_chunk_of(&mut self, allocation: &Allocation<'p>) -> Option<&'p Chunk> {
        let chunk = allocation.permanent_chunk()?;
        let magazine = &mut self.magazines[allocation.granules() - 1];
        if magazine.len() == 0 {
            magazine.turn_to(Some(chunk), chunk.granule_of(allocation.addr()));
            self.may_hold = true;
        }
        let may = chunk.state() == State::Alive
            && magazine.chunk().is_some_and(|own| ptr::eq(own, chunk));
        may.then_some(chunk)
    }

    #[cold]
    fn free_slowly(&mut self, allocation: Allocation<'p>) {
        // If it was not kept, dropping it returns it to the pool.
        drop(self.keep(allocation));
    }

    fn keep(&mut self, allocation: Allocation<'p>) -> Put<'p> {
        self.leave(|chunk| chunk.state() != State::Alive);
        let n = allocation.granules();
        if self.largest == 0 || n > SIZES || !allocation.is_of(self.shared) {
            return Put::Returned(allocation);
        }
        let Some(chunk) = self.turn_to_chunk_of(&allocation) else {
            return Put::Returned(allocation);
        };
        let magazine = &mut self.magazines[n - 1];
        if magazine.is_full() {
            magazine.shrink(n, magazine.len() / 2, self.shared);
        }
        let addr = allocation.addr();
        let closed = allocation.close();
        if closed {
            magazine.push(addr);
        }
        self.slot.record(n, magazine.len());
        if closed { Put::Kept(chunk) } else { Put::Lost }
    }

    /// Gives back the kept runs in the chunks for which `gone` returns true, and turns the magazines away from these
    /// chunks. If a callback panics because a run was the last of its chunk, the other runs are still given back.
    fn leave(&mut self, gone: impl Fn(&Chunk) -> bool) {
        let mut panics = FirstPanic::default();
        for (magazine, n) in self.magazines.iter_mut().zip(1..) {
            if magazine.chunk().is_some_and(&gone) {
                self.slot.record(n, 0);
                panics.run(|| magazine.shrink(n, 0, self.shared));
                magazine.turn_to(None, Granule(0));
            }
        }
        panics.resume();
    }

    /// Follows the default algorithm of this tag, or a later one.
    fn go_by(&mut self, tag: DefaultVersion) {
        if self.shared.any_place(tag) {
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
