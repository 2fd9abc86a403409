//! The chunk list: immutable versions, replaced as a whole (RCU) and read without waiting.
//!
//! `arc_swap` owns the current [`ChunkList`]. A change (adding a chunk, removing one, setting the default algorithm)
//! reads the current list, builds the next one, and swaps it in if no other change came first: read, copy, update. So
//! all changes are lock-free. An iterator holds a reference count on its list for as long as it likes.
//!
//! A replaced list holds owners and algorithms, whose destructors are user code. It is dropped at the end of the call
//! ([`Change`]), when all of the call's own work is complete.
//!
//! # How alloc and free reach the list
//!
//! `ArcSwap::load` costs as much as an allocation. It may also build a thread-local and allocate, which a signal
//! handler must not do. An `arc_swap::Cache` would need a place per thread. So the hot paths use two other ways, pins
//! and permanent chunks. Neither allocates, and both are lock-free.
//!
//! ## Pins are hazard pointers
//!
//! `current` is the list as a plain pointer. A reader writes this pointer into a free *hazard slot*, checks that it is
//! still current, and may use the list until it clears the slot. It checks again only if the list was replaced in
//! between. So a pin costs one read-modify-write and one store. A replaced list is *retired*. A later change drops it
//! once no slot names it.
//!
//! There are only a few slots. A reader that finds all of them taken counts itself as an *unslotted reader* instead.
//! While there is an unslotted reader, no retired list is dropped.
//!
//! A thread that is stopped with a hazard slot keeps one list from being dropped. A thread that is stopped as an
//! unslotted reader keeps every retired list. Neither holds up another thread.
//!
//! ## Permanent chunks need no pin
//!
//! A chunk that was added before the first removal is *permanent*: it is kept until the pool is dropped. After its own
//! removal it stays in [`Members::kept`]. Permanent chunks are found without a pin:
//!
//! - `newest` points at the chunk that is tried first, if that chunk is permanent.
//! - `free_summary` finds the others by what is free in them.
//! - `address_index` finds them by address.
//!
//! A pool that never removes a chunk pays nothing for the possibility. In other pools, the bookkeeping of the permanent
//! chunks stays; its size is known at the first removal and does not grow. Calls that concern later chunks pay for a
//! pin.
//!
//! # Why a free by address is a safe function
//!
//! An allocation in a permanent chunk holds a reference to the chunk. In any other chunk it holds only its address and
//! the chunk's *generation*, and looks the chunk up under a pin when it needs it. Its bits keep the chunk from being
//! drained, so the chunk is there. If a caller freed the range by address and the chunk was then removed, the look-up
//! finds no chunk, or one of another generation. Nothing dangles.
//!
//! # Alternatives
//!
//! - Reusing the bookkeeping of a chunk for a later one and never freeing it needs no pins. But a stale claim may land
//!   in the bits of another chunk, and while it is taken back, other calls are refused although there is room.
//! - Keeping every replaced list grows without bound.
//! - A count of readers costs two locked instructions and a shared cache line per call.
//!
//! # Orderings
//!
//! "Slot written, then `current` read" against "`current` replaced, then the slots read" is store-to-load order:
//! `SeqCst` on both sides (model: `pin vs replace`). A slot is cleared with `Release`, so everything that the reader
//! did with the list happens before the list is dropped.

mod address_index;
mod free_summary;
#[cfg(all(test, not(genpool_loom)))]
mod tests;

use core::ops::Deref;
use core::ptr::{self, NonNull};

use alloc::sync::Arc;
use alloc::vec::Vec;
use crossbeam_utils::CachePadded;

use crate::chunk::{Chunk, ChunkSpec, State};
use crate::chunks::address_index::AddressIndex;
use crate::chunks::free_summary::FreeSummary;
use crate::error::AddRefused;
use crate::placement::Algorithm;
use crate::sync::{
    Atomic, AtomicPtr, AtomicUsize, Fault, Life, Ordering, Published, model_fence, seeded,
    thread_index,
};
use crate::unwind::FirstPanic;

