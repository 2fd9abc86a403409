//! The chunk list: immutable lists, replaced as a whole, read without waiting.
//!
//! `arc_swap` owns the current list. Adding or removing a chunk and changing the default
//! algorithm each build the next list and swap it in if no other came first (read, copy,
//! update), so all of them are lock-free, and whoever iterates holds a count on a list for as
//! long as it likes.
//!
//! What is replaced holds owners and algorithms, whose destructors are code of users: it is dropped at the
//! end of the call ([`Change`]), when all of the call's own work is complete.
//!
//! # How alloc and free reach it
//!
//! `ArcSwap::load` costs as much as an allocation, and it may build a thread-local and allocate,
//! which a signal handler must not. So there are two more ways, both lock-free (a pin looks again
//! only if the list was replaced meanwhile) and without an allocation:
//!
//! - **A pin.** `current` is the list as a plain pointer. A reader writes the pointer into one of
//!   a few slots, looks whether it is still current, and may use the list until it clears the
//!   slot. A replaced list is *retired* and dropped by a later change once no slot names it. A
//!   reader that finds all slots taken counts itself in the *unslotted readers*, and while there is unslotted readers
//!   nothing is dropped. One read-modify-write and one store. A thread that is stopped with a pin
//!   keeps that one list from being dropped, and holds up nobody. While there is unslotted readers, all lists
//!   that were replaced are kept.
//! - **Permanent chunks.** A chunk that was added before the first removal is kept until the pool goes,
//!   in [`Members::kept`] after it was removed, so it needs no pin. `newest` points at the chunk that
//!   is tried first, if it is permanent; the `free_summary` finds the others by what is free in them, and
//!   the `address_index` by address. Pools that never remove a chunk
//!   thus pay nothing for the possibility; in others the bookkeeping of the chunks they began with
//!   stays (its size is known then and does not grow), and calls that concern later chunks pay for a
//!   pin.
//!
//! # Orderings
//!
//! "Slot written, now is it current?" against "no longer current, now the slots" is store-to-load
//! order: `SeqCst` on both sides (model: `pin vs replace`). Clearing a slot is `Release`, so what
//! the reader did with the list happens before it is dropped.

#[cfg(all(test, not(genpool_loom)))]
mod tests;

use core::ops::Deref;
use core::ptr::{self, NonNull};

use alloc::sync::Arc;
use alloc::vec::Vec;
use crossbeam_utils::CachePadded;

use crate::address_index::AddressIndex;
use crate::algorithm::Algorithm;
use crate::chunk::{Chunk, ChunkSpec, State};
use crate::error::AddRefused;
use crate::free_summary::FreeSummary;
use crate::sync::{
    Atomic, AtomicPtr, AtomicUsize, Fault, Life, Ordering, Published, model_fence, seeded,
    thread_index,
};
use crate::unwind::FirstPanic;

/// Slots for pins. More threads than this in the middle of a pinned call at once form unslotted readers;
/// that many need as many cores, or as many stopped threads (2026-11).
const HAZARD_SLOTS: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// The pool's chunks and default algorithm at one instant.
pub(crate) struct ChunkList {
    version: usize,
    members: Arc<Members>,
    algorithm: Arc<dyn Algorithm>,
    default: DefaultAlgorithm,
    next_retired: AtomicPtr<ChunkList>,
    life: Life,
}

/// Which way `alloc` goes: the first two need no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u32)]
pub(crate) enum DefaultAlgorithm {
    /// First fit, known by name.
    FirstFit,
    /// The algorithm that the pool was built with.
    BuiltWith,
    /// The list's.
    Other,
}

/// What `alloc` goes by, and the list that said so: the later one stands.
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
    /// Newest first: the order in which they are tried.
    chunks: Vec<Arc<Chunk>>,
    /// Indices of `chunks`, by start.
    by_start: Vec<u32>,
    /// Permanent chunks that were removed.
    kept: Vec<Arc<Chunk>>,
}

