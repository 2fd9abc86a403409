//! A global allocator over memory of the program's own, for programs that have no heap, or none yet.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use crate::chunk_ops::Free;
use crate::error::AllocError;
use crate::placement::{Algorithm, ChunkView, FirstFit, Request};
use crate::raw_range::RawRange;
use crate::static_pool::StaticPool;
use crate::sync::platform::pause;
use crate::units::Granule;

/// The memory of a [`StaticHeap`], aligned to 64 bytes. It is not initialised, so it takes no place in the program's
/// file.
///
/// # Invariants
///
/// Only one heap has its address.
///
/// ```
/// use genpool::{HeapMemory, StaticHeap, static_pool};
///
/// // #[unsafe(link_section = ".dtcm")]
/// static MEMORY: HeapMemory<{ StaticHeap::memory_for(4, 0x8000) }> = HeapMemory::new();
/// // SAFETY: nothing else uses the memory, or the pool, which is as long.
/// static HEAP: StaticHeap =
///     unsafe { StaticHeap::new(&MEMORY, static_pool!(order: 4, start: 0, size: 0x8000)) };
/// assert_eq!(HEAP.avail(), 0x8000);
/// ```
#[repr(C, align(64))]
pub struct HeapMemory<const SIZE: usize>(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

// SAFETY: nothing is reached through a shared reference but the address.
unsafe impl<const SIZE: usize> Sync for HeapMemory<SIZE> {}

impl<const SIZE: usize> HeapMemory<SIZE> {
    /// Creates the memory: see the type.
    ///
    /// ```
    /// static MEMORY: genpool::HeapMemory<4096> = genpool::HeapMemory::new();
    /// assert!(core::ptr::from_ref(&MEMORY).addr().is_multiple_of(64));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([MaybeUninit::uninit(); SIZE]))
    }
}

impl<const SIZE: usize> Default for HeapMemory<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// Creates a [`StaticHeap`] of `size` bytes, with its memory and its bookkeeping in `static`s of their own. A granule
/// is `1 << order` bytes; `size` is a multiple of it. Every block takes whole granules.
///
/// ```
/// use genpool::{StaticHeap, static_heap};
///
/// #[global_allocator]
/// static HEAP: StaticHeap = static_heap!(order: 5, size: 1 << 20);
///
/// let mut numbers: Vec<u32> = (0..1000).collect();
/// numbers.push(1000);
/// assert_eq!(numbers.iter().sum::<u32>(), 500_500);
/// assert!(HEAP.size() - HEAP.avail() >= 4004);
/// ```
#[macro_export]
macro_rules! static_heap {
    (order: $order:expr, size: $size:expr $(,)?) => {{
        static __GENPOOL_MEMORY: $crate::HeapMemory<{ $crate::StaticHeap::memory_for($order, $size) }> =
            $crate::HeapMemory::new();
        // SAFETY: nothing else can name the memory, nor the pool, and the memory is long enough.
        unsafe {
            $crate::StaticHeap::new(
                &__GENPOOL_MEMORY,
                $crate::static_pool!(order: $order, start: 0, size: $size),
            )
        }
    }};
}

/// A global allocator over memory that the program has, by a [`StaticPool`]: see [`static_heap!`](crate::static_heap!).
/// It serves before any heap exists, and in interrupt handlers.
///
/// Blocks are aligned as they ask to be. A block grows in place if the granules after it are free, and always shrinks
/// in place. Where there is no room, or none can be proved in time, allocation fails as `GlobalAlloc` has it: with a
/// null pointer. A block that is freed twice is noticed as long as nobody else has its granules, and nothing is
/// changed.
///
/// First fit takes the lowest place. So blocks that live long settle at the bottom, and long blocks are found at the
/// top. Costs as [`StaticPool::alloc`] and [`StaticPool::free`].
///
/// Several threads that allocate at once may keep each other from proving that there is no room. The heap then tries a
/// hundred times before it gives up, with pauses in between.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use genpool::{StaticHeap, static_heap};
///
/// static HEAP: StaticHeap = static_heap!(order: 6, size: 1 << 16);
///
/// let page = Layout::from_size_align(4096, 4096)?;
/// // SAFETY: the layout has a size.
/// let block = unsafe { HEAP.alloc(page) };
/// assert!(!block.is_null() && block.addr() % 4096 == 0);
/// // SAFETY: the block is of this heap and layout.
/// unsafe { HEAP.dealloc(block, page) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The memory, from its first multiple of a granule on, is at least as long as the pool. Only this heap uses either.
pub struct StaticHeap {
    /// Its addresses are offsets into the memory, from its first multiple of a granule on.
    pool: StaticPool,
    memory: NonNull<u8>,
}

