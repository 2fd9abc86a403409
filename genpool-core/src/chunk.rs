//! A chunk: one address range, its bitmap, its owner, and its way out of the pool.

use core::any::Any;
use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use crate::activity::Activity;
use crate::bitmap::{Batch, Bitmap, MAX_GRANULES, NotTaken, ParentSlot, Released};
use crate::boundary_tags::{BoundaryTags, Extent, MAX_TRACKED};
use crate::error::{AddRefused, FreeError};
use crate::memory::Node;
#[cfg(feature = "observe")]
use crate::observer::{Account, Event, Notifier};
use crate::option_box::AtomicOptionBox;
use crate::sync::{Atomic, AtomicUsize, Fault, Ordering, seeded};
use crate::unwind::{Guarded, contained};

/// A value that the owner of a chunk's memory attaches to it: handed back on alloc and free.
///
/// ```
/// use std::sync::Arc;
///
/// use genpool::{ChunkSpec, Owner, Pool};
///
/// let bank: Owner = Arc::new(String::from("bank 0"));
/// let pool = Pool::new(12)?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000).shared_owner(Arc::clone(&bank)))?;
/// pool.add_chunk(ChunkSpec::new(0x2000, 0x1000).shared_owner(bank))?; // both are of this bank
/// let range = pool.alloc(1)?.into_raw();
/// let owner = pool.free_owner(range.addr, range.size)?.expect("it has one");
/// assert_eq!(owner.downcast_ref::<String>().map(String::as_str), Some("bank 0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Owner = Arc<dyn Any + Send + Sync>;

/// An owner's value, if it is a text.
pub(crate) fn text_of(owner: &Owner) -> Option<&str> {
    owner
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| owner.downcast_ref::<&'static str>().copied())
}

/// A chunk to be added: a range of addresses in bytes, and what is known of it. An owner's value is
/// kept on the heap, so giving one is not [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{ChunkSpec, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add_chunk(ChunkSpec::new(0x4000_0000, 0x10_0000).phys(0x1_0000_0000).owner("bank 0"))?;
/// let block = pool.alloc(4096)?;
/// assert_eq!(block.owner_as::<&str>(), Some("bank 0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ChunkSpec {
    start: usize,
    size: usize,
    phys: Option<u64>,
    owner: Option<Guarded<Owner>>,
}

impl ChunkSpec {
    /// `size` bytes at the address `start`. Whether that is a chunk is checked when it is added.
    #[must_use]
    pub fn new(start: usize, size: usize) -> Self {
        Self {
            start,
            size,
            phys: None,
            owner: None,
        }
    }

    /// The physical address of the chunk's first byte.
    #[must_use]
    pub fn phys(mut self, phys: u64) -> Self {
        self.phys = Some(phys);
        self
    }

    /// A value that comes back with every allocation in the chunk.
    #[must_use]
    pub fn owner(self, owner: impl Any + Send + Sync) -> Self {
        self.shared_owner(Arc::new(owner))
    }

    /// As [`owner`](Self::owner), for a value that is shared with others.
    #[must_use]
    pub fn shared_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(Guarded::new(owner));
        self
    }

    /// The address of the first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    #[cfg(feature = "observe")]
    pub(crate) fn phys_of_start(&self) -> Option<u64> {
        self.phys
    }

    /// The address of the last byte of a spec that was checked.
    pub(crate) fn last(&self) -> usize {
        self.start + (self.size - 1)
    }

    /// Checks all that can be said of a chunk by itself.
    pub(crate) fn check(&self, order: u32, tracked: bool) -> Result<(), AddRefused> {
        let granule = 1 << order;
        if self.size == 0 {
            return Err(AddRefused::ZeroSize);
        }
        if !self.start.is_multiple_of(granule) {
            return Err(AddRefused::MisalignedStart { granule });
        }
        if !self.size.is_multiple_of(granule) {
            return Err(AddRefused::MisalignedSize { granule });
        }
        if self.start.checked_add(self.size - 1).is_none() {
            return Err(AddRefused::Wraps);
        }
        if let Some(phys) = self.phys
            && phys.checked_add(self.size as u64 - 1).is_none()
        {
            return Err(AddRefused::PhysWraps { phys });
        }
        let most = if tracked { MAX_TRACKED } else { MAX_GRANULES };
        if self.size >> order > most {
            return Err(AddRefused::TooManyGranules { most });
        }
        Ok(())
    }

    /// The owner's value, as it was given.
    #[must_use]
    pub fn into_owner(self) -> Option<Owner> {
        self.owner.map(Guarded::into_inner)
    }
}

