//! Recording what a pool does, as a trace.

mod entry;
pub mod ring;
mod script;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use genpool_core::sync::{AtomicUsize, Mutex, Ordering};
use genpool_core::{Event, Observer};

use self::entry::{Change, Entry};
use self::ring::{Reader, Ring, Taken, is_before};
use self::script::Script;

/// Changes of the chunk list that wait to be written; as many as `genpool` reads chunks of a trace
/// (2026-11).
const MOST_CHANGES: usize = 1 << 14;

/// Text is written in pieces of about so many bytes (2026-11).
const PIECE: usize = 1 << 16;

/// Records what one pool does, for [`write_to`](Self::write_to) to write as a trace that `genpool
/// verify`, `replay` and `compare` read.
///
/// [`new`](Self::new) makes it together with a [`Tap`], which goes into the pool.
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::Recorder;
///
/// let (recorder, tap) = Recorder::new(1 << 12)?;
/// let pool = Pool::builder().order(12).name("rx").observer(tap).build()?;
/// pool.add(0x10_0000, 0x4000)?;
/// let ring = pool.alloc(5000)?;
/// assert!(pool.alloc(0x4000).is_err());
/// drop(ring);
///
/// let mut trace = Vec::new();
/// recorder.write_to(&mut trace)?;
/// assert_eq!(
///     String::from_utf8(trace)?,
///     "# genpool trace v1\n# pool rx\n\
///      pool order=12\n\
///      chunk virt=0x100000 size=0x4000\n\
///      alloc 1 size=5000 algo=first-fit -> 0x100000\n\
///      alloc 2 size=16384 algo=first-fit -> none\n\
///      free 1\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What a trace says
///
/// The operations stand in an order in which they could have happened one after the other: an
/// allocation after whatever had to be given back for it. Recorded from several threads at once it is a
/// load to be replayed; whether another pool would have answered the same is chance, since an
/// allocation that was about to be given back is in the way of one and not of another. What one thread
/// did stands as it was done, and verifies, address by address, where each request went by an algorithm
/// that has a [notation](genpool_core::Notation), but for this:
///
/// - A [`Cache`](genpool_core::Cache) names no algorithm, and what it keeps at hand is in the way of other
///   requests, which the trace does not show.
/// - Results of `thread-start` depend on the thread, and those of `next-fit` on what else that one value
///   of it was used for.
/// - A chunk that was removed and is added again is the newest one in the pool, and not in the trace.
///
/// Version 1 of the format has no line for a resize, a free of a part, a removal of a chunk. The trace
/// says them by frees and by allocations at fixed addresses (`algo=fixed-address:`), so that whoever
/// replays it has the same granules free. A chunk that is removed stays in it, taken; if it is added again
/// the trace frees it. Should it then have another shape, what reaches out of the old one cannot be said;
/// a comment and [`unsaid`](Self::unsaid) say so. Requests that were refused are recorded with `-> none`,
/// whatever the reason; frees that were refused change nothing and are left out.
///
/// # What is lost
///
/// The memory is fixed: each operation has a place until it is written, and one that finds none is
/// lost. [`lost`](Self::lost) counts them, and a comment in the trace says how many are missing where. Batches of runs
/// that caches take from the pool and give back have places too, and count where they are lost.
/// What is written is still a trace: an allocation whose place was held by one whose free was lost
/// frees that first. Until then it is held, so a trace that lost much is of a fuller pool than there was:
/// a larger recorder, or one that is written more often, loses less.
///
/// Changes of the chunk list are kept apart, up to 16,384 of them, so that they are not lost in a burst;
/// one that comes later than its place was passed by, since it takes long to add a chunk, is written
/// where it comes, and a comment says that it was found. On 32-bit machines numbers come again, and what
/// is lost is only told rightly if at most 2<sup>29</sup> operations come between two calls of
/// [`write_to`](Self::write_to).
///
/// No trace becomes larger than `genpool` reads: 16,384 chunks that were ever added, 2<sup>30</sup>
/// granules in them, 256 MiB of text. What goes beyond is left out, and `unsaid` counts it.
pub struct Recorder {
    shared: Arc<Shared>,
}

