//! `Released`: what is reported through `tracing` when no caller gets the report.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use genpool_core::{ChunkSpec, Pool};
use genpool_devm::{Device, Registry};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

/// Records events, one per line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

#[test]
fn what_is_held_is_reported_when_a_device_is_dropped() {
    let lines = Lines::default();
    subscriber::with_default(lines.clone(), || {
        let device = Device::new("dsp");
        device.on_release(|| panic!("on purpose")).unwrap();
        let builder = Pool::builder().order(5).name("rx").boundary_tracking();
        let pool = device.create_pool(builder).unwrap();
        let chunk = ChunkSpec::new(0x1000, 0x100).owner("bank 0");
        pool.add_chunk(chunk).unwrap();
        let held = pool.alloc_owned(40).unwrap();
        held.set_tag(7);
        drop(device);
        drop(held);
        // Nothing to report.
        drop(Device::new("quiet"));
    });
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            "WARN message=held when its device ended device=\"dsp\" pool=\"rx\" addr=0x1000 size=64 \
             tag=7 owner=\"bank 0\"",
            "DEBUG message=all is back, the release goes on device=\"dsp\"",
            "ERROR message=a release panicked device=\"dsp\" panic=\"on purpose\"",
        ]
    );
}

#[test]
fn what_is_held_is_reported_when_a_registered_probe_panics() {
    let lines = Lines::default();
    let registry = Registry::new();
    subscriber::with_default(lines.clone(), || {
        let mut held = None;
        let probed = catch_unwind(AssertUnwindSafe(|| {
            registry.probe(Device::new("dsp"), |device| -> Result<(), ()> {
                let pool = device.create_pool(Pool::builder().order(5)).unwrap();
                pool.add_chunk(ChunkSpec::new(0x1000, 0x100)).unwrap();
                held = Some(pool.alloc_owned(40).unwrap());
                panic!("on purpose");
            })
        }));
        assert!(probed.is_err() && held.is_some());
    });
    let line = "WARN message=held when its device ended device=\"dsp\" addr=0x1000 size=64";
    assert_eq!(lines.0.lock().unwrap()[0], line);
}

/// Panics at every event.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        panic!("no report");
    }
}

#[test]
fn a_release_goes_on_when_its_subscriber_panics() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |what| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push(what)
    };
    let device = || {
        let device = Device::new("dsp");
        device.on_release(note("bottom")).unwrap();
        device.on_release(|| panic!("on purpose")).unwrap();
        let pool = device.create_pool(Pool::builder()).unwrap();
        pool.add_chunk(ChunkSpec::new(0, 64)).unwrap();
        device.on_release(note("middle")).unwrap();
        device.on_release(|| panic!("on purpose")).unwrap();
        let held = pool.alloc_owned(1).unwrap();
        (device, held)
    };
    subscriber::with_default(Broken, || {
        let (released, held) = {
            let (device, held) = device();
            (device.release().unwrap(), held)
        };
        assert_eq!(released.panics(), ["on purpose", "no report"]);
        drop(held);
        assert!(released.is_complete());
        // Neither the continuation of the release nor the panic about it can be reported.
        let on = ["no report", "no report"];
        let panics = ["on purpose", "no report"];
        assert_eq!(released.panics(), [panics, on, panics].concat());
        assert_eq!(*log.lock().unwrap(), ["middle", "bottom"]);

        // If a dropped device cannot report, its drop panics after the end of the release.
        let (device, held) = device();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(device))).is_err());
        assert_eq!(log.lock().unwrap().last(), Some(&"middle"));
        drop(held);
        assert_eq!(log.lock().unwrap().last(), Some(&"bottom"));

        // A device whose probe panics is still unregistered.
        let registry = Registry::new();
        let probed = catch_unwind(AssertUnwindSafe(|| {
            registry.probe(Device::new("dsp"), |device| -> Result<(), ()> {
                let pool = device.create_pool(Pool::builder()).unwrap();
                pool.add_chunk(ChunkSpec::new(0, 64)).unwrap();
                let _ = pool.alloc(1).unwrap().into_raw();
                panic!("on purpose");
            })
        }));
        let panic = probed.err().unwrap();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        assert!(registry.devices().is_empty());
    });
}
