//! A recorder: what a pool does, as a trace.
//!
//! The work is split between two sides. The pool's threads call a [`Tap`], which packs each event into four words
//! (`entry`) and stores them in a ring of slots ([`ring`]). A call of [`Recorder::write_to`] reads the ring in the
//! order of the events' numbers and turns them into lines that are legal in any case (`script`).
//!
//! # Changes of the chunk list
//!
//! Adding a chunk takes long, and its number is drawn before that. An event that came so late would often find that the
//! reader had already passed its number, and a trace that lacks a chunk is of little use. So changes of the chunk list
//! wait in a list of their own, sorted by number, and the ring holds only a placeholder for them. The reader takes what
//! the list holds up to its own position, whether or not it has already passed that number. The order of late changes
//! does not matter, because the script counts how often a chunk was added less how often it was removed.

mod entry;
pub mod ring;
mod script;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use genpool_core::sync::{AtomicUsize, Mutex, Ordering};
use genpool_core::{Event, Observer};
use thiserror::Error;

use self::entry::{Change, Entry};
use self::ring::{Reader, Ring, Taken, is_before};
use self::script::Script;

/// The most changes of the chunk list that wait to be written. `genpool` reads as many chunks of one trace (2026-11).
const MOST_CHANGES: usize = 1 << 14;

/// Text is written in pieces of about this many bytes (2026-11).
const PIECE: usize = 1 << 16;

/// Records what one pool does. [`write_to`](Self::write_to) writes it as a trace that `genpool verify`, `replay` and
/// `compare` read.
///
/// [`new`](Self::new) creates a recorder together with a [`Tap`], which goes into the pool.
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
/// The operations appear in an order in which they could have happened one after the other: an allocation comes after
/// every free that it depends on. A trace recorded from several threads is a load to replay. Whether another pool would
/// have given the same answers is chance, since an allocation that is about to be freed may block one request and not
/// another. The operations of a single thread appear in their own order. They verify, address by address, if each
/// request used an algorithm whose [name](genpool_core::AlgorithmName) the format defines, with these exceptions:
///
/// - A [`Cache`](genpool_core::Cache) names no algorithm, and the runs that it keeps block other requests without
///   appearing in the trace.
/// - Results of `thread-start` and `spread-fit` depend on the thread. Those of `next-fit` depend on everything that one value of it was
///   used for.
/// - A chunk that was removed and added again is the newest one in the pool, but not in the trace.
///
/// Version 1 of the format has no line for a resize, a free of part of an allocation, or the removal of a chunk. The
/// trace expresses them by frees and by allocations at fixed addresses (`algo=fixed-address:`), so that a replay has
/// the same granules free. A removed chunk stays in the trace, entirely taken; if it is added again, the trace frees
/// it. If it then has another shape, the part outside the old one cannot be expressed; a comment and
/// [`unsaid`](Self::unsaid) report that. Refused requests are recorded with `-> none`, whatever the reason. Refused
/// frees change nothing and are left out.
///
/// # What is lost
///
/// Memory is fixed. Each operation has a place until it is written, and an operation that finds none is lost.
/// [`lost`](Self::lost) counts them, and a comment in the trace says how many are missing at that point. The batches of
/// runs that caches take from the pool and return have places too, and count when they are lost. The output remains a
/// valid trace: if a free was lost and its range was allocated again, the trace frees the old allocation first. Until
/// then the old one is held, so a trace that lost much shows a fuller pool than there was. A larger recorder, or one
/// that is written more often, loses less.
///
/// Changes of the chunk list are kept apart, up to 16,384 of them, so that a burst of operations does not lose them.
/// Adding a chunk takes long, so its event may come after the writer has passed its place. It is then written where it
/// comes, and a comment says that it was found. On 32-bit machines numbers repeat, and the count of lost operations is
/// right only if at most 2<sup>29</sup> operations come between two calls of [`write_to`](Self::write_to).
///
/// A trace never grows beyond what `genpool` reads: 16,384 chunks ever added, 2<sup>30</sup> granules in them, 256 MiB
/// of text. What goes beyond that is left out, and `unsaid` counts it.
pub struct Recorder {
    shared: Arc<Shared>,
}

