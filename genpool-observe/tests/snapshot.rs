//! A snapshot shows what is there, even while other threads allocate, and survives JSON.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use genpool_core::{ChunkSpec, Pool};
use genpool_observe::{NoSnapshot, Snapshot};

const PAGE: usize = 4096;

fn pool(tracked: bool) -> Pool {
    let builder = Pool::builder().order(12).name("sram");
    let builder = if tracked {
        builder.boundary_tracking()
    } else {
        builder
    };
    builder.build().unwrap()
}

#[test]
fn everything_is_there() {
    for tracked in [false, true] {
        let pool = pool(tracked);
        pool.add_virt(0x20_0000, 0x7000, 8 * PAGE).unwrap();
        let bank = ChunkSpec::new(0x10_0000, 8 * PAGE).owner("bank");
        pool.add_chunk(bank).unwrap();
        let first = pool.alloc(2 * PAGE).unwrap();
        let second = pool.alloc(PAGE).unwrap();
        second.set_tag(7);
        let third = pool.alloc(8 * PAGE).unwrap();
        drop(first);
        let drain = pool.remove(0x20_0000).unwrap();
        let shot = Snapshot::of(&pool);
        shot.check().unwrap();
        assert_eq!((shot.name.as_deref(), shot.order), (Some("sram"), 12));
        assert_eq!((shot.tracked, shot.cut), (tracked, false));
        assert_eq!(shot.stats, pool.stats());
        assert_eq!(shot.fragmentation, pool.fragmentation());
        let [low, high] = &shot.chunks[..] else {
            panic!("{shot:?}");
        };
        assert_eq!((low.start, low.size, low.phys), (0x10_0000, 8 * PAGE, None));
        assert_eq!((low.owner.as_deref(), low.draining), (Some("bank"), false));
        assert_eq!(low.taken, [(2, 1)]);
        assert_eq!(
            (high.phys, high.owner.as_ref(), high.draining),
            (Some(0x7000), None, true)
        );
        assert_eq!((&*high.taken, high.taken_granules()), (&[(0, 8)][..], 8));
        if let Some([first, ..]) = shot.live.as_deref() {
            let text = "LiveShot { addr: 0x102000, size: 0x1000, tag: 0x7 }";
            assert_eq!(format!("{first:?}"), text);
        }
        let live = shot.live.map(|live| {
            let list = live.iter().map(|one| (one.addr, one.size, one.tag));
            list.collect::<Vec<_>>()
        });
        let expected = vec![(0x10_2000, PAGE, 7), (0x20_0000, 8 * PAGE, 0)];
        assert_eq!(live, tracked.then_some(expected));
        drop((second, third, drain));
    }
}

#[test]
fn no_more_than_asked_for() {
    let pool = pool(true);
    pool.add(0, 16 * PAGE).unwrap();
    let all: Vec<_> = (0..16).map(|_| pool.alloc(1).unwrap()).collect();
    let odd: Vec<_> = all.into_iter().skip(1).step_by(2).collect();
    for (most, runs, live) in [(0, 0, 0), (3, 3, 0), (8, 8, 0), (11, 8, 3), (16, 8, 8)] {
        let shot = Snapshot::at_most(&pool, most);
        shot.check().unwrap();
        assert_eq!(shot.chunks[0].taken.len(), runs);
        assert_eq!(shot.live.unwrap().len(), live);
        assert_eq!(shot.cut, most < 16);
    }
    drop(odd);
}

/// Says at its end that something is done.
struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn taken_while_others_move() {
    // So many that much happens while a snapshot is taken.
    const FIXED: usize = if cfg!(miri) { 10 } else { 500 };
    let pool = pool(true);
    pool.add(0, (2 * FIXED + 200) * PAGE).unwrap();
    let fixed = pool.alloc(3 * PAGE).unwrap();
    let mut others: Vec<_> = (0..2 * FIXED).map(|_| pool.alloc(PAGE).unwrap()).collect();
    let mut is_odd = false;
    others.retain(|_| {
        is_odd ^= true;
        is_odd
    });
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also where a check fails.
        let _done = Done(&done);
        for size in [1, 3] {
            let (pool, done) = (&pool, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    drop(pool.alloc_many(&[size * PAGE, PAGE, 70 * PAGE]));
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.add(0x1000_0000, 8 * PAGE).unwrap();
                let drain = pool.remove(0x1000_0000).unwrap();
                while !drain.wait(Some(std::time::Duration::from_millis(1))) {}
            }
        });
        for _ in 0..if cfg!(miri) { 3 } else { 150 } {
            let shot = Snapshot::of(&pool);
            shot.check().unwrap();
            // An allocation that is held throughout is in the snapshot.
            let run = shot.chunks[0].taken[0];
            assert!(run.0 == 0 && run.1 >= 3, "{shot:?}");
            assert_eq!(shot.live.as_ref().unwrap()[0].addr, fixed.addr());
            let live = shot
                .live
                .iter()
                .flatten()
                .map(|live| live.size)
                .sum::<usize>();
            assert!(live + shot.stats.cached <= shot.stats.used + shot.stats.draining_used);
        }
    });
    drop((fixed, others));
    assert_eq!(Snapshot::of(&pool).chunks[0].taken, []);
}

