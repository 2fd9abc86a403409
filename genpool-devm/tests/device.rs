//! Devices, their managed resources and pools, and their end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use genpool_core::{AllocError, Allocation, ChunkSpec, Pool};
use genpool_devm::{AddChunkError, CreateError, Device, GetError, ManagedPool};

/// A log of what happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn say(&self, what: &'static str) -> impl FnOnce() + Send + use<> {
        let log = self.clone();
        move || log.0.lock().unwrap().push(what)
    }

    fn entries(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// Logs its word when it is dropped.
struct Value(Log, &'static str);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.say(self.1)();
    }
}

fn pool_on(device: &Device, name: &str, start: usize) -> ManagedPool {
    let pool = device
        .create_pool(Pool::builder().order(5).name(name).boundary_tracking())
        .unwrap();
    let chunk = ChunkSpec::new(start, 0x1000).owner(name.to_owned());
    pool.add_chunk(chunk).unwrap();
    pool
}

#[test]
fn resources_are_released_in_reverse_order() {
    let log = Log::default();
    let device = Device::new("uart");
    device.manage(Value(log.clone(), "mapping")).unwrap();
    device.create_pool(Pool::builder()).unwrap();
    device.on_release(log.say("clock")).unwrap();
    device.manage(Value(log.clone(), "irq")).unwrap();
    let released = device.release().unwrap();
    assert!(released.outstanding.is_empty() && released.panics().is_empty());
    assert!(released.is_complete());
    assert_eq!(log.entries(), ["irq", "clock", "mapping"]);

    // A late resource is refused and returned.
    let refused = device.manage(7).unwrap_err();
    assert_eq!(
        (refused.value, refused.gone.to_string()),
        (7, "device uart is gone".to_owned())
    );
    let refused = device.on_release(log.say("late")).unwrap_err();
    (refused.value)();
    assert_eq!(log.entries().last(), Some(&"late"));
    assert_eq!(device.release().unwrap_err().device.as_ref(), "uart");
    drop(device);
    assert_eq!(log.entries().len(), 4);
}

#[test]
fn a_probe_that_fails_halfway_releases_what_it_had() {
    let log = Log::default();
    let failed = Device::new("nand").probe(|device| {
        device.on_release(log.say("clock")).unwrap();
        let pool = pool_on(device, "buffers", 0x1000);
        device.on_release(log.say("irq")).unwrap();
        let _ = pool.alloc(1).unwrap().into_raw();
        Err("no such chip")
    });
    let failed = failed.unwrap_err();
    assert_eq!(
        (failed.error, failed.to_string()),
        ("no such chip", "no such chip".to_owned())
    );
    assert_eq!(failed.released.unwrap().outstanding.len(), 1);
    // A range whose address nobody knows cannot be given back. The pool's bookkeeping is dropped, and then the rest.
    assert_eq!(log.entries(), ["irq", "clock"]);

    let panicked = thread::spawn({
        let log = log.clone();
        move || {
            Device::new("nand").probe(|device| {
                device.on_release(log.say("first")).unwrap();
                device.on_release(log.say("second")).unwrap();
                if device.name() == "nand" {
                    panic!("on purpose");
                }
                Ok::<(), ()>(())
            })
        }
    });
    assert!(panicked.join().is_err());
    assert_eq!(log.entries()[2..], ["second", "first"]);
}

#[test]
fn a_release_that_panics_does_not_stop_the_others() {
    let log = Log::default();
    let device = Device::new("spi");
    device.on_release(log.say("first")).unwrap();
    device.on_release(|| panic!("on {}", "purpose")).unwrap();
    device.on_release(|| std::panic::panic_any(5)).unwrap();
    device.on_release(log.say("last")).unwrap();
    let released = device.release().unwrap();
    assert_eq!(released.panics(), ["a value that is no text", "on purpose"]);
    assert!(released.is_complete());
    assert_eq!(log.entries(), ["last", "first"]);

    // The same without a report, and in the drop of the last allocation.
    let device = Device::new("spi");
    device.on_release(log.say("below")).unwrap();
    device.on_release(|| panic!("on purpose")).unwrap();
    let pool = pool_on(&device, "rx", 0);
    let held = pool.alloc_owned(1).unwrap();
    drop(device);
    assert_eq!(log.entries().len(), 2);
    drop(held);
    assert_eq!(log.entries().last(), Some(&"below"));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb");
    }
}

