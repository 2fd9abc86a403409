//! What `run`, `replay` and `compare` found, in one shape, whatever it is written as: a page of
//! HTML ([`html`]), JSON ([`Report::to_json`]), CSV ([`csv`]) or tables on a terminal.
//!
//! All times are nanoseconds, all sizes and addresses bytes, unless a name says otherwise.

mod bars;
mod chart;
pub mod csv;
mod figures;
pub mod html;
mod lines;
mod map;
mod scale;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::space::Look;

/// Instants at which a pool is looked at for a [`Timeline`]. 160 columns (2026-11) are what a map
/// 900 pixels wide still shows as columns, and cost a trace of a few thousand operations little.
pub const COLUMNS: usize = 160;

/// Rows of an occupancy map. 48 (2026-11) keep a map in JSON at some 20 KiB.
pub const ROWS: usize = 48;

/// Everything that a command found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name and version of this shape: `genpool report v1`.
    pub format: &'static str,
    /// Which command: `run`, `replay` or `compare`.
    pub command: &'static str,
    /// Version of the command.
    pub version: &'static str,
    /// What was run, on what.
    pub about: Vec<Fact>,
    /// Which entry to prefer, for each load and then for all of them.
    pub advice: Vec<Advice>,
    /// The figures.
    pub entries: Vec<Entry>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

/// A name and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// What stands behind it.
    pub value: String,
}

/// Which algorithm and order to prefer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The load, or `None` where it is for all of them.
    pub load: Option<String>,
    /// The algorithm.
    pub algorithm: String,
    /// The order.
    pub order: u32,
    /// Why, and who does as well.
    pub reason: String,
}

/// One load on one pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The file of the trace, or what the load is.
    pub load: String,
    /// Its algorithm.
    pub algorithm: String,
    /// What kind of pool: `lock-free` or `mutex`.
    pub pool: &'static str,
    /// Granules are `1 << order` bytes.
    pub order: u32,
    /// Bytes in all chunks.
    pub size: usize,
    /// Threads that allocate.
    pub threads: usize,
    /// Allocations and frees that were counted.
    pub operations: Operations,
    /// How fast it was.
    pub speed: Option<Speed>,
    /// Time of single operations.
    pub latency: Option<Latency>,
    /// How well the memory was used.
    pub memory: Option<Memory>,
    /// How the free part of the pool looked when the load ended.
    pub free_at_end: Option<FreeSpace>,
    /// How the pool looked over time.
    pub timeline: Option<Timeline>,
}

impl Entry {
    /// Bytes in all chunks of the load, with those that the pool does not have because of its order.
    pub fn given(&self) -> usize {
        let cut_off = self.memory.map_or(0, |memory| memory.cut_off);
        self.size.saturating_add(cut_off)
    }

    /// The part of the given bytes that served nobody, 0 to 1: the mean.
    pub fn wasted(&self) -> Option<f64> {
        let memory = self.memory?;
        Some((memory.rounded() + memory.scattered) / self.given().max(1) as f64)
    }
}

/// How many operations there were. For traces one playing of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// Allocations and frees. Frees of what had failed do nothing and do not count; under threads
    /// failed allocations do not count either.
    pub all: u64,
    /// Allocations that were asked for.
    pub allocs: u64,
    /// Allocations that failed, for whatever reason.
    pub failed: u64,
    /// Those of them that failed because others kept moving.
    pub contended: u64,
    /// Allocations whose memory was written over and checked.
    pub checked: u64,
}

/// How long an operation took, by the time of many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Mean of an operation; the median of all runs.
    pub ns: f64,
    /// Lower quartile of the runs. Where it lies between two runs it is the one further from the median, so
    /// that of three runs the quartiles are the fastest and the slowest.
    pub ns_low: f64,
    /// Upper quartile of the runs, likewise.
    pub ns_high: f64,
    /// Operations a second, by all threads together.
    pub per_second: f64,
    /// Runs.
    pub runs: u32,
}

impl Speed {
    /// The speed of runs of so many nanoseconds an operation, by one thread. None for no runs.
    pub fn of_runs(mut ns: Vec<f64>) -> Option<Self> {
        ns.sort_unstable_by(f64::total_cmp);
        let last = ns.len().checked_sub(1)?;
        // Of two in the middle the lower: what disturbs a run makes it longer.
        let median = ns[last / 2];
        Some(Self {
            ns: median,
            ns_low: ns[last / 4],
            ns_high: ns[(last * 3).div_ceil(4)],
            per_second: 1e9 / median,
            runs: ns.len() as u32,
        })
    }
}

