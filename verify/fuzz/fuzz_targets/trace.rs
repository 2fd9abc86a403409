//! Trace files: every input gives an answer or an error; `verify` and `replay` agree; and if the oracle knows all
//! algorithms of a trace, its answers are the oracle's.

#![no_main]

use genpool_cli::algorithm::AlgorithmSpec;
use genpool_cli::replay::{ReplayError, replay};
use genpool_cli::trace::{Op, Trace};
use genpool_cli::verify::verify;
use genpool_fuzz::is_planted;
use genpool_plain::{Fit, Oracle};
use libfuzzer_sys::fuzz_target;

/// More granules would make the pool slower, not different.
const GRANULES: usize = 1 << 14;

fuzz_target!(|text: &str| {
    let Ok(trace) = Trace::parse(text) else {
        return;
    };
    let granules = trace.steps().iter().filter_map(|step| match step.op {
        Op::Chunk { size, .. } => Some(size >> trace.order()),
        _ => None,
    });
    if granules.fold(0, usize::saturating_add) > GRANULES {
        return;
    }
    let verified = verify(&trace, AlgorithmSpec::FirstFit);
    let replayed = replay("", &trace, AlgorithmSpec::BestFit, Some(1), &mut |_| ());
    assert_eq!(verified.is_err(), replayed.is_err());
    assert!(!matches!(replayed, Err(ReplayError::FreeRefused { .. })));
    if verified.is_ok()
        && let Some(answers) = by_the_oracle(&trace)
    {
        let trace = Trace::parse(&answers).expect("the oracle's trace is a trace");
        let found = verify(&trace, AlgorithmSpec::FirstFit).expect("its chunks are good");
        assert_eq!(found.first, None, "{answers}");
    }
});

/// Returns the same operations with the oracle's answers, or `None` if the oracle does not know an algorithm.
fn by_the_oracle(trace: &Trace) -> Option<String> {
    let order = trace.order();
    let mut text = format!("# genpool trace v1\npool order={order}\n");
    let mut oracle = Oracle::new(order);
    let mut held = vec![None; trace.allocs()];
    for step in trace.steps() {
        match step.op {
            Op::Chunk { virt, size, .. } => {
                oracle.add(virt, size).ok()?;
                text += &format!("chunk virt={virt:#x} size={size:#x}\n");
            }
            Op::Alloc {
                slot,
                size,
                algorithm,
                ..
            } => {
                let spec = algorithm.map(|at| trace.algorithms()[at as usize]);
                let spec = spec.unwrap_or_default();
                let fit = match spec {
                    AlgorithmSpec::FirstFit => Fit::FirstFit,
                    AlgorithmSpec::FirstFitAlign(bytes) => Fit::FirstFitAlign(bytes),
                    AlgorithmSpec::OrderAlign => Fit::OrderAlign,
                    AlgorithmSpec::BestFit => Fit::BestFit,
                    AlgorithmSpec::FixedOffset(offset) => Fit::FixedOffset(offset),
                    AlgorithmSpec::FixedAddress(_)
                    | AlgorithmSpec::NextFit
                    | AlgorithmSpec::ThreadStart
                    | AlgorithmSpec::SpreadFit => return None,
                };
                let found = oracle.alloc(size, fit);
                let answer = found.map_or_else(|| "none".to_owned(), |addr| format!("{addr:#x}"));
                let id = slot.index();
                text += &format!("alloc {id} size={size:#x} algo={spec} -> {answer}\n");
                held[id] = found.map(|addr| (addr, size));
            }
            Op::Free { slot } => {
                // An allocation that failed has no line to free.
                if let Some((addr, size)) = held[slot.index()].take() {
                    oracle.free(addr, size).expect("it is held");
                    text += &format!("free {}\n", slot.index());
                }
            }
            Op::ExpectTotals { .. } => {
                let (avail, size) = (oracle.avail(), oracle.size());
                text += &format!("expect avail={avail:#x} size={size:#x}\n");
            }
            Op::ExpectHasAddr { addr, size, .. } => {
                // The control: an empty range counts as inside.
                let inside = oracle.contains(addr, size) || size == 0 && is_planted();
                let inside = if inside { "yes" } else { "no" };
                text += &format!("expect has-addr={addr:#x},{size:#x} is={inside}\n");
            }
            Op::ExpectPhysOf { .. } => {}
        }
    }
    Some(text)
}
