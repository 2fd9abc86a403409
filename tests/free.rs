//! Frees and drops: what is refused, with and without boundary tracking; races; stale allocations.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use common::{PAGE, builder, pool, tracked};
use genpool::{FixedOffset, FreeError, NotTracked, Pool};

#[test]
fn a_bad_free_is_an_error_and_changes_nothing() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x10_0000, 130 * PAGE).unwrap();
    // Granules 60 to 69, across a word border.
    let at = FixedOffset::new(60 * PAGE);
    let held = pool.alloc_with(10 * PAGE, &at).unwrap().into_raw();
    let used = 10 * PAGE;
    let refuse = |addr, size, expected| {
        assert_eq!(pool.free(addr, size), Err(expected));
        assert_eq!(pool.stats().used, used, "something was freed");
    };
    refuse(0x5000, PAGE, FreeError::Foreign { addr: 0x5000 });
    refuse(
        held.addr + 1,
        PAGE,
        FreeError::Misaligned {
            addr: held.addr + 1,
            granule: PAGE,
        },
    );
    let last = 0x10_0000 + 130 * PAGE - 1;
    for size in [usize::MAX, 71 * PAGE] {
        let addr = held.addr;
        refuse(addr, size, FreeError::PastChunk { addr, size, last });
    }
    // One granule more than is held: the error names the first free one, and none of the ten is cleared.
    let addr = held.addr + 10 * PAGE;
    refuse(held.addr, 11 * PAGE, FreeError::NotAllocated { addr });
    let addr = held.addr - PAGE;
    refuse(addr, 11 * PAGE, FreeError::NotAllocated { addr });
    pool.free(held.addr, held.size).unwrap();
    let again = pool.free(held.addr, held.size);
    assert_eq!(again, Err(FreeError::NotAllocated { addr: held.addr }));
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(pool.stats().refused_frees, 7);
    assert!(pool.is_sound());
}

#[test]
fn one_of_two_racing_frees_succeeds() {
    for pool in [tracked(&[(0, 256 * PAGE)]), {
        let pool = Pool::new(12).unwrap();
        pool.add(0, 256 * PAGE).unwrap();
        pool
    }] {
        let rounds = if cfg!(miri) { 8 } else { 3000 };
        let range = Mutex::new((0, 0));
        let gate = Barrier::new(3);
        let freed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        gate.wait();
                        let (addr, size) = *range.lock().unwrap();
                        if pool.free(addr, size).is_ok() {
                            freed.fetch_add(1, Ordering::Relaxed);
                        }
                        gate.wait();
                    }
                });
            }
            for round in 0..rounds {
                let at = FixedOffset::new((round % 200) * PAGE);
                let held = pool
                    .alloc_with((round % 50 + 1) * PAGE, &at)
                    .unwrap()
                    .into_raw();
                *range.lock().unwrap() = (held.addr, held.size);
                gate.wait();
                gate.wait();
                assert_eq!(freed.load(Ordering::Relaxed), round + 1);
                assert_eq!(pool.avail(), pool.size());
            }
        });
        assert!(pool.is_sound());
    }
}

