//! Reports on a pool: totals, fragmentation, and what is held.

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;

use crate::bitmap::Look;
use crate::chunk::{Chunk, Owner, State, text_of};
use crate::chunks::ChunkList;
use crate::shared::Shared;
use crate::units::Granule;
use crate::unwind::contained;

/// Totals of a pool, and counts since it was built. The totals are read a word at a time while other threads may
/// allocate and free: each lies between 0 and `size`, and all are exact if no other thread is active.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let _held = pool.alloc(1)?;
/// assert!(pool.alloc(0x4000).is_err());
/// let stats = pool.stats();
/// assert_eq!((stats.chunks, stats.size, stats.used, stats.free), (1, 0x4000, 0x1000, 0x3000));
/// assert_eq!((stats.exhausted, stats.contended), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Stats {
    /// Chunks that serve allocations.
    pub chunks: usize,
    /// Bytes in them.
    pub size: usize,
    /// Bytes of them that are taken.
    pub used: usize,
    /// Bytes of them that are free.
    pub free: usize,
    /// Chunks that are being removed.
    pub draining: usize,
    /// Bytes that are still held in those.
    pub draining_used: usize,
    /// Bytes of `used` and of `draining_used` that caches keep, never more than the two together. The rest is held in
    /// allocations.
    pub cached: usize,
    /// Bytes of bookkeeping on the heap or on the pool's node.
    pub bookkeeping: usize,
    /// Calls that returned [`Exhausted`](crate::AllocError::Exhausted) or [`Taken`](crate::AllocError::Taken). Also
    /// counts the calls for which a [`Cache`](crate::Cache) would have returned one of these, had it not given back
    /// what it kept and tried again. The same goes for `contended`.
    pub exhausted: usize,
    /// Calls that returned [`Contended`](crate::AllocError::Contended).
    pub contended: usize,
    /// Calls that could not be served whatever was free: of no bytes, unsuitable for the algorithm, or impossible in
    /// the chunks that there were.
    pub unsuitable: usize,
    /// Calls that failed because an algorithm proposed granules that were taken or outside the chunk.
    pub bad_proposals: usize,
    /// Claims that were lost to a faster thread and retried.
    pub lost_claims: usize,
    /// Frees that were refused.
    pub refused_frees: usize,
    /// Panics of the pool's observer. Each ended where the observer was notified.
    pub observer_panics: usize,
}

impl Stats {
    pub(crate) fn gather(list: &ChunkList, shared: &Shared) -> Self {
        let (counters, order) = (&shared.counters, shared.order);
        let mut stats = Self {
            cached: shared.slots.granules() << order,
            bookkeeping: size_of::<Shared>()
                + shared.slots.footprint()
                + shared.chunk_set.footprint()
                + list.footprint(),
            exhausted: counters.read(0),
            contended: counters.read(1),
            lost_claims: counters.read(2),
            refused_frees: counters.read(3),
            unsuitable: counters.read(4),
            bad_proposals: counters.read(5),
            observer_panics: shared.observer_panics(),
            ..Self::default()
        };
        for chunk in list.chunks() {
            let used = chunk.bitmap().taken() << order;
            if chunk.state() == State::Alive {
                stats.chunks += 1;
                stats.size += chunk.size();
                stats.used += used;
                stats.free += chunk.size() - used;
            } else {
                stats.draining += 1;
                stats.draining_used += used;
            }
        }
        // The values are read one after the other while other threads may change them.
        stats.cached = stats
            .cached
            .min(stats.used.saturating_add(stats.draining_used));
        stats
    }
}

/// How the free space of a pool is fragmented, as returned by
/// [`PoolView::fragmentation`](crate::PoolView::fragmentation).
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let pages: Vec<_> = (0..4).map(|_| pool.alloc(1)).collect::<Result<_, _>>()?;
/// let kept = pages.into_iter().nth(1); // the second; the others go back
/// let cut_up = pool.fragmentation();
/// assert_eq!((cut_up.free, cut_up.free_runs, cut_up.largest_run), (0x3000, 2, 0x2000));
/// // What no request can use at once, as a share of what is free:
/// assert_eq!(100 - 100 * cut_up.largest_run / cut_up.free, 34);
/// # drop(kept);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Fragmentation {
    /// Free bytes.
    pub free: usize,
    /// The number of maximal free runs.
    pub free_runs: usize,
    /// Bytes of the largest run.
    pub largest_run: usize,
}

impl Fragmentation {
    pub(crate) fn gather(list: &ChunkList, order: u32) -> Self {
        let mut all = Self::default();
        let alive = |chunk: &&crate::sync::Arc<Chunk>| chunk.state() == State::Alive;
        for chunk in list.chunks().filter(alive) {
            for run in chunk.bitmap().free_runs(Granule(0), 1, Look::Exact) {
                let bytes = run.len << order;
                all.free += bytes;
                all.free_runs += 1;
                all.largest_run = all.largest_run.max(bytes);
            }
        }
        all
    }
}

