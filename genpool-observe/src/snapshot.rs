//! A pool as a plain value, for who looks at it from elsewhere.

mod sums;

use std::error::Error;
use std::fmt;

use genpool_core::{ChunkInfo, Fragmentation, Pool, Stats};

use self::sums::{Free, Sums, held_in};

/// Entries of a snapshot, unless said: runs and live allocations together take 16 to 48 bytes each
/// (2026-11).
const ENTRIES: usize = 1 << 20;

/// What a pool looks like: its chunks, what is taken in them, and what is held. With the feature `serde`
/// it goes into JSON and back, and `genpool show` draws it.
///
/// # What agrees with what
///
/// It is taken while others allocate and free, and holds up nobody. Which chunks there are was so at one
/// instant. Everything else is read one after the other, a word of the bitmap or an allocation at a
/// time: each run was taken, and each allocation live, when it was read.
///
/// A snapshot agrees with itself all the same, and [`check`](Self::check) requires it: the totals of bytes and of
/// chunks are those of the runs in it, an allocation that came after its run was read is left out, and `cached` is
/// no more than what is taken and in no allocation. When nobody moves, all of it is what the pool's own calls
/// answer.
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
    /// Of this layout: [`VERSION`](Self::VERSION).
    pub version: u32,
    /// The pool's name.
    pub name: Option<String>,
    /// A granule is `1 << order` bytes.
    pub order: u32,
    /// Whether boundaries are tracked.
    pub tracked: bool,
    /// Totals, which are those of `chunks`, and counts.
    pub stats: Stats,
    /// How the free space is cut up.
    pub fragmentation: Fragmentation,
    /// By address.
    pub chunks: Vec<ChunkShot>,
    /// The live allocations, by address, where boundaries are tracked.
    pub live: Option<Vec<LiveShot>>,
    /// Whether runs or allocations were left out, because there were more than should be kept.
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
    /// Bytes.
    pub size: usize,
    /// The physical address of its first byte, if it was given.
    pub phys: Option<u64>,
    /// The owner's value, if that is a text.
    pub owner: Option<String>,
    /// Whether it is being removed.
    pub draining: bool,
    /// The runs of granules that are taken, upwards: the first granule, and how many. What caches keep is
    /// among them.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LiveShot {
    /// The address of its first byte.
    pub addr: usize,
    /// Bytes, whole granules.
    pub size: usize,
    /// The holder's tag; 0 if it gave none.
    pub tag: usize,
}

impl Snapshot {
    /// The layout that this crate writes.
    pub const VERSION: u32 = 1;

    /// A snapshot of at most a million runs and live allocations. Linear in the granules. Not
    /// [signal-safe](genpool_core#signal-safety).
    #[must_use]
    pub fn of(pool: &Pool) -> Self {
        Self::at_most(pool, ENTRIES)
    }