#[test]
fn impossible_contents_are_refused() {
    let pool = pool(false);
    pool.add(0x1_0000, 16 * PAGE).unwrap();
    let good = Snapshot::of(&pool);
    let with = |change: &dyn Fn(&mut Snapshot)| {
        let mut shot = good.clone();
        change(&mut shot);
        shot.check()
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|shot| shot.version = 7), Err(NoSnapshot::Version(7)));
    assert_eq!(with(&|shot| shot.order = 64), Err(NoSnapshot::Order(64)));
    let (start, size) = (0x1_0000, 0);
    assert_eq!(
        with(&|shot| shot.chunks[0].size = 0),
        Err(NoSnapshot::Chunk { start, size })
    );
    let (first, len) = (usize::MAX, 2);
    assert_eq!(
        with(&|shot| shot.chunks[0].taken = vec![(first, len)]),
        Err(NoSnapshot::Run { start, first, len })
    );
    let runs = vec![(0, usize::MAX), (1, usize::MAX)];
    let mut shot = good.clone();
    shot.chunks[0].taken = runs;
    assert!(shot.check().unwrap_err().to_string().contains("granule 0"));
    assert_eq!(shot.chunks[0].taken_granules(), usize::MAX);
}

#[test]
fn figures_are_gauges_and_then_counters() {
    let kinds: Vec<_> = genpool_observe::figures(&pool(false))
        .map(|figure| figure.kind.to_string())
        .collect();
    let counters = kinds.iter().position(|kind| kind == "counter").unwrap();
    assert!(counters > 0);
    assert!(kinds[..counters].iter().all(|kind| kind == "gauge"));
    assert!(kinds[counters..].iter().all(|kind| kind == "counter"));
}

#[test]
fn chunks_and_their_runs_are_of_whole_granules() {
    let pool = pool(false);
    pool.add_virt(0x1_0000, 0, 16 * PAGE).unwrap();
    let good = Snapshot::of(&pool);
    let with = |start: usize, size: usize, taken: &[(usize, usize)]| {
        let mut shot = good.clone();
        (shot.chunks[0].start, shot.chunks[0].size) = (start, size);
        shot.chunks[0].taken = taken.to_vec();
        shot.check()
    };
    for (start, size) in [
        (0x1_0800, 16 * PAGE),
        (0x1_0000, 16 * PAGE - 1),
        (0x1_0001, PAGE - 1),
    ] {
        assert_eq!(
            with(start, size, &[]),
            Err(NoSnapshot::Chunk { start, size })
        );
    }
    let start = 0x1_0000;
    for (first, len) in [(0, 0), (10, 7), (16, 1), (17, 1), (0, 17), (1, usize::MAX)] {
        let refused = with(start, 16 * PAGE, &[(first, len)]);
        assert_eq!(refused, Err(NoSnapshot::Run { start, first, len }));
    }
    // A run up to the end, and physical addresses up to the last one.
    let mut shot = good.clone();
    shot.chunks[0].phys = Some(u64::MAX - (16 * PAGE as u64 - 1));
    assert_eq!(shot.check(), Ok(()));
    let phys = u64::MAX - (16 * PAGE as u64 - 2);
    shot.chunks[0].phys = Some(phys);
    assert_eq!(shot.check(), Err(NoSnapshot::Phys { start, phys }));
}

