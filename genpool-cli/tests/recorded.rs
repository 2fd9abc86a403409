//! The output of a recorder is a trace: this crate reads it, and the operations of a single thread verify.

use std::io::{self, Write};
use std::thread;

use genpool::dma::DmaAlloc;
use genpool::observe::{Recorder, Tap};
use genpool::{
    Algorithm, Allocation, BestFit, ChunkSpec, Constrained, Constraints, FirstFit, FirstFitAlign,
    FixedAddress, FixedOffset, NextFit, OrderAlign, Pool, SpreadFit, ThreadStart,
};
use genpool_cli::algorithm::AlgorithmSpec;
use genpool_cli::replay::replay;
use genpool_cli::trace::{Op, Outcome, Trace};
use genpool_cli::verify::verify;

const PAGE: usize = 4096;

fn recorded(recorder: &Recorder) -> String {
    let mut trace = Vec::new();
    recorder.write_to(&mut trace).unwrap();
    String::from_utf8(trace).unwrap()
}

fn pool(tap: Tap) -> Pool {
    Pool::builder().order(12).observer(tap).build().unwrap()
}

/// Verifies a trace, and returns how many answers were compared.
fn verified(text: &str) -> u64 {
    let trace = Trace::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let found = verify(&trace, AlgorithmSpec::FirstFit).unwrap();
    assert_eq!(found.first, None, "{text}");
    found.recorded
}

/// Replays a trace. Nothing in it may be refused, whatever the answers.
fn replayed(text: &str) {
    let trace = Trace::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let unnamed = AlgorithmSpec::FirstFit;
    replay("recorded", &trace, unnamed, Some(1), &mut |_| ())
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    // No two allocations that the trace holds at one time overlap.
    let mut held: Vec<Option<(usize, usize)>> = vec![None; trace.allocs()];
    for step in trace.steps() {
        match step.op {
            Op::Alloc {
                slot,
                size,
                result: Some(Outcome::Addr(addr)),
                ..
            } => {
                let range = (addr, addr + size.next_multiple_of(PAGE));
                let apart = |other: &(usize, usize)| other.1 <= range.0 || range.1 <= other.0;
                let all = held.iter().flatten().all(apart);
                assert!(all, "line {}:\n{text}", step.line);
                held[slot.index()] = Some(range);
            }
            Op::Free { slot } => held[slot.index()] = None,
            _ => {}
        }
    }
}

/// A pool of two chunks, used by one thread.
fn work(pool: &Pool, algorithm: &dyn Algorithm, random: &mut impl FnMut(usize) -> usize) {
    pool.add(0x10_0000, 40 * PAGE).unwrap();
    pool.add_virt(0x80_0000, 0x1_0000, 30 * PAGE).unwrap();
    let mut held = Vec::new();
    for _ in 0..800 {
        match random(8) {
            0..4 => {
                if let Ok(one) = pool.alloc_with(random(6 * PAGE), algorithm) {
                    held.push(one);
                }
            }
            4 if !held.is_empty() => {
                let at = random(held.len());
                held[at].resize(random(8 * PAGE)).ok();
            }
            5 if !held.is_empty() => {
                let range = held.swap_remove(random(held.len())).into_raw();
                pool.free(range.addr, range.size).unwrap();
            }
            6 => {
                let sizes = [random(3 * PAGE) + 1, random(30 * PAGE) + 1];
                if let Ok(many) = pool.alloc_many(&sizes) {
                    held.extend(many);
                }
            }
            _ if !held.is_empty() => drop(held.swap_remove(random(held.len()))),
            _ => {}
        }
    }
}

fn random() -> impl FnMut(usize) -> usize {
    let mut state = 1u64;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 33) % below as u64) as usize
    }
}

#[test]
fn every_algorithm_verifies() {
    let aligned = FirstFitAlign::new(4 * PAGE).unwrap();
    let all: [(&dyn Algorithm, &str); 9] = [
        (&FirstFit, " algo=first-fit "),
        (&aligned, " algo=first-fit-align:0x4000 "),
        (&OrderAlign, " algo=order-align "),
        (&BestFit, " algo=best-fit "),
        (&FixedOffset::new(3 * PAGE), " algo=fixed:0x3000 "),
        (
            &FixedAddress::new(0x10_2000),
            " algo=fixed-address:0x102000 ",
        ),
        (&NextFit::new(), " algo=next-fit "),
        (&ThreadStart, " algo=thread-start "),
        (&SpreadFit, " algo=spread-fit "),
    ];
    for (algorithm, names) in all {
        let (recorder, tap) = Recorder::new(1 << 13).unwrap();
        let pool = pool(tap);
        work(&pool, algorithm, &mut random());
        let text = recorded(&recorder);
        assert!(text.contains(names), "{text}");
        assert_eq!((recorder.lost(), recorder.unsaid()), (0, 0));
        assert!(verified(&text) > 400);
        replayed(&text);
    }
}

