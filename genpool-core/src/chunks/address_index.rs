//! Finds the permanent chunk that contains an address, without a pin.
//!
//! The span of all permanent chunks is cut into buckets of equal width. Each bucket points to a chunk that reaches into
//! it. A bucket is only a hint: a reader asks the chunk itself (`contains`, and its state), and falls back to the chunk
//! list, under a pin. So buckets are rewritten in place while other threads read them, and a reader may see some of the
//! old ones and some of the new. If chunks differ so much in size or distance that several share a bucket, only the
//! newest of these is found here.
//!
//! Only one thread at a time rewrites the index, the *rebuilder*. A thread that needs a rewrite meanwhile asks the
//! rebuilder to do it once more. If the rebuilder is stopped, only speed is lost: chunks that were added since are
//! found through the list.
//!
//! A table that has become too small stays until the pool is dropped, since readers hold no count on it. Each table has
//! at least twice as many buckets as the one before, so all of them together are at most twice the last.

use core::ptr::{self, NonNull};

use crate::chunk::{Chunk, State};
use crate::memory::AppendList;
use crate::memory::{NoMemory, Table};
use crate::sync::{AtomicPtr, AtomicUsize, Fault, Ordering, seeded};

struct BucketTable {
    /// The address where the first bucket begins.
    low: AtomicUsize,
    /// A bucket is `1 << shift` bytes wide.
    shift: AtomicUsize,
    buckets: Table<AtomicPtr<Chunk>>,
}

/// The permanent chunks of a pool by address.
///
/// # Invariants
///
/// A bucket is null or points at a chunk that lives as long as the address index is used.
pub(crate) struct AddressIndex {
    /// Only the newest is in use.
    tables: AppendList<BucketTable>,
    /// The number of rewrites that were asked for since there was last none to do. The thread that raises it from 0 is
    /// the rebuilder, and sets it back to 0.
    requests: AtomicUsize,
}

impl AddressIndex {
    pub(crate) fn new() -> Self {
        Self {
            tables: AppendList::new(),
            requests: AtomicUsize::new(0),
        }
    }

    /// Returns the chunk in the bucket of `addr`.
    #[inline(always)]
    fn candidate(&self, addr: usize) -> Option<&Chunk> {
        let table = self.tables.newest().value()?;
        // Relaxed: any bucket will do, since the chunk itself is asked.
        let from = addr.wrapping_sub(table.low.load(Ordering::Relaxed));
        let bucket = from >> table.shift.load(Ordering::Relaxed);
        // Acquire: pairs with the store in `Rebuilder::write`, so that the chunk's contents are visible.
        let chunk = NonNull::new(table.buckets.get(bucket)?.load(Ordering::Acquire))?;
        // SAFETY: by the invariant.
        Some(unsafe { chunk.as_ref() })
    }

    /// Returns the chunk that contains `addr`, if it is found here and not drained.
    #[inline(always)]
    pub(crate) fn find(&self, addr: usize) -> Option<&Chunk> {
        let chunk = self.candidate(addr)?;
        let is_there = chunk.contains(addr) || seeded(Fault::UncheckedBucket);
        (is_there && chunk.state() != State::Drained).then_some(chunk)
    }

    /// Returns the bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.tables.footprint(|table| size_of_val(&*table.buckets))
    }

    /// Returns true if there is a chunk in the bucket of this chunk's start. Meaningful only at rest.
    pub(crate) fn knows(&self, chunk: &Chunk) -> bool {
        self.candidate(chunk.start()).is_some()
    }

    /// Asks for a rewrite. Returns the right to rewrite, or `None` if another thread will do it.
    pub(crate) fn request_rebuild(&self) -> Option<Rebuilder<'_>> {
        // Acquire: a rebuilder sees what the last one wrote. Release: it sees the lists of the threads that asked.
        // Not caught: the Release, for the same reason as in `Rebuilder::done`.
        let before = self.requests.fetch_add(1, Ordering::AcqRel);
        (before == 0).then_some(Rebuilder {
            address_index: self,
            requests: 1,
        })
    }
}

/// The right to rewrite the index, which one thread at a time has.
pub(crate) struct Rebuilder<'d> {
    address_index: &'d AddressIndex,
    /// The number of requests when the list was about to be read.
    requests: usize,
}