/// The end of a [`Recorder`] that goes into the pool, as its [observer](genpool_core::Builder::observer). There is one,
/// since one trace is of one pool. If it is shared and given to a second pool, the trace ends where that pool was
/// built, and says so.
///
/// It has the pool number its events, and costs one read-modify-write and five stores for each. An alloc and free pair
/// took 2.3 to 4 times as long as without it, and 5 times as long while the recorder was full (2026-11).
/// [Signal-safe](genpool_core#signal-safety).
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

/// Changes of the chunk list that were not written yet, in the order of their numbers.
#[derive(Default)]
struct Changes(VecDeque<(usize, Change)>);

struct Writer {
    reader: Reader,
    script: Script,
    /// Holds text that was not written yet, from `written` on.
    text: String,
    written: usize,
    /// Operations that went into the text since a call last succeeded.
    count: usize,
}

/// The memory for a recorder cannot be allocated.
///
/// ```
/// use genpool::observe::Recorder;
///
/// let refused = Recorder::new(usize::MAX).expect_err("more than there are addresses");
/// assert_eq!(refused.operations, usize::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{operations} operations of a trace: no memory to hold them")]
pub struct NoMemory {
    /// The number of operations that the recorder was to hold.
    pub operations: usize,
}

impl Recorder {
    /// Returns a recorder that holds at least `operations` operations until they are written. The number is rounded up
    /// to a power of two; each takes 48 bytes (24 on 32-bit machines).
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if that much memory cannot be allocated.
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

    /// Writes everything recorded since the last call, and returns how many operations that was. The results of all
    /// calls add up to the operations in the trace.
    ///
    /// May be called repeatedly while the pool is in use, for instance by a thread of its own: the parts make one
    /// trace. Each call writes hardly more than twice as many operations as the recorder holds, and skips lost ones in
    /// one step, however many. So it ends whatever other threads do. Operations after one that is still in progress are
    /// left for a later call.
    ///
    /// Concurrent calls wait for each other. A call needs memory in proportion to what the pool's users hold, and to
    /// the chunks that ever existed. Not [signal-safe](genpool_core#signal-safety).
    ///
    /// # Errors
    ///
    /// Those of `out`. Neither an error nor a panic of `out` loses anything: the next call continues at the byte where
    /// this one stopped, and its result includes the operations of this one.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<usize> {
        let shared = &*self.shared;
        let mut writer = shared.writer.lock();
        // Late changes have lower numbers than the entries to come.
        writer.pass(shared, 0);
        // The rest of a lap, a whole lap, and the missed numbers after each of them. That is everything if no thread
        // writes to the ring meanwhile.
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

    /// Returns how many operations were lost so far because the recorder was full.
    /// [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn lost(&self) -> usize {
        // Relaxed: a count.
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Returns how many operations so far no line of the trace stands for, because they were in a chunk that the trace
    /// does not know, or because the trace had ended. Covers what calls of [`write_to`](Self::write_to) have written,
    /// and waits for a call in progress.
    #[must_use]
    pub fn unsaid(&self) -> u64 {
        self.shared.writer.lock().script.unsaid()
    }

    /// Returns how many operations the recorder holds. [Signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.ring.slots()
    }
}

impl Writer {
    fn entry(&mut self, entry: Entry) {
        self.script.entry(&mut self.text, entry);
    }

    /// Handles the last `count` numbers, which have no entries in the ring. Changes among them, and changes that came
    /// late, wait in the list of changes. The others are lost.
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
                // Whether or not there is room, the reader looks among the changes when it reaches this number.
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
    /// Returns whether there was room.
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

    /// Takes the first change, if its number is before `next`.
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
