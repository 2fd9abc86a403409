//! Real memory under a pool, and patterns that show which owner wrote it last.
//!
//! An [`Arena`] owns an anonymous mapping. A [`Slot`] is a bounds-checked part of it, and the only way to access it.
//! The cells are relaxed atomics. If a pool ever hands out one range to two threads, they overwrite each other's
//! pattern and [`Slot::check`] reports it. Plain accesses could not guarantee that.
//!
//! # Orderings
//!
//! Nothing is published through the cells, so all accesses are `Relaxed`. A thread that writes to a range after another
//! thread has freed it is ordered after that by the pool, or the pool is at fault.

mod mapping;
mod owner;

use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub use mapping::{HUGE_PAGE, MapError, Pages};
pub use owner::{Mismatch, Owner};

use mapping::Mapping;

const WORD: usize = size_of::<u64>();

/// A mapping of anonymous memory, all of it backed by pages.
pub struct Arena {
    mapping: Mapping,
    unit: Unit,
}

/// The width of a cell. An arena uses a single width, so that accesses of different widths never race.
#[derive(Clone, Copy)]
enum Unit {
    Word,
    Byte,
}

impl Arena {
    /// Maps `len` bytes at a multiple of `align`, a power of two, in huge pages if the system has them. Slots may start
    /// and end at any multiple of `grain` bytes; grains of whole words are the fast case.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the system lacks the memory, or an argument makes no sense.
    pub fn map(len: usize, align: usize, grain: usize) -> Result<Self, MapError> {
        if len == 0 || !align.is_power_of_two() || grain == 0 {
            return Err(MapError::new(
                len,
                "no bytes, or an alignment that is no power of two",
            ));
        }
        let unit = match grain.is_multiple_of(WORD) {
            true => Unit::Word,
            false => Unit::Byte,
        };
        Ok(Self {
            mapping: Mapping::new(len, align.max(WORD))?,
            unit,
        })
    }

    /// Returns the address of the first byte.
    pub fn start(&self) -> usize {
        self.mapping.first().addr()
    }

    /// Returns the size in bytes.
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Returns false: an arena without bytes cannot be mapped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the kind of its pages.
    pub fn pages(&self) -> &Pages {
        self.mapping.pages()
    }

    /// Returns the `size` bytes at `addr`, or `None` if they are not wholly inside the arena, or not made of whole
    /// grains.
    pub fn slot(&self, addr: usize, size: usize) -> Option<Slot<'_>> {
        let from = addr.checked_sub(self.start())?;
        let to = from.checked_add(size)?;
        let cells = match self.unit {
            Unit::Word if from.is_multiple_of(WORD) && to.is_multiple_of(WORD) => {
                Cells::Words(self.words().get(from / WORD..to / WORD)?)
            }
            Unit::Word => return None,
            Unit::Byte => Cells::Bytes(self.bytes().get(from..to)?),
        };
        Some(Slot { addr, cells })
    }

    fn words(&self) -> &[AtomicU64] {
        let first = self.mapping.first().cast::<AtomicU64>();
        // SAFETY: `Mapping` owns `len` bytes from `first` on, readable, writable and zeroed by the system, so every
        // word of them is initialised. `map` had it aligned to a word. It lives as long as `self`, and only atomic
        // accesses are ever made to it.
        unsafe { slice::from_raw_parts(first, self.len() / WORD) }
    }

    fn bytes(&self) -> &[AtomicU8] {
        let first = self.mapping.first().cast::<AtomicU8>();
        // SAFETY: as in `words`; a byte has no alignment.
        unsafe { slice::from_raw_parts(first, self.len()) }
    }
}

/// A part of an [`Arena`] that an allocation owns.
#[derive(Clone, Copy)]
pub struct Slot<'a> {
    addr: usize,
    cells: Cells<'a>,
}

