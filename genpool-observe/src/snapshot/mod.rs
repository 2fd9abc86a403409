//! A pool as a plain value, to look at elsewhere.

mod sums;

use std::fmt;

use genpool_core::{ChunkInfo, Fragmentation, PoolView, Stats};
use thiserror::Error;

use self::sums::{Free, Sums, held_in};

/// The default limit of a snapshot's entries. Runs and live allocations take 16 to 48 bytes each (2026-11).
const ENTRIES: usize = 1 << 20;

/// The state of a pool as a plain value: its chunks, the runs taken in them, and the live allocations. With the feature
/// `serde` it converts to JSON and back, and `genpool show` draws it.
///
/// # Consistency
///
/// A snapshot is taken while other threads allocate and free, and blocks none of them. The list of chunks is that of
/// one instant. Everything else is read piece by piece, a word of the bitmap or an allocation at a time: each run was
/// taken, and each allocation live, when it was read.
///
/// A snapshot is still consistent with itself, and [`check`](Self::check) requires that. The totals of bytes and of
/// chunks are those of its runs. An allocation made after its run was read is left out. `cached` is at most what is
/// taken and not part of an allocation. If no call is in progress, everything equals what the pool's own methods
/// return.
///
/// ```
/// // features = ["observe", "serde"]
/// // dependencies = { serde_json = "1" }
/// use genpool::observe::Snapshot;
/// use genpool::{ChunkSpec, Pool};
///
/// let pool = Pool::builder().order(12).name("sram").boundary_tracking().build()?;
/// pool.add_chunk(ChunkSpec::new(0x10_0000, 0x8000).owner("bank 0"))?;
/// let held = pool.alloc(5000)?;
///
/// let snapshot = Snapshot::of(&pool);
/// assert_eq!(snapshot.chunks[0].taken, [(0, 2)]);
/// assert_eq!(snapshot.live.as_ref().unwrap()[0].size, 0x2000);
/// # #[cfg(feature = "serde")]
/// # {
/// let json = serde_json::to_string(&snapshot)?;
/// let back: Snapshot = serde_json::from_str(&json)?;
/// assert_eq!(back, snapshot);
/// # }
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of this layout: [`VERSION`](Self::VERSION).
    pub version: u32,
    /// The pool's name.
    pub name: Option<String>,
    /// A granule is `1 << order` bytes.
    pub order: u32,
    /// Whether boundaries are tracked.
    pub tracked: bool,
    /// Totals, which agree with `chunks`, and counts.
    pub stats: Stats,
    /// How fragmented the free space is.
    pub fragmentation: Fragmentation,
    /// The chunks, by address.
    pub chunks: Vec<ChunkShot>,
    /// The live allocations, by address, if boundaries are tracked.
    pub live: Option<Vec<LiveShot>>,
    /// Whether runs or allocations were left out because there were more than the limit.
    pub cut: bool,
}

/// A chunk of a [`Snapshot`].
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::Snapshot;
///
/// let pool = Pool::new(12)?;
/// pool.add_virt(0x10_0000, 0x8000_0000, 0x8000)?;
/// let [a, b, c] = [pool.alloc(4096)?, pool.alloc(4096)?, pool.alloc(8192)?];
/// drop(b);
///
/// let chunk = &Snapshot::of(&pool).chunks[0];
/// assert_eq!((chunk.start, chunk.size, chunk.phys), (0x10_0000, 0x8000, Some(0x8000_0000)));
/// assert_eq!(chunk.taken, [(0, 1), (2, 2)]); // granule 0, and two from granule 2 on
/// assert_eq!(chunk.taken_granules(), 3);
/// # drop((a, c));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ChunkShot {
    /// The address of its first byte.
    pub start: usize,
    /// Its size in bytes.
    pub size: usize,
    /// The physical address of its first byte, if one was given.
    pub phys: Option<u64>,
    /// The owner's value, if that is text.
    pub owner: Option<String>,
    /// Whether it is being removed.
    pub draining: bool,
    /// The runs of taken granules, in ascending order: the first granule, and how many. They include what caches keep.
    pub taken: Vec<(usize, usize)>,
}

