//! Heap memory as regions: it exists on every system, and Miri knows its borders.

use std::alloc::{Layout, alloc, dealloc};
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use genpool_dma::{Bus, DmaAddr, Kind, PhysAddr, Region, Translation, VirtAddr, Window};

/// Shows whether a region's memory was given back.
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

/// A region of `size` bytes, full of 0xa5 and aligned to 64 KiB, that no device sees.
pub(crate) fn unseen<K: Kind>(size: usize) -> (Region<K>, Watch) {
    let watch = Watch::default();
    (guarded_by(size, watch.clone(), ()), watch)
}

/// Like [`unseen`], with a value `guard` that is dropped with the memory, before the watch shows it.
pub(crate) fn guarded_by<K: Kind>(
    size: usize,
    watch: Watch,
    guard: impl Send + Sync + 'static,
) -> Region<K> {
    let layout = Layout::from_size_align(size, 0x1_0000).unwrap();
    // SAFETY: the layout has a size.
    let start = NonNull::new(unsafe { alloc(layout) }).unwrap();
    // SAFETY: just allocated.
    unsafe { start.write_bytes(0xa5, size) };
    let heap = Heap {
        start,
        layout,
        watch,
    };
    // SAFETY: the heap memory is our own until `heap` is dropped.
    unsafe { Region::from_raw(start, NonZeroUsize::new(size).unwrap(), (guard, heap)) }
}

/// The same region, seen at the physical addresses of `windows`. Each window is the number of its first page in the
/// region, its physical address, and its size in bytes.
#[allow(dead_code, reason = "not every test shows memory to devices")]
pub(crate) fn seen_in<K: Kind>(region: Region<K>, windows: &[(usize, u64, usize)]) -> Region<K> {
    let windows = windows.iter().map(|&(page, phys, size)| {
        let virt = region.start().checked_add(page * 4096).unwrap();
        Window::new(virt, dma(phys), size).unwrap()
    });
    let translation = Translation::new(windows).unwrap();
    // SAFETY: no device is given an address.
    unsafe { region.seen_at(Bus::Physical, translation) }
}

/// A region like [`unseen`] that claims to be at a physical address. No device uses that address.
#[allow(dead_code, reason = "not every test shows memory to devices")]
pub(crate) fn seen<K: Kind>(size: usize, phys: u64) -> (Region<K>, Watch) {
    let (region, watch) = unseen(size);
    // SAFETY: no device is given an address.
    (unsafe { region.physically_at(PhysAddr::new(phys)) }, watch)
}

/// Returns the bytes of a range, read from outside of the pool.
#[allow(dead_code, reason = "not every test looks")]
pub(crate) fn peek(virt: VirtAddr, size: usize) -> Vec<u8> {
    let first = std::ptr::with_exposed_provenance::<u8>(virt.get());
    (0..size)
        // SAFETY: the caller names memory of a live region that nobody writes meanwhile.
        .map(|at| unsafe { first.wrapping_add(at).read_volatile() })
        .collect()
}

#[allow(dead_code, reason = "not every test looks")]
pub(crate) fn dma(addr: u64) -> DmaAddr {
    DmaAddr::new(addr)
}
