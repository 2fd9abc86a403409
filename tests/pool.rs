//! A pool's counts and reports, its end, and its NUMA node.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Done, PAGE, pool, tracked};
use genpool::{Algorithm, ChunkView, FixedAddress, Granule, Pool, Request};

#[test]
fn avail_is_between_0_and_size() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 200 * PAGE).unwrap();
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for round in 0..rounds {
                drop(pool.alloc((round % 100 + 1) * PAGE));
            }
        });
        while !done.load(Ordering::Relaxed) {
            assert!(pool.avail() <= pool.size());
        }
    });
    assert_eq!(pool.avail(), pool.size());
}

/// Counts the granules that a view shows as free, one by one.
struct Count(AtomicUsize);

impl Algorithm for Count {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let all = (0..chunk.granules()).map(Granule);
        let free = all.filter(|&granule| chunk.is_free(granule, 1)).count();
        self.0.store(free, Ordering::Relaxed);
        Some(Granule(usize::MAX))
    }
}

#[test]
fn counters_agree_with_the_bits_at_rest() {
    let pool = pool(777);
    let check = |used: usize| {
        let count = Count(AtomicUsize::new(0));
        assert!(pool.alloc_with(1, &count).is_err());
        let free = count.0.into_inner();
        let stats = pool.stats();
        assert_eq!((free, stats.free, stats.used), (777 - used, free, used));
        let runs = pool.fragmentation();
        assert_eq!((pool.avail(), runs.free), (free, free));
        assert_eq!(pool.chunks().next().unwrap().avail(), free);
        assert!(pool.is_sound());
    };
    let mut held = Vec::new();
    for step in 0..if cfg!(miri) { 20 } else { 400 } {
        held.extend(pool.alloc(1 + step * 31 % 130));
        if step % 3 == 0 || held.len() > 12 {
            drop(held.swap_remove(step * 7 % held.len()));
        }
        check(held.iter().map(|held| held.size()).sum());
    }
    // The same after concurrent threads.
    thread::scope(|scope| {
        for thread in 1..3 {
            let pool = &pool;
            scope.spawn(move || {
                for step in 0..if cfg!(miri) { 20 } else { 2000 } {
                    drop(pool.alloc(1 + step * thread % 90));
                }
            });
        }
    });
    check(held.iter().map(|held| held.size()).sum());
    drop(held);
    check(0);
}

#[test]
fn destroying_reports_and_what_is_held_stays_valid() {
    let pool = tracked(&[(0, 8 * PAGE)]);
    let mut kept = pool.alloc_owned(2 * PAGE).unwrap();
    kept.set_tag(9);
    let _ = pool.alloc(PAGE).unwrap().into_raw();
    let report = pool.destroy();
    let held: Vec<_> = report
        .held
        .iter()
        .map(|held| (held.addr, held.size, held.tag))
        .collect();
    assert_eq!(held, [(0, 2 * PAGE, Some(9)), (2 * PAGE, PAGE, Some(0))]);
    // Still usable, and given back without the pool.
    assert_eq!(kept.addr(), 0);
    kept.resize(PAGE).unwrap();
    drop(kept);

    let reported = Arc::new(Mutex::new(None));
    let report_to = Arc::clone(&reported);
    let pool = Pool::builder()
        .on_leak(move |report| *report_to.lock().unwrap() = Some(report.held.len()))
        .build()
        .unwrap();
    pool.add(5, 10).unwrap();
    let kept = pool.alloc_owned(3).unwrap();
    drop(pool);
    assert_eq!(*reported.lock().unwrap(), Some(1));
    let _ = kept.into_raw();
}

#[test]
fn a_report_names_every_range_that_is_held() {
    // Without boundary tracking adjacent allocations are one range. A range ends at the end of a chunk, even if the
    // next chunk is adjacent.
    let pool = Pool::new(0).unwrap();
    pool.add(1000, 200).unwrap();
    pool.add(1200, 130).unwrap();
    let first = [0, 7, 64, 150, 199].map(|at| pool.alloc_with(1, &FixedAddress::new(1000 + at)));
    let second =
        [(0, 2), (60, 70)].map(|(at, n)| pool.alloc_with(n, &FixedAddress::new(1200 + at)));
    for held in first.into_iter().chain(second) {
        let _ = held.unwrap().into_raw();
    }
    let report = pool.destroy();
    let held: Vec<_> = report
        .held
        .iter()
        .map(|held| (held.addr, held.size))
        .collect();
    let first = [1000, 1007, 1064, 1150, 1199].map(|addr| (addr, 1));
    assert_eq!(held, [&first[..], &[(1200, 2), (1260, 70)]].concat());
    assert_eq!(report.to_string().lines().count(), 8);
}

#[test]
fn bookkeeping_is_placed_on_the_node() {
    // The memory policy of a page of the bitmap is not visible through the pool. What can be tested is that the node is
    // requested, and that an unknown node is refused.
    if !cfg!(target_os = "linux") || cfg!(miri) {
        return;
    }
    for unknown in [1000, 1023, 1024, u32::MAX] {
        let refused = Pool::builder().node(unknown).build().unwrap_err();
        assert!(
            refused
                .to_string()
                .contains(&format!("NUMA node {unknown}")),
            "{refused}"
        );
    }
    match Pool::builder().order(12).node(0).build() {
        Ok(pool) => {
            assert_eq!(pool.node(), Some(0));
            pool.add(0, 100_000 * PAGE).unwrap();
            let a = pool.alloc(70_000 * PAGE).unwrap();
            drop(a);
            assert_eq!(pool.avail(), pool.size());
        }
        // A sandbox may forbid mbind, which the error reports.
        Err(refused) => assert!(matches!(refused, genpool::BuildError::NodeRefused { .. })),
    }
}
