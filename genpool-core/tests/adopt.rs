//! `Pool::adopt`: ranges that were turned into numbers become allocations again.

use genpool_core::{FreeError, Pool, RawRange, ResizeError};

const PAGE: usize = 4096;

fn pools() -> impl Iterator<Item = Pool> {
    [false, true].into_iter().map(|tracked| {
        let builder = Pool::builder().order(12);
        let builder = match tracked {
            true => builder.boundary_tracking(),
            false => builder,
        };
        let pool = builder.build().unwrap();
        pool.add(0x10_0000, 100 * PAGE).unwrap();
        pool
    })
}

fn range(addr: usize, size: usize) -> RawRange {
    RawRange { addr, size }
}

#[test]
fn an_adopted_range_is_an_allocation_like_others() {
    for pool in pools() {
        // Across the border of a word, and in a chunk that was added after a removal.
        pool.remove(0x10_0000).unwrap().finish().unwrap();
        pool.add(0x100_0000, 100 * PAGE).unwrap();
        let _first = pool.alloc(60 * PAGE).unwrap();
        let raw = pool.alloc(10 * PAGE - 1).unwrap().into_raw();
        let mut adopted = pool.adopt(range(raw.addr, raw.size - 1)).unwrap();
        assert_eq!((adopted.addr(), adopted.size()), (raw.addr, 10 * PAGE));
        assert_eq!(adopted.resize(41 * PAGE), Err(ResizeError::PastChunk));
        adopted.resize(40 * PAGE).unwrap();
        assert_eq!(pool.avail(), 0);
        let raw = adopted.into_raw();
        let mut adopted = pool.adopt(raw).unwrap();
        adopted.resize(1).unwrap();
        assert_eq!((adopted.size(), pool.avail()), (PAGE, 39 * PAGE));
        drop(adopted);
        assert_eq!(pool.avail(), 40 * PAGE);
        assert!(pool.is_sound());
    }
}

#[test]
fn what_cannot_be_freed_cannot_be_adopted() {
    for pool in pools() {
        let start = 0x10_0000;
        let raw = pool.alloc(70 * PAGE).unwrap().into_raw();
        let after = start + 70 * PAGE;
        let before = (pool.avail(), pool.stats().refused_frees);
        let mut refused = vec![
            (range(start, 0), FreeError::ZeroSize { addr: start }),
            (range(0, 0), FreeError::ZeroSize { addr: 0 }),
            (range(0, 1), FreeError::Foreign { addr: 0 }),
            (
                range(usize::MAX, 1),
                FreeError::Foreign { addr: usize::MAX },
            ),
            (
                range(start + 1, 1),
                FreeError::Misaligned {
                    addr: start + 1,
                    granule: PAGE,
                },
            ),
            (
                range(start, usize::MAX),
                FreeError::PastChunk {
                    addr: start,
                    size: usize::MAX,
                    last: start + 100 * PAGE - 1,
                },
            ),
            (range(after, PAGE), FreeError::NotAllocated { addr: after }),
        ];
        let longer = range(start, 71 * PAGE);
        if pool.is_tracked() {
            for size in [PAGE, 69 * PAGE, 71 * PAGE] {
                let addr = start;
                let allocated = 70 * PAGE;
                let wrong = FreeError::WrongSize {
                    addr,
                    size,
                    allocated,
                };
                refused.push((range(start, size), wrong));
            }
            let addr = start + PAGE;
            refused.push((range(addr, PAGE), FreeError::Interior { addr, start }));
        } else {
            refused.push((longer, FreeError::NotAllocated { addr: after }));
        }
        for (range, error) in refused {
            assert_eq!(pool.adopt(range).unwrap_err(), error);
        }
        let after = (pool.avail(), pool.stats().refused_frees);
        assert_eq!(after, before, "nothing was freed, nor refused as a free");
        drop(pool.adopt(raw).unwrap());
        assert_eq!(pool.avail(), 100 * PAGE);
    }
}
