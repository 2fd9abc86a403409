//! Adding and removing chunks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::{AddRefused, ChunkSpec, RemoveError};

use crate::ops::{Chunk, PITCH, Place};
use crate::world::{Known, Leaving, World, take};

impl World<'_> {
    pub(crate) fn add(&mut self, chunk: Chunk) {
        let size = self.bytes(chunk.granules) + chunk.size_skew;
        let start = match chunk.place {
            Place::Granule(at) => self.bytes(at),
            Place::Top(above) => (usize::MAX - size)
                .wrapping_add(1)
                .wrapping_sub(self.bytes(above)),
            Place::After(pick) if !self.chunks.is_empty() => {
                let known = &self.chunks[pick % self.chunks.len()];
                known.start.wrapping_add(known.size)
            }
            Place::After(_) => self.bytes(PITCH),
            Place::Wrapping => 0_usize.wrapping_sub(self.bytes(chunk.granules / 2 + 1)),
        };
        let start = start.wrapping_add(chunk.start_skew);
        let broken = self.broken_rules(start, size, chunk.phys);
        self.numbers += 1;
        let number = Arc::new(self.numbers);
        let mut spec = ChunkSpec::new(start, size).shared_owner(number.clone());
        if let Some(phys) = chunk.phys {
            spec = spec.phys(phys);
        }
        match self.pool.add_chunk(spec) {
            Ok(()) => {
                assert!(broken.is_empty(), "added in spite of {broken:?}");
                self.oracle.add(start, size).expect("the oracle agrees");
                self.chunks.push(Known {
                    start,
                    size,
                    phys: chunk.phys,
                    number,
                    goes: self.removed,
                });
            }
            Err(refused) => {
                assert!(
                    broken.contains(&refused.reason),
                    "{refused} instead of {broken:?}"
                );
                assert_eq!((refused.chunk.start(), refused.chunk.size()), (start, size));
                let owner = refused.chunk.into_owner().expect("it had an owner");
                assert_eq!(owner.downcast_ref(), Some(&*number));
            }
        }
    }

    /// Every reason for which the chunk may be refused.
    fn broken_rules(&self, start: usize, size: usize, phys: Option<u64>) -> Vec<AddRefused> {
        let granule = self.bytes(1);
        let end = start as u128 + size as u128;
        let mut broken = Vec::new();
        if size == 0 {
            broken.push(AddRefused::ZeroSize);
        }
        if !start.is_multiple_of(granule) {
            broken.push(AddRefused::MisalignedStart { granule });
        }
        if !size.is_multiple_of(granule) {
            broken.push(AddRefused::MisalignedSize { granule });
        }
        if end > 1 << usize::BITS {
            broken.push(AddRefused::Wraps);
        }
        if let Some(phys) = phys
            && u128::from(phys) + size as u128 > 1 << u64::BITS
        {
            broken.push(AddRefused::PhysWraps { phys });
        }
        let gone = |leaving: &&Leaving| leaving.oracle.avail() == leaving.oracle.size();
        let leaving = self.leaving.iter().filter(|leaving| !gone(leaving));
        for known in self
            .chunks
            .iter()
            .chain(leaving.map(|leaving| &leaving.known))
        {
            let known_end = known.start as u128 + known.size as u128;
            if (start as u128) < known_end && (known.start as u128) < end {
                broken.push(AddRefused::Overlaps {
                    start: known.start,
                    size: known.size,
                });
            }
        }
        broken
    }

    pub(crate) fn remove(&mut self, start: usize) {
        let outcome = self.pool.remove(start);
        let Some(at) = self.chunks.iter().position(|known| known.start == start) else {
            let refused = outcome.unwrap_err();
            match self.chunk_of(start) {
                Some((known, _)) if known.start == start => {
                    assert_eq!(refused, RemoveError::Draining { start });
                }
                _ => assert_eq!(refused, RemoveError::NoChunk { start }),
            }
            return;
        };
        let drain = outcome.unwrap();
        self.removed = true;
        assert_eq!(drain.start(), start);
        let notified = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&notified);
        drain.on_drained(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let oracle = self.oracle.split_off(at).expect("the chunk is there");
        let known = self.chunks.remove(at);
        self.leaving.push(Leaving {
            known,
            oracle,
            drain,
            notified,
        });
    }

    pub(crate) fn finish(&mut self, pick: usize) {
        let Some(leaving) = take(&mut self.leaving, pick) else {
            return;
        };
        let held = leaving.oracle.size() - leaving.oracle.avail();
        match leaving.drain.finish() {
            Ok(spec) => {
                assert_eq!(held, 0, "finished while something is held");
                let known = leaving.known;
                assert_eq!((spec.start(), spec.size()), (known.start, known.size));
                let owner = spec.into_owner().expect("it had an owner");
                assert_eq!(owner.downcast_ref(), Some(&*known.number));
                drop(owner);
                if known.goes {
                    let counts = Arc::strong_count(&known.number);
                    assert_eq!(counts, 1, "the chunk's bookkeeping lives on");
                }
            }
            Err(drain) => {
                assert!(held > 0, "not finished though all is back");
                self.leaving.push(Leaving { drain, ..leaving });
            }
        }
    }
}
