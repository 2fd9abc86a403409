//! Finds permanent chunks by what is free in them, without a pin.
//!
//! A chunk's *index* is its number among the permanent chunks, by age. A *segment* has one slot for each of its
//! indices: a pointer to the chunk, and a hint, which is the highest of the chunk's own hints (`bitmap/hints/mod.rs`).
//! So the summary is one more level of hints, and is kept by the same "lower, look, raise".
//!
//! The newest index of a segment has the lowest slot, so a search from the newest segment to the oldest meets the
//! newest chunk first. A chunk's slot is fixed by its age, and segments never move, so the summary only grows. Each
//! segment is as long as all before it together.
//!
//! A search passes over a chunk that is being removed, and closes its slot.
//!
//! The summary may miss a chunk. The chunk may not be published yet, for instance because its thread was stopped in
//! `add`. Or its hint may be too low for the moment that `bitmap/hints/mod.rs` describes. So a caller that finds
//! nothing here looks at the chunk list.

use core::ops::ControlFlow;
use core::ptr::{self, NonNull};

use crate::sync::Arc;

use crate::bitmap::{Hints, Need, ParentSlot};
use crate::chunk::{Chunk, State};
use crate::memory::AppendList;
use crate::memory::{NoMemory, Table};
use crate::sync::{AtomicPtr, Ordering};
use crate::units::WordIndex;

/// The number of slots of the first segment (2026-11).
const FIRST: usize = if cfg!(genpool_small) { 2 } else { 64 };

struct Segment {
    /// The lowest index of its chunks, which has the highest slot.
    first: usize,
    hints: Arc<Hints>,
    chunks: Table<AtomicPtr<Chunk>>,
}

/// The permanent chunks of a pool by their longest free run.
///
/// # Invariants
///
/// A slot is null or points at a chunk that lives as long as the free summary is used.
pub(crate) struct FreeSummary {
    segments: AppendList<Segment>,
}

impl Segment {
    /// Returns an empty segment for the indices that follow those of `before`.
    fn after(before: Option<&Segment>) -> Result<Self, NoMemory> {
        let first = before.map_or(0, Segment::end);
        let len = first.max(FIRST);
        Ok(Self {
            first,
            hints: Arc::new(Hints::closed(len)?),
            chunks: Table::zeroed(len, None)?,
        })
    }

    /// Returns the first index past this segment.
    fn end(&self) -> usize {
        self.first + self.chunks.len()
    }

    fn slot_of(&self, index: usize) -> usize {
        self.end() - 1 - index
    }

    fn chunk(&self, slot: usize) -> Option<&Chunk> {
        // Relaxed: the hint that led here was raised by a thread that had the chunk, and is read with `SeqCst`.
        let chunk = NonNull::new(self.chunks[slot].load(Ordering::Relaxed))?;
        // SAFETY: by the free summary's invariant.
        Some(unsafe { chunk.as_ref() })
    }
}

impl FreeSummary {
    pub(crate) fn new() -> Self {
        Self {
            segments: AppendList::new(),
        }
    }

