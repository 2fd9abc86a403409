//! Decides whether a partial `munmap` trims a new mapping.
//!
//! An allocator that needs an alignment of more than a page maps more than it needs. It directly unmaps what lies
//! before the first aligned address and after the end of its block. jemalloc, mimalloc, glibc for its arenas, Go and V8
//! do so. Only the block in between counts as allocated. The rule is narrow, so that nothing else is mistaken for
//! trimming:
//!
//! - Only `munmap` trims, and only what `mmap` without `MAP_FIXED` has just mapped. `MAP_FIXED` over a part and
//!   `mremap` never do.
//! - The thread that made the mapping trims it, directly after the mapping or after the first trim. In between it makes
//!   no calls other than `mprotect`, `madvise` and `prctl`. If lines have times, the trim comes at most a second after
//!   the mapping.
//! - A trim unmaps the first or the last pages of the mapping, and nothing else. Some pages remain.
//! - Each end is trimmed at most once. A thread that directly continues is unmapping the mapping piecewise: the mapping
//!   counts as allocated with all its pages, and the earlier trims do not count either.

use super::event::Pages;
use super::line::Stamp;

/// The last mapping of a thread, as long as the thread may trim it.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) id: u32,
    whole: Pages,
    left: Pages,
    /// The call that mapped it.
    mapped: Stamp,
    /// The thread's call count when it was mapped or last trimmed.
    calls: u64,
}

/// The effect of an unmapping on the mapping.
pub(super) enum Cut {
    /// It trims the mapping.
    Trim(Window),
    /// It shows that this many earlier trims were none.
    Piecewise(u64),
    /// It unmaps other pages, or all that is left.
    Other,
}

impl Window {
    pub(super) fn new(id: u32, pages: Pages, mapped: Stamp) -> Self {
        Self {
            id,
            whole: pages,
            left: pages,
            mapped,
            calls: mapped.calls,
        }
    }

    /// Returns the pages that are left.
    pub(super) fn left(&self) -> Pages {
        self.left
    }

    /// Returns the pages that were mapped.
    pub(super) fn whole(&self) -> Pages {
        self.whole
    }

    /// Returns the effect of a call with this stamp that unmaps `pages`.
    pub(super) fn cut(&self, stamp: Stamp, pages: Pages) -> Cut {
        let Self { whole, left, .. } = *self;
        let is_soon = match (stamp.time, self.mapped.time) {
            (Some(now), Some(mapped)) => now.is_soon_after(mapped),
            _ => true,
        };
        let is_apart = pages.end <= left.start || left.end <= pages.start;
        let is_all = pages.start <= left.start && left.end <= pages.end;
        if stamp.calls != self.calls + 1 || !is_soon || is_apart || is_all {
            return Cut::Other;
        }
        let left = if pages.start == left.start && left.start == whole.start {
            Pages {
                start: pages.end,
                ..left
            }
        } else if pages.end == left.end && left.end == whole.end {
            Pages {
                end: pages.start,
                ..left
            }
        } else {
            return Cut::Piecewise(self.cuts());
        };
        Cut::Trim(Self {
            left,
            calls: stamp.calls,
            ..*self
        })
    }

    fn cuts(&self) -> u64 {
        u64::from(self.left.start != self.whole.start) + u64::from(self.left.end != self.whole.end)
    }
}