// SAFETY: the heap hands out each byte of its memory once, from whatever thread.
unsafe impl Send for StaticHeap {}
// SAFETY: as above.
unsafe impl Sync for StaticHeap {}

/// How often an alloc asks the pool that cannot prove that there is no room (2026-12).
const TRIES: usize = 100;

/// The lowest place that is aligned in memory, where the pool's addresses are offsets into it.
struct Aligned {
    align: usize,
    /// The remainder of the offset.
    phase: usize,
}

impl Algorithm for Aligned {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let (first, last) = (Granule(0), Granule(usize::MAX));
        chunk.find_aligned(first, last, request.granules(), self.align, self.phase)
    }
}

impl StaticHeap {
    /// Returns how long the memory of a heap must be, whose pool has `size` bytes. It is more than `size` if a granule
    /// is longer than 64 bytes, because the memory may begin anywhere in one.
    ///
    /// ```
    /// use genpool::StaticHeap;
    ///
    /// assert_eq!(StaticHeap::memory_for(6, 0x1_0000), 0x1_0000);
    /// assert_eq!(StaticHeap::memory_for(12, 0x1_0000), 0x1_0000 + 4096 - 64);
    /// ```
    #[must_use]
    pub const fn memory_for(order: u32, size: usize) -> usize {
        let unit = align_of::<HeapMemory<0>>();
        match 1_usize.checked_shl(order) {
            Some(granule) if granule > unit => size.saturating_add(granule - unit),
            _ => size,
        }
    }

    /// Creates a heap: see [`HeapMemory`]. The pool's addresses are offsets into the memory.
    ///
    /// ```
    /// use genpool::{HeapMemory, StaticHeap, static_pool};
    ///
    /// static MEMORY: HeapMemory<4096> = HeapMemory::new();
    /// // SAFETY: nothing else uses the memory, or the pool, which is as long.
    /// let heap = unsafe { StaticHeap::new(&MEMORY, static_pool!(order: 4, start: 0, size: 4096)) };
    /// assert_eq!(heap.size(), 4096);
    /// ```
    ///
    /// # Safety
    ///
    /// The pool starts at 0, nothing else uses the memory or the pool's bookkeeping, and the memory is as long as
    /// [`memory_for`](Self::memory_for) says.
    #[must_use]
    pub const unsafe fn new<const SIZE: usize>(
        memory: &'static HeapMemory<SIZE>,
        pool: StaticPool,
    ) -> Self {
        let memory = memory.0.get().cast::<u8>();
        // SAFETY: it came from a reference.
        let memory = unsafe { NonNull::new_unchecked(memory) };
        // SAFETY: the memory lasts, and the rest is the caller's.
        unsafe { Self::from_raw(memory, pool) }
    }