/// An empty list with room for `len`.
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

    /// This list with `newest` before the others, if given, and without those that are drained.
    fn next(&self, newest: Option<&Arc<Chunk>>) -> Result<Self, AddRefused> {
        // Each chunk is judged once: one that is drained a moment later stays until the next change.
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

    /// Whether a chunk, good by itself, can be added to these.
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

    /// This list with `chunk`, which it admits, as the newest and without the chunks that are
    /// drained.
    pub(crate) fn with_chunk(&self, chunk: &Arc<Chunk>) -> Result<Self, AddRefused> {
        Ok(self.with_members(self.members.next(Some(chunk))?))
    }

    /// This list without the chunks that are drained; none if there are none.
    pub(crate) fn without_drained(&self) -> Result<Option<Self>, AddRefused> {
        let chunks = &self.members.chunks;
        if chunks.iter().all(|chunk| chunk.state() != State::Drained) {
            return Ok(None);
        }
        Ok(Some(self.with_members(self.members.next(None)?)))
    }

    /// This list with another default algorithm.
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

    /// How many permanent chunks there are, those that were removed included: the place of the next.
    pub(crate) fn permanent(&self) -> usize {
        let listed = self
            .members
            .chunks
            .iter()
            .filter(|chunk| chunk.is_permanent());
        listed.count() + self.members.kept.len()
    }

    /// Newest first, those that are drained left out.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        let chunks = self.members.chunks.iter();
        chunks.filter(|chunk| chunk.state() != State::Drained)
    }

    /// The chunk that is tried first.
    fn first_alive(&self) -> Option<&Arc<Chunk>> {
        let mut chunks = self.members.chunks.iter();
        chunks.find(|chunk| chunk.state() == State::Alive)
    }

    /// The chunk that `addr` lies in. Logarithmic in the number of chunks.
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

    /// Bytes of bookkeeping, the chunks' own included.
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