#[derive(Clone, Copy)]
enum Cells<'a> {
    Words(&'a [AtomicU64]),
    Bytes(&'a [AtomicU8]),
}

impl Slot<'_> {
    /// Writes `owner`'s pattern over the whole length.
    pub fn write(&self, owner: Owner) {
        match self.cells {
            Cells::Words(words) => {
                for (addr, word) in (self.addr..).step_by(WORD).zip(words) {
                    word.store(owner.pattern(addr), Ordering::Relaxed);
                }
            }
            Cells::Bytes(bytes) => {
                for (addr, byte) in (self.addr..).zip(bytes) {
                    byte.store(byte_of(owner, addr), Ordering::Relaxed);
                }
            }
        }
    }

    /// Checks that `owner`'s pattern is still there over the whole length.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] with the first address that holds something else.
    pub fn check(&self, owner: Owner) -> Result<(), Mismatch> {
        let mismatch = |addr, expected, found, width| Mismatch {
            addr,
            expected,
            found,
            width,
            owner,
        };
        match self.cells {
            Cells::Words(words) => {
                for (addr, word) in (self.addr..).step_by(WORD).zip(words) {
                    let (expected, found) = (owner.pattern(addr), word.load(Ordering::Relaxed));
                    if expected != found {
                        return Err(mismatch(addr, expected, found, WORD));
                    }
                }
            }
            Cells::Bytes(bytes) => {
                for (addr, byte) in (self.addr..).zip(bytes) {
                    let (expected, found) = (byte_of(owner, addr), byte.load(Ordering::Relaxed));
                    if expected != found {
                        return Err(mismatch(addr, expected.into(), found.into(), 1));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the byte at `addr` of the word that contains it.
fn byte_of(owner: Owner, addr: usize) -> u8 {
    let offset = addr % WORD;
    owner.pattern(addr - offset).to_le_bytes()[offset]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_inside_the_arena() {
        let arena = Arena::map(0x3000, 0x1000, 64).unwrap();
        let start = arena.start();
        assert!(start.is_multiple_of(0x1000));
        assert_eq!((arena.len(), arena.is_empty()), (0x3000, false));
        assert!(arena.slot(start, 0x3000).is_some());
        for (addr, size) in [
            (start, 0x3008),
            (start + 0x3000, 8),
            (start - 8, 8),
            (start + 8, usize::MAX),
            (usize::MAX, 1),
            (0, 8),
            (start + 4, 8),
            (start, 12),
        ] {
            assert!(arena.slot(addr, size).is_none(), "{addr:#x} {size:#x}");
        }
    }

    #[test]
    fn large_alignments() {
        let arena = Arena::map(0x1000, 1 << 24, 64).unwrap();
        assert!(arena.start().is_multiple_of(1 << 24));
        arena
            .slot(arena.start(), 0x1000)
            .unwrap()
            .write(Owner::new(1, 0, 0));
    }

    #[test]
    fn arguments_that_cannot_be_served() {
        assert!(Arena::map(0, 4096, 8).is_err());
        assert!(Arena::map(4096, 3, 8).is_err());
        assert!(Arena::map(usize::MAX, 4096, 8).is_err());
        let error = Arena::map(usize::MAX / 4, 4096, 8)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("cannot map 4.0 EiB of memory: "),
            "{error}"
        );
    }

    #[test]
    fn an_intact_pattern_passes() {
        for grain in [1, 8] {
            let arena = Arena::map(0x1000, 0x1000, grain).unwrap();
            let (one, two) = (Owner::new(1, 0, 7), Owner::new(2, 0, 7));
            let left = arena.slot(arena.start() + 8, 0x10).unwrap();
            let right = arena.slot(arena.start() + 0x18, 0x20).unwrap();
            left.write(one);
            right.write(two);
            assert_eq!(left.check(one), Ok(()));
            assert_eq!(right.check(two), Ok(()));
        }
    }

    #[test]
    fn an_overlap_is_noticed_and_both_owners_named() {
        let arena = Arena::map(0x1000, 0x1000, 8).unwrap();
        let (one, two) = (Owner::new(1, 3, 7), Owner::new(2, 3, 9));
        let first = arena.slot(arena.start(), 0x20).unwrap();
        let second = arena.slot(arena.start() + 0x18, 0x20).unwrap();
        first.write(one);
        second.write(two);
        let mismatch = first.check(one).unwrap_err();
        assert_eq!(mismatch.addr, arena.start() + 0x18);
        let text = mismatch.to_string();
        assert!(
            text.contains("(thread 1, allocation 7)") && text.contains("(thread 2, allocation 9)"),
            "{text}"
        );
        assert_eq!(second.check(two), Ok(()));
    }

    #[test]
    fn single_bytes() {
        let arena = Arena::map(0x1000, 0x1000, 1).unwrap();
        let (one, two) = (Owner::new(1, 0, 0), Owner::new(2, 0, 0));
        let first = arena.slot(arena.start() + 1, 9).unwrap();
        first.write(one);
        assert_eq!(first.check(one), Ok(()));
        // The byte of the pattern with the thread number, in which these two differ.
        arena.slot(arena.start() + 6, 1).unwrap().write(two);
        assert_eq!(first.check(one).unwrap_err().addr, arena.start() + 6);
    }

    #[test]
    fn bytes_are_those_of_their_word() {
        let owner = Owner::new(1, 2, 3);
        for addr in [0x1000, 0x1008] {
            let bytes = std::array::from_fn(|at| byte_of(owner, addr + at));
            assert_eq!(u64::from_le_bytes(bytes), owner.pattern(addr));
        }
    }
}