/// The number of hazard slots. Further threads that are inside a pinned call at the same time are unslotted readers.
/// That takes more cores than this, or stopped threads (2026-11).
const HAZARD_SLOTS: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// One immutable version of the chunk list: the pool's chunks and default algorithm at one instant.
pub(crate) struct ChunkList {
    version: usize,
    members: Arc<Members>,
    algorithm: Arc<dyn Algorithm>,
    default: DefaultAlgorithm,
    next_retired: AtomicPtr<ChunkList>,
    life: Life,
}

/// How `alloc` finds the default algorithm. The first two need no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u32)]
pub(crate) enum DefaultAlgorithm {
    /// First fit, which the code calls directly.
    FirstFit,
    /// The algorithm that the pool was built with.
    BuiltWith,
    /// The algorithm of the current list.
    Other,
}

/// How `alloc` finds the default algorithm, with the version of the list that set it. A later version replaces an
/// earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(C, align(8))]
pub(crate) struct DefaultVersion {
    version: u32,
    pub(crate) default: DefaultAlgorithm,
}

#[cfg(not(genpool_loom))]
const _: () = assert!(Atomic::<DefaultVersion>::is_lock_free());

/// The chunks of a list.
#[derive(Debug)]
struct Members {
    /// Newest first, which is the order in which they are tried.
    chunks: Vec<Arc<Chunk>>,
    /// Indices into `chunks`, sorted by start address.
    by_start: Vec<u32>,
    /// Permanent chunks that were removed.
    kept: Vec<Arc<Chunk>>,
}

/// Returns an empty list with room for `len` items.
fn list_of<T>(len: usize) -> Result<Vec<T>, AddRefused> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(|_| AddRefused::NoMemory {
            bytes: len.saturating_mul(size_of::<T>()),
        })?;
    Ok(list)
}

impl Members {
    const EMPTY: Self = Self {
        chunks: Vec::new(),
        by_start: Vec::new(),
        kept: Vec::new(),
    };

    /// Returns this list with `newest`, if given, before the others and without the drained chunks.
    fn next(&self, newest: Option<&Arc<Chunk>>) -> Result<Self, AddRefused> {
        // Each state is read once: a chunk that is drained a moment later stays until the next change.
        let mut gone = list_of(self.chunks.len())?;
        gone.extend(
            self.chunks
                .iter()
                .map(|chunk| chunk.state() == State::Drained),
        );
        let count = gone.iter().filter(|&&gone| gone).count();
        let mut chunks = list_of(self.chunks.len() - count + 1)?;
        let mut kept = list_of(self.kept.len() + count)?;
        kept.extend(self.kept.iter().cloned());
        chunks.extend(newest.cloned());
        for (chunk, gone) in self.chunks.iter().zip(gone) {
            if !gone {
                chunks.push(Arc::clone(chunk));
            } else if chunk.is_permanent() {
                kept.push(Arc::clone(chunk));
            }
        }
        let mut by_start = list_of(chunks.len())?;
        by_start.extend((0..).take(chunks.len()));
        by_start.sort_unstable_by_key(|&at: &u32| chunks[at as usize].start());
        Ok(Self {
            chunks,
            by_start,
            kept,
        })
    }
}

impl ChunkList {
    fn new(
        version: usize,
        members: Arc<Members>,
        algorithm: Arc<dyn Algorithm>,
        default: DefaultAlgorithm,
    ) -> Self {
        Self {
            version,
            members,
            algorithm,
            default,
            next_retired: AtomicPtr::new(ptr::null_mut()),
            life: Life::new(),
        }
    }

    fn with_members(&self, members: Members) -> Self {
        let algorithm = Arc::clone(&self.algorithm);
        Self::new(
            self.version.wrapping_add(1),
            Arc::new(members),
            algorithm,
            self.default,
        )
    }

