//! Each crossing of a mark is told once, by whoever crossed it.

#![cfg(feature = "observer")]

use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use genpool_core::{Event, Observer, Pool};
use genpool_observe::{Crossing, Mark, Observers, Watermarks};

const PAGE: usize = 4096;

type News = Arc<Mutex<Vec<(Mark, usize)>>>;

/// A pool, and in pages what it tells.
fn pool(low: usize, high: usize) -> (Pool, News) {
    let news = News::default();
    let heard = Arc::clone(&news);
    let marks = Watermarks::new(low * PAGE, high * PAGE, move |crossing: Crossing| {
        let news = (crossing.mark, crossing.free / PAGE);
        heard.lock().unwrap().push(news);
    });
    let pool = Pool::builder().order(12).observer(marks).build().unwrap();
    (pool, news)
}

fn heard(news: &News) -> Vec<(Mark, usize)> {
    std::mem::take(&mut news.lock().unwrap())
}

#[test]
fn crossings_one_by_one() {
    let (pool, news) = pool(4, 6);
    pool.add(0, 6 * PAGE).unwrap();
    assert_eq!(heard(&news), []);
    let mut held = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(heard(&news), []);
    held.resize(3 * PAGE).unwrap();
    assert_eq!(heard(&news), [(Mark::Low, 3)]);
    let more = pool.alloc(PAGE).unwrap();
    drop(more);
    assert_eq!(heard(&news), []);
    held.resize(PAGE).unwrap();
    assert_eq!(heard(&news), []);

    pool.add(0x10_0000, 2 * PAGE).unwrap();
    assert_eq!(heard(&news), [(Mark::High, 7)]);
    let all = pool.alloc_many(&[5 * PAGE, 2 * PAGE]).unwrap();
    assert_eq!(heard(&news), [(Mark::Low, 2)]);
    drop(all);
    assert_eq!(heard(&news), [(Mark::High, 7)]);

    // What leaves with a chunk, and what comes back to it, is not counted.
    let inside = pool.alloc(PAGE).unwrap();
    assert_eq!(inside.addr(), 0x10_0000);
    let drain = pool.remove(0x10_0000).unwrap();
    assert_eq!(heard(&news), []);
    drop(inside);
    let rest = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(heard(&news), [(Mark::Low, 3)]);
    drop((rest, held, drain));
    assert_eq!(heard(&news), []);
    let drain = pool.remove(0).unwrap();
    assert_eq!(heard(&news), [(Mark::Low, 0)]);
    drop(drain);
}

