//! Recommends a contestant, with the reason, in one line.

use crate::report::{Advice, Entry};
use crate::table::{nanoseconds, shorten};

/// Waste within this part of the pool counts as equal: nobody chooses an algorithm for less.
const WASTE_TIE: f64 = 0.01;

/// The most names of equals, and of missing traces, that are listed; and the longest name of a trace.
const NAMED: usize = 2;
const LONGEST_NAME: usize = 40;

/// The figures of a contestant that the rule uses, over one load or several.
struct Figures<'r> {
    algorithm: &'r str,
    order: u32,
    allocs: u64,
    failed: u64,
    /// The wasted part of the memory that the load gives the pool.
    wasted: f64,
    speed: Option<Times>,
}

/// Nanoseconds of an operation, or its ratio to the fastest: median and quartiles.
#[derive(Clone, Copy)]
struct Times {
    low: f64,
    median: f64,
    high: f64,
}

impl Times {
    /// Returns the ratios to a time.
    fn over(self, time: f64) -> Self {
        Self {
            low: self.low / time,
            median: self.median / time,
            high: self.high / time,
        }
    }

    fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Self {
            low: mean(|times| times.low),
            median: mean(|times| times.median),
            high: mean(|times| times.high),
        }
    }
}

impl<'r> Figures<'r> {
    fn of(entry: &'r Entry) -> Self {
        Self {
            algorithm: &entry.algorithm,
            order: entry.order,
            allocs: entry.operations.allocs,
            failed: entry.operations.failed,
            wasted: entry.wasted().unwrap_or(0.0),
            speed: entry.speed.map(|speed| Times {
                low: speed.ns_low,
                median: speed.ns,
                high: speed.ns_high,
            }),
        }
    }

    fn median(&self) -> f64 {
        self.speed.map_or(f64::INFINITY, |speed| speed.median)
    }
}

/// Recommends one of the entries of one load: the one that fails least; among equals, the one that wastes least, where
/// a hundredth of the pool makes no difference; among those, the fastest. Entries that are equally fast, within the
/// quartiles of the runs, are named. Returns `None` if no allocation succeeded.
pub fn advise(load: &str, entries: &[&Entry]) -> Option<Advice> {
    let figures: Vec<Figures<'_>> = entries.iter().map(|entry| Figures::of(entry)).collect();
    rule(&figures, |ns| Some(nanoseconds(ns))).map(|(best, reason)| Advice {
        load: Some(load.to_owned()),
        algorithm: best.algorithm.to_owned(),
        order: best.order,
        reason,
    })
}

/// Recommends one contestant for several loads, among those that have an entry for all of them. Failures are added up;
/// waste and time are means, after dividing times by the load's fastest. A load without allocations is not considered.
/// It is named as missing, like those in `missing`. Returns `None` if fewer than two loads remain, or if no contestant
/// has an entry for all of them.
pub fn advise_all(loads: &[(&str, Vec<&Entry>)], missing: &[String]) -> Option<Advice> {
    let allocates = |entries: &[&Entry]| entries.iter().any(|entry| entry.operations.allocs > 0);
    let (loads, idle): (Vec<_>, Vec<_>) = loads.iter().partition(|(_, entries)| allocates(entries));
    let idle = idle.iter().map(|(load, _)| *load);
    let missing: Vec<&str> = missing.iter().map(String::as_str).chain(idle).collect();
    let (first, others) = loads.split_first()?;
    if others.is_empty() {
        return None;
    }
    let fastest: Vec<f64> = loads
        .iter()
        .map(|(_, entries)| entries.iter().map(|entry| Figures::of(entry).median()))
        .map(|medians| medians.fold(f64::INFINITY, f64::min))
        .collect();
    let mut figures = Vec::new();
    for entry in &first.1 {
        let same =
            |other: &&&Entry| other.algorithm == entry.algorithm && other.order == entry.order;
        let of_all: Option<Vec<&Entry>> = loads
            .iter()
            .map(|(_, entries)| entries.iter().find(same).copied())
            .collect();
        let Some(of_all) = of_all else { continue };
        let each: Vec<Figures<'_>> = of_all.iter().map(|entry| Figures::of(entry)).collect();
        let ratios: Option<Vec<Times>> = each
            .iter()
            .zip(&fastest)
            .map(|(figures, &fastest)| Some(figures.speed?.over(fastest)))
            .collect();
        figures.push(Figures {
            algorithm: &entry.algorithm,
            order: entry.order,
            allocs: each.iter().map(|figures| figures.allocs).sum(),
            failed: each.iter().map(|figures| figures.failed).sum(),
            wasted: each.iter().map(|figures| figures.wasted).sum::<f64>() / loads.len() as f64,
            speed: ratios.map(|ratios| Times::mean(&ratios)),
        });
    }
    let (best, mut reason) = rule(&figures, |_| None)?;
    if !missing.is_empty() {
        let names = missing.iter().map(|name| shorten(name, LONGEST_NAME));
        reason.push_str(&format!("; without {}", first_of(names)));
    }
    Some(Advice {
        load: None,
        algorithm: best.algorithm.to_owned(),
        order: best.order,
        reason,
    })
}