#[test]
fn default_algorithms_are_named_and_others_are_not() {
    let (recorder, tap) = Recorder::new(64).unwrap();
    let builder = Pool::builder().order(12).algorithm(BestFit).observer(tap);
    let pool = builder.build().unwrap();
    pool.add(0, 8 * PAGE).unwrap();
    drop(pool.alloc(1).unwrap());
    pool.set_algorithm(OrderAlign);
    drop(pool.alloc(1).unwrap());
    let low = Constrained::new(FirstFit, Constraints::new().highest(PAGE * 2));
    drop(pool.alloc_with(1, &low).unwrap());
    assert_eq!(
        recorded(&recorder),
        "# genpool trace v1\npool order=12\nchunk virt=0x0 size=0x8000\n\
         alloc 1 size=1 algo=best-fit -> 0x0\nfree 1\n\
         alloc 2 size=1 algo=order-align -> 0x0\nfree 2\n\
         alloc 3 size=1 -> 0x0\nfree 3\n"
    );
}

#[test]
fn chunks_come_and_go() {
    let (recorder, tap) = Recorder::new(1 << 10).unwrap();
    let pool = pool(tap);
    pool.add(0x10_0000, 8 * PAGE).unwrap();
    pool.add(0x20_0000, 8 * PAGE).unwrap();
    let new = pool.alloc(2 * PAGE).unwrap();
    let other = pool.alloc(PAGE).unwrap();
    assert_eq!(new.addr(), 0x20_0000);
    let drain = pool.remove(0x20_0000).unwrap();
    let old = pool.alloc(PAGE).unwrap();
    assert_eq!(old.addr(), 0x10_0000);
    drop((new, other));
    drop(drain.finish().unwrap());
    let next = pool.alloc(6 * PAGE).unwrap();
    assert_eq!(next.addr(), 0x10_1000);
    assert!(pool.alloc(2 * PAGE).is_err());
    let text = recorded(&recorder);
    verified(&text);

    // Added again, and then in another shape.
    pool.add(0x20_0000, 8 * PAGE).unwrap();
    let again = pool.alloc(8 * PAGE).unwrap();
    drop(again);
    drop(pool.remove(0x20_0000).unwrap().finish().unwrap());
    pool.add(0x20_0000, 12 * PAGE).unwrap();
    let inside = pool.alloc(8 * PAGE).unwrap();
    let beyond = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(beyond.addr(), 0x20_8000);
    drop((inside, beyond));
    let text = text + &recorded(&recorder);
    assert_eq!(text.matches("\nchunk ").count(), 2);
    assert_eq!(text.matches("# unsaid").count() as u64, recorder.unsaid());
    assert!(recorder.unsaid() >= 2, "{text}");
    replayed(&text);
}

#[test]
fn parts_are_freed_by_address() {
    let (recorder, tap) = Recorder::new(1 << 10).unwrap();
    let pool = pool(tap);
    pool.add(0x10_0000, 8 * PAGE).unwrap();
    let range = pool.alloc(5 * PAGE).unwrap().into_raw();
    pool.free(range.addr + PAGE, PAGE).unwrap();
    let hole = pool.alloc(1).unwrap().into_raw();
    assert_eq!(hole.addr, range.addr + PAGE);
    // All of it at once.
    pool.free(range.addr, range.size).unwrap();
    drop(pool.alloc(8 * PAGE).unwrap());
    let text = recorded(&recorder);
    assert_eq!(recorder.unsaid(), 0);
    verified(&text);
}

#[test]
fn what_is_lost_is_counted_and_leaves_a_trace() {
    for capacity in [1, 2, 7, 64] {
        let (recorder, tap) = Recorder::new(capacity).unwrap();
        let pool = pool(tap);
        let (mut text, mut random, mut written) = (String::new(), random(), 0);
        pool.add(0x10_0000, 20 * PAGE).unwrap();
        let mut held: Vec<Allocation<'_>> = Vec::new();
        for step in 0..2000 {
            match random(3) {
                0 if !held.is_empty() => drop(held.swap_remove(random(held.len()))),
                1 if !held.is_empty() => {
                    let at = random(held.len());
                    held[at].resize(random(4 * PAGE)).ok();
                }
                _ => held.extend(pool.alloc(random(4 * PAGE) + 1)),
            }
            if random(capacity + 2) == 0 {
                let mut part = Vec::new();
                written += recorder.write_to(&mut part).unwrap();
                text += &String::from_utf8(part).unwrap();
            }
            if step == 1000 {
                pool.add(0x20_0000, 20 * PAGE).unwrap();
            }
        }
        text += &recorded(&recorder);
        assert!(recorder.lost() > 0 && written > 100, "{capacity}");
        let said = text
            .lines()
            .filter_map(|line| line.strip_prefix("# lost: ")?.strip_suffix(" operations"))
            .map(|count| count.parse::<usize>().unwrap())
            .sum::<usize>();
        assert_eq!(said, recorder.lost());
        // Chunks are never lost.
        assert_eq!(text.matches("\nchunk ").count(), 2);
        assert_eq!(recorder.unsaid(), 0);
        replayed(&text);
    }
}

