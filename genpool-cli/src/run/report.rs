//! The report of a run: facts, a table, notes and a verdict.

use super::load::{Load, SAMPLE};
use super::plan::{FULL_PERCENT, Plan};
use super::{Outcome, Row, alignment, boundary};
use crate::memory::{HUGE_PAGE, Pages};
use crate::report::{Entry, Latency, Operations, Report, Speed};
use crate::size::{Bytes, Grouped};
use crate::table::{Group, count, layout, microseconds, wrapped};

/// A phase that stayed this many percent below the plan's fill is mentioned.
const FILL_TOLERANCE: u64 = 5;

/// Returns a report that says what will be run, and on what.
pub fn head(plan: &Plan, pages: &Pages, pinned: bool) -> Report {
    let chunks = match plan.chunk_count() {
        1 => "1 chunk".to_owned(),
        n => format!("{n} chunks"),
    };
    let threads = match (plan.threads(), pinned) {
        (1, true) => "1, pinned to a core".to_owned(),
        (n, true) => format!("{n}, each pinned to a core"),
        (n, false) => format!("{n}, not pinned to cores"),
    };
    let pages = match pages {
        Pages::Huge => format!("huge pages of {}", Bytes(HUGE_PAGE)),
        Pages::Ordinary { because } => format!("ordinary pages, not huge ones: {because}"),
    };
    let mut sizes = Bytes(plan.granule()).to_string();
    if plan.largest() > 1 {
        let largest = Bytes(plan.largest() * plan.granule());
        sizes = format!("{sizes} to {largest}, small ones most");
    }
    let (size, granule) = (Bytes(plan.size()), Bytes(plan.granule()));
    let mut report = Report::new("run");
    report.fact("pool", format!("{size} in {chunks}, granules of {granule}"));
    report.fact("memory", pages);
    report.fact("threads", threads);
    report.fact(
        "load",
        format!(
            "allocations of {sizes}; the pool is kept {FULL_PERCENT} % full; each is written over its whole length, \
             and checked before it is freed"
        ),
    );
    let seconds = plan.time().as_secs_f64();
    report.fact("time", format!("{seconds} s, shared by all algorithms"));
    report
}

/// Adds the results of the run to `report`.
pub fn add(report: &mut Report, plan: &Plan, outcome: Outcome) {
    report.notes.extend(notes(plan, &outcome));
    for row in outcome.rows {
        let entry = |pool, load: &Load| Entry {
            load: format!("random sizes with the pool {FULL_PERCENT} % full"),
            algorithm: row.name.clone(),
            pool,
            order: plan.order(),
            size: plan.size(),
            threads: row.threads,
            operations: Operations {
                all: load.operations,
                allocs: load.allocs,
                failed: load.exhausted + load.contended,
                contended: load.contended,
                checked: load.checked,
            },
            speed: speed(load, row.threads),
            latency: Latency::new("alloc", &load.latency),
            memory: None,
            free_at_end: None,
            timeline: None,
        };
        let mut lock_free = entry("lock-free", &row.lock_free);
        lock_free.free_at_end = Some(row.free);
        let locked = row.locked.as_ref().map(|load| entry("mutex", load));
        lock_free.timeline = row.timeline.filter(|_| row.threads == plan.threads());
        report.entries.push(lock_free);
        report.entries.extend(locked);
    }
}

fn speed(load: &Load, threads: usize) -> Option<Speed> {
    let ns = threads as f64 * 1e9 / load.per_second;
    (load.per_second > 0.0).then_some(Speed {
        ns,
        ns_low: ns,
        ns_high: ns,
        per_second: load.per_second,
        runs: 1,
    })
}