/// Returns the best of all and the reason, in which `time` formats the time of an operation.
fn rule<'f, 'r>(
    all: &'f [Figures<'r>],
    time: impl Fn(f64) -> Option<String>,
) -> Option<(&'f Figures<'r>, String)> {
    let has_served = |figures: &&Figures<'_>| figures.failed < figures.allocs;
    let least_failed = all.iter().filter(has_served).map(|one| one.failed).min()?;
    let most_failed = all.iter().map(|one| one.failed).max()?;
    let mut left: Vec<&Figures<'_>> = all
        .iter()
        .filter(|one| one.failed == least_failed)
        .collect();

    let least_wasted = left
        .iter()
        .map(|one| one.wasted)
        .fold(f64::INFINITY, f64::min);
    let most_wasted = left.iter().map(|one| one.wasted).fold(0.0, f64::max);
    let undecided = left.len();
    left.retain(|one| one.wasted <= least_wasted + WASTE_TIE);

    let best = left
        .iter()
        .copied()
        .min_by(|a, b| f64::total_cmp(&a.median(), &b.median()))?;
    let bound = best.speed.map_or(f64::INFINITY, |speed| speed.high);
    let equals: Vec<&Figures<'_>> = left
        .iter()
        .copied()
        .filter(|one| {
            !std::ptr::eq(*one, best) && one.speed.is_some_and(|speed| speed.low <= bound)
        })
        .collect();

    let fails = match least_failed == most_failed {
        true => format!("all fail {least_failed} of {}", best.allocs),
        false => format!(
            "fails {least_failed} of {} (worst {most_failed})",
            best.allocs
        ),
    };
    let wasted = best.wasted * 100.0;
    let wastes = match left.len() == undecided {
        true => format!("wastes {wasted:.1} % as all"),
        false => format!("wastes {wasted:.1} % (worst {:.1} %)", most_wasted * 100.0),
    };
    let took = best.speed.and_then(|speed| time(speed.median));
    let speed = match (took, left.len(), &equals[..]) {
        (took, 1, _) => took,
        (None, _, []) => Some("fastest".to_owned()),
        (Some(took), _, []) => Some(format!("fastest: {took}")),
        (None, _, equals) => Some(format!("as fast: {}", names(equals, best))),
        (Some(took), _, equals) => Some(format!("{took} as {}", names(equals, best))),
    };
    let parts: Vec<String> = [fails, wastes].into_iter().chain(speed).collect();
    Some((best, parts.join(", ")))
}

/// Returns the first of the equals, and how many more there are.
fn names(equals: &[&Figures<'_>], best: &Figures<'_>) -> String {
    let name = |one: &&Figures<'_>| match one.order == best.order {
        true => one.algorithm.to_owned(),
        false => format!("{} at {}", one.algorithm, one.order),
    };
    first_of(equals.iter().map(name))
}

