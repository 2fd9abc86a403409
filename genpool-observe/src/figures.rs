//! A pool's figures, by their metric names.

use std::fmt;

use genpool_core::{Fragmentation, PoolView, Stats};

/// A figure of a pool, from [`figures`].
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::{figures, FigureKind};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let size = figures(&pool).next().ok_or("it is the first")?;
/// assert_eq!((size.name, size.kind, size.value), ("genpool_size_bytes", FigureKind::Gauge, 0x4000));
/// assert_eq!(size.says, "Bytes in chunks that serve");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figure {
    /// Begins with `genpool_`. The name of a gauge in bytes ends with `_bytes`, that of a counter with `_total`.
    pub name: &'static str,
    /// A description for people.
    pub says: &'static str,
    /// Whether it is a gauge or a counter.
    pub kind: FigureKind,
    /// Its value.
    pub value: usize,
}

/// The kind of a [`Figure`]. `Display` writes it as Prometheus does.
///
/// ```
/// use genpool::observe::FigureKind;
///
/// let kinds = [FigureKind::Gauge, FigureKind::Counter].map(|kind| format!("# TYPE figure {kind}"));
/// assert_eq!(kinds, ["# TYPE figure gauge", "# TYPE figure counter"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FigureKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, from 0.
    Counter,
}

impl fmt::Display for FigureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        })
    }
}

/// Returns what [`Stats`] and [`Fragmentation`] report of a pool, for display elsewhere: first gauges, then counters,
/// always the same ones in the same order. Linear in the granules, 64 at a time. Not
/// [signal-safe](genpool_core#signal-safety).
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::builder().order(12).name("rx").build()?;
/// for figure in genpool::observe::figures(&pool) {
///     println!("# TYPE {} {}\n{0}{{pool=\"rx\"}} {}", figure.name, figure.kind, figure.value);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn figures(pool: &PoolView) -> impl Iterator<Item = Figure> {
    figures_of(&pool.stats(), &pool.fragmentation()).into_iter()
}

pub(crate) fn figures_of(stats: &Stats, fragmentation: &Fragmentation) -> [Figure; 17] {
    let figure = |kind, name, says, value| Figure {
        name,
        says,
        kind,
        value,
    };
    let gauge = |name, says, value| figure(FigureKind::Gauge, name, says, value);
    let counter = |name, says, value| figure(FigureKind::Counter, name, says, value);
    [
        gauge(
            "genpool_size_bytes",
            "Bytes in chunks that serve",
            stats.size,
        ),
        gauge(
            "genpool_used_bytes",
            "Bytes that are taken in chunks that serve",
            stats.used,
        ),
        gauge(
            "genpool_free_bytes",
            "Bytes that are free in chunks that serve",
            stats.free,
        ),
        gauge(
            "genpool_cached_bytes",
            "Bytes that are taken because caches keep them",
            stats.cached,
        ),
        gauge(
            "genpool_free_runs",
            "Free runs that cannot be made longer",
            fragmentation.free_runs,
        ),
        gauge(
            "genpool_largest_free_run_bytes",
            "Bytes of the largest free run",
            fragmentation.largest_run,
        ),
        gauge("genpool_chunks", "Chunks that serve", stats.chunks),
        gauge(
            "genpool_draining_chunks",
            "Chunks that are being removed",
            stats.draining,
        ),
        gauge(
            "genpool_draining_used_bytes",
            "Bytes that are still held in chunks that are being removed",
            stats.draining_used,
        ),
        gauge(
            "genpool_bookkeeping_bytes",
            "Bytes of bookkeeping",
            stats.bookkeeping,
        ),
        counter(
            "genpool_exhausted_total",
            "Requests for which there was no fit",
            stats.exhausted,
        ),
        counter(
            "genpool_contended_total",
            "Requests for which it could not be settled whether there was a fit",
            stats.contended,
        ),
        counter(
            "genpool_unsuitable_total",
            "Requests that no free space could have served",
            stats.unsuitable,
        ),
        counter(
            "genpool_bad_proposals_total",
            "Requests that an algorithm spoilt",
            stats.bad_proposals,
        ),
        counter(
            "genpool_lost_claims_total",
            "Claims that were lost to a faster thread and tried again",
            stats.lost_claims,
        ),
        counter(
            "genpool_refused_frees_total",
            "Frees that were refused",
            stats.refused_frees,
        ),
        counter(
            "genpool_observer_panics_total",
            "Panics of the pool's observer",
            stats.observer_panics,
        ),
    ]
}
