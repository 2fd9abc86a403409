//! Events of caches.

use genpool_core::AllocError;

use crate::{PAGE, allocated, cached, emptied, filled, freed, logged, refused, too_long};

#[test]
fn a_cache_reports_what_it_hands_out_and_takes_back() {
    for tracked in [false, true] {
        let (log, pool) = logged(tracked);
        pool.add(0, 64 * PAGE).unwrap();
        let (_, other) = logged(tracked);
        other.add(0, PAGE).unwrap();
        log.said();
        let mut cache = pool.cache();
        let first = cache.alloc(PAGE).unwrap();
        let addr = first.addr();
        let batch: Vec<_> = (0..16).rev().map(|at| addr + at * PAGE).collect();
        assert_eq!(
            log.said(),
            [filled(&batch, PAGE), cached(allocated(addr, PAGE, None))]
        );
        cache.free(first);
        let again = cache.alloc(1).unwrap();
        assert_eq!(again.addr(), addr);
        drop(again);
        assert_eq!(
            log.said(),
            [
                cached(freed(addr, PAGE)),
                cached(allocated(addr, 1, None)),
                freed(addr, PAGE),
            ]
        );
        // A range that it does not keep returns to the pool.
        let long = cache.alloc(17 * PAGE).unwrap();
        let at = long.addr();
        cache.free(long);
        cache.free(other.alloc(1).unwrap());
        assert_eq!(
            log.said(),
            [allocated(at, 17 * PAGE, None), freed(at, 17 * PAGE)]
        );
        // A request that finds no room makes the cache give back what it keeps.
        let held = pool.alloc(20 * PAGE).unwrap();
        log.said();
        let size = 64 * PAGE;
        assert!(cache.alloc(size).is_err());
        let kept: Vec<_> = (1..16).map(|at| addr + at * PAGE).collect();
        assert_eq!(
            log.said(),
            [
                emptied(&kept, PAGE),
                refused(size, None, AllocError::Exhausted { size }),
            ]
        );
        drop(held);
        // A request that no chunk could serve leaves what the cache keeps alone.
        let one = cache.alloc(PAGE).unwrap();
        cache.free(one);
        log.said();
        let size = 65 * PAGE;
        assert!(cache.alloc(size).is_err());
        assert_eq!(log.said(), [refused(size, None, too_long(size, 64 * PAGE))]);
        cache.flush();
        let one = cache.alloc(PAGE).unwrap();
        log.said();
        cache.free(one);
        cache.flush();
        assert_eq!(
            log.said(),
            [
                cached(freed(addr, PAGE)),
                emptied(&batch.iter().rev().copied().collect::<Vec<_>>(), PAGE),
            ]
        );
        cache.flush();
        drop(cache);
        assert_eq!((log.said().len(), pool.avail()), (0, pool.size()));
    }
}

/// A magazine that is full gives half of its runs back to the pool.
#[test]
fn a_cache_that_keeps_too_much_reports_what_it_returns() {
    let (log, pool) = logged(false);
    pool.add(0, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    let list: Vec<_> = (0..33).map(|_| cache.alloc(PAGE).unwrap()).collect();
    cache.flush();
    log.said();
    for one in list {
        cache.free(one);
    }
    let said = log.said();
    assert_eq!(said.len(), 34);
    let addrs: Vec<_> = (0..16).map(|at| at * PAGE).collect();
    assert_eq!(said[32], emptied(&addrs, PAGE));
    assert_eq!(cache.held(), 17 * PAGE);
}

#[test]
fn what_caches_keep_of_a_chunk_that_is_removed_is_reported() {
    let (log, pool) = logged(false);
    pool.add(0, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    let held = cache.alloc(PAGE).unwrap();
    log.said();
    let drain = pool.remove(0).unwrap();
    let (free, kept) = (63 * PAGE, 15 * PAGE);
    assert_eq!(
        log.said(),
        [format!(
            "Draining {{ start: 0, size: {}, free: {free}, cached: {kept} }}",
            64 * PAGE
        )]
    );
    cache.flush();
    let said = log.said();
    assert!(
        said.len() == 1 && said[0].ends_with("serves: false }"),
        "{said:?}"
    );
    drop(held);
    assert!(drain.is_drained());
}
