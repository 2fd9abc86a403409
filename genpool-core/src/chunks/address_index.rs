//! Finds the permanent chunk that contains an address, without a pin.
//!
//! The span of all permanent chunks is cut into buckets of equal width. Each bucket points to a chunk that reaches into
//! it. A bucket is only a hint: a reader asks the chunk itself (`contains`, and its state), and falls back to the chunk
//! list, under a pin. So buckets are rewritten in place while other threads read them, and a reader may see some of the
//! old ones and some of the new. If chunks differ so much in size or distance that several share a bucket, only the
//! newest of these is found here.
//!
//! Only one thread at a time writes the index, the *writer*. A thread that added chunks meanwhile asks the writer to
//! look for new chunks once more. If the writer is stopped, only speed is lost: chunks that were added since are found
//! through the list.
//!
//! The writer adds the new chunks to the table that is there. It rewrites the table if the table is too small or a new
//! chunk lies outside the addresses that it covers. A table covers up to twice the span of the chunks, on both sides of
//! it. So a pool that grows in any direction rewrites its table seldom, and adding a chunk costs about as much in a pool
//! of many chunks as in one of few.
//!
//! A chunk that is removed stays in its buckets, but readers pass over it. Only in its first and its last bucket may
//! other chunks be found. They get one that was hidden there.
//!
//! A table that has become too small stays until the pool is dropped, since readers hold no count on it. Each table has
//! at least twice as many buckets as the one before, so all of them together are at most twice the last.

use core::ops::RangeInclusive;
use core::ptr::{self, NonNull};

use crate::chunk::{Chunk, State};
use crate::memory::AppendList;
use crate::memory::{NoMemory, Table};
use crate::sync::{AtomicPtr, AtomicUsize, Fault, HighMark, Ordering, seeded};

struct BucketTable {
    /// The address where the first bucket begins.
    low: AtomicUsize,
    /// A bucket is `1 << shift` bytes wide.
    shift: AtomicUsize,
    buckets: Table<AtomicPtr<Chunk>>,
}

impl BucketTable {
    fn new(len: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            low: AtomicUsize::new(0),
            shift: AtomicUsize::new(0),
            buckets: Table::zeroed(len, None)?,
        })
    }

    /// Returns the address where the first bucket begins, and the logarithm of the buckets' width.
    #[inline(always)]
    fn layout(&self) -> (usize, usize) {
        // Relaxed: any bucket will do, since the chunk that it names is asked.
        (
            self.low.load(Ordering::Relaxed),
            self.shift.load(Ordering::Relaxed),
        )
    }

    /// Returns the number of the bucket of an address, which may be greater than that of any bucket.
    #[inline(always)]
    fn number_of(&self, addr: usize) -> usize {
        let (low, shift) = self.layout();
        addr.wrapping_sub(low) >> shift
    }

    /// Returns the bucket of an address.
    #[inline(always)]
    fn bucket_of(&self, addr: usize) -> Option<&AtomicPtr<Chunk>> {
        self.buckets.get(self.number_of(addr))
    }

    /// Returns the first and the last address of the bucket of an address.
    fn bounds_of(&self, addr: usize) -> RangeInclusive<usize> {
        let (low, shift) = self.layout();
        let (offset, rest) = (addr.wrapping_sub(low), (1 << shift) - 1);
        (offset & !rest).saturating_add(low)..=(offset | rest).saturating_add(low)
    }

    /// Returns true if there is a bucket for each address of the chunk.
    fn covers(&self, chunk: &Chunk) -> bool {
        let (low, _) = self.layout();
        chunk.start() >= low && self.bucket_of(chunk.last()).is_some()
    }

    /// Empties the table and makes it cover these addresses.
    fn clear(&self, low: usize, high: usize) {
        for bucket in &*self.buckets {
            // Relaxed: an empty bucket is right for every address.
            bucket.store(ptr::null_mut(), Ordering::Relaxed);
        }
        let span = high - low;
        let bits = usize::BITS - span.leading_zeros();
        let shift = bits.saturating_sub(self.buckets.len().ilog2());
        let width = 1 << shift;
        let spare = (((self.buckets.len() - 1) << shift) | (width - 1)) - span;
        // What is covered besides is on both sides. Chunks of equal size keep their places in the buckets.
        let below = (spare / 2).min(low) & !(width - 1);
        // Relaxed: the bucket that they lead to is only a hint.
        self.low.store(low - below, Ordering::Relaxed);
        self.shift.store(shift as usize, Ordering::Relaxed);
    }

    /// Writes a chunk, which the table covers, into the buckets that it reaches, unless a newer chunk is there.
    ///
    /// # Safety
    ///
    /// The chunks in the buckets are alive.
    unsafe fn put(&self, chunk: &Chunk) {
        let reached = self.number_of(chunk.start())..=self.number_of(chunk.last());
        for bucket in &self.buckets[reached] {
            // Acquire: `AddressIndex::forget`, which needs not be a writer, may have put a chunk here.
            // Not caught: that takes a chunk that another thread has just added, one that a third forgets, and this one,
            // which is more than a model can explore.
            let there = NonNull::new(bucket.load(Ordering::Acquire));
            // SAFETY: by the contract.
            let older =
                there.is_none_or(|there| unsafe { there.as_ref() }.number() < chunk.number());
            if older {
                // Release: a reader that sees the pointer sees the chunk's contents (pairs with `candidate`).
                bucket.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
            }
        }
    }
}

