//! What is measured, and what the figures should be.

mod rows;
mod who;

use std::time::{Duration, Instant};

use genpool::{BestFit, FirstFit, ThreadStart};
use genpool_plain::Fit;

use crate::cell::Cell;
use crate::contestant::{
    Buddy, BuildFailure, By, ByAddress, Contestant, Floor, Layout, Locked, Mutexed, OffsetTable,
    Ours, Plain, RangeList, ThroughCache, VmTree, bookkeeping,
};
use crate::load::{Churn, Pair, PhysOf, Refusal};
use crate::scene::Scene;

pub use who::Who;

/// Chunks that take the place of one.
const CHUNKS: usize = 1024;

/// How much larger the large pools are.
const GROWTH: usize = 64;

/// Alloc and free of one granule.
const PAIR: Work = Work::Pair { granules: 1 };

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Alloc and free of so many granules.
    Pair {
        /// Granules.
        granules: usize,
    },
    /// Free of a random allocation and alloc of another.
    Churn {
        /// How much of the pool all threads hold, in thousandths.
        per_mille: usize,
        /// The largest allocation in granules; the smallest is one.
        largest: usize,
    },
    /// Look-up of a physical address.
    PhysOf,
    /// An alloc of one granule that fails.
    Refusal,
}

/// A column of the table that compares contestants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column(pub usize);

impl Column {
    /// The titles, with the place of each.
    pub fn titles(threads: usize) -> Vec<String> {
        vec![
            "pair 1 thread".into(),
            format!("pair {threads} threads"),
            "churn 1".into(),
            format!("churn {threads}"),
            "90 %".into(),
            "99.9 %".into(),
            format!("99.9 %, {threads} threads"),
        ]
    }
}

/// What a figure should be at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// So many times the floor.
    Floor(f64),
    /// So many times the figure of the row with this name.
    Row(f64, &'static str),
}

/// One row: what is measured, and what it should be.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it belongs to.
    pub section: Section,
    /// What is measured.
    pub what: String,
    /// On which contestant.
    pub who: Who,
    /// How many threads share the pool.
    pub threads: usize,
    /// The memory that the pool manages.
    pub layout: Layout,
    /// What is taken beforehand.
    pub scene: Scene,
    /// What each thread does.
    pub work: Work,
    /// What the figure should be at most.
    pub target: Option<Target>,
    /// Where the figure appears in the table that compares contestants.
    pub column: Option<Column>,
    /// The name under which other rows' targets find this one.
    pub name: Option<&'static str>,
}

/// Rows that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Alloc and free of one granule.
    Pair,
    /// Random sizes in a pool that is usually 70 % full.
    Churn,
    /// Single granules in a pool almost full.
    NearlyFull,
    /// Churn with best fit.
    BestFit,
    /// Churn in a large pool.
    Growth,
    /// A long run behind fragments.
    Runs,
    /// Many chunks instead of one.
    Chunks,
    /// Allocs that fail.
    Refusal,
    /// More threads than processors, so that threads are stopped in the middle.
    Oversubscribed,
}

impl Section {
    /// All sections, in order.
    pub const ALL: [Self; 9] = [
        Self::Pair,
        Self::Churn,
        Self::NearlyFull,
        Self::BestFit,
        Self::Growth,
        Self::Runs,
        Self::Chunks,
        Self::Refusal,
        Self::Oversubscribed,
    ];

    /// The name that the command line and criterion know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Churn => "churn",
            Self::NearlyFull => "nearly-full",
            Self::BestFit => "best-fit",
            Self::Growth => "growth",
            Self::Runs => "runs",
            Self::Chunks => "chunks",
            Self::Refusal => "refusal",
            Self::Oversubscribed => "oversubscribed",
        }
    }
}

/// What one pool keeps beside the memory that it manages.
#[derive(Debug, Clone, PartialEq)]
pub struct Bookkeeping {
    /// The memory that the pool manages.
    pub layout: Layout,
    /// Whether it tracks boundaries.
    pub tracked: bool,
    /// Bytes, as the pool tells.
    pub bytes: usize,
    /// What the bytes should be at most: 1.3 bits a granule, 4 KiB a pool and 256 bytes a chunk.
    pub target: Option<usize>,
}

/// The pools' sizes and the number of threads of the rows that have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Granules of a pool, where nothing else is said; a multiple of 16,384.
    pub granules: usize,
    /// A granule has `1 << order` bytes.
    pub order: u32,
    /// Threads in the rows with several; 1 leaves those rows out.
    pub threads: usize,
    /// How much of the pool churn holds, in per cent.
    pub occupancy: usize,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            granules: 65_536,
            order: 12,
            threads: 2,
            occupancy: 70,
        }
    }
}

impl Scale {
    fn layout(&self) -> Layout {
        Layout {
            order: self.order,
            granules: self.granules,
            chunks: 1,
        }
    }

    fn large(&self) -> Layout {
        Layout {
            granules: self.granules * GROWTH,
            ..self.layout()
        }
    }

    fn many(&self) -> Layout {
        Layout {
            chunks: CHUNKS,
            ..self.layout()
        }
    }