#[test]
fn boundary_tracking_detects_wrong_frees() {
    let pool = tracked(&[(0x10_0000, 64 * PAGE)]);
    let a = pool.alloc(4 * PAGE).unwrap().into_raw();
    let b = pool.alloc(4 * PAGE).unwrap().into_raw();
    let wrong = |size| {
        Err(FreeError::WrongSize {
            addr: a.addr,
            size,
            allocated: 4 * PAGE,
        })
    };
    // Too small (a partial free), and into the neighbour.
    assert_eq!(pool.free(a.addr, PAGE), wrong(PAGE));
    assert_eq!(pool.free(a.addr, 8 * PAGE), wrong(8 * PAGE));
    let inside = b.addr + PAGE;
    let interior = FreeError::Interior {
        addr: inside,
        start: b.addr,
    };
    assert_eq!(pool.free(inside, PAGE), Err(interior));
    assert_eq!(pool.free_addr(inside), Err(interior));
    assert_eq!(pool.stats().used, 8 * PAGE);
    // Any size that ends in the last granule names the same run.
    pool.free(a.addr, 3 * PAGE + 1).unwrap();
    assert_eq!(pool.free_addr(b.addr), Ok(4 * PAGE));
    let twice = FreeError::NotAllocated { addr: b.addr };
    assert_eq!(pool.free_addr(b.addr), Err(twice));
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());

    let untracked = Pool::new(12).unwrap();
    untracked.add(0, PAGE).unwrap();
    let _held = untracked.alloc(1).unwrap();
    assert_eq!(untracked.free_addr(0), Err(FreeError::NotTracked));
    assert_eq!(untracked.live().unwrap_err(), NotTracked);
}

#[test]
fn boundary_tracking_lists_live_allocations() {
    let pool = tracked(&[(0, 8 * PAGE)]);
    let a = pool.alloc(PAGE).unwrap();
    let b = pool.alloc(2 * PAGE).unwrap();
    b.set_tag(0x77);
    let live: Vec<_> = pool.live().unwrap();
    let seen: Vec<_> = live
        .iter()
        .map(|held| (held.addr, held.size, held.tag))
        .collect();
    assert_eq!(seen, [(0, PAGE, Some(0)), (PAGE, 2 * PAGE, Some(0x77))]);
    // Dropping an allocation whose range was freed by address does nothing.
    pool.free_addr(PAGE).unwrap();
    let c = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(c.addr(), PAGE);
    drop(b);
    assert_eq!(
        pool.stats().used,
        3 * PAGE,
        "the stale drop freed the new owner's range"
    );
    assert_eq!(pool.stats().refused_frees, 1);
    drop((a, c));
    assert!(pool.live().unwrap().is_empty());
}

/// A second free: of a part; of a run of which a part is free; and of a run over two allocations.
#[test]
fn a_partial_double_free_changes_nothing() {
    // Inside a word, across a border, across several words.
    for (start, n) in [(3, 8), (60, 8), (60, 200)] {
        let pool = pool(300);
        let at = FixedOffset::new(start);
        let held = pool.alloc_with(n, &at).unwrap().into_raw();
        // Without boundary tracking a part may be given back, once.
        pool.free(held.addr + 2, 3).unwrap();
        for (addr, size) in [(start, n), (start + 2, 3), (start + 4, 2), (start, 3)] {
            let refused = pool.free(addr, size).unwrap_err();
            let free = addr.max(start + 2);
            assert_eq!(refused, FreeError::NotAllocated { addr: free });
            assert_eq!(pool.avail(), 300 - n + 3);
        }
        pool.free(start, 2).unwrap();
        pool.free(start + 5, n - 5).unwrap();
        assert_eq!(pool.avail(), 300);
        assert!(pool.is_sound());

        let pool = Pool::builder().boundary_tracking().build().unwrap();
        pool.add(0, 300).unwrap();
        let held = pool.alloc_with(n, &at).unwrap().into_raw();
        for (addr, size) in [(start + 2, 3), (start, 3), (start + n - 1, 1)] {
            assert!(pool.free(addr, size).is_err());
            assert_eq!(pool.avail(), 300 - n);
        }
        pool.free(held.addr, held.size).unwrap();
        assert!(pool.free(held.addr, held.size).is_err());
        assert_eq!(pool.avail(), 300);
    }
}