/// Of a snapshot that is cut the totals need only be possible.
#[test]
fn totals_of_a_snapshot_that_is_cut_are_possible() {
    let pool = pool(false);
    pool.add(0x1_0000, 4 * PAGE).unwrap();
    let mut held: Vec<_> = (0..4).map(|_| pool.alloc(1).unwrap()).collect();
    let full = Snapshot::at_most(&pool, 0);
    assert_eq!(
        (full.cut, full.fragmentation.free_runs, full.check()),
        (true, 0, Ok(()))
    );
    held.truncate(1);
    let mut shot = Snapshot::at_most(&pool, 0);
    for (runs, largest, is_possible) in [
        (1, 3, true),
        (2, 2, true),
        (3, 1, true),
        (0, 3, false),
        (2, 3, false),
        (2, 1, false),
        (4, 1, false),
        (usize::MAX, 1, false),
    ] {
        shot.fragmentation.free_runs = runs;
        shot.fragmentation.largest_run = largest * PAGE;
        assert_eq!(
            shot.check().is_ok(),
            is_possible,
            "{runs} runs, the longest of {largest}"
        );
    }
    let (name, says, most) = ("fragmentation.free_runs", 4, 3);
    shot.fragmentation.free_runs = says;
    assert_eq!(shot.check(), Err(NoSnapshot::TooHigh { name, says, most }));
}

/// Each total of a snapshot must follow from its chunks, whether or not some of its runs are left out.
#[test]
fn totals_that_contradict_the_rest_are_refused() {
    let pool = pool(true);
    pool.add(0x1_0000, 16 * PAGE).unwrap();
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    pool.add_virt(0x20_0000, 0x7000, PAGE).unwrap();
    let mut held = pool.alloc_many(&[PAGE, PAGE, 2 * PAGE, PAGE]).unwrap();
    drop(held.remove(1));
    let drain = pool.remove(0x10_0000).unwrap();
    let mut cache = pool.cache();
    let one = cache.alloc(PAGE).unwrap();
    cache.free(one);
    assert!(cache.held() > 0);

    type Total = fn(&mut Snapshot) -> &mut usize;
    let totals: [(&str, Total); 10] = [
        ("stats.chunks", |shot| &mut shot.stats.chunks),
        ("stats.size", |shot| &mut shot.stats.size),
        ("stats.used", |shot| &mut shot.stats.used),
        ("stats.free", |shot| &mut shot.stats.free),
        ("stats.draining", |shot| &mut shot.stats.draining),
        ("stats.draining_used", |shot| &mut shot.stats.draining_used),
        ("stats.cached", |shot| &mut shot.stats.cached),
        ("fragmentation.free", |shot| &mut shot.fragmentation.free),
        ("fragmentation.free_runs", |shot| {
            &mut shot.fragmentation.free_runs
        }),
        ("fragmentation.largest_run", |shot| {
            &mut shot.fragmentation.largest_run
        }),
    ];
    for entries in [0, 1, 3, 5, 1000] {
        let good = Snapshot::at_most(&pool, entries);
        assert_eq!(good.check(), Ok(()), "{entries}");
        assert_eq!(good.stats, pool.stats());
        assert_eq!(good.fragmentation, pool.fragmentation());
        for (name, total) in totals {
            let was = *total(&mut good.clone());
            for wrong in [was + 1, usize::MAX, usize::MAX - PAGE + 1] {
                let mut shot = good.clone();
                *total(&mut shot) = wrong;
                let error = shot.check().unwrap_err().to_string();
                let names_both = error.contains(name) && error.contains(&wrong.to_string());
                assert!(names_both || good.cut, "{name}: {error}");
            }
        }
        for total in [0, 1, 2, 3, 4, 7, 8].map(|at: usize| totals[at].1) {
            let mut shot = good.clone();
            *total(&mut shot) = 0;
            let is_zero = *total(&mut good.clone()) == 0;
            assert_eq!(shot.check().is_ok(), is_zero, "{shot:?}");
        }
    }
    // What is in live allocations is in no cache.
    let mut shot = Snapshot::of(&pool);
    let held: usize = shot.live.iter().flatten().map(|live| live.size).sum();
    let most = shot.stats.used + shot.stats.draining_used - held;
    assert_eq!(shot.stats.cached, most);
    let (name, says) = ("stats.cached", most + PAGE);
    shot.stats.cached = says;
    assert_eq!(shot.check(), Err(NoSnapshot::TooHigh { name, says, most }));
    let error = {
        let mut shot = Snapshot::of(&pool);
        shot.stats.used += PAGE;
        shot.check().unwrap_err()
    };
    let used = pool.stats().used;
    let (says, is) = (used + PAGE, used);
    assert_eq!(
        error,
        NoSnapshot::Total {
            name: "stats.used",
            says,
            is
        }
    );
    drop((cache, held, drain));
}