#[test]
fn drops_that_panic_do_not_stop_the_others() {
    let log = Log::default();
    let device = Device::new("spi");
    device.on_release(log.say("below")).unwrap();
    device.on_release(|| std::panic::panic_any(Bomb)).unwrap();
    let released = device.release().unwrap();
    assert_eq!(released.panics(), ["a value that is no text"]);
    assert_eq!(log.entries(), ["below"]);

    // An owner is dropped with its pool, here with a pool that has a range which nobody can give back.
    let device = Device::new("spi");
    device.on_release(log.say("mapping")).unwrap();
    let lower = device.create_pool(Pool::builder()).unwrap();
    lower.add_chunk(ChunkSpec::new(0, 64).owner(Bomb)).unwrap();
    let _ = lower.alloc(1).unwrap().into_raw();
    drop(lower);
    let held = pool_on(&device, "upper", 0x1000).alloc_owned(1).unwrap();
    let released = device.release().unwrap();
    assert_eq!(released.outstanding.len(), 2);
    // The report holds the owner too. It is dropped first, so that it is not the last to hold it.
    drop(released);
    drop(held);
    assert_eq!(log.entries(), ["below", "mapping"]);
}

#[test]
fn devm_gen_pool_create() {
    let device = Device::new("sram");
    let named = device
        .create_pool(Pool::builder().order(5).name("vpu"))
        .unwrap();
    let unnamed = device.create_pool(Pool::builder().order(12)).unwrap();
    assert_eq!((named.order(), named.name()), (5, Some("vpu")));
    assert_eq!((unnamed.granule(), unnamed.name()), (4096, None));

    // The device has one pool for each name.
    let again = device.create_pool(Pool::builder().name("vpu")).unwrap_err();
    assert!(matches!(&again, CreateError::Exists { name: Some(name), .. } if name == "vpu"));
    assert_eq!(
        again.to_string(),
        "device sram has its pool \"vpu\" already"
    );
    let again = device.create_pool(Pool::builder()).unwrap_err();
    assert!(matches!(again, CreateError::Exists { name: None, .. }));
    let bad = device.create_pool(Pool::builder().order(64)).unwrap_err();
    assert!(matches!(bad, CreateError::Build { .. }));
    assert_eq!(device.pools().len(), 2);

    // The pool ends with the device.
    drop(device.release().unwrap());
    assert!(named.is_sealed() && unnamed.is_sealed());
    let late = device
        .create_pool(Pool::builder().name("late"))
        .unwrap_err();
    assert!(matches!(late, CreateError::Gone(_)));
    assert!(device.pools().is_empty());
}