/// Returns the table of the runs with all threads, and an explanation of its columns.
pub fn table(plan: &Plan, report: &Report) -> String {
    let header = [
        "algorithm",
        "Mops/s",
        "p50",
        "p99",
        "p99.9",
        "full",
        "raced",
        "runs",
        "largest",
        "Mops/s",
        "p99",
        "ratio",
    ];
    let groups = [
        Group {
            first: 2,
            title: "alloc time, µs",
        },
        Group {
            first: 5,
            title: "failed",
        },
        Group {
            first: 7,
            title: "free at end",
        },
        Group {
            first: 9,
            title: "one mutex",
        },
    ];
    let full = |entry: &&Entry| entry.threads == plan.threads();
    let entries: Vec<&Entry> = report.entries.iter().filter(full).collect();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .filter(|entry| entry.pool == "lock-free")
        .map(|entry| {
            let is_same =
                |other: &&&Entry| other.pool == "mutex" && other.algorithm == entry.algorithm;
            cells(entry, entries.iter().find(is_same).copied())
        })
        .collect();
    let mut text = layout(&header, &groups, &rows);
    text.push_str(&format!(
        "Mops/s   million allocations and frees a second, by all threads together; writing and checking\n         \
         the memory takes its part of the time, and as much of it with the mutex\n\
         alloc    one in {SAMPLE} is timed; the time to read the clock twice is in it\n\
         failed   for want of room (exhausted), or finding none while others kept moving (contended)\n\
         free     runs of free granules, and the largest of them as a part of all that is free\n\
         mutex    the same work on a plain bitmap under one mutex; ratio: lock-free to mutex, in Mops/s\n\
         \x20        where it has the algorithm\n\
         here     aligned is first fit at multiples of {}; constrained is first fit that crosses no\n         \
         multiple of {}; fixed are places drawn at random, full if all draws are taken\n",
        Bytes(alignment(plan)),
        Bytes(boundary(plan)),
    ));
    for note in &report.notes {
        text.push_str(&wrapped("note     ", note));
    }
    text
}

fn cells(entry: &Entry, locked: Option<&Entry>) -> Vec<String> {
    let dash = || "-".to_owned();
    let time = |entry: &Entry, of: fn(&Latency) -> u64| {
        let latency = entry.latency.as_ref();
        latency.map_or_else(dash, |latency| microseconds(of(latency)))
    };
    let rate = |entry: &Entry| entry.speed.map_or(0.0, |speed| speed.per_second);
    let mutex = match locked {
        Some(locked) => [
            millions(rate(locked)),
            time(locked, |latency| latency.p99),
            ratio(rate(entry) / rate(locked)),
        ],
        None => ["", "", ""].map(str::to_owned),
    };
    let free = entry.free_at_end;
    let mut cells = vec![
        entry.algorithm.clone(),
        millions(rate(entry)),
        time(entry, |latency| latency.p50),
        time(entry, |latency| latency.p99),
        time(entry, |latency| latency.p999),
        count(entry.operations.failed - entry.operations.contended),
        count(entry.operations.contended),
        free.map_or_else(dash, |free| count(free.runs as u64)),
        match free {
            Some(free) if free.bytes > 0 => {
                format!("{:.0} %", free.largest as f64 * 100.0 / free.bytes as f64)
            }
            Some(_) | None => dash(),
        },
    ];
    cells.extend(mutex);
    cells
}

fn millions(per_second: f64) -> String {
    match per_second / 1e6 {
        millions if millions >= 99.95 => format!("{millions:.0}"),
        millions if millions >= 9.995 => format!("{millions:.1}"),
        millions if millions >= 0.0995 => format!("{millions:.2}"),
        millions => format!("{millions:.4}"),
    }
}

fn ratio(ratio: f64) -> String {
    match ratio {
        ratio if !ratio.is_finite() => "-".to_owned(),
        ratio if ratio >= 9.95 => format!("{ratio:.0}x"),
        ratio if ratio >= 0.95 => format!("{ratio:.1}x"),
        ratio => format!("{ratio:.2}x"),
    }
}

