//! The numbers of events are an order in which they could have happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use genpool_core::{Event, Observer};

use crate::{PAGE, Unnamed, observed_by};

/// Sorts the events of several threads by number, and replays them.
#[derive(Default)]
struct History {
    list: Mutex<BTreeMap<usize, Change>>,
    free: AtomicUsize,
    available: AtomicUsize,
}

enum Change {
    Taken(usize, usize),
    Back(usize, usize),
    Other,
}

impl Observer for History {
    fn numbered(&self) -> bool {
        true
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        self.free
            .fetch_add(event.change() as usize, Ordering::Relaxed);
        self.available
            .fetch_add(event.available() as usize, Ordering::Relaxed);
        let observed = match *event {
            Event::Allocated { addr, size, .. } => Change::Taken(addr, size),
            Event::Freed { addr, size, .. } => Change::Back(addr, size),
            Event::Resized { addr, from, to, .. } if to > from => {
                Change::Taken(addr + from, to - from)
            }
            Event::Resized { addr, from, to, .. } => Change::Back(addr + to, from - to),
            _ => Change::Other,
        };
        assert!(self.list.lock().unwrap().insert(number, observed).is_none());
    }
}

#[test]
fn numbers_are_an_order_that_could_have_been() {
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 3000 };
    for tracked in [false, true] {
        let history = Arc::new(History::default());
        let pool = observed_by(&history, tracked).build().unwrap();
        pool.add(0, 24 * PAGE).unwrap();
        thread::scope(|scope| {
            for seed in 0..3_usize {
                let pool = &pool;
                scope.spawn(move || {
                    let mut cache = pool.cache();
                    let mut step = seed.wrapping_mul(0x9e37_79b9) | 1;
                    for _ in 0..ROUNDS {
                        step = step.wrapping_mul(0x5851_f42d).wrapping_add(0x1405_7b7e);
                        let size = (step >> 9) % 3 * PAGE + 1;
                        match (step >> 16) % 6 {
                            0 => {
                                if let Ok(range) = cache.alloc(size) {
                                    cache.free(range);
                                }
                            }
                            1 => {
                                if let Ok(mut range) = pool.alloc(size) {
                                    range.resize(size + PAGE).ok();
                                    range.resize(1).unwrap();
                                }
                            }
                            2 => drop(pool.alloc_many(&[size, PAGE, size])),
                            3 => {
                                if let Ok(range) = pool.alloc(size) {
                                    let range = range.into_raw();
                                    pool.free(range.addr, range.size).unwrap();
                                }
                            }
                            4 => drop(pool.alloc_with(size, &Unnamed)),
                            _ => cache.flush(),
                        }
                    }
                });
            }
            // Chunks come and go meanwhile.
            scope.spawn(|| {
                for _ in 0..ROUNDS / 20 {
                    pool.add(0x100_0000, 8 * PAGE).unwrap();
                    thread::yield_now();
                    let drain = pool.remove(0x100_0000).unwrap();
                    // Caches keep nothing in chunks added after a removal, only in the first one.
                    while !drain.wait(Some(std::time::Duration::from_millis(1))) {
                        thread::yield_now();
                    }
                }
            });
        });
        assert_eq!(pool.stats().observer_panics, 0, "a number came twice");
        assert_eq!(pool.avail(), pool.size());
        assert_eq!(history.free.load(Ordering::Relaxed), pool.size());
        assert_eq!(history.available.load(Ordering::Relaxed), pool.size());
        let list = history.list.lock().unwrap();
        assert!(
            list.keys().copied().eq(0..list.len()),
            "a number is missing"
        );
        let mut held = [false; 0x1010];
        for (number, observed) in list.iter() {
            let (addr, size, taken) = match *observed {
                Change::Taken(addr, size) => (addr, size, true),
                Change::Back(addr, size) => (addr, size, false),
                Change::Other => continue,
            };
            for granule in &mut held[addr / PAGE..(addr + size) / PAGE] {
                assert_ne!(*granule, taken, "number {number} changes nothing");
                *granule = taken;
            }
        }
        assert!(held.iter().all(|&granule| !granule));
    }
}