#[test]
fn live_allocations_lie_in_runs_that_are_taken() {
    let pool = pool(true);
    pool.add(0x1_0000, 16 * PAGE).unwrap();
    let mut held = pool.alloc_many(&[2 * PAGE, PAGE, PAGE]).unwrap();
    drop(held.remove(1));
    let good = Snapshot::of(&pool);
    let with = |change: &dyn Fn(&mut Snapshot)| {
        let mut shot = good.clone();
        change(&mut shot);
        shot.check()
    };
    assert_eq!(with(&|_| ()), Ok(()));
    for (addr, size) in [
        (0x1_0000, 0),
        (0x1_0000, 1),
        (0x1_0001, PAGE),
        (0x1_0000, 3 * PAGE),
        (0x1_2000, PAGE),
        (0x1_1000, usize::MAX),
        (0, PAGE),
        (usize::MAX, PAGE),
    ] {
        let changed = with(&|shot| {
            let live = &mut shot.live.as_mut().unwrap()[0];
            (live.addr, live.size) = (addr, size);
        });
        assert_eq!(changed, Err(NoSnapshot::Live { addr, size }));
    }
    let twice = with(&|shot| {
        let live = shot.live.as_mut().unwrap();
        live.insert(0, live[0].clone());
    });
    let (addr, size) = (0x1_0000, 2 * PAGE);
    assert_eq!(twice, Err(NoSnapshot::Live { addr, size }));
    let tracked = true;
    assert_eq!(
        with(&|shot| shot.live = None),
        Err(NoSnapshot::Tracked { tracked })
    );
    let tracked = false;
    assert_eq!(
        with(&|shot| shot.tracked = false),
        Err(NoSnapshot::Tracked { tracked })
    );
    let (start, phys) = (0x1_0000, u64::MAX - 7);
    let wrapped = with(&|shot| shot.chunks[0].phys = Some(phys));
    assert_eq!(wrapped, Err(NoSnapshot::Phys { start, phys }));
    let (first, len) = (2, 1);
    let touching = with(&|shot| shot.chunks[0].taken.insert(1, (first, len)));
    assert_eq!(touching, Err(NoSnapshot::Run { start, first, len }));
}

#[test]
fn runs_are_checked_up_to_the_last_address() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 1).unwrap();
    let mut shot = Snapshot::of(&pool);
    shot.chunks[0].size = usize::MAX;
    shot.chunks[0].taken = vec![(0, usize::MAX)];
    (shot.stats.size, shot.stats.used, shot.stats.free) = (usize::MAX, usize::MAX, 0);
    shot.fragmentation = Default::default();
    assert_eq!(shot.check(), Ok(()));
    for (first, len) in [(0, 1), (usize::MAX, 1), (usize::MAX, usize::MAX)] {
        let mut more = shot.clone();
        more.chunks[0].taken.push((first, len));
        let start = 0;
        assert_eq!(more.check(), Err(NoSnapshot::Run { start, first, len }));
    }
}

#[cfg(feature = "serde")]
#[test]
fn there_and_back() {
    let pool = pool(true);
    pool.add_virt(0x1000, u64::MAX - 16 * PAGE as u64, 16 * PAGE)
        .unwrap();
    let held = pool.alloc(PAGE).unwrap();
    let shot = Snapshot::of(&pool);
    let json = serde_json::to_string(&shot).unwrap();
    assert!(json.contains(r#""taken":[[0,1]]"#), "{json}");
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), shot);

    // Values of the core, on their own.
    let stats = serde_json::to_string(&pool.stats()).unwrap();
    assert_eq!(
        serde_json::from_str::<genpool_core::Stats>(&stats).unwrap(),
        pool.stats()
    );
    let chunk = serde_json::to_value(pool.chunks().next().unwrap()).unwrap();
    assert_eq!(chunk["avail"], 15 * PAGE);
    let held = {
        drop(held);
        let _kept = pool.alloc(PAGE).unwrap().into_raw();
        serde_json::to_value(pool.destroy()).unwrap()
    };
    assert_eq!(held["held"][0]["size"], PAGE);
}