/// Notes the phases with all threads that did not fill the pool as the plan requires, so that their figures are of a
/// lighter load.
fn notes(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let percent = |granules: usize| granules as u64 * 100 / plan.granules() as u64;
    let is_light = |load: &Load| percent(load.taken) + FILL_TOLERANCE < FULL_PERCENT as u64;
    let mut light = Vec::new();
    let mut notes = Vec::new();
    let full = |row: &&Row| row.threads == plan.threads();
    for row in outcome.rows.iter().filter(full) {
        let Row {
            name,
            lock_free,
            locked,
            ..
        } = row;
        let (held, taken) = (percent(lock_free.held), percent(lock_free.taken));
        if is_light(lock_free) {
            light.push(format!("{name} {taken} %"));
        } else if held + FILL_TOLERANCE < taken {
            notes.push(format!(
                "{name}: {held} % allocated, {taken} % with the gaps that the alignment leaves"
            ));
        }
        if let Some(locked) = locked.as_ref().filter(|locked| is_light(locked)) {
            light.push(format!("{name} on the mutex {} %", percent(locked.taken)));
        }
    }
    if !light.is_empty() {
        let parts = light.join(", ");
        notes.push(format!(
            "too little time or room to get the pool {FULL_PERCENT} % full: {parts}"
        ));
    }
    notes
}

