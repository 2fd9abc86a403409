//! The permanent chunks of a pool (see `shelf.rs`), reachable without a pin: by what is free in them,
//! and by address.
//!
//! # By what is free
//!
//! A chunk's *place* is its number among the permanent chunks, by age. A *rack* has a slot for each of
//! its places: a pointer to the chunk, and a hint: the highest of the chunk's own (`bitmap/hints.rs`), of
//! which this is one level more. The newest place has the lowest slot, so that a search from the newest
//! rack to the oldest meets the newest chunk first. Racks are never moved; each is twice as long as the
//! one before.
//!
//! A chunk that was not hung yet (by a thread that was stopped in `add`, say) is not found here, nor is
//! one whose slot is too low for the moment that `hints.rs` describes: whoever finds nothing here looks at
//! the chunk list.

use core::ops::ControlFlow;
use core::ptr::{self, NonNull};

use alloc::sync::Arc;

use crate::bitmap::{Above, Hints, Need};
use crate::chunk::{Chunk, State};
use crate::growing::Growing;
use crate::memory::{NoMemory, Table};
use crate::sync::{AtomicPtr, Ordering};

/// Slots of the first rack (2026-11).
const FIRST: usize = if cfg!(genpool_small) { 2 } else { 64 };

struct Rack {
    /// The place of its last slot.
    first: usize,
    hints: Arc<Hints>,
    chunks: Table<AtomicPtr<Chunk>>,
}

/// # Invariants
///
/// A slot is null or points at a chunk that lives as long as the board is used.
pub(crate) struct Board {
    racks: Growing<Rack>,
}

impl Rack {
    /// The rack after this one.
    fn after(before: Option<&Rack>) -> Result<Self, NoMemory> {
        let (first, len) = before.map_or((0, FIRST), |rack| (rack.end(), 2 * rack.chunks.len()));
        Ok(Self {
            first,
            hints: Arc::new(Hints::closed(len)?),
            chunks: Table::zeroed(len, None)?,
        })
    }

    /// The first place behind this rack's.
    fn end(&self) -> usize {
        self.first + self.chunks.len()
    }

    fn slot_of(&self, place: usize) -> usize {
        self.end() - 1 - place
    }

