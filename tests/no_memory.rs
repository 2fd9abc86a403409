//! Bookkeeping memory: how much there is, and what happens if an allocation of it fails, at every point of a call.

#![cfg(not(miri))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use genpool::{AddRefused, AllocError, BestFit, ChunkSpec, FixedAddress, Impossible, Pool};

/// Smaller allocations always succeed.
const LARGE: usize = 4096;

thread_local! {
    /// How many large allocations from now on until one is refused.
    static REFUSE: Cell<usize> = const { Cell::new(0) };
    /// Whether all allocations fail, however small.
    static NOTHING: Cell<bool> = const { Cell::new(false) };
    /// The number of bytes allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Scarce;

impl Scarce {
    fn refuses(layout: Layout) -> bool {
        if NOTHING.get() {
            return true;
        }
        let left = REFUSE.get();
        if left == 0 || layout.size() < LARGE {
            return false;
        }
        REFUSE.set(left - 1);
        left == 1
    }

    fn count(at: *mut u8, layout: Layout, sign: isize) -> *mut u8 {
        if !at.is_null() {
            HELD.set(HELD.get() + layout.size() as isize * sign);
        }
        at
    }
}

// SAFETY: every call is passed to the system's allocator, or refused.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's contract is the system's.
        let at = unsafe { System.alloc(layout) };
        Self::count(at, layout, 1)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        let at = unsafe { System.alloc_zeroed(layout) };
        Self::count(at, layout, 1)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::count(at, layout, -1);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static HEAP: Scarce = Scarce;

/// Bitmap, hints, unit index and ownership words: each in turn cannot be allocated. Nothing is changed, nothing leaks, and
/// the next try succeeds.
#[test]
fn an_add_without_memory_changes_nothing() {
    let builder = Pool::builder().boundary_tracking().unit_index();
    let pool = builder.build().unwrap();
    for at in 0..1700 {
        pool.add(at * 2, 1).unwrap();
    }
    // The bookkeeping of the chunks that existed from the start is kept.
    let drains: Vec<_> = (1100..1700)
        .map(|at| pool.remove(at * 2).unwrap())
        .collect();
    drop(drains);
    let (start, size) = (1 << 20, 1 << 20);
    let before = (pool.size(), pool.chunks().len(), pool.stats().bookkeeping);
    let mut refused = 0;
    loop {
        let held = HELD.get();
        REFUSE.set(refused + 1);
        let added = pool.add(start, size);
        let was_asked = REFUSE.replace(0) == 0;
        if !was_asked {
            added.unwrap();
            break;
        }
        refused += 1;
        let error = added.unwrap_err();
        assert!(matches!(error.reason, AddRefused::NoMemory { bytes } if bytes >= LARGE));
        assert_eq!((error.chunk.start(), error.chunk.size()), (start, size));
        drop(error);
        assert_eq!(HELD.get(), held, "something leaks");
        let after = (pool.size(), pool.chunks().len(), pool.stats().bookkeeping);
        assert_eq!(after, before);
        assert!(!pool.contains(start, 1));
    }
    println!("refused at {refused} points");
    assert!(refused >= 3);
    assert_eq!(pool.alloc(size).unwrap().addr(), start);
    assert!(pool.is_sound());
}

/// The same for several chunks at once: those before the one that has no memory are not added either.
#[test]
fn adding_many_without_memory_changes_nothing() {
    let pool = Pool::builder().boundary_tracking().build().unwrap();
    pool.add(0, 1).unwrap();
    let size = 1 << 17;
    let start = |at: usize| (1 + at) << 20;
    let mut chunks: Vec<_> = (0..4).map(|at| ChunkSpec::new(start(at), size)).collect();
    let before = (pool.size(), pool.chunks().len(), pool.stats().bookkeeping);
    let mut refused_at = Vec::new();
    loop {
        let held = HELD.get();
        REFUSE.set(refused_at.len() + 1);
        let added = pool.add_many(chunks);
        let was_asked = REFUSE.replace(0) == 0;
        if !was_asked {
            added.unwrap();
            break;
        }
        let refused = added.unwrap_err();
        assert!(matches!(refused.reason, AddRefused::NoMemory { bytes } if bytes >= LARGE));
        assert_eq!(HELD.get(), held, "something leaks");
        let after = (pool.size(), pool.chunks().len(), pool.stats().bookkeeping);
        assert_eq!(after, before);
        refused_at.push(refused.at);
        chunks = refused.chunks;
    }
    println!("refused at {refused_at:?}");
    assert!(refused_at.is_sorted() && (0..4).all(|at| refused_at.contains(&at)));
    for at in (0..4).rev() {
        assert_eq!(pool.alloc(size).unwrap().into_raw().addr, start(at));
    }
    assert!(pool.is_sound());
}

/// Checks that the pool holds little more heap memory than it reports, and never less.
#[track_caller]
fn check_shown(before: isize, pool: &Pool) {
    let reported = pool.stats().bookkeeping;
    let held = usize::try_from(HELD.get() - before).unwrap();
    assert!(
        reported <= held && held <= reported * 6 / 5 + 1000,
        "{reported} of {held}"
    );
}

#[test]
fn bookkeeping_is_what_is_on_the_heap() {
    // Most of it is: words and hints, ownership words, chunks and lists of them, caches.
    let before = HELD.get();
    let pool = Pool::new(0).unwrap();
    check_shown(before, &pool);
    pool.add(0, 1 << 20).unwrap();
    check_shown(before, &pool);

    let before = HELD.get();
    let builder = Pool::builder().boundary_tracking().unit_index();
    let pool = builder.build().unwrap();
    pool.add(0, 1 << 12).unwrap();
    check_shown(before, &pool);

    let before = HELD.get();
    let pool = Pool::new(0).unwrap();
    for at in 0..1000 {
        pool.add(at * 2, 1).unwrap();
    }
    check_shown(before, &pool);
    let _ = pool.remove(0).unwrap().finish().unwrap();
    check_shown(before, &pool);

    let before = HELD.get();
    let pool = Pool::new(0).unwrap();
    let mut caches = Vec::with_capacity(100);
    caches.extend((0..100).map(|_| pool.cache()));
    let list = isize::try_from(size_of_val(&*caches)).unwrap();
    check_shown(before + list, &pool);
}

/// Goes through the whole life of a pool, including what is left for its end.
fn live_and_end() {
    let pool = Pool::builder().boundary_tracking().build().unwrap();
    for at in 0..200 {
        let chunk = ChunkSpec::new(at * 4096, 4096).owner(vec![at]);
        pool.add_chunk(chunk).unwrap();
    }
    let (other, mut cache) = (pool.cache(), pool.cache());
    let held = cache.alloc(1).unwrap();
    cache.free(held);
    // A chunk whose callback runs at once; then one whose callbacks are registered before it is drained.
    let drain = pool.remove(0).unwrap();
    let capture = Box::new(7);
    drain.on_drained(move || assert_eq!(*capture, 7));
    let kept = pool.alloc_owned(5000).unwrap_err();
    let too_long = Impossible::TooLong {
        size: 5000,
        longest: 4096,
    };
    assert_eq!(kept, AllocError::Impossible(too_long));
    let kept = pool.alloc_owned(100).unwrap();
    let leaving = pool.remove(kept.addr() / 4096 * 4096).unwrap();
    let capture = Box::new(8);
    leaving.on_drained(move || assert_eq!(*capture, 8));
    let capture = Box::new(9);
    leaving.on_drained(move || assert_eq!(*capture, 9));
    pool.add(1 << 30, 1 << 16).unwrap();
    pool.set_algorithm(BestFit);
    let listed = pool.chunks();
    cache.flush();
    drop((cache, other));
    let report = pool.destroy();
    drop((listed, report, drain, kept, leaving));
}

#[test]
fn all_memory_is_given_back() {
    // What a thread keeps for itself it allocates once.
    live_and_end();
    let before = HELD.get();
    live_and_end();
    assert_eq!(HELD.get(), before);

    let pool = Pool::new(0).unwrap();
    let cycle = || {
        pool.add(0, 1 << 12).unwrap();
        drop(pool.remove(0).unwrap());
    };
    cycle();
    cycle();
    let before = HELD.get();
    (0..100).for_each(|_| cycle());
    assert_eq!(HELD.get(), before);
}

#[test]
fn a_list_of_results_without_memory_is_an_error() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 1 << 16).unwrap();
    let sizes = vec![1; 1000];
    REFUSE.set(1);
    let refused = pool.alloc_many(&sizes).unwrap_err();
    assert_eq!(refused, AllocError::NoMemory { count: 1000 });
    assert_eq!(pool.avail(), 1 << 16);
    assert_eq!(pool.alloc_many(&sizes).unwrap().len(), 1000);
}