    /// The bookkeeping of genpool's pools.
    ///
    /// # Errors
    ///
    /// When a pool cannot be made.
    pub fn bookkeeping(&self) -> Result<Vec<Bookkeeping>, BuildFailure> {
        let layouts = [self.layout(), self.large(), self.many()];
        let all = layouts
            .into_iter()
            .flat_map(|layout| [(layout, false), (layout, true)]);
        all.map(|(layout, tracked)| {
            let target = layout.granules * 13 / 80 + 4096 + 256 * layout.chunks;
            Ok(Bookkeeping {
                layout,
                tracked,
                bytes: bookkeeping(&layout, tracked)?,
                target: (!tracked).then_some(target),
            })
        })
        .collect()
    }

    /// The floor with so many threads, each with a word of its own.
    pub fn floor(&self, threads: usize) -> Row {
        let mut row = Row::new(
            Section::Pair,
            Who::Floor,
            threads,
            self.layout(),
            PAIR,
            "alloc + free",
        );
        row.column = Some(Column(usize::from(threads > 1)));
        row
    }

    /// The rows of a section, without the floor.
    pub fn rows(&self, section: Section) -> Vec<Row> {
        let mut rows = match section {
            Section::Pair => self.pair(),
            Section::Churn => self.churn(),
            Section::NearlyFull => self.nearly_full(),
            Section::BestFit => self.best_fit(),
            Section::Growth => self.growth(),
            Section::Runs => self.runs(),
            Section::Chunks => self.chunks(),
            Section::Refusal => self.refusal(),
            Section::Oversubscribed => self.oversubscribed(),
        };
        // With one thread, the rows with several say what the others say.
        for at in (0..rows.len()).rev() {
            if rows[..at].iter().any(|row| row.says_the_same(&rows[at])) {
                rows.remove(at);
            }
        }
        // The targets were set for this size and occupancy, and for two threads where there are several.
        let usual = Self {
            order: self.order,
            threads: self.threads,
            ..Self::default()
        };
        for row in &mut rows {
            if *self != usual || row.threads > 2 {
                row.target = None;
            }
        }
        rows
    }
}

impl Row {
    fn new(
        section: Section,
        who: Who,
        threads: usize,
        layout: Layout,
        work: Work,
        what: impl Into<String>,
    ) -> Self {
        Self {
            section,
            what: what.into(),
            who,
            threads,
            layout,
            scene: Scene::Empty,
            work,
            target: None,
            column: None,
            name: None,
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (&self.what, self.who, self.threads) == (&other.what, other.who, other.threads)
    }

    fn at(mut self, column: usize) -> Self {
        self.column = Some(Column(column));
        self
    }

    fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Makes the pool and sets the scene, for which it has so much time.
    ///
    /// # Errors
    ///
    /// When a contestant refuses its layout or its scene, or the time is over.
    pub fn cell(&self, filling: Duration) -> Result<Cell, BuildFailure> {
        let layout = &self.layout;
        let deadline = Instant::now() + filling;
        match self.who {
            Who::Floor => self.cell_of(Floor, deadline),
            Who::FirstFit => self.cell_of(Ours::new(layout, FirstFit, Plain)?, deadline),
            Who::FirstFitByAddress => {
                self.cell_of(Ours::new(layout, FirstFit, ByAddress)?, deadline)
            }
            Who::ThreadStart => {
                self.cell_of(Ours::new(layout, FirstFit, By(ThreadStart))?, deadline)
            }
            Who::Cached => self.cell_of(Ours::new(layout, FirstFit, ThroughCache)?, deadline),
            Who::BestFit => self.cell_of(Ours::new(layout, BestFit, Plain)?, deadline),
            Who::MutexFirstFit => self.cell_of(Locked::new(layout, Fit::FirstFit)?, deadline),
            Who::MutexBestFit => self.cell_of(Locked::new(layout, Fit::BestFit)?, deadline),
            Who::Buddy => self.cell_of(Mutexed::<Buddy>::new(layout)?, deadline),
            Who::RangeAlloc => self.cell_of(Mutexed::<RangeList>::new(layout)?, deadline),
            Who::OffsetAllocator => self.cell_of(Mutexed::<OffsetTable>::new(layout)?, deadline),
            Who::VmAllocator => self.cell_of(Mutexed::<VmTree>::new(layout)?, deadline),
        }
    }

    fn cell_of<C: Contestant>(&self, pool: C, deadline: Instant) -> Result<Cell, BuildFailure> {
        let (layout, threads) = (self.layout, self.threads);
        let scene = (self.scene, deadline);
        let granule = layout.granule();
        match self.work {
            Work::Pair { granules } => {
                let load = |handle, _| Pair::new(handle, granules * granule);
                Cell::new(pool, &layout, scene, threads, load)
            }
            Work::Churn { per_mille, largest } => {
                let share = layout.granules * per_mille / 1000 / threads;
                let load =
                    |handle, thread| Churn::new(handle, layout.order, share, largest, thread);
                Cell::new(pool, &layout, scene, threads, load)
            }
            Work::PhysOf => {
                let load = |handle, thread| PhysOf::new(handle, &layout, thread);
                Cell::new(pool, &layout, scene, threads, load)
            }
            Work::Refusal => {
                let load = |handle, _| Refusal::new(handle, granule);
                Cell::new(pool, &layout, scene, threads, load)
            }
        }
    }
}
