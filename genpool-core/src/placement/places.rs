//! Constraints translated to one chunk.
//!
//! In a chunk, the two addresses of a granule differ by a constant. So constraints on the device address become
//! constraints on granules, as do those on the other address. Windows intersect. Of two alignments, the smaller
//! follows from the larger or contradicts it. Of two boundaries of the same address, the smaller includes the larger.
//! Each boundary says how far a start must move to be past it, and after four such jumps the answer is known.

use core::ops::Range;

use super::constraints::{Constraints, Rule};
use super::plain::PlainView;
use crate::bitmap::AlignedStarts;
use crate::units::{Granule, Run};

/// The places in one chunk that constraints allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The granules between the lowest and the highest addresses: from the first to before the second.
    window: (usize, usize),
    align: u64,
    /// Below `align`, and a multiple of the granule.
    phase: u64,
    /// Those of the two addresses.
    borders: [Option<Border>; 2],
}

/// Addresses that a run must not cross: those `x` for which `x + shift` is a multiple of `distance`.
#[derive(Clone, Copy, Debug)]
struct Border {
    distance: u64,
    shift: u64,
}

impl Places {
    /// Returns the places that the constraints allow, and `outer` too. Returns none if they allow no granule, or an
    /// alignment that no granule has.
    #[inline]
    pub(super) fn new(
        asked: &Constraints,
        chunk: &PlainView<'_>,
        outer: Option<&Self>,
    ) -> Option<Self> {
        let all = Self {
            window: (0, chunk.granules()),
            align: 1,
            phase: 0,
            borders: [None, None],
        };
        let mut places = outer.copied().unwrap_or(all);
        let start = chunk.start() as u64;
        places.restrict(&asked.virt, 0, 0, start, chunk)?;
        if let Some(dma) = &asked.dma {
            let phys = chunk.phys()?;
            places.restrict(dma, 1, phys.wrapping_sub(start), phys, chunk)?;
        }
        let granule = 1_u64 << chunk.order();
        let reachable = places.phase & (granule.min(places.align) - 1) == 0;
        (reachable && places.window.0 < places.window.1).then_some(places)
    }

    /// Applies the rule on the address with this number, which is `first` at the chunk's start and differs from the
    /// pool's own address by `shift`.
    fn restrict(
        &mut self,
        rule: &Rule,
        number: usize,
        shift: u64,
        first: u64,
        chunk: &PlainView<'_>,
    ) -> Option<()> {
        let window = rule.window(first, chunk)?;
        self.window.0 = self.window.0.max(window.0);
        self.window.1 = self.window.1.min(window.1);
        let phase = rule.phase.wrapping_sub(shift) & (rule.align - 1);
        self.restrict_alignment(rule.align, phase)?;
        if let Some(distance) = rule.boundary {
            let border = &mut self.borders[number];
            let distance = border.map_or(distance, |border| border.distance.min(distance));
            *border = Some(Border { distance, shift });
        }
        Some(())
    }

    /// Adds an alignment. Both are powers of two, so the smaller one either follows from the larger or contradicts
    /// it. Returns none if they contradict.
    fn restrict_alignment(&mut self, align: u64, phase: u64) -> Option<()> {
        let common = align.min(self.align) - 1;
        if (phase ^ self.phase) & common != 0 {
            return None;
        }
        if align > self.align {
            (self.align, self.phase) = (align, phase);
        }
        Some(())
    }

    /// Returns true if there is an allowed place for `n` granules in a chunk of which all is free.
    pub(super) fn allow_any(&self, chunk: &PlainView<'_>, n: usize) -> bool {
        let whole = Run {
            start: Granule(0),
            len: chunk.granules(),
        };
        self.first_in(chunk, whole, n).is_some()
    }

    /// Returns true if `n` granules may begin at `start`.
    #[inline]
    pub(super) fn allow(&self, chunk: &PlainView<'_>, start: Granule, n: usize) -> bool {
        self.starts(n).is_some_and(|starts| starts.contains(&start))
            && self.aligned(chunk, start) == Some(start)
            && self.past_border(chunk, start, n).is_none()
    }