    /// Returns the bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.segments.footprint(|segment| {
            size_of::<Hints>() + segment.hints.footprint() + size_of_val(&*segment.chunks)
        })
    }

    /// Returns the segment of an index, if it exists.
    fn segment_of(&self, index: usize) -> Option<&Segment> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.first <= index)?;
        (index < segment.end()).then_some(segment)
    }

    /// Returns the segment of an index, and adds segments up to it if it does not exist.
    fn make_segment_of(&self, index: usize) -> Result<&Segment, NoMemory> {
        loop {
            // Read before the look for the segment, so that a new segment comes after all that were seen.
            let newest = self.segments.newest();
            if let Some(segment) = self.segment_of(index) {
                return Ok(segment);
            }
            self.segments.push(&newest, Segment::after(newest.value())?);
        }
    }

    /// Returns the slot in which the hints of the chunk at `index` continue.
    pub(crate) fn parent_of(&self, index: usize) -> Result<ParentSlot, NoMemory> {
        let segment = self.make_segment_of(index)?;
        Ok(ParentSlot {
            hints: Arc::clone(&segment.hints),
            slot: WordIndex(segment.slot_of(index)),
        })
    }

    /// Makes the chunk findable.
    ///
    /// # Safety
    ///
    /// The chunk lives as long as the free summary is used, and its hints continue in the slot of `index`.
    pub(crate) unsafe fn publish(&self, index: usize, chunk: &Chunk) {
        // The segment exists: the chunk's hints continue in it.
        if let Some(segment) = self.segment_of(index) {
            let pointer = ptr::from_ref(chunk).cast_mut();
            // Relaxed: see `Segment::chunk`.
            segment.chunks[segment.slot_of(index)].store(pointer, Ordering::Relaxed);
            chunk.bitmap().hints().raise_parent();
        }
    }

    /// Calls `visit` on the chunks in which `n` granules may be free, newest first, until it breaks. `visit` must not
    /// continue unless it found nothing in the chunk.
    pub(crate) fn find<'b, R>(
        &'b self,
        n: usize,
        mut visit: impl FnMut(&'b Chunk) -> ControlFlow<R>,
    ) -> Option<R> {
        let need = Need::of(n);
        for segment in self.segments.iter() {
            let mut from = WordIndex(0);
            while let Some(slot) = segment.hints.next(from, need) {
                from = slot.next();
                let Some(chunk) = segment.chunk(slot.0) else {
                    continue;
                };
                if chunk.state() != State::Alive {
                    // Granules that come back there are not handed out again.
                    segment.hints.lower(slot, 0, || 0);
                    continue;
                }
                if let ControlFlow::Break(found) = visit(chunk) {
                    return Some(found);
                }
                chunk.bitmap().hints().lower_parent();
            }
        }
        None
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::activity::Activity;
    use crate::bitmap::Attempt;
    use crate::chunk::ChunkSpec;
    use crate::units::Granule;

    const GRANULES: usize = 64;

    /// Publishes `count` chunks and returns them, oldest first.
    fn published(free_summary: &FreeSummary, count: usize) -> Vec<Arc<Chunk>> {
        let publish = |index| {
            let spec = ChunkSpec::new(index * GRANULES, GRANULES);
            let mut chunk = Chunk::new(&spec, 0, index as u64, true, false, None).unwrap();
            chunk.set_parent(free_summary.parent_of(index).unwrap());
            let chunk = Arc::new(chunk);
            // SAFETY: no test uses the free summary once its chunks are dropped.
            unsafe { free_summary.publish(index, &chunk) };
            chunk
        };
        (0..count).map(publish).collect()
    }

    /// Returns the numbers of the chunks that are visited for `n` granules if none of them serves.
    fn visited(free_summary: &FreeSummary, n: usize) -> Vec<usize> {
        let mut starts = Vec::new();
        let found: Option<()> = free_summary.find(n, |chunk| {
            starts.push(chunk.start() / GRANULES);
            ControlFlow::Continue(())
        });
        assert!(found.is_none());
        starts
    }

    #[test]
    fn the_newest_that_may_have_room_comes_first() {
        let counts: &[usize] = if cfg!(miri) {
            &[1, FIRST + 1]
        } else {
            &[1, 2, FIRST, FIRST + 1, 5 * FIRST]
        };
        for &count in counts {
            let (free_summary, activity) = (FreeSummary::new(), Activity::new());
            let chunks = published(&free_summary, count);
            let newest_first: Vec<_> = (0..count).rev().collect();
            assert_eq!(visited(&free_summary, 1), newest_first);
            for chunk in &chunks {
                chunk.claim(Granule(0), GRANULES, &activity).unwrap();
            }
            // Each chunk is looked at in vain once.
            let look = |chunk: &Chunk| {
                // A weak exchange may fail spuriously, on some machines and in Miri.
                let mut searches = (0..100).map(|_| chunk.bitmap().take_lowest(1, &activity));
                match searches.find(|&search| search != Attempt::Missed) {
                    Some(Attempt::Nowhere) => ControlFlow::Continue(()),
                    found => ControlFlow::Break(found),
                }
            };
            assert_eq!(free_summary.find(1, look), None);
            assert_eq!(visited(&free_summary, 1), []);
            // A run that comes back is found where it is, as long as its chunk serves.
            let at = count / 2;
            chunks[at].give_back(Granule(7), 3, &activity).unwrap();
            assert_eq!(visited(&free_summary, 4), []);
            assert_eq!(
                free_summary.find(3, look),
                Some(Some(Attempt::Found(Granule(7))))
            );
            assert!(chunks[at].seal());
            assert_eq!(visited(&free_summary, 1), []);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn the_number_of_slots_doubles() {
        let free_summary = FreeSummary::new();
        let _chunks = published(&free_summary, 7 * FIRST);
        assert_eq!(free_summary.segments.iter().count(), 4);
        let slot = size_of::<usize>() + 1;
        assert!((7 * FIRST * slot..9 * FIRST * slot).contains(&free_summary.footprint()));
    }
}
