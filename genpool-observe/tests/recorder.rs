//! A recorder counts everything that it loses, and what it writes is a trace. `genpool-cli`, which reads traces, tests
//! that they verify and replay.

#![cfg(feature = "observer")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::{io, thread};

use genpool_core::{Algorithm, AlgorithmName, ChunkView, Event, Granule, Observer, Pool, Request};
use genpool_observe::{Observers, Recorder};

const PAGE: usize = 4096;

fn written(recorder: &Recorder) -> String {
    let mut text = Vec::new();
    recorder.write_to(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The sum of the counts in the comments of one kind.
fn comments(text: &str, kind: &str) -> usize {
    let counts = text.lines().filter_map(|line| {
        let count = line
            .strip_prefix("# ")?
            .strip_prefix(kind)?
            .split(' ')
            .nth(1)?;
        Some(count.parse::<usize>().unwrap())
    });
    counts.sum()
}

/// Does something before the observers after it are notified of a chunk at this address.
struct Before<F>(usize, F);

impl<F: Fn() + Send + Sync> Observer for Before<F> {
    fn event(&self, _: usize, event: &Event<'_>) {
        if let Event::ChunkAdded { start, .. } = *event
            && start == self.0
        {
            (self.1)();
        }
    }
}

#[test]
fn a_chunk_that_is_recorded_a_lap_late_is_in_the_trace() {
    let (recorder, tap) = Recorder::new(8).unwrap();
    let recorder = Arc::new(recorder);
    let text = Arc::new(Mutex::new(String::new()));
    let pool = Arc::new_cyclic(|pool: &Weak<Pool>| {
        let (pool, recorder, text) = (pool.clone(), Arc::clone(&recorder), Arc::clone(&text));
        let laps = move || {
            let pool = pool.upgrade().unwrap();
            for _ in 0..20 {
                drop(pool.alloc(2 * PAGE).unwrap());
            }
            *text.lock().unwrap() += &written(&recorder);
        };
        let observers = Observers::new().and(Before(0x20_0000, laps)).and(tap);
        let builder = Pool::builder().order(12).observer(observers);
        builder.build().unwrap()
    });
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    pool.add(0x20_0000, PAGE).unwrap();
    drop(pool.alloc(PAGE).unwrap());
    let text = text.lock().unwrap().clone() + &written(&recorder);
    assert!(
        text.contains("\nchunk virt=0x200000 size=0x1000\n"),
        "{text}"
    );
    assert!(text.contains(" size=4096 algo=first-fit -> 0x200000\nfree "));
    let lost = comments(&text, "lost") - comments(&text, "found");
    assert_eq!((lost, recorder.unsaid()), (recorder.lost(), 0), "{text}");
    assert!(lost > 0);
}

#[test]
fn writing_ends_while_faster_threads_allocate() {
    const CALLS: usize = if cfg!(miri) { 3 } else { 100 };
    let (recorder, tap) = Recorder::new(2).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(pool.alloc(PAGE));
                }
            });
        }
        for _ in 0..CALLS {
            let count = recorder.write_to(&mut io::sink()).unwrap();
            assert!(count <= 2 * (recorder.capacity() + 1));
        }
        done.store(true, Ordering::Relaxed);
    });
    // One call suffices, however far the writer fell behind.
    recorder.write_to(&mut io::sink()).unwrap();
    drop(pool.alloc(PAGE).unwrap());
    assert!(written(&recorder).contains(" size=4096 algo=first-fit -> 0x100000\nfree "));
}

