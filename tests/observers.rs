//! Pools over memory and pools of devices notify their observers while they hold no lock: a watermark may add memory to
//! them, whatever crossed it. A panic of an observer does not stop the operation.
#![cfg(all(
    feature = "devm",
    feature = "dma",
    feature = "observe",
    target_os = "linux",
    not(miri)
))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use allocator_api2::vec::Vec;
use genpool::devm::{AddChunkError, Device, ManagedPool};
use genpool::dma::source::RamSource;
use genpool::dma::{MemoryPool, Region, VirtAddr};
use genpool::observe::{Crossing, Mark, Watermarks};
use genpool::{ChunkSpec, Event, Observer, Pool};

const PAGE: usize = 4096;

fn eight_pages() -> Region {
    RamSource::new(8 * PAGE).map().unwrap()
}

#[test]
fn a_watermark_can_add_memory_to_a_memory_pool() {
    let pool = Arc::new_cyclic(|pool: &Weak<MemoryPool>| {
        let pool = pool.clone();
        let marks = Watermarks::new(4 * PAGE, 8 * PAGE, move |crossing: Crossing| {
            let Some(pool) = pool.upgrade() else { return };
            match crossing.mark {
                Mark::Low => pool.add(eight_pages()).unwrap(),
                // The event of a chunk that `add` has just added.
                Mark::High => assert!(pool.remove(VirtAddr::new(0)).is_err()),
                mark => panic!("{mark:?} was not asked for"),
            }
        });
        MemoryPool::build(Pool::builder().order(12).observer(marks)).unwrap()
    });
    let first = eight_pages();
    let start = first.start();
    pool.add(first).unwrap();

    let mut held = Vec::with_capacity_in(5 * PAGE, &*pool);
    held.push(1_u8);
    assert_eq!(pool.size(), 16 * PAGE);
    // Three pages of the first region and eight of the second are free: a removal leaves eight.
    let more: Vec<u8, _> = Vec::with_capacity_in(5 * PAGE, &*pool);
    let drain = pool.remove(start).unwrap();
    assert_eq!((pool.size(), drain.held()), (16 * PAGE, 5 * PAGE));
    drop((held, more));
    assert!(drain.finish().is_ok());
    assert_eq!(pool.stats().observer_panics, 0);
}

#[test]
fn a_watermark_can_add_chunks_to_a_pool_of_a_device_until_it_ends() {
    let own = Arc::new(OnceLock::<ManagedPool>::new());
    let refused = Arc::new(AtomicUsize::new(0));
    let marks = {
        let (own, refused) = (Arc::downgrade(&own), Arc::clone(&refused));
        let next = AtomicUsize::new(8);
        Watermarks::new(4, 8, move |crossing| {
            let own = own.upgrade().unwrap();
            let Some(pool) = own.get() else { return };
            if crossing.mark == Mark::High {
                // The event of a chunk that `add_chunk` has just added.
                assert!(!pool.is_sealed());
                return;
            }
            let chunk = ChunkSpec::new(next.fetch_add(8, Ordering::Relaxed), 8);
            match pool.add_chunk(chunk) {
                Ok(()) => {}
                Err(AddChunkError::Sealed(_)) => {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(other) => panic!("{other}"),
            }
        })
    };
    let device = Device::new("video");
    let pool = device.create_pool(Pool::builder().observer(marks)).unwrap();
    assert!(own.set(pool.clone()).is_ok());
    pool.add_chunk(ChunkSpec::new(0, 8)).unwrap();

    let held = pool.alloc(5).unwrap();
    assert_eq!(pool.size(), 16);
    let _ = device.release().unwrap();
    assert_eq!((pool.size(), refused.load(Ordering::Relaxed)), (0, 1));
    assert!(pool.is_sealed());
    drop(held);
    assert_eq!(pool.stats().observer_panics, 0);
}

/// Panics at every event.
struct Broken;

impl Observer for Broken {
    fn event(&self, _: usize, _: &Event<'_>) {
        panic!("on purpose");
    }
}

#[test]
fn a_device_ends_as_a_whole_though_observers_panic() {
    let device = Device::new("video");
    let unmapped = Arc::new(OnceLock::new());
    let unmap = Arc::clone(&unmapped);
    device.on_release(move || unmap.set(()).unwrap()).unwrap();
    let pools = ["rx", "tx"].map(|name| {
        let builder = Pool::builder().name(name).observer(Broken);
        let pool = device.create_pool(builder).unwrap();
        for start in [0, 8] {
            pool.add_chunk(ChunkSpec::new(start, 8)).unwrap();
        }
        pool
    });
    let held = pools[0].alloc_owned(8).unwrap();
    let released = device.release().unwrap();
    for pool in &pools {
        assert!(pool.is_sealed() && pool.alloc(1).is_err());
        assert!(pool.stats().observer_panics > 4);
    }
    assert_eq!(released.outstanding.len(), 1);
    assert!(released.panics().is_empty() && !released.is_complete());
    drop(held);
    assert!(released.is_complete() && unmapped.get().is_some());
}

#[test]
fn regions_come_and_go_though_observers_panic() {
    let builder = Pool::builder().order(12).observer(Broken);
    let pool = MemoryPool::build(builder).unwrap();
    let region = eight_pages();
    let start = region.start();
    pool.add(region).unwrap();
    let mut held = Vec::with_capacity_in(PAGE, &pool);
    held.push(1_u8);
    let drain = pool.remove(start).unwrap();
    let drain = drain.finish().unwrap_err();
    drop(held);
    assert_eq!(drain.finish().unwrap().start(), start);
    assert_eq!(pool.stats().observer_panics, 6);
}
