//! The chunk list: immutable versions, replaced as a whole (RCU) and read without waiting.
//!
//! `arc_swap` owns the current [`ChunkList`], or, without the feature `std`, the hazard cell that readers pin
//! (`owner.rs`). A change (adding a chunk, removing one, setting the default algorithm) reads the current list, builds the
//! next one, and swaps it in if no other change came first: read, copy, update. So all changes are lock-free. The two
//! lists share most of what they consist of (`tree.rs`), so the cost of a change hardly depends on the number of
//! chunks. An iterator holds a reference count on its list for as long as it likes.
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
//! A pin on the current list is a hazard pointer (`hazard.rs`): one read-modify-write and one store. A replaced list is
//! retired, and a later change drops it once no reader has it pinned.
//!
//! ## Permanent chunks need no pin
//!
//! A chunk that was added before the first removal is *permanent*: it is kept until the pool is dropped. After its own
//! removal the list keeps it. Permanent chunks are found without a pin:
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
//! # Submodules
//!
//! - `list` is one version of the list, and `tree` is what versions of it share.
//! - `hazard` is hazard pointers. It knows no chunk.
//! - `owner` owns the current list.
//! - `publish` is a change of the list.
//! - `leaving` is chunks that are taken off the list when they are drained.
//! - `free_summary` and `address_index` find permanent chunks.

mod address_index;
mod free_summary;
mod hazard;
mod leaving;
mod list;
mod owner;
mod publish;
#[cfg(all(test, not(genpool_loom)))]
mod tests;
mod tree;

use core::ops::RangeInclusive;
use core::ptr::{self, NonNull};

use self::address_index::AddressIndex;
use self::free_summary::FreeSummary;
use self::hazard::{HazardCell, Protected};
use self::leaving::LeavingChunks;
pub(crate) use self::list::{ChunkList, DefaultAlgorithm, DefaultVersion};
use self::owner::ListOwner;
pub(crate) use self::publish::Change;
use crate::chunk::{Chunk, State};
use crate::placement::Algorithm;
use crate::sync::{Arc, Atomic, AtomicPtr, Fault, Ordering, model_fence, seeded};

#[cfg(not(genpool_loom))]
const _: () = assert!(Atomic::<DefaultVersion>::is_lock_free());

/// A pinned list: see [`ChunkSet::pin`].
pub(crate) type Pin<'s> = hazard::Pin<'s, ChunkList>;

/// The chunks of a pool: the current list, and the ways in which readers reach it.
///
/// # Invariants
///
/// A permanent chunk of a list that was published here is in every later list too, listed or kept. `newest` is null or
/// points at such a chunk, and the free summary and the address index hold only such chunks.
pub(crate) struct ChunkSet {
    newest: AtomicPtr<Chunk>,
    pub(crate) free_summary: FreeSummary,
    pub(crate) address_index: AddressIndex,
    tag: Atomic<DefaultVersion>,
    /// Chunks that are taken off the list when they are drained.
    pub(crate) leaving: LeavingChunks,
    /// The list that readers pin.
    current: HazardCell<ChunkList>,
    /// Holds the list that changes start from.
    owner: ListOwner,
}

