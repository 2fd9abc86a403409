//! The results of `run`, `replay` and `compare`, in a common form. It can be written as a page of HTML ([`html`]), JSON
//! ([`Report::to_json`]), CSV ([`csv`]) or tables on a terminal.
//!
//! All times are in nanoseconds, and all sizes and addresses in bytes, unless a name says otherwise.

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

/// The number of failures at which the pool is examined. That is linear in the granules, and a trace may have millions
/// of failures; means change little after the first thousand (2026-11).
pub(crate) const MOST_LOOKS: u64 = 1024;

/// The instants at which a pool is examined for a [`Timeline`]. 160 columns (2026-11) are still distinguishable in a
/// map 900 pixels wide, and cost little for a trace of a few thousand operations.
pub const COLUMNS: usize = 160;

/// The rows of an occupancy map. 48 (2026-11) keep a map in JSON at some 20 KiB.
pub const ROWS: usize = 48;

/// All results of a command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The name and version of this format: `genpool report v1`.
    pub format: &'static str,
    /// The command: `run`, `replay` or `compare`.
    pub command: &'static str,
    /// The version of the command.
    pub version: &'static str,
    /// What was run, and on what.
    pub about: Vec<Fact>,
    /// The recommended entry for each load, and then for all of them.
    pub advice: Vec<Advice>,
    /// The figures.
    pub entries: Vec<Entry>,
    /// Notes for a reader of the figures.
    pub notes: Vec<String>,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// The recommended algorithm and order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The load, or `None` if this is for all of them.
    pub load: Option<String>,
    /// The algorithm.
    pub algorithm: String,
    /// The order.
    pub order: u32,
    /// The reason, and which others are as good.
    pub reason: String,
}

/// One load on one pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The trace's file, or a description of the load.
    pub load: String,
    /// The algorithm.
    pub algorithm: String,
    /// The kind of pool: `lock-free` or `mutex`.
    pub pool: &'static str,
    /// The order: a granule is `1 << order` bytes.
    pub order: u32,
    /// Bytes in all chunks.
    pub size: usize,
    /// The number of threads that allocate.
    pub threads: usize,
    /// Allocations and frees that were counted.
    pub operations: Operations,
    /// How fast it was.
    pub speed: Option<Speed>,
    /// The time of single operations.
    pub latency: Option<Latency>,
    /// How well the memory was used.
    pub memory: Option<Memory>,
    /// The free part of the pool when the load ended.
    pub free_at_end: Option<FreeSpace>,
    /// The state of the pool over time.
    pub timeline: Option<Timeline>,
}

impl Entry {
    /// Returns the bytes in all chunks of the load, including those that the pool lacks because of its order.
    pub fn given(&self) -> usize {
        let cut_off = self.memory.map_or(0, |memory| memory.cut_off);
        self.size.saturating_add(cut_off)
    }

    /// Returns the mean part of the given bytes that was of no use, 0 to 1.
    pub fn wasted(&self) -> Option<f64> {
        let memory = self.memory?;
        Some((memory.rounded() + memory.scattered) / self.given().max(1) as f64)
    }
}

/// Numbers of operations. For a trace, those of playing it once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// Allocations and frees. Frees of failed allocations do nothing and do not count. With several threads, failed
    /// allocations do not count either.
    pub all: u64,
    /// Requested allocations.
    pub allocs: u64,
    /// Allocations that failed, for whatever reason.
    pub failed: u64,
    /// Allocations that failed because other threads interfered too often.
    pub contended: u64,
    /// Allocations whose memory was written over and checked.
    pub checked: u64,
}

/// The time of an operation, from the time of many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Mean time of an operation; the median of all runs.
    pub ns: f64,
    /// The lower quartile of the runs. If it lies between two runs, it is the one further from the median, so that the
    /// quartiles of three runs are the fastest and the slowest.
    pub ns_low: f64,
    /// The upper quartile of the runs, chosen likewise.
    pub ns_high: f64,
    /// Operations per second, by all threads together.
    pub per_second: f64,
    /// The number of runs.
    pub runs: u32,
}

