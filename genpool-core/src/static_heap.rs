//! A global allocator over memory of the program's own, for programs that have no heap, or none yet.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use crate::ops::Free;
use crate::placement::{Algorithm, ChunkView, FirstFit, Request};
use crate::static_pool::StaticPool;
use crate::units::Granule;

/// The memory of a [`StaticHeap`], aligned to 64 bytes. It is not initialised, so it takes no place in the program's file.
///
/// # Invariants
///
/// Only one heap has its address.
#[repr(C, align(64))]
pub struct HeapMemory<const SIZE: usize>(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

// SAFETY: nothing is reached through a shared reference but the address.
unsafe impl<const SIZE: usize> Sync for HeapMemory<SIZE> {}

impl<const SIZE: usize> HeapMemory<SIZE> {
    /// Creates the memory.
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

/// Creates a [`StaticHeap`] of `size` bytes, with its memory and its bookkeeping in `static`s of their own. A granule is
/// `1 << order` bytes; `size` is a multiple of it. Every block takes whole granules.
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

/// A global allocator over a static array, by a [`StaticPool`]: see [`static_heap!`](crate::static_heap). It serves before
/// any heap exists, and in interrupt handlers.
///
/// Blocks are aligned as they ask to be. A block grows in place if the granules after it are free, and always shrinks
/// in place. Where there is no room, or none can be proved in time, allocation fails as `GlobalAlloc` has it: with a null
/// pointer, also if another thread is in the middle of a change and the proof takes longer than a few tries. A block that is
/// freed twice is noticed as long as nobody else has its granules, and nothing is changed.
///
/// First fit takes the lowest place. So blocks that live long settle at the bottom, and long blocks are found at the
/// top. Costs as [`StaticPool::alloc`] and [`StaticPool::free`].
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
    /// Returns how long the memory of a heap must be, whose pool has `size` bytes. It is more than `size` if a granule is
    /// longer than 64 bytes, because the memory may begin anywhere in one.
    #[must_use]
    pub const fn memory_for(order: u32, size: usize) -> usize {
        let unit = align_of::<HeapMemory<0>>();
        match 1_usize.checked_shl(order) {
            Some(granule) if granule > unit => size.saturating_add(granule - unit),
            _ => size,
        }
    }

    /// Creates a heap. The pool's addresses are offsets into the memory.
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
        Self { pool, memory }
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
        let range = crate::RawRange {
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
            self.pool.alloc_with(layout.size(), &FirstFit)
        } else {
            let phase = base.addr().get().wrapping_neg() & (align - 1);
            self.pool
                .alloc_with(layout.size(), &Aligned { align, phase })
        };
        match found {
            // SAFETY: by the invariant the offset lies inside the memory.
            Ok(block) => unsafe { base.add(block.into_raw().addr) }.as_ptr(),
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
        // SAFETY: both blocks are as long, and the new one overlaps no other.
        unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
        // SAFETY: the caller hands the old block over.
        unsafe { self.dealloc(block, layout) };
        moved
    }
}
