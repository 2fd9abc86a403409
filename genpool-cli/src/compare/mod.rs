//! Compares algorithms and granularities by one trace: which fails least, wastes least, and is fastest.
//!
//! [`advise`] has the rule: first the fewest failures, then the least waste, then the shortest time. The recommendation
//! respects the alignments that the trace names, because every contestant keeps them.

mod advice;
pub mod text;

use crate::algorithm::AlgorithmSpec;
use crate::driver::{Alignment, Choice, Manner, chunks};
use crate::measure::{Contestant, Measured, Pace, Progress, measure};
use crate::replay::ReplayError;
use crate::report::{Advice, Entry};
use crate::size::{Bytes, Grouped};
use crate::trace::{MAX_ORDER, Op, Trace};

pub use advice::{advise, advise_all};

/// What to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The orders; if empty, the trace's own, and two below and two above it.
    pub orders: Vec<u32>,
    /// The algorithms; if empty, all that serve any request.
    pub algorithms: Vec<AlgorithmSpec>,
    /// The rounds; if `None`, as many as are sensible, over as much of the trace as can be played in time.
    pub repeats: Option<u32>,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// All contestants except those that were too slow. Those of the recommended order have timelines.
    pub entries: Vec<Entry>,
    /// The recommendation; `None` if no allocation succeeds.
    pub advice: Option<Advice>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

