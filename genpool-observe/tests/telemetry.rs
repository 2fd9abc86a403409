//! What the recorder of `metrics` and the subscriber of `tracing` receive.

#![cfg(all(feature = "metrics", feature = "tracing"))]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use genpool_core::Pool;
use genpool_observe::{Meter, Observers, Traced, describe, report};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};

const PAGE: usize = 4096;

#[derive(Default)]
struct Value(AtomicU64);

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Value {
    fn increment(&self, _: f64) {
        unreachable!("figures are set");
    }

    fn decrement(&self, _: f64) {
        unreachable!("figures are set");
    }

    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

/// Figures by name.
#[derive(Default)]
struct Board {
    values: Mutex<BTreeMap<String, Arc<Value>>>,
    described: Mutex<Vec<String>>,
}

impl Board {
    fn value(&self, key: &Key) -> Arc<Value> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| (label.key(), label.value()))
            .collect();
        assert_eq!(labels, [("pool", "rx")]);
        let mut values = self.values.lock().unwrap();
        Arc::clone(values.entry(key.name().to_owned()).or_default())
    }

    fn read(&self, name: &str) -> u64 {
        self.values.lock().unwrap()[name].0.load(Ordering::Relaxed)
    }

    fn describe(&self, name: KeyName) {
        self.described
            .lock()
            .unwrap()
            .push(name.as_str().to_owned());
    }
}

impl Recorder for Board {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(name);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn figures() {
    let board = Board::default();
    metrics::with_local_recorder(&board, || {
        describe();
        let labels = [("pool", "rx")];
        let meter = Meter::new(&labels);
        let pool = Pool::builder().order(12).observer(meter).build().unwrap();
        pool.add(0, 8 * PAGE).unwrap();
        let mut kept = pool.alloc(2 * PAGE).unwrap();
        drop(pool.alloc(PAGE).unwrap());
        kept.resize(3 * PAGE).unwrap();
        assert!(pool.alloc(6 * PAGE).is_err());
        report(&pool, &labels);
        let mut cache = pool.cache();
        let held = cache.alloc(PAGE).unwrap();
        cache.free(held);
        let filled = cache.held() as u64;
        drop(cache);
        for name in ["filled", "emptied"] {
            let name = format!("genpool_cache_{name}_bytes_total");
            assert_eq!(board.read(&name), filled, "{name}");
        }
        let drain = pool.remove(0).unwrap();
        drop(kept);
        drop(drain);
    });
    let page = PAGE as u64;
    for (name, value) in [
        ("genpool_size_bytes", 8 * page),
        ("genpool_used_bytes", 3 * page),
        ("genpool_free_bytes", 5 * page),
        ("genpool_largest_free_run_bytes", 5 * page),
        ("genpool_free_runs", 1),
        ("genpool_chunks", 1),
        ("genpool_exhausted_total", 1),
        ("genpool_refused_frees_total", 0),
        ("genpool_allocs_total", 3),
        ("genpool_allocated_bytes_total", 5 * page),
        ("genpool_frees_total", 3),
        ("genpool_freed_bytes_total", 5 * page),
        ("genpool_cache_allocs_total", 1),
        ("genpool_cache_frees_total", 1),
        ("genpool_chunks_added_total", 1),
        ("genpool_chunks_drained_total", 1),
    ] {
        assert_eq!(board.read(name), value, "{name}");
    }
    let mut described = board.described.into_inner().unwrap();
    described.sort();
    assert!(
        described
            .iter()
            .eq(board.values.into_inner().unwrap().keys())
    );
}

/// Records levels and fields.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl tracing::Subscriber for Notes {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "genpool"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut note = event.metadata().level().to_string();
        event.record(&mut Fields(&mut note));
        self.0.lock().unwrap().push(note);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn events() {
    let notes = Arc::new(Notes::default());
    tracing::subscriber::with_default(Arc::clone(&notes), || {
        let observers = Observers::new().and(Traced::new());
        let builder = Pool::builder().order(12).name("rx").observer(observers);
        let pool = builder.build().unwrap();
        pool.add(0, 4 * PAGE).unwrap();
        assert!(pool.add(1, PAGE).is_err());
        let mut held = pool.alloc(1).unwrap();
        held.resize(2 * PAGE).unwrap();
        assert!(held.resize(0).is_err());
        assert!(pool.alloc(4 * PAGE).is_err());
        assert!(pool.alloc(0).is_err());
        assert!(pool.free(3 * PAGE, 1).is_err());
        let mut cache = pool.cache();
        let kept = cache.alloc(1).unwrap();
        cache.free(kept);
        drop(cache);
        let drain = pool.remove(0).unwrap();
        assert!(pool.remove(0).is_err());
        drop(held);
        drop(drain);
    });
    let notes = notes.0.lock().unwrap();
    let expected = [
        "DEBUG message=pool built pool=\"rx\" order=12",
        "INFO message=chunk added pool=\"rx\" start=0x0 size=16384",
        "DEBUG message=chunk refused pool=\"rx\" start=0x1 size=4096",
        "TRACE message=allocated pool=\"rx\" addr=0x0 asked=1 size=4096 cached=false",
        "TRACE message=resized pool=\"rx\" addr=0x0 from=4096 to=8192",
        "DEBUG message=resize refused pool=\"rx\" addr=0x0 asked=0",
        "WARN message=no room pool=\"rx\" asked=16384 error=0x4000 bytes: no room",
        "DEBUG message=refused pool=\"rx\" asked=0",
        "WARN message=free refused pool=\"rx\" addr=0x3000 size=1 error=0x3000 is not allocated",
        "TRACE message=cache filled pool=\"rx\" runs=2 size=4096",
        "TRACE message=allocated pool=\"rx\" addr=0x2000 asked=1 size=4096 cached=true",
        "TRACE message=freed pool=\"rx\" addr=0x2000 size=4096 cached=true",
        "TRACE message=cache emptied pool=\"rx\" runs=2 size=4096",
        "INFO message=chunk draining pool=\"rx\" start=0x0 size=16384 free=8192",
        "DEBUG message=removal refused pool=\"rx\" start=0x0",
        "INFO message=chunk drained pool=\"rx\" start=0x0 size=16384",
        "TRACE message=freed pool=\"rx\" addr=0x0 size=8192 cached=false",
    ];
    assert_eq!(notes.len(), expected.len(), "{notes:#?}");
    for (note, expected) in notes.iter().zip(expected) {
        assert!(note.starts_with(expected), "{note:?} is not {expected:?}");
    }
}
