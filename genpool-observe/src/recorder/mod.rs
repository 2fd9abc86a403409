//! Recording what a pool does, as a trace.

mod entry;
mod ring;
mod script;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use genpool_core::sync::{AtomicUsize, Mutex, Ordering};
use genpool_core::{Event, Observer};

use self::entry::{Change, Entry};
use self::ring::{Ring, Taken};
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
/// use genpool_core::Pool;
/// use genpool_observe::Recorder;
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
/// allocation after whatever had to be given back for it. For a pool that one thread uses it is the
/// order in which they did happen, and the trace verifies, address by address. Recorded from several
/// threads at once it is a load to be replayed; whether another pool would have answered the same is
/// chance, since an allocation that was about to be given back is in the way of one and not of
/// another.
///
/// - Requests that were refused are recorded with `-> none`, whatever the reason.
/// - The algorithm is named where it has a [notation](genpool_core::Notation). Results of others, such as
///   constrained ones, and of a [`Cache`](genpool_core::Cache), which names none, do not verify; nor do
///   those of `thread-start` but by the thread that was recorded.
/// - Version 1 of the format has no line for a resize, a free of a part, a removal of a chunk. The trace
///   says them by frees and by allocations at fixed addresses (`algo=fixed-address:`), so that whoever
///   replays it has the same granules free. A chunk that is removed stays in it, taken. If it is added
///   again as it was, the trace frees it; it is then not the newest chunk, and later results may differ.
/// - Where a chunk is added again in another shape, what happens beyond the old one cannot be said; a
///   comment and [`unsaid`](Self::unsaid) say so.
/// - Frees that were refused change nothing and are left out.
///
/// # What is lost
///
/// The memory is fixed: each operation has a place until it is written, and one that finds none is
/// lost. [`lost`](Self::lost) counts them, and a comment in the trace says how many are missing where.
/// What is written is still a trace: an allocation whose place was held by one whose free was lost
/// frees that first. Changes of the chunk list are kept apart, up to 16,384 of them, so that they are
/// not lost in a burst.
pub struct Recorder {
    shared: Arc<Shared>,
}

/// The end of a [`Recorder`] that goes into the pool, as its
/// [observer](genpool_core::Builder::observer). There is one, since one trace is of one pool.
///
/// It numbers the pool's events, and takes one read-modify-write and five stores for each. A pair of
/// alloc and free took 2.3 times as long as without, and 5 times while the recorder was full
/// (2026-11). Signal-safe.
///
/// ```
/// use genpool_core::Pool;
/// use genpool_observe::{Observers, Recorder, Watermarks};
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
    /// By number.
    changes: Mutex<BTreeMap<usize, Change>>,
    lost: AtomicUsize,
    writer: Mutex<Writer>,
}

struct Writer {
    /// The number that is read next.
    next: usize,
    script: Script,
    /// What was not written yet begins at `written`.
    text: String,
    written: usize,
}

/// A recorder cannot have so much memory.
///
/// ```
/// use genpool_observe::Recorder;
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
        let shared = Arc::new(Shared {
            ring,
            changes: Mutex::default(),
            lost: AtomicUsize::new(0),
            writer: Mutex::new(Writer {
                next: 0,
                script: Script::default(),
                text: String::new(),
                written: 0,
            }),
        });
        let tap = Tap {
            shared: Arc::clone(&shared),
        };
        Ok((Self { shared }, tap))
    }

    /// Writes what was recorded and not written yet, and answers how many operations that was. May be
    /// called again and again while the pool is used, for instance by a thread of its own: the parts
    /// make one trace. Each call writes hardly more operations than the recorder holds, so it ends
    /// whatever others do. What comes after an operation that is under way is left for a later call.
    ///
    /// Calls at the same time wait for each other. It needs memory in proportion to what the pool's
    /// users hold. Not signal-safe.
    ///
    /// # Errors
    ///
    /// Those of `out`. Nothing is lost by them: the next call goes on at the byte where this one
    /// stopped.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<usize> {
        let mut writer = self.shared.writer.lock();
        let (mut count, mut read) = (0, 0);
        // One more than can be there while nobody moves, so that all is passed that comes after them.
        while read <= self.shared.ring.slots() {
            if writer.text.len() - writer.written >= PIECE {
                writer.flush(out)?;
            }
            match self.shared.ring.take(writer.next) {
                Taken::Pending => break,
                Taken::There(words) => {
                    let entry = Entry::of_words(words);
                    read += 1;
                    count += usize::from(!matches!(entry, Entry::Nothing | Entry::Change));
                    match entry {
                        Entry::Change => writer.change(&self.shared),
                        _ => writer.entry(entry),
                    }
                }
                // Not counted: passing it over makes room, so they come to an end.
                Taken::Missed => writer.change(&self.shared),
            }
            writer.next = writer.next.wrapping_add(1);
        }
        writer.say_lost();
        writer.flush(out)?;
        out.flush()?;
        Ok(count)
    }

    /// How many operations were lost so far because the recorder was full. Signal-safe.
    #[must_use]
    pub fn lost(&self) -> usize {
        // Relaxed: a count.
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// How many operations so far no line of the trace stands for, because they were in a chunk that
    /// the trace does not know. Waits for a call of [`write_to`](Self::write_to), and knows what those
    /// wrote.
    #[must_use]
    pub fn unsaid(&self) -> u64 {
        self.shared.writer.lock().script.unsaid()
    }

    /// How many operations it holds. Signal-safe.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.ring.slots()
    }
}

impl Writer {
    fn entry(&mut self, entry: Entry) {
        self.script.entry(&mut self.text, entry);
    }

    /// The change of this number; if none was kept, the number is lost.
    fn change(&mut self, shared: &Shared) {
        let change = shared.changes.lock().remove(&self.next);
        match change {
            Some(change) => self.script.change(&mut self.text, change),
            None => self.script.lost(),
        }
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
                let kept = shared.keep(number, change);
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

impl Shared {
    /// Says whether there was room.
    fn keep(&self, number: usize, change: Change) -> bool {
        let mut changes = self.changes.lock();
        let has_room = changes.len() < MOST_CHANGES;
        if has_room {
            changes.insert(number, change);
        }
        has_room
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