/// A range that is held, as [`PoolView::live`](crate::PoolView::live) lists it and [`Destroyed`] reports it.
///
/// ```
/// use genpool::{ChunkSpec, Pool};
///
/// let pool = Pool::builder().order(12).boundary_tracking().build()?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x4000).owner("bank 0"))?;
/// let _buffer = pool.alloc(5000)?;
/// for held in pool.live()? {
///     let owner = held.owner.as_ref().and_then(|owner| owner.downcast_ref::<&str>());
///     assert_eq!((held.addr, held.size, owner), (0x1000, 8192, Some(&"bank 0")));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Held {
    /// The address of the first byte.
    pub addr: usize,
    /// The size in bytes, in whole granules.
    pub size: usize,
    /// The holder's tag, 0 if it set none. `None` without boundary tracking: neighbouring allocations then appear as
    /// one range.
    pub tag: Option<usize>,
    /// The value of the chunk's owner.
    pub owner: Option<Owner>,
}

impl Held {
    /// Returns the owner's value if it is a string.
    #[must_use]
    pub fn owner_name(&self) -> Option<&str> {
        text_of(self.owner.as_ref()?)
    }
}

/// Returns the value of a chunk's owner if it is a string. For the workspace's reports.
#[doc(hidden)]
#[must_use]
pub fn owner_name(owner: &Owner) -> Option<&str> {
    text_of(owner)
}

/// Contains panics of owners' destructors, so that several of them can be dropped together.
impl Drop for Held {
    fn drop(&mut self) {
        contained(|| drop(self.owner.take()));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("addr", &format_args!("{:#x}", self.addr))
            .field("size", &format_args!("{:#x}", self.size))
            .field("tag", &self.tag)
            .field("owner", &self.owner.is_some())
            .finish()
    }
}

/// What was still held when a pool ended. `Display` prints a line for each range, with its tag and the owner of its
/// chunk if there are any.
///
/// ```
/// use genpool::{ChunkSpec, Pool};
///
/// let pool = Pool::builder().order(12).name("rings").boundary_tracking().build()?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x4000).owner("bank 0"))?;
/// let ring = pool.alloc_owned(5000)?;
/// ring.set_tag(7);
/// let text = "pool rings: 8192 bytes still held in 1 range\n  0x2000 bytes at 0x1000, tag 0x7, owner bank 0";
/// assert_eq!(pool.destroy().to_string(), text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "says what was still held"]
#[non_exhaustive]
pub struct Destroyed {
    /// The pool's name.
    pub name: Option<String>,
    /// Sorted by address.
    pub held: Vec<Held>,
}

impl fmt::Display for Destroyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("unnamed");
        let bytes: usize = self.held.iter().map(|held| held.size).sum();
        let ranges = self.held.len();
        let plural = if ranges == 1 { "" } else { "s" };
        write!(
            f,
            "pool {name}: {bytes} bytes still held in {ranges} range{plural}"
        )?;
        for held in &self.held {
            write!(f, "\n  {:#x} bytes at {:#x}", held.size, held.addr)?;
            if let Some(tag) = held.tag.filter(|&tag| tag != 0) {
                write!(f, ", tag {tag:#x}")?;
            }
            if let Some(owner) = held.owner_name() {
                write!(f, ", owner {owner}")?;
            }
        }
        Ok(())
    }
}

/// Returns at most `most` ranges that are held in the chunks of a list, sorted by address: single allocations if
/// boundaries are tracked, otherwise runs.
pub(crate) fn held_in(list: &ChunkList, most: usize) -> Vec<Held> {
    let mut chunks: Vec<_> = list.chunks().collect();
    chunks.sort_unstable_by_key(|chunk| chunk.start());
    let held = chunks.into_iter().flat_map(|chunk| held_of(chunk));
    held.take(most).collect()
}

fn held_of(chunk: &Chunk) -> impl Iterator<Item = Held> {
    let held = |granule, granules: usize, tag| Held {
        addr: chunk.addr_of(granule),
        size: granules << chunk.order(),
        tag,
        owner: chunk.owner().cloned(),
    };
    let boundary_tags = chunk.boundary_tags();
    let recorded = boundary_tags.into_iter().flat_map(move |boundary_tags| {
        let live = boundary_tags.live();
        live.map(move |(start, ownership)| {
            held(start, ownership.len(), Some(boundary_tags.tag(start)))
        })
    });
    let runs = boundary_tags.is_none().then(|| chunk.bitmap().taken_runs());
    let runs = runs.into_iter().flatten();
    recorded.chain(runs.map(move |run| held(run.start, run.len, None)))
}
