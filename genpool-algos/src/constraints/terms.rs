//! Constraints translated to one chunk.
//!
//! In a chunk, the two addresses of a granule differ by a constant. So constraints on the device address become
//! constraints on granules, as do those on the other address. Windows intersect. Of two alignments, the smaller
//! follows from the larger or contradicts it. Each boundary says how far a start must move to be past it, and after
//! four such jumps the answer is known.

use core::ops::Range;

use genpool_core::{ChunkView, Granule, Run};

use super::{Constraints, Rule};

/// Constraints translated to one chunk, for runs of one length.
pub(super) struct Terms {
    /// The starts that keep runs between the lowest and the highest addresses.
    pub(super) window: Range<Granule>,
    align: u64,
    /// Below `align`, and a multiple of the granule.
    phase: u64,
    borders: [Option<Border>; 2],
}

/// Addresses that a run must not cross: those `x` for which `x + shift` is a multiple of `distance`.
#[derive(Clone, Copy)]
struct Border {
    distance: u64,
    shift: u64,
}

/// The granules of a chunk by one of their two addresses: the address of the first byte, and the number of granules.
struct Place {
    first: u64,
    granules: usize,
    order: u32,
}

impl Terms {
    /// Returns none if no start in the chunk is allowed.
    pub(super) fn new(asked: &Constraints, chunk: &ChunkView<'_>, n: usize) -> Option<Self> {
        if n == 0 {
            return None;
        }
        let (granules, order) = (chunk.granules(), chunk.order());
        let place = |first| Place {
            first,
            granules,
            order,
        };
        let start = chunk.start() as u64;
        let mut terms = Self {
            window: asked.virt.window(&place(start), n)?,
            align: asked.virt.align,
            phase: asked.virt.phase,
            borders: [asked.virt.border(0), None],
        };
        if let Some(dma) = &asked.dma {
            let phys = chunk.phys()?;
            let reached = dma.window(&place(phys), n)?;
            terms.window.start = terms.window.start.max(reached.start);
            terms.window.end = terms.window.end.min(reached.end);
            let shift = phys.wrapping_sub(start);
            terms.also_aligned(dma.align, dma.phase.wrapping_sub(shift) & (dma.align - 1))?;
            terms.borders[1] = dma.border(shift);
        }
        let granule = 1_u64 << order;
        let reachable = terms.phase.is_multiple_of(granule.min(terms.align));
        (reachable && terms.window.start < terms.window.end).then_some(terms)
    }

    /// Adds an alignment. Both are powers of two, so the smaller one either follows from the larger or contradicts
    /// it. Returns none if they contradict.
    fn also_aligned(&mut self, align: u64, phase: u64) -> Option<()> {
        let common = align.min(self.align) - 1;
        if (phase ^ self.phase) & common != 0 {
            return None;
        }
        if align > self.align {
            (self.align, self.phase) = (align, phase);
        }
        Some(())
    }

    /// Returns alignment and phase, if a `usize` can hold them.
    pub(super) fn alignment(&self) -> Option<(usize, usize)> {
        Some((self.align.try_into().ok()?, self.phase.try_into().ok()?))
    }

    /// Returns the lowest allowed start of `n` granules in a free run.
    pub(super) fn first_in(&self, chunk: &ChunkView<'_>, run: Run, n: usize) -> Option<Granule> {
        /// The first place past a boundary is the best start up to the next boundary. So if a run that begins there
        /// crosses a boundary of the same kind, no run fits. If the two kinds move the start in turn, the third jump
        /// repeats the first.
        const JUMPS: usize = 4;

        let end_of_run = run.start.0.checked_add(run.len)?.min(chunk.granules());
        let end = Granule(end_of_run.checked_sub(n)? + 1).min(self.window.end);
        let mut start = run.start.max(self.window.start);
        for _ in 0..=JUMPS {
            start = self.aligned(chunk, start)?;
            if start >= end {
                return None;
            }
            match self.past_border(chunk, start, n) {
                Some(next) => start = next,
                None => return Some(start),
            }
        }
        None
    }

    /// Returns the first granule from `start` on that is aligned as required.
    fn aligned(&self, chunk: &ChunkView<'_>, start: Granule) -> Option<Granule> {
        let past = (chunk.addr_of(start) as u64).wrapping_sub(self.phase) & (self.align - 1);
        let step = (past.wrapping_neg() & (self.align - 1)) >> chunk.order();
        Some(Granule(start.0.checked_add(step.try_into().ok()?)?))
    }

    /// Returns the first granule past the boundary that `n` granules at `start` cross, or none if they cross none.
    pub(super) fn past_border(
        &self,
        chunk: &ChunkView<'_>,
        start: Granule,
        n: usize,
    ) -> Option<Granule> {
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
}

impl Rule {
    fn border(&self, shift: u64) -> Option<Border> {
        self.boundary.map(|distance| Border { distance, shift })
    }

    /// Returns the starts of `n` granules between the lowest and the highest address.
    fn window(&self, place: &Place, n: usize) -> Option<Range<Granule>> {
        let granule = 1_u64 << place.order;
        let from = self.lowest.saturating_sub(place.first).div_ceil(granule);
        let room = self.highest.checked_sub(place.first)?;
        // The granules that lie wholly below the highest address. Saturation is harmless, because the chunk has
        // fewer.
        let whole =
            (room >> place.order).saturating_add(u64::from(room & (granule - 1) == granule - 1));
        let whole =
            usize::try_from(whole).map_or(place.granules, |whole| whole.min(place.granules));
        let from = Granule(usize::try_from(from).ok()?);
        Some(from..Granule(whole.checked_sub(n)? + 1))
    }
}