impl Speed {
    /// Returns the speed of single-threaded runs, given the nanoseconds per operation of each. `None` if there are no
    /// runs.
    pub fn of_runs(mut ns: Vec<f64>) -> Option<Self> {
        ns.sort_unstable_by(f64::total_cmp);
        let last = ns.len().checked_sub(1)?;
        // The lower of two in the middle, because a disturbance makes a run longer.
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

/// The times of single operations, including the reading of the clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// What was timed: `alloc` or `operation`.
    pub of: &'static str,
    /// The number of operations.
    pub count: u64,
    /// Half of them took at most this long.
    pub p50: u64,
    /// 90 % of them took at most this long.
    pub p90: u64,
    /// 99 % of them took at most this long.
    pub p99: u64,
    /// 99.9 % of them took at most this long.
    pub p999: u64,
    /// The longest time.
    pub max: u64,
    /// All of them, in bins of growing width.
    pub bins: Vec<Bin>,
}

/// Operations that took about equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The longest time in this bin.
    pub ns: u64,
    /// How many operations took longer than the previous bin, and at most this long.
    pub count: u64,
}

impl Latency {
    /// Each bin is wider than the previous one by this factor.
    const GROWTH: f64 = 1.05;

    /// Returns the content of a histogram, or `None` if it is empty.
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

/// How well a pool used its memory. Means are over the operations of a trace, or over the instants of a timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// The most bytes that were requested and held at one time.
    pub peak_asked: usize,
    /// The most bytes taken at one time.
    pub peak_taken: usize,
    /// Bytes at the ends of the load's chunks that do not fill a granule of this order, so that the pool lacks them.
    pub cut_off: usize,
    /// Mean bytes taken beyond the requested ones, because granules are handed out whole.
    pub rounding: f64,
    /// Mean free bytes outside the largest free run.
    pub scattered: f64,
    /// Mean part of the free bytes outside the largest free run, 0 to 1.
    pub fragmentation: f64,
    /// Mean number of maximal runs of free granules.
    pub free_runs: f64,
    /// Mean bytes of the largest of these runs.
    pub largest_run: f64,
    /// The state of the pool at the first 1,024 failed allocations.
    pub at_failures: Option<AtFailures>,
}

impl Memory {
    /// Returns the mean bytes lost because granules are whole, inside allocations and at the ends of chunks.
    pub fn rounded(&self) -> f64 {
        self.cut_off as f64 + self.rounding
    }
}

/// The state of a pool when allocations failed. All figures but `looks` are means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AtFailures {
    /// Failures at which the pool was examined.
    pub looks: u64,
    /// Requested bytes.
    pub asked: f64,
    /// Free bytes.
    pub free: f64,
    /// Bytes of the largest free run.
    pub largest_run: f64,
}

/// The free part of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FreeSpace {
    /// Free bytes.
    pub bytes: usize,
    /// Maximal runs of free granules.
    pub runs: usize,
    /// Bytes of the largest run.
    pub largest: usize,
}

/// The state of a pool at some instants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// The unit of `at`: `operations` or `seconds`.
    pub unit: &'static str,
    /// The address of the first byte of each row of the map.
    pub addresses: Vec<usize>,
    /// The instants, in order.
    pub points: Vec<Point>,
}

/// The state of a pool at one instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The time.
    pub at: f64,
    /// Free bytes.
    pub free: usize,
    /// Bytes taken.
    pub taken: usize,
    /// Maximal runs of free granules.
    pub free_runs: usize,
    /// Bytes of the largest of these runs.
    pub largest_run: usize,
    /// The part of the free bytes outside the largest run, 0 to 1.
    pub fragmentation: f64,
    /// The taken part of each row, in percent.
    pub rows: Vec<u8>,
}

impl Point {
    /// Returns the point for a look.
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
    /// Returns an empty report of `command`.
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

    /// Adds a fact about what was run.
    pub fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.about.push(Fact {
            name: name.to_owned(),
            value: value.into(),
        });
    }

    /// Returns the whole report as one line of JSON. A figure that is not a number, such as a speed without operations,
    /// is `null`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has neither maps nor failing parts")
    }

    /// Returns the entries of each load, with loads in the order of their first entries.
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
