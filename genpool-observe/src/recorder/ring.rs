//! Entries by number, from many threads to one reader: bounded, and nobody waits.
//!
//! Entry `n` has its place in slot `n` modulo the number of slots, so the order is that of the numbers
//! whoever comes first. A slot's stamp says which number it is for and how far that is:
//!
//! ```text
//! free for n ── writer ──► n is being written ── writer ──► n is there ── reader ──► free for n + slots
//!      └──────────────── reader, if n or a later number of the slot was missed ──────────────┘
//! ```
//!
//! Who finds the slot not free for its number, since the reader is a lap behind, leaves a note that it
//! was missed, for the reader to go on. A number that is late for a whole lap is passed over in the same
//! way, and then finds its slot taken. So each number either is read or was missed, once.
//!
//! # Orderings
//!
//! The words are written between an `Acquire` exchange that takes the slot, which pairs with the
//! reader's `Release` store that freed it, and a `Release` store that pairs with the reader's `Acquire`
//! load. They are atomics because the code is safe; nobody writes them beside another.

use genpool_core::sync::{AtomicUsize, Ordering};

/// Words of an entry.
pub(super) type Words = [usize; 4];

const FREE: usize = 0;
const WRITING: usize = 1;
const THERE: usize = 2;

/// Numbers wrap, and lose two bits here: no two that are told apart are so far apart.
fn stamp(number: usize, state: usize) -> usize {
    number << 2 | state
}

#[derive(Debug)]
struct Slot {
    stamp: AtomicUsize,
    /// The latest number of this slot that was missed, plus one; 0 for none.
    missed: AtomicUsize,
    words: [AtomicUsize; 4],
}

#[derive(Debug)]
pub(super) struct Ring {
    /// A power of two of them.
    slots: Box<[Slot]>,
}

/// What the reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    There(Words),
    /// There was no room for it.
    Missed,
    /// It has not come yet.
    Pending,
}

impl Ring {
    /// At least so many slots; none where memory for them cannot be had.
    pub(super) fn new(slots: usize) -> Option<Self> {
        let count = slots.max(1).checked_next_power_of_two()?;
        let mut list = Vec::new();
        list.try_reserve_exact(count).ok()?;
        list.extend((0..count).map(|number| Slot {
            stamp: AtomicUsize::new(stamp(number, FREE)),
            missed: AtomicUsize::new(0),
            words: [const { AtomicUsize::new(0) }; 4],
        }));
        Some(Self {
            slots: list.into_boxed_slice(),
        })
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, number: usize) -> &Slot {
        &self.slots[number & (self.slots.len() - 1)]
    }

    /// Says whether there was room.
    #[must_use]
    pub(super) fn put(&self, number: usize, words: Words) -> bool {
        let slot = self.slot(number);
        let taken = slot.stamp.compare_exchange(
            stamp(number, FREE),
            stamp(number, WRITING),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if taken.is_err() {
            let note = number.wrapping_add(1);
            // The latest stays. Release: what was done for this number comes before the note of it.
            let newer = |noted: usize| {
                let is_newer = noted == 0 || note.wrapping_sub(noted) as isize > 0;
                is_newer.then_some(note)
            };
            let _ = slot
                .missed
                .fetch_update(Ordering::Release, Ordering::Relaxed, newer);
            return false;
        }
        for (place, word) in slot.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        slot.stamp.store(stamp(number, THERE), Ordering::Release);
        true
    }

    /// The reader, one at a time, takes numbers in order.
    pub(super) fn take(&self, number: usize) -> Taken {
        let slot = self.slot(number);
        let next = stamp(number.wrapping_add(self.slots.len()), FREE);
        if slot.stamp.load(Ordering::Acquire) == stamp(number, THERE) {
            let words = [0, 1, 2, 3].map(|at: usize| slot.words[at].load(Ordering::Relaxed));
            slot.stamp.store(next, Ordering::Release);
            return Taken::There(words);
        }
        let noted = slot.missed.load(Ordering::Acquire);
        let is_missed = noted != 0 && noted.wrapping_sub(number.wrapping_add(1)) as isize >= 0;
        let passed = is_missed
            && slot
                .stamp
                .compare_exchange(
                    stamp(number, FREE),
                    next,
                    Ordering::Release,
                    Ordering::Relaxed,
                )
                .is_ok();
        if passed {
            Taken::Missed
        } else {
            Taken::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(number: usize) -> Words {
        [number, !number, number << 1, 7]
    }

    #[test]
    fn what_has_no_room_is_missed_and_what_follows_is_read() {
        let ring = Ring::new(3).unwrap();
        assert_eq!(ring.slots(), 4);
        for number in [2, 0, 1] {
            assert!(ring.put(number, words(number)));
        }
        assert_eq!(ring.take(0), Taken::There(words(0)));
        assert!(ring.put(3, words(3)) && ring.put(4, words(4)));
        // A lap ahead of 1 and 2, which are not read yet.
        assert!(!ring.put(5, words(5)) && !ring.put(6, words(6)) && !ring.put(9, words(9)));
        for number in 1..5 {
            assert_eq!(ring.take(number), Taken::There(words(number)));
        }
        assert_eq!(ring.take(5), Taken::Missed);
        assert_eq!(ring.take(6), Taken::Missed);
        assert_eq!(ring.take(7), Taken::Pending);
        assert!(ring.put(7, words(7)) && ring.put(8, words(8)));
        assert_eq!(ring.take(7), Taken::There(words(7)));
        assert_eq!(ring.take(8), Taken::There(words(8)));
        assert_eq!(ring.take(9), Taken::Missed);
    }

    #[test]
    fn a_number_that_is_late_for_a_lap_is_passed_over() {
        let ring = Ring::new(2).unwrap();
        assert!(ring.put(1, words(1)) && !ring.put(2, words(2)));
        assert_eq!(ring.take(0), Taken::Missed);
        assert_eq!(ring.take(1), Taken::There(words(1)));
        assert!(!ring.put(0, words(0)));
        assert_eq!(ring.take(2), Taken::Missed);
        assert!(ring.put(3, words(3)) && ring.put(4, words(4)));
        assert_eq!(ring.take(3), Taken::There(words(3)));
        assert_eq!(ring.take(4), Taken::There(words(4)));
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
            let (mut number, mut missed) = (0, 0);
            while number < THREADS * EACH {
                match ring.take(number) {
                    Taken::There(found) => assert_eq!(found, words(number)),
                    Taken::Missed => missed += 1,
                    Taken::Pending => {
                        std::thread::yield_now();
                        continue;
                    }
                }
                number += 1;
            }
            // Counted after the note that lets the reader go on.
            while refused.load(Ordering::Relaxed) < missed {
                std::thread::yield_now();
            }
            assert_eq!(refused.load(Ordering::Relaxed), missed);
        });
    }
}