    /// Checks that a chunk, valid by itself, can be added to this list.
    pub(crate) fn admits(&self, chunk: &ChunkSpec) -> Result<(), AddRefused> {
        let mut total = chunk.size();
        for other in self.chunks() {
            if other.start() <= chunk.last() && chunk.start() <= other.last() {
                return Err(AddRefused::Overlaps {
                    start: other.start(),
                    size: other.size(),
                });
            }
            total = total
                .checked_add(other.size())
                .ok_or(AddRefused::TotalSize)?;
        }
        Ok(())
    }

    /// Returns this list with `chunk`, which it admits, as the newest and without the drained chunks.
    pub(crate) fn with_chunk(&self, chunk: &Arc<Chunk>) -> Result<Self, AddRefused> {
        Ok(self.with_members(self.members.next(Some(chunk))?))
    }

    /// Returns this list without the drained chunks, or `None` if no chunk is drained.
    pub(crate) fn without_drained(&self) -> Result<Option<Self>, AddRefused> {
        let chunks = &self.members.chunks;
        if chunks.iter().all(|chunk| chunk.state() != State::Drained) {
            return Ok(None);
        }
        Ok(Some(self.with_members(self.members.next(None)?)))
    }

    /// Returns this list with another default algorithm.
    pub(crate) fn with_algorithm(
        &self,
        algorithm: &Arc<dyn Algorithm>,
        default: DefaultAlgorithm,
    ) -> Self {
        let members = Arc::clone(&self.members);
        Self::new(
            self.version.wrapping_add(1),
            members,
            Arc::clone(algorithm),
            default,
        )
    }

    /// Returns the number of permanent chunks, including removed ones. This is the index of the next permanent chunk.
    pub(crate) fn permanent(&self) -> usize {
        let listed = self
            .members
            .chunks
            .iter()
            .filter(|chunk| chunk.is_permanent());
        listed.count() + self.members.kept.len()
    }

    /// Returns the chunks that are not drained, newest first.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        let chunks = self.members.chunks.iter();
        chunks.filter(|chunk| chunk.state() != State::Drained)
    }

    /// Returns the chunk that is tried first: the newest one that is alive.
    fn first_alive(&self) -> Option<&Arc<Chunk>> {
        let mut chunks = self.members.chunks.iter();
        chunks.find(|chunk| chunk.state() == State::Alive)
    }

    /// Returns the chunk that contains `addr`, unless it is drained. Logarithmic in the number of chunks.
    pub(crate) fn find(&self, addr: usize) -> Option<&Arc<Chunk>> {
        let Members {
            chunks, by_start, ..
        } = &*self.members;
        let after = by_start.partition_point(|&at| chunks[at as usize].start() <= addr);
        let chunk = &chunks[*by_start[..after].last()? as usize];
        (chunk.contains(addr) && chunk.state() != State::Drained).then_some(chunk)
    }

    pub(crate) fn algorithm(&self) -> &dyn Algorithm {
        &*self.algorithm
    }

    /// Returns the bytes of bookkeeping, including those of the chunks.
    pub(crate) fn footprint(&self) -> usize {
        let members = &*self.members;
        let all = members.chunks.iter().chain(&members.kept);
        size_of::<Self>()
            + size_of::<Members>()
            + members.by_start.capacity() * size_of::<u32>()
            + (members.chunks.capacity() + members.kept.capacity()) * size_of::<Arc<Chunk>>()
            + all.map(|chunk| chunk.footprint()).sum::<usize>()
    }
}

/// The chunks of a pool: the current list, and the ways in which readers reach it.
///
/// # Invariants
///
/// - `current` and every retired list came from `Arc::into_raw` and own one count each.
/// - A list that was `current` is dropped only by `reclaim` or with the chunk set.
/// - A permanent chunk of a list that was published here is in every later list too, in its `chunks` or in its `kept`.
///   `newest` is null or points at such a chunk, and the free summary and the address index hold only such chunks.
pub(crate) struct ChunkSet {
    newest: AtomicPtr<Chunk>,
    pub(crate) free_summary: FreeSummary,
    pub(crate) address_index: AddressIndex,
    tag: Atomic<DefaultVersion>,
    current: AtomicPtr<ChunkList>,
    published: Published<ChunkList>,
    retired: AtomicPtr<ChunkList>,
    hazards: [CachePadded<AtomicPtr<ChunkList>>; HAZARD_SLOTS],
    unslotted: AtomicUsize,
}

