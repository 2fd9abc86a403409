//! The cache: a handle for one thread that keeps runs at hand.

#![forbid(unsafe_code)]

mod model;
mod threads;

use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use genpool_core::{
    Algorithm, AllocError, Builder, Cache, ChunkView, FirstFit, FreeError, Granule, Impossible,
    Pool, Request,
};

const PAGE: usize = 4096;
const BASE: usize = 0x10_0000;

fn pool_of(builder: Builder, pages: usize) -> Pool {
    let pool = builder.order(12).build().unwrap();
    pool.add(BASE, pages * PAGE).unwrap();
    pool
}

fn pool(pages: usize) -> Pool {
    pool_of(Pool::builder(), pages)
}

/// The bytes that are taken.
fn used(pool: &Pool) -> usize {
    let stats = pool.stats();
    stats.used + stats.draining_used
}

/// First fit at even page addresses.
struct Even;

impl Algorithm for Even {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let (end, n) = (Granule(usize::MAX), request.granules());
        chunk.find_aligned(Granule(0), end, n, 2 * PAGE, 0)
    }
}

/// First fit under another type.
struct AnyStart;

impl Algorithm for AnyStart {
    fn any_place(&self) -> bool {
        true
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        FirstFit.propose(chunk, request)
    }
}

// ---- what it keeps ----

#[test]
fn what_is_freed_stays_at_hand() {
    let pool = pool(4096);
    let mut cache = pool.cache();
    assert_eq!((cache.held(), pool.stats().cached), (0, 0));
    for pages in 1..=16 {
        let first = cache.alloc(pages * PAGE - 1).unwrap();
        assert_eq!(first.size(), pages * PAGE);
        let addr = first.addr();
        cache.free(first);
        assert_eq!(cache.alloc(pages * PAGE).unwrap().addr(), addr);
    }
    let stats = pool.stats();
    assert!(cache.held() > 0);
    assert_eq!((stats.cached, stats.used), (cache.held(), cache.held()));
    cache.flush();
    let stats = pool.stats();
    assert_eq!((cache.held(), stats.cached, stats.used), (0, 0, 0));
    assert!(pool.is_sound());
}

#[test]
fn other_sizes_go_straight_to_the_pool() {
    let pool = pool(4096);
    let mut cache = pool.cache();
    let long = cache.alloc(17 * PAGE).unwrap();
    assert_eq!((long.addr(), used(&pool)), (BASE, 17 * PAGE));
    cache.free(long);
    assert_eq!(used(&pool), 0);
    assert_eq!(cache.alloc(0).unwrap_err(), AllocError::ZeroSize);
    let all = cache.alloc(usize::MAX).unwrap_err();
    let too_long = Impossible::TooLong {
        size: usize::MAX,
        longest: 4096 * PAGE,
    };
    assert_eq!(all, AllocError::Impossible(too_long));
    drop(cache);

    // A granule is half of the address space.
    let vast = Pool::new(usize::BITS - 1).unwrap();
    vast.add(0, 1 << (usize::BITS - 1)).unwrap();
    let mut cache = vast.cache();
    assert_eq!(cache.alloc(0).unwrap_err(), AllocError::ZeroSize);
    let half = cache.alloc(1).unwrap();
    assert!(cache.alloc(usize::MAX).is_err());
    cache.free(half);
    assert!(cache.alloc(1).is_ok());
}

#[test]
fn it_keeps_no_more_than_its_bound() {
    let (rounds, count) = if cfg!(miri) { (1, 40) } else { (3, 100) };
    let pool = pool(32 * count + Cache::MOST_GRANULES);
    let mut cache = pool.cache();
    for round in 0..rounds {
        for pages in 1..=16 {
            let live: Vec<_> = (0..count).map(|_| cache.alloc(pages * PAGE)).collect();
            for allocation in live {
                cache.free(allocation.unwrap());
                assert!(cache.held() <= Cache::MOST_GRANULES * PAGE);
            }
            let kept = pool.stats().cached;
            assert_eq!((kept, used(&pool)), (cache.held(), cache.held()));
            if round > 0 {
                assert!(kept >= Cache::MOST_GRANULES * PAGE / 2);
            }
        }
    }
    drop(cache);
    assert_eq!(used(&pool), 0);
    assert!(pool.is_sound());
}

#[test]
fn half_of_it_stays_at_hand_when_there_is_too_much() {
    let pool = pool(256);
    let mut cache = pool.cache();
    // As many as are kept, and one more, not allocated from the cache.
    let live: Vec<_> = (0..34).map(|_| pool.alloc(PAGE).unwrap()).collect();
    let mut held = Vec::new();
    for allocation in live {
        cache.free(allocation);
        held.push(cache.held() / PAGE);
    }
    let expected = (1..=32).chain([17, 18]);
    assert!(held.iter().copied().eq(expected), "{held:?}");
}

