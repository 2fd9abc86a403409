//! Gauges and counters of the crate `metrics`.

use genpool_core::{Event, Fragmentation, Observer, PoolView, Stats};
use metrics::{Counter, IntoLabels, Label, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::figures::{Figure, FigureKind, figures, figures_of};

/// What a [`Meter`] counts.
const METER: [(&str, Unit, &str); 10] = [
    (
        "genpool_allocs_total",
        Unit::Count,
        "Ranges that were handed out",
    ),
    (
        "genpool_allocated_bytes_total",
        Unit::Bytes,
        "Bytes of ranges that were handed out",
    ),
    ("genpool_frees_total", Unit::Count, "Ranges that came back"),
    (
        "genpool_freed_bytes_total",
        Unit::Bytes,
        "Bytes of ranges that came back",
    ),
    (
        "genpool_cache_allocs_total",
        Unit::Count,
        "Ranges that were handed out of what a cache kept",
    ),
    (
        "genpool_cache_frees_total",
        Unit::Count,
        "Ranges that came back and that a cache keeps from everybody else",
    ),
    (
        "genpool_cache_filled_bytes_total",
        Unit::Bytes,
        "Bytes that caches took from the pool",
    ),
    (
        "genpool_cache_emptied_bytes_total",
        Unit::Bytes,
        "Bytes that caches gave back to the pool",
    ),
    (
        "genpool_chunks_added_total",
        Unit::Count,
        "Chunks that were added",
    ),
    (
        "genpool_chunks_drained_total",
        Unit::Count,
        "Chunks whose last range came back after their removal began",
    ),
];

/// Gives the installed recorder of `metrics` the units and descriptions of all figures. Call it once, when the recorder
/// is installed at the start of the program.
///
/// ```
/// // features = ["metrics"]
/// use genpool::Pool;
///
/// genpool::observe::describe();
/// let pool = Pool::builder().name("rx").build()?;
/// genpool::observe::report(&pool, &[("pool", "rx")]); // and again every few seconds
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn describe() {
    let all = figures_of(&Stats::default(), &Fragmentation::default());
    for Figure {
        name, says, kind, ..
    } in all
    {
        let unit = match name.ends_with("_bytes") {
            true => Unit::Bytes,
            false => Unit::Count,
        };
        match kind {
            FigureKind::Gauge => describe_gauge!(name, unit, says),
            FigureKind::Counter => describe_counter!(name, unit, says),
        }
    }
    for (name, unit, says) in METER {
        describe_counter!(name, unit, says);
    }
}

/// Sets gauges and counters to the [`figures`] of this pool, under the given labels. Call it every few seconds from
/// some thread, or before the metrics are scraped. It adds nothing to the pool's hot paths. Linear in the granules. Not
/// [signal-safe](genpool_core#signal-safety).
///
/// ```
/// // features = ["metrics"]
/// use genpool::Pool;
///
/// let pool = Pool::builder().order(12).name("rx").build()?;
/// pool.add(0, 0x10_0000)?;
/// genpool::observe::report(&pool, &[("pool", "rx")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn report(pool: &PoolView, labels: impl IntoLabels) {
    let labels = labels.into_labels();
    for Figure {
        name, kind, value, ..
    } in figures(pool)
    {
        match kind {
            FigureKind::Gauge => gauge!(name, labels.clone()).set(value as f64),
            FigureKind::Counter => counter!(name, labels.clone()).absolute(value as u64),
        }
    }
}

/// Counts the operations of a pool, for rates: an [`Observer`]. The figures of [`report`] need no observer.
///
/// It counts in the recorder that is installed when it is created. [Signal-safe](genpool_core#signal-safety) if that
/// recorder's counters are.
///
/// ```
/// // features = ["metrics"]
/// use genpool::Pool;
/// use genpool::observe::Meter;
///
/// let meter = Meter::new(&[("pool", "rx")]);
/// let pool = Pool::builder().order(12).observer(meter).build()?;
/// # drop(pool);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Meter {
    allocs: Counter,
    allocated: Counter,
    frees: Counter,
    freed: Counter,
    cache_allocs: Counter,
    cache_frees: Counter,
    cache_filled: Counter,
    cache_emptied: Counter,
    added: Counter,
    drained: Counter,
}

impl Meter {
    /// Returns a meter that counts under these labels.
    pub fn new(labels: impl IntoLabels) -> Self {
        let labels: Vec<Label> = labels.into_labels();
        let [
            allocs,
            allocated,
            frees,
            freed,
            cache_allocs,
            cache_frees,
            cache_filled,
            cache_emptied,
            added,
            drained,
        ] = METER.map(|(name, ..)| counter!(name, labels.clone()));
        Self {
            allocs,
            allocated,
            frees,
            freed,
            cache_allocs,
            cache_frees,
            cache_filled,
            cache_emptied,
            added,
            drained,
        }
    }
}

impl Observer for Meter {
    fn event(&self, _number: usize, event: &Event<'_>) {
        match *event {
            Event::Allocated { size, cached, .. } => {
                self.allocs.increment(1);
                self.allocated.increment(size as u64);
                self.cache_allocs.increment(u64::from(cached));
            }
            Event::Freed { size, cached, .. } => {
                self.frees.increment(1);
                self.freed.increment(size as u64);
                self.cache_frees.increment(u64::from(cached));
            }
            Event::CacheFilled { addrs, size, .. } => {
                self.cache_filled.increment((addrs.len() * size) as u64);
            }
            Event::CacheEmptied { addrs, size, .. } => {
                self.cache_emptied.increment((addrs.len() * size) as u64);
            }
            Event::Resized { from, to, .. } => {
                self.allocated.increment(to.saturating_sub(from) as u64);
                self.freed.increment(from.saturating_sub(to) as u64);
            }
            Event::ChunkAdded { .. } => self.added.increment(1),
            Event::Drained { .. } => self.drained.increment(1),
            _ => {}
        }
    }
}