/// All kinds of operations, and of changes.
#[test]
fn what_happened_is_what_the_trace_says() {
    let (recorder, tap) = Recorder::new(60).unwrap();
    assert_eq!(recorder.capacity(), 64);
    let builder = Pool::builder().order(12).name("sram").boundary_tracking();
    let pool = builder.observer(tap).build().unwrap();
    pool.add_virt(0x10_0000, 0x8000, 4 * PAGE).unwrap();
    let mut one = pool.alloc(PAGE).unwrap();
    one.resize(2 * PAGE).unwrap();
    assert!(pool.alloc(3 * PAGE).is_err());
    let drain = pool.remove(0x10_0000).unwrap();
    drop(one);
    assert!(drain.is_drained());
    let mut text = Vec::new();
    assert_eq!(recorder.write_to(&mut text).unwrap(), 4);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "# genpool trace v1\n\
         # pool sram\n\
         pool order=12\n\
         chunk virt=0x100000 phys=0x8000 size=0x4000\n\
         alloc 1 size=4096 algo=first-fit -> 0x100000\n\
         free 1\n\
         alloc 2 size=8192 algo=fixed-address:0x100000 -> 0x100000\n\
         alloc 3 size=12288 algo=first-fit -> none\n\
         # the chunk at 0x100000 is removed\n\
         alloc 4 size=8192 algo=fixed-address:0x102000 -> 0x102000\n"
    );
    assert_eq!((recorder.lost(), recorder.unsaid()), (0, 0));
}

/// However far the writer was left behind, and wherever in its lap: one call writes all that is kept, and says what
/// is lost.
#[test]
fn one_call_writes_all_that_is_there() {
    for read in 0..9 {
        for more in 0..40 {
            let (recorder, tap) = Recorder::new(8).unwrap();
            let pool = Pool::builder().order(12).observer(tap).build().unwrap();
            pool.add(0x10_0000, 64 * PAGE).unwrap();
            let mut text = String::new();
            for calls in [read, more] {
                for _ in 0..calls {
                    _ = pool.alloc(PAGE).unwrap().into_raw();
                }
                text += &written(&recorder);
            }
            let said = text
                .lines()
                .filter(|line| line.starts_with("alloc "))
                .count();
            let lost = comments(&text, "lost") - comments(&text, "found");
            assert_eq!(
                (said + lost, lost),
                (read + more, recorder.lost()),
                "{text}"
            );
            assert_eq!(written(&recorder), "", "{text}");
        }
    }
}

#[test]
fn a_recorder_that_is_too_large_says_so() {
    let refused = Recorder::new(usize::MAX).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} operations of a trace: no memory to hold them",
            usize::MAX
        )
    );
}

#[test]
fn what_no_chunk_of_the_trace_has_is_counted() {
    let (recorder, tap) = Recorder::new(8).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, 2 * PAGE).unwrap();
    drop(pool.remove(0x10_0000).unwrap());
    // Another shape of it, which the trace does not have.
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    let held = pool.alloc(4 * PAGE).unwrap();
    written(&recorder);
    assert_eq!(recorder.unsaid(), 2);
    drop(held);
}

/// Is interrupted before each piece, and notes how long the pieces are.
#[derive(Default)]
struct Pieces {
    interrupted: bool,
    lens: Vec<usize>,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupted ^= true;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.lens.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_writer_refused_is_written_later() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (recorder, tap) = Recorder::new(8).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, PAGE).unwrap();
    let refused = recorder.write_to(&mut Full).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    let text = written(&recorder);
    assert!(
        text.ends_with("chunk virt=0x100000 size=0x1000\n"),
        "{text}"
    );
}

/// A chunk that left in many pieces is held as one.
#[test]
fn a_chunk_that_is_drained_is_one_piece() {
    let (recorder, tap) = Recorder::new(256).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, 80 * PAGE).unwrap();
    let mut odd = false;
    let mut held: Vec<_> = (0..80).map(|_| pool.alloc(1).unwrap()).collect();
    held.retain(|_| {
        odd ^= true;
        odd
    });
    let drain = pool.remove(0x10_0000).unwrap();
    drop(held);
    assert!(drain.is_drained());
    let text = written(&recorder);
    let whole = " size=327680 algo=fixed-address:0x100000 -> 0x100000\n";
    assert!(text.ends_with(whole), "{text}");
}