/// A live allocation of a [`Snapshot`].
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::Snapshot;
///
/// let pool = Pool::builder().order(12).boundary_tracking().build()?;
/// pool.add(0x10_0000, 0x8000)?;
/// let ring = pool.alloc(5000)?;
/// ring.set_tag(7);
///
/// let live = Snapshot::of(&pool).live.ok_or("boundaries are tracked")?;
/// assert_eq!((live[0].addr, live[0].size, live[0].tag), (0x10_0000, 0x2000, 7));
/// # drop(ring);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LiveShot {
    /// The address of its first byte.
    pub addr: usize,
    /// Its size in bytes, a multiple of the granule.
    pub size: usize,
    /// The holder's tag; 0 if none was set.
    pub tag: usize,
}

impl fmt::Debug for LiveShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveShot")
            .field("addr", &format_args!("{:#x}", self.addr))
            .field("size", &format_args!("{:#x}", self.size))
            .field("tag", &format_args!("{:#x}", self.tag))
            .finish()
    }
}

impl Snapshot {
    /// The version of the layout that this crate writes.
    pub const VERSION: u32 = 1;

    /// Takes a snapshot of at most a million runs and live allocations. Linear in the granules. Not
    /// [signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn of(pool: &PoolView) -> Self {
        Self::at_most(pool, ENTRIES)
    }

    /// Takes a snapshot of at most `entries` runs and live allocations together, runs first. [`cut`](Self::cut) says
    /// whether there were more. Takes as long as [`of`](Self::of), and memory for `entries` at most, whatever the pool
    /// holds.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::observe::Snapshot;
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let mut held = pool.alloc_many(&[4096; 4])?;
    /// drop(held.remove(1));
    /// let snapshot = Snapshot::at_most(&pool, 1);
    /// assert_eq!((snapshot.chunks[0].taken.as_slice(), snapshot.cut), (&[(0, 1)][..], true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn at_most(pool: &PoolView, entries: usize) -> Self {
        let order = pool.order();
        let mut left = entries;
        let mut cut = false;
        let mut sums = Sums::default();
        let mut chunks: Vec<ChunkShot> = pool
            .chunks()
            .map(|chunk| {
                let (shot, free) = ChunkShot::of(&chunk, order, &mut left, &mut cut);
                sums.add(shot.draining, shot.size, free);
                shot
            })
            .collect();
        chunks.sort_unstable_by_key(|chunk| chunk.start);
        let live = pool.is_tracked().then(|| {
            // One more than fits shows that there are more.
            let held = pool.held(left.saturating_add(1));
            cut |= held.len() > left;
            let mut list: Vec<LiveShot> = Vec::new();
            for held in held.iter().take(left) {
                let live = LiveShot {
                    addr: held.addr,
                    size: held.size,
                    tag: held.tag.unwrap_or(0),
                };
                // An allocation made after the runs were read is in none of them, or overlaps one that was freed.
                if live.is_after(list.last()) && live.is_in_a_run_of(&chunks, order) {
                    list.push(live);
                }
            }
            list
        });
        let mut stats = pool.stats();
        let mut fragmentation = pool.fragmentation();
        sums.put_into(&mut stats, &mut fragmentation);
        let unheld = sums.taken().saturating_sub(held_in(live.as_deref()));
        stats.cached = stats.cached.min(unheld);
        Self {
            version: Self::VERSION,
            name: pool.name().map(str::to_owned),
            order,
            tracked: pool.is_tracked(),
            stats,
            fragmentation,
            chunks,
            live,
            cut,
        }
    }

    /// Checks that this could be a snapshot of a pool, for one that was read from a file: everything that arithmetic on
    /// it relies on, and that its parts agree with each other. Linear in its size.
    ///
    /// If a snapshot is [`cut`](Self::cut), its totals cover more than its runs. They must then be possible, and no
    /// less than those of the runs.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::observe::{NoSnapshot, Snapshot};
    /// let pool = Pool::new(12)?;
    /// let mut snapshot = Snapshot::of(&pool);
    /// assert_eq!(snapshot.check(), Ok(()));
    /// snapshot.order = 64;
    /// assert_eq!(snapshot.check(), Err(NoSnapshot::Order(64)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoSnapshot`] names the first contradiction.
    pub fn check(&self) -> Result<(), NoSnapshot> {
        if self.version != Self::VERSION {
            return Err(NoSnapshot::Version(self.version));
        }
        if self.order >= usize::BITS {
            return Err(NoSnapshot::Order(self.order));
        }
        let sums = self.check_chunks()?;
        self.check_live()?;
        self.check_totals(&sums)
    }
}

