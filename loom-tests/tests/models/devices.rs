//! A device is released while threads use its pool: its memory is released once, after the last of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering as PlainOrdering};

use genpool_core::sync;
use genpool_core::{ChunkSpec, OwnedAllocation, Pool};
use genpool_devm::{Device, Fault, GetError, ManagedPool};
use loom_tests::checker::UnsafeCell;
use loom_tests::{BASE, Race, THREE, explore, must_fail};

/// The memory under a device's pool. The holder of an allocation writes to it, and so does the thread that unmaps it.
struct Memory {
    byte: UnsafeCell<u8>,
    unmapped: Plain,
}

// SAFETY: loom's threads take turns, and loom reports unordered accesses.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn write(&self) {
        assert_eq!(
            self.unmapped.load(PlainOrdering::Relaxed),
            0,
            "written after its end"
        );
        // SAFETY: the access is exclusive if devices are correct; loom reports it otherwise.
        self.byte.with_mut(|byte| unsafe { *byte += 1 });
    }

    fn unmap(&self) {
        self.write();
        self.unmapped.fetch_add(1, PlainOrdering::Relaxed);
    }

    /// A thread that learns that the release is complete may reuse what was mapped.
    fn reuse(&self) {
        // SAFETY: as in `write`.
        self.byte.with_mut(|byte| unsafe { *byte += 1 });
    }

    fn is_unmapped(&self) -> bool {
        self.unmapped.load(PlainOrdering::Relaxed) == 1
    }
}

struct Driver {
    device: Device,
    memory: Arc<Memory>,
    /// Keeps the pool's bookkeeping until the end of the model.
    pool: ManagedPool,
}

/// Makes a bound device whose unnamed pool has one granule, over a mapping that the device manages.
fn driver() -> Driver {
    let memory = Arc::new(Memory {
        byte: UnsafeCell::new(0),
        unmapped: Plain::new(0),
    });
    let device = Device::new("modelled");
    let mapping = Arc::clone(&memory);
    device.on_release(move || mapping.unmap()).unwrap();
    let pool = device.create_pool(Pool::builder()).unwrap();
    pool.add_chunk(ChunkSpec::new(BASE, 1)).unwrap();
    device.bind();
    Driver {
        device,
        memory,
        pool,
    }
}

/// A device is released while another thread looks its pool up and allocates from it.
fn release_vs_alloc() -> Option<bool> {
    let race = Race::on(driver());
    let release = race.start(|driver| {
        let released = driver.device.release().unwrap();
        assert!(
            driver.pool.alloc(1).is_err(),
            "handed out after the release"
        );
        released
    });
    let alloc = race.start(|driver| {
        let pool = match driver.device.pool(None) {
            Ok(pool) => pool,
            Err(GetError::Gone(_)) => return None,
            Err(other) => panic!("{other}"),
        };
        let Ok(found) = pool.alloc(1) else {
            return Some(false);
        };
        driver.memory.write();
        drop(found);
        Some(true)
    });
    let released = release.join().unwrap();
    let outcome = alloc.join().unwrap();
    assert!(race.shared().memory.is_unmapped(), "never unmapped");
    assert!(released.is_complete());
    outcome
}

#[test]
fn memory_goes_after_the_last_allocation() {
    explore(
        "device release vs alloc",
        THREE,
        &[None, Some(false), Some(true)],
        release_vs_alloc,
    );
}

#[test]
fn control_hasty_release() {
    must_fail(
        "device release vs alloc",
        &[Fault::HastyRelease],
        THREE,
        release_vs_alloc,
    );
}

#[test]
fn control_alloc_in_a_sealed_pool() {
    must_fail(
        "device release vs alloc",
        &[sync::Fault::UncheckedState],
        THREE,
        release_vs_alloc,
    );
}

/// Two threads give back what they hold while a third releases the device. One of them unmaps, after the others' last
/// use. Returns whether that was done when the release returned.
fn release_vs_two_drops() -> bool {
    let driver = driver();
    driver.pool.add_chunk(ChunkSpec::new(BASE + 8, 1)).unwrap();
    let held = [(); 2].map(|()| driver.pool.alloc_owned(1).unwrap());
    let race = Race::on(driver);
    let [one, two] = held.map(|held: OwnedAllocation| {
        race.start(move |driver| {
            let own = held;
            // Only one thread writes: they hold different granules, and the model has one byte.
            if own.addr() == BASE {
                driver.memory.write();
            }
            drop(own);
        })
    });
    let release = race.start(|driver| {
        let released = driver.device.release().unwrap();
        let at_once = released.is_complete();
        if at_once {
            driver.memory.reuse();
        }
        (at_once, released)
    });
    one.join().unwrap();
    two.join().unwrap();
    let (at_once, released) = release.join().unwrap();
    assert!(race.shared().memory.is_unmapped(), "never unmapped");
    assert!(released.is_complete());
    at_once
}

#[test]
fn the_last_drop_unmaps_the_memory() {
    explore(
        "device release vs two drops",
        THREE,
        &[false, true],
        release_vs_two_drops,
    );
}

#[test]
fn control_hasty_release_vs_drops() {
    must_fail(
        "device release vs two drops",
        &[Fault::HastyRelease],
        THREE,
        release_vs_two_drops,
    );
}

/// A device is released while another thread allocates and keeps what it gets. The report lists that allocation, and
/// its memory stays.
fn release_vs_a_holder() -> bool {
    let race = Race::on(driver());
    let release = race.start(|driver| driver.device.release().unwrap());
    let alloc = race.start(|driver| driver.pool.alloc_owned(1).ok());
    let released = release.join().unwrap();
    let held = alloc.join().unwrap();
    let memory = &race.shared().memory;
    if let Some(held) = &held {
        let listed: Vec<_> = released.outstanding.iter().map(|one| one.addr).collect();
        assert_eq!(listed, [held.addr()], "held and not listed");
        assert!(!memory.is_unmapped() && !released.is_complete());
    }
    let is_held = held.is_some();
    drop(held);
    assert!(memory.is_unmapped() && released.is_complete());
    is_held
}

#[test]
fn what_is_held_is_listed() {
    explore(
        "device release vs a holder",
        THREE,
        &[false, true],
        release_vs_a_holder,
    );
}