fn first_of(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut first: Vec<String> = names.take(NAMED).collect();
    if more > 0 {
        first.push(format!("{more} more"));
    }
    first.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Memory, Operations, Speed};

    fn one(
        algorithm: &str,
        order: u32,
        failed: u64,
        wasted: f64,
        ns: (f64, f64, f64),
    ) -> Figures<'_> {
        Figures {
            algorithm,
            order,
            allocs: 100,
            failed,
            wasted,
            speed: Some(Times {
                low: ns.0,
                median: ns.1,
                high: ns.2,
            }),
        }
    }

    fn advised(all: &[Figures<'_>]) -> String {
        let (best, reason) = rule(all, |ns| Some(nanoseconds(ns))).unwrap();
        format!("{} {}: {reason}", best.algorithm, best.order)
    }

    #[test]
    fn failures_come_first_then_waste_then_time() {
        let fast = (8.0, 10.0, 12.0);
        let slow = (80.0, 100.0, 120.0);
        assert_eq!(
            advised(&[one("a", 4, 3, 0.0, fast), one("b", 4, 0, 0.5, slow)]),
            "b 4: fails 0 of 100 (worst 3), wastes 50.0 % as all, 100 ns"
        );
        assert_eq!(
            advised(&[one("a", 4, 1, 0.2, fast), one("b", 6, 1, 0.1, slow)]),
            "b 6: all fail 1 of 100, wastes 10.0 % (worst 20.0 %), 100 ns"
        );
        assert_eq!(
            advised(&[one("a", 4, 0, 0.205, fast), one("b", 6, 0, 0.2, slow)]),
            "a 4: all fail 0 of 100, wastes 20.5 % as all, fastest: 10 ns"
        );
    }

    #[test]
    fn algorithms_that_are_as_fast_are_named() {
        let ns = |median| (median - 2.0, median, median + 2.0);
        let all = [
            one("a", 4, 2, 0.0, ns(10.0)),
            one("b", 4, 2, 0.0, ns(13.0)),
            one("c", 6, 2, 0.0, ns(12.0)),
            one("d", 4, 2, 0.0, ns(11.0)),
            one("e", 4, 2, 0.0, ns(20.0)),
            one("f", 4, 9, 0.0, ns(9.0)),
        ];
        assert_eq!(
            advised(&all),
            "a 4: fails 2 of 100 (worst 9), wastes 0.0 % as all, 10 ns as b, c at 6, 1 more"
        );
    }

    #[test]
    fn the_fastest_may_come_last() {
        let all = [
            one("a", 4, 0, 0.0, (28.0, 30.0, 32.0)),
            one("b", 4, 0, 0.0, (18.0, 20.0, 22.0)),
        ];
        assert_eq!(
            advised(&all),
            "b 4: all fail 0 of 100, wastes 0.0 % as all, fastest: 20 ns"
        );
    }

    #[test]
    fn ratios_and_means_are_of_the_median_and_of_both_quartiles() {
        let times = |low, median, high| Times { low, median, high };
        let fields = |times: Times| (times.low, times.median, times.high);
        assert_eq!(fields(times(2.0, 6.0, 8.0).over(4.0)), (0.5, 1.5, 2.0));
        let all = [times(1.0, 2.0, 3.0), times(3.0, 4.0, 8.0)];
        assert_eq!(fields(Times::mean(&all)), (2.0, 3.0, 5.5));
    }

    #[test]
    fn nothing_to_choose_from() {
        assert!(rule(&[], |_| None).is_none());
        let mut none = one("a", 4, 0, 0.0, (1.0, 1.0, 1.0));
        none.allocs = 0;
        assert!(rule(&[none], |_| None).is_none());
        let all_failed = one("a", 63, 100, 0.0, (1.0, 1.0, 1.0));
        assert!(rule(&[all_failed], |_| None).is_none());
    }

    fn entry(load: &str, allocs: u64) -> Entry {
        Entry {
            load: load.to_owned(),
            algorithm: "first-fit".to_owned(),
            pool: "lock-free",
            order: 4,
            size: 64,
            threads: 1,
            operations: Operations {
                all: allocs,
                allocs,
                ..Operations::default()
            },
            speed: Speed::of_runs(vec![10.0; allocs as usize]),
            latency: None,
            memory: None,
            free_at_end: None,
            timeline: None,
        }
    }

    /// The second load takes a hundred times as long as the first, and counts as much.
    #[test]
    fn the_advice_for_all_is_a_mean_of_relations() {
        let of = |algorithm: &str, order, ns, rounding| Entry {
            algorithm: algorithm.to_owned(),
            order,
            speed: Speed::of_runs(vec![ns]),
            memory: Some(Memory {
                rounding,
                ..Memory::default()
            }),
            ..entry("", 1)
        };
        let short = [
            of("x", 6, 30.0, 32.0),
            of("x", 4, 10.0, 16.0),
            of("y", 4, 20.0, 16.0),
        ];
        let long = [
            of("y", 4, 2000.0, 32.0),
            of("x", 4, 2600.0, 32.0),
            of("x", 6, 9000.0, 32.0),
        ];
        let loads = [
            ("short", short.iter().collect::<Vec<_>>()),
            ("long", long.iter().collect()),
        ];
        let advice = advise_all(&loads, &[]).unwrap();
        assert_eq!((&*advice.algorithm, advice.order), ("x", 4));
        // A quarter of the bytes in the one, a half in the other.
        assert!(advice.reason.contains("wastes 37.5 %"), "{}", advice.reason);
    }

    #[test]
    fn the_advice_for_all_says_what_is_missing() {
        let entries = [entry("a", 1), entry("b", 2), entry("idle", 0)];
        let loads: Vec<_> = entries
            .iter()
            .map(|entry| (entry.load.as_str(), vec![entry]))
            .collect();
        let reason = advise_all(&loads, &[]).unwrap().reason;
        assert!(reason.ends_with("; without idle"), "{reason}");
        let missing = ["x", "y"].map(str::to_owned);
        let reason = advise_all(&loads, &missing).unwrap().reason;
        assert!(reason.ends_with("; without x, y, 1 more"), "{reason}");
        let reason = advise_all(&loads[..2], &[]).unwrap().reason;
        assert!(!reason.contains("without"), "{reason}");
        assert_eq!(advise_all(&loads[1..], &[]), None);
    }
}