impl ChunkSet {
    pub(crate) fn new(algorithm: Arc<dyn Algorithm>, default: DefaultAlgorithm) -> Self {
        let members = Arc::new(Members::EMPTY);
        let first = Arc::new(ChunkList::new(0, members, algorithm, default));
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
            free_summary: FreeSummary::new(),
            address_index: AddressIndex::new(),
            tag: Atomic::new(DefaultVersion {
                version: 0,
                default,
            }),
            current: AtomicPtr::new(Arc::into_raw(Arc::clone(&first)).cast_mut()),
            published: Published::new(first),
            retired: AtomicPtr::new(ptr::null_mut()),
            hazards: core::array::from_fn(|_| CachePadded::new(AtomicPtr::new(ptr::null_mut()))),
            unslotted: AtomicUsize::new(0),
        }
    }

    // ---- readers ----

    /// Returns the current list with a reference count of its own. Not signal-safe.
    pub(crate) fn load(&self) -> Arc<ChunkList> {
        let seen = self.published.load_full();
        self.catch_up(&seen);
        seen
    }

    /// Makes sure that readers have `seen` or a later list before the caller reports anything about it. `arc_swap`
    /// lists a chunk before readers have it, and the thread that added it may have been stopped in between. But a chunk
    /// that is reported must be one that can be allocated from (model: `listed chunk`).
    fn catch_up(&self, seen: &Arc<ChunkList>) {
        // Relaxed: if `seen` was current at any time, readers that learn of it have this list or a later one.
        let current = self.current.load(Ordering::Relaxed).cast_const();
        if !ptr::eq(current, Arc::as_ptr(seen)) && !seeded(Fault::ShownTooSoon) {
            self.advance(seen);
        }
    }

    /// Returns the bytes of bookkeeping of the free summary and the address index.
    pub(crate) fn footprint(&self) -> usize {
        self.free_summary.footprint() + self.address_index.footprint()
    }

    /// Returns how `alloc` finds the default algorithm.
    #[inline]
    pub(crate) fn default(&self) -> DefaultAlgorithm {
        self.tag().default
    }

    /// Returns how `alloc` finds the default algorithm, and since which version of the list. If the tag is the same
    /// later, nothing has changed.
    #[inline]
    pub(crate) fn tag(&self) -> DefaultVersion {
        // Acquire: pairs with `advance_tag`, so that a list that is pinned next is no older than the tag.
        // Not caught: `pin` reads `current` with `SeqCst`, and loom and Miri never let such a read return a value older
        // than one that was stored earlier in the execution.
        self.tag.load(Ordering::Acquire)
    }

    /// Returns the chunk that is tried first, if it can be reached without a pin.
    #[inline]
    pub(crate) fn newest(&self) -> Option<&Chunk> {
        // Acquire: pairs with the store in `refresh_newest`, so that the chunk's contents are visible.
        let chunk = NonNull::new(self.newest.load(Ordering::Acquire))?;
        // SAFETY: by the invariant the chunk lives as long as the chunk set.
        Some(unsafe { chunk.as_ref() })
    }

    /// Pins the current list: it is not dropped before the pin is. Signal-safe.
    pub(crate) fn pin(&self) -> Pin<'_> {
        // Relaxed: `current` is read again before the list is used.
        let mut list = self.current.load(Ordering::Relaxed);
        let first = thread_index();
        for slot in (0..HAZARD_SLOTS).map(|at| &self.hazards[(first + at) % HAZARD_SLOTS]) {
            // Relaxed: only a hint whether the exchange is worth trying.
            if !slot.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let free = ptr::null_mut();
            // SeqCst: the slot is written before `current` is read again (pairs with `is_pinned`).
            let exchanged = slot.compare_exchange(free, list, Ordering::SeqCst, Ordering::Relaxed);
            if exchanged.is_err() {
                continue;
            }
            if seeded(Fault::UncheckedPin) {
                return Pin::new(self, list, Some(slot));
            }
            loop {
                model_fence();
                let now = self.current.load(Ordering::SeqCst);
                if now == list {
                    // `now`, not `list`: `list` may be the pointer to an earlier list at the same address, which was
                    // dropped since. Only the later pointer may be followed.
                    return Pin::new(self, now, Some(slot));
                }
                list = now;
                // A plain store suffices: what the slot's last user did happens before our exchange above.
                slot.store(list, Ordering::SeqCst);
            }
        }
        // SeqCst: counted before `current` is read (pairs with `is_pinned`).
        if !seeded(Fault::UncountedReader) {
            self.unslotted.fetch_add(1, Ordering::SeqCst);
        }
        model_fence();
        Pin::new(self, self.current.load(Ordering::SeqCst), None)
    }

    // ---- writers ----

    /// Begins a call that may change the list.
    pub(crate) fn change(&self) -> Change<'_> {
        Change {
            chunk_set: self,
            replaced: false,
            lists: Vec::new(),
            panics: FirstPanic::default(),
        }
    }

    /// Makes a chunk that is permanent and was published findable without a pin.
    pub(crate) fn publish(&self, index: usize, chunk: &Arc<Chunk>) {
        let pin = self.pin();
        let mut listed = pin.members.chunks.iter().chain(&pin.members.kept);
        if chunk.is_permanent() && listed.any(|known| Arc::ptr_eq(known, chunk)) {
            // SAFETY: by the invariant the chunk lives as long as the chunk set.
            unsafe { self.free_summary.publish(index, chunk) };
        }
        drop(pin);
        self.rebuild_address_index();
    }

    /// Rewrites the address index from the permanent chunks of the current list. If another thread is rewriting it,
    /// that thread does so once more.
    pub(crate) fn rebuild_address_index(&self) {
        let mut rebuilder = self.address_index.request_rebuild();
        while let Some(writing) = rebuilder {
            let pin = self.pin();
            let listed = pin.members.chunks.iter().map(|chunk| &**chunk);
            let permanent = listed.filter(|chunk| chunk.is_permanent());
            // SAFETY: by the invariant these chunks live as long as the chunk set.
            unsafe { writing.write(permanent) };
            rebuilder = writing.done();
        }
    }

    /// Brings everything that readers look at (`current`, the tag, `newest`) up to `next` or a later list.
    fn advance(&self, next: &Arc<ChunkList>) {
        if seeded(Fault::Unpublished) {
            return;
        }
        loop {
            let pin = self.pin();
            // Versions wrap. Two of them are never half the range apart.
            if pin.version.wrapping_sub(next.version).cast_signed() >= 0 {
                break;
            }
            let raw = Arc::into_raw(Arc::clone(next)).cast_mut();
            // AcqRel and SeqCst: the list's contents are published, and the list is replaced before the slots are read
            // (pairs with `pin`). The pin keeps the old address from being reused.
            let old = pin.list.as_ptr();
            let pin = (!seeded(Fault::UnpinnedAdvance)).then_some(pin);
            if self
                .current
                .compare_exchange(old, raw, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
            {
                drop(pin);
                self.retire(old);
                break;
            }
            // SAFETY: the count that `into_raw` gave out above was not published.
            drop(unsafe { Arc::from_raw(raw) });
        }
        self.advance_tag();
        self.refresh_newest();
    }

    fn advance_tag(&self) {
        let pin = self.pin();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "compared by wrapping distance"
        )]
        let next = DefaultVersion {
            version: pin.version as u32,
            default: pin.default,
        };
        // Relaxed: the exchange decides, and a later tag stays.
        let mut seen = self.tag.load(Ordering::Relaxed);
        while seen.version.wrapping_sub(next.version).cast_signed() < 0 {
            // Release: a reader that sees the tag sees the list that set it.
            // Not caught: see `tag`.
            match self
                .tag
                .compare_exchange(seen, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Points `newest` at the first chunk in order that is alive, if it is permanent. A thread that was overtaken may
    /// store an older choice, but corrects it before it returns. Any permanent chunk is sound to try in the meantime.
    pub(crate) fn refresh_newest(&self) {
        loop {
            let pin = self.pin();
            let first = pin.first_alive();
            let pointer = first
                .filter(|chunk| chunk.is_permanent())
                .map_or(ptr::null_mut(), |chunk| Arc::as_ptr(chunk).cast_mut());
            // SeqCst: stored before `current` is read again, below.
            self.newest.store(pointer, Ordering::SeqCst);
            model_fence();
            // A removal seals its chunk and then comes here: the later of the two stores sees the chunk sealed.
            let serves = first.is_none_or(|chunk| chunk.state() == State::Alive);
            if serves && self.is_current(&pin) {
                return;
            }
        }
    }

    /// Returns true if the pinned list has not been replaced.
    pub(crate) fn is_current(&self, pin: &Pin<'_>) -> bool {
        ptr::eq(self.current.load(Ordering::SeqCst), pin.list.as_ptr())
    }

    /// Returns true if readers have the list that was published last and try its first chunk first. Meaningful only at
    /// rest.
    pub(crate) fn is_read(&self) -> bool {
        let published = self.published.load_full();
        let current = self.current.load(Ordering::Relaxed).cast_const();
        let first = published.first_alive().filter(|chunk| chunk.is_permanent());
        let first = first.map_or(ptr::null(), Arc::as_ptr);
        let newest = self.newest.load(Ordering::Relaxed).cast_const();
        ptr::eq(current, Arc::as_ptr(&published)) && ptr::eq(newest, first)
    }

    /// Retires a list that is no longer `current`, and takes over its count.
    fn retire(&self, list: *mut ChunkList) {
        // SAFETY: the caller holds the list's count, so it is alive.
        let node = unsafe { &*list };
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            node.next_retired.store(head, Ordering::Relaxed);
            node.life.used();
            // Release: hands the link and the list over to the thread that takes the retired lists.
            match self.retired.compare_exchange_weak(
                head,
                list,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Drops the retired lists that no reader has pinned. This runs user code.
    fn reclaim(&self) {
        // Acquire: pairs with every `retire`, since all writes of `retired` are read-modify-writes. All retired lists
        // are taken at once, so there is no ABA problem.
        let mut next = self.retired.swap(ptr::null_mut(), Ordering::Acquire);
        let mut panics = FirstPanic::default();
        while let Some(retired) = NonNull::new(next) {
            // SAFETY: `retired` owned a count of each list that was linked to it, and all of them are ours now.
            next = unsafe { retired.as_ref() }
                .next_retired
                .load(Ordering::Relaxed);
            model_fence();
            if self.is_pinned(retired.as_ptr()) {
                self.retire(retired.as_ptr());
            } else {
                panics.run(|| drop_list(retired));
            }
        }
        panics.resume();
    }

    /// Returns true if a reader may be using `list`, which is no longer `current`.
    fn is_pinned(&self, list: *mut ChunkList) -> bool {
        // SeqCst: after the replacement (pairs with `pin`); Acquire pairs with `Pin::drop`.
        self.unslotted.load(Ordering::SeqCst) != 0
            || self
                .hazards
                .iter()
                .any(|slot| ptr::eq(slot.load(Ordering::SeqCst), list))
    }
}

fn drop_list(list: NonNull<ChunkList>) {
    // SAFETY: the caller hands over a count, so the list is alive.
    let stays = unsafe { list.as_ref() }.life.end();
    if !stays {
        // SAFETY: by the chunk set's invariant the pointer owns one count, which ends here.
        drop(unsafe { Arc::from_raw(list.as_ptr()) });
    }
}

impl Drop for ChunkSet {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        // There are no pins: a pin borrows the chunk set.
        panics.run(|| self.reclaim());
        // Relaxed: no other thread has access.
        if let Some(current) = NonNull::new(self.current.load(Ordering::Relaxed)) {
            panics.run(|| drop_list(current));
        }
        panics.resume();
    }
}

/// A call that may change the list. The call drops this last, when all of its own work is complete. That drops
/// the replaced lists with their owners and algorithms, whose destructors are user code.
#[must_use = "dropped last"]
pub(crate) struct Change<'s> {
    chunk_set: &'s ChunkSet,
    replaced: bool,
    /// Lists on which the call may hold the last count.
    lists: Vec<Arc<ChunkList>>,
    panics: FirstPanic,
}

impl Change<'_> {
    /// Publishes the list that `edit` makes of the current one, if it makes one. Lock-free: `edit` is called again only
    /// if another change was published in between.
    pub(crate) fn publish<E>(
        &mut self,
        mut edit: impl FnMut(&ChunkList) -> Result<Option<ChunkList>, E>,
    ) -> Result<(), E> {
        let chunk_set = self.chunk_set;
        loop {
            let seen = chunk_set.load();
            let next = match edit(&seen) {
                Ok(Some(next)) => chunk_set.published.allocate(next),
                unchanged => {
                    self.keep(seen);
                    return unchanged.map(drop);
                }
            };
            let replaced = chunk_set.published.replace(&seen, Arc::clone(&next));
            if replaced {
                chunk_set.advance(&next);
                self.replaced = true;
            }
            self.keep(seen);
            self.keep(next);
            if replaced {
                return Ok(());
            }
        }
    }

    /// Makes the call drop the lists that others replaced, even if it replaces none itself.
    pub(crate) fn reclaims(&mut self) {
        self.replaced = true;
    }

    fn keep(&mut self, list: Arc<ChunkList>) {
        match self.lists.try_reserve(1) {
            Ok(()) => self.lists.push(list),
            Err(_) => {
                self.panics.run(|| drop(list));
            }
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut panics = core::mem::take(&mut self.panics);
        for list in self.lists.drain(..) {
            panics.run(|| drop(list));
        }
        if self.replaced {
            panics.run(|| self.chunk_set.reclaim());
        }
        panics.resume();
    }
}

/// A list in use, protected by a hazard pointer.
///
/// # Invariants
///
/// The list is alive until the pin is dropped. Since before `current` was last seen to be this list, `slot` has named
/// it, or the pin has been counted as an unslotted reader.
pub(crate) struct Pin<'s> {
    chunk_set: &'s ChunkSet,
    list: NonNull<ChunkList>,
    slot: Option<&'s AtomicPtr<ChunkList>>,
}

