//! Many threads on the crates' own code, in schedules that shuttle picks. A sequential pool could have given the
//! answers that they got.
//!
//! `--cfg genpool_shuttle` is given in addition to `--cfg genpool_loom`, and replaces only the atomics
//! (`genpool_core::sync`). shuttle's atomics are all `SeqCst`, so these tests check no orderings. They run eight
//! threads through whole calls, which is too much for loom.
//!
//! All sizes are those that users get, and each thread has its own number, so that its stripe and its first slot differ
//! from its neighbours'. The free granules lie across the border of two words, so most runs span words. Each control
//! leaves one step of a protocol out of the code and must be refused.

#![cfg(genpool_shuttle)]
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use genpool_core::sync::{Fault, seed};
use linearizability::history::{Answer, Clock, History, Log, Run};
use linearizability::work::Scene;
use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner, thread};

const SEED: u64 = 0x0073_6875_7474_6c65;

/// How often each control may pass before the test fails.
const PATIENCE: usize = 20_000;

fn scenes() -> [Scene; 5] {
    let few = Scene::new(&[Run::new(0, 80)], &[Run::new(0, 61), Run::new(68, 12)], 3);
    let two = [Run::new(0, 66), Run::new(80, 3)];
    few.in_five_ways(Scene::new(&two, &[Run::new(0, 63)], 3), Run::new(100, 3))
}

/// Counts over all histories.
#[derive(Default)]
struct Tally {
    histories: AtomicUsize,
    overlaps: AtomicUsize,
    exhausted: AtomicUsize,
    contended: AtomicUsize,
}

/// Runs one execution: `threads` threads with `steps` steps each.
fn execution(scene: &Scene, threads: usize, steps: usize, tally: &Tally) {
    let mut rng = Rng::with_seed(shuttle::rand::thread_rng().next_u64());
    let clock = Clock::default();
    let mut opening = Log::new(&clock, 0);
    let stage = scene.open(&mut opening);
    let held = stage.pool().stats().used;
    let logs: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (1..=threads)
            .map(|process| {
                let work = scene.work(&mut rng, steps, process == 1);
                let mut log = Log::new(&clock, process);
                let stage = &stage;
                scope.spawn(move || {
                    stage.play(stage.pool(), work, &mut log);
                    log
                })
            })
            .collect();
        let logs = workers.into_iter().map(|worker| worker.join().unwrap());
        logs.collect()
    });
    let history = History::of(logs.into_iter().chain([opening]));
    assert!(history.is_linearizable(), "{scene:?}:\n{history}");
    assert_eq!(stage.pool().stats().used, held, "granules are lost");
    assert!(stage.pool().is_sound());
    tally.histories.fetch_add(1, Ordering::Relaxed);
    tally
        .overlaps
        .fetch_add(history.overlaps(), Ordering::Relaxed);
    let answers = |answer| history.answers(answer);
    tally
        .exhausted
        .fetch_add(answers(Answer::Exhausted), Ordering::Relaxed);
    tally
        .contended
        .fetch_add(answers(Answer::Contended), Ordering::Relaxed);
}

fn config(failures: FailurePersistence) -> Config {
    let mut config = Config::new();
    // The warnings say that orderings are not modelled.
    config.silence_warnings = true;
    config.failure_persistence = failures;
    config
}

fn run(
    scheduler: impl Scheduler + 'static,
    scene: &Scene,
    threads: usize,
    steps: usize,
) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let (scene, count) = (scene.clone(), Arc::clone(&tally));
    Runner::new(scheduler, config(FailurePersistence::Print))
        .run(move || execution(&scene, threads, steps, &count));
    tally
}

fn check(name: &str, threads: usize, steps: usize, rounds: usize) {
    let rounds = rounds * linearizability::times();
    let seed = linearizability::seed_or(SEED);
    for (at, scene) in scenes().iter().enumerate() {
        for (how, tally) in [
            (
                "random",
                run(
                    RandomScheduler::new_from_seed(seed, rounds),
                    scene,
                    threads,
                    steps,
                ),
            ),
            (
                "pct",
                run(
                    PctScheduler::new_from_seed(seed, 3, rounds),
                    scene,
                    threads,
                    steps,
                ),
            ),
        ] {
            let count = |figure: &AtomicUsize| figure.load(Ordering::Relaxed);
            println!(
                "{name}, scene {at}, {how}: {} histories of {threads} threads, {} pairs of calls \
                 overlapped, {} times exhausted, {} times contended or during a removal",
                count(&tally.histories),
                count(&tally.overlaps),
                count(&tally.exhausted),
                count(&tally.contended),
            );
            assert_eq!(count(&tally.histories), rounds);
            assert!(count(&tally.exhausted) > 0);
        }
    }
}

#[test]
fn three_threads() {
    check("three threads", 3, 4, 2000);
}

#[test]
fn eight_threads() {
    check("eight threads", 8, 2, 500);
}

/// Each omitted step shows in a history, or in what is left at the end. Other steps show only in rarer schedules;
/// `loom-tests` has controls for all of them.
#[test]
fn controls() {
    for (fault, scene) in [
        (Fault::TornClaim, 0),
        (Fault::KeptClaim, 0),
        (Fault::UncheckedFree, 2),
        (Fault::SharedOwnership, 1),
        (Fault::BitsBeforeOwnership, 1),
        (Fault::Unproved, 0),
        (Fault::Unannounced, 0),
        (Fault::UnnotifiedFree, 0),
        (Fault::KeptRefusal, 0),
        (Fault::UncheckedState, 4),
        (Fault::Unpublished, 3),
        (Fault::NoSecondLook, 0),
    ] {
        seed(&[fault]);
        let tries = Arc::new(AtomicUsize::new(0));
        let (scene, count) = (scenes()[scene].clone(), Arc::clone(&tries));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let scheduler = RandomScheduler::new_from_seed(SEED, PATIENCE);
            Runner::new(scheduler, config(FailurePersistence::None)).run(move || {
                count.fetch_add(1, Ordering::Relaxed);
                execution(&scene, 3, 4, &Tally::default());
            });
        }));
        seed::<Fault>(&[]);
        let tries = tries.load(Ordering::Relaxed);
        assert!(
            outcome.is_err(),
            "passed with {fault:?} in {tries} executions"
        );
        println!("control {fault:?}: caught in execution {tries}");
    }
}