impl<'d> Rebuilder<'d> {
    /// Writes the index of `chunks`, which come newest first. If there is no memory for them, the index stays as it is.
    ///
    /// # Safety
    ///
    /// The chunks live as long as the address index is used.
    pub(crate) unsafe fn write<'c>(&self, chunks: impl Iterator<Item = &'c Chunk> + Clone) {
        let bounds = |(low, high): (usize, usize), chunk: &Chunk| {
            (low.min(chunk.start()), high.max(chunk.last()))
        };
        let (low, high) = chunks.clone().fold((usize::MAX, 0), bounds);
        let Ok(table) = self.table_for(chunks.clone().count()) else {
            return;
        };
        let buckets = &*table.buckets;
        let bits = usize::BITS - high.saturating_sub(low).leading_zeros();
        let shift = bits.saturating_sub(buckets.len().ilog2()) as usize;
        for bucket in buckets {
            // Relaxed: an empty bucket is right for every address.
            bucket.store(ptr::null_mut(), Ordering::Relaxed);
        }
        // Relaxed: the bucket that they lead to is only a hint.
        table.low.store(low, Ordering::Relaxed);
        table.shift.store(shift, Ordering::Relaxed);
        for chunk in chunks {
            let reached = (chunk.start() - low) >> shift..=(chunk.last() - low) >> shift;
            for bucket in &buckets[reached] {
                if bucket.load(Ordering::Relaxed).is_null() {
                    // Release: a reader that sees the pointer sees the chunk's contents (pairs with `candidate`).
                    bucket.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
                }
            }
        }
    }

    /// Returns a table with at least three buckets for every two chunks.
    fn table_for(&self, chunks: usize) -> Result<&'d BucketTable, NoMemory> {
        let tables = &self.address_index.tables;
        loop {
            let newest = tables.newest();
            let fits = |table: &&BucketTable| table.buckets.len() >= chunks + chunks / 2;
            if let Some(table) = newest.value().filter(fits) {
                return Ok(table);
            }
            let len = (chunks + chunks / 2).max(2).next_power_of_two();
            let table = BucketTable {
                low: AtomicUsize::new(0),
                shift: AtomicUsize::new(0),
                buckets: Table::zeroed(len, None)?,
            };
            tables.push(&newest, table);
        }
    }

    /// Ends the rewrite. Returns the right to rewrite again if another rewrite was asked for meanwhile.
    pub(crate) fn done(self) -> Option<Self> {
        let requests = &self.address_index.requests;
        if seeded(Fault::LostRequest) {
            requests.store(0, Ordering::Relaxed);
            return None;
        }
        // Release, and Acquire if another thread asked: as in `request_rebuild`.
        // Not caught: the Acquire. The list is pinned with `SeqCst`, and in loom and Miri a read that is executed later
        // returns no older list.
        let ended =
            requests.compare_exchange(self.requests, 0, Ordering::Release, Ordering::Acquire);
        ended.err().map(|requests| Self { requests, ..self })
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::chunk::ChunkSpec;

    fn chunk(start: usize, size: usize) -> Chunk {
        Chunk::new(&ChunkSpec::new(start, size), 0, 0, true, false, None).unwrap()
    }

    /// Rewrites the address index with these chunks, newest first.
    fn write(address_index: &AddressIndex, chunks: &[Chunk]) {
        let rebuilder = address_index.request_rebuild().unwrap();
        // SAFETY: no test uses the address index once its chunks are dropped.
        unsafe { rebuilder.write(chunks.iter()) };
        assert!(rebuilder.done().is_none());
    }

    #[test]
    fn chunks_in_a_row_are_all_found() {
        let counts: &[usize] = if cfg!(miri) {
            &[1, 8]
        } else {
            &[1, 2, 3, 8, 100]
        };
        for &count in counts {
            let chunks: Vec<_> = (0..count).map(|at| chunk(4096 + at * 64, 64)).collect();
            let address_index = AddressIndex::new();
            assert!(!address_index.knows(&chunks[0]));
            for listed in 1..=count {
                write(&address_index, &chunks[..listed]);
            }
            for chunk in &chunks {
                for addr in [chunk.start(), chunk.last()] {
                    assert!(
                        address_index
                            .find(addr)
                            .is_some_and(|found| ptr::eq(found, chunk))
                    );
                }
                assert!(address_index.knows(chunk));
            }
            for outside in [0, 4095, 4096 + count * 64, usize::MAX] {
                assert!(address_index.find(outside).is_none());
            }
            // After a rewrite it knows only the chunks that it was given.
            write(&address_index, &chunks[..1]);
            assert!(address_index.find(4096 + 64).is_none());
            // Tables double: at least three buckets for two chunks, and fewer than six for one.
            let words = address_index.footprint() / size_of::<usize>();
            assert!(
                (count..16 * count + 16).contains(&words),
                "{count}: {words}"
            );
        }
    }

    #[test]
    fn of_chunks_that_share_a_bucket_the_newest_is_found() {
        let chunks = [chunk(100, 10), chunk(50, 10), chunk(1 << 30, 1)];
        let address_index = AddressIndex::new();
        write(&address_index, &chunks);
        let found = [105, 55, 1 << 30].map(|addr| address_index.find(addr).map(Chunk::start));
        assert_eq!(found, [Some(100), None, Some(1 << 30)]);
        assert!(
            address_index.knows(&chunks[1]),
            "there is one where it is looked for"
        );
    }

    #[test]
    fn a_request_during_a_rebuild_is_served() {
        let address_index = AddressIndex::new();
        let rebuilder = address_index.request_rebuild().unwrap();
        assert!(
            address_index.request_rebuild().is_none() && address_index.request_rebuild().is_none()
        );
        let again = rebuilder.done().unwrap();
        assert!(again.done().is_none());
        assert!(address_index.request_rebuild().is_some());
    }
}
