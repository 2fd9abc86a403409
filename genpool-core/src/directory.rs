//! Which permanent chunk an address lies in, without a pin.
//!
//! The span of all permanent chunks is cut into buckets of equal width, each with a pointer to a chunk
//! that reaches into it. That is no more than a hint: whoever follows it asks the chunk itself whether
//! the address lies in it, and otherwise goes by the chunk list. So buckets are rewritten while others
//! read them, and a reader may see some of before and some of after. Where chunks differ so much in
//! size or distance that several share a bucket, the newest is found here.
//!
//! One thread, the *scribe*, rewrites at a time; who comes meanwhile asks it to do so once more. If it is
//! stopped, the chunks that were added since are found through the list.
//!
//! A table that became too small stays until the pool goes, for readers hold no count on it; tables
//! double, so all of them together are twice the last.

use core::ptr::{self, NonNull};

use crate::chunk::{Chunk, State};
use crate::growing::Growing;
use crate::memory::{NoMemory, Table};
use crate::sync::{AtomicPtr, AtomicUsize, Fault, Ordering, seeded};

struct Sheet {
    /// The address where the first bucket begins.
    low: AtomicUsize,
    /// A bucket is `1 << shift` bytes wide.
    shift: AtomicUsize,
    buckets: Table<AtomicPtr<Chunk>>,
}

/// # Invariants
///
/// A bucket is null or points at a chunk that lives as long as the directory is used.
pub(crate) struct Directory {
    /// The newest is in use.
    sheets: Growing<Sheet>,
    /// How often it was asked for a rewrite since there was none to do. Who raises it from 0 is the scribe,
    /// who takes it back to 0.
    asked: AtomicUsize,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            sheets: Growing::new(),
            asked: AtomicUsize::new(0),
        }
    }

    /// The chunk in the bucket of `addr`.
    #[inline(always)]
    fn hinted(&self, addr: usize) -> Option<&Chunk> {
        let sheet = self.sheets.newest().value()?;
        // Relaxed: any bucket will do, since the chunk is asked.
        let from = addr.wrapping_sub(sheet.low.load(Ordering::Relaxed));
        let bucket = from >> sheet.shift.load(Ordering::Relaxed);
        // Acquire: pairs with the store in `Scribe::write`, so that the chunk is seen whole.
        let chunk = NonNull::new(sheet.buckets.get(bucket)?.load(Ordering::Acquire))?;
        // SAFETY: by the invariant.
        Some(unsafe { chunk.as_ref() })
    }

    /// The chunk that `addr` lies in, if it is found here and not drained.
    #[inline(always)]
    pub(crate) fn find(&self, addr: usize) -> Option<&Chunk> {
        let chunk = self.hinted(addr)?;
        let is_there = chunk.contains(addr) || seeded(Fault::UncheckedBucket);
        (is_there && chunk.state() != State::Drained).then_some(chunk)
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.sheets.footprint(|sheet| size_of_val(&*sheet.buckets))
    }

    /// At rest: whether there is a chunk where this one is looked for.
    pub(crate) fn knows(&self, chunk: &Chunk) -> bool {
        self.hinted(chunk.start()).is_some()
    }

    /// Asks for a rewrite, which the caller does if nobody else is about to.
    pub(crate) fn ask(&self) -> Option<Scribe<'_>> {
        // Acquire: a scribe sees what the last one wrote. Release: it sees the lists of those who asked.
        // Not caught: of the latter, as in `Scribe::done`.
        let before = self.asked.fetch_add(1, Ordering::AcqRel);
        (before == 0).then_some(Scribe {
            directory: self,
            asked: 1,
        })
    }
}

/// The right to rewrite.
pub(crate) struct Scribe<'d> {
    directory: &'d Directory,
    /// How often it had been asked for before the list was read.
    asked: usize,
}

