//! What is measured, and what the figures should be.

mod rows;

use std::fmt;

use genpool::{BestFit, FirstFit, ThreadStart};
use genpool_plain::Fit;

use crate::cell::{Cell, Measured};
use crate::contestant::{
    BuildFailure, ByAddress, Contestant, Floor, Layout, Locked, Ours, bookkeeping,
};
use crate::load::{Churn, Pair, PhysOf, Refusal};
use crate::scene::Scene;

/// Chunks that take the place of one.
const CHUNKS: usize = 1024;

/// How much larger the large pools are.
const GROWTH: usize = 64;

/// Alloc and free of one granule.
const PAIR: Work = Work::Pair { granules: 1 };

/// A contestant with its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// One `fetch_or` and one `fetch_and`.
    Floor,
    /// genpool, first fit.
    FirstFit,
    /// genpool, first fit, allocations given back by address.
    FirstFitByAddress,
    /// genpool, threads with start positions of their own.
    ThreadStart,
    /// genpool, best fit.
    BestFit,
    /// Mutex and plain bitmap, first fit.
    MutexFirstFit,
    /// Mutex and plain bitmap, best fit.
    MutexBestFit,
}

impl Who {
    /// All contestants, in the order of a table.
    pub const ALL: [Self; 7] = [
        Self::Floor,
        Self::FirstFit,
        Self::FirstFitByAddress,
        Self::ThreadStart,
        Self::BestFit,
        Self::MutexFirstFit,
        Self::MutexBestFit,
    ];

    fn is_ours(self) -> bool {
        matches!(
            self,
            Self::FirstFit | Self::FirstFitByAddress | Self::ThreadStart | Self::BestFit
        )
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor: fetch_or + fetch_and",
            Self::FirstFit => "genpool, first fit",
            Self::FirstFitByAddress => "genpool, first fit, free by address",
            Self::ThreadStart => "genpool, thread start",
            Self::BestFit => "genpool, best fit",
            Self::MutexFirstFit => "mutex + plain bitmap, first fit",
            Self::MutexBestFit => "mutex + plain bitmap, best fit",
        })
    }
}

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
    fn has_several(self) -> bool {
        matches!(self.0, 1 | 3 | 6)
    }

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
    /// Random sizes in a pool 70 % full.
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
}

impl Section {
    /// All sections, in order.
    pub const ALL: [Self; 8] = [
        Self::Pair,
        Self::Churn,
        Self::NearlyFull,
        Self::BestFit,
        Self::Growth,
        Self::Runs,
        Self::Chunks,
        Self::Refusal,
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
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            granules: 65_536,
            order: 12,
            threads: 2,
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
        };
        rows.retain(|row| self.threads > 1 || !row.column.is_some_and(Column::has_several));
        // The targets were set for this size, and for two threads where there are several.
        for row in &mut rows {
            if self.granules != Self::default().granules || row.threads > 2 {
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

    /// Makes the pool and sets the scene.
    ///
    /// # Errors
    ///
    /// When a contestant refuses its layout or its scene.
    pub fn cell(&self) -> Result<Box<dyn Measured>, BuildFailure> {
        let layout = &self.layout;
        match self.who {
            Who::Floor => self.cell_of(Floor),
            Who::FirstFit => self.cell_of(Ours::new(layout, FirstFit)?),
            Who::FirstFitByAddress => self.cell_of(ByAddress::new(layout, FirstFit)?),
            Who::ThreadStart => self.cell_of(Ours::new(layout, ThreadStart)?),
            Who::BestFit => self.cell_of(Ours::new(layout, BestFit)?),
            Who::MutexFirstFit => self.cell_of(Locked::new(layout, Fit::FirstFit)?),
            Who::MutexBestFit => self.cell_of(Locked::new(layout, Fit::BestFit)?),
        }
    }

    fn cell_of<C: Contestant>(&self, pool: C) -> Result<Box<dyn Measured>, BuildFailure> {
        let (layout, scene, threads) = (self.layout, self.scene, self.threads);
        let granule = layout.granule();
        Ok(match self.work {
            Work::Pair { granules } => {
                let load = |handle, _| Pair::new(handle, granules * granule);
                Box::new(Cell::new(pool, &layout, scene, threads, load)?)
            }
            Work::Churn { per_mille, largest } => {
                let share = layout.granules * per_mille / 1000 / threads;
                let load =
                    |handle, thread| Churn::new(handle, layout.order, share, largest, thread);
                Box::new(Cell::new(pool, &layout, scene, threads, load)?)
            }
            Work::PhysOf => {
                let load = |handle, thread| PhysOf::new(handle, &layout, thread);
                Box::new(Cell::new(pool, &layout, scene, threads, load)?)
            }
            Work::Refusal => {
                let load = |handle, _| Refusal::new(handle, granule);
                Box::new(Cell::new(pool, &layout, scene, threads, load)?)
            }
        })
    }
}
