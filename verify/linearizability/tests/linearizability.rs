//! Promises 1, 2, 4 and 5 together: a sequential pool could have given the answers that the threads got.

#![cfg(not(genpool_loom))]
#![forbid(unsafe_code)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fastrand::Rng;
use genpool_core::{Algorithm, AllocError, Allocation, FreeError, Pool};
use linearizability::history::{Answer, Clock, History, Log, Run};
use linearizability::work::{Scene, Subject};

const SEED: u64 = 0x6c69_6e65_6172;

/// Scenes with little free space, across the border of two words, and one or two runs elsewhere.
fn scenes() -> [Scene; 5] {
    let few = Scene::new(&[Run::new(0, 80)], &[Run::new(0, 60), Run::new(68, 12)], 5);
    let two = [Run::new(0, 70), Run::new(80, 6)];
    few.in_five_ways(Scene::new(&two, &[Run::new(0, 61)], 5), Run::new(100, 5))
}

/// A false answer of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// `Exhausted` though there is room.
    Full,
    /// A range is still taken after its free.
    Keeps,
    /// A range that is handed out is still free.
    HandsOutTwice,
    /// A free that succeeded is reported as refused.
    Refuses,
}

/// A pool that gives a false answer now and then.
struct Liar<'p> {
    pool: &'p Pool,
    lie: Lie,
    calls: AtomicUsize,
}

impl Liar<'_> {
    fn lies(&self, lie: Lie) -> bool {
        lie == self.lie && self.calls.fetch_add(1, Ordering::Relaxed) % 4 == 3
    }
}

impl Subject for Liar<'_> {
    fn pool(&self) -> &Pool {
        self.pool
    }

    fn alloc(&self, size: usize, by: Option<&dyn Algorithm>) -> Result<Allocation<'_>, AllocError> {
        if self.lies(Lie::Full) {
            return Err(AllocError::Exhausted { size });
        }
        let found = Subject::alloc(self.pool, size, by)?;
        if self.lies(Lie::HandsOutTwice) {
            self.pool
                .free(found.addr(), found.size())
                .expect("it is held");
        }
        Ok(found)
    }

    fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        if self.lies(Lie::Keeps) {
            return Ok(());
        }
        self.pool.free(addr, size)?;
        if self.lies(Lie::Refuses) {
            return Err(FreeError::NotAllocated { addr });
        }
        Ok(())
    }
}

/// Runs threads on a pool and returns the history of their calls. At the end they have given everything back.
fn history(scene: &Scene, threads: usize, rng: &mut Rng, lie: Lie) -> History {
    let clock = Clock::default();
    let mut opening = Log::new(&clock, 0);
    let stage = scene.open(&mut opening);
    let held = stage.pool().stats().used;
    let subject = Liar {
        pool: stage.pool(),
        lie,
        calls: AtomicUsize::new(rng.usize(..4)),
    };
    let gate = Barrier::new(threads);
    let logs: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (1..=threads)
            .map(|process| {
                let work = scene.work(rng, 6, process == 1);
                let (stage, subject, gate) = (&stage, &subject, &gate);
                let mut log = Log::new(&clock, process);
                scope.spawn(move || {
                    gate.wait();
                    stage.play(subject, work, &mut log);
                    log
                })
            })
            .collect();
        let logs = workers.into_iter().map(|worker| worker.join().unwrap());
        logs.collect()
    });
    if lie == Lie::None {
        assert_eq!(stage.pool().stats().used, held);
        assert!(stage.pool().is_sound());
    }
    History::of(logs.into_iter().chain([opening]))
}

#[test]
fn answers_are_those_of_a_sequential_pool() {
    let rounds = if cfg!(miri) { 2 } else { 1500 } * linearizability::times();
    for (scene, seed) in scenes().iter().zip(linearizability::seed_or(SEED)..) {
        let mut rng = Rng::with_seed(seed);
        let (mut overlaps, mut exhausted, mut contended) = (0, 0, 0);
        for round in 0..rounds {
            let history = history(scene, 3, &mut rng, Lie::None);
            assert!(
                history.is_linearizable(),
                "round {round} of seed {seed}, {scene:?}:\n{history}"
            );
            overlaps += history.overlaps();
            exhausted += history.answers(Answer::Exhausted);
            contended += history.answers(Answer::Contended);
        }
        println!(
            "{rounds} histories, {overlaps} pairs of calls overlapped, {exhausted} times \
             exhausted, {contended} times contended or during a removal"
        );
        assert!(exhausted > rounds / 8);
        assert!(overlaps > rounds / 4);
    }
}

/// The control: each false answer is noticed within a few histories.
#[test]
fn control_lies_are_noticed() {
    for (scene, lie) in [
        (0, Lie::Full),
        (1, Lie::Full),
        (0, Lie::Keeps),
        (1, Lie::Keeps),
        (0, Lie::HandsOutTwice),
        (0, Lie::Refuses),
        (1, Lie::Refuses),
        (2, Lie::Refuses),
    ] {
        let mut rng = Rng::with_seed(SEED);
        let wrong =
            (1..=50).find(|_| !history(&scenes()[scene], 3, &mut rng, lie).is_linearizable());
        let wrong = wrong.unwrap_or_else(|| panic!("{lie:?} passed"));
        println!("{lie:?} in scene {scene}: noticed in history {wrong}");
    }
}
