//! A bounded ring of numbered entries, from many threads to one reader. No thread waits.
//!
//! Entry `n` has its place in slot `n` modulo the number of slots. So entries are in the order of their numbers,
//! whichever thread comes first, and the reader holds nothing back to sort it. A queue would be ordered by the time of
//! the push, which differs from the order of the numbers. Its reader would have to sort, and could not tell a late
//! entry from a lost one.
//!
//! A slot's stamp says which number the slot is for, and how far that entry has come:
//!
//! ```text
//! free for n ── writer ──► n is being written ── writer ──► n is there ── reader ──► free for a later one
//!      └──────────────── reader, if n or a later number of the slot was missed ──────────────┘
//! ```
//!
//! A writer whose slot is still in use for an earlier number is a lap ahead of the reader. It notes in the slot that
//! its number was missed, and the reader skips that number. The reader also skips a number that is a whole lap late;
//! its writer then finds the slot taken. So each number is either read or missed, exactly once.
//!
//! The reader proceeds in laps of as many numbers as there are slots. A slot that it has read in one lap is free for
//! the next. Where the next lap begins is settled when the current one begins: after the latest number that was missed
//! until then. So a reader that fell behind by any number of laps has caught up after two.
//!
//! # Orderings
//!
//! The words of a slot are written after an `Acquire` exchange that takes the slot, which pairs with the reader's
//! `Release` store that freed it. A `Release` store follows them, which pairs with the reader's `Acquire` load. The
//! words are relaxed atomics so that the code needs no `unsafe`; no two threads write them concurrently.
//! (Model: `ring vs reader`.)
//!
//! The module is public for the workspace's models. It is not part of the stable API.

use genpool_core::sync::{AtomicUsize, Ordering, Seed, seeded};

/// The faults of a ring that a model can seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A writer does not hand the words over.
    RelaxedRelease,
    /// A writer that finds no room leaves no note.
    UnrecordedMiss,
}

impl Seed for Fault {}

/// The words of an entry.
pub type Words = [usize; 4];

const FREE: usize = 0;
const WRITING: usize = 1;
const THERE: usize = 2;

/// Returns the stamp of a number and a state. A stamp drops the two highest bits of the number. Stamps that are
/// compared are never that far apart, unless the reader stays away for long on a 32-bit machine.
fn stamp(number: usize, state: usize) -> usize {
    number << 2 | state
}

/// Returns whether `one` comes before `other`. Numbers wrap, and so do stamps: no two that are compared are half the
/// range apart.
pub fn is_before(one: usize, other: usize) -> bool {
    (one.wrapping_sub(other) as isize) < 0
}

#[derive(Debug)]
struct Slot {
    stamp: AtomicUsize,
    /// The latest number of this slot that was missed, plus one; 0 for none.
    missed: AtomicUsize,
    words: [AtomicUsize; 4],
}

impl Slot {
    /// Returns the latest number that was missed here, unless it is before `number`.
    fn missed_since(&self, number: usize) -> Option<usize> {
        // Acquire: pairs with `note`, so that everything done for the missed number happens before its note is seen.
        let note = self.missed.load(Ordering::Acquire);
        let latest = note.wrapping_sub(1);
        (note != 0 && !is_before(latest, number)).then_some(latest)
    }

    /// Notes that `number` was missed. A later note stays.
    fn note(&self, number: usize) {
        let note = number.wrapping_add(1);
        let mut noted = self.missed.load(Ordering::Relaxed);
        while (noted == 0 || is_before(noted, note)) && !seeded(Fault::UnrecordedMiss) {
            // Release: see `missed_since`.
            let noting = self.missed.compare_exchange_weak(
                noted,
                note,
                Ordering::Release,
                Ordering::Relaxed,
            );
            match noting {
                Ok(_) => return,
                Err(now) => noted = now,
            }
        }
    }