impl ChunkSet {
    pub(crate) fn new(algorithm: Arc<dyn Algorithm>, default: DefaultAlgorithm) -> Self {
        let first = ChunkList::empty(algorithm, default);
        let tag = first.tag();
        let first = Arc::new(Protected::new(first));
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
            free_summary: FreeSummary::new(),
            address_index: AddressIndex::new(),
            tag: Atomic::new(tag),
            leaving: LeavingChunks::new(),
            owner: ListOwner::new(&first),
            current: HazardCell::new(first),
        }
    }

    // ---- readers ----

    /// Returns the current list with a reference count of its own. Not signal-safe.
    pub(crate) fn load(&self) -> Arc<Protected<ChunkList>> {
        let seen = self.owner.load(&self.current);
        self.catch_up(&seen);
        seen
    }

    /// Makes sure that readers have `seen` or a later list before the caller reports anything about it. `arc_swap`
    /// lists a chunk before readers have it, and the thread that added it may have been stopped in between. But a chunk
    /// that is reported must be one that can be allocated from (model: `listed chunk`).
    fn catch_up(&self, seen: &Arc<Protected<ChunkList>>) {
        // `names` orders nothing: if `seen` was current at any time, readers that learn of it have this list or a later
        // one.
        if !self.current.names(seen) && !seeded(Fault::ShownTooSoon) {
            self.advance(seen);
        }
    }

    /// Returns the bytes of bookkeeping of the free summary and the address index.
    pub(crate) fn footprint(&self) -> usize {
        self.free_summary.footprint() + self.address_index.footprint()
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
        self.current.pin()
    }

    /// Returns true if the pinned list has not been replaced.
    pub(crate) fn is_current(&self, pin: &Pin<'_>) -> bool {
        self.current.is_current(pin)
    }

    // ---- writers ----

    /// Begins a call that may change the list.
    pub(crate) fn change(&self) -> Change<'_> {
        Change::new(self)
    }

    /// Puts a list on the heap, to be published.
    fn allocate(&self, list: ChunkList) -> Arc<Protected<ChunkList>> {
        self.owner.allocate(list)
    }

    /// Publishes `next` after `seen`, unless another list came first. Returns true if it did.
    fn replace(&self, seen: &Arc<Protected<ChunkList>>, next: &Arc<Protected<ChunkList>>) -> bool {
        let replaced = self.owner.replace(&self.current, seen, next);
        if replaced {
            self.advance(next);
        }
        replaced
    }

    /// Drops the replaced lists that no reader has pinned. This runs user code.
    fn reclaim(&self) {
        self.current.reclaim();
    }

    /// Makes chunks that were published findable without a pin, if they are permanent. They come with their indices.
    pub(crate) fn publish<'c>(&self, chunks: impl IntoIterator<Item = (usize, &'c Arc<Chunk>)>) {
        let pin = self.pin();
        for (index, chunk) in chunks {
            if chunk.is_permanent() && pin.keeps(chunk) {
                // SAFETY: by the invariant the chunk lives as long as the chunk set.
                unsafe { self.free_summary.publish(index, chunk) };
            }
        }
        drop(pin);
        self.update_address_index();
    }

    /// Adds the permanent chunks of the current list to the address index. If another thread is writing it, that thread
    /// does so once more.
    fn update_address_index(&self) {
        let mut writer = self.address_index.request_update();
        while let Some(writing) = writer {
            let pin = self.pin();
            let listed = pin.listed().map(|chunk| &**chunk);
            let permanent = listed.filter(|chunk| chunk.is_permanent());
            // SAFETY: by the invariant these chunks live as long as the chunk set.
            unsafe { writing.write(permanent, pin.len()) };
            writer = writing.done();
        }
    }

    /// Lets the address index find permanent chunks that shared a bucket with one that was removed.
    pub(crate) fn forget_address(&self, gone: &Chunk) {
        let pin = self.pin();
        let find = |range: RangeInclusive<usize>| {
            let mut last = *range.end();
            loop {
                let chunk = pin.at_or_before(last)?;
                if chunk.is_permanent() {
                    return (chunk.last() >= *range.start()).then_some(&**chunk);
                }
                // Chunks do not overlap, so if this one reaches down to the range, no other does.
                last = chunk.start().checked_sub(1)?;
                if last < *range.start() {
                    return None;
                }
            }
        };
        // SAFETY: by the invariant these chunks live as long as the chunk set.
        unsafe { self.address_index.forget(gone, find) };
    }

    /// Brings everything that readers look at (`current`, the tag, `newest`) up to `next` or a later list.
    fn advance(&self, next: &Arc<Protected<ChunkList>>) {
        if seeded(Fault::Unpublished) {
            return;
        }
        loop {
            let pin = self.pin();
            if !pin.is_older_than(next) {
                break;
            }
            if self.current.replace(pin, next) {
                break;
            }
        }
        self.advance_tag();
        self.refresh_newest();
    }

    fn advance_tag(&self) {
        let pin = self.pin();
        let next = pin.tag();
        // Relaxed: the exchange decides, and a later tag stays.
        let mut seen = self.tag.load(Ordering::Relaxed);
        while seen.is_older_than(next) {
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

    /// Returns true if readers have the list that was published last and try its first chunk first. Meaningful only at
    /// rest.
    pub(crate) fn readers_are_current(&self) -> bool {
        let published = self.owner.load(&self.current);
        let first = published.first_alive().filter(|chunk| chunk.is_permanent());
        let first = first.map_or(ptr::null(), Arc::as_ptr);
        let newest = self.newest.load(Ordering::Relaxed).cast_const();
        self.current.names(&published) && ptr::eq(newest, first)
    }
}

impl<'s> Pin<'s> {
    /// Returns a chunk of the pinned list for the lifetime of the chunk set, if the chunk is permanent.
    ///
    /// # Safety
    ///
    /// `chunk` is a chunk of the pinned list.
    pub(crate) unsafe fn permanent(&self, chunk: &Chunk) -> Option<&'s Chunk> {
        debug_assert!(self.lists(chunk));
        // SAFETY: by the chunk set's invariant a permanent chunk of a published list lives as long
        // as the chunk set.
        chunk
            .is_permanent()
            .then(|| unsafe { NonNull::from(chunk).as_ref() })
    }
}
