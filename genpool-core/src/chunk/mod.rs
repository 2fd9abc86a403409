//! A chunk: one address range with its bitmap, its boundary tags, its owner, and its removal.
//!
//! Its removal is in `removal.rs`, and what a range of addresses must satisfy in `check.rs`.

mod boundary_tags;
mod check;
#[cfg(feature = "alloc")]
mod removal;
#[cfg(feature = "alloc")]
pub(crate) mod spec;

use core::fmt;
#[cfg(feature = "alloc")]
use core::ptr;

#[cfg(not(genpool_loom))]
pub(crate) use self::boundary_tags::BoundaryTag;
pub(crate) use self::boundary_tags::{
    BoundaryTags, Extent, MAX_TRACKED, Ownership, StaleOwnership,
};
#[cfg(feature = "alloc")]
pub(crate) use self::check::check_spec;
#[cfg(not(genpool_loom))]
pub(crate) use self::check::{check_phys, check_range};
#[cfg(feature = "alloc")]
pub(crate) use self::spec::text_of;
#[cfg(feature = "alloc")]
pub use self::spec::{ChunkSpec, Owner};
use crate::activity::Activity;
#[cfg(feature = "alloc")]
use crate::bitmap::ParentSlot;
use crate::bitmap::{Batch, Bitmap, NotTaken, Released};
#[cfg(feature = "alloc")]
use crate::error::AddRefused;
use crate::error::FreeError;
#[cfg(feature = "alloc")]
use crate::memory::{AtomicOptionBox, Box, Node};
#[cfg(feature = "observe")]
use crate::observe::{Account, Notifier};
#[cfg(feature = "observe")]
use crate::sync::Arc;
#[cfg(feature = "alloc")]
use crate::sync::{Atomic, AtomicPtr, Ordering};
use crate::sync::{Fault, seeded};
use crate::units::Granule;
#[cfg(feature = "alloc")]
use crate::unwind::Guarded;

/// How far the removal of a chunk has come. The state only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u8)]
pub(crate) enum State {
    /// Serves allocations.
    Alive,
    /// Hands out nothing more; what is held stays valid.
    Draining,
    /// The last allocation was given back.
    Drained,
}

/// Why a claim was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// A granule of the run is taken.
    Taken,
    /// The chunk is being removed.
    Draining,
}

#[cfg(feature = "alloc")]
type Callback = Box<dyn FnMut() + Send>;

/// The number of a chunk that was listed nowhere.
const LASTING: u64 = u64::MAX;

/// One address range of a pool.
///
/// The fields that are read to find a chunk by its address come first, so that they seldom span two cache lines.
///
/// # Orderings
///
/// `state` takes part in two store-to-load protocols, with `SeqCst` on both sides:
/// - A claim sets its bits, then loads the state. A removal sets the state, then loads the bits. So either the claim
///   sees the removal and takes itself back, or the removal sees the claim and waits for its release (model:
///   `removal vs alloc`).
/// - A release clears its bits, then loads the state and, if the chunk is draining, looks whether it was the last. A
///   removal sets the state, then looks at the bits too. At least one of them sees the chunk empty. A claim that is
///   rolled back clears bits too (model: `drop vs rollback`).
#[repr(C)]
pub(crate) struct Chunk {
    start: usize,
    /// Below the number of bits of an address.
    order: u8,
    /// Kept until the pool is dropped, because callers may reach it without a pin (see `chunks/mod.rs`).
    permanent: bool,
    /// Without the feature `alloc` no chunk is ever removed.
    #[cfg(feature = "alloc")]
    state: Atomic<State>,
    /// Whether `phys` was given. An `Option` would take eight bytes more, of the 256 that a chunk may cost.
    has_phys: bool,
    /// Where the last look for granules that are still held found one: a word of the bitmap, or the first.
    #[cfg(feature = "alloc")]
    busy: Atomic<u32>,
    phys: u64,
    bitmap: Bitmap,
    /// Greater than that of every chunk that was listed before.
    number: u64,
    boundary_tags: Option<BoundaryTags>,
    #[cfg(feature = "alloc")]
    owner: Option<Guarded<Owner>>,
    #[cfg(feature = "alloc")]
    on_drained: AtomicOptionBox<Callback>,
    /// A callback that was called. It is freed with the chunk, not where it was called, which may be a signal handler.
    #[cfg(feature = "alloc")]
    called: AtomicOptionBox<Callback>,
    /// See `chunks/leaving.rs`.
    #[cfg(feature = "alloc")]
    next_leaving: AtomicPtr<Chunk>,
    /// Present if the pool has an observer.
    #[cfg(feature = "observe")]
    account: Option<Box<Account>>,
}

