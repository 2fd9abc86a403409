//! User code that panics at the end of a device: actions, and destructors of values, owners, algorithms and
//! observers. All of it is run or dropped, in order. Nothing is hidden, and nothing aborts the process.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, Mutex};

use genpool_core::{
    Algorithm, ChunkSpec, ChunkView, Event, FirstFit, Granule, Observer, Pool, Request,
};
use genpool_devm::{Device, NodePath, RegisterError, Registry};

/// A log of what was dropped or run, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Returns a value that logs its name and panics with it when it is dropped.
    fn bomb(&self, name: &str) -> Bomb {
        Bomb(self.clone(), name.to_owned())
    }

    fn action(&self, name: &'static str) -> impl FnOnce() + Send + use<> {
        let log = self.clone();
        move || log.note(name)
    }
}

struct Bomb(Log, String);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.note(&self.1);
        panic_any(self.1.clone());
    }
}

impl Algorithm for Bomb {
    fn propose(&self, view: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        FirstFit.propose(view, request)
    }
}

impl Observer for Bomb {
    fn event(&self, _: usize, _: &Event<'_>) {}
}

/// Returns the message of a panic in `step`.
fn caught(step: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(step)).err()?;
    Some(*panic.downcast().expect("the name of a bomb"))
}

/// Adds a pool of two chunks, each with an owner and an allocation that nobody gives back. If nobody else holds the
/// pool, its bookkeeping ends with the device, and the list of outstanding allocations is the last to hold the
/// owners.
fn abandoned(device: &Device, log: &Log) {
    let pool = device.create_pool(Pool::builder()).unwrap();
    for (start, name) in [(0, "low"), (64, "high")] {
        pool.add_chunk(ChunkSpec::new(start, 64).owner(log.bomb(name)))
            .unwrap();
        let _ = pool.alloc(64).unwrap().into_raw();
    }
}

#[test]
fn everything_is_released_whatever_panics() {
    let log = Log::default();
    let device = Device::new("all");
    device.on_release(log.action("bottom")).unwrap();
    for name in ["rx", "tx"] {
        device.manage(log.bomb(&format!("{name} mapping"))).unwrap();
        let builder = Pool::builder().name(name);
        let builder = builder.observer(log.bomb(&format!("{name} observer")));
        let pool = device.create_pool(builder).unwrap();
        pool.set_algorithm(log.bomb(&format!("{name} algorithm")));
        for chunk in 0..3 {
            let owner = log.bomb(&format!("{name} owner {chunk}"));
            pool.add_chunk(ChunkSpec::new(chunk * 64, 64).owner(owner))
                .unwrap();
        }
        device.on_release(log.action("between")).unwrap();
    }
    let action = log.bomb("action");
    device.on_release(move || drop(action)).unwrap();
    device.on_release(log.action("top")).unwrap();

    let released = device.release().unwrap();
    assert!(released.is_complete() && released.outstanding.is_empty());
    let mut found = log.take();
    // All values of a pool are dropped together, and then its mapping.
    for pool in [3..8, 10..15] {
        found[pool].sort();
    }
    let of = |name: &str| {
        [
            "algorithm",
            "observer",
            "owner 0",
            "owner 1",
            "owner 2",
            "mapping",
        ]
        .map(|what| format!("{name} {what}"))
    };
    let expected = [
        vec!["top".to_owned(), "action".to_owned(), "between".to_owned()],
        of("tx").to_vec(),
        vec!["between".to_owned()],
        of("rx").to_vec(),
        vec!["bottom".to_owned()],
    ];
    assert_eq!(found, expected.concat());
    // Values that are dropped together are one step, and the first panic of a step is in the report.
    let panics = released.panics();
    let [action, tx, tx_mapping, rx, rx_mapping] = panics.as_slice() else {
        panic!("{panics:?}");
    };
    assert_eq!(
        [action, tx_mapping, rx_mapping],
        ["action", "tx mapping", "rx mapping"]
    );
    assert!(tx.starts_with("tx ") && rx.starts_with("rx "), "{panics:?}");
}

#[test]
fn panics_after_the_report_are_in_it() {
    let log = Log::default();
    let device = Device::new("late");
    device.on_release(log.action("bottom")).unwrap();
    device.manage(log.bomb("mapping")).unwrap();
    let pool = device.create_pool(Pool::builder()).unwrap();
    pool.add_chunk(ChunkSpec::new(0, 64)).unwrap();
    let held = pool.alloc_owned(1).unwrap();
    let released = device.release().unwrap();
    assert!(released.panics().is_empty() && log.take().is_empty());
    // The thread that gives back the last allocation does not get the panic.
    assert_eq!(caught(|| drop(held)), None);
    assert_eq!(released.panics(), ["mapping"]);
    assert!(released.is_complete());
    assert_eq!(log.take(), ["mapping", "bottom"]);
}

#[test]
fn owners_that_panic_with_the_report() {
    let log = Log::default();
    let device = Device::new("report");
    device.on_release(log.action("bottom")).unwrap();
    abandoned(&device, &log);
    let released = device.release().unwrap();
    assert_eq!(
        (released.outstanding.len(), log.take()),
        (2, vec!["bottom".to_owned()])
    );
    let panic = caught(|| drop(released)).unwrap();
    let dropped = log.take();
    assert_eq!((dropped.len(), &dropped[0]), (2, &panic));

    // The same if the device is dropped and nobody has the report.
    let device = Device::new("no report");
    device.on_release(log.action("bottom")).unwrap();
    abandoned(&device, &log);
    let panic = caught(|| drop(device)).unwrap();
    let dropped = log.take();
    assert_eq!(
        (dropped.len(), &*dropped[0], &dropped[1]),
        (3, "bottom", &panic)
    );
}