#[test]
fn what_caches_keep_is_free() {
    let (pool, news) = pool(64, 1000);
    pool.add(0, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    for _ in 0..2 {
        let one = cache.alloc(PAGE).unwrap();
        assert_eq!(heard(&news), [(Mark::Low, 63)]);
        cache.free(one);
    }
    assert!(pool.avail() < pool.size());
    cache.flush();
    assert_eq!(heard(&news), []);
}

#[test]
fn marks_that_are_never_crossed() {
    let (pool, news) = pool(0, usize::MAX / PAGE);
    pool.add(0, 2 * PAGE).unwrap();
    drop(pool.alloc(2 * PAGE).unwrap());
    assert_eq!(heard(&news), []);
}

/// The count that each event makes, in the order in which they were made.
#[derive(Default)]
struct Reference {
    state: Mutex<(isize, usize, usize)>,
}

impl Reference {
    const LOW: isize = 30 * PAGE as isize;
    const HIGH: isize = 30 * PAGE as isize;
}

#[test]
fn threads_hear_of_each_crossing_once() {
    const ROUNDS: usize = if cfg!(miri) { 30 } else { 5000 };
    let (low, high) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tell = {
        let (low, high) = (Arc::clone(&low), Arc::clone(&high));
        move |crossing: Crossing| {
            let count = match crossing.mark {
                Mark::Low => &low,
                Mark::High => &high,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    // One lock around the marks and the reference, so that both count in one order.
    struct Both<F> {
        reference: Reference,
        marks: Watermarks<F>,
    }
    impl<F: Fn(Crossing) + Send + Sync> Observer for Both<F> {
        fn event(&self, number: usize, event: &Event<'_>) {
            let mut state = self.reference.state.lock().unwrap();
            let (before, lows, highs) = *state;
            let free = before + event.change();
            let fell = before.max(0) >= Reference::LOW && free < Reference::LOW;
            let rose = before <= Reference::HIGH && free > Reference::HIGH;
            *state = (free, lows + usize::from(fell), highs + usize::from(rose));
            self.marks.event(number, event);
        }
    }
    let both = Arc::new(Both {
        reference: Reference::default(),
        marks: Watermarks::new(Reference::LOW as usize, Reference::HIGH as usize, tell),
    });
    let alone = Arc::new(Watermarks::new(usize::MAX / 4, usize::MAX, |_| ()));
    let observers = Observers::new()
        .and(Arc::clone(&both))
        .and(Arc::clone(&alone));
    let pool = Pool::builder()
        .order(12)
        .observer(observers)
        .build()
        .unwrap();
    pool.add(0, 32 * PAGE).unwrap();
    thread::scope(|scope| {
        for thread in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                let mut cache = pool.cache();
                for round in 0..ROUNDS {
                    let size = (round % 5 + thread + 1) * PAGE;
                    if round % 3 == 0 {
                        drop(pool.alloc(size));
                    } else if let Ok(range) = cache.alloc(size) {
                        cache.free(range);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..ROUNDS / 50 {
                pool.add(0x100_0000, 8 * PAGE).unwrap();
                thread::yield_now();
                let drain = pool.remove(0x100_0000).unwrap();
                while !drain.wait(Some(std::time::Duration::from_millis(1))) {}
            }
        });
    });
    let state = *both.reference.state.lock().unwrap();
    assert_eq!(state.1, low.load(Ordering::Relaxed));
    assert_eq!(state.2, high.load(Ordering::Relaxed));
    assert!(state.1 > 0 && state.2 > 0);
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(
        (both.marks.free(), alone.free()),
        (pool.avail(), pool.avail())
    );
}

#[test]
fn a_callback_adds_chunks_in_time() {
    const CHUNK: usize = 64 * PAGE;
    const THREADS: usize = 4;
    const EACH: usize = if cfg!(miri) { 40 } else { 150 };
    let pool = Arc::new_cyclic(|pool: &Weak<Pool>| {
        let (pool, next) = (pool.clone(), AtomicUsize::new(1));
        // Room for what the threads take while one of them adds a chunk.
        let marks = Watermarks::new(CHUNK / 2, usize::MAX, move |crossing: Crossing| {
            assert_eq!(crossing.mark, Mark::Low);
            let at = next.fetch_add(1, Ordering::Relaxed);
            pool.upgrade().unwrap().add(at * CHUNK, CHUNK).unwrap();
        });
        Pool::builder().order(12).observer(marks).build().unwrap()
    });
    pool.add(0, CHUNK).unwrap();
    let held: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut held = Vec::new();
                    for _ in 0..EACH {
                        // One that is faster than the thread that adds waits for it.
                        while pool.avail() < CHUNK / 8 {
                            thread::yield_now();
                        }
                        held.push(pool.alloc(PAGE).unwrap());
                    }
                    held
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    assert_eq!(held.len(), THREADS * EACH);
    let stats = pool.stats();
    assert!(stats.chunks >= THREADS * EACH * PAGE / CHUNK);
    assert_eq!(stats.observer_panics, 0);
    drop(held);
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn all_of_several_are_told_though_one_panics() {
    struct Angry;
    impl Observer for Angry {
        fn event(&self, _: usize, event: &Event<'_>) {
            assert!(event.change() >= 0, "angry");
        }
    }
    marks_are_told_beside(Observers::new().and(Angry));
}

/// What a panic carries may panic when it is dropped, and of several panics only one is passed on.
#[test]
fn all_of_several_are_told_whatever_panics_carry() {
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("worse");
        }
    }
    struct Angry;
    impl Observer for Angry {
        fn event(&self, _: usize, event: &Event<'_>) {
            if event.change() < 0 {
                panic_any(Worse);
            }
        }
    }
    marks_are_told_beside(Observers::new().and(Angry).and(Angry).and(Angry));
}

/// Marks that come after these observers, one or more of which panic at an allocation, keep count.
fn marks_are_told_beside(angry: Observers) {
    let marks = Arc::new(Watermarks::new(0, usize::MAX, |_| ()));
    let observers = angry.and(Arc::clone(&marks));
    assert!(!observers.numbered());
    let pool = Pool::builder()
        .order(12)
        .observer(observers)
        .build()
        .unwrap();
    pool.add(0, 2 * PAGE).unwrap();
    let held = pool.alloc(1).unwrap();
    assert_eq!(pool.stats().observer_panics, 1);
    assert_eq!((marks.free(), pool.avail()), (PAGE, PAGE));
    drop(held);
    assert_eq!((marks.free(), pool.avail()), (2 * PAGE, 2 * PAGE));
}