#[test]
fn caches_begin_apart() {
    let pool = pool(1 << 14);
    let mut caches = [pool.cache(), pool.cache(), pool.cache(), pool.cache()];
    let starts = caches.each_mut().map(|cache| {
        let first = cache.alloc(PAGE).unwrap();
        (first.addr() - BASE) / PAGE
    });
    assert_eq!(starts, [0, 1 << 13, 1 << 12, 3 << 12]);
}

#[test]
fn runs_across_words_are_kept_too() {
    let pool = pool(256);
    let mut cache = pool.cache();
    let bits = usize::BITS as usize;
    let place = pool.alloc((bits - 4) * PAGE).unwrap();
    let across = pool.alloc(8 * PAGE).unwrap();
    let within = pool.alloc(8 * PAGE).unwrap();
    drop(place);
    let addr = across.addr();
    cache.free(within);
    cache.free(across);
    assert_eq!(cache.held(), 16 * PAGE);
    assert_eq!(cache.alloc(8 * PAGE).unwrap().addr(), addr);
    cache.flush();
    assert_eq!(used(&pool), 0);
    assert!(pool.is_sound());
}

#[test]
fn caches_that_follow_each_other_share_a_place() {
    let pool = pool(64);
    drop((pool.cache(), pool.cache()));
    let two = pool.stats().bookkeeping;
    for _ in 0..10 {
        let (mut one, mut other) = (pool.cache(), pool.cache());
        let held = [one.alloc(1).unwrap(), other.alloc(PAGE).unwrap()];
        assert_eq!(pool.stats().cached, one.held() + other.held());
        drop(held);
    }
    assert_eq!((pool.stats().bookkeeping, pool.stats().cached), (two, 0));
}

// ---- where a freed run goes ----

#[test]
fn an_allocation_goes_home_from_any_thread() {
    let (pool, other) = (pool(64), pool(64));
    let mut cache = pool.cache();
    let (dropped, kept) = (cache.alloc(PAGE).unwrap(), cache.alloc(PAGE).unwrap());
    thread::scope(|threads| {
        threads.spawn(|| drop(dropped));
        threads.spawn(|| {
            let mut own = pool.cache();
            own.free(kept);
            assert_eq!(own.held(), PAGE);
        });
    });
    assert_eq!(used(&pool), cache.held());

    // An allocation of another pool returns to that pool.
    cache.free(other.alloc(PAGE).unwrap());
    assert_eq!(used(&other), 0);
    let mut empty = pool.cache();
    empty.free(other.alloc(PAGE).unwrap());
    assert_eq!((empty.held(), used(&other)), (0, 0));

    // The cache itself goes to another thread, with everything it keeps.
    thread::scope(|threads| {
        threads.spawn(move || {
            assert!(cache.alloc(PAGE).is_ok());
            drop(cache);
        });
    });
    assert_eq!(used(&pool), 0);
    assert!(pool.is_sound());
}

#[test]
fn no_chunk_that_is_not_permanent_is_kept() {
    let pool = pool(8);
    let mut cache = pool.cache();
    let _ = pool.remove(BASE).unwrap().finish().unwrap();
    pool.add(2 * BASE, 8 * PAGE).unwrap();
    let held = cache.alloc(PAGE).unwrap();
    assert_eq!(held.addr(), 2 * BASE);
    cache.free(held);
    assert_eq!((cache.held(), used(&pool)), (0, 0));
}

#[test]
fn the_chunk_that_has_room_is_kept() {
    let pool = pool(8);
    pool.add(2 * BASE, 8 * PAGE).unwrap();
    let full = pool.alloc(8 * PAGE).unwrap();
    assert_eq!(full.addr(), 2 * BASE);
    let mut cache = pool.cache();
    let held = cache.alloc(PAGE).unwrap();
    assert_eq!(held.addr(), BASE);
    cache.free(held);
    assert_eq!(cache.held(), PAGE);
    // A run of the other chunk is not kept along with it.
    drop(full);
    cache.free(pool.alloc(PAGE).unwrap());
    assert_eq!(cache.held(), PAGE);
    drop(cache);
    assert_eq!(used(&pool), 0);
}

// ---- the default algorithm ----

