//! Giving back the last allocation of a device that has ended needs no memory, whatever lies under it.

#![cfg(not(miri))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::{ChunkSpec, Pool};
use genpool_devm::Device;

thread_local! {
    static IS_OUT: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, which fails in threads that are out of memory.
struct Scarce;

// SAFETY: every call is passed to the system's allocator or refused.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_OUT.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static SCARCE: Scarce = Scarce;

/// Runs `step` as if the thread was out of memory. A failed allocation that is not handled aborts the process.
fn without_memory(step: impl FnOnce()) {
    IS_OUT.set(true);
    step();
    IS_OUT.set(false);
}

#[test]
fn the_last_allocation_is_given_back_without_memory() {
    let done = Arc::new(AtomicUsize::new(0));
    let device = Device::new("scarce");
    let count = || {
        let done = Arc::clone(&done);
        move || _ = done.fetch_add(1, Ordering::Relaxed)
    };
    device.on_release(count()).unwrap();
    let pools = ["low", "middle", "high"].map(|name| {
        let builder = Pool::builder().name(name).boundary_tracking();
        let pool = device.create_pool(builder).unwrap();
        for start in [0, 64, 128] {
            pool.add_chunk(ChunkSpec::new(start, 64).owner(name))
                .unwrap();
        }
        device.on_release(count()).unwrap();
        pool
    });
    let [low, middle, high] =
        [0, 1, 2].map(|pool| [(); 3].map(|()| pools[pool].alloc_owned(64).unwrap()));
    drop(pools);
    let released = device.release().unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 1);
    // The last allocation of a pool continues the release to the next pool, in which something is still allocated.
    for (held, steps) in [(high, 2), (middle, 3)] {
        without_memory(|| drop(held));
        assert_eq!(done.load(Ordering::Relaxed), steps);
    }
    assert!(!released.is_complete());
    released.on_complete(count());
    without_memory(|| drop(low));
    assert!(released.is_complete());
    assert_eq!(done.load(Ordering::Relaxed), 5);
}
