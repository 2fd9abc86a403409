//! Each crossing of a mark is reported once, by the thread that crossed it.

#![cfg(feature = "observer")]

use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use genpool_core::{Event, Observer, Pool};
use genpool_observe::{Crossing, Mark, Observers, Watermarks};

const PAGE: usize = 4096;

type News = Arc<Mutex<Vec<(Mark, usize)>>>;

/// Marks, and a list of what they report, in pages.
fn marks(low: usize, high: usize) -> (Watermarks<impl Fn(Crossing) + Send + Sync>, News) {
    let news = News::default();
    let heard = Arc::clone(&news);
    let marks = Watermarks::new(low * PAGE, high * PAGE, move |crossing: Crossing| {
        let news = (crossing.mark, crossing.free / PAGE);
        heard.lock().unwrap().push(news);
    });
    (marks, news)
}

fn observed(marks: impl Observer + 'static) -> Pool {
    let builder = Pool::builder().order(12).observer(marks);
    builder.build().unwrap()
}

fn pool(low: usize, high: usize) -> (Pool, News) {
    let (marks, news) = marks(low, high);
    (observed(marks), news)
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
fn what_caches_keep_is_free_if_asked_for() {
    let (marks, news) = marks(64, 1000);
    let pool = observed(marks.cached_as_free());
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
fn what_caches_keep_is_taken() {
    let (pool, news) = pool(50, 60);
    pool.add(0, 64 * PAGE).unwrap();
    assert_eq!(heard(&news), [(Mark::High, 64)]);
    let mut cache = pool.cache();
    let list = [1, 1, 2].map(|pages| {
        let one = cache.alloc(pages * PAGE).unwrap();
        (one, heard(&news), pool.avail() / PAGE)
    });
    // A batch of sixteen runs of one page, and one of eight runs of two.
    let [
        (first, one, after_one),
        (second, none, _),
        (third, more, after_more),
    ] = list;
    assert_eq!((one, after_one), (vec![(Mark::Low, 48)], 48));
    assert_eq!((none, more, after_more), (vec![], vec![], 32));
    cache.free(second);
    drop(first);
    assert_eq!((heard(&news), pool.avail() / PAGE), (vec![], 33));
    cache.free(third);
    assert_eq!((heard(&news), pool.avail() / PAGE), (vec![], 33));
    cache.flush();
    assert_eq!(
        (heard(&news), pool.avail()),
        (vec![(Mark::High, 64)], pool.size())
    );
}

/// A service as in the guide: caches that keep everything, and a mark that must report it.
#[test]
fn a_pool_that_caches_hold_crosses_its_low_mark() {
    let (marks, news) = marks(128, usize::MAX / PAGE);
    let pool = observed(marks.on_refusal());
    pool.add(0, 512 * PAGE).unwrap();
    let mut caches: Vec<_> = (0..4).map(|_| pool.cache()).collect();
    for cache in &mut caches {
        let list: Vec<_> = (1..=8)
            .flat_map(|pages| std::iter::repeat_n(pages, 32 / pages))
            .map_while(|pages| cache.alloc(pages * PAGE).ok())
            .collect();
        list.into_iter().for_each(|one| cache.free(one));
    }
    // No buffer is held, and little is left.
    let cached = pool.stats().cached;
    assert_eq!(pool.avail() + cached, pool.size());
    assert!(pool.avail() < 128 * PAGE);
    let crossings = heard(&news);
    assert!(
        crossings.iter().any(|(mark, _)| *mark == Mark::Low),
        "{crossings:?}"
    );
    let free = pool.avail() / PAGE;
    let asked = pool.avail() + PAGE;
    assert!(pool.alloc(asked).is_err());
    assert_eq!(heard(&news), [(Mark::Refused { asked }, free)]);
}

#[test]
fn each_refusal_is_reported_if_asked_for() {
    let (marks, news) = marks(0, usize::MAX / PAGE);
    let pool = observed(marks.on_refusal());
    pool.add(0, 4 * PAGE).unwrap();
    let asked = 5 * PAGE;
    let refused = (Mark::Refused { asked }, 4);
    for _ in 0..3 {
        assert!(pool.alloc(asked).is_err() && pool.alloc_many(&[PAGE, asked]).is_err());
        let crossings = heard(&news);
        assert_eq!(crossings, [refused, (Mark::Refused { asked }, 3)]);
    }
    // A request that no room could serve is no reason to add some.
    assert!(pool.alloc(0).is_err());
    let mut cache = pool.cache();
    drop(cache.alloc(PAGE).unwrap());
    assert!(cache.held() > 0 && heard(&news).is_empty());
    drop(cache.alloc(4 * PAGE).unwrap());
    assert_eq!(heard(&news), [], "what it kept was enough");
    assert!(cache.alloc(asked).is_err());
    assert_eq!(heard(&news), [refused]);
    let (quiet, nothing) = self::pool(0, usize::MAX / PAGE);
    assert!(quiet.alloc(PAGE).is_err() && heard(&nothing).is_empty());
}

/// The callback of a refusal may add what the next attempt finds.
#[test]
fn a_callback_adds_a_chunk_after_a_refusal() {
    let pool = Arc::new_cyclic(|pool: &Weak<Pool>| {
        let pool = pool.clone();
        let marks = Watermarks::new(0, usize::MAX, move |crossing: Crossing| {
            if let Mark::Refused { asked } = crossing.mark {
                let size = asked.next_multiple_of(PAGE);
                pool.upgrade().unwrap().add(0x100_0000, size).unwrap();
            }
        });
        observed(marks.on_refusal())
    });
    assert!(pool.alloc(3 * PAGE).is_err());
    assert_eq!(pool.alloc(3 * PAGE).unwrap().addr(), 0x100_0000);
    assert_eq!(pool.stats().observer_panics, 0);
}

#[test]
fn marks_that_are_never_crossed() {
    let (pool, news) = pool(0, usize::MAX / PAGE);
    pool.add(0, 2 * PAGE).unwrap();
    drop(pool.alloc(2 * PAGE).unwrap());
    assert_eq!(heard(&news), []);
}

/// The count after each event, in the order in which the events were counted.
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
    let record = {
        let (low, high) = (Arc::clone(&low), Arc::clone(&high));
        move |crossing: Crossing| {
            let count = match crossing.mark {
                Mark::Low => &low,
                Mark::High => &high,
                mark => panic!("{mark:?}"),
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    // One lock around the marks and the reference, so that both count in the same order.
    struct Both<F> {
        reference: Reference,
        marks: Watermarks<F>,
    }
    impl<F: Fn(Crossing) + Send + Sync> Observer for Both<F> {
        fn event(&self, number: usize, event: &Event<'_>) {
            let mut state = self.reference.state.lock().unwrap();
            let (before, lows, highs) = *state;
            let free = before + event.available();
            let fell = before.max(0) >= Reference::LOW && free < Reference::LOW;
            let rose = before <= Reference::HIGH && free > Reference::HIGH;
            *state = (free, lows + usize::from(fell), highs + usize::from(rose));
            self.marks.event(number, event);
        }
    }
    let both = Arc::new(Both {
        reference: Reference::default(),
        marks: Watermarks::new(Reference::LOW as usize, Reference::HIGH as usize, record),
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
    const LOW: usize = CHUNK / 2;
    const THREADS: usize = 4;
    const EACH: usize = if cfg!(miri) { 40 } else { 150 };
    let pool = Arc::new_cyclic(|pool: &Weak<Pool>| {
        let (pool, next) = (pool.clone(), AtomicUsize::new(1));
        // Room for what the threads take while one of them adds a chunk.
        let marks = Watermarks::new(LOW, usize::MAX, move |crossing: Crossing| {
            assert_eq!(crossing.mark, Mark::Low);
            let pool = pool.upgrade().unwrap();
            // Other threads may take the whole chunk before it is counted; the count then stays below the mark.
            while pool.avail() < LOW {
                let at = next.fetch_add(1, Ordering::Relaxed);
                pool.add(at * CHUNK, CHUNK).unwrap();
            }
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
                        // A thread that is faster than the one that adds waits for it.
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
fn all_observers_are_notified_if_one_panics() {
    struct Angry;
    impl Observer for Angry {
        fn event(&self, _: usize, event: &Event<'_>) {
            assert!(event.change() >= 0, "angry");
        }
    }
    marks_are_notified_after(Observers::new().and(Angry));
}

/// The payload of a panic may panic when it is dropped, and of several panics only one is passed on.
#[test]
fn all_observers_are_notified_whatever_a_panic_carries() {
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
    marks_are_notified_after(Observers::new().and(Angry).and(Angry).and(Angry));
}

/// Marks that come after these observers still count when one or more of them panic at an allocation.
fn marks_are_notified_after(angry: Observers) {
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

/// An observer whose destructor panics, with a payload whose destructor panics.
struct Bitter(Arc<AtomicUsize>);

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("once more");
    }
}

impl Drop for Bitter {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic_any(Payload);
    }
}

impl Observer for Bitter {
    fn event(&self, _: usize, _: &Event<'_>) {}
}

#[test]
fn all_of_several_are_dropped_though_destructors_panic() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let several = || {
        let captured = Bitter(Arc::clone(&dropped));
        let marks = Watermarks::new(0, 0, move |_| {
            let _held = &captured;
            panic!("called");
        });
        let bitter = || Bitter(Arc::clone(&dropped));
        Observers::new().and(bitter()).and(bitter()).and(marks)
    };
    let count = || dropped.swap(0, Ordering::Relaxed);
    let pool = observed(several());
    pool.add(0, 2 * PAGE).unwrap();
    let _held = pool.alloc_owned(PAGE).unwrap().into_raw();
    assert_eq!(pool.stats().observer_panics, 1, "at the high mark");
    let report = pool.destroy();
    assert_eq!((report.held.len(), count()), (1, 3));
    // Dropped directly, and while the thread is already panicking.
    let alone = std::panic::AssertUnwindSafe(|| drop(several()));
    // The payload panics when it is dropped, too.
    std::mem::forget(std::panic::catch_unwind(alone).unwrap_err());
    assert_eq!(count(), 3);
    let while_panicking = std::panic::AssertUnwindSafe(|| {
        let _several = several();
        panic!("of its own");
    });
    let payload = std::panic::catch_unwind(while_panicking).unwrap_err();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "of its own");
    assert_eq!(count(), 3);
}