    fn chunk(&self, slot: usize) -> Option<&Chunk> {
        // Relaxed: the hint that led here was raised by who had the chunk, and is read with `SeqCst`.
        let chunk = NonNull::new(self.chunks[slot].load(Ordering::Relaxed))?;
        // SAFETY: by the board's invariant.
        Some(unsafe { chunk.as_ref() })
    }
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            racks: Growing::new(),
        }
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.racks.footprint(|rack| {
            size_of::<Hints>() + rack.hints.footprint() + size_of_val(&*rack.chunks)
        })
    }

    /// The rack of a place, if there is one.
    fn rack_of(&self, place: usize) -> Option<&Rack> {
        let rack = self.racks.iter().find(|rack| rack.first <= place)?;
        (place < rack.end()).then_some(rack)
    }

    /// The rack of a place, which is made if the places below it have theirs.
    fn make_rack_of(&self, place: usize) -> Result<&Rack, NoMemory> {
        loop {
            // Before the look for the rack, so that what is made comes after all that were seen.
            let newest = self.racks.newest();
            if let Some(rack) = self.rack_of(place) {
                return Ok(rack);
            }
            self.racks.push(&newest, Rack::after(newest.value())?);
        }
    }

    /// Where the hints of the chunk at `place` go on.
    pub(crate) fn above(&self, place: usize) -> Result<Above, NoMemory> {
        let rack = self.make_rack_of(place)?;
        Ok(Above {
            hints: Arc::clone(&rack.hints),
            slot: rack.slot_of(place),
        })
    }

    /// Lets the chunk be found.
    ///
    /// # Safety
    ///
    /// The chunk lives as long as the board is used, and its hints go on at `place`.
    pub(crate) unsafe fn hang(&self, place: usize, chunk: &Chunk) {
        // There is one: its hints are the chunk's.
        if let Some(rack) = self.rack_of(place) {
            let pointer = ptr::from_ref(chunk).cast_mut();
            // Relaxed: see `Rack::chunk`.
            rack.chunks[rack.slot_of(place)].store(pointer, Ordering::Relaxed);
            chunk.bitmap().hints().raise_above();
        }
    }

    /// Calls `visit` on the chunks in which `n` granules may be free, the newest first, until it breaks
    /// off. To go on it must have found nothing there.
    pub(crate) fn find<'b, R>(
        &'b self,
        n: usize,
        mut visit: impl FnMut(&'b Chunk) -> ControlFlow<R>,
    ) -> Option<R> {
        let need = Need::of(n);
        for rack in self.racks.iter() {
            let mut from = 0;
            while let Some(slot) = rack.hints.next(from, need) {
                from = slot + 1;
                let Some(chunk) = rack.chunk(slot) else {
                    continue;
                };
                if chunk.state() != State::Alive {
                    // Whatever comes back there is not handed out again.
                    rack.hints.lower(slot, 0, || 0);
                    continue;
                }
                if let ControlFlow::Break(found) = visit(chunk) {
                    return Some(found);
                }
                chunk.bitmap().hints().lower_above();
            }
        }
        None
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::bitmap::Search;
    use crate::chunk::ChunkSpec;
    use crate::traffic::Traffic;

    const GRANULES: usize = 64;

    /// So many chunks, the oldest first, all on the board.
    fn hung(board: &Board, count: usize) -> Vec<Arc<Chunk>> {
        let hang = |place| {
            let spec = ChunkSpec::new(place * GRANULES, GRANULES);
            let mut chunk = Chunk::new(&spec, 0, 0, true, false, None).unwrap();
            chunk.go_on_at(board.above(place).unwrap());
            let chunk = Arc::new(chunk);
            // SAFETY: no test uses the board once its chunks are dropped.
            unsafe { board.hang(place, &chunk) };
            chunk
        };
        (0..count).map(hang).collect()
    }

    /// Where the chunks start that are visited for `n` granules, none of which serves.
    fn visited(board: &Board, n: usize) -> Vec<usize> {
        let mut starts = Vec::new();
        let found: Option<()> = board.find(n, |chunk| {
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
            let (board, traffic) = (Board::new(), Traffic::new());
            let chunks = hung(&board, count);
            let newest_first: Vec<_> = (0..count).rev().collect();
            assert_eq!(visited(&board, 1), newest_first);
            for chunk in &chunks {
                chunk.claim(0, GRANULES, &traffic).unwrap();
            }
            // Each is looked at in vain once.
            let look = |chunk: &Chunk| {
                // A weak exchange may fail of itself, on some machines and in Miri.
                let mut searches = (0..100).map(|_| chunk.bitmap().take_lowest(1, &traffic));
                match searches.find(|&search| search != Search::Missed) {
                    Some(Search::Nowhere) => ControlFlow::Continue(()),
                    found => ControlFlow::Break(found),
                }
            };
            assert_eq!(board.find(1, look), None);
            assert_eq!(visited(&board, 1), []);
            // What comes back is found where it is, as long as it serves.
            let at = count / 2;
            chunks[at].give_back(7, 3, &traffic).unwrap();
            assert_eq!(visited(&board, 4), []);
            assert_eq!(board.find(3, look), Some(Some(Search::Found(7))));
            assert!(chunks[at].seal());
            assert_eq!(visited(&board, 1), []);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn racks_double() {
        let board = Board::new();
        let _chunks = hung(&board, 7 * FIRST);
        assert_eq!(board.racks.iter().count(), 3);
        let slot = size_of::<usize>() + 1;
        assert!((7 * FIRST * slot..9 * FIRST * slot).contains(&board.footprint()));
    }
}