/// Calls `step` while no heap allocation succeeds: an infallible allocation ends the process.
fn without_memory<R>(step: impl FnOnce() -> R) -> R {
    NOTHING.set(true);
    let outcome = step();
    NOTHING.set(false);
    outcome
}

/// Returns pools of each kind, of 16 pages in two chunks, and the address of the second chunk.
fn pools() -> impl Iterator<Item = (Pool, usize)> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(tracked, first_removed)| {
            let builder = Pool::builder().order(12);
            let builder = if tracked {
                builder.boundary_tracking()
            } else {
                builder
            };
            let pool = builder.build().unwrap();
            if first_removed {
                // Later chunks are not permanent.
                pool.add(0x100_0000, 4096).unwrap();
                drop(pool.remove(0x100_0000).unwrap());
            }
            pool.add(0, 8 * 4096).unwrap();
            pool.add(0x10_0000, 8 * 4096).unwrap();
            (pool, 0x10_0000)
        })
}

#[test]
fn giving_back_needs_no_memory() {
    for (pool, _) in pools() {
        let (tracked, size) = (pool.is_tracked(), pool.size());
        let mut shrunk = pool.alloc(3 * 4096).unwrap();
        let held = pool.alloc(4096).unwrap();
        let owned = pool.alloc_owned(4096).unwrap();
        let ranges = [1, 1, 1].map(|n| pool.alloc(n).unwrap().into_raw());
        let mut cache = pool.cache();
        let cached = [1, 2].map(|n| cache.alloc(n * 4096).unwrap());
        without_memory(|| {
            shrunk.resize(1).unwrap();
            drop((shrunk, held, owned));
            pool.free(ranges[0].addr, 1).unwrap();
            assert!(pool.free(ranges[0].addr, 1).is_err());
            drop(pool.free_owner(ranges[1].addr, 1).unwrap());
            if tracked {
                pool.free_addr(ranges[2].addr).unwrap();
            } else {
                pool.free(ranges[2].addr, 4096).unwrap();
            }
            let [one, other] = cached;
            cache.free(one);
            drop(other);
            cache.flush();
            let again = cache.alloc(1).unwrap();
            cache.free(again);
            drop(cache);
            assert_eq!(pool.avail(), size);
            // A refused call gives back what it had.
            assert!(pool.alloc_many(&[]).is_ok());
        });
        without_memory(|| drop(pool));
    }
}