impl<'s> Pin<'s> {
    fn new(
        chunk_set: &'s ChunkSet,
        list: *mut ChunkList,
        slot: Option<&'s AtomicPtr<ChunkList>>,
    ) -> Self {
        // SAFETY: `current` is never null.
        let list = unsafe { NonNull::new_unchecked(list) };
        Self {
            chunk_set,
            list,
            slot,
        }
    }

    /// Returns a chunk of the pinned list for the lifetime of the chunk set, if the chunk is permanent.
    ///
    /// # Safety
    ///
    /// `chunk` is a chunk of the pinned list.
    pub(crate) unsafe fn permanent(&self, chunk: &Chunk) -> Option<&'s Chunk> {
        debug_assert!(
            self.members
                .chunks
                .iter()
                .any(|known| ptr::eq(&**known, chunk))
        );
        // SAFETY: by the chunk set's invariant a permanent chunk of a published list lives as long
        // as the chunk set.
        chunk
            .is_permanent()
            .then(|| unsafe { NonNull::from(chunk).as_ref() })
    }
}

impl Deref for Pin<'_> {
    type Target = ChunkList;

    fn deref(&self) -> &ChunkList {
        // SAFETY: by the pin's invariant the list is alive.
        let list = unsafe { self.list.as_ref() };
        list.life.used();
        list
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.life.done();
        // Release: our reads of the list happen before its drop (pairs with `is_pinned`).
        match self.slot {
            Some(slot) => slot.store(ptr::null_mut(), Ordering::Release),
            None if seeded(Fault::UncountedReader) => {}
            None => {
                self.chunk_set.unslotted.fetch_sub(1, Ordering::Release);
            }
        }
    }
}