#[test]
fn threads_record_while_one_writes() {
    for capacity in [1 << 6, 1 << 16] {
        let (recorder, tap) = Recorder::new(capacity).unwrap();
        let pool = pool(tap);
        pool.add(0x10_0000, 60 * PAGE).unwrap();
        let mut text = String::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|number| {
                    let pool = &pool;
                    scope.spawn(move || {
                        let mut random = random();
                        let mut cache = pool.cache();
                        for _ in 0..2000 {
                            let size = random(4 * PAGE) + 1;
                            match random(4) + number {
                                0..2 => drop(pool.alloc(size)),
                                2 => drop(cache.alloc(size)),
                                3 => {
                                    if let Ok(mut one) = pool.alloc(size) {
                                        one.resize(random(5 * PAGE)).ok();
                                    }
                                }
                                _ => drop(pool.alloc_many(&[size, PAGE])),
                            }
                        }
                    })
                })
                .collect();
            while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                text += &recorded(&recorder);
                thread::yield_now();
            }
        });
        for _ in 0..2 {
            text += &recorded(&recorder);
        }
        assert_eq!(pool.avail(), pool.size());
        replayed(&text);
        let frees = text.matches("\nfree ").count();
        let allocs = text.lines().filter(|line| line.contains("-> 0x")).count();
        if recorder.lost() == 0 {
            assert_eq!(frees, allocs);
        } else {
            assert!(text.contains("# lost: "));
        }
    }
}

#[test]
fn calls_of_other_layers_are_reported() {
    let (recorder, tap) = Recorder::new(64).unwrap();
    let device = genpool::devm::Device::new("sram");
    let builder = Pool::builder().order(12).observer(tap);
    let managed = device.create_pool(builder).unwrap();
    managed
        .add_chunk(ChunkSpec::new(0x10_0000, 4 * PAGE).phys(0x1000))
        .unwrap();
    drop(managed.alloc(1).unwrap());
    let held = managed.alloc_owned(2 * PAGE).unwrap();
    let _ = device.release().unwrap();
    assert!(managed.alloc(1).is_err());
    drop(held);
    let text = recorded(&recorder);
    assert_eq!(text.matches("\nalloc ").count(), 4, "{text}");
    verified(&text);

    let (recorder, tap) = Recorder::new(64).unwrap();
    let pool = pool(tap);
    pool.add_virt(0x10_0000, 0x1000, 4 * PAGE).unwrap();
    drop(pool.dma_alloc(1).unwrap());
    let raw = pool.dma_alloc_align(1, 2 * PAGE).unwrap().into_raw();
    pool.free(raw.addr, raw.size).unwrap();
    let text = recorded(&recorder);
    assert!(text.contains("algo=first-fit-align:0x2000 -> 0x100000\nfree 2\n"));
    assert_eq!(verified(&text), 2);
}

/// Takes a few bytes at a time, and refuses every third write.
struct Full(Vec<u8>, usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let some = bytes.len().min(7);
        self.0.extend(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_of_the_file_loses_nothing() {
    let both = [(); 2].map(|()| {
        let (recorder, tap) = Recorder::new(1 << 10).unwrap();
        let pool = pool(tap);
        pool.add(0x10_0000, 8 * PAGE).unwrap();
        for size in 1..100 {
            drop(pool.alloc(size * 100));
        }
        recorder
    });
    let mut out = Full(Vec::new(), 0);
    while both[0].write_to(&mut out).is_err() {}
    assert_eq!(String::from_utf8(out.0).unwrap(), recorded(&both[1]));
}

#[test]
fn names_and_sizes_of_all_kinds() {
    let (recorder, tap) = Recorder::new(8).unwrap();
    let name = "a\npool order=3\u{7}";
    let builder = Pool::builder().order(12).name(name).observer(tap);
    let pool = builder.build().unwrap();
    pool.add(0, PAGE).unwrap();
    let whole = pool.alloc(PAGE).unwrap();
    assert!(pool.alloc(0).is_err() && pool.alloc(usize::MAX).is_err());
    drop(whole);
    assert_eq!(verified(&recorded(&recorder)), 3);
    assert_eq!(recorder.capacity(), 8);
    let error = Recorder::new(usize::MAX).unwrap_err();
    assert!(error.to_string().contains("no memory"));
}