/// Returns the last line of a run without faults.
pub fn verdict(report: &Report) -> String {
    let entries = report.entries.iter();
    let checked = entries.map(|entry| entry.operations.checked).sum();
    format!(
        "{} allocations written and checked, 0 overlaps, all memory given back\n",
        Grouped(checked)
    )
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::super::plan::Wish;
    use super::*;
    use crate::report::{FreeSpace, Timeline};
    use crate::table::{WIDTH, facts};

    /// Figures of the greatest width.
    fn load(latency: u64, held: usize) -> Load {
        let mut histogram = Histogram::new(2).unwrap();
        histogram.record(latency).unwrap();
        Load {
            operations: 1,
            per_second: 123_456_789.0,
            latency: histogram,
            allocs: 30_000_000,
            exhausted: 12_345_678,
            contended: 12_345_678,
            checked: 1_000_000,
            held,
            taken: held,
        }
    }

    fn row(name: &str, latency: u64, held: usize) -> Row {
        Row {
            name: name.to_owned(),
            threads: 2,
            lock_free: load(latency, held),
            free: FreeSpace {
                bytes: 3,
                runs: 1_234_567,
                largest: 3,
            },
            timeline: None,
            locked: Some(load(latency, held)),
        }
    }

    fn report_of(rows: Vec<Row>) -> Report {
        let mut report = Report::new("run");
        add(&mut report, &plan(), Outcome { rows });
        report
    }

    fn report(names: &[&str], latency: u64, held: usize) -> Report {
        report_of(names.iter().map(|name| row(name, latency, held)).collect())
    }

    fn plan_of(size: usize, order: u32) -> Plan {
        Plan::new(&Wish {
            seconds: 1.0,
            threads: 2,
            size,
            order,
            chunks: 4,
        })
        .unwrap()
    }

    fn plan() -> Plan {
        plan_of(1 << 20, 6)
    }

    #[test]
    fn everything_fits_the_width() {
        let names = [
            "first fit",
            "aligned 256 MiB",
            "order-aligned",
            "best fit",
            "constrained",
        ];
        for (latency, held) in [(12_345_678, 0), (50, 0), (50, 1 << 14)] {
            let text = table(&plan(), &report(&names, latency, held));
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert_eq!(text.contains("too little time or room"), held == 0);
        }
        for pages in [
            Pages::Huge,
            Pages::Ordinary {
                because: "none are free".to_owned(),
            },
        ] {
            let text = facts(&head(&plan(), &pages, true));
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
        }
    }

    #[test]
    fn the_head_names_the_sizes_of_allocations() {
        let sizes = |plan: &Plan| facts(&head(plan, &Pages::Huge, true));
        let text = sizes(&plan());
        let several = "allocations of 64 B to 1 KiB, small ones most; the pool";
        assert!(text.contains(several), "{text}");
        assert!(text.contains("1 MiB in 4 chunks"), "{text}");
        assert!(text.contains("1 s, shared by all"), "{text}");
        let text = sizes(&plan_of(4 << 12, 12));
        assert!(text.contains("allocations of 4 KiB; the pool"), "{text}");
    }

    #[test]
    fn the_table_has_a_row_for_each_algorithm_with_all_threads() {
        let alone = Row {
            threads: 1,
            ..row("a", 50, 0)
        };
        let mut a = row("a", 50, 0);
        a.locked.as_mut().unwrap().per_second /= 2.0;
        let mut b = row("b", 50, 0);
        b.lock_free.contended = 3;
        b.locked.as_mut().unwrap().per_second /= 20.0;
        let mut c = row("c", 50, 0);
        (c.locked, c.free.largest) = (None, 1);
        let text = table(&plan(), &report_of(vec![alone, a, b, c]));
        for says in ["multiples of 256 B;", "multiple of 4 KiB;"] {
            assert!(text.contains(says), "{says}: {text}");
        }
        let cells = text.lines().map(|line| line.split_whitespace().collect());
        let rows: Vec<Vec<&str>> = cells
            .filter(|cells: &Vec<&str>| matches!(cells.first(), Some(&("a" | "b" | "c"))))
            .collect();
        let times = "0.05 0.05 0.05";
        let expected = [
            format!("a 123 {times} 12M 12M 1234k 100 % 61.7 0.05 2.0x"),
            format!("b 123 {times} 12M 3 1234k 100 % 6.17 0.05 20x"),
            format!("c 123 {times} 12M 12M 1234k 33 %"),
        ];
        assert_eq!(
            rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn the_time_of_an_operation_is_of_one_thread() {
        let mut load = load(50, 0);
        load.per_second = 1e6;
        let found = speed(&load, 2).unwrap();
        assert_eq!((found.ns, found.ns_low, found.ns_high), (2e3, 2e3, 2e3));
        load.per_second = 0.0;
        assert_eq!(speed(&load, 2), None);
    }

    #[test]
    fn timelines_are_of_the_runs_with_all_threads() {
        let rows = [1, 2].map(|threads| Row {
            threads,
            timeline: Some(Timeline {
                unit: "seconds",
                addresses: Vec::new(),
                points: Vec::new(),
            }),
            ..row("a", 50, 0)
        });
        let entries = report_of(rows.into()).entries;
        let with = entries.iter().filter(|entry| entry.timeline.is_some());
        let with: Vec<_> = with.map(|entry| (entry.threads, entry.pool)).collect();
        assert_eq!(with, [(2, "lock-free")]);
    }

    #[test]
    fn light_loads_and_gaps_are_noted() {
        let percent = |percent: usize| (plan().granules() * percent).div_ceil(100);
        let noted = |held, taken, on_mutex| {
            let mut row = row("a", 50, percent(held));
            row.lock_free.taken = percent(taken);
            row.locked.as_mut().unwrap().taken = percent(on_mutex);
            notes(&plan(), &Outcome { rows: vec![row] })
        };
        assert!(noted(65, 65, 65).is_empty());
        assert!(noted(65, 70, 70).is_empty());
        let light = "too little time or room to get the pool 70 % full: ";
        assert_eq!(noted(64, 64, 65), [format!("{light}a 64 %")]);
        assert_eq!(noted(65, 65, 64), [format!("{light}a on the mutex 64 %")]);
        let gaps = "a: 64 % allocated, 70 % with the gaps that the alignment leaves";
        assert_eq!(noted(64, 70, 70), [gaps]);
    }

    #[test]
    fn the_verdict_counts_all() {
        assert_eq!(
            verdict(&report(&["a", "b"], 1, 1)),
            "4,000,000 allocations written and checked, 0 overlaps, all memory given back\n"
        );
    }

    #[test]
    fn figures() {
        assert_eq!(millions(123.0), "0.0001");
        assert_eq!(millions(3_164_000.0), "3.16");
        assert_eq!(millions(21_790_000.0), "21.8");
        assert_eq!(millions(99_960_000.0), "100");
        assert_eq!(ratio(0.042), "0.04x");
        assert_eq!(ratio(2.04), "2.0x");
        assert_eq!(ratio(13.1), "13x");
        assert_eq!(ratio(1.0 / 0.0), "-");
    }
}
