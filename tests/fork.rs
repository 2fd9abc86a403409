//! fork: the child has a copy of the pool, without the threads that were in the middle of a call, and continues to
//! work. The parent is not affected.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::Done;
use genpool::{AllocError, BestFit, FixedAddress, NextFit, Pool, ThreadStart};

const CHUNK: usize = 200;
/// A chunk that only the forking thread uses.
const RESERVE: usize = 1000;

/// Which thread holds which granule of the chunk.
struct Table(Vec<AtomicUsize>);

impl Table {
    fn new() -> Self {
        Self((0..CHUNK).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Signs for the range. Returns whether no other thread had signed.
    fn sign(&self, by: usize, addr: usize, size: usize) -> bool {
        let mut owners = self.0[addr..addr + size].iter();
        owners.all(|owner| owner.swap(by, Ordering::SeqCst) == 0)
    }

    fn clear(&self, addr: usize, size: usize) {
        for owner in &self.0[addr..addr + size] {
            owner.store(0, Ordering::SeqCst);
        }
    }
}

/// Allocates and frees in the child. Only signal-safe calls are allowed there, so it does not panic: it returns 0 for
/// success, or a code that identifies the failure.
fn child(pool: &Pool, table: &Table) -> libc::c_int {
    let next = NextFit::new();
    for step in 0..300 {
        let n = 1 + step % 70;
        let found = match step % 4 {
            0 => pool.alloc(n),
            1 => pool.alloc_with(n, &BestFit),
            2 => pool.alloc_with(n, &next),
            _ => pool.alloc_with(n, &ThreadStart),
        };
        match found {
            Ok(found) => {
                let (addr, size) = (found.addr(), found.size());
                if addr < CHUNK {
                    if !table.sign(usize::MAX, addr, size) {
                        return 1;
                    }
                    table.clear(addr, size);
                }
                if step % 2 == 0 {
                    let range = found.into_raw();
                    if pool.free(range.addr, range.size).is_err() {
                        return 2;
                    }
                }
            }
            Err(AllocError::Exhausted { .. } | AllocError::Contended { .. }) => {}
            Err(_) => return 3,
        }
        // A free run is found, although some calls will never end.
        let Ok(mine) = pool.alloc_with(64, &FixedAddress::new(RESERVE)) else {
            return 4;
        };
        drop(mine);
        if pool.avail() > pool.size() || !pool.contains(RESERVE, 64) {
            return 5;
        }
    }
    0
}

/// Forks and waits. Returns the child's exit code.
fn fork(work: impl FnOnce() -> libc::c_int) -> libc::c_int {
    // SAFETY: the child makes only calls that a signal handler may make, and ends.
    match unsafe { libc::fork() } {
        -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
        0 => {
            let code = work();
            // SAFETY: `_exit` runs no handlers and no destructors.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the status is a local variable that may be written.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(waited, child);
            assert!(libc::WIFEXITED(status), "the child was killed: {status:#x}");
            libc::WEXITSTATUS(status)
        }
    }
}

#[test]
fn a_child_works_on_and_the_parent_does_not_notice() {
    // SAFETY: no memory of ours is involved. The signal ends the process, or a child, if it hangs.
    unsafe { libc::alarm(120) };
    let pool = Pool::new(0).unwrap();
    pool.add(RESERVE, 64).unwrap();
    pool.add(0, CHUNK).unwrap();
    let table = Table::new();
    let done = AtomicBool::new(false);
    let calls = AtomicUsize::new(0);
    thread::scope(|scope| {
        let _done = Done(&done);
        for by in 1..=3 {
            let (pool, table, done, calls) = (&pool, &table, &done, &calls);
            scope.spawn(move || {
                let mut step = by;
                while !done.load(Ordering::Relaxed) {
                    step += 1;
                    // Most of them span two or three words.
                    let at = FixedAddress::new(step * 7 % 130);
                    if let Ok(found) = pool.alloc_with(10 + step % 60, &at) {
                        assert!(table.sign(by, found.addr(), found.size()));
                        table.clear(found.addr(), found.size());
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..150 {
            let held = pool.alloc_with(64, &FixedAddress::new(RESERVE)).unwrap();
            let before = calls.load(Ordering::Relaxed);
            drop(held);
            assert_eq!(fork(|| child(&pool, &table)), 0, "round {round}");
            let held = pool.alloc_with(64, &FixedAddress::new(RESERVE)).unwrap();
            while calls.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
            drop(held);
        }
    });
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());
}

/// The control: a failure that the child reports is noticed.
#[test]
fn control_a_child_that_is_given_a_held_range_is_noticed() {
    let pool = Pool::new(0).unwrap();
    pool.add(RESERVE, 64).unwrap();
    pool.add(0, CHUNK).unwrap();
    let table = Table::new();
    assert!(table.sign(1, 0, CHUNK), "but the pool does not know");
    assert_eq!(fork(|| child(&pool, &table)), 1);
    table.clear(0, CHUNK);
    let taken = pool.alloc_with(1, &FixedAddress::new(RESERVE)).unwrap();
    assert_eq!(fork(|| child(&pool, &table)), 4);
    drop(taken);
    assert_eq!(fork(|| child(&pool, &table)), 0);
    assert_eq!(
        pool.avail(),
        pool.size(),
        "children have pools of their own"
    );
}