#[test]
fn devm_gen_pool_create_races() {
    let rounds = if cfg!(miri) { 3 } else { 200 };
    for _ in 0..rounds {
        for name in [None, Some("tcm")] {
            let device = Device::new("sram");
            let (gate, made) = (Barrier::new(3), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        gate.wait();
                        let builder = Pool::builder();
                        let builder = match name {
                            Some(name) => builder.name(name),
                            None => builder,
                        };
                        if device.create_pool(builder).is_ok() {
                            made.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!((made.load(Ordering::Relaxed), device.pools().len()), (1, 1));
        }
    }
}

#[test]
fn gen_pool_get() {
    let device = Device::new("sram");
    let vpu = pool_on(&device, "vpu", 0x1000);
    // Without a name, only the unnamed pool matches, which does not exist yet, or at all.
    let early = device.pool(None).unwrap_err();
    assert!(matches!(early, GetError::NotYet { .. }));
    assert_eq!(
        early.to_string(),
        "device sram is being probed and has no unnamed pool yet"
    );
    device.bind();
    assert!(matches!(device.pool(None), Err(GetError::NoPool { .. })));
    let missing = device.pool(Some("vp")).unwrap_err();
    assert_eq!(missing.to_string(), "device sram has no pool \"vp\"");
    device.create_pool(Pool::builder().order(3)).unwrap();
    assert_eq!(device.pool(None).unwrap().order(), 3);

    // The handle is counted: it stays valid after the device, and the pool allocates nothing more.
    let found = device.pool(Some("vpu")).unwrap();
    let block = found.alloc(40).unwrap();
    assert_eq!(vpu.avail(), 0x1000 - 64);
    drop(device.release().unwrap());
    assert_eq!(
        device.pool(Some("vpu")).unwrap_err().to_string(),
        "device sram is gone"
    );
    drop(device);
    assert!(matches!(found.alloc(1), Err(AllocError::Impossible(_))));
    assert_eq!(block.size(), 64);
    drop(block);
    let late = found.add_chunk(ChunkSpec::new(0x10_0000, 32)).unwrap_err();
    assert!(matches!(&late, AddChunkError::Sealed(chunk) if chunk.start() == 0x10_0000));
    assert_eq!((found.size(), found.chunks().len()), (0, 0));
}

#[test]
fn what_is_held_stays_until_it_is_given_back() {
    let log = Log::default();
    let device = Device::new("dsp");
    device.manage(Value(log.clone(), "window")).unwrap();
    let lower = pool_on(&device, "lower", 0x1000);
    device.manage(Value(log.clone(), "mapping")).unwrap();
    let upper = pool_on(&device, "upper", 0x8000);
    upper.add_chunk(ChunkSpec::new(0xa000, 64)).unwrap();
    // This chunk is too small for the following allocations, so it is drained as soon as it is removed.
    upper.add_chunk(ChunkSpec::new(0xc000, 32)).unwrap();
    device.on_release(log.say("irq")).unwrap();

    let (low, high) = (
        lower.alloc_owned(32).unwrap(),
        upper.alloc_owned(64).unwrap(),
    );
    high.set_tag(0xbeef);
    let far = upper.alloc_owned(0x1000).unwrap();
    let released = device.release().unwrap();
    let held: Vec<_> = released
        .outstanding
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        held,
        [
            "0x1000 bytes at 0x8000 of upper, owner upper",
            "0x40 bytes at 0xa000 of upper, tag 0xbeef",
            "0x20 bytes at 0x1000 of lower, owner lower",
        ]
    );
    // Resources added after the pools are released, and nothing more is allocated.
    assert_eq!(log.entries(), ["irq"]);
    assert!(lower.alloc(1).is_err() && upper.alloc(1).is_err());
    assert!(!released.is_complete());
    drop(high);
    assert_eq!(log.entries(), ["irq"]);
    drop(far);
    assert_eq!(log.entries(), ["irq", "mapping"]);
    assert!(!released.is_complete());
    drop(device);
    drop(low);
    assert_eq!(log.entries(), ["irq", "mapping", "window"]);
    assert!(released.is_complete());
}

#[test]
fn what_is_held_is_reported_run_by_run_without_boundary_tracking() {
    let device = Device::new("dsp");
    let pool = device.create_pool(Pool::builder().order(4)).unwrap();
    pool.add_chunk(ChunkSpec::new(0x100, 0x100)).unwrap();
    let blocks: Vec<_> = (0..16).map(|_| pool.alloc_owned(16).unwrap()).collect();
    let mut blocks: Vec<_> = blocks.into_iter().map(Some).collect();
    for free in [0, 4, 5] {
        blocks[free] = None;
    }
    let released = device.release().unwrap();
    let held: Vec<_> = released
        .outstanding
        .iter()
        .map(|held| (held.addr, held.size))
        .collect();
    assert_eq!(held, [(0x110, 0x30), (0x160, 0xa0)]);
    drop(blocks);
    assert!(released.is_complete());
}

#[test]
fn what_is_known_by_address_only_can_still_be_freed() {
    let log = Log::default();
    let device = Device::new("dsp");
    device.on_release(log.say("unmapped")).unwrap();
    let pool = pool_on(&device, "dma", 0x4000);
    let range = pool.alloc(100).unwrap().into_raw();
    drop(device);
    assert_eq!(pool.free_addr(range.addr), Ok(128));
    assert_eq!(log.entries(), ["unmapped"]);
}

/// The calls of a pool are there for a pool of a device as well.
#[test]
fn a_device_s_pool_answers_as_a_plain_one() {
    let device = Device::new("dsp");
    let chunk = || {
        ChunkSpec::new(0x4000, 0x1000)
            .phys(0x9_0000)
            .owner("camera")
    };
    let builder = || Pool::builder().order(5).boundary_tracking();
    let managed = device.create_pool(builder()).unwrap();
    managed.add_chunk(chunk()).unwrap();
    let plain = builder().build().unwrap();
    plain.add_chunk(chunk()).unwrap();

    let sizes = [100, 32, 1000];
    let places = |many: Vec<Allocation<'_>>| -> Vec<_> {
        many.iter().map(|held| (held.addr(), held.size())).collect()
    };
    let expected = places(plain.alloc_many(&sizes).unwrap());
    assert_eq!(places(managed.alloc_many(&sizes).unwrap()), expected);
    assert!(managed.alloc_many(&[0x2000]).is_err() && plain.alloc_many(&[0x2000]).is_err());
    for _ in 0..2 {
        let range = managed.alloc(64).unwrap().into_raw();
        assert_eq!(plain.alloc(64).unwrap().into_raw(), range);
    }
    assert_eq!(managed.stats(), plain.stats());
    assert_eq!(managed.fragmentation(), plain.fragmentation());
    assert_eq!((managed.order(), managed.granule()), (5, 32));
    for (addr, size) in [(0x4000, 0x1000), (0x4000, 0x1001), (0x3fff, 1)] {
        assert_eq!(managed.contains(addr, size), plain.contains(addr, size));
        assert_eq!(managed.phys_of(addr), plain.phys_of(addr));
    }
    assert!(managed.contains(0x4000, 0x1000) && !managed.contains(0x3fff, 1));
    assert_eq!(managed.phys_of(0x4000), Some(0x9_0000));
    for size in [32, 64, 64] {
        assert_eq!(managed.free(0x4000, size), plain.free(0x4000, size));
    }
    let owner = managed.free_owner(0x4040, 64).unwrap();
    assert_eq!(
        owner.and_then(|owner| owner.downcast_ref().copied()),
        Some("camera")
    );
    assert_eq!((managed.avail(), plain.avail()), (0x1000, 0xfc0));
}