#[test]
fn an_algorithm_with_rules_is_asked_every_time() {
    let pool = pool_of(Pool::builder().algorithm(Even), 64);
    let mut cache = pool.cache();
    let live: Vec<_> = (0..8).map(|_| cache.alloc(PAGE).unwrap()).collect();
    assert!(live.iter().all(|held| held.addr().is_multiple_of(2 * PAGE)));
    for held in live {
        cache.free(held);
    }
    assert_eq!((cache.held(), used(&pool)), (0, 0));

    pool.set_algorithm(FirstFit);
    let held = cache.alloc(PAGE).unwrap();
    assert!(cache.held() > 0);
    pool.set_algorithm(Even);
    // Kept for now, and given back by the next alloc.
    cache.free(held);
    let live: Vec<_> = (0..8).map(|_| cache.alloc(PAGE).unwrap()).collect();
    assert!(live.iter().all(|held| held.addr().is_multiple_of(2 * PAGE)));
    assert_eq!((cache.held(), used(&pool)), (0, 8 * PAGE));
}

#[test]
fn a_refused_cache_follows_the_algorithm_too() {
    let pool = pool(64);
    let mut cache = pool.cache();
    let mut live: Vec<_> = (0..4).map(|_| pool.alloc(16 * PAGE).unwrap()).collect();
    let exhausted = AllocError::Exhausted { size: PAGE };
    for _ in 0..2 {
        assert_eq!(cache.alloc(PAGE).unwrap_err(), exhausted);
    }
    pool.set_algorithm(Even);
    assert_eq!(cache.alloc(PAGE).unwrap_err(), exhausted);
    cache.free(live.remove(0));
    assert_eq!((cache.held(), used(&pool)), (0, 48 * PAGE));
}

#[test]
fn another_algorithm_finds_what_is_at_hand() {
    let pool = pool(256);
    let mut cache = pool.cache();
    let live: Vec<_> = (0..32).map(|_| pool.alloc(PAGE).unwrap()).collect();
    live.into_iter()
        .for_each(|allocation| cache.free(allocation));
    pool.set_algorithm(AnyStart);
    let held = cache.alloc(PAGE).unwrap();
    assert_eq!((cache.held(), used(&pool)), (31 * PAGE, 32 * PAGE));
    drop(held);
    drop(cache);
    assert_eq!(used(&pool), 0);
}

// ---- failure ----

#[test]
fn what_it_keeps_never_makes_it_fail() {
    let pool = pool(64);
    let mut cache = pool.cache();
    for pages in [1, 2, 4, 8, 1] {
        let held = cache.alloc(pages * PAGE).unwrap();
        cache.free(held);
        assert!(cache.held() > 0);
        let all = cache.alloc(64 * PAGE).unwrap();
        assert_eq!(cache.held(), 0);
        let refused = cache.alloc(PAGE).unwrap_err();
        assert_eq!(refused, AllocError::Exhausted { size: PAGE });
        cache.free(all);
    }
    // Runs of a quarter of a word and less: longer ones leave more of each word over than the pool has to spare.
    for pages in 1..=usize::BITS as usize / 4 {
        let all: Vec<_> = (0..64 / pages).map(|_| cache.alloc(pages * PAGE)).collect();
        assert!(all.iter().all(Result::is_ok));
        assert!(cache.alloc(pages * PAGE).is_err());
        for held in all.into_iter().flatten() {
            cache.free(held);
        }
    }
    // What it was filled with and never asked for.
    cache.flush();
    let held = cache.alloc(PAGE).unwrap();
    let rest: Vec<_> = iter::from_fn(|| pool.alloc(PAGE).ok()).collect();
    // No query, because it would withdraw the cached refusal.
    assert!(cache.held() > PAGE && cache.alloc(2 * PAGE).is_ok());
    drop((held, rest));
}

#[test]
fn what_it_keeps_is_given_back_before_contention_is_answered() {
    static POOL: OnceLock<Pool> = OnceLock::new();
    /// First fit that spoils every proof, because its query is reported to probers.
    struct Restless;
    impl Algorithm for Restless {
        fn any_place(&self) -> bool {
            true
        }

        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            POOL.get().map(|pool| pool.avail());
            FirstFit.propose(chunk, request)
        }
    }
    let pool = POOL.get_or_init(|| pool(64));
    pool.set_algorithm(Restless);
    let mut cache = pool.cache();
    let held = cache.alloc(PAGE).unwrap();
    cache.free(held);
    let all = cache.alloc(64 * PAGE).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.contended, stats.exhausted), (1, 0));
    let refused = cache.alloc(PAGE).unwrap_err();
    assert_eq!(refused, AllocError::Contended { size: PAGE });
    drop(all);
}

#[test]
fn the_last_granule_is_found() {
    for last in [0, 63, 64, 1500, 4095] {
        let pool = pool(4096);
        let range = pool.alloc(4096 * PAGE).unwrap().into_raw();
        pool.free(range.addr + last * PAGE, PAGE).unwrap();
        let mut cache = pool.cache();
        assert_eq!(cache.alloc(1).unwrap().addr(), BASE + last * PAGE);
        let _other = pool.cache().alloc(1).unwrap();
        assert!(cache.alloc(1).is_err());
    }
}

// ---- removal ----