/// The permanent chunks of a pool by address.
///
/// # Invariants
///
/// A bucket is null or points at a chunk that lives as long as the address index is used.
pub(crate) struct AddressIndex {
    /// Only the newest is in use.
    tables: AppendList<BucketTable>,
    /// The number of updates that were asked for since there was last none to do. The thread that raises it from 0 is
    /// the writer, and sets it back to 0.
    requests: AtomicUsize,
    /// All chunks with a smaller number are in the newest table. Only the writer uses it.
    written: HighMark,
}

impl AddressIndex {
    pub(crate) fn new() -> Self {
        Self {
            tables: AppendList::new(),
            requests: AtomicUsize::new(0),
            written: HighMark::new(0),
        }
    }

    /// Returns the chunk in the bucket of `addr`.
    #[inline(always)]
    fn candidate(&self, addr: usize) -> Option<&Chunk> {
        let bucket = self.tables.newest().value()?.bucket_of(addr)?;
        // Acquire: pairs with the store in `BucketTable::put`, so that the chunk's contents are visible.
        let chunk = NonNull::new(bucket.load(Ordering::Acquire))?;
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

    /// Lets the chunks be found that shared a bucket with a chunk that was removed. `find` returns the listed permanent
    /// chunk that starts last of those that reach into a range of addresses.
    ///
    /// # Safety
    ///
    /// The chunks that `find` returns live as long as the address index is used.
    pub(crate) unsafe fn forget<'c>(
        &self,
        gone: &Chunk,
        find: impl Fn(RangeInclusive<usize>) -> Option<&'c Chunk>,
    ) {
        let Some(table) = self.tables.newest().value() else {
            return;
        };
        for addr in [gone.start(), gone.last()] {
            let Some(bucket) = table.bucket_of(addr) else {
                continue;
            };
            let other = find(table.bounds_of(addr));
            let other = other.map_or(ptr::null_mut(), |other| ptr::from_ref(other).cast_mut());
            let gone = ptr::from_ref(gone).cast_mut();
            // Release: as in `BucketTable::put`. If the writer rewrites the table meanwhile, the chunk may get into a bucket
            // that it does not reach, which is only a hint.
            // Not caught: models make such chunks before their threads.
            bucket
                .compare_exchange(gone, other, Ordering::Release, Ordering::Relaxed)
                .ok();
        }
    }

    /// Asks for the chunks to be written that were added. Returns the right to write, or `None` if another thread will
    /// do it.
    pub(crate) fn request_update(&self) -> Option<Writer<'_>> {
        // Acquire: a writer sees what the last one wrote. Release: it sees the lists of the threads that asked.
        // Not caught: the Release, for the same reason as in `Writer::done`.
        let before = self.requests.fetch_add(1, Ordering::AcqRel);
        (before == 0).then_some(Writer {
            address_index: self,
            requests: 1,
        })
    }
}

