//! The text of a comparison for a terminal.

use crate::report::MOST_LOOKS;
use crate::report::{Entry, Report};
use crate::size::{Bytes, Grouped};
use crate::table::{Group, bytes, count, layout, nanoseconds, shorten, wrapped};

/// The longest path of a trace in a heading.
const LONGEST_PATH: usize = 90;

/// The longest name of an algorithm in the table.
const LONGEST_NAME: usize = 20;

/// Returns a table for each load, with the recommendation below it.
pub fn tables(report: &Report) -> String {
    let header = [
        "algorithm",
        "order",
        "failed",
        "rounding",
        "count",
        "largest",
        "part",
        "each",
        "p50",
        "p99",
    ];
    let groups = [
        Group {
            first: 4,
            title: "free runs",
        },
        Group {
            first: 7,
            title: "time of an operation",
        },
    ];
    let mut text = String::new();
    for (load, entries) in report.loads() {
        let advice = report
            .advice
            .iter()
            .find(|advice| advice.load.as_deref() == Some(load));
        let first = entries.first();
        let (size, allocs) = first.map_or((0, 0), |entry| (entry.given(), entry.operations.allocs));
        text.push_str(&format!(
            "{}\n{} allocations in {}\n",
            shorten(load, LONGEST_PATH),
            count(allocs),
            Bytes(size)
        ));
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|entry| {
                let is_best = advice.is_some_and(|advice| {
                    advice.algorithm == entry.algorithm && advice.order == entry.order
                });
                cells(entry, is_best)
            })
            .collect();
        text.push_str(&layout(&header, &groups, &rows));
        if let Some(advice) = advice {
            text.push_str(&advised(
                "use",
                &advice.algorithm,
                advice.order,
                &advice.reason,
            ));
        }
        text.push('\n');
    }
    for advice in report.advice.iter().filter(|advice| advice.load.is_none()) {
        text.push_str(&advised(
            "all: use",
            &advice.algorithm,
            advice.order,
            &advice.reason,
        ));
        text.push('\n');
    }
    text.push_str(&format!(
        "failed     allocations that found no room\n\
         rounding   lost as granules are whole, beyond what was asked for and at the ends of chunks: the mean\n\
         free runs  how many there are, and the largest of them: the mean\n\
         part       the largest as a part of all free: mean over the first {} failures, else over time\n\
         each       mean of an operation in the median of all runs; p50 and p99 are of single operations,\n\
         \x20          with the time to read the clock\n\
         rule       what fails least, of these wastes least (by rounding, and free outside the largest free\n\
         \x20          run; a hundredth of the pool is no difference), of these is fastest\n",
        Grouped(MOST_LOOKS)
    ));
    for note in &report.notes {
        text.push_str(&wrapped("note       ", note));
    }
    text
}

fn advised(whom: &str, algorithm: &str, order: u32, reason: &str) -> String {
    let head = format!("{whom} {algorithm} at order {order}:");
    wrapped("", &format!("{head} {reason}"))
}

fn cells(entry: &Entry, is_best: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let memory = entry.memory.as_ref();
    let largest = memory.map_or_else(dash, |memory| {
        let part = match &memory.at_failures {
            Some(failures) => failures.largest_run / failures.free.max(1.0),
            None => 1.0 - memory.fragmentation,
        };
        format!("{:.0} %", part * 100.0)
    });
    let time = |ns: Option<f64>| ns.map_or_else(dash, nanoseconds);
    let latency = entry.latency.as_ref();
    vec![
        format!(
            "{} {}",
            if is_best { "▸" } else { " " },
            shorten(&entry.algorithm, LONGEST_NAME)
        ),
        entry.order.to_string(),
        count(entry.operations.failed),
        memory.map_or_else(dash, |memory| bytes(memory.rounded())),
        memory.map_or_else(dash, |memory| count(memory.free_runs.round() as u64)),
        memory.map_or_else(dash, |memory| bytes(memory.largest_run)),
        largest,
        time(entry.speed.map(|speed| speed.ns)),
        time(latency.map(|latency| latency.p50 as f64)),
        time(latency.map(|latency| latency.p99 as f64)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::columns;
    use crate::report::{Advice, AtFailures, Latency, Memory, Operations, Speed};
    use crate::table::WIDTH;

    fn widest() -> Entry {
        Entry {
            load: "a/軍".repeat(80),
            algorithm: "first-fit-align:0x8000000000".to_owned(),
            pool: "lock-free",
            order: 63,
            size: usize::MAX,
            threads: 1,
            operations: Operations {
                failed: 99_999,
                ..Operations::default()
            },
            speed: Speed::of_runs(vec![12_300_000.0]),
            latency: Some(Latency {
                of: "operation",
                count: 1,
                p50: 12_300_000,
                p90: 0,
                p99: 12_300_000,
                p999: 0,
                max: 0,
                bins: Vec::new(),
            }),
            memory: Some(Memory {
                rounding: 1023.0 * 1024.0,
                scattered: 1023.0 * 1024.0,
                free_runs: 99_999.0,
                largest_run: 1023.0 * 1024.0,
                at_failures: Some(AtFailures {
                    free: 1.0,
                    largest_run: 1.0,
                    ..AtFailures::default()
                }),
                ..Memory::default()
            }),
            free_at_end: None,
            timeline: None,
        }
    }

    #[test]
    fn everything_fits_the_width() {
        let entry = widest();
        let mut report = Report::new("compare");
        report.advice.push(Advice {
            load: Some(entry.load.clone()),
            algorithm: entry.algorithm.clone(),
            order: 63,
            reason: "a reason that is rather long ".repeat(4),
        });
        report.entries.push(entry);
        for line in tables(&report).lines() {
            assert!(columns(line) <= WIDTH, "{line}");
        }
    }

    #[test]
    fn the_one_that_is_advised_is_marked() {
        let mut report = Report::new("compare");
        for (algorithm, order) in [("x", 4), ("x", 6), ("y", 4)] {
            report.entries.push(Entry {
                load: "load".to_owned(),
                algorithm: algorithm.to_owned(),
                order,
                memory: Some(Memory {
                    fragmentation: 0.25,
                    at_failures: (order == 6).then(|| AtFailures {
                        free: 8.0,
                        largest_run: 2.0,
                        ..AtFailures::default()
                    }),
                    ..Memory::default()
                }),
                ..widest()
            });
        }
        for load in ["load", "another"] {
            report.advice.push(Advice {
                load: Some(load.to_owned()),
                algorithm: "x".to_owned(),
                order: if load == "load" { 6 } else { 4 },
                reason: format!("of {load}"),
            });
        }
        let text = tables(&report);
        let marked: Vec<_> = text.lines().filter(|line| line.contains('▸')).collect();
        assert_eq!(marked.len(), 1, "{text}");
        let words: Vec<_> = marked[0].split_whitespace().collect();
        assert_eq!(words[..3], ["▸", "x", "6"], "{text}");
        // The largest run as a part of what is free: at failures, or over time.
        assert!(marked[0].contains(" 25 % "), "{text}");
        assert_eq!(text.matches(" 75 % ").count(), 2, "{text}");
        assert!(text.contains("use x at order 6: of load\n"), "{text}");
    }
}
