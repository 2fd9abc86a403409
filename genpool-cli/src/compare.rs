//! One trace on several algorithms and granularities: which fails least, wastes least, is fastest.
//!
//! The rule is [`advise`]'s: first what fails least, then what wastes least, then what is fastest.

mod advice;
pub mod text;

use crate::algorithm::AlgorithmSpec;
use crate::driver::{Choice, Manner, chunks};
use crate::measure::{Contestant, Progress, measure};
use crate::replay::ReplayError;
use crate::report::{Advice, Entry};
use crate::trace::{MAX_ORDER, Op, Trace};

pub use advice::{advise, advise_all};

/// Alignments of the trace's own that are tried with [`AlgorithmSpec::FirstFitAlign`].
const MOST_ALIGNMENTS: usize = 2;

/// What to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Orders; none for the trace's own, and two below and above it.
    pub orders: Vec<u32>,
    /// Algorithms; none for all that take any request, and aligned first fit with the alignments
    /// that the trace names.
    pub algorithms: Vec<AlgorithmSpec>,
    /// Rounds; none for as many as are sensible.
    pub repeats: Option<u32>,
}

/// What comparing came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// All contestants. Those of the recommended order have their timelines.
    pub entries: Vec<Entry>,
    /// Which to prefer; none where the trace allocates nothing.
    pub advice: Option<Advice>,
    /// Allocations that name an algorithm, which no contestant heeds.
    pub named: usize,
}

/// Compares by one trace, which the entries call `load`.
///
/// # Errors
///
/// [`ReplayError`] when the trace asks for a pool that cannot be, or a pool is at fault.
pub fn compare(
    load: &str,
    trace: &Trace,
    wish: &Wish,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Comparison, ReplayError> {
    let orders = orders(trace, wish);
    let mut contestants = Vec::new();
    for &order in &orders {
        // A wished order that cannot be is an error, with its line.
        chunks(trace, order)?;
        for spec in algorithms(trace, wish) {
            contestants.push(Contestant {
                name: spec.to_string(),
                manner: Manner {
                    order,
                    choice: Choice::All(spec),
                },
            });
        }
    }
    let mut entries = measure(load, trace, &contestants, wish.repeats, progress)?;
    let advice = advise(load, &entries.iter().collect::<Vec<_>>());
    let shown = advice.as_ref().map_or(trace.order(), |advice| advice.order);
    for entry in entries.iter_mut().filter(|entry| entry.order != shown) {
        entry.timeline = None;
    }
    let is_named = |op: &Op| {
        matches!(op, Op::Alloc { algorithm: Some(index), .. }
            if trace.algorithms().get(*index as usize) != Some(&AlgorithmSpec::FirstFit))
    };
    Ok(Comparison {
        entries,
        advice,
        named: trace
            .steps()
            .iter()
            .filter(|step| is_named(&step.op))
            .count(),
    })
}

fn orders(trace: &Trace, wish: &Wish) -> Vec<u32> {
    let mut orders = match &wish.orders[..] {
        [] => {
            let own = trace.order();
            let near = [own.saturating_sub(2), own, (own + 2).min(MAX_ORDER)];
            // Of the neighbours only those that the chunks can be had in.
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

fn algorithms(trace: &Trace, wish: &Wish) -> Vec<AlgorithmSpec> {
    let mut algorithms = wish.algorithms.clone();
    if algorithms.is_empty() {
        algorithms.extend([
            AlgorithmSpec::FirstFit,
            AlgorithmSpec::NextFit,
            AlgorithmSpec::BestFit,
            AlgorithmSpec::OrderAlign,
            AlgorithmSpec::ThreadStart,
        ]);
        let aligned = |spec: &&AlgorithmSpec| matches!(spec, AlgorithmSpec::FirstFitAlign(_));
        algorithms.extend(
            trace
                .algorithms()
                .iter()
                .filter(aligned)
                .take(MOST_ALIGNMENTS),
        );
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

    /// Two holes of 2 and 3 granules before the end; then one of 2 is asked for, and one of 3.
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
        assert_eq!(found.entries.len(), 15);
        assert_eq!(failed("first-fit", 4), (1, order == 4));
        assert_eq!(failed("best-fit", 4), (0, order == 4));
        assert_eq!(failed("best-fit", 2), (0, order == 2));
        let advice = found.advice.unwrap();
        assert_eq!(advice.algorithm, "best-fit", "{advice:?}");
    }

    /// A chunk of five granules, of which four make one of a coarser order: all of it is well used, but for
    /// what that order cannot have.
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
    fn wishes_are_heeded() {
        let wish = Wish {
            orders: vec![5, 3, 5],
            algorithms: vec![AlgorithmSpec::BestFit, AlgorithmSpec::BestFit],
            repeats: Some(1),
        };
        let text = "alloc 1 size=1 algo=order-align\nalloc 2 size=1 algo=first-fit\n";
        let found = compared(&trace(text), &wish);
        let orders: Vec<u32> = found.entries.iter().map(|entry| entry.order).collect();
        assert_eq!((orders, found.named), (vec![3, 5], 1));
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
        // A quarter of a granule would make too many of them.
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