    /// Returns the starts that keep `n` granules between the lowest and the highest addresses.
    #[inline]
    fn starts(&self, n: usize) -> Option<Range<Granule>> {
        let (from, to) = self.window;
        let limit = to.checked_sub(n)? + 1;
        (n > 0 && from < limit).then_some(Granule(from)..Granule(limit))
    }

    /// Returns the granules that are aligned as required, if a `usize` can hold the alignment.
    #[inline]
    fn aligned_starts(&self, chunk: &PlainView<'_>) -> Option<AlignedStarts> {
        let align = usize::try_from(self.align).ok()?;
        Some(chunk.aligned_starts(align, self.phase as usize))
    }

    /// Returns the lowest allowed start of `n` granules in a free run.
    pub(super) fn first_in(&self, chunk: &PlainView<'_>, run: Run, n: usize) -> Option<Granule> {
        /// The first place past a boundary is the best start up to the next boundary of that kind. So a run that begins
        /// there and crosses a boundary of the same kind fits nowhere. Of the two kinds, the shorter distance divides
        /// the longer. Past a boundary of the longer kind, the first start that the shorter one allows decides for all
        /// that follow: two jumps of each kind find it.
        const JUMPS: usize = 4;

        let starts = self.starts(n)?;
        let end = run.start.0.checked_add(run.len)?.min(chunk.granules());
        let limit = Granule(end.checked_sub(n)? + 1).min(starts.end);
        let mut start = run.start.max(starts.start);
        for _ in 0..=JUMPS {
            start = self.aligned(chunk, start)?;
            if start >= limit {
                return None;
            }
            match self.past_border(chunk, start, n) {
                Some(next) => start = next,
                None => return Some(start),
            }
        }
        None
    }

    /// Returns the part of a free run that begins at the lowest allowed start of `n` granules.
    pub(super) fn cut(&self, chunk: &PlainView<'_>, run: Run, n: usize) -> Option<Run> {
        let start = self.first_in(chunk, run, n)?;
        let end = (run.start.0 + run.len).min(self.window.1);
        let len = end - start.0;
        Some(Run { start, len })
    }

    /// Returns the first granule from `start` on that is aligned as required.
    fn aligned(&self, chunk: &PlainView<'_>, start: Granule) -> Option<Granule> {
        let past = (chunk.addr_of(start) as u64).wrapping_sub(self.phase) & (self.align - 1);
        let step = (past.wrapping_neg() & (self.align - 1)) >> chunk.order();
        Some(Granule(start.0.checked_add(step.try_into().ok()?)?))
    }

    /// Returns the first granule past the boundary that `n` granules at `start` cross, or none if they cross none.
    #[inline]
    fn past_border(&self, chunk: &PlainView<'_>, start: Granule, n: usize) -> Option<Granule> {
        let first = chunk.addr_of(start) as u64;
        // No overflow: the run lies in the chunk.
        let more = ((n as u64) << chunk.order()) - 1;
        let crossed = |border: &Border| {
            let from = first.wrapping_add(border.shift);
            let begin = (from + more) & !(border.distance - 1);
            (from < begin).then(|| {
                let bytes = (begin - from).div_ceil(1 << chunk.order());
                // Fits, because it is at most `n`.
                Granule(start.0 + bytes as usize)
            })
        };
        self.borders.iter().flatten().filter_map(crossed).max()
    }

    // ---- searches ----

    /// How many places may turn out to cross a boundary before a search goes on by other means. One is enough for
    /// most requests; a pool full of short runs at boundaries is searched faster run by run (2026-11).
    const TRIES: usize = 4;