/// The end of a [`Recorder`] that goes into the pool, as its
/// [observer](genpool_core::Builder::observer). There is one, since one trace is of one pool: should it be
/// shared and go into a second one, the trace ends where that was built, and says so.
///
/// It numbers the pool's events, and takes one read-modify-write and five stores for each. A pair of
/// alloc and free took 2.3 to 4 times as long as without, and 5 times while the recorder was full
/// (2026-11). [Signal-safe](genpool_core#signal-safety).
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::{Observers, Recorder, Watermarks};
///
/// let (recorder, tap) = Recorder::new(1 << 12)?;
/// let marks = Watermarks::new(0x1000, usize::MAX, |crossing| eprintln!("{crossing:?}"));
/// let pool = Pool::builder().observer(Observers::new().and(tap).and(marks)).build()?;
/// assert_eq!(recorder.lost(), 0);
/// # drop(pool);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tap {
    shared: Arc<Shared>,
}

struct Shared {
    ring: Ring,
    changes: Mutex<Changes>,
    lost: AtomicUsize,
    writer: Mutex<Writer>,
}

/// Changes of the chunk list that were not written yet, the first first.
#[derive(Default)]
struct Changes(VecDeque<(usize, Change)>);

struct Writer {
    reader: Reader,
    script: Script,
    /// What was not written yet begins at `written`.
    text: String,
    written: usize,
    /// Operations that went into the text since a call last ended well.
    count: usize,
}

/// A recorder cannot have so much memory.
///
/// ```
/// use genpool::observe::Recorder;
///
/// let refused = Recorder::new(usize::MAX).expect_err("more than there are addresses");
/// assert_eq!(refused.operations, usize::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    /// The operations that it was to hold.
    pub operations: usize,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no memory to hold {} operations of a trace",
            self.operations
        )
    }
}

impl Error for NoMemory {}

impl Recorder {
    /// A recorder that holds at least so many operations that are not written yet, in 48 bytes each (24
    /// on 32-bit machines), rounded up to a power of two.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] where memory for them cannot be had.
    pub fn new(operations: usize) -> Result<(Self, Tap), NoMemory> {
        let ring = Ring::new(operations).ok_or(NoMemory { operations })?;
        let writer = Writer {
            reader: ring.reader(),
            script: Script::default(),
            text: String::new(),
            written: 0,
            count: 0,
        };
        let shared = Arc::new(Shared {
            ring,
            changes: Mutex::default(),
            lost: AtomicUsize::new(0),
            writer: Mutex::new(writer),
        });
        let tap = Tap {
            shared: Arc::clone(&shared),
        };
        Ok((Self { shared }, tap))
    }

    /// Writes what was recorded and not written yet, and answers how many operations that was: the answers of all
    /// calls add up to the operations in the trace. May be
    /// called again and again while the pool is used, for instance by a thread of its own: the parts
    /// make one trace. Each call writes hardly more than twice as many operations as the recorder holds
    /// and passes by what was lost, however much, so it ends whatever others do. What comes after an operation
    /// that is under way is left for a later call.
    ///
    /// Calls at the same time wait for each other. It needs memory in proportion to what the pool's
    /// users hold, and to the chunks that there ever were. Not [signal-safe](genpool_core#signal-safety).
    ///
    /// # Errors
    ///
    /// Those of `out`. Nothing is lost by them, nor by a panic of `out`: the next call goes on at the byte where this
    /// one stopped, and its answer counts the operations that this one took up as well.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<usize> {
        let shared = &*self.shared;
        let mut writer = shared.writer.lock();
        // What came late has its place before what comes now.
        writer.pass(shared, 0);
        // What is left of a lap, a whole one, and what was missed behind each of them: while nobody moves
        // that is all.
        for _ in 0..2 * (shared.ring.slots() + 1) {
            if writer.text.len() >= PIECE {
                writer.flush(out)?;
            }
            match shared.ring.take(&mut writer.reader) {
                Taken::Pending => break,
                Taken::There(words) => match Entry::of_words(words) {
                    Entry::Change => writer.pass(shared, 1),
                    entry => {
                        writer.count += usize::from(entry.is_operation());
                        writer.entry(entry);
                    }
                },
                Taken::Missed(missed) => writer.pass(shared, missed),
            }
        }
        writer.say_lost();
        writer.flush(out)?;
        out.flush()?;
        Ok(std::mem::take(&mut writer.count))
    }

    /// How many operations were lost so far because the recorder was full.
    /// [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn lost(&self) -> usize {
        // Relaxed: a count.
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// How many operations so far no line of the trace stands for, because they were in a chunk that
    /// the trace does not know, or the trace was at its end. Waits for a call of
    /// [`write_to`](Self::write_to), and knows what those wrote.
    #[must_use]
    pub fn unsaid(&self) -> u64 {
        self.shared.writer.lock().script.unsaid()
    }

    /// How many operations it holds. [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.ring.slots()
    }
}