/// Which frees of a range by a former owner are detected, and which cannot be.
#[test]
fn a_stale_free_is_detected_where_it_can_be() {
    let run = |pool: &Pool| pool.alloc(4 * PAGE).unwrap().into_raw();
    // With boundary tracking: a different start or a different size.
    let pool = tracked(&[(0, 16 * PAGE)]);
    let stale = run(&pool);
    pool.free(stale.addr, stale.size).unwrap();
    let new = pool.alloc(3 * PAGE).unwrap();
    assert_eq!(new.addr(), stale.addr);
    let wrong = FreeError::WrongSize {
        addr: stale.addr,
        size: stale.size,
        allocated: 3 * PAGE,
    };
    assert_eq!(pool.free(stale.addr, stale.size), Err(wrong));
    drop(new);
    let other = pool.alloc_with(8 * PAGE, &FixedOffset::new(0)).unwrap();
    let inside = FreeError::Interior {
        addr: PAGE,
        start: 0,
    };
    assert_eq!(pool.free(PAGE, PAGE), Err(inside));
    drop(other);
    // A value knows that it is stale, whatever is there now.
    let stale = pool.alloc(4 * PAGE).unwrap();
    pool.free_addr(stale.addr()).unwrap();
    let new = pool.alloc(4 * PAGE).unwrap();
    assert_eq!(new.addr(), stale.addr());
    drop(stale);
    assert_eq!(pool.stats().used, 4 * PAGE);
    // An address does not: the same start and size name the new owner's allocation.
    assert_eq!(pool.free_addr(new.addr()), Ok(4 * PAGE));
    drop(new);
    assert_eq!((pool.stats().used, pool.stats().refused_frees), (0, 4));

    // Without boundary tracking: only that something in the range is free.
    let pool = Pool::new(12).unwrap();
    pool.add(0, 16 * PAGE).unwrap();
    let stale = run(&pool);
    pool.free(stale.addr, stale.size).unwrap();
    let new = pool.alloc(3 * PAGE).unwrap().into_raw();
    assert!(pool.free(stale.addr, stale.size).is_err());
    pool.free(new.addr, PAGE).unwrap();
    assert_eq!(pool.stats().used, 2 * PAGE);
}

/// Makes a pool whose chunks are not permanent, because one was removed before.
fn after_a_removal(tracked: bool) -> Pool {
    let pool = builder(tracked).build().unwrap();
    pool.add(0x10_0000, 64).unwrap();
    drop(pool.remove(0x10_0000).unwrap());
    pool
}

#[test]
fn a_stale_allocation_leaves_a_later_chunk_alone() {
    let size = if cfg!(miri) { 128 } else { 4096 };
    // The result does not depend on chunks that were added, or refused, before.
    for refused in 0..3 {
        let pool = after_a_removal(true);
        (0..refused).for_each(|_| assert!(pool.add(0, 0).is_err()));
        pool.add(0, size).unwrap();
        let mut stale = pool.alloc(10).unwrap();
        pool.free_addr(stale.addr()).unwrap();
        let _ = pool.remove(0).unwrap().finish().unwrap();
        // The same range again, and in it an allocation of the same extent.
        pool.add_virt(0, 77, size).unwrap();
        let fresh = pool.alloc(10).unwrap();
        assert_eq!((fresh.addr(), fresh.phys()), (stale.addr(), Some(77)));
        assert_eq!(stale.phys(), None);
        stale.set_tag(5);
        assert!(stale.resize(20).is_err());
        drop(stale);
        assert_eq!(pool.stats().used, 10);
        assert_eq!(pool.live().unwrap()[0].tag, Some(0));
    }
}

#[test]
fn a_stale_allocation_leaves_a_smaller_chunk_alone() {
    let pool = after_a_removal(false);
    for (before, after) in [(2000, 64), (128, 70)] {
        pool.add(0, 4096).unwrap();
        let stale = pool.alloc(before).unwrap();
        pool.free(stale.addr(), stale.size()).unwrap();
        let _ = pool.remove(0).unwrap().finish().unwrap();
        pool.add(0, after).unwrap();
        drop(stale);
        assert_eq!(pool.avail(), after);
        assert!(pool.is_sound());
        let _ = pool.remove(0).unwrap().finish().unwrap();
    }
}
