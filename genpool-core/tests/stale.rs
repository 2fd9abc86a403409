//! Allocations whose range was freed by address while they held it, and whose chunk was then removed and added again.
//! None of their calls may reach the new chunk.

#![forbid(unsafe_code)]

use genpool_core::{Builder, Pool};

const PAGE: usize = 4096;

/// A pool without permanent chunks: one was removed before the first that matters.
fn pool(builder: Builder) -> Pool {
    let pool = builder.order(12).build().unwrap();
    pool.add(0x100_0000, PAGE).unwrap();
    let _ = pool.remove(0x100_0000).unwrap().finish().unwrap();
    pool
}

/// Removes the chunk at 0 and adds one of `pages` in its place.
fn replace(pool: &Pool, pages: usize) {
    let _ = pool.remove(0).unwrap().finish().unwrap();
    pool.add(0, pages * PAGE).unwrap();
}

#[test]
fn a_stale_ownership_is_none_in_a_later_chunk() {
    let pool = pool(Pool::builder().boundary_tracking());
    pool.add(0, 4 * PAGE).unwrap();
    let mut stale = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(pool.free_addr(stale.addr()), Ok(2 * PAGE));
    replace(&pool, 4);
    let new = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(new.addr(), 0);
    assert!(stale.resize(PAGE).is_err());
    drop(stale);
    assert_eq!(pool.avail(), 2 * PAGE, "the new owner's range was freed");
    drop(new);
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());
}

#[test]
fn a_stale_drop_stays_inside_a_smaller_chunk() {
    // Less than a word, a few words, and a few lines fewer than before.
    for (before, after) in [(200, 1), (2000, 1), (2000, 65), (64, 63)] {
        let pool = pool(Pool::builder());
        pool.add(0, before * PAGE).unwrap();
        let stale = pool.alloc(before * PAGE).unwrap();
        pool.free(0, before * PAGE).unwrap();
        replace(&pool, after);
        drop(stale);
        assert_eq!(pool.avail(), after * PAGE);
        assert!(pool.is_sound());
    }
}

#[test]
fn a_stale_resize_stays_inside_a_smaller_chunk() {
    for (before, after) in [(200, 1), (2000, 1), (2000, 65), (64, 63)] {
        for wanted in [1, 2, before - 1, before + 1] {
            let pool = pool(Pool::builder());
            pool.add(0, before * PAGE).unwrap();
            let mut stale = pool.alloc(before * PAGE).unwrap();
            pool.free(0, before * PAGE).unwrap();
            replace(&pool, after);
            // It may be refused or not, but must not reach beyond the chunk.
            let _ = stale.resize(wanted * PAGE);
            assert!(pool.avail() <= pool.size());
            assert!(pool.is_sound());
            drop(stale);
            assert!(pool.avail() <= pool.size());
            assert!(pool.is_sound());
        }
    }
}
