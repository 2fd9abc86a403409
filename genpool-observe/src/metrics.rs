//! Gauges and counters for the crate `metrics`.

use genpool_core::{Event, Fragmentation, Observer, Pool, Stats};
use metrics::{Counter, IntoLabels, Label, Unit, counter, describe_counter, describe_gauge, gauge};

struct Figure {
    name: &'static str,
    unit: Unit,
    says: &'static str,
    of: fn(&Stats, &Fragmentation) -> usize,
}

const GAUGES: [Figure; 10] = [
    Figure {
        name: "genpool_size_bytes",
        unit: Unit::Bytes,
        says: "Bytes in chunks that serve",
        of: |stats, _| stats.size,
    },
    Figure {
        name: "genpool_used_bytes",
        unit: Unit::Bytes,
        says: "Bytes that are taken in chunks that serve",
        of: |stats, _| stats.used,
    },
    Figure {
        name: "genpool_free_bytes",
        unit: Unit::Bytes,
        says: "Bytes that are free in chunks that serve",
        of: |stats, _| stats.free,
    },
    Figure {
        name: "genpool_cached_bytes",
        unit: Unit::Bytes,
        says: "Bytes that are taken because caches keep them",
        of: |stats, _| stats.cached,
    },
    Figure {
        name: "genpool_free_runs",
        unit: Unit::Count,
        says: "Free runs that cannot be made longer",
        of: |_, fragmentation| fragmentation.free_runs,
    },
    Figure {
        name: "genpool_largest_free_run_bytes",
        unit: Unit::Bytes,
        says: "Bytes of the largest free run",
        of: |_, fragmentation| fragmentation.largest_run,
    },
    Figure {
        name: "genpool_chunks",
        unit: Unit::Count,
        says: "Chunks that serve",
        of: |stats, _| stats.chunks,
    },
    Figure {
        name: "genpool_draining_chunks",
        unit: Unit::Count,
        says: "Chunks that are being removed",
        of: |stats, _| stats.draining,
    },
    Figure {
        name: "genpool_draining_used_bytes",
        unit: Unit::Bytes,
        says: "Bytes that are still held in chunks that are being removed",
        of: |stats, _| stats.draining_used,
    },
    Figure {
        name: "genpool_bookkeeping_bytes",
        unit: Unit::Bytes,
        says: "Bytes of bookkeeping",
        of: |stats, _| stats.bookkeeping,
    },
];

const COUNTERS: [Figure; 6] = [
    Figure {
        name: "genpool_exhausted_total",
        unit: Unit::Count,
        says: "Requests for which there was no fit",
        of: |stats, _| stats.exhausted,
    },
    Figure {
        name: "genpool_contended_total",
        unit: Unit::Count,
        says: "Requests for which it could not be settled whether there was a fit",
        of: |stats, _| stats.contended,
    },
    Figure {
        name: "genpool_unsuitable_total",
        unit: Unit::Count,
        says: "Requests that no free space could have served",
        of: |stats, _| stats.unsuitable,
    },
    Figure {
        name: "genpool_bad_proposals_total",
        unit: Unit::Count,
        says: "Requests that an algorithm spoilt",
        of: |stats, _| stats.bad_proposals,
    },
    Figure {
        name: "genpool_lost_claims_total",
        unit: Unit::Count,
        says: "Claims that were lost to a faster thread and tried again",
        of: |stats, _| stats.lost_claims,
    },
    Figure {
        name: "genpool_refused_frees_total",
        unit: Unit::Count,
        says: "Frees that were refused",
        of: |stats, _| stats.refused_frees,
    },
];

/// What a [`Meter`] counts.
const METER: [(&str, Unit, &str); 6] = [
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

/// Tells the recorder of `metrics` units and help texts of all figures, once at the start of a program,
/// when that recorder is installed.
///
/// ```
/// use genpool_core::Pool;
///
/// genpool_observe::describe();
/// let pool = Pool::builder().name("rx").build()?;
/// genpool_observe::report(&pool, &[("pool", "rx")]); // and again every few seconds
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn describe() {
    for Figure {
        name, unit, says, ..
    } in GAUGES
    {
        describe_gauge!(name, unit, says);
    }
    for Figure {
        name, unit, says, ..
    } in COUNTERS
    {
        describe_counter!(name, unit, says);
    }
    for (name, unit, says) in METER {
        describe_counter!(name, unit, says);
    }
}

/// Sets gauges and counters of [`Stats`] and [`Fragmentation`] for this pool, under the given labels: for
/// a thread that does so every few seconds, or before figures are fetched. Nothing happens on the
/// pool's hot path. Linear in the granules. Not signal-safe.
///
/// ```
/// use genpool_core::Pool;
///
/// let pool = Pool::builder().order(12).name("rx").build()?;
/// pool.add(0, 0x10_0000)?;
/// genpool_observe::report(&pool, &[("pool", "rx")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn report(pool: &Pool, labels: impl IntoLabels) {
    let labels = labels.into_labels();
    let (stats, fragmentation) = (pool.stats(), pool.fragmentation());
    for Figure { name, of, .. } in GAUGES {
        gauge!(name, labels.clone()).set(of(&stats, &fragmentation) as f64);
    }
    for Figure { name, of, .. } in COUNTERS {
        counter!(name, labels.clone()).absolute(of(&stats, &fragmentation) as u64);
    }
}

/// Counts what a pool does, for rates: an [`Observer`]. What [`report`] says needs none.
///
/// It counts in the recorder that is installed when it is made. As signal-safe as that recorder's
/// counters.
///
/// ```
/// use genpool_core::Pool;
/// use genpool_observe::Meter;
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
    added: Counter,
    drained: Counter,
}

impl Meter {
    /// Counts under these labels.
    pub fn new(labels: impl IntoLabels) -> Self {
        let labels: Vec<Label> = labels.into_labels();
        let [allocs, allocated, frees, freed, added, drained] =
            METER.map(|(name, ..)| counter!(name, labels.clone()));
        Self {
            allocs,
            allocated,
            frees,
            freed,
            added,
            drained,
        }
    }
}

impl Observer for Meter {
    fn event(&self, _number: usize, event: &Event<'_>) {
        match *event {
            Event::Allocated { size, .. } => {
                self.allocs.increment(1);
                self.allocated.increment(size as u64);
            }
            Event::Freed { size, .. } => {
                self.frees.increment(1);
                self.freed.increment(size as u64);
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
