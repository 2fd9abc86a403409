//! Patterns: what an owner writes to its memory, and the report if it is not there.

use std::fmt;

use thiserror::Error;

use super::WORD;

/// The writer of a slot: a thread, and one of its allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(u64);

impl Owner {
    const SERIAL_BITS: u32 = 40;
    const PHASE_BITS: u32 = 8;

    /// Returns the owner for allocation `serial` of thread `thread` in phase `phase` of a run. Serials repeat after
    /// 2^40.
    pub fn new(thread: u16, phase: u8, serial: u64) -> Self {
        let serial = serial & ((1 << Self::SERIAL_BITS) - 1);
        Self(
            (u64::from(thread) << (Self::SERIAL_BITS + Self::PHASE_BITS))
                | (u64::from(phase) << Self::SERIAL_BITS)
                | serial,
        )
    }

    fn thread(self) -> u64 {
        self.0 >> (Self::SERIAL_BITS + Self::PHASE_BITS)
    }

    fn phase(self) -> u64 {
        (self.0 >> Self::SERIAL_BITS) & ((1 << Self::PHASE_BITS) - 1)
    }

    fn serial(self) -> u64 {
        self.0 & ((1 << Self::SERIAL_BITS) - 1)
    }

    /// Returns the word for `addr`, a multiple of the word size. It differs for all owners at one address, and for one
    /// owner at all addresses.
    pub(super) fn pattern(self, addr: usize) -> u64 {
        self.0 ^ Self::mask(addr)
    }

    /// Returns the owner that would write `pattern` at `addr`.
    fn of(pattern: u64, addr: usize) -> Self {
        Self(pattern ^ Self::mask(addr))
    }

    fn mask(addr: usize) -> u64 {
        (addr as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}, allocation {}", self.thread(), self.serial())
    }
}

/// Memory that does not hold what its owner wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub struct Mismatch {
    /// The address.
    pub addr: usize,
    /// The owner's pattern.
    pub expected: u64,
    /// What is there instead.
    pub found: u64,
    /// The number of bytes compared at once.
    pub(super) width: usize,
    pub(super) owner: Owner,
}

// By hand: the width of the numbers and the end of the text depend on the values.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            addr,
            expected,
            found,
            width,
            owner,
        } = *self;
        let digits = 2 + 2 * width;
        write!(
            f,
            "overlap at {addr:#x}: expected {expected:#0digits$x} ({owner}), found {found:#0digits$x}"
        )?;
        // A foreign pattern that decodes to this phase was almost certainly written by that owner.
        let other = Owner::of(found, addr);
        if width == WORD && other.phase() == owner.phase() && other.thread() != 0 {
            write!(f, " ({other})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_another_owner_of_its_phase_only() {
        let (addr, owner) = (0x1008, Owner::new(1, 3, 7));
        let text = |found| {
            let mismatch = Mismatch {
                addr,
                expected: owner.pattern(addr),
                found,
                width: WORD,
                owner,
            };
            mismatch.to_string()
        };
        let found = Owner::new(2, 3, 9).pattern(addr);
        let expected = owner.pattern(addr);
        assert_eq!(
            text(found),
            format!(
                "overlap at 0x1008: expected {expected:#018x} (thread 1, allocation 7), \
                 found {found:#018x} (thread 2, allocation 9)"
            )
        );
        for nobody in [Owner::new(2, 4, 9), Owner::new(0, 3, 9)] {
            let found = nobody.pattern(addr);
            assert!(text(found).ends_with(&format!(", found {found:#018x}")));
        }
        assert!(text(0x2a).ends_with(", found 0x000000000000002a"));
        let byte = Mismatch {
            addr,
            expected: 0xab,
            found: 1,
            width: 1,
            owner,
        };
        assert_eq!(
            byte.to_string(),
            "overlap at 0x1008: expected 0xab (thread 1, allocation 7), found 0x01"
        );
    }

    #[test]
    fn patterns_differ_by_owner_and_by_address() {
        let one = Owner::new(1, 0, 0);
        for other in [
            Owner::new(2, 0, 0),
            Owner::new(1, 1, 0),
            Owner::new(1, 0, 1),
        ] {
            assert_ne!(one.pattern(64), other.pattern(64));
        }
        assert_ne!(one.pattern(64), one.pattern(72));
        assert_eq!(Owner::of(one.pattern(64), 64), one);
    }
}