/// The right to write the index, which one thread at a time has.
pub(crate) struct Writer<'d> {
    address_index: &'d AddressIndex,
    /// The number of requests when the list was about to be read.
    requests: usize,
}

impl<'d> Writer<'d> {
    /// Writes those of `chunks` that are not yet in the index. They come newest first, and are at most `count`. If there
    /// is no memory for them, the index stays as it is.
    ///
    /// # Safety
    ///
    /// The chunks live as long as the address index is used.
    pub(crate) unsafe fn write<'c>(
        &self,
        chunks: impl Iterator<Item = &'c Chunk> + Clone,
        count: usize,
    ) {
        let Some(newest) = chunks.clone().next() else {
            return;
        };
        let Ok((table, is_new)) = self.table_for(count) else {
            return;
        };
        let written = &self.address_index.written;
        let is_missing = |chunk: &&Chunk| chunk.number() >= written.get();
        let missing = chunks.clone().take_while(is_missing);
        if !is_new && missing.clone().all(|chunk| table.covers(chunk)) {
            // SAFETY: by the contract and the index's invariant.
            missing.for_each(|chunk| unsafe { table.put(chunk) });
        } else {
            let bounds = |(low, high): (usize, usize), chunk: &Chunk| {
                (low.min(chunk.start()), high.max(chunk.last()))
            };
            let (low, high) = chunks.clone().fold((usize::MAX, 0), bounds);
            table.clear(low, high);
            // SAFETY: by the contract.
            chunks.for_each(|chunk| unsafe { table.put(chunk) });
        }
        written.raise(newest.number() + 1);
    }

    /// Returns a table with at least three buckets for every two chunks, and true if it is new.
    fn table_for(&self, chunks: usize) -> Result<(&'d BucketTable, bool), NoMemory> {
        let tables = &self.address_index.tables;
        let least = chunks + chunks / 2;
        let mut is_new = false;
        loop {
            let newest = tables.newest();
            let fits = |table: &&BucketTable| table.buckets.len() >= least;
            if let Some(table) = newest.value().filter(fits) {
                return Ok((table, is_new));
            }
            let table = BucketTable::new(least.max(2).next_power_of_two())?;
            is_new = true;
            tables.push(&newest, table);
        }
    }

    /// Ends the update. Returns the right to write again if another update was asked for meanwhile.
    pub(crate) fn done(self) -> Option<Self> {
        let requests = &self.address_index.requests;
        if seeded(Fault::LostRequest) {
            requests.store(0, Ordering::Relaxed);
            return None;
        }
        // Release, and Acquire if another thread asked: as in `request_update`.
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

    fn chunk(number: u64, start: usize, size: usize) -> Chunk {
        Chunk::new(&ChunkSpec::new(start, size), 0, number, true, false, None).unwrap()
    }

    /// Adds the last of these chunks to the address index, which come oldest first.
    fn write(address_index: &AddressIndex, chunks: &[Chunk]) {
        let writer = address_index.request_update().unwrap();
        // SAFETY: no test uses the address index once its chunks are dropped.
        unsafe { writer.write(chunks.iter().rev(), chunks.len()) };
        assert!(writer.done().is_none());
    }

    #[test]
    fn chunks_in_a_row_are_all_found() {
        let counts: &[usize] = if cfg!(miri) {
            &[1, 8]
        } else {
            &[1, 2, 3, 8, 100]
        };
        for &count in counts {
            for is_up in [false, true] {
                let start = |at| 4096 + 64 * if is_up { at } else { count - 1 - at };
                let chunks: Vec<_> = (0..count)
                    .map(|at| chunk(at as u64, start(at), 64))
                    .collect();
                let address_index = AddressIndex::new();
                assert!(!address_index.knows(&chunks[0]));
                for listed in 1..=count {
                    write(&address_index, &chunks[..listed]);
                }
                for chunk in &chunks {
                    for addr in [chunk.start(), chunk.last()] {
                        let found = address_index.find(addr);
                        assert!(found.is_some_and(|found| ptr::eq(found, chunk)));
                    }
                    assert!(address_index.knows(chunk));
                }
                for outside in [0, 4095, 4096 + count * 64, usize::MAX] {
                    assert!(address_index.find(outside).is_none());
                }
                // Tables double: at least three buckets for two chunks, and fewer than six for one.
                let words = address_index.footprint() / size_of::<usize>();
                assert!(
                    (count..16 * count + 16).contains(&words),
                    "{count}: {words}"
                );
            }
        }
    }

    #[test]
    fn of_chunks_that_share_a_bucket_the_newest_is_found() {
        let chunks = [chunk(0, 1 << 30, 1), chunk(1, 50, 10), chunk(2, 100, 10)];
        let address_index = AddressIndex::new();
        write(&address_index, &chunks);
        let found = |addr| address_index.find(addr).map(Chunk::start);
        assert_eq!(
            [105, 55, 1 << 30].map(found),
            [Some(100), None, Some(1 << 30)]
        );
        assert!(
            address_index.knows(&chunks[1]),
            "there is one where it is looked for"
        );
        // The other one is found when the newest is gone.
        assert!(chunks[2].seal());
        assert_eq!(found(105), None);
        // SAFETY: as in `write`.
        unsafe { address_index.forget(&chunks[2], |_| Some(&chunks[1])) };
        assert_eq!(
            [105, 55, 1 << 30].map(found),
            [None, Some(50), Some(1 << 30)]
        );
        // Both ends of the bucket are in it, and the next chunk is not.
        let table = address_index.tables.newest().value().unwrap();
        let (first, last) = table.bounds_of(50).into_inner();
        let numbers = [first, last, last + 1].map(|addr| table.number_of(addr));
        let number = table.number_of(50);
        assert_eq!(numbers, [number, number, number + 1]);
        assert!(first == 0 || table.number_of(first - 1) != number);
        // SAFETY: as in `write`.
        unsafe { address_index.forget(&chunks[1], |_| None) };
        assert_eq!([55, 1 << 30].map(found), [None, Some(1 << 30)]);
        assert!(!address_index.knows(&chunks[1]));
    }

    /// Counts how often a table is rewritten: its buckets lose a chunk that was not written again.
    #[test]
    fn a_table_is_rewritten_seldom() {
        // Powers of two below the last address.
        const SPREAD: usize = usize::BITS as usize - 14;
        let count = if cfg!(miri) { 20 } else { 1000 };
        let ways: [fn(usize) -> usize; 4] = [
            |at| at,
            |at| usize::MAX / 64 - 1 - at,
            |at| if at % 2 == 0 { 5000 + at } else { 5000 - at },
            |at| 1 << (at % SPREAD),
        ];
        for (way, place) in ways.into_iter().enumerate() {
            let mut places: Vec<_> = (0..count).map(place).collect();
            places.dedup();
            places.truncate(if way == 3 { SPREAD } else { count });
            let address_index = AddressIndex::new();
            let mut chunks = Vec::new();
            let (mut rewritten, mut layout) = (0, None);
            for (number, place) in places.into_iter().enumerate() {
                chunks.push(chunk(number as u64, place * 64, 64));
                write(&address_index, &chunks);
                let table = address_index.tables.newest().value().unwrap();
                let now = Some((ptr::from_ref(table), table.layout()));
                rewritten += usize::from(now != layout);
                layout = now;
            }
            assert!(rewritten < 110, "{way}: {rewritten}");
            assert!(chunks.iter().all(|chunk| address_index.knows(chunk)));
        }
    }

    #[test]
    fn a_request_during_an_update_is_served() {
        let address_index = AddressIndex::new();
        let writer = address_index.request_update().unwrap();
        assert!(
            address_index.request_update().is_none() && address_index.request_update().is_none()
        );
        let again = writer.done().unwrap();
        assert!(again.done().is_none());
        assert!(address_index.request_update().is_some());
    }
}