/// Time of single operations, the reading of the clock included.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// What was timed: `alloc` or `operation`.
    pub of: &'static str,
    /// How many.
    pub count: u64,
    /// Half of them took at most so long.
    pub p50: u64,
    /// 90 % of them.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// All of them, sorted into bins of growing width.
    pub bins: Vec<Bin>,
}

/// Operations that took about as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Longest time that belongs here.
    pub ns: u64,
    /// Operations that took longer than the bin before, and at most so long.
    pub count: u64,
}

impl Latency {
    /// Each bin is so many times as wide as the one before.
    const GROWTH: f64 = 1.05;

    /// What a histogram holds; `None` for nothing.
    pub fn new(of: &'static str, histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self {
            of,
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            bins: histogram
                .iter_log(8, Self::GROWTH)
                .filter(|bin| bin.count_since_last_iteration() > 0)
                .map(|bin| Bin {
                    ns: bin.value_iterated_to(),
                    count: bin.count_since_last_iteration(),
                })
                .collect(),
        })
    }
}

/// How well the memory of a pool was used. Means are over the operations of a trace, or over the
/// instants of a timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Most bytes that allocations asked for and got, at one time.
    pub peak_asked: usize,
    /// Most bytes taken at one time.
    pub peak_taken: usize,
    /// Bytes at the ends of the load's chunks that are no whole granule of this order, so that the pool
    /// does not have them.
    pub cut_off: usize,
    /// Bytes taken beyond what was asked for, because granules are handed out whole: the mean.
    pub rounding: f64,
    /// Free bytes outside the largest free run: the mean.
    pub scattered: f64,
    /// The part of the free bytes outside the largest free run, 0 to 1: the mean.
    pub fragmentation: f64,
    /// How it was when allocations failed, the first 1,024 times.
    pub at_failures: Option<AtFailures>,
}

impl Memory {
    /// Bytes lost because granules are whole, inside allocations and at the ends of chunks: the mean.
    pub fn rounded(&self) -> f64 {
        self.cut_off as f64 + self.rounding
    }
}

/// How a pool was when allocations failed. All are means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AtFailures {
    /// Failures at which the pool was looked at.
    pub looks: u64,
    /// Bytes asked for.
    pub asked: f64,
    /// Free bytes.
    pub free: f64,
    /// Bytes of the largest free run.
    pub largest_run: f64,
}

/// The free part of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FreeSpace {
    /// Bytes.
    pub bytes: usize,
    /// Maximal runs of free granules.
    pub runs: usize,
    /// Bytes of the largest.
    pub largest: usize,
}

/// How a pool looked at some instants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// What `at` counts: `operations` or `seconds`.
    pub unit: &'static str,
    /// The address of the first byte of each row of the map.
    pub addresses: Vec<usize>,
    /// The instants, in order.
    pub points: Vec<Point>,
}

/// How a pool looked at one instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// When.
    pub at: f64,
    /// Free bytes.
    pub free: usize,
    /// Bytes taken.
    pub taken: usize,
    /// Maximal runs of free granules.
    pub free_runs: usize,
    /// Bytes of the largest of them.
    pub largest_run: usize,
    /// The part of the free bytes outside the largest run, 0 to 1.
    pub fragmentation: f64,
    /// How much of each row is taken, in percent.
    pub rows: Vec<u8>,
}

impl Point {
    /// The point of a look.
    pub fn new(at: f64, look: Look) -> Self {
        Self {
            at,
            fragmentation: look.fragmentation(),
            free: look.free,
            taken: look.taken,
            free_runs: look.free_runs,
            largest_run: look.largest_run,
            rows: look.rows,
        }
    }
}

impl Report {
    /// A report of `command` without anything in it.
    pub fn new(command: &'static str) -> Self {
        Self {
            format: "genpool report v1",
            command,
            version: env!("CARGO_PKG_VERSION"),
            about: Vec::new(),
            advice: Vec::new(),
            entries: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds to what the report is about.
    pub fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.about.push(Fact {
            name: name.to_owned(),
            value: value.into(),
        });
    }

    /// The whole report as one line of JSON. A figure that is no number, such as a speed without
    /// operations, is `null`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has neither maps nor failing parts")
    }

    /// The entries of each load, in the order of the first of them.
    pub fn loads(&self) -> Vec<(&str, Vec<&Entry>)> {
        let mut loads: Vec<(&str, Vec<&Entry>)> = Vec::new();
        for entry in &self.entries {
            match loads.iter_mut().find(|(load, _)| *load == entry.load) {
                Some((_, entries)) => entries.push(entry),
                None => loads.push((&entry.load, vec![entry])),
            }
        }
        loads
    }
}

#[cfg(test)]
mod tests;