    /// Forgets a note of a number before `number`, so that it is not taken for a later one when numbers wrap.
    fn forget_before(&self, number: usize) {
        let note = self.missed.load(Ordering::Relaxed);
        if note != 0 && is_before(note.wrapping_sub(1), number) {
            // If this fails, a later note replaced the old one and stays.
            let _ = self
                .missed
                .compare_exchange(note, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// A ring of slots for entries.
#[derive(Debug)]
pub struct Ring {
    /// A power of two of them.
    slots: Box<[Slot]>,
}

/// The position of a ring's reader. The slots are for the remaining numbers of its lap and for those of the next lap.
#[derive(Debug)]
pub struct Reader {
    /// The next number to read.
    next: usize,
    /// How many numbers of the current lap remain, this one included.
    left: usize,
    /// The first number of the next lap.
    then: usize,
}

impl Reader {
    /// Returns the next number to read.
    pub fn next(&self) -> usize {
        self.next
    }

    fn pass_one(&mut self) {
        self.next = self.next.wrapping_add(1);
        self.left -= 1;
    }
}

/// What the reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// An entry.
    There(Words),
    /// There was no room for the next numbers; this many were missed.
    Missed(usize),
    /// The next number has not arrived yet.
    Pending,
}

impl Ring {
    /// Returns a ring of at least `slots` slots, or `None` if the memory cannot be allocated.
    pub fn new(slots: usize) -> Option<Self> {
        let count = slots.max(1).checked_next_power_of_two()?;
        let mut list = Vec::new();
        list.try_reserve_exact(count).ok()?;
        list.extend((0..count).map(|number| Slot {
            stamp: AtomicUsize::new(stamp(number, FREE)),
            missed: AtomicUsize::new(0),
            words: std::array::from_fn(|_| AtomicUsize::new(0)),
        }));
        Some(Self {
            slots: list.into_boxed_slice(),
        })
    }

    /// Returns the ring's reader. A ring may have only one.
    pub fn reader(&self) -> Reader {
        Reader {
            next: 0,
            left: self.slots(),
            then: self.slots(),
        }
    }

    /// Returns the number of slots.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, number: usize) -> &Slot {
        &self.slots[number & (self.slots.len() - 1)]
    }

    /// Stores an entry. Returns whether there was room.
    #[must_use]
    pub fn put(&self, number: usize, words: Words) -> bool {
        let slot = self.slot(number);
        let free = stamp(number, FREE);
        let taken = slot.stamp.compare_exchange(
            free,
            stamp(number, WRITING),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if let Err(found) = taken {
            // Otherwise the reader has already passed the number, and knows.
            if is_before(found, free) {
                slot.note(number);
            }
            return false;
        }
        for (place, word) in slot.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        let order = if seeded(Fault::RelaxedRelease) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        slot.stamp.store(stamp(number, THERE), order);
        true
    }

    /// Takes the next entry, or says why there is none. Linear in the slots once a lap, otherwise constant.
    pub fn take(&self, reader: &mut Reader) -> Taken {
        if reader.left == 0 {
            let missed = reader.then.wrapping_sub(reader.next);
            reader.next = reader.then;
            reader.left = self.slots();
            reader.then = self.lap_after(reader.next);
            if missed > 0 {
                return Taken::Missed(missed);
            }
        }
        let slot = self.slot(reader.next);
        let free = stamp(reader.next, FREE);
        let into_lap = reader.next.wrapping_sub(reader.then) & (self.slots() - 1);
        let next_free = stamp(reader.then.wrapping_add(into_lap), FREE);
        let found = slot.stamp.load(Ordering::Acquire);
        if found == stamp(reader.next, THERE) {
            let words = [0, 1, 2, 3].map(|at: usize| slot.words[at].load(Ordering::Relaxed));
            slot.stamp.store(next_free, Ordering::Release);
            reader.pass_one();
            return Taken::There(words);
        }
        let passed = found == free
            && slot.missed_since(reader.next).is_some()
            && slot
                .stamp
                .compare_exchange(free, next_free, Ordering::Release, Ordering::Relaxed)
                .is_ok();
        if passed {
            reader.pass_one();
            Taken::Missed(1)
        } else {
            Taken::Pending
        }
    }

    /// Returns where the lap after the one at `start` begins.
    fn lap_after(&self, start: usize) -> usize {
        let end = start.wrapping_add(self.slots());
        self.slots.iter().fold(end, |then, slot| {
            slot.forget_before(start);
            let missed = slot.missed_since(then);
            missed.map_or(then, |latest| latest.wrapping_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(number: usize) -> Words {
        [number, !number, number << 1, 7]
    }

    /// Takes entries until one is pending: numbers that are there, and how many are missing.
    fn taken(ring: &Ring, reader: &mut Reader) -> Vec<Result<usize, usize>> {
        let one = || match ring.take(reader) {
            Taken::There(found) => {
                assert_eq!(found, words(reader.next().wrapping_sub(1)));
                Some(Ok(found[0]))
            }
            Taken::Missed(count) => Some(Err(count)),
            Taken::Pending => None,
        };
        std::iter::from_fn(one).collect()
    }

    #[test]
    fn what_has_no_room_is_missed_and_what_follows_is_read() {
        let ring = Ring::new(3).unwrap();
        let mut reader = ring.reader();
        assert_eq!(ring.slots(), 4);
        for number in [2, 0, 1] {
            assert!(ring.put(number, words(number)));
        }
        assert_eq!(ring.take(&mut reader), Taken::There(words(0)));
        assert!(ring.put(3, words(3)) && ring.put(4, words(4)));
        // These are a lap ahead of 1 and 2, which are not read yet.
        assert!(!ring.put(5, words(5)) && !ring.put(6, words(6)) && !ring.put(9, words(9)));
        let all = taken(&ring, &mut reader);
        assert_eq!(all, [Ok(1), Ok(2), Ok(3), Ok(4), Err(1), Err(1)]);
        assert!(ring.put(7, words(7)));
        assert!(!ring.put(8, words(8)), "the lap after next begins at 10");
        assert!(ring.put(10, words(10)));
        assert_eq!(taken(&ring, &mut reader), [Ok(7), Err(2), Ok(10)]);
    }

    #[test]
    fn a_number_that_is_late_for_a_lap_is_passed_over() {
        let ring = Ring::new(2).unwrap();
        let mut reader = ring.reader();
        assert!(ring.put(1, words(1)) && !ring.put(2, words(2)));
        assert_eq!(taken(&ring, &mut reader), [Err(1), Ok(1), Err(1)]);
        assert!(!ring.put(0, words(0)));
        assert!(ring.put(3, words(3)) && ring.put(4, words(4)));
        assert_eq!(taken(&ring, &mut reader), [Ok(3), Ok(4)]);
    }

    #[test]
    fn a_reader_that_is_laps_late_skips_them() {
        let ring = Ring::new(8).unwrap();
        let mut reader = ring.reader();
        let mut number = 0;
        for laps in [0, 1, 2, 5, if cfg!(miri) { 50 } else { 10_000 }] {
            let mut room = 0;
            for _ in 0..laps * ring.slots() + 3 {
                room += usize::from(ring.put(number, words(number)));
                number += 1;
            }
            // The reader needs two laps, and one step for what lies between them.
            let (mut there, mut missed, mut looks) = (0, 0, 0);
            let before = reader.next();
            loop {
                match ring.take(&mut reader) {
                    Taken::There(_) => there += 1,
                    Taken::Missed(count) => missed += count,
                    Taken::Pending => break,
                }
                looks += 1;
            }
            assert!(
                looks <= 2 * ring.slots() + 2,
                "{looks} looks at {laps} laps"
            );
            assert_eq!((there, reader.next()), (room, number));
            assert_eq!(there + missed, number - before);
        }
    }

    #[test]
    fn numbers_wrap() {
        // A ring whose numbers are about to wrap.
        let ring = Ring::new(4).unwrap();
        let start = usize::MAX - 5;
        for at in 0..4 {
            let number = start.wrapping_add(at);
            ring.slot(number)
                .stamp
                .store(stamp(number, FREE), Ordering::Relaxed);
        }
        let mut reader = Reader {
            next: start,
            left: 4,
            then: start.wrapping_add(4),
        };
        let mut number = start;
        for _ in 0..20 {
            for _ in 0..3 {
                assert!(ring.put(number, words(number)));
                number = number.wrapping_add(1);
            }
            assert_eq!(taken(&ring, &mut reader).len(), 3);
        }
        // Old notes are not taken for notes of numbers to come.
        for _ in 0..6 {
            let _ = ring.put(number, words(number));
            number = number.wrapping_add(1);
        }
        taken(&ring, &mut reader);
        assert_eq!(reader.next(), number);
        for _ in 0..12 {
            let _ = ring.put(number, words(number));
            number = number.wrapping_add(1);
            taken(&ring, &mut reader);
        }
        let mut notes = ring.slots.iter().map(|slot| &slot.missed);
        assert!(notes.all(|note| note.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn the_latest_note_stays() {
        let ring = Ring::new(4).unwrap();
        let slot = ring.slot(5);
        slot.note(9);
        slot.note(5);
        assert_eq!(slot.missed_since(5), Some(9));
        slot.note(13);
        assert_eq!(slot.missed_since(5), Some(13));
        assert_eq!(slot.missed_since(14), None);
    }

    #[test]
    fn no_size_is_too_large_to_be_refused() {
        assert!(Ring::new(usize::MAX).is_none());
        assert!(Ring::new(usize::MAX >> 3).is_none());
        assert_eq!(Ring::new(0).unwrap().slots(), 1);
    }

    #[test]
    fn each_number_is_read_or_missed_once() {
        const EACH: usize = if cfg!(miri) { 50 } else { 20_000 };
        const THREADS: usize = 4;
        let ring = Ring::new(64).unwrap();
        let next = AtomicUsize::new(0);
        let refused = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if !ring.put(number, words(number)) {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let mut reader = ring.reader();
            let mut missed = 0;
            while reader.next() < THREADS * EACH {
                let number = reader.next();
                match ring.take(&mut reader) {
                    Taken::There(found) => assert_eq!(found, words(number)),
                    Taken::Missed(count) => missed += count,
                    Taken::Pending => std::thread::yield_now(),
                }
            }
            // The count goes up after the note that lets the reader continue.
            while refused.load(Ordering::Relaxed) < missed {
                std::thread::yield_now();
            }
            assert_eq!(refused.load(Ordering::Relaxed), missed);
        });
    }
}
