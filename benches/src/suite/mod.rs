//! What is measured, and the targets.

mod chunks;
mod rows;
mod targets;
mod who;

use std::time::{Duration, Instant};

use genpool::SpreadFit;
use genpool_plain::Fit;

use crate::before::Before;
use crate::cell::Cell;
use crate::contestant::{
    Buddy, BuildFailure, By, Floor, Layout, Locked, Mutexed, OffsetTable, Ours, RangeList, Sharded,
    VmTree,
};
use crate::crew::Crew;
use crate::measure::{Measure, Round};
use crate::scene::Scene;
use crate::subject::Subject;
use crate::task::{Task, Work};

pub use targets::{Bound, Column, Side, Spot, Target};
pub use who::Who;

/// The number of chunks in the rows with many.
const CHUNKS: usize = 1024;

/// How many times larger the large pools are.
const GROWTH: usize = 64;

/// Threads in the rows in which threads outnumber the processors of small machines.
const CROWD: usize = 16;

/// One row: a contestant, and what is measured.
#[derive(Debug, Clone)]
pub struct Row {
    /// The section of the row.
    pub section: Section,
    /// What is measured.
    pub what: String,
    /// The contestant.
    pub who: Who,
    /// The memory that the pool manages.
    pub layout: Layout,
    /// How many threads share the pool.
    pub threads: usize,
    /// How it is measured.
    pub kind: Kind,
}

/// How a row is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Threads work on a pool.
    Load {
        /// What is taken beforehand.
        scene: Scene,
        /// What each thread does.
        work: Work,
    },
    /// All chunks are added one by one, then removed one by one.
    Chunks,
    /// The pool says how many bytes of bookkeeping it has.
    Bookkeeping {
        /// Whether boundary tracking is on.
        tracked: bool,
    },
}

/// A group of rows, which are measured in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Alloc and free of one granule.
    Pair,
    /// Random sizes in a pool that is usually 70 % full.
    Churn,
    /// Single granules in a pool that is almost full.
    NearlyFull,
    /// Churn in a large pool.
    Growth,
    /// A long run after fragments.
    Runs,
    /// Many chunks instead of one.
    Chunks,
    /// Allocs that fail.
    Refusal,
    /// Sixteen threads, so that on a small machine threads are preempted in the middle.
    Crowd,
    /// Churn with each alloc timed by itself.
    Latency,
    /// How the free granules lie after churn.
    Fragments,
    /// Chunks that are added and removed.
    Changes,
    /// The memory that a pool needs in addition to what it manages.
    Bookkeeping,
}

impl Section {
    /// All sections, in order.
    pub const ALL: [Self; 12] = [
        Self::Pair,
        Self::Churn,
        Self::NearlyFull,
        Self::Growth,
        Self::Runs,
        Self::Chunks,
        Self::Refusal,
        Self::Crowd,
        Self::Latency,
        Self::Fragments,
        Self::Changes,
        Self::Bookkeeping,
    ];

    /// Returns the name of the section on the command line and in criterion.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Churn => "churn",
            Self::NearlyFull => "nearly-full",
            Self::Growth => "growth",
            Self::Runs => "runs",
            Self::Chunks => "chunks",
            Self::Refusal => "refusal",
            Self::Crowd => "crowd",
            Self::Latency => "latency",
            Self::Fragments => "fragments",
            Self::Changes => "changes",
            Self::Bookkeeping => "bookkeeping",
        }
    }

    /// Returns what is measured in the rows of the section.
    pub fn measures(self) -> &'static [Measure] {
        match self {
            Self::Latency => &[Measure::P50, Measure::P99, Measure::P999, Measure::Time],
            Self::Fragments => &[
                Measure::LongestRun,
                Measure::FreeRuns,
                Measure::Refused,
                Measure::LargeRefused,
            ],
            Self::Changes => &[Measure::Adding, Measure::Removing, Measure::Growth],
            Self::Bookkeeping => &[Measure::Bits],
            _ => &[Measure::Time],
        }
    }
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

    /// Returns the floor with this many threads, each with its own word.
    pub fn floor(&self, threads: usize) -> Row {
        self.row(Section::Pair, rows::PAIR, Who::Floor, threads)
    }

    /// Returns the rows of a section, without the floor.
    pub fn rows(&self, section: Section) -> Vec<Row> {
        let mut rows = match section {
            Section::Pair => self.pair(),
            Section::Churn => self.churn(),
            Section::NearlyFull => self.nearly_full(),
            Section::Growth => self.growth(),
            Section::Runs => self.runs(),
            Section::Chunks => self.chunks(),
            Section::Refusal => self.refusal(),
            Section::Crowd => self.crowd(),
            Section::Latency => self.latency(),
            Section::Fragments => self.fragments(),
            Section::Changes => self.changes(),
            Section::Bookkeeping => self.bookkeeping(),
        };
        // With one thread, the rows for several threads duplicate the others.
        for at in (0..rows.len()).rev() {
            if rows[..at].iter().any(|row| row.says_the_same(&rows[at])) {
                rows.remove(at);
            }
        }
        rows
    }

    /// Makes a row of pairs in the usual pool, which the caller changes as needed.
    fn row(&self, section: Section, what: impl Into<String>, who: Who, threads: usize) -> Row {
        Row {
            section,
            what: what.into(),
            who,
            layout: self.layout(),
            threads,
            kind: Kind::Load {
                scene: Scene::Empty,
                work: Work::Pair { granules: 1 },
            },
        }
    }
}