    /// Returns the lowest free and allowed start of `n` granules in `part`. At worst linear in the part.
    pub(super) fn find_run(
        &self,
        chunk: &PlainView<'_>,
        part: Range<Granule>,
        n: usize,
    ) -> Option<Granule> {
        let starts = self.starts(n)?;
        let (from, limit) = (part.start.max(starts.start), part.end.min(starts.end));
        // First place by place, because a run need not be followed to its end to know that one place fits. A place
        // that crosses a boundary is followed by the first one past the boundary, so none is skipped.
        if let Some(aligned) = self.aligned_starts(chunk) {
            let mut next = from;
            for attempt in 0..Self::TRIES {
                let Some(found) = chunk.find_among(next, limit, n, aligned) else {
                    // The first attempt covers the whole part, so an answer of none is final. A later one starts
                    // higher, so the search continues run by run.
                    if attempt == 0 {
                        return None;
                    }
                    break;
                };
                match self.past_border(chunk, found, n) {
                    Some(past) => next = past,
                    None => return Some(found),
                }
            }
        }
        // Then run by run, which reads each granule once.
        chunk
            .runs(from, n)
            .take_while(|run| run.start < limit)
            .find_map(|run| self.first_in(chunk, run, n))
            .filter(|&found| found < limit)
    }

    /// Does the same with another alignment besides.
    pub(super) fn find_aligned(
        mut self,
        chunk: &PlainView<'_>,
        part: Range<Granule>,
        n: usize,
        align: usize,
        phase: usize,
    ) -> Option<Granule> {
        let whole = !((1 << chunk.order()) - 1);
        let phase = phase & whole & (align - 1);
        self.restrict_alignment(align as u64, phase as u64)?;
        self.find_run(chunk, part, n)
    }

    /// Returns an allowed place of `n` granules within one word, from the word of `from` on, or none, even if there
    /// are some.
    pub(super) fn find_nearby(
        &self,
        chunk: &PlainView<'_>,
        from: Granule,
        n: usize,
    ) -> Option<Granule> {
        let starts = self.starts(n)?;
        let from = from.max(starts.start);
        let found = chunk.find_nearby_among(from, n, self.aligned_starts(chunk)?)?;
        if found >= starts.end {
            return None;
        }
        if found >= starts.start && self.past_border(chunk, found, n).is_none() {
            return Some(found);
        }
        self.find_run(chunk, from..starts.end, n)
    }
}

impl Constraints {
    /// Returns true only if they surely allow a place for `n` granules while all of the chunk is free. Cheaper than
    /// [`Places::allow_any`], and false in some cases in which they do.
    #[inline]
    pub(super) fn surely_allow(&self, chunk: &PlainView<'_>, n: usize) -> bool {
        self.dma.is_none() && n <= chunk.granules() && self.virt.surely_allows(chunk, n)
    }
}

impl Rule {
    /// Returns true only if the rule surely allows a place for `n` granules, no more than the chunk has. The allowed part
    /// holds twice the run with what is skipped to align it. So a run that crosses a boundary can move past it.
    #[inline]
    fn surely_allows(&self, chunk: &PlainView<'_>, n: usize) -> bool {
        let granule = 1_u64 << chunk.order();
        let run = (n as u64) << chunk.order();
        let reach = run.saturating_add(self.align.max(granule));
        let (start, last) = (chunk.start() as u64, chunk.last() as u64);
        let room = (self.highest.min(last)).saturating_sub(self.lowest.max(start));
        self.phase & (granule - 1) == 0
            && self.boundary.is_none_or(|distance| reach <= distance)
            && reach <= room / 2
    }

    /// Returns the granules between the lowest and the highest address, from the first to before the second. The
    /// chunk's first byte has the address `first`.
    fn window(&self, first: u64, chunk: &PlainView<'_>) -> Option<(usize, usize)> {
        let inside = (1_u64 << chunk.order()) - 1;
        // Rounded up. By shifts, because a division costs more than the rest.
        let below = self.lowest.saturating_sub(first);
        let from = (below >> chunk.order()) + u64::from(below & inside != 0);
        let room = self.highest.checked_sub(first)?;
        // The granules that lie wholly below the highest address. Saturation is harmless, because the chunk has
        // fewer.
        let whole = (room >> chunk.order()).saturating_add(u64::from(room & inside == inside));
        let granules = chunk.granules();
        let whole = usize::try_from(whole).map_or(granules, |whole| whole.min(granules));
        Some((usize::try_from(from).ok()?, whole))
    }
}