/// The memory under a chunk goes back to its owner. The chunk leaves the list with the next change.
#[test]
fn removing_a_chunk_needs_no_memory() {
    // A thread that has not changed a list before has fewer spares.
    for (pool, second) in pools() {
        let ours = &pool;
        std::thread::scope(|threads| {
            let removed = threads.spawn(move || {
                let before = ours.alloc_with(1, &FixedAddress::new(second)).unwrap();
                without_memory(|| {
                    let drain = ours.remove(second).unwrap();
                    assert!(ours.remove(second).is_err() && ours.remove(7).is_err());
                    assert!(!drain.is_drained());
                    let drain = drain.finish().unwrap_err();
                    drop(before);
                    assert!(drain.is_drained());
                    let chunk = drain.finish().unwrap();
                    assert_eq!((chunk.start(), chunk.size()), (second, 8 * 4096));
                    drop(ours.remove(0).unwrap());
                    assert!(!ours.contains(second, 1) && ours.size() == 0);
                    assert!(ours.alloc(1).is_err());
                });
            });
            removed.join().unwrap();
        });
        assert_eq!(pool.chunks().len(), 0);
        pool.add(second, 8 * 4096).unwrap();
        assert_eq!(pool.alloc(8 * 4096).unwrap().addr(), second);
        assert!(pool.is_sound());
    }
}

#[test]
fn an_add_without_any_memory_is_refused_and_the_chunk_comes_back() {
    for (pool, _) in pools() {
        let owner = Box::new(7);
        let chunk = ChunkSpec::new(0x20_0000, 4096).owner(owner);
        let refused = without_memory(|| pool.add_chunk(chunk).unwrap_err());
        assert!(matches!(refused.reason, AddRefused::NoMemory { bytes } if bytes > 0));
        let taken = ChunkSpec::new(0, 4096);
        let other = without_memory(|| pool.add_chunk(taken).unwrap_err());
        assert!(matches!(other.reason, AddRefused::Overlaps { .. }));
        pool.add_chunk(refused.chunk).unwrap();
        let last = FixedAddress::new(0x20_0000);
        let owner = pool.alloc_with(1, &last).unwrap().owner_as::<Box<i32>>();
        assert_eq!(owner, Some(Box::new(7)));
    }
}
