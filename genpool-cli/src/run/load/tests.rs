//! Tests of a phase, above all that a faulty pool is detected.

use std::sync::Mutex;

use super::super::backend::Locked;
use super::super::plan::Wish;
use super::*;
use genpool_plain::{Fit, LockedPool};

fn plan(threads: usize, order: u32) -> Plan {
    Plan::new(&Wish {
        seconds: 1.0,
        threads,
        size: 64 << 10,
        order,
        chunks: 2,
    })
    .unwrap()
}

/// Runs a short phase on the backend made from an arena.
fn run_on<B: Backend>(plan: &Plan, backend: impl FnOnce(&Arena) -> B) -> Result<Load, Fault> {
    let arena = Arena::map(plan.size(), 4096, plan.granule()).unwrap();
    let setting = Setting {
        plan,
        arena: &arena,
        processors: &[],
        phase: 3,
        // Long enough to fill the pool on a busy machine.
        time: Duration::from_millis(400),
        alignment: 1,
    };
    run(&backend(&arena), &setting, &mut || {}, || ()).map(|(load, ())| load)
}

#[test]
fn a_sound_pool_passes() {
    for order in [0, 2, 6] {
        let plan = plan(3, order);
        let pool = LockedPool::new(order);
        let load = run_on(&plan, |arena| {
            for (offset, size) in plan.chunks() {
                pool.add(arena.start() + offset, size).unwrap();
            }
            Locked {
                pool: &pool,
                fit: Fit::FirstFit,
            }
        })
        .unwrap();
        assert!(load.checked > 0 && load.per_second > 0.0 && !load.latency.is_empty());
        assert!(load.operations > 0 && load.allocs > 0 && load.held > 0);
        let full = load.held * 100 / plan.granules();
        assert!((60..=72).contains(&full), "{full} % full");
        assert_eq!(pool.avail(), plan.size());
    }
}

/// Hands out ranges one after the other, and starts over without asking whether the start is free.
struct Careless {
    start: usize,
    end: usize,
    next: Mutex<usize>,
}

impl Backend for Careless {
    type Held = (usize, usize);

    fn alloc(&self, size: usize) -> Result<(usize, usize), Refusal> {
        let mut next = self.next.lock().unwrap();
        if *next + size > self.end {
            *next = self.start;
        }
        let addr = *next;
        *next += size;
        Ok((addr, size))
    }

    fn range(held: &(usize, usize)) -> (usize, usize) {
        *held
    }

    fn free(&self, _: (usize, usize)) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn overlaps_are_noticed() {
    for threads in [1, 3] {
        let fault = run_on(&plan(threads, 6), |arena| Careless {
            start: arena.start(),
            end: arena.start() + arena.len(),
            next: Mutex::new(arena.start()),
        })
        .unwrap_err();
        assert!(matches!(fault, Fault::Overlap(_)), "{fault}");
        let text = fault.to_string();
        assert!(
            text.starts_with("overlap at 0x")
                && text.contains("expected 0x")
                && text.contains("found 0x"),
            "{text}"
        );
    }
}

/// Always gives the same answer.
struct Always(Result<(usize, usize), Refusal>);

impl Backend for Always {
    type Held = (usize, usize);

    fn alloc(&self, _: usize) -> Result<(usize, usize), Refusal> {
        self.0.clone()
    }

    fn range(held: &(usize, usize)) -> (usize, usize) {
        *held
    }

    fn free(&self, _: (usize, usize)) -> Result<(), String> {
        Err("never".to_owned())
    }
}

#[test]
fn ranges_outside_the_memory_are_noticed() {
    let plan = plan(2, 6);
    let outside = |arena: &Arena| Always(Ok((arena.start() + arena.len() - 64, 128)));
    assert!(matches!(
        run_on(&plan, outside).unwrap_err(),
        Fault::Outside { size: 128, .. }
    ));
}

#[test]
fn answers_that_make_no_sense_are_noticed() {
    let plan = plan(1, 6);
    let small = |arena: &Arena| Always(Ok((arena.start(), 8)));
    assert!(matches!(
        run_on(&plan, small).unwrap_err(),
        Fault::TooSmall { size: 8, .. }
    ));
    let unexpected = |_: &Arena| Always(Err(Refusal::Unexpected("no".to_owned())));
    assert!(matches!(
        run_on(&plan, unexpected).unwrap_err(),
        Fault::Refused(_)
    ));
    // Each gets all of it, and frees it before it is handed out again.
    let stubborn = |arena: &Arena| Always(Ok((arena.start(), arena.len())));
    assert!(
        matches!(run_on(&plan, stubborn).unwrap_err(), Fault::Refused(text) if text == "never")
    );
}

#[test]
fn failures_are_counted_and_the_clock_still_ends_it() {
    let plan = plan(2, 6);
    let exhausted = run_on(&plan, |_| Always(Err(Refusal::Exhausted))).unwrap();
    assert!(exhausted.exhausted > 0 && exhausted.contended == 0 && exhausted.checked == 0);
    let contended = run_on(&plan, |_| Always(Err(Refusal::Contended))).unwrap();
    assert!(contended.contended > 0 && contended.exhausted == 0);
}

#[test]
fn a_panicking_thread_is_a_fault() {
    let fault = stage(&mut [0, 1], None, &mut || {}, |worker, _| {
        assert_ne!(*worker, 1, "on purpose");
        Ok(())
    });
    assert!(matches!(fault, Err(Fault::Panic)));
}

#[test]
fn sizes_are_mixed_and_mostly_small() {
    let mut random = Random(1);
    let mut counts = [0; 17];
    for _ in 0..16_000 {
        counts[random.size(16)] += 1;
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|&count| count > 50), "{counts:?}");
    assert!((7_500..8_500).contains(&counts[1]), "{counts:?}");
    assert!((0..1000).all(|_| (1..=5).contains(&random.size(5))));
    assert!((0..1000).all(|_| random.below(3) < 3));
}
