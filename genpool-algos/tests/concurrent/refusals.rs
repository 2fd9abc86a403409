//! No request is refused as exhausted while there was room all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use genpool_algos::{BestFit, FirstFitAlign, FixedAddress, NextFit, OrderAlign, ThreadStart};
use genpool_core::{AllocError, Allocation, FirstFit, Impossible, Pool};
use genpool_core::{Constrained, Constraints};

use crate::table::{Held, Hold, Table};
use crate::{
    BASE, Ends, Fails, GRANULE, ORDER, PITCH, Rng, SEED, at_rest, place, size, spec, steps,
};

/// The result of a request for which there was room all the time: none only if it got `Contended`.
fn must_fit<'p>(outcome: Result<Allocation<'p>, AllocError>) -> Option<Allocation<'p>> {
    match outcome {
        Ok(found) => Some(found),
        Err(AllocError::Contended { .. }) => None,
        Err(other) => panic!("{other}, though there was room all the time; seed {SEED}"),
    }
}

fn empty_pool(tracked: bool) -> Pool {
    let builder = Pool::builder().order(ORDER);
    let builder = if tracked {
        builder.boundary_tracking()
    } else {
        builder
    };
    builder.build().unwrap()
}

/// One part of the chunk is reserved for a single thread, while the others fill, overfill and empty the rest.
#[test]
fn a_reserve_is_always_found() {
    let granules = if cfg!(miri) { 200 } else { 1400 };
    let reserve = 70;
    let pool = Pool::builder().order(ORDER).build().unwrap();
    pool.add_chunk(spec(0, granules)).unwrap();
    let table = Table::new(BASE, PITCH);
    let border = place(0) + (granules - reserve) * GRANULE;
    let below = Constraints::new().highest(border - 1);
    let (done, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let (pool, table, done, failed) = (&pool, &table, &done, &failed);
        for by in 1..if cfg!(miri) { 2 } else { 4 } {
            scope.spawn(move || {
                let _fails = Fails(failed);
                let mut rng = Rng::new(0x1000 + u64::from(by));
                let mut held = Vec::new();
                let next = Constrained::new(NextFit::new(), below);
                while !done.load(Ordering::Relaxed) {
                    let size = size(&mut rng);
                    let outcome = match rng.below(4) {
                        0 => pool.alloc_with(size, &Constrained::new(FirstFit, below)),
                        1 => pool.alloc_with(size, &Constrained::new(BestFit, below)),
                        2 => pool.alloc_with(size, &Constrained::new(ThreadStart, below)),
                        _ => pool.alloc_with(size, &next),
                    };
                    match outcome {
                        Ok(found) => {
                            assert!(found.addr() + (found.size() - 1) < border);
                            held.push(Held::new(table, by, Hold::Scoped(found)));
                        }
                        Err(AllocError::Exhausted { .. } | AllocError::Contended { .. }) => {
                            held.clear();
                        }
                        Err(other) => panic!("{other}"),
                    }
                    if held.len() > 40 {
                        held.swap_remove(rng.below(40));
                    }
                }
            });
        }
        let _ends = Ends(done);
        let mut rng = Rng::new(0x2000);
        let next = NextFit::new();
        for _ in 0..steps(60_000) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            let wish = (1 + rng.below(reserve)) * GRANULE;
            let fixed = FixedAddress::new(border + rng.below(reserve) * GRANULE);
            let found = match rng.below(6) {
                0 => must_fit(pool.alloc(wish)),
                1 => must_fit(pool.alloc_with(wish, &BestFit)),
                2 => must_fit(pool.alloc_with(wish, &next)),
                3 => must_fit(pool.alloc_with(wish, &ThreadStart)),
                4 => must_fit(pool.alloc_with(1, &fixed)),
                _ => {
                    let above = Constrained::new(BestFit, Constraints::new().lowest(border));
                    must_fit(pool.alloc_with(wish, &above))
                }
            };
            drop(found.map(|found| Held::new(table, 99, Hold::Scoped(found))));
        }
    });
    at_rest(&pool, &table, 1);
}

