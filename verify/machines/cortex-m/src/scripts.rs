//! The scripts against the oracle, on static pools and on one whose heap is a static pool.

use cortex_m_semihosting::hprintln;
use genpool::{Pool, StaticHeap, StaticPool, static_heap, static_pool};
use genpool_scripts::{Target, play};

#[global_allocator]
static HEAP: StaticHeap = static_heap!(order: 4, size: 1 << 20);

/// Steps of a script.
const STEPS: usize = 20_000;

static WORD: StaticPool = static_pool!(order: 2, start: 0x2000_0000, size: 32 << 2);
static WORDS: StaticPool = static_pool!(order: 6, start: 0x6000_0000, size: 1000 << 6);
static TRACKED: StaticPool = static_pool!(order: 5, start: 0x1000, size: 300 << 5, tracked: true);

/// Plays all scripts.
pub(crate) fn play_all() {
    script("static pool of one word", &WORD, 1);
    script("static pool of several words", &WORDS, 2);
    script("static pool with boundary tags", &TRACKED, 3);
    let pool = Pool::new(6).expect("the order is valid");
    let added = pool.add(0x6000_0000, 1000 << 6);
    added.expect("the chunk is valid");
    script("pool on a heap that is a static pool", &pool, 4);
    drop(pool);
    assert_eq!(HEAP.avail(), HEAP.size(), "the heap has everything back");
}

fn script(name: &str, target: &dyn Target, seed: u64) {
    match play(target, seed, STEPS) {
        Ok(tally) => hprintln!("row|{}|{}", name, tally),
        Err(difference) => panic!("{name}: {difference}"),
    }
}