/// Memory for the text is bounded, and calls are few.
#[test]
fn a_long_trace_is_written_in_pieces() {
    const CALLS: usize = if cfg!(miri) { 2_000 } else { 10_000 };
    let (recorder, tap) = Recorder::new(2 * CALLS + 2).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    for _ in 0..CALLS {
        drop(pool.alloc(PAGE).unwrap());
    }
    let mut pieces = Pieces::default();
    assert_eq!(recorder.write_to(&mut pieces).unwrap(), 2 * CALLS);
    let (last, full) = pieces.lens.split_last().unwrap();
    assert!(!full.is_empty() && *last < (1 << 16) + 100);
    assert!(
        full.iter()
            .all(|len| (1 << 16..(1 << 16) + 100).contains(len))
    );
}

/// A writer that takes so many bytes, and then fails in one of two ways.
struct Narrow<'t> {
    text: &'t mut Vec<u8>,
    room: usize,
    panics: bool,
}

impl io::Write for Narrow<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(self.room > 0 || !self.panics, "no room");
        let taken = bytes.len().min(self.room);
        self.text.extend(&bytes[..taken]);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.room {
            0 => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_call_that_failed_loses_neither_bytes_nor_the_count() {
    let (recorder, tap) = Recorder::new(64).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    let mut text = Vec::new();
    for (room, panics) in [(0, false), (7, true), (1, false), (30, true), (90, false)] {
        drop(pool.alloc(PAGE).unwrap());
        let mut out = Narrow {
            text: &mut text,
            room,
            panics,
        };
        let call = std::panic::AssertUnwindSafe(|| recorder.write_to(&mut out));
        let failed = std::panic::catch_unwind(call);
        assert!(failed.is_err() == panics && !matches!(failed, Ok(Ok(_))));
    }
    drop(pool.alloc(PAGE).unwrap());
    assert_eq!(recorder.write_to(&mut text).unwrap(), 2 * 6);
    assert_eq!(recorder.write_to(&mut text).unwrap(), 0);
    let text = String::from_utf8(text).unwrap();
    let lines = |head: &str| text.lines().filter(|line| line.starts_with(head)).count();
    assert_eq!(
        (lines("alloc "), lines("free "), lines("#")),
        (6, 6, 1),
        "{text}"
    );
}

/// What a cache exchanges with the pool is no operation of the program.
#[test]
fn what_a_cache_fetches_and_returns_is_not_in_the_trace() {
    let (recorder, tap) = Recorder::new(64).unwrap();
    let pool = Pool::builder().order(12).observer(tap).build().unwrap();
    pool.add(0x10_0000, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    let one = cache.alloc(PAGE).unwrap();
    cache.free(one);
    cache.flush();
    let mut text = Vec::new();
    assert_eq!(recorder.write_to(&mut text).unwrap(), 2);
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.ends_with("size=0x40000\nalloc 1 size=4096 -> 0x100000\nfree 1\n"),
        "{text}"
    );
}

#[test]
fn a_tap_that_is_shared_ends_the_trace() {
    let (recorder, tap) = Recorder::new(64).unwrap();
    let tap = Arc::new(tap);
    let pools = [5, 12].map(|order| {
        let builder = Pool::builder().order(order).observer(Arc::clone(&tap));
        let pool = builder.build().unwrap();
        pool.add(0, PAGE).unwrap();
        drop(pool.alloc(1).unwrap());
        pool
    });
    let text = written(&recorder);
    assert_eq!(text.matches("pool order=").count(), 1, "{text}");
    assert!(text.ends_with("\n# the end: the recorder was given to a second pool\n"));
    assert!(recorder.lost() > 0);
    drop(pools);
}

/// First fit under a name that no trace can express.
struct Odd;

impl Algorithm for Odd {
    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::with("first-fit-align", 3))
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
    }
}

#[test]
fn a_name_that_no_trace_can_have_is_left_out() {
    let (recorder, tap) = Recorder::new(64).unwrap();
    let builder = Pool::builder().order(12).algorithm(Odd).observer(tap);
    let pool = builder.build().unwrap();
    pool.add(0x10_0000, PAGE).unwrap();
    drop(pool.alloc(1).unwrap());
    let text = written(&recorder);
    assert!(
        text.ends_with("\nalloc 1 size=1 -> 0x100000\nfree 1\n"),
        "{text}"
    );
}