impl fmt::Debug for ChunkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSpec")
            .field("start", &format_args!("{:#x}", self.start))
            .field("size", &format_args!("{:#x}", self.size))
            .field("phys", &self.phys)
            .field("owner", &self.owner.is_some())
            .finish()
    }
}

/// Where a chunk is on its way out. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u8)]
pub(crate) enum State {
    /// Serves allocations.
    Alive,
    /// Hands out nothing more; what is held stays valid.
    Draining,
    /// The last allocation is back.
    Drained,
}

/// The claim was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Somebody holds a granule of the run.
    Taken,
    /// The chunk is being removed.
    Draining,
}

type Callback = Box<dyn FnMut() + Send>;

/// # Orderings
///
/// `state` takes part in two store-to-load protocols, `SeqCst` on both sides:
/// - a claim sets its bits, then loads the state; a removal sets the state, then loads the bits.
///   So the claim sees the removal and takes itself back, or the removal sees the claim and waits
///   for its release (model: `removal vs alloc`).
/// - a release clears its bits, then loads the state and, if draining, looks whether it was the
///   last; a removal sets the state, then looks the same. One of them sees the chunk empty. A claim that
///   is rolled back clears bits too (model: `drop vs rollback`).
///
/// What is read to find a chunk by its address comes first, so that it is seldom in two cache lines.
#[repr(C)]
pub(crate) struct Chunk {
    start: usize,
    order: u32,
    /// Kept until the pool goes, because callers may reach it without a pin (see `chunk_set.rs`).
    permanent: bool,
    state: Atomic<State>,
    /// Whether it was given a physical address. An option of one would take eight bytes more, of the
    /// 256 that a chunk may cost.
    has_phys: bool,
    phys: u64,
    bitmap: Bitmap,
    /// Unlike that of any other chunk, also of one at the same address. Below half of what a word can hold,
    /// for an allocation keeps it in a word beside a flag.
    generation: usize,
    boundary_tags: Option<BoundaryTags>,
    owner: Option<Guarded<Owner>>,
    /// Where a look for what is still held found something last.
    busy: AtomicUsize,
    on_drained: AtomicOptionBox<Callback>,
    /// A callback that was called: freed with the chunk, not where it was called, which may be a
    /// signal handler.
    called: AtomicOptionBox<Callback>,
    /// Of a pool that has an observer.
    #[cfg(feature = "observe")]
    account: Option<Box<Account>>,
}

#[cfg(not(genpool_loom))]
const _: () = assert!(Atomic::<State>::is_lock_free());

impl Chunk {
    /// A chunk of what [`ChunkSpec::check`] found good.
    pub(crate) fn new(
        spec: &ChunkSpec,
        order: u32,
        generation: usize,
        permanent: bool,
        tracked: bool,
        node: Option<Node>,
    ) -> Result<Self, AddRefused> {
        let granules = spec.size >> order;
        Ok(Self {
            start: spec.start,
            order,
            generation,
            permanent,
            state: Atomic::new(State::Alive),
            bitmap: Bitmap::new(granules, node)?,
            boundary_tags: tracked
                .then(|| BoundaryTags::new(granules, node))
                .transpose()?,
            has_phys: spec.phys.is_some(),
            phys: spec.phys.unwrap_or(0),
            owner: spec.owner.clone(),
            busy: AtomicUsize::new(0),
            on_drained: AtomicOptionBox::new(),
            called: AtomicOptionBox::new(),
            #[cfg(feature = "observe")]
            account: None,
        })
    }

    /// Has the chunk tell these, before anybody else sees it.
    #[cfg(feature = "observe")]
    pub(crate) fn set_notifier(&mut self, notifier: Option<&Arc<Notifier>>) {
        self.account = notifier.map(|notifier| Box::new(Account::new(Arc::clone(notifier))));
    }

    /// Allocations hold so many granules more, or fewer. Says whether the chunk is not being removed.
    #[cfg(feature = "observe")]
    pub(crate) fn account(&self, granules: isize) -> bool {
        let account = self.account.as_ref();
        account.is_some_and(|account| account.hold(granules))
    }

    /// Caches keep so many granules more, or fewer. Says whether the chunk is not being removed.
    #[cfg(feature = "observe")]
    pub(crate) fn account_kept(&self, granules: isize) -> bool {
        let account = self.account.as_ref();
        account.is_some_and(|account| account.keep(granules))
    }

    /// The chunk is being removed. Answers the granules that allocations hold, and those that caches keep.
    #[cfg(feature = "observe")]
    pub(crate) fn close_account(&self) -> (usize, usize) {
        let account = self.account.as_ref();
        account.map_or((0, 0), |account| account.close())
    }

    /// Gives the chunk a slot for its highest hint, before anybody else sees it.
    pub(crate) fn set_parent(&mut self, above: ParentSlot) {
        self.bitmap.set_parent(above);
    }

