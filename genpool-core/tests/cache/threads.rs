//! Several threads, each with a cache of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use genpool_core::{Allocation, Builder, Cache, Pool};

use crate::{BASE, PAGE, pool, pool_of, used};

/// The thread that owns each granule, 0 for none.
struct Owners(Vec<AtomicUsize>);

impl Owners {
    fn mark(&self, allocation: &Allocation<'_>, from: usize, to: usize) {
        let first = (allocation.addr() - BASE) / PAGE;
        for granule in first..first + allocation.size() / PAGE {
            let was = self.0[granule].swap(to, Ordering::Relaxed);
            assert_eq!(was, from, "granule {granule} has two owners");
        }
    }
}

/// Several threads, each with a cache, allocate, free into their cache, drop, and pass allocations to each other.
fn run_threads(builder: Builder, pages: usize) {
    let (count, steps) = if cfg!(miri) {
        (2_usize, 40)
    } else {
        (4, 30_000)
    };
    let pool = pool_of(builder, pages);
    let owners = Owners((0..pages).map(|_| AtomicUsize::new(0)).collect());
    let passed = Mutex::new(Vec::new());
    thread::scope(|threads| {
        for me in 1..=count {
            let (pool, owners, passed) = (&pool, &owners, &passed);
            threads.spawn(move || {
                let mut cache = pool.cache();
                let mut own = Vec::new();
                let mut random = me as u64;
                for step in 0..steps {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let choice = (random >> 33) as usize;
                    if choice.is_multiple_of(2) {
                        let wanted = choice / 2 % 10 + 1;
                        if let Ok(allocation) = cache.alloc(wanted * PAGE) {
                            assert_eq!(allocation.size(), wanted * PAGE);
                            owners.mark(&allocation, 0, me);
                            own.push(allocation);
                        }
                    } else if !own.is_empty() {
                        let allocation: Allocation<'_> = own.swap_remove(choice % own.len());
                        owners.mark(&allocation, me, 0);
                        match choice / 2 % 8 {
                            0 => drop(allocation),
                            1 => passed.lock().unwrap().push(allocation),
                            _ => cache.free(allocation),
                        }
                    }
                    let got = passed.lock().unwrap().pop();
                    if let Some(allocation) = got {
                        cache.free(allocation);
                    }
                    if step % 1000 == 999 {
                        cache.flush();
                        let stats = pool.stats();
                        assert!(stats.used <= stats.size);
                    }
                }
                for allocation in own {
                    owners.mark(&allocation, me, 0);
                    cache.free(allocation);
                }
                assert!(cache.held() <= Cache::MOST_GRANULES * PAGE);
            });
        }
    });
    drop(passed);
    assert_eq!((used(&pool), pool.stats().cached), (0, 0));
    assert!(pool.is_sound());
}

#[test]
fn caches_share_nothing_and_lose_nothing() {
    let ample = if cfg!(miri) { 600 } else { 4096 };
    run_threads(Pool::builder(), ample);
    // Too small for all threads, so refused calls and flushes are common.
    run_threads(Pool::builder(), 100);
    run_threads(Pool::builder().boundary_tracking(), ample / 4);
}

#[test]
fn a_chunk_drains_while_caches_are_busy() {
    const NEWEST: usize = 64 * BASE;
    let pool = pool(2048);
    pool.add(NEWEST, 2048 * PAGE).unwrap();
    let (stop, removed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sender, receiver) = sync_channel::<Allocation<'_>>(8);
    thread::scope(|threads| {
        for _ in 0..2 {
            let (pool, stop, removed, sender) = (&pool, &stop, &removed, sender.clone());
            threads.spawn(move || {
                let mut cache = pool.cache();
                while !stop.load(Ordering::Acquire) {
                    for pages in 1..=16 {
                        let gone = removed.load(Ordering::Acquire);
                        let (Ok(one), Ok(two)) =
                            (cache.alloc(pages * PAGE), cache.alloc(pages * PAGE))
                        else {
                            panic!("there is room");
                        };
                        assert!(!gone || one.addr() < NEWEST, "handed out after removal");
                        cache.free(one);
                        sender.send(two).unwrap();
                    }
                }
            });
        }
        drop(sender);
        threads.spawn(move || receiver.into_iter().for_each(drop));
        let drain = pool.remove(NEWEST).unwrap();
        removed.store(true, Ordering::Release);
        let drained = drain.wait(Some(std::time::Duration::from_secs(60)));
        stop.store(true, Ordering::Release);
        assert!(drained);
    });
    assert_eq!(used(&pool), 0);
    assert!(pool.is_sound());
}
