//! The effect of a line of `strace` on the mappings of a process.

use super::PAGE_ORDER;

/// The highest address of any machine that Linux runs on.
const HIGHEST: u64 = 1 << 57;

/// The number of a process or thread; 0 if lines do not contain it.
pub(super) type Pid = u32;

/// A range of pages: the first, and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Pages {
    /// Returns the pages that `len` bytes from `addr` on touch, at least one.
    pub(super) fn new(addr: u64, len: u64) -> Option<Self> {
        let end = addr.checked_add(len).filter(|&end| end <= HIGHEST)?;
        (len > 0).then_some(Self {
            start: addr >> PAGE_ORDER,
            end: end.div_ceil(1 << PAGE_ORDER),
        })
    }

    /// Rounds the number of pages up to a multiple of `unit`.
    pub(super) fn round_up(self, unit: u64) -> Option<Self> {
        let end = self.start + self.len().checked_next_multiple_of(unit)?;
        (end <= HIGHEST >> PAGE_ORDER).then_some(Self { end, ..self })
    }

    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// The event of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Map {
        pages: Pages,
        fixed: bool,
        /// The number of pages that are mapped and unmapped together: one, or those of a huge page.
        unit: u64,
    },
    Unmap(Pages),
    /// If another line interrupts the call, it becomes two events: what it unmaps, and what it maps.
    Remap {
        /// The pages that it unmaps.
        from: Option<Pages>,
        to: Option<Pages>,
    },
    Spawn {
        child: Pid,
        kin: Kin,
    },
    /// The process runs another program, and its leader is the only thread left.
    Exec,
    Exit,
}

/// What a new process or thread shares with its creator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// Nothing: it has a copy of the memory.
    Process,
    /// The memory.
    Sharing,
    /// The memory and the process.
    Thread,
}
