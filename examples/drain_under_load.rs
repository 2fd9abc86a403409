//! A bank of memory is removed and added again and again while threads allocate from the pool. No thread waits, no
//! request is refused, and after the bank's callback has run no thread uses the bank.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use genpool::{AllocError, Allocation, ChunkSpec, Pool, ThreadStart};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PAGE: usize = 4096;
/// The bank that stays, and the one that is removed and added.
const STAYS: usize = 0x100_0000;
const MOVES: usize = 0x200_0000;
const PAGES: usize = 256;
const THREADS: usize = 4;
const ROUNDS: usize = 50;
/// The bank that stays has room for more than all threads hold at a time.
const HELD: usize = 32;
const _: () = assert!(THREADS * HELD < PAGES);

/// Counts the users of each page of the moving bank. This stands for what its owner would see as accesses.
struct Users([AtomicUsize; PAGES]);

impl Users {
    fn of(&self, page: &Allocation<'_>) -> Option<&AtomicUsize> {
        self.0.get(page.addr().checked_sub(MOVES)? / PAGE)
    }

    fn enter(&self, page: &Allocation<'_>) {
        if let Some(users) = self.of(page) {
            assert_eq!(users.fetch_add(1, Ordering::Relaxed), 0, "it is another's");
        }
    }

    /// Relaxed, as in `enter`: the drop of the allocation comes after it, and happens before the callback.
    fn leave(&self, page: &Allocation<'_>) {
        if let Some(users) = self.of(page) {
            users.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn all(&self) -> usize {
        let users = self.0.iter().map(|page| page.load(Ordering::Relaxed));
        users.sum()
    }
}

/// Allocates and frees pages until `stop` is set. Returns how many it got.
fn work(pool: &Pool, users: &Users, stop: &AtomicBool) -> Result<usize, AllocError> {
    let mut held = VecDeque::new();
    let mut given = 0;
    while !stop.load(Ordering::Relaxed) {
        if held.len() == HELD
            && let Some(oldest) = held.pop_front()
        {
            users.leave(&oldest);
        }
        match pool.alloc(PAGE) {
            Ok(page) => {
                users.enter(&page);
                held.push_back(page);
                given += 1;
            }
            // Nothing could be proved, because other threads kept changing the pool. Retry in the next round, unless
            // stopped.
            Err(AllocError::Contended { .. }) => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    held.iter().for_each(|page| users.leave(page));
    Ok(given)
}

/// Stops the threads, even if a failed assertion ends the scope that waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn bank(start: usize, name: &'static str) -> ChunkSpec {
    ChunkSpec::new(start, PAGES * PAGE).owner(name)
}

fn main() -> Result<(), Failure> {
    let pool = Pool::builder().order(12).algorithm(ThreadStart).build()?;
    pool.add_chunk(bank(STAYS, "the bank that stays"))?;
    pool.add_chunk(bank(MOVES, "the bank that moves"))?;
    let users = Users([const { AtomicUsize::new(0) }; PAGES]);
    let stop = AtomicBool::new(false);

    let mut longest = Duration::ZERO;
    let (mut busy, began) = (0, Instant::now());
    let given = std::thread::scope(|threads| -> Result<usize, Failure> {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| threads.spawn(|| work(&pool, &users, &stop)))
            .collect();
        let stop = Stop(&stop);
        let moved = (|| -> Result<(), Failure> {
            for _ in 0..ROUNDS {
                // Wait until the bank is in use.
                let patience = Instant::now() + Duration::from_secs(10);
                while users.all() == 0 && Instant::now() < patience {
                    std::thread::yield_now();
                }
                let (sender, drained) = mpsc::channel();
                let removed = Instant::now();
                let drain = pool.remove(MOVES)?;
                busy += usize::from(drain.held() > 0);
                drain.on_drained(move || sender.send(()).expect("it is waited for"));
                drained.recv_timeout(Duration::from_secs(10))?;
                longest = longest.max(removed.elapsed());

                // No thread uses the bank: here its memory could be unmapped, or its power switched off.
                assert_eq!(users.all(), 0);
                let chunk = drain.finish().map_err(|_| "the callback was wrong")?;
                assert_eq!(pool.size(), PAGES * PAGE);
                pool.add_chunk(chunk)?; // the same range and owner
            }
            Ok(())
        })();
        drop(stop);
        let mut given = 0;
        for worker in workers {
            given += worker.join().map_err(|_| "a worker panicked")??;
        }
        moved.map(|()| given)
    })?;

    let micros = began.elapsed().as_micros() as usize;
    println!(
        "{THREADS} threads were given {given} pages, {} a millisecond",
        given * 1000 / micros.max(1)
    );
    println!("{ROUNDS} removals, {busy} of a bank in use; the longest took {longest:?}");
    let stats = pool.stats();
    assert_eq!(
        (stats.used, stats.exhausted, stats.free),
        (0, 0, pool.size())
    );
    println!(
        "all {} bytes came back, and no call was refused",
        pool.avail()
    );
    Ok(())
}
