//! What is measured, and the targets.

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

/// The number of chunks in the rows with many.
const CHUNKS: usize = 1024;

/// How many times larger the large pools are.
const GROWTH: usize = 64;

/// Alloc and free of one granule.
const PAIR: Work = Work::Pair { granules: 1 };

/// The work of a thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Alloc and free of `granules` granules.
    Pair {
        /// The length.
        granules: usize,
    },
    /// Free of a random allocation and alloc of another.
    Churn {
        /// How much of the pool all threads hold, in thousandths.
        per_mille: usize,
        /// The largest allocation in granules. The smallest is one.
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
    /// Returns the titles, with the index of each column.
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

/// The upper limit of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// This many times the floor.
    Floor(f64),
    /// This many times the figure of the row with this name.
    Row(f64, &'static str),
}

/// One row: what is measured, and its target.
#[derive(Debug, Clone)]
pub struct Row {
    /// The section of the row.
    pub section: Section,
    /// What is measured.
    pub what: String,
    /// The contestant.
    pub who: Who,
    /// How many threads share the pool.
    pub threads: usize,
    /// The memory that the pool manages.
    pub layout: Layout,
    /// What is taken beforehand.
    pub scene: Scene,
    /// What each thread does.
    pub work: Work,
    /// The upper limit of the figure.
    pub target: Option<Target>,
    /// The column of the row in the table that compares contestants.
    pub column: Option<Column>,
    /// The name by which other rows' targets refer to this row.
    pub name: Option<&'static str>,
}

/// A group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Alloc and free of one granule.
    Pair,
    /// Random sizes in a pool that is usually 70 % full.
    Churn,
    /// Single granules in a pool that is almost full.
    NearlyFull,
    /// Churn with best fit.
    BestFit,
    /// Churn in a large pool.
    Growth,
    /// A long run after fragments.
    Runs,
    /// Many chunks instead of one.
    Chunks,
    /// Allocs that fail.
    Refusal,
    /// More threads than processors, so that threads are preempted in the middle.
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

    /// Returns the name of the section on the command line and in criterion.
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

/// The memory that a pool needs in addition to what it manages.
#[derive(Debug, Clone, PartialEq)]
pub struct Bookkeeping {
    /// The memory that the pool manages.
    pub layout: Layout,
    /// Whether boundary tracking is on.
    pub tracked: bool,
    /// The bytes that the pool reports.
    pub bytes: usize,
    /// The upper limit of the bytes: 1.3 bits a granule, 4 KiB a pool and 256 bytes a chunk.
    pub target: Option<usize>,
}

/// The sizes of the pools, and the number of threads in the rows that have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The granules of a pool unless a row says otherwise; a multiple of 16,384.
    pub granules: usize,
    /// A granule has `1 << order` bytes.
    pub order: u32,
    /// The threads in the rows that have several; 1 omits those rows.
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

    /// Returns the bookkeeping of genpool's pools.
    ///
    /// # Errors
    ///
    /// If a pool cannot be made.
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

    /// Returns the floor with this many threads, each with its own word.
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

    /// Returns the rows of a section, without the floor.
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
        // With one thread, the rows for several threads duplicate the others.
        for at in (0..rows.len()).rev() {
            if rows[..at].iter().any(|row| row.says_the_same(&rows[at])) {
                rows.remove(at);
            }
        }
        // The targets are for this size and occupancy, and for two threads in rows with several.
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

    /// Makes the pool and sets the scene, within the time `filling`.
    ///
    /// # Errors
    ///
    /// If a contestant refuses its layout or its scene, or the time runs out.
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