    /// A snapshot of at most so many runs and live allocations together, runs first. It says so if
    /// there were [more](Self::cut). Costs what [`of`](Self::of) does, and memory for so many, whatever
    /// there is.
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
    pub fn at_most(pool: &Pool, entries: usize) -> Self {
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
            // One more says that there are more.
            let held = pool.held(left.saturating_add(1));
            cut |= held.len() > left;
            let mut list: Vec<LiveShot> = Vec::new();
            for held in held.iter().take(left) {
                let live = LiveShot {
                    addr: held.addr,
                    size: held.size,
                    tag: held.tag.unwrap_or(0),
                };
                // What came since the runs were read is in none of them, or overlaps what went.
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

    /// Whether it could be one of a pool, for a snapshot from a file: everything that arithmetic on it relies on, and
    /// that its parts agree with each other. Linear in its size.
    ///
    /// Of a snapshot that is [`cut`](Self::cut) the totals cover more than the runs, so they must be possible, and no
    /// less than those of the runs.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::observe::{NoSnapshot, Snapshot};
    /// let mut snapshot = Snapshot::of(&Pool::new(12)?);
    /// assert_eq!(snapshot.check(), Ok(()));
    /// snapshot.order = 64;
    /// assert_eq!(snapshot.check(), Err(NoSnapshot::Order(64)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoSnapshot`] says what cannot be.
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
    /// The chunk, and what is free in it.
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

    /// Granules that are taken.
    #[must_use]
    pub fn taken_granules(&self) -> usize {
        let lengths = self.taken.iter().map(|&(_, len)| len);
        // No sum of what was checked; what was not may hold anything.
        lengths.fold(0, usize::saturating_add)
    }
}

/// Why a value is no snapshot of a pool: [`Snapshot::check`] says it.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoSnapshot {
    /// Its layout is another one.
    Version(u32),
    /// A granule would have more bytes than there are addresses.
    Order(u32),
    /// A chunk is empty, wraps, does not consist of whole granules, or is not behind the one before it.
    Chunk {
        /// Where it starts.
        start: usize,
        /// Bytes.
        size: usize,
    },
    /// The physical addresses of a chunk wrap.
    Phys {
        /// Where the chunk starts.
        start: usize,
        /// The physical address of its first byte.
        phys: u64,
    },
    /// A run is empty, leaves its chunk, or is not behind the one before it, with a free granule in between.
    Run {
        /// Where the chunk starts.
        start: usize,
        /// The run's first granule.
        first: usize,
        /// How many it has.
        len: usize,
    },
    /// An allocation is empty, does not consist of whole granules, is not behind the one before it, or is not within
    /// a run that is taken.
    Live {
        /// The address of its first byte.
        addr: usize,
        /// Bytes.
        size: usize,
    },
    /// A list of live allocations without boundary tracking, or none with it.
    Tracked {
        /// Whether boundaries are tracked.
        tracked: bool,
    },
    /// A total is not what follows from the rest of the snapshot.
    Total {
        /// The total: `stats.used`, say.
        name: &'static str,
        /// What it is.
        says: usize,
        /// What it would have to be.
        is: usize,
    },
    /// A total is lower than the rest of the snapshot allows.
    TooLow {
        /// The total.
        name: &'static str,
        /// What it is.
        says: usize,
        /// The least that it could be.
        least: usize,
    },
    /// A total is higher than the rest of the snapshot allows.
    TooHigh {
        /// The total.
        name: &'static str,
        /// What it is.
        says: usize,
        /// The most that it could be.
        most: usize,
    },
}

impl fmt::Display for NoSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "a snapshot of version {version}; version {} is known",
                Snapshot::VERSION
            ),
            Self::Order(order) => write!(f, "order {order}: at most {}", usize::BITS - 1),
            Self::Chunk { start, size } => write!(
                f,
                "the chunk of {size:#x} bytes at {start:#x} is empty, wraps, is not of whole granules, or is not \
                 behind the one before it"
            ),
            Self::Run { start, first, len } => write!(
                f,
                "the run of {len} granules at granule {first} of the chunk at {start:#x} is empty, leaves the chunk, \
                 or is not behind the one before it"
            ),
            Self::Phys { start, phys } => write!(
                f,
                "the physical addresses of the chunk at {start:#x} wrap: they begin at {phys:#x}"
            ),
            Self::Live { addr, size } => write!(
                f,
                "the allocation of {size:#x} bytes at {addr:#x} is empty, is not of whole granules, is not behind the \
                 one before it, or is not taken"
            ),
            Self::Tracked { tracked: true } => {
                f.write_str("boundaries are tracked, but there is no list of live allocations")
            }
            Self::Tracked { tracked: false } => {
                f.write_str("boundaries are not tracked, but there is a list of live allocations")
            }
            Self::Total { name, says, is } => {
                write!(f, "`{name}` is {says}, where the rest comes to {is}")
            }
            Self::TooLow { name, says, least } => {
                write!(
                    f,
                    "`{name}` is {says}, where the rest allows no less than {least}"
                )
            }
            Self::TooHigh { name, says, most } => {
                write!(
                    f,
                    "`{name}` is {says}, where the rest allows no more than {most}"
                )
            }
        }
    }
}

impl Error for NoSnapshot {}