#[test]
fn a_chunk_that_is_being_removed_hands_out_nothing() {
    let pool = pool(64);
    let mut cache = pool.cache();
    let (one, two) = (cache.alloc(PAGE).unwrap(), cache.alloc(2 * PAGE).unwrap());
    cache.free(two);
    let drain = pool.remove(BASE).unwrap();
    let stats = pool.stats();
    assert_eq!(stats.draining_used, PAGE + cache.held());
    assert_eq!((stats.used, stats.cached), (0, cache.held()));
    assert_eq!(
        cache.alloc(PAGE).unwrap_err(),
        AllocError::Impossible(Impossible::NoChunk)
    );
    assert_eq!((cache.held(), drain.held()), (0, PAGE));
    cache.free(one);
    assert!(drain.is_drained());
    assert!(pool.is_sound());
}

#[test]
fn a_call_lets_a_chunk_drain() {
    type Call = fn(&mut Cache<'_>);
    let calls: [Call; 3] = [
        |cache| cache.flush(),
        |cache| assert!(cache.alloc(PAGE).is_err()),
        // A length of which the cache holds none.
        |cache| assert!(cache.alloc(8 * PAGE).is_err()),
    ];
    for call in calls {
        let pool = pool(64);
        let mut cache = pool.cache();
        drop(cache.alloc(PAGE).unwrap());
        let drain = pool.remove(BASE).unwrap();
        let observed = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&observed);
        drain.on_drained(move || tell.store(true, Ordering::Relaxed));
        assert!(!drain.is_drained(), "the cache keeps some of it");
        call(&mut cache);
        assert!(observed.load(Ordering::Relaxed));
        assert!(drain.finish().is_ok());
    }
}

#[test]
fn what_comes_back_to_a_chunk_that_is_being_removed_is_not_kept() {
    let pool = pool(64);
    let mut cache = pool.cache();
    let held = cache.alloc(PAGE).unwrap();
    let drain = pool.remove(BASE).unwrap();
    cache.free(held);
    assert_eq!(cache.held(), 0);
    assert!(drain.is_drained());
}

#[test]
fn a_panicking_callback_loses_nothing() {
    let pool = pool(64);
    let mut cache = pool.cache();
    drop(cache.alloc(PAGE).unwrap());
    let drain = pool.remove(BASE).unwrap();
    drain.on_drained(|| panic!("on purpose"));
    let flush = AssertUnwindSafe(|| cache.flush());
    assert!(catch_unwind(flush).is_err());
    assert_eq!((cache.held(), drain.held()), (0, 0));
    assert!(cache.alloc(PAGE).is_err());
}

#[test]
fn a_panicking_callback_keeps_nothing_else_back() {
    let pool = Pool::new(0).unwrap();
    pool.add(0x1000, 64).unwrap();
    let mut cache = pool.cache();
    let one = cache.alloc(1).unwrap();
    cache.free(one);
    pool.add(0x2000, 64).unwrap();
    let two = cache.alloc(2).unwrap();
    assert_eq!(two.addr() >> 12, 2);
    cache.free(two);
    let drain = pool.remove(0x1000).unwrap();
    drain.on_drained(|| panic!("by the user"));
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(cache)));
    assert!(dropped.is_err(), "the panic comes out");
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(pool.stats().cached, 0);
    assert!(drain.is_drained());
}

// ---- boundary tracking ----

#[test]
fn what_is_kept_is_no_live_allocation() {
    let pool = pool_of(Pool::builder().boundary_tracking(), 64);
    let mut cache = pool.cache();
    let (one, two) = (cache.alloc(PAGE).unwrap(), cache.alloc(PAGE).unwrap());
    two.set_tag(7);
    let addr = one.addr();
    cache.free(one);
    let live = pool.live().unwrap();
    assert_eq!(live.len(), 1);
    assert_eq!(
        (live[0].addr, live[0].size, live[0].tag),
        (two.addr(), PAGE, Some(7))
    );
    assert_eq!(
        pool.free(addr, PAGE),
        Err(FreeError::NotAllocated { addr }),
        "what is kept was freed once"
    );
    assert!(pool.is_sound());

    // Freed by address while the allocation held it: not kept.
    assert_eq!(pool.free_addr(two.addr()), Ok(PAGE));
    let (held, refused) = (cache.held(), pool.stats().refused_frees);
    cache.free(two);
    assert_eq!(
        (cache.held(), pool.stats().refused_frees),
        (held, refused + 1)
    );

    let raw = cache.alloc(PAGE).unwrap().into_raw();
    assert_eq!((raw.addr, pool.free_addr(raw.addr)), (addr, Ok(PAGE)));
    drop(cache);
    assert!(pool.is_sound());
    assert!(pool.destroy().held.is_empty());
}