impl<'d> Scribe<'d> {
    /// Writes down these chunks, the newest first; without memory for them the directory stays as it
    /// is.
    ///
    /// # Safety
    ///
    /// The chunks live as long as the directory is used.
    pub(crate) unsafe fn write<'c>(&self, chunks: impl Iterator<Item = &'c Chunk> + Clone) {
        let bounds = |(low, high): (usize, usize), chunk: &Chunk| {
            (low.min(chunk.start()), high.max(chunk.last()))
        };
        let (low, high) = chunks.clone().fold((usize::MAX, 0), bounds);
        let Ok(sheet) = self.sheet_for(chunks.clone().count()) else {
            return;
        };
        let buckets = &*sheet.buckets;
        let bits = usize::BITS - high.saturating_sub(low).leading_zeros();
        let shift = bits.saturating_sub(buckets.len().ilog2()) as usize;
        for bucket in buckets {
            // Relaxed: no chunk is any chunk's.
            bucket.store(ptr::null_mut(), Ordering::Relaxed);
        }
        // Relaxed: the bucket that they lead to is no more than a hint.
        sheet.low.store(low, Ordering::Relaxed);
        sheet.shift.store(shift, Ordering::Relaxed);
        for chunk in chunks {
            let reached = (chunk.start() - low) >> shift..=(chunk.last() - low) >> shift;
            for bucket in &buckets[reached] {
                if bucket.load(Ordering::Relaxed).is_null() {
                    // Release: who sees the chunk sees it whole (pairs with `find`).
                    bucket.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
                }
            }
        }
    }

    /// A sheet with three buckets for two chunks, at least.
    fn sheet_for(&self, chunks: usize) -> Result<&'d Sheet, NoMemory> {
        let sheets = &self.directory.sheets;
        loop {
            let newest = sheets.newest();
            let fits = |sheet: &&Sheet| sheet.buckets.len() >= chunks + chunks / 2;
            if let Some(sheet) = newest.value().filter(fits) {
                return Ok(sheet);
            }
            let len = (chunks + chunks / 2).max(2).next_power_of_two();
            let sheet = Sheet {
                low: AtomicUsize::new(0),
                shift: AtomicUsize::new(0),
                buckets: Table::zeroed(len, None)?,
            };
            sheets.push(&newest, sheet);
        }
    }

    /// Ends the rewrite, unless it was asked for again meanwhile.
    pub(crate) fn done(self) -> Option<Self> {
        let asked = &self.directory.asked;
        if seeded(Fault::LostRequest) {
            asked.store(0, Ordering::Relaxed);
            return None;
        }
        // Release, and Acquire where somebody asked: as in `ask`.
        // Not caught: of the latter, the list is pinned with `SeqCst`, and what loom and Miri execute later
        // reads none that is older.
        let ended = asked.compare_exchange(self.asked, 0, Ordering::Release, Ordering::Acquire);
        ended.err().map(|asked| Self { asked, ..self })
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

    /// Rewrites the directory of these chunks, the newest first.
    fn write(directory: &Directory, chunks: &[Chunk]) {
        let scribe = directory.ask().unwrap();
        // SAFETY: no test uses the directory once its chunks are dropped.
        unsafe { scribe.write(chunks.iter()) };
        assert!(scribe.done().is_none());
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
            let directory = Directory::new();
            assert!(!directory.knows(&chunks[0]));
            for listed in 1..=count {
                write(&directory, &chunks[..listed]);
            }
            for chunk in &chunks {
                for addr in [chunk.start(), chunk.last()] {
                    assert!(
                        directory
                            .find(addr)
                            .is_some_and(|found| ptr::eq(found, chunk))
                    );
                }
                assert!(directory.knows(chunk));
            }
            for outside in [0, 4095, 4096 + count * 64, usize::MAX] {
                assert!(directory.find(outside).is_none());
            }
            // Rewritten, it knows no more than those that it was told of.
            write(&directory, &chunks[..1]);
            assert!(directory.find(4096 + 64).is_none());
            // Tables double: three buckets for two chunks, at least, and not six for one.
            let words = directory.footprint() / size_of::<usize>();
            assert!(
                (count..16 * count + 16).contains(&words),
                "{count}: {words}"
            );
        }
    }

    #[test]
    fn of_chunks_that_share_a_bucket_the_newest_is_found() {
        let chunks = [chunk(100, 10), chunk(50, 10), chunk(1 << 30, 1)];
        let directory = Directory::new();
        write(&directory, &chunks);
        let found = [105, 55, 1 << 30].map(|addr| directory.find(addr).map(Chunk::start));
        assert_eq!(found, [Some(100), None, Some(1 << 30)]);
        assert!(
            directory.knows(&chunks[1]),
            "there is one where it is looked for"
        );
    }

    #[test]
    fn who_comes_meanwhile_has_it_rewritten() {
        let directory = Directory::new();
        let scribe = directory.ask().unwrap();
        assert!(directory.ask().is_none() && directory.ask().is_none());
        let again = scribe.done().unwrap();
        assert!(again.done().is_none());
        assert!(directory.ask().is_some());
    }
}