    /// Creates a heap as [`new`](Self::new) does, over memory that the program got at run time: from a firmware's map,
    /// say, or after the end of its own.
    ///
    /// ```
    /// use core::ptr::NonNull;
    /// use genpool::{StaticHeap, static_pool};
    ///
    /// let memory = Box::leak(Box::new([0_u64; 512])); // the firmware's
    /// // SAFETY: nothing else uses the memory from now on, or the pool, which is as long.
    /// let heap = unsafe {
    ///     StaticHeap::from_raw(NonNull::from(memory).cast(), static_pool!(order: 3, start: 0, size: 4096))
    /// };
    /// assert_eq!(heap.avail(), 4096);
    /// ```
    ///
    /// # Safety
    ///
    /// The memory can be written for good and nothing else uses it. From its first multiple of a granule on it is at
    /// least as long as the pool, which starts at 0 and whose bookkeeping nothing else uses.
    #[must_use]
    pub const unsafe fn from_raw(memory: NonNull<u8>, pool: StaticPool) -> Self {
        Self { pool, memory }
    }

    /// Allocates by an algorithm. Tries again while other threads keep the pool from proving that there is no room.
    fn take(&self, size: usize, algorithm: &impl Algorithm) -> Result<RawRange, AllocError> {
        for _ in 1..TRIES {
            match self.pool.alloc_with(size, algorithm) {
                Err(AllocError::Contended { .. }) => pause(),
                answer => return Ok(answer?.into_raw()),
            }
        }
        Ok(self.pool.alloc_with(size, algorithm)?.into_raw())
    }

    /// Returns the size of a granule in bytes.
    #[must_use]
    pub fn granule(&self) -> usize {
        self.pool.granule()
    }

    /// Returns the size of the heap in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.pool.size()
    }

    /// Returns the number of free bytes. Linear in the granules, as many at a time as a word has bits.
    #[must_use]
    pub fn avail(&self) -> usize {
        self.pool.avail()
    }

    /// Returns where the memory's first granule is, a multiple of a granule.
    fn base(&self) -> NonNull<u8> {
        let skipped = self.memory.addr().get().wrapping_neg() & (self.pool.granule() - 1);
        // SAFETY: by the invariant the memory is longer.
        unsafe { self.memory.add(skipped) }
    }

    /// Returns the offset of a block that the heap allocated.
    fn offset_of(&self, block: *mut u8) -> usize {
        block.addr().wrapping_sub(self.base().addr().get())
    }

    /// Changes the size of a block in place. Returns false if there is no room.
    fn resize(&self, block: *mut u8, layout: Layout, size: usize) -> bool {
        let offset = self.offset_of(block);
        let range = RawRange {
            addr: offset,
            size: layout.size(),
        };
        let Ok(mut held) = self.pool.adopt(range) else {
            return false;
        };
        let resized = held.resize(size).is_ok();
        let _held = held.into_raw();
        resized
    }
}

// SAFETY: a block is a run that the pool hands out once until it is freed. It lies in memory that nothing else uses, has
// at least the size of its layout, and is aligned as that says. A resize changes the run, not what it holds.
unsafe impl GlobalAlloc for StaticHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let align = layout.align();
        let base = self.base();
        // The base is a multiple of a granule, so each granule is as aligned as that.
        let found = if align <= self.pool.granule() {
            self.take(layout.size(), &FirstFit)
        } else {
            let phase = base.addr().get().wrapping_neg() & (align - 1);
            self.take(layout.size(), &Aligned { align, phase })
        };
        match found {
            // SAFETY: by the invariant the offset lies inside the memory.
            Ok(block) => unsafe { base.add(block.addr) }.as_ptr(),
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // A refusal means that the caller has broken the contract. Nothing is changed then.
        let _ = Free::free_unobserved(
            &self.pool,
            self.offset_of(block),
            Some(layout.size()),
            |_, _| (),
        );
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.resize(block, layout, size) {
            return block;
        }
        // SAFETY: the caller passes a size that makes a layout with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the size is not zero, as the caller promises.
        let moved = unsafe { self.alloc(wanted) };
        if moved.is_null() {
            return moved;
        }
        // SAFETY: both blocks have at least so many bytes, and the new one overlaps no other.
        unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
        // SAFETY: the caller hands the old block over.
        unsafe { self.dealloc(block, layout) };
        moved
    }
}
