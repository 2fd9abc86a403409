//! One suite for every algorithm: a state machine that plays random scripts on a pool and on the oracle, and compares
//! every answer and all of the bookkeeping after each step.

#![forbid(unsafe_code)]

#[path = "suite/checks.rs"]
mod checks;
#[path = "suite/chunks.rs"]
mod chunks;
#[path = "suite/frees.rs"]
mod frees;
#[path = "suite/ops.rs"]
mod ops;
#[path = "suite/ragged.rs"]
mod ragged;
#[path = "suite/spec.rs"]
mod spec;
#[path = "suite/world.rs"]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use spec::{Among, Spec};

/// The number of scripts per algorithm, unless `PROPTEST_CASES` is set in the environment.
const CASES: u32 = if cfg!(miri) { 1 } else { 160 };

fn run<S>(specs: fn(u32) -> S)
where
    S: Strategy<Value = Spec> + 'static,
{
    run_cases(CASES, &ops::scripts(specs), world::play);
}

fn run_cases<C: Strategy>(cases: u32, strategy: &C, play: fn(&C::Value)) {
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let outcome = TestRunner::new(config).run(strategy, |case| {
        play(&case);
        Ok(())
    });
    if let Err(failed) = outcome {
        let thread = genpool_core::sync::thread_index();
        panic!("thread {thread}: {failed}");
    }
}

/// One test per algorithm.
macro_rules! suite {
    ($($name:ident: $specs:expr;)+) => {
        $(#[test]
        fn $name() {
            run($specs);
        })+
    };
}

suite! {
    first_fit: |_| Just(Spec::FirstFit);
    first_fit_align: ops::align;
    order_align: |_| Just(Spec::OrderAlign);
    best_fit: |_| Just(Spec::BestFit);
    fixed_offset: ops::fixed_offset;
    fixed_address: ops::fixed_address;
    next_fit: |_| Just(Spec::NextFit);
    thread_start: |_| Just(Spec::ThreadStart);
    spread_fit: |_| Just(Spec::SpreadFit);
    constrained_first_fit: |order| ops::constrained(Among::FirstFit, order);
    constrained_best_fit: |order| ops::constrained(Among::BestFit, order);
    constrained_next_fit: |order| ops::constrained(Among::NextFit, order);
    constrained_thread_start: |order| ops::constrained(Among::ThreadStart, order);
    all_mixed: ops::any_spec;
}

/// Threads with other numbers allocate elsewhere, so the same suite runs on several of them.
#[test]
fn algorithms_by_thread_on_other_threads() {
    std::thread::scope(|scope| {
        for _ in 0..if cfg!(miri) { 1 } else { 4 } {
            scope.spawn(|| {
                run(|order| {
                    prop_oneof![
                        Just(Spec::ThreadStart),
                        Just(Spec::SpreadFit),
                        ops::constrained(Among::ThreadStart, order)
                    ]
                });
            });
        }
    });
}

#[test]
fn constrained_among_holes() {
    run_cases(8 * CASES, &ragged::cases(), ragged::play);
}

#[test]
fn no_run_goes_on_over_a_full_word() {
    for case in ragged::either_side_of_a_full_word() {
        ragged::play(&case);
    }
}

#[test]
fn every_algorithm_among_whole_words() {
    run_cases(4 * CASES, &ragged::whole_words(), ragged::play);
}
