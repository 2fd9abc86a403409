//! A report as CSV: one table, in which each line is one figure of one entry. Any program can then pick what it plots.
//!
//! | column | |
//! |---|---|
//! | `load`, `algorithm`, `pool`, `order`, `threads` | the entry |
//! | `figure` | the name of the figure, such as `failed`, `p99_ns` or `largest_run_bytes` |
//! | `at` | the time of the figure, in operations or seconds; empty if it does not change over time |
//! | `address` | the first address of the row, for `taken_percent`; empty for others |
//! | `value` | the value of the figure |
//!
//! For `latency_count`, `at` is the longest time, in nanoseconds, that it counts. Rows of an occupancy map with nothing
//! taken are left out. Notes and facts are in JSON only.
//!
//! The names of loads and algorithms are untrusted text, and stay text in a spreadsheet. A name that begins like a
//! formula (`=`, `+`, `-`, `@`) is prefixed with an apostrophe. Characters that are not printed, including tabs and
//! line breaks, become U+FFFD. All other columns are numbers or names from this program, unchanged.

use std::fmt::{Display, Write};

use super::{Entry, Report};
use crate::plain::Plain;

/// The first line.
pub const HEADER: &str = "load,algorithm,pool,order,threads,figure,at,address,value";

/// Returns the table.
pub fn table(report: &Report) -> String {
    let mut text = format!("{HEADER}\n");
    for entry in &report.entries {
        let mut lines = Lines {
            head: format!(
                "{},{},{},{},{}",
                field(&entry.load),
                field(&entry.algorithm),
                entry.pool,
                entry.order,
                entry.threads
            ),
            text: &mut text,
        };
        lines.entry(entry);
    }
    text
}

/// The lines of one entry.
struct Lines<'t> {
    head: String,
    text: &'t mut String,
}

impl Lines<'_> {
    fn line(&mut self, figure: &str, at: impl Display, address: impl Display, value: impl Display) {
        let _ = writeln!(self.text, "{},{figure},{at},{address},{value}", self.head);
    }

    fn one(&mut self, figure: &str, value: impl Display) {
        self.line(figure, "", "", value);
    }

    fn entry(&mut self, entry: &Entry) {
        self.one("size_bytes", entry.size);
        self.one("operations", entry.operations.all);
        self.one("allocs", entry.operations.allocs);
        self.one("failed", entry.operations.failed);
        self.one("contended", entry.operations.contended);
        self.one("checked", entry.operations.checked);
        if let Some(speed) = entry.speed {
            self.one("ns", speed.ns);
            self.one("ns_low", speed.ns_low);
            self.one("ns_high", speed.ns_high);
            self.one("per_second", speed.per_second);
            self.one("runs", speed.runs);
        }
        if let Some(memory) = entry.memory {
            self.one("peak_asked_bytes", memory.peak_asked);
            self.one("peak_taken_bytes", memory.peak_taken);
            self.one("cut_off_bytes", memory.cut_off);
            self.one("rounding_bytes", memory.rounding);
            self.one("scattered_bytes", memory.scattered);
            self.one("fragmentation", memory.fragmentation);
            self.one("mean_free_runs", memory.free_runs);
            self.one("mean_largest_run_bytes", memory.largest_run);
            if let Some(failures) = memory.at_failures {
                self.one("failures_looked_at", failures.looks);
                self.one("failures_asked_bytes", failures.asked);
                self.one("failures_free_bytes", failures.free);
                self.one("failures_largest_run_bytes", failures.largest_run);
            }
        }
        if let Some(free) = entry.free_at_end {
            self.one("free_at_end_bytes", free.bytes);
            self.one("free_at_end_runs", free.runs);
            self.one("free_at_end_largest_bytes", free.largest);
        }
        if let Some(latency) = &entry.latency {
            self.one("p50_ns", latency.p50);
            self.one("p90_ns", latency.p90);
            self.one("p99_ns", latency.p99);
            self.one("p99.9_ns", latency.p999);
            self.one("max_ns", latency.max);
            for bin in &latency.bins {
                self.line("latency_count", bin.ns, "", bin.count);
            }
        }
        if let Some(timeline) = &entry.timeline {
            for point in &timeline.points {
                self.line("taken_bytes", point.at, "", point.taken);
                self.line("free_bytes", point.at, "", point.free);
                self.line("free_runs", point.at, "", point.free_runs);
                self.line("largest_run_bytes", point.at, "", point.largest_run);
                self.line("fragmentation_then", point.at, "", point.fragmentation);
                let rows = timeline.addresses.iter().zip(&point.rows);
                for (address, &percent) in rows.filter(|(_, percent)| **percent > 0) {
                    self.line("taken_percent", point.at, address, percent);
                }
            }
        }
    }
}

/// The characters that make a spreadsheet calculate a cell, including their wide forms.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// Returns a text as a field that is displayed as text: see the module's documentation.
fn field(text: &str) -> String {
    let text = Plain(text).to_string();
    let mark = if text.starts_with(FORMULA) { "'" } else { "" };
    match text.contains([',', ';', '"']) {
        true => format!("\"{mark}{}\"", text.replace('"', "\"\"")),
        false => format!("{mark}{text}"),
    }
}
