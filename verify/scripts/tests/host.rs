//! The scripts on a host.

use std::sync::atomic::AtomicUsize;

use genpool::{Pool, StaticPool, static_pool};
use genpool_scripts::{Share, Target, User, play};

const STEPS: usize = if cfg!(miri) { 200 } else { 20_000 };

/// One granule, one word, several words, hints of two levels with a run index.
static ONE: StaticPool = static_pool!(order: 4, start: 0x100, size: 0x10);
static WORD: StaticPool = static_pool!(order: 0, start: 0, size: 64);
static WORDS: StaticPool = static_pool!(order: 5, start: 0x2000_0000, size: 300 << 5);
static LEVELS: StaticPool = static_pool!(order: 3, start: 0x8000, size: 9001 << 3);
static TRACKED: StaticPool = static_pool!(order: 5, start: 0x1000, size: 700 << 5, tracked: true);

fn plays(target: &dyn Target, seed: u64, steps: usize) {
    let tally = play(target, seed, steps).unwrap_or_else(|difference| panic!("{difference}"));
    assert!(
        tally.refused_frees > 0 && tally.freed == tally.allocated,
        "{tally:?}"
    );
}

#[test]
fn static_pools_are_the_oracles() {
    plays(&ONE, 1, STEPS / 4);
    plays(&WORD, 2, STEPS);
    plays(&WORDS, 3, STEPS);
    plays(&LEVELS, 4, STEPS / 8);
    plays(&TRACKED, 6, STEPS);
}

#[test]
fn pools_are_the_oracles() {
    let pool = Pool::new(5).unwrap();
    pool.add(0x2000_0000, 300 << 5).unwrap();
    plays(&pool, 5, STEPS);
}

#[test]
fn threads_share_static_pools() {
    const USERS: usize = 4;
    const GRANULES: usize = Share::<StaticPool>::granules_for(USERS);
    static POOL: StaticPool = static_pool!(order: 6, start: 0x4000, size: GRANULES << 6);
    static HOLDERS: [AtomicUsize; GRANULES] = [const { AtomicUsize::new(0) }; GRANULES];
    let share = Share::new(&POOL, &HOLDERS);
    std::thread::scope(|threads| {
        for user in 0..USERS {
            let share = &share;
            threads.spawn(move || {
                let mut user = User::new(share, user);
                let allocated = user.rounds(STEPS);
                assert!(allocated.unwrap_or_else(|fault| panic!("{fault}")) > STEPS / 4);
                user.give_back_all()
                    .unwrap_or_else(|fault| panic!("{fault}"));
            });
        }
    });
    assert!(share.refused() > 0, "the pool was full at times");
    assert_eq!(POOL.avail(), POOL.size());
}
