//! Memory of the heap as regions: it is there on every system, and Miri knows its borders.

use std::alloc::{Layout, alloc, dealloc};
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use genpool_dma::{DmaAddr, Kind, PhysAddr, Region, VirtAddr};

/// Says whether a region's memory was given back.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<AtomicBool>);

impl Watch {
    #[allow(dead_code, reason = "not every test looks")]
    pub(crate) fn is_freed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct Heap {
    start: NonNull<u8>,
    layout: Layout,
    watch: Watch,
}

// SAFETY: heap memory may be freed by any thread, and nothing else is done with it here.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Drop for Heap {
    fn drop(&mut self) {
        self.watch.0.store(true, Ordering::SeqCst);
        // SAFETY: allocated below with this layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// `size` bytes, full of 0xa5 and aligned to 64 KiB, that no device sees.
pub(crate) fn unseen<K: Kind>(size: usize) -> (Region<K>, Watch) {
    let layout = Layout::from_size_align(size, 0x1_0000).unwrap();
    // SAFETY: the layout has a size.
    let start = NonNull::new(unsafe { alloc(layout) }).unwrap();
    // SAFETY: just allocated.
    unsafe { start.write_bytes(0xa5, size) };
    let watch = Watch::default();
    let heap = Heap {
        start,
        layout,
        watch: watch.clone(),
    };
    // SAFETY: heap memory of ours until `heap` is dropped.
    let region = unsafe { Region::from_raw(start, NonZeroUsize::new(size).unwrap(), heap) };
    (region, watch)
}

/// The same, said to be at a physical address. There is no device that would believe it.
pub(crate) fn seen<K: Kind>(size: usize, phys: u64) -> (Region<K>, Watch) {
    let (region, watch) = unseen(size);
    // SAFETY: no device is told.
    (unsafe { region.physically_at(PhysAddr::new(phys)) }, watch)
}

/// What a range holds, read from outside of the pool.
#[allow(dead_code, reason = "not every test looks")]
pub(crate) fn peek(virt: VirtAddr, size: usize) -> Vec<u8> {
    let first = std::ptr::with_exposed_provenance::<u8>(virt.get());
    (0..size)
        // SAFETY: the caller names memory of a region that is there and that nobody writes meanwhile.
        .map(|at| unsafe { first.wrapping_add(at).read_volatile() })
        .collect()
}

#[allow(dead_code, reason = "not every test looks")]
pub(crate) fn dma(addr: u64) -> DmaAddr {
    DmaAddr::new(addr)
}