/// The threads never hold so much, nor in so many pieces, that there could be no room. The room moves all the time,
/// but there is always some.
#[test]
fn room_that_moves_is_always_found() {
    const PIECES: usize = 4;
    const LONGEST: usize = 40;
    let threads = if cfg!(miri) { 2 } else { 4 };
    // At any instant at most `held` granules in `pieces` pieces are taken, so a run of `always` is free between two
    // of them.
    let (held, pieces) = (threads * PIECES * LONGEST, threads * PIECES);
    let granules = if cfg!(miri) { 512 } else { 1000 };
    let always = (granules - held) / (pieces + 1);
    assert!(always > 8);
    for tracked in [false, true] {
        let pool = empty_pool(tracked);
        pool.add_chunk(spec(0, granules)).unwrap();
        let table = Table::new(BASE, PITCH);
        let failed = AtomicBool::new(false);
        let shared = NextFit::new();
        thread::scope(|scope| {
            for by in 1..=u32::try_from(threads).expect("a few") {
                let (pool, table, failed, shared) = (&pool, &table, &failed, &shared);
                scope.spawn(move || {
                    let _fails = Fails(failed);
                    let mut rng = Rng::new(0x3000 + u64::from(by));
                    let mut held: Vec<Held<'_>> = Vec::new();
                    for _ in 0..steps(30_000) {
                        if failed.load(Ordering::Relaxed) {
                            return;
                        }
                        if held.len() == PIECES || rng.below(3) == 0 && !held.is_empty() {
                            held.swap_remove(rng.below(held.len()));
                            continue;
                        }
                        let n = 1 + rng.below(always.min(LONGEST));
                        let size = n * GRANULE;
                        let found = match rng.below(5) {
                            0 => must_fit(pool.alloc(size)),
                            1 => must_fit(pool.alloc_with(size, &BestFit)),
                            2 => must_fit(pool.alloc_with(size, shared)),
                            3 => must_fit(pool.alloc_with(size, &ThreadStart)),
                            _ => must_fit(pool.alloc_with(size, &FirstFitAlign::new(1).unwrap())),
                        };
                        held.extend(found.map(|found| Held::new(table, by, Hold::Scoped(found))));
                    }
                });
            }
        });
        at_rest(&pool, &table, 1);
    }
}

/// The threads together hold at most all granules but one. A thread that requests one more finds the last one,
/// wherever the others have moved it meanwhile. Requests that must fail hold nothing.
#[test]
fn the_last_granule_is_always_found() {
    let threads = if cfg!(miri) { 2 } else { 3 };
    let pieces = if cfg!(miri) { 40 } else { 1300 };
    let all = threads * pieces;
    let first = all / 2 + 1;
    for tracked in [false, true] {
        let pool = empty_pool(tracked);
        pool.add_chunk(spec(0, first)).unwrap();
        pool.add_chunk(spec(1, all - first)).unwrap();
        let table = Table::new(BASE, 2 * PITCH);
        let failed = AtomicBool::new(false);
        let shared = NextFit::new();
        thread::scope(|scope| {
            for by in 1..=u32::try_from(threads).expect("a few") {
                let (pool, table, failed, shared) = (&pool, &table, &failed, &shared);
                scope.spawn(move || {
                    let _fails = Fails(failed);
                    let mut rng = Rng::new(0x4000 + u64::from(by));
                    let mut held: Vec<Held<'_>> = Vec::new();
                    for _ in 0..pieces + steps(200_000) {
                        if failed.load(Ordering::Relaxed) {
                            return;
                        }
                        if held.len() == pieces {
                            held.swap_remove(rng.below(pieces));
                        }
                        if rng.below(16) == 0 {
                            must_not_fit(pool, &mut rng, all);
                        }
                        let found = match rng.below(6) {
                            0 | 1 => must_fit(pool.alloc(1)),
                            2 => must_fit(pool.alloc_with(1, &BestFit)),
                            3 => must_fit(pool.alloc_with(GRANULE, shared)),
                            4 => must_fit(pool.alloc_with(1, &ThreadStart)),
                            _ => must_fit(pool.alloc_with(1, &OrderAlign)),
                        };
                        held.extend(found.map(|found| Held::new(table, by, Hold::Scoped(found))));
                    }
                });
            }
        });
        at_rest(&pool, &table, 2);
    }
}

/// Requests more than there is, at once or one after the other. To other threads, it never held anything.
fn must_not_fit(pool: &Pool, rng: &mut Rng, all: usize) {
    let too_much = all * GRANULE;
    let refused = match rng.below(2) {
        0 => pool.alloc_many(&[1, GRANULE, too_much]).map(drop),
        _ => pool.alloc_with(too_much, &FirstFit).map(drop),
    };
    match refused {
        Err(
            AllocError::Exhausted { .. }
            | AllocError::Contended { .. }
            | AllocError::Impossible(Impossible::TooLong { .. }),
        ) => {}
        other => panic!("{other:?} for more than a chunk has"),
    }
}