#[test]
fn owners_that_panic_after_a_probe() {
    let log = Log::default();
    let registry = Registry::new();
    let device = || Device::new("probed").at(NodePath::new("/probed"));
    let probe = |device: &Device| {
        device.on_release(log.action("bottom")).unwrap();
        abandoned(device, &log);
    };
    // The panic that is resumed is that of the probe.
    let panic = caught(|| {
        let _ = registry.probe(device(), |device| -> Result<(), ()> {
            probe(device);
            panic_any("probe".to_owned())
        });
    });
    assert_eq!((panic.as_deref(), log.take().len()), (Some("probe"), 3));
    let panic = caught(|| {
        let _ = device().probe(|device| -> Result<(), ()> {
            probe(device);
            panic_any("probe".to_owned())
        });
    });
    assert_eq!((panic.as_deref(), log.take().len()), (Some("probe"), 3));
    // The name is free again. If the probe returns an error, the report holds the owners.
    let failed = registry.probe(device(), |device| {
        probe(device);
        Err("no power")
    });
    assert!(matches!(
        failed,
        Err(RegisterError::Probe {
            error: "no power",
            ..
        })
    ));
    assert!(caught(|| drop(failed)).is_some());
    assert_eq!(log.take().len(), 3);
    assert!(registry.devices().is_empty());
}

#[test]
fn a_registry_ends_all_its_devices() {
    let log = Log::default();
    let registry = Registry::new();
    for name in ["first", "second", "third"] {
        let device = Device::new(name);
        device.on_release(log.action(name)).unwrap();
        abandoned(&device, &log);
        registry.add(device).unwrap();
    }
    let panic = caught(|| drop(registry)).unwrap();
    let dropped = log.take();
    let devices: Vec<_> = dropped
        .iter()
        .filter(|name| !["low", "high"].contains(&&***name))
        .collect();
    assert_eq!(devices, ["third", "second", "first"]);
    assert_eq!((dropped.len(), &dropped[1]), (9, &panic));
}

#[test]
fn a_pool_that_is_refused_is_dropped_outside_of_the_lock() {
    let device = Arc::new(Device::new("twice"));
    device.create_pool(Pool::builder()).unwrap();
    // Its destructor calls the device, which must not be locked.
    struct Asks(Arc<Device>, Log);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.1
                .note(&format!("asked of {} pool", self.0.pools().len()));
        }
    }
    impl Observer for Asks {
        fn event(&self, _: usize, _: &Event<'_>) {}
    }
    let log = Log::default();
    let asks = Asks(Arc::clone(&device), log.clone());
    drop(device.create_pool(Pool::builder().observer(asks)));
    assert_eq!(log.take(), ["asked of 1 pool"]);
    assert_eq!((device.pools().len(), device.pool(None).is_ok()), (1, true));
}

#[test]
fn a_pool_that_is_refused_and_panics_leaks_nothing() {
    let name: Arc<str> = Arc::from("twice");
    let log = Log::default();
    let device = Device::new(Arc::clone(&name));
    device.create_pool(Pool::builder()).unwrap();
    for is_gone in [false, true] {
        if is_gone {
            drop(device.release());
        }
        let builder = Pool::builder().algorithm(log.bomb("algorithm"));
        let panic = caught(|| drop(device.create_pool(builder)));
        assert_eq!(panic.as_deref(), Some("algorithm"));
    }
    drop(device);
    assert_eq!(Arc::strong_count(&name), 1, "an error is not dropped");
}

/// Allocates when an observer is notified that a chunk is being removed.
struct Greedy(
    Mutex<Option<genpool_devm::ManagedPool>>,
    Mutex<Vec<genpool_core::OwnedAllocation>>,
);

/// While a pool is being sealed, others can still allocate in chunks that are not yet removed. The list has these
/// allocations too.
#[test]
fn what_is_allocated_while_a_pool_is_sealed_is_outstanding() {
    struct Tap(Arc<Greedy>);
    impl Observer for Tap {
        fn event(&self, _: usize, event: &Event<'_>) {
            if matches!(event, Event::Draining { .. })
                && let Some(pool) = &*self.0.0.lock().unwrap()
                && let Ok(more) = pool.alloc_owned(1)
            {
                self.0.1.lock().unwrap().push(more);
            }
        }
    }
    let greedy = Arc::new(Greedy(Mutex::default(), Mutex::default()));
    let device = Device::new("greedy");
    let builder = Pool::builder()
        .observer(Tap(Arc::clone(&greedy)))
        .boundary_tracking();
    let pool = device.create_pool(builder).unwrap();
    for start in [0, 64, 128] {
        pool.add_chunk(ChunkSpec::new(start, 64)).unwrap();
    }
    *greedy.0.lock().unwrap() = Some(pool);
    let released = device.release().unwrap();
    // Of the three chunks, the last to be removed gets no such allocation.
    let mut held: Vec<_> = greedy
        .1
        .lock()
        .unwrap()
        .iter()
        .map(|held| held.addr())
        .collect();
    let mut listed: Vec<_> = released.outstanding.iter().map(|held| held.addr).collect();
    held.sort_unstable();
    listed.sort_unstable();
    assert_eq!((held.len(), listed), (2, held));
    // The observer and the pool hold each other.
    *greedy.0.lock().unwrap() = None;
    greedy.1.lock().unwrap().clear();
    assert!(released.is_complete());
}