    /// The chunk as it was given.
    pub(crate) fn spec(&self) -> ChunkSpec {
        ChunkSpec {
            start: self.start,
            size: self.size(),
            phys: self.phys_of(self.start),
            owner: self.owner.clone(),
        }
    }

    /// The address of the first byte.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Bytes; at most what an address can hold (see `AddRefused::TotalSize`).
    pub(crate) fn size(&self) -> usize {
        self.bitmap.len() << self.order
    }

    /// The address of the last byte.
    pub(crate) fn last(&self) -> usize {
        self.start + (self.size() - 1)
    }

    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    pub(crate) fn generation(&self) -> usize {
        self.generation
    }

    pub(crate) fn is_permanent(&self) -> bool {
        self.permanent
    }

    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_deref()
    }

    pub(crate) fn bitmap(&self) -> &Bitmap {
        &self.bitmap
    }

    pub(crate) fn boundary_tags(&self) -> Option<&BoundaryTags> {
        self.boundary_tags.as_ref()
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        // SeqCst: see the type's text.
        self.state.load(Ordering::SeqCst)
    }

    /// The physical address that `addr`, inside the chunk, stands for.
    pub(crate) fn phys_of(&self, addr: usize) -> Option<u64> {
        self.has_phys
            .then(|| self.phys + (addr - self.start) as u64)
    }

    /// The address of a granule of the chunk.
    #[inline]
    pub(crate) fn addr_of(&self, granule: usize) -> usize {
        self.start + (granule << self.order)
    }

    /// The granule that `addr`, inside the chunk, lies in.
    #[inline]
    pub(crate) fn granule_of(&self, addr: usize) -> usize {
        (addr - self.start) >> self.order
    }

    /// Bytes that are free. Linear in the granules, 64 at a time.
    pub(crate) fn avail(&self) -> usize {
        (self.bitmap.len() - self.bitmap.taken()) << self.order
    }

    /// Writes the ownership word of `n` granules that the caller has just claimed, where ownership words are kept.
    #[inline]
    pub(crate) fn open(&self, granule: usize, n: usize) -> Extent {
        match self.boundary_tags() {
            Some(boundary_tags) => Extent::of_ownership(boundary_tags.open(granule, n)),
            None => Extent::of_len(n),
        }
    }

    /// Granules of an allocation.
    #[inline]
    pub(crate) fn len_of(&self, extent: Extent) -> usize {
        match self.boundary_tags() {
            Some(_) => extent.ownership().len(),
            None => extent.len(),
        }
    }

    pub(crate) fn contains(&self, addr: usize) -> bool {
        // An address below the start wraps to what is above every chunk's size.
        addr.wrapping_sub(self.start) >> self.order < self.bitmap.len()
    }

    /// Bytes of bookkeeping.
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

    /// Takes the run of `n` granules at `start` that lie in the chunk, all or nothing.
    #[inline(always)]
    pub(crate) fn claim(&self, start: usize, n: usize, activity: &Activity) -> Result<(), Refused> {
        if self.bitmap.claim(start, n, activity).is_err() {
            self.after_rollback();
            return Err(Refused::Taken);
        }
        self.keep(start, n, activity)
    }

    /// A claim was refused. If it crossed words, part of it was rolled back, and the release of the last allocation may
    /// have seen that part taken.
    #[cold]
    #[inline(never)]
    pub(crate) fn after_rollback(&self) {
        if !seeded(Fault::UncheckedRollback) {
            self.after_release();
        }
    }

    /// What was just claimed is the caller's, unless the chunk is being removed: then it goes back.
    #[inline(always)]
    pub(crate) fn keep(&self, start: usize, n: usize, activity: &Activity) -> Result<(), Refused> {
        if self.serves() {
            return Ok(());
        }
        self.give_back(start, n, activity).ok();
        Err(Refused::Draining)
    }

    /// Whether what was just claimed may be kept.
    #[inline(always)]
    fn serves(&self) -> bool {
        self.state() == State::Alive || seeded(Fault::UncheckedState)
    }

    /// Gives back the run of `n` granules at `start` that the caller owns. The chunk may be freed
    /// at any time after the bits are cleared unless it is permanent or the caller pinned it.
    #[inline]
    pub(crate) fn give_back(
        &self,
        start: usize,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let outcome = self.bitmap.release(start, n, activity);
        self.after_release();
        outcome
    }

    /// As [`give_back`](Self::give_back), of what an ownership word stands for: to everybody else the exchange of
    /// the ownership word and the release are one step. Where `redeem` refuses, nothing is given back.
    pub(crate) fn give_back_owned<R, E>(
        &self,
        start: usize,
        n: usize,
        activity: &Activity,
        redeem: impl FnOnce() -> Result<R, E>,
    ) -> Result<(R, Result<(), NotTaken>), E> {
        let done = {
            let _in_flight = self.boundary_tags.as_ref().map(|_| activity.enter());
            (redeem()?, self.bitmap.release(start, n, activity))
        };
        // Not announced any more: a callback may allocate.
        self.after_release();
        Ok(done)
    }

    /// Does what is left to be done after [`Bitmap::release_at_once`].
    pub(crate) fn settle(&self, released: Released, activity: &Activity) -> Result<(), NotTaken> {
        let outcome = self.bitmap.settle(released, activity);
        self.after_release();
        outcome
    }

    /// As [`give_back`](Self::give_back), for a range that the caller only says is its own.
    pub(crate) fn give_back_checked(
        &self,
        start: usize,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        self.bitmap.release_checked(start, n, activity)?;
        self.after_release();
        Ok(())
    }

    /// As [`claim`](Self::claim), of several runs: see [`Bitmap::claim_batch`].
    pub(crate) fn claim_batch(
        &self,
        from: usize,
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

    /// As [`give_back`](Self::give_back), of several runs: see [`Bitmap::release_batch`].
    pub(crate) fn give_back_batch(
        &self,
        starts: impl Iterator<Item = usize>,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let outcome = self.bitmap.release_batch(starts, n, activity);
        self.after_release();
        outcome
    }

    /// The granules of a range given by its address and size in bytes.
    pub(crate) fn locate(&self, addr: usize, size: usize) -> Result<(usize, usize), FreeError> {
        let granule = 1 << self.order;
        if !addr.is_multiple_of(granule) {
            return Err(FreeError::Misaligned { addr, granule });
        }
        if size == 0 {
            return Err(FreeError::ZeroSize { addr });
        }
        let last = self.last();
        let start = self.granule_of(addr);
        let n = granules_for(size, self.order);
        if n > self.bitmap.len() - start {
            return Err(FreeError::PastChunk { addr, size, last });
        }
        Ok((start, n))
    }

    // ---- removal ----

    /// Seals the chunk; false if somebody did before.
    #[must_use]
    pub(crate) fn seal(&self) -> bool {
        let sealed = self.state.compare_exchange(
            State::Alive,
            State::Draining,
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        if sealed.is_ok() {
            crate::sync::model_fence();
            self.check_drained();
        }
        sealed.is_ok()
    }

    /// Whether the last allocation is back. Looks itself, because whoever gave the last one back may
    /// have been stopped before it could say so.
    pub(crate) fn is_drained(&self) -> bool {
        self.check_drained();
        self.state() == State::Drained
    }

    /// Bits were cleared: the last, if the chunk is being removed?
    #[inline(always)]
    fn after_release(&self) {
        if self.state() != State::Alive && !seeded(Fault::UncheckedDrain) {
            self.check_drained();
        }
    }

    /// Declares the chunk drained if it is, once.
    #[cold]
    fn check_drained(&self) {
        if self.state() != State::Draining || !self.bitmap.is_empty(&self.busy) {
            return;
        }
        // Release: who hears that it is drained sees what was done to it until then (pairs with `state`),
        // which came to us with the bits.
        let last = self.state.compare_exchange(
            State::Draining,
            State::Drained,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if last.is_ok() {
            #[cfg(feature = "observe")]
            if let Some(account) = &self.account {
                let (start, size) = (self.start, self.size());
                return account
                    .notifier
                    .around(|| self.call_back(), |_| Event::Drained { start, size });
            }
            self.call_back();
        }
    }

    /// Leaves a callback to be called once when the chunk is drained, now if it is already. An
    /// earlier one that was not called yet is replaced and comes back.
    pub(crate) fn on_drained(&self, callback: Callback) -> Option<Callback> {
        let earlier = self.on_drained.put(Box::new(callback));
        // Who drains the chunk looks for a callback after it says so, and each look and each put reads what
        // the one before left there (`AtomicOptionBox::swap`): either the look finds this callback, or this sees
        // that the chunk is drained.
        if self.state() == State::Drained {
            self.call_back();
        }
        earlier.map(|callback| *callback)
    }

    fn call_back(&self) {
        if let Some(mut callback) = self.on_drained.take() {
            contained(&mut *callback);
            // Empty unless a callback was left after the chunk was drained, and then the caller is
            // no signal handler.
            drop(self.called.put(callback));
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

/// How many granules hold `size` bytes, at least one byte.
#[inline]
pub(crate) fn granules_for(size: usize, order: u32) -> usize {
    ((size - 1) >> order) + 1
}

#[cfg(test)]
mod tests;