impl Writer {
    fn entry(&mut self, entry: Entry) {
        self.script.entry(&mut self.text, entry);
    }

    /// The last `count` numbers that were taken have no entries. Changes among them were kept apart, as
    /// were those that came late; the others are lost.
    fn pass(&mut self, shared: &Shared, count: usize) {
        let next = self.reader.next();
        let mut number = next.wrapping_sub(count);
        loop {
            let change = shared.changes.lock().take_before(next);
            let Some((of, change)) = change else { break };
            if is_before(of, number) {
                self.script.found(&mut self.text);
            } else {
                self.script.lost(of.wrapping_sub(number));
                number = of.wrapping_add(1);
            }
            self.script.change(&mut self.text, change);
        }
        self.script.lost(next.wrapping_sub(number));
    }

    fn say_lost(&mut self) {
        self.script.say_lost(&mut self.text);
    }

    fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        while let Some(rest) = self.text.as_bytes().get(self.written..)
            && !rest.is_empty()
        {
            match out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.text.clear();
        self.written = 0;
        Ok(())
    }
}

impl Observer for Tap {
    fn numbered(&self) -> bool {
        true
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        let shared = &*self.shared;
        let kept = match Change::of(event) {
            None => shared.ring.put(number, Entry::of(event).to_words()),
            Some(change) => {
                let kept = shared.changes.lock().keep(number, change);
                // Missed or not, the reader looks among the changes when it comes here.
                let _ = shared.ring.put(number, Entry::Change.to_words());
                kept
            }
        };
        if !kept {
            // Relaxed: a count.
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Changes {
    /// Says whether there was room.
    fn keep(&mut self, number: usize, change: Change) -> bool {
        let has_room = self.0.len() < MOST_CHANGES;
        if has_room {
            let at = self
                .0
                .partition_point(|&(other, _)| !is_before(number, other));
            self.0.insert(at, (number, change));
        }
        has_room
    }

    /// The first one, if its number is before `next`.
    fn take_before(&mut self, next: usize) -> Option<(usize, Change)> {
        self.0.pop_front_if(|(number, _)| is_before(*number, next))
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("capacity", &self.capacity())
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_kept_in_order_as_far_as_there_is_room() {
        let mut changes = Changes::default();
        let change = |start| Change::Draining { start, size: 1 };
        for number in (0..MOST_CHANGES).rev() {
            // Half of them come late.
            let number = number ^ 1;
            assert!(changes.keep(number, change(number)));
        }
        assert!(!changes.keep(MOST_CHANGES, change(0)));
        let mut numbers = 0..MOST_CHANGES;
        while let Some((number, _)) = changes.take_before(MOST_CHANGES) {
            assert_eq!(Some(number), numbers.next());
        }
        assert!(numbers.is_empty());
        assert!(changes.keep(MOST_CHANGES, change(0)));
        assert_eq!(changes.take_before(MOST_CHANGES), None, "it comes later");
    }
}