#[cfg(all(feature = "alloc", not(genpool_loom)))]
const _: () = assert!(Atomic::<State>::is_lock_free());

impl Chunk {
    /// Creates a chunk that stays for good, over memory that its tables borrow, from a range that passed
    /// [`check_range`]. The bitmap has as many granules as the range.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn lasting(
        start: usize,
        order: u32,
        phys: Option<u64>,
        bitmap: Bitmap,
        boundary_tags: Option<BoundaryTags>,
    ) -> Self {
        Self {
            start,
            order: order as u8,
            #[cfg(feature = "alloc")]
            busy: Atomic::new(0),
            number: LASTING,
            permanent: true,
            #[cfg(feature = "alloc")]
            state: Atomic::new(State::Alive),
            bitmap,
            boundary_tags,
            has_phys: phys.is_some(),
            phys: match phys {
                Some(phys) => phys,
                None => 0,
            },
            #[cfg(feature = "alloc")]
            owner: None,
            #[cfg(feature = "alloc")]
            on_drained: AtomicOptionBox::new(),
            #[cfg(feature = "alloc")]
            called: AtomicOptionBox::new(),
            #[cfg(feature = "alloc")]
            next_leaving: AtomicPtr::new(ptr::null_mut()),
            #[cfg(feature = "observe")]
            account: None,
        }
    }

    /// Creates a chunk from a spec that passed [`check_spec`].
    #[cfg(feature = "alloc")]
    pub(crate) fn new(
        spec: &ChunkSpec,
        order: u32,
        number: u64,
        permanent: bool,
        tracked: bool,
        node: Option<Node>,
    ) -> Result<Self, AddRefused> {
        let granules = spec.size() >> order;
        Ok(Self {
            start: spec.start(),
            order: order as u8,
            busy: Atomic::new(0),
            number,
            permanent,
            state: Atomic::new(State::Alive),
            bitmap: Bitmap::new(granules, node)?,
            boundary_tags: tracked
                .then(|| BoundaryTags::new(granules, node))
                .transpose()?,
            has_phys: spec.phys_of_start().is_some(),
            phys: spec.phys_of_start().unwrap_or(0),
            owner: spec.guarded_owner().cloned(),
            on_drained: AtomicOptionBox::new(),
            called: AtomicOptionBox::new(),
            next_leaving: AtomicPtr::new(ptr::null_mut()),
            #[cfg(feature = "observe")]
            account: None,
        })
    }

    /// Sets the notifier of the chunk, before the chunk is shared.
    #[cfg(feature = "observe")]
    pub(crate) fn set_notifier(&mut self, notifier: Option<&Arc<Notifier>>) {
        self.account = notifier.map(|notifier| Box::new(Account::new(Arc::clone(notifier))));
    }

    /// Adds `granules` to what allocations hold. Returns true if the chunk is not being removed.
    #[cfg(feature = "observe")]
    pub(crate) fn account(&self, granules: isize) -> bool {
        let account = self.account.as_ref();
        account.is_some_and(|account| account.hold(granules))
    }

    /// Adds `granules` to what caches keep. Returns true if the chunk is not being removed.
    #[cfg(feature = "observe")]
    pub(crate) fn account_kept(&self, granules: isize) -> bool {
        let account = self.account.as_ref();
        account.is_some_and(|account| account.keep(granules))
    }

    /// Records that the chunk is being removed. Returns the granules that allocations hold and those that caches keep.
    #[cfg(feature = "observe")]
    pub(crate) fn close_account(&self) -> (usize, usize) {
        let account = self.account.as_ref();
        account.map_or((0, 0), |account| account.close())
    }

    /// Adds what spread first fit needs, before the chunk is shared.
    #[cfg(feature = "alloc")]
    pub(crate) fn keep_units(&mut self, node: Option<Node>) -> Result<(), AddRefused> {
        Ok(self.bitmap.keep_units(node)?)
    }

    /// Sets the slot in which the chunk's hints continue, before the chunk is shared.
    #[cfg(feature = "alloc")]
    pub(crate) fn set_parent(&mut self, above: ParentSlot) {
        self.bitmap.set_parent(above);
    }

    /// Returns the chunk as it was given.
    #[cfg(feature = "alloc")]
    pub(crate) fn spec(&self) -> ChunkSpec {
        ChunkSpec::of_parts(
            self.start,
            self.size(),
            self.phys_of(self.start),
            self.owner.clone(),
        )
    }

    /// Returns the address of the first byte.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Returns the size in bytes, at most what an address can hold (see `AddRefused::TotalSize`).
    pub(crate) fn size(&self) -> usize {
        self.bitmap.len() << self.order
    }

    /// Returns the address of the last byte.
    pub(crate) fn last(&self) -> usize {
        self.start + (self.size() - 1)
    }

    pub(crate) fn order(&self) -> u32 {
        u32::from(self.order)
    }

    /// Returns the number of the chunk. In a list, a newer chunk has a greater number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns a number that differs from that of every other chunk, including one at the same address. (On a 32-bit
    /// machine, numbers repeat after 2^31 chunks.) It is less than half of what a word can hold, because an allocation
    /// keeps it in a word with a flag.
    #[allow(clippy::cast_possible_truncation, reason = "documented")]
    pub(crate) fn generation(&self) -> usize {
        self.number as usize & (usize::MAX >> 1)
    }

    /// Returns the chunk's link on the stack of chunks that leave.
    #[cfg(feature = "alloc")]
    pub(crate) fn next_leaving(&self) -> &AtomicPtr<Chunk> {
        &self.next_leaving
    }

    /// Returns a number that no other chunk of the process has or had, for users' algorithms. Chunks of static pools have
    /// no generation of their own: the address of their bits tells them apart.
    pub(crate) fn id(&self) -> usize {
        if self.number == LASTING {
            // The address is even.
            return self.bitmap.address() >> 1 | !(usize::MAX >> 1);
        }
        self.generation()
    }

    pub(crate) fn is_permanent(&self) -> bool {
        self.permanent
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_deref()
    }

    pub(crate) fn bitmap(&self) -> &Bitmap {
        &self.bitmap
    }

    pub(crate) fn boundary_tags(&self) -> Option<&BoundaryTags> {
        self.boundary_tags.as_ref()
    }

    #[cfg(feature = "alloc")]
    #[inline]
    pub(crate) fn state(&self) -> State {
        // SeqCst: see the orderings of the type.
        self.state.load(Ordering::SeqCst)
    }

    #[cfg(not(feature = "alloc"))]
    #[inline]
    pub(crate) fn state(&self) -> State {
        State::Alive
    }

    /// Returns the physical address of `addr`, which lies in the chunk.
    pub(crate) fn phys_of(&self, addr: usize) -> Option<u64> {
        self.has_phys
            .then(|| self.phys + (addr - self.start) as u64)
    }

    /// Returns the address of a granule of the chunk.
    #[inline]
    pub(crate) fn addr_of(&self, granule: Granule) -> usize {
        self.start + (granule.0 << self.order)
    }

    /// Returns the granule that contains `addr`, which lies in the chunk.
    #[inline]
    pub(crate) fn granule_of(&self, addr: usize) -> Granule {
        Granule((addr - self.start) >> self.order)
    }

    /// Returns the number of free bytes. Linear in the granules, 64 at a time.
    pub(crate) fn avail(&self) -> usize {
        (self.bitmap.len() - self.bitmap.taken()) << self.order
    }

    /// Opens an allocation of `n` granules that the caller has just claimed: writes its ownership word if the chunk has
    /// boundary tags.
    #[inline]
    pub(crate) fn open(&self, granule: Granule, n: usize) -> Extent {
        match self.boundary_tags() {
            Some(boundary_tags) => Extent::tracked(boundary_tags.open(granule, n)),
            None => Extent::untracked(n),
        }
    }

    /// Changes the length of the allocation at `granule`; 0 ends it. Fails if `extent` does not match the ownership
    /// word.
    pub(crate) fn exchange(
        &self,
        granule: Granule,
        extent: Extent,
        len: usize,
    ) -> Result<Extent, StaleOwnership> {
        match (self.boundary_tags(), extent.ownership()) {
            (Some(boundary_tags), Some(shown)) => boundary_tags
                .exchange(granule, shown, len)
                .map(Extent::tracked),
            _ => Ok(Extent::untracked(len)),
        }
    }

    pub(crate) fn contains(&self, addr: usize) -> bool {
        // For an address below the start, the difference wraps to more than the size of any chunk.
        addr.wrapping_sub(self.start) >> self.order < self.bitmap.len()
    }

    /// Returns the bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>()
            + self.bitmap.footprint()
            + self
                .boundary_tags
                .as_ref()
                .map_or(0, BoundaryTags::footprint)
            + self.account_footprint()
    }

    #[cfg(feature = "observe")]
    fn account_footprint(&self) -> usize {
        self.account.as_deref().map_or(0, size_of_val)
    }

    #[cfg(not(feature = "observe"))]
    fn account_footprint(&self) -> usize {
        0
    }

    /// Claims the run of `n` granules at `start`, which lies in the chunk, all or nothing.
    #[inline(always)]
    pub(crate) fn claim(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), ClaimError> {
        if self.bitmap.claim(start, n, activity).is_err() {
            self.after_rollback();
            return Err(ClaimError::Taken);
        }
        self.confirm_claim(start, n, activity)
    }

    /// Looks whether the chunk is drained after a claim was refused. If the claim crossed words, part of it was rolled
    /// back, and the thread that released the last allocation may have seen that part taken.
    #[cold]
    #[inline(never)]
    pub(crate) fn after_rollback(&self) {
        if !seeded(Fault::UncheckedRollback) {
            self.advance_drain();
        }
    }

    /// Keeps a run that was just claimed. If the chunk is being removed, gives it back instead.
    #[inline(always)]
    pub(crate) fn confirm_claim(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), ClaimError> {
        if self.serves() {
            return Ok(());
        }
        self.give_back(start, n, activity).ok();
        Err(ClaimError::Draining)
    }

    /// Returns true if what was just claimed may be kept.
    #[inline(always)]
    fn serves(&self) -> bool {
        self.state() == State::Alive || seeded(Fault::UncheckedState)
    }

    /// Gives back the run of `n` granules at `start`, which the caller owns. Once the bits are cleared, the chunk may
    /// be freed at any time unless it is permanent or the caller has pinned it.
    #[inline]
    pub(crate) fn give_back(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let outcome = self.bitmap.release(start, n, activity);
        self.advance_drain();
        outcome
    }

    /// Gives back a run as [`give_back`](Self::give_back) does, after `exchange_ownership` has exchanged its ownership word. The
    /// word goes first, then the bits, and both are announced as one step (model: `listed free`). If `exchange_ownership` fails,
    /// nothing is given back.
    pub(crate) fn give_back_with_ownership<R, E>(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
        exchange_ownership: impl FnOnce() -> Result<R, E>,
    ) -> Result<(R, Result<(), NotTaken>), E> {
        let done = {
            let _in_flight = self.boundary_tags.as_ref().map(|_| activity.enter());
            (
                exchange_ownership()?,
                self.bitmap.release(start, n, activity),
            )
        };
        // The operation is no longer announced: a callback may allocate.
        self.advance_drain();
        Ok(done)
    }

    /// Completes a release that began with [`Bitmap::release_in_word`].
    pub(crate) fn complete_release(
        &self,
        released: Released,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let outcome = self.bitmap.complete_release(released, activity);
        self.advance_drain();
        outcome
    }

    /// Gives back a run as [`give_back`](Self::give_back) does, but checks that it is taken: the caller only claims to
    /// own it.
    #[inline(always)]
    pub(crate) fn give_back_checked(
        &self,
        start: Granule,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        self.bitmap.release_checked(start, n, activity)?;
        self.advance_drain();
        Ok(())
    }

    /// Claims several runs: see [`Bitmap::claim_batch`].
    pub(crate) fn claim_batch(
        &self,
        from: Granule,
        n: usize,
        most: usize,
        activity: &Activity,
    ) -> Option<Batch> {
        let batch = self.bitmap.claim_batch(from, n, most, activity)?;
        if self.serves() {
            return Some(batch);
        }
        self.give_back_batch(batch, n, activity).ok();
        None
    }

    /// Gives back several runs, as [`give_back`](Self::give_back) does one: see [`Bitmap::release_batch`].
    pub(crate) fn give_back_batch(
        &self,
        starts: impl Iterator<Item = Granule>,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let outcome = self.bitmap.release_batch(starts, n, activity);
        self.advance_drain();
        outcome
    }

    /// Returns the first granule and the number of granules of a range of `size` bytes at `addr`, which lies in the
    /// chunk.
    pub(crate) fn locate(&self, addr: usize, size: usize) -> Result<(Granule, usize), FreeError> {
        let granule = 1 << self.order;
        if !addr.is_multiple_of(granule) {
            return Err(FreeError::Misaligned { addr, granule });
        }
        if size == 0 {
            return Err(FreeError::ZeroSize { addr });
        }
        let last = self.last();
        let start = self.granule_of(addr);
        let n = granules_for(size, self.order());
        if n > self.bitmap.len() - start.0 {
            return Err(FreeError::PastChunk { addr, size, last });
        }
        Ok((start, n))
    }

    /// Looks whether the bits that were just cleared were the last, if the chunk is being removed.
    #[inline(always)]
    fn advance_drain(&self) {
        #[cfg(feature = "alloc")]
        if self.state() != State::Alive && !seeded(Fault::UncheckedDrain) {
            self.check_drained();
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("start", &format_args!("{:#x}", self.start))
            .field("size", &format_args!("{:#x}", self.size()))
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Returns the number of granules that hold `size` bytes. `size` is at least 1.
#[inline]
pub(crate) fn granules_for(size: usize, order: u32) -> usize {
    ((size - 1) >> order) + 1
}

#[cfg(all(test, not(genpool_loom)))]
mod tests;
