//! Which cuts of a mapping belong to its making.
//!
//! An allocator that needs an alignment of more than a page maps more than it needs. It directly unmaps what is
//! before the first aligned address and what is after the end of its block: jemalloc, mimalloc, glibc for its arenas,
//! Go and V8 do so. Only the block in between counts as allocated. The rule has bounds, so that nothing else
//! passes for this:
//!
//! - Only `munmap` cuts, and only what `mmap` without `MAP_FIXED` has just mapped. `MAP_FIXED` over a part and
//!   `mremap` never do.
//! - The thread that made the mapping cuts it, directly after the mapping or after the first cut. In between it makes
//!   no other call than `mprotect`, `madvise` and `prctl`. Where lines have times, the cut comes at most a second
//!   after the mapping.
//! - A cut takes the first or the last pages of the mapping, and nothing else. It leaves some.
//! - Each end is cut once at most. A thread that directly goes on cutting gives the mapping back piecewise: the
//!   mapping counts as allocated with all its pages, and the cuts before do not count either.

use super::line::{Pages, Stamp};

/// The last mapping of a thread, as long as the thread may cut it.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) id: u32,
    whole: Pages,
    left: Pages,
    /// When it was mapped.
    mapped: Stamp,
    /// Calls of the thread when it was mapped or last cut.
    calls: u64,
}

/// What unmapping some pages does to the mapping.
pub(super) enum Cut {
    /// It belongs to the making of it.
    Trim(Window),
    /// It shows that so many cuts before did not belong to it.
    Piecewise(u64),
    /// It is of other pages, or of all that is left.
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

    /// The pages that are left.
    pub(super) fn left(&self) -> Pages {
        self.left
    }

    /// The pages that were mapped.
    pub(super) fn whole(&self) -> Pages {
        self.whole
    }

    /// What a call with this stamp does that unmaps `pages`.
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
