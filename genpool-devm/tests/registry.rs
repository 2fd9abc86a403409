//! The registry: devices by node and by name, while they are added and removed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use genpool_core::{ChunkSpec, Pool};
use genpool_devm::{Device, GetError, NodePath, RegisterError, Registry, RemoveError};

fn sram(node: &str) -> Device {
    Device::new(node).at(NodePath::new(node))
}

#[test]
fn devices_are_found_by_node_and_name() {
    let registry = Registry::new();
    let device = registry.add(sram("/soc/sram@0")).unwrap();
    registry.add(Device::new("nodeless")).unwrap();
    registry.add(Device::new("nodeless too")).unwrap();
    let found = registry.find(&NodePath::new("/soc/sram@0")).unwrap();
    assert!(Arc::ptr_eq(&found, &device));
    assert!(registry.find(&NodePath::new("/soc/sram")).is_none());
    assert_eq!(registry.find_named("nodeless").unwrap().node(), None);
    assert_eq!(registry.devices().len(), 3);

    for twin in [
        sram("/soc/sram@0"),
        Device::new("x").at(NodePath::new("/soc/sram@0")),
    ] {
        let refused = registry.add(twin).unwrap_err();
        assert!(
            matches!(refused, RegisterError::Occupied { .. }),
            "{refused}"
        );
    }
    // A refused device is returned unchanged.
    let twin = sram("/soc/sram@0");
    let pool = twin.create_pool(Pool::builder()).unwrap();
    match registry.add(twin).unwrap_err() {
        RegisterError::Occupied { device, by } => {
            assert_eq!((device.name(), &*by), ("/soc/sram@0", "/soc/sram@0"));
            assert!(!device.is_gone() && !pool.is_sealed() && device.pool(None).is_ok());
        }
        other => panic!("{other}"),
    }
    let unknown = registry.pool("other", None).unwrap_err();
    assert_eq!(unknown.to_string(), "device other is not registered");
    assert!(matches!(
        registry.pool("nodeless", None),
        Err(GetError::NoPool { .. })
    ));

    drop(registry.remove("/soc/sram@0").unwrap());
    assert!(found.is_gone());
    assert!(matches!(
        registry.remove("/soc/sram@0"),
        Err(RemoveError::NoDevice { .. })
    ));
    // The node and the name are free again.
    registry.add(sram("/soc/sram@0")).unwrap();
    drop(registry.find_named("nodeless").unwrap().release().unwrap());
    assert!(matches!(
        registry.pool("nodeless", None),
        Err(GetError::Gone(_))
    ));
    assert!(matches!(
        registry.remove("nodeless"),
        Err(RemoveError::Gone(_))
    ));
    assert!(registry.find_named("nodeless").is_none());
}

#[test]
fn a_probe_that_fails_leaves_nothing() {
    let registry = Registry::new();
    let released = Arc::new(AtomicUsize::new(0));
    let count = |device: &Device| {
        let released = Arc::clone(&released);
        device
            .on_release(move || {
                released.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
    };
    let failed = registry.probe(sram("/a"), |device| {
        count(device);
        // The device is found during its probe, and its pools may still be created.
        assert!(matches!(
            registry.pool("/a", None),
            Err(GetError::NotYet { .. })
        ));
        Err("no power")
    });
    assert!(matches!(
        failed,
        Err(RegisterError::Probe {
            error: "no power",
            ..
        })
    ));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        registry.probe(sram("/a"), |device| {
            count(device);
            if device.node().is_some() {
                panic!("on purpose");
            }
            Ok::<(), ()>(())
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(released.load(Ordering::Relaxed), 2);
    assert!(registry.devices().is_empty());
}

#[test]
fn a_probe_that_fails_too_late_leaves_its_successor() {
    let registry = Registry::new();
    let node = "/soc/sram@0";
    let refused = registry.probe(sram(node), |_| {
        // Another thread could do this: the device is removed, and its successor is added.
        drop(registry.remove(node).unwrap());
        registry.add(sram(node)).unwrap();
        Err("no clock")
    });
    assert!(matches!(refused, Err(RegisterError::Probe { .. })));
    let successor = registry.find_named(node).expect("still there");
    assert!(!successor.is_gone());
    let found = registry.find(&NodePath::new(node)).expect("at its node");
    assert!(Arc::ptr_eq(&found, &successor));
}

#[test]
fn devices_come_and_go_while_others_look() {
    let registry = Registry::new();
    let node = NodePath::new("/soc/sram@0");
    let done = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 3 } else { 300 };
    let probed = AtomicUsize::new(0);
    let gate = Barrier::new(4);
    thread::scope(|scope| {
        let probing = [(); 2].map(|()| {
            scope.spawn(|| {
                gate.wait();
                for _ in 0..rounds {
                    let outcome = registry.probe(sram(node.as_str()), |device| {
                        let pool = device.create_pool(Pool::builder().order(5)).unwrap();
                        pool.add_chunk(ChunkSpec::new(0x1000, 0x1000)).unwrap();
                        Ok::<(), ()>(())
                    });
                    if outcome.is_ok() {
                        probed.fetch_add(1, Ordering::Relaxed);
                        drop(outcome);
                        thread::yield_now();
                        let released = registry.remove(node.as_str()).unwrap();
                        assert!(released.panics().is_empty());
                    }
                }
            })
        });
        for _ in 0..2 {
            scope.spawn(|| {
                gate.wait();
                while !done.load(Ordering::Relaxed) {
                    let Some(device) = registry.find(&node) else {
                        continue;
                    };
                    match device.pool(None) {
                        Ok(pool) => drop(pool.alloc(64)),
                        Err(GetError::Gone(_) | GetError::NotYet { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        for thread in probing {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(probed.load(Ordering::Relaxed) > 0);
    assert!(registry.devices().is_empty());
}