/// Where the current list stands.
///
/// # Invariants
///
/// - `current` and every retired list came from `Arc::into_raw` and own one count each.
/// - A list that was `current` is dropped only by `reclaim` or with the chunk set.
/// - A permanent chunk of a list that was published here is in every later list too, in its
///   list's `chunks` or `kept`; `newest` is null or points at such a chunk, and only such chunks are
///   on the free summary and in the address index.
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

    /// A count on the current list. Not for signal handlers.
    pub(crate) fn load(&self) -> Arc<ChunkList> {
        let seen = self.published.load_full();
        self.catch_up(&seen);
        seen
    }

    /// Brings readers up to a list that was seen, before anything is told of it: its author may
    /// have been stopped before that, and what is listed can be allocated from.
    fn catch_up(&self, seen: &Arc<ChunkList>) {
        // Relaxed: if it was current at some time, readers that hear of it are no further back.
        let current = self.current.load(Ordering::Relaxed).cast_const();
        if !ptr::eq(current, Arc::as_ptr(seen)) && !seeded(Fault::ShownTooSoon) {
            self.advance(seen);
        }
    }

    /// Bytes of bookkeeping of the free summary and the address index.
    pub(crate) fn footprint(&self) -> usize {
        self.free_summary.footprint() + self.address_index.footprint()
    }

    /// Which way `alloc` goes.
    #[inline]
    pub(crate) fn default(&self) -> DefaultAlgorithm {
        self.tag().default
    }

    /// Which way `alloc` goes, and since when: a tag that is the same says that nothing changed.
    #[inline]
    pub(crate) fn tag(&self) -> DefaultVersion {
        // Acquire: pairs with `advance_tag`, so that what is pinned next is no older than what is told.
        // Not caught: what is pinned is read with `SeqCst`, which loom and Miri never read older than what
        // was stored earlier in the execution.
        self.tag.load(Ordering::Acquire)
    }

    /// The chunk that is tried first, where it can be reached without a pin.
    #[inline]
    pub(crate) fn newest(&self) -> Option<&Chunk> {
        // Acquire: pairs with the store in `refresh_newest`, so that the chunk is seen whole.
        let chunk = NonNull::new(self.newest.load(Ordering::Acquire))?;
        // SAFETY: by the invariant the chunk lives as long as the chunk set.
        Some(unsafe { chunk.as_ref() })
    }

    /// The current list, held in place until the pin is dropped. Signal-safe.
    pub(crate) fn pin(&self) -> Pin<'_> {
        // Relaxed: looked at again before it is used.
        let mut list = self.current.load(Ordering::Relaxed);
        let first = thread_index();
        for slot in (0..HAZARD_SLOTS).map(|at| &self.hazards[(first + at) % HAZARD_SLOTS]) {
            // Relaxed: only a hint whether the exchange is worth a try.
            if !slot.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let free = ptr::null_mut();
            // SeqCst: written before `current` is looked at again (pairs with `is_pinned`).
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
                    // `now`, not `list`: the address may be that of an earlier list, dropped
                    // since, and only the later pointer may be followed.
                    return Pin::new(self, now, Some(slot));
                }
                list = now;
                // A plain store: what the slot's last user did happens before our exchange above.
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

    /// Lets a chunk be found without a pin, if it is permanent and was published.
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

    /// Writes down which permanent chunks there are.
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

    /// Brings everything that readers look at up to `next` or a later one.
    fn advance(&self, next: &Arc<ChunkList>) {
        if seeded(Fault::Unpublished) {
            return;
        }
        loop {
            let pin = self.pin();
            // Versions wrap; they are never half the range apart.
            if pin.version.wrapping_sub(next.version).cast_signed() >= 0 {
                break;
            }
            let raw = Arc::into_raw(Arc::clone(next)).cast_mut();
            // AcqRel and SeqCst: the list is published whole, and replaced before the slots are
            // looked at (pairs with `pin`). The pin keeps the old pointer from coming back.
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
            // Release: who sees the tag sees the list that said so.
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

    /// Points `newest` at the first chunk in order that is alive, if it is permanent. A thread
    /// that was overtaken may leave an older choice for a moment and mends it before it returns;
    /// any permanent chunk is sound to try.
    pub(crate) fn refresh_newest(&self) {
        loop {
            let pin = self.pin();
            let first = pin.first_alive();
            let pointer = first
                .filter(|chunk| chunk.is_permanent())
                .map_or(ptr::null_mut(), |chunk| Arc::as_ptr(chunk).cast_mut());
            // SeqCst: stored before `current` is looked at again, below.
            self.newest.store(pointer, Ordering::SeqCst);
            model_fence();
            // A removal seals its chunk and then comes here: whoever stores last sees it sealed.
            let serves = first.is_none_or(|chunk| chunk.state() == State::Alive);
            if serves && self.is_current(&pin) {
                return;
            }
        }
    }

    /// Whether the pinned list has not been replaced.
    pub(crate) fn is_current(&self, pin: &Pin<'_>) -> bool {
        ptr::eq(self.current.load(Ordering::SeqCst), pin.list.as_ptr())
    }

    /// At rest: whether readers have the last list that was published, and try its first chunk first.
    pub(crate) fn is_read(&self) -> bool {
        let published = self.published.load_full();
        let current = self.current.load(Ordering::Relaxed).cast_const();
        let first = published.first_alive().filter(|chunk| chunk.is_permanent());
        let first = first.map_or(ptr::null(), Arc::as_ptr);
        let newest = self.newest.load(Ordering::Relaxed).cast_const();
        ptr::eq(current, Arc::as_ptr(&published)) && ptr::eq(newest, first)
    }

    /// Takes over the count of a list that is no longer `current`.
    fn retire(&self, list: *mut ChunkList) {
        // SAFETY: the caller holds the list's count, so it is alive.
        let node = unsafe { &*list };
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            node.next_retired.store(head, Ordering::Relaxed);
            node.life.used();
            // Release: the link and the list go over to whoever takes the list.
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

    /// Drops the retired lists that nobody has pinned, which runs code of users.
    fn reclaim(&self) {
        // Acquire: pairs with every `retire`, for all writes of `retired` are
        // read-modify-writes. Taking the whole list leaves no room for ABA.
        let mut next = self.retired.swap(ptr::null_mut(), Ordering::Acquire);
        let mut panics = FirstPanic::default();
        while let Some(retired) = NonNull::new(next) {
            // SAFETY: the list owns a count of each of its lists, and the list is ours.
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

    /// Whether a reader may be using the list, which is no longer `current`.
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
        // Nobody has a pin: pins borrow the chunk set.
        panics.run(|| self.reclaim());
        // Relaxed: nobody else is there.
        if let Some(current) = NonNull::new(self.current.load(Ordering::Relaxed)) {
            panics.run(|| drop_list(current));
        }
        panics.resume();
    }
}

/// A call that may change the list. Dropped last in the call, when all of its own work is complete: that
/// drops the lists that were replaced, with the owners and algorithms in them, whose destructors are code
/// of users.
#[must_use = "dropped last"]
pub(crate) struct Change<'s> {
    chunk_set: &'s ChunkSet,
    replaced: bool,
    /// The call may be the last to hold these.
    lists: Vec<Arc<ChunkList>>,
    panics: FirstPanic,
}

impl Change<'_> {
    /// Publishes what `edit` makes of the current list, unless it makes nothing of it.
    /// Lock-free: `edit` is called again only because another change was published.
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

    /// Has lists dropped that others replaced, even if this call replaces none.
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

/// A list in use.
///
/// # Invariants
///
/// The list is alive until the pin is dropped: `slot` names it or the pin counts as an unslotted reader,
/// since before `current` was last seen to be it.
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

    /// A chunk of the pinned list for as long as the chunk set lives, if it is permanent.
    ///
    /// # Safety
    ///
    /// `chunk` is one of the pinned list's.
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
        // Release: our reads of the list come before its drop (pairs with `is_pinned`).
        match self.slot {
            Some(slot) => slot.store(ptr::null_mut(), Ordering::Release),
            None if seeded(Fault::UncountedReader) => {}
            None => {
                self.chunk_set.unslotted.fetch_sub(1, Ordering::Release);
            }
        }
    }
}
