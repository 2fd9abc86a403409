//! What a run says: a head, a table, a verdict.

use std::fmt::Write;

use super::load::{Load, SAMPLE};
use super::plan::{FULL_PERCENT, Plan};
use super::{Outcome, Row, alignment, boundary};
use crate::memory::{HUGE_PAGE, Pages};
use crate::size::{Bytes, Grouped};
use crate::table::{Group, WIDTH, count, layout, microseconds};

/// A phase that stayed this many percent below the plan's fill is mentioned.
const FILL_TOLERANCE: u64 = 5;

/// Says what is going to be run, and on what.
pub fn head(plan: &Plan, pages: &Pages, pinned: bool) -> String {
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
        Pages::Ordinary { because } => {
            format!("ordinary pages, not huge ones:\n          {because}")
        }
    };
    let mut sizes = Bytes(plan.granule()).to_string();
    if plan.largest() > 1 {
        let _ = write!(
            sizes,
            " to {}, small ones most",
            Bytes(plan.largest() * plan.granule())
        );
    }
    format!(
        "pool      {} in {chunks}, granules of {}\n\
         memory    {pages}\n\
         threads   {threads}\n\
         load      allocations of {sizes}; the pool is kept {FULL_PERCENT} % full;\n          \
         each is written over its whole length, and checked before it is freed\n\
         time      {} s, shared by all algorithms\n",
        Bytes(plan.size()),
        Bytes(plan.granule()),
        plan.time().as_secs_f64(),
    )
}

/// The table, and what its columns mean.
pub fn table(plan: &Plan, outcome: &Outcome) -> String {
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
    let rows: Vec<Vec<String>> = outcome.rows.iter().map(cells).collect();
    let mut text = layout(&header, &groups, &rows);
    let _ = write!(
        text,
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
    );
    text.push_str(&notes(plan, outcome));
    text
}

fn cells(row: &Row) -> Vec<String> {
    let Row {
        name,
        lock_free,
        free,
        locked,
    } = row;
    let mutex = match locked {
        Some(locked) => [
            millions(locked.per_second),
            quantile(locked, 0.99),
            ratio(lock_free.per_second / locked.per_second),
        ],
        None => ["", "", ""].map(str::to_owned),
    };
    let largest = match free.bytes {
        0 => "-".to_owned(),
        bytes => format!("{:.0} %", free.largest as f64 * 100.0 / bytes as f64),
    };
    let mut cells = vec![
        name.clone(),
        millions(lock_free.per_second),
        quantile(lock_free, 0.5),
        quantile(lock_free, 0.99),
        quantile(lock_free, 0.999),
        count(lock_free.exhausted),
        count(lock_free.contended),
        count(free.runs as u64),
        largest,
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

fn quantile(load: &Load, quantile: f64) -> String {
    match load.latency.is_empty() {
        true => "-".to_owned(),
        false => microseconds(load.latency.value_at_quantile(quantile)),
    }
}

/// Says where a phase did not get the pool as full as the plan has it, so that its figures are of a
/// lighter load.
fn notes(plan: &Plan, outcome: &Outcome) -> String {
    let percent = |granules: usize| granules as u64 * 100 / plan.granules() as u64;
    let is_light = |load: &Load| percent(load.taken) + FILL_TOLERANCE < FULL_PERCENT as u64;
    let mut light = Vec::new();
    let mut text = String::new();
    for row in &outcome.rows {
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
            let _ = writeln!(
                text,
                "note     {name}: {held} % allocated, {taken} % with the gaps that the alignment leaves"
            );
        }
        if let Some(locked) = locked.as_ref().filter(|locked| is_light(locked)) {
            light.push(format!("{name} on the mutex {} %", percent(locked.taken)));
        }
    }
    if !light.is_empty() {
        let parts = light.join(", ");
        let all = format!("too little time or room to get the pool {FULL_PERCENT} % full: {parts}");
        text.push_str(&wrapped("note     ", &all));
    }
    text
}

/// Breaks `text` into lines of at most [`WIDTH`], behind `head` and then behind as much space.
fn wrapped(head: &str, text: &str) -> String {
    let mut all = String::new();
    let mut line = head.to_owned();
    let mut is_fresh = true;
    for word in text.split(' ') {
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            all.push_str(&line);
            all.push('\n');
            line = " ".repeat(head.len());
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
    }
    all + &line + "\n"
}

/// The last line of a run without fault.
pub fn verdict(outcome: &Outcome) -> String {
    let checked = outcome
        .rows
        .iter()
        .flat_map(|row| [Some(&row.lock_free), row.locked.as_ref()])
        .flatten()
        .map(|load| load.checked)
        .sum();
    format!(
        "{} allocations written and checked, 0 overlaps, all memory given back\n",
        Grouped(checked)
    )
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::super::FreeSpace;
    use super::super::plan::Wish;
    use super::*;

    /// Figures as wide as they get.
    fn load(latency: u64, held: usize) -> Load {
        let mut histogram = Histogram::new(2).unwrap();
        histogram.record(latency).unwrap();
        Load {
            per_second: 123_456_789.0,
            latency: histogram,
            exhausted: 12_345_678,
            contended: 12_345_678,
            checked: 1_000_000,
            held,
            taken: held,
        }
    }

    fn outcome(names: &[&str], latency: u64, held: usize) -> Outcome {
        let row = |name: &&str| Row {
            name: (*name).to_owned(),
            lock_free: load(latency, held),
            free: FreeSpace {
                bytes: 3,
                runs: 1_234_567,
                largest: 3,
            },
            locked: Some(load(latency, held)),
        };
        Outcome {
            rows: names.iter().map(row).collect(),
        }
    }

    fn plan() -> Plan {
        Plan::new(&Wish {
            seconds: 1.0,
            threads: 2,
            size: 1 << 20,
            order: 6,
            chunks: 4,
        })
        .unwrap()
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
            let text = table(&plan(), &outcome(&names, latency, held));
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
            let text = head(&plan(), &pages, true);
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
        }
    }

    #[test]
    fn the_verdict_counts_all() {
        assert_eq!(
            verdict(&outcome(&["a", "b"], 1, 1)),
            "4,000,000 allocations written and checked, 0 overlaps, all memory given back\n"
        );
    }

    #[test]
    fn figures() {
        assert_eq!(millions(123.0), "0.0001");
        assert_eq!(millions(3_164_000.0), "3.16");
        assert_eq!(millions(21_790_000.0), "21.8");
        assert_eq!(ratio(0.042), "0.04x");
        assert_eq!(ratio(2.04), "2.0x");
        assert_eq!(ratio(13.1), "13x");
        assert_eq!(ratio(1.0 / 0.0), "-");
    }

    #[test]
    fn wrapping() {
        let text = wrapped("note ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.trim_end().len() <= WIDTH));
        assert!(
            text.starts_with("note word") && text.lines().nth(1).unwrap().starts_with("     word")
        );
    }
}