#[test]
fn pools_without_end_take_no_deep_stack() {
    const POOLS: usize = if cfg!(miri) { 50 } else { 5000 };
    let device = Device::new("dsp");
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    device
        .on_release(move || _ = count.fetch_add(1, Ordering::SeqCst))
        .unwrap();
    for number in 0..POOLS {
        let builder = Pool::builder().order(5).name(format!("{number}"));
        device.create_pool(builder).unwrap();
    }
    let small = thread::Builder::new().stack_size(256 << 10);
    let released = small.spawn(move || device.release().unwrap().is_complete());
    assert!(released.unwrap().join().unwrap());
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_release_concurrent_with_many_threads() {
    let rounds = if cfg!(miri) { 2 } else { 50 };
    for _ in 0..rounds {
        let users = Arc::new(AtomicUsize::new(0));
        let device = Device::new("shared");
        let unmapped = Arc::new(AtomicUsize::new(0));
        {
            let (users, unmapped) = (Arc::clone(&users), Arc::clone(&unmapped));
            let action = move || {
                assert_eq!(users.load(Ordering::SeqCst), 0, "unmapped under a holder");
                unmapped.fetch_add(1, Ordering::SeqCst);
            };
            device.on_release(action).unwrap();
        }
        pool_on(&device, "shared", 0x1_0000);
        device.bind();
        let gate = Barrier::new(4);
        let released = thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    gate.wait();
                    while let Ok(pool) = device.pool(Some("shared")) {
                        let Ok(block) = pool.alloc_owned(48) else {
                            continue;
                        };
                        users.fetch_add(1, Ordering::SeqCst);
                        drop(pool);
                        thread::yield_now();
                        users.fetch_sub(1, Ordering::SeqCst);
                        drop(block);
                    }
                });
            }
            gate.wait();
            thread::yield_now();
            device.release().unwrap()
        });
        assert!(released.panics().is_empty() && released.is_complete());
        assert_eq!(unmapped.load(Ordering::SeqCst), 1);
    }
}