impl Row {
    fn says_the_same(&self, other: &Self) -> bool {
        (&self.what, self.who, self.threads) == (&other.what, other.who, other.threads)
    }

    fn work(mut self, to_do: Work) -> Self {
        if let Kind::Load { work, .. } = &mut self.kind {
            *work = to_do;
        }
        self
    }

    fn scene(mut self, to_set: Scene) -> Self {
        if let Kind::Load { scene, .. } = &mut self.kind {
            *scene = to_set;
        }
        self
    }

    fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Returns what the threads do, if it is a load.
    fn task(&self) -> Option<Task> {
        let Kind::Load { scene, work } = self.kind else {
            return None;
        };
        Some(Task {
            threads: self.threads,
            layout: self.layout,
            scene,
            work,
        })
    }

    /// Makes the pool of a load in this process and sets the scene, within the time `filling`.
    ///
    /// # Errors
    ///
    /// If the row has no such pool, a contestant refuses its layout or its scene, or the time runs out.
    pub fn cell(&self, filling: Duration) -> Result<Cell, BuildFailure> {
        let (task, layout) = (&self.task().ok_or(BuildFailure::Absent)?, &self.layout);
        let deadline = Instant::now() + filling;
        match self.who {
            Who::Floor => Cell::new(Floor, task, deadline),
            Who::Ours(call) => call.cell(task, deadline),
            Who::SpreadFit => {
                Cell::new(Ours::new(layout, SpreadFit, By(SpreadFit))?, task, deadline)
            }
            Who::Before(_) => Err(BuildFailure::Absent),
            Who::MutexFirstFit => Cell::new(Locked::new(layout, Fit::FirstFit)?, task, deadline),
            Who::MutexBestFit => Cell::new(Locked::new(layout, Fit::BestFit)?, task, deadline),
            Who::Buddy => Cell::new(Mutexed::<Buddy>::new(layout)?, task, deadline),
            Who::RangeAlloc => Cell::new(Mutexed::<RangeList>::new(layout)?, task, deadline),
            Who::OffsetAllocator => Cell::new(Mutexed::<OffsetTable>::new(layout)?, task, deadline),
            Who::Sharded => {
                let pool = Sharded::<OffsetTable>::new(layout, self.threads)?;
                Cell::new(pool, task, deadline)
            }
            Who::VmAllocator => Cell::new(Mutexed::<VmTree>::new(layout)?, task, deadline),
        }
    }

    /// Returns whether the contestant is in this process. An earlier genpool is not.
    pub fn is_here(&self) -> bool {
        let small = Scale {
            granules: 64,
            ..Scale::default()
        };
        let pair = small.row(self.section, "", self.who, 1);
        !matches!(pair.cell(Duration::from_secs(1)), Err(BuildFailure::Absent))
    }

    /// Makes what is measured, within the time `filling`. An earlier genpool runs in the program `before`.
    ///
    /// # Errors
    ///
    /// If a contestant is not there, refuses its layout or its scene, or the time runs out.
    pub fn subject(
        &self,
        filling: Duration,
        before: Option<&Before>,
    ) -> Result<Box<dyn Subject>, BuildFailure> {
        match (self.kind, self.who, self.task()) {
            (Kind::Chunks, ..) => Ok(Box::new(chunks::Changes(self.layout))),
            (Kind::Bookkeeping { tracked }, ..) => Ok(Box::new(Bookkeeping {
                layout: self.layout,
                tracked,
            })),
            (_, Who::Before(call), Some(task)) => {
                let before = before.ok_or(BuildFailure::Absent)?;
                before.subject(call, &task, filling)
            }
            _ => Ok(Box::new(self.cell(filling)?)),
        }
    }
}

/// What a pool says about its bookkeeping.
struct Bookkeeping {
    layout: Layout,
    tracked: bool,
}

impl Subject for Bookkeeping {
    fn round(&mut self, _: &mut Crew, _: Duration) -> Result<Round, String> {
        let bytes = crate::contestant::bookkeeping(&self.layout, self.tracked);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let bits = bytes as f64 * 8.0 / self.layout.granules as f64;
        Ok(Round {
            figures: vec![(Measure::Bits, bits)],
            ..Round::default()
        })
    }
}