/// Compares by one trace, called `load` in the entries.
///
/// # Errors
///
/// [`ReplayError`] if the trace asks for an impossible pool, or a pool is at fault.
pub fn compare(
    load: &str,
    trace: &Trace,
    wish: &Wish,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Comparison, ReplayError> {
    let orders = orders(trace, wish);
    let mut contestants = Vec::new();
    for &order in &orders {
        // A requested order that is impossible is an error, reported with its line.
        chunks(trace, order)?;
        for spec in algorithms(wish) {
            contestants.push(Contestant {
                name: spec.to_string(),
                manner: Manner {
                    order,
                    choice: Choice::All(spec),
                },
            });
        }
    }
    let pace = Pace::of(wish.repeats);
    let measured = measure(load, trace, &contestants, pace, progress)?;
    let Measured {
        mut entries,
        mut notes,
    } = measured;
    let advice = advise(load, &entries.iter().collect::<Vec<_>>());
    let shown = advice.as_ref().map_or(trace.order(), |advice| advice.order);
    for entry in entries.iter_mut().filter(|entry| entry.order != shown) {
        entry.timeline = None;
    }
    notes.extend(notes_on_wishes(trace, advice.as_ref()));
    Ok(Comparison {
        entries,
        advice,
        notes,
    })
}

/// Notes on how the advice relates to what the trace asks for single allocations.
fn notes_on_wishes(trace: &Trace, advice: Option<&Advice>) -> Vec<String> {
    let (mut allocs, mut aligned, mut others, mut uneven) = (0u64, 0u64, 0u64, false);
    for step in trace.steps() {
        let Op::Alloc {
            size, algorithm, ..
        } = step.op
        else {
            continue;
        };
        allocs += 1;
        uneven |= !size.is_multiple_of(1 << trace.order());
        let named = algorithm.and_then(|index| trace.algorithms().get(index as usize));
        match named {
            None | Some(AlgorithmSpec::FirstFit) => {}
            Some(&spec) if Alignment::named_by(spec).is_some() => aligned += 1,
            Some(_) => others += 1,
        }
    }
    let mut notes = Vec::new();
    if aligned > 0 {
        notes.push(format!(
            "{} of {} allocations with an alignment, by first-fit-align or order-align: every algorithm keeps it for them",
            Grouped(aligned),
            Grouped(allocs)
        ));
    }
    if others > 0 {
        notes.push(format!(
            "{} of {} allocations with another algorithm or a place of their own, which is ignored here",
            Grouped(others),
            Grouped(allocs)
        ));
    }
    match advice {
        None => notes.push("nothing is recommended, as no allocation succeeds".to_owned()),
        // If all sizes are whole granules of the trace's order, so are addresses.
        Some(advice) if advice.order < trace.order() && uneven => notes.push(format!(
            "at order {} addresses are multiples of {}, those of the trace are of {}",
            advice.order,
            Bytes(1 << advice.order),
            Bytes(1 << trace.order())
        )),
        Some(_) => {}
    }
    notes
}

fn orders(trace: &Trace, wish: &Wish) -> Vec<u32> {
    let mut orders = match &wish.orders[..] {
        [] => {
            let own = trace.order();
            let near = [own.saturating_sub(2), own, (own + 2).min(MAX_ORDER)];
            // Only those neighbours of the order in which the chunks are possible.
            let can_be = |&order: &u32| {
                order == own || chunks(trace, order).is_ok_and(|chunks| !chunks.is_empty())
            };
            near.into_iter().filter(can_be).collect()
        }
        wished => wished.to_vec(),
    };
    orders.sort_unstable();
    orders.dedup();
    orders
}

fn algorithms(wish: &Wish) -> Vec<AlgorithmSpec> {
    let mut algorithms = wish.algorithms.clone();
    if algorithms.is_empty() {
        algorithms.extend([
            AlgorithmSpec::FirstFit,
            AlgorithmSpec::NextFit,
            AlgorithmSpec::BestFit,
            AlgorithmSpec::OrderAlign,
            AlgorithmSpec::ThreadStart,
            AlgorithmSpec::SpreadFit,
        ]);
    }
    let mut seen = Vec::new();
    algorithms.retain(|spec| {
        !seen.contains(spec) && {
            seen.push(*spec);
            true
        }
    });
    algorithms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &str) -> Trace {
        let head = "# genpool trace v1\npool order=4\nchunk virt=0 size=0x100\n";
        Trace::parse(&format!("{head}{lines}")).unwrap()
    }

    fn compared(trace: &Trace, wish: &Wish) -> Comparison {
        compare("a", trace, wish, &mut |_| ()).unwrap()
    }

    /// Two holes of 2 and 3 granules before the end. Then one request of 2 granules, and one of 3.
    const HOLES: &str = "alloc 1 size=0x30\nalloc a size=0x10\nalloc 2 size=0x20\nalloc b size=0xa0\nfree 1\nfree 2\n\
                         alloc 3 size=0x20\nalloc 4 size=0x30\n";

    #[test]
    fn best_fit_fails_least_where_holes_are_exact() {
        let wish = Wish {
            repeats: Some(1),
            ..Wish::default()
        };
        let found = compared(&trace(HOLES), &wish);
        let failed = |name: &str, order| {
            let is = |entry: &&Entry| entry.algorithm == name && entry.order == order;
            let entry = found.entries.iter().find(is).unwrap();
            (entry.operations.failed, entry.timeline.is_some())
        };
        let order = found.advice.as_ref().unwrap().order;
        assert_eq!(found.entries.len(), 18);
        assert_eq!(failed("first-fit", 4), (1, order == 4));
        assert_eq!(failed("best-fit", 4), (0, order == 4));
        assert_eq!(failed("best-fit", 2), (0, order == 2));
        let advice = found.advice.unwrap();
        assert_eq!(advice.algorithm, "best-fit", "{advice:?}");
    }

    /// A chunk of five granules, of which four make one of a coarser order. It is fully used except for the part that
    /// this order cuts off.
    #[test]
    fn what_an_order_cuts_off_is_wasted() {
        let text = "# genpool trace v1\npool order=12\nchunk virt=0 size=0x5000\nalloc 1 size=0x4000\nfree 1\n";
        let wish = Wish {
            algorithms: vec![AlgorithmSpec::FirstFit],
            repeats: Some(1),
            ..Wish::default()
        };
        let found = compared(&Trace::parse(text).unwrap(), &wish);
        let of = |order: u32| found.entries.iter().find(|entry| entry.order == order);
        let coarse = of(14).unwrap();
        assert_eq!((coarse.size, coarse.given()), (0x4000, 0x5000));
        assert_eq!(coarse.memory.unwrap().cut_off, 0x1000);
        assert_eq!(coarse.wasted(), Some(0.2));
        assert_eq!(of(12).unwrap().wasted(), Some(0.0));
        assert_ne!(found.advice.unwrap().order, 14);
    }

    #[test]
    fn requested_algorithms_and_places_are_counted() {
        let wish = Wish {
            orders: vec![5, 3, 5],
            algorithms: vec![AlgorithmSpec::BestFit, AlgorithmSpec::BestFit],
            repeats: Some(1),
        };
        let text = "alloc 1 size=1 algo=fixed:0\nalloc 2 size=1 algo=first-fit\n";
        let found = compared(&trace(text), &wish);
        let orders: Vec<u32> = found.entries.iter().map(|entry| entry.order).collect();
        assert_eq!(orders, [3, 5]);
        assert!(
            found
                .notes
                .iter()
                .any(|note| note.starts_with("1 of 2 allocations with another")),
            "{:?}",
            found.notes
        );
    }

    /// Two places are aligned, so of three requests each algorithm must refuse one, at any order.
    #[test]
    fn alignments_are_kept_by_all() {
        let one = |id| format!("alloc {id} size=1 algo=first-fit-align:0x80\n");
        let text: String = (1..4).map(one).collect();
        let wish = Wish {
            orders: vec![0, 4, 6],
            repeats: Some(1),
            ..Wish::default()
        };
        let found = compared(&trace(&text), &wish);
        assert_eq!(found.entries.len(), 18);
        for entry in &found.entries {
            assert_eq!(entry.operations.failed, 1, "{entry:?}");
        }
        let notes = found.notes.join("\n");
        assert!(
            notes.contains("3 of 3 allocations with an alignment"),
            "{notes}"
        );
        let order = found.advice.unwrap().order;
        assert_eq!(
            notes.contains("those of the trace are of 16 B"),
            order == 0,
            "{notes}"
        );
    }

    #[test]
    fn a_trace_is_noted_only_for_what_it_asks() {
        let notes = |lines: &str, order| {
            let advice = Advice {
                load: None,
                algorithm: "first-fit".to_owned(),
                order,
                reason: String::new(),
            };
            notes_on_wishes(&trace(lines), Some(&advice))
        };
        // Whole granules have the same alignment at a lower order.
        assert!(notes("alloc 1 size=0x20\n", 3).is_empty());
        let uneven = "alloc 1 size=0x20\nalloc 2 size=0x21\n";
        let note = "at order 3 addresses are multiples of 8 B, those of the trace are of 16 B";
        assert_eq!(notes(uneven, 3), [note]);
        for order in [4, 5] {
            assert!(notes(uneven, order).is_empty(), "{order}");
        }
    }

    #[test]
    fn nothing_is_recommended_where_all_fail() {
        let wish = Wish {
            orders: vec![4, 63],
            repeats: Some(1),
            ..Wish::default()
        };
        let found = compared(&trace("alloc 1 size=0x101\nalloc 2 size=0\n"), &wish);
        assert_eq!(found.advice, None);
        let last = found.notes.last().unwrap();
        assert!(last.contains("no allocation succeeds"), "{last}");
    }

    #[test]
    fn orders_are_those_that_can_be() {
        let orders_of = |text: &str| orders(&Trace::parse(text).unwrap(), &Wish::default());
        let text = |order: u32, size: &str| {
            format!("# genpool trace v1\npool order={order}\nchunk virt=0 size={size}\n")
        };
        assert_eq!(orders_of(&text(4, "0x100")), [2, 4, 6]);
        assert_eq!(orders_of(&text(4, "0x20")), [2, 4]);
        assert_eq!(orders_of(&text(0, "1")), [0]);
        assert_eq!(orders_of(&text(63, "0x8000000000000000")), [61, 63]);
        // With quarter granules there would be too many of them.
        assert_eq!(orders_of(&text(12, "0x40000000000")), [12, 14]);
        let wish = Wish {
            orders: vec![2],
            ..Wish::default()
        };
        let large = Trace::parse(&text(12, "0x40000000000")).unwrap();
        let error = compare("a", &large, &wish, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("at order 2"), "{error}");
    }

    #[test]
    fn nothing_is_no_advice() {
        let wish = Wish {
            repeats: Some(1),
            ..Wish::default()
        };
        let found = compared(&trace(""), &wish);
        assert_eq!(found.advice, None);
    }
}