impl ChunkShot {
    /// Returns the chunk, and what is free in it.
    fn of(chunk: &ChunkInfo, order: u32, left: &mut usize, cut: &mut bool) -> (Self, Free) {
        let granules = chunk.size() >> order;
        let mut taken = Vec::new();
        let mut free = Free::default();
        let mut at = 0;
        let runs = chunk.free_runs().map(|run| (run.start.0, run.len));
        for (start, len) in runs.chain([(granules, 0)]) {
            if at < start {
                if *left == 0 {
                    *cut = true;
                } else {
                    *left -= 1;
                    taken.push((at, start - at));
                }
            }
            free.add(len << order);
            at = start + len;
        }
        let shot = Self {
            start: chunk.start(),
            size: chunk.size(),
            phys: chunk.phys(),
            owner: chunk.owner_name().map(str::to_owned),
            draining: chunk.is_draining(),
            taken,
        };
        (shot, free)
    }

    /// Returns how many granules are taken.
    #[must_use]
    pub fn taken_granules(&self) -> usize {
        let lengths = self.taken.iter().map(|&(_, len)| len);
        // The sum of a checked snapshot does not overflow; an unchecked one may hold any numbers.
        lengths.fold(0, usize::saturating_add)
    }
}

/// Why a value is not a snapshot of a pool, from [`Snapshot::check`].
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::{NoSnapshot, Snapshot};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let mut read = Snapshot::of(&pool); // from a file, say
/// read.chunks[0].taken = vec![(3, 2)];
/// let reason = NoSnapshot::Run { start: 0x1000, first: 3, len: 2 };
/// assert_eq!(read.check(), Err(reason)); // it has four granules
/// println!("{reason}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoSnapshot {
    /// Its layout has another version.
    #[error("version {0}: version {known} is known", known = Snapshot::VERSION)]
    Version(u32),
    /// A granule would be larger than the address space.
    #[error("order {0}: at most {most}", most = usize::BITS - 1)]
    Order(u32),
    /// A chunk is empty, wraps, does not consist of whole granules, or does not come after the one before it.
    #[error(
        "the chunk of {size:#x} bytes at {start:#x} is empty, wraps, is not of whole granules, or is not after the one before it"
    )]
    Chunk {
        /// The chunk's first address.
        start: usize,
        /// The chunk's size in bytes.
        size: usize,
    },
    /// The physical addresses of a chunk wrap.
    #[error("the physical addresses of the chunk at {start:#x} wrap: they begin at {phys:#x}")]
    Phys {
        /// The chunk's first address.
        start: usize,
        /// The physical address of its first byte.
        phys: u64,
    },
    /// A run is empty, leaves its chunk, or does not come after the one before it with a free granule in between.
    #[error(
        "the run of {len} granules at granule {first} of the chunk at {start:#x} is empty, leaves the chunk, or is not after the one before it"
    )]
    Run {
        /// The chunk's first address.
        start: usize,
        /// The run's first granule.
        first: usize,
        /// How many granules it has.
        len: usize,
    },
    /// An allocation is empty, does not consist of whole granules, does not come after the one before it, or is not
    /// inside a taken run.
    #[error(
        "the allocation of {size:#x} bytes at {addr:#x} is empty, is not of whole granules, is not after the one before it, or is not taken"
    )]
    Live {
        /// The address of its first byte.
        addr: usize,
        /// Its size in bytes.
        size: usize,
    },
    /// A list of live allocations without boundary tracking, or no list with it.
    #[error("boundaries are {} list of live allocations", if *tracked { "tracked, but there is no" } else { "not tracked, but there is a" })]
    Tracked {
        /// Whether boundaries are tracked.
        tracked: bool,
    },
    /// A total differs from the one that follows from the rest of the snapshot.
    #[error("`{name}` is {says}, where the rest comes to {is}")]
    Total {
        /// The name of the total, such as `stats.used`.
        name: &'static str,
        /// Its value.
        says: usize,
        /// The value that follows from the rest.
        is: usize,
    },
    /// A total is lower than the rest of the snapshot allows.
    #[error("`{name}` is {says}, where the rest allows no less than {least}")]
    TooLow {
        /// The name of the total.
        name: &'static str,
        /// Its value.
        says: usize,
        /// The least possible value.
        least: usize,
    },
    /// A total is higher than the rest of the snapshot allows.
    #[error("`{name}` is {says}, where the rest allows no more than {most}")]
    TooHigh {
        /// The name of the total.
        name: &'static str,
        /// Its value.
        says: usize,
        /// The greatest possible value.
        most: usize,
    },
}
