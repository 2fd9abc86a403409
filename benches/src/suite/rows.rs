//! The rows of each section.

use super::{CROWD, Kind, Row, Scale, Section, Who};
use crate::call::Call;
use crate::call::Call::{
    BestFit, BestFitNamed, ByAddress, Cached, FirstFit, FirstFitNamed, ThreadStart,
};
use crate::contestant::Layout;
use crate::scene::Scene;
use crate::task::{Mix, Work};

use Who::{
    Before, Buddy, MutexBestFit, MutexFirstFit, OffsetAllocator, Ours, RangeAlloc, Sharded,
    SpreadFit,
};

/// What the rows of pairs are called.
pub(super) const PAIR: &str = "alloc + free";

/// What the rows of churn in the usual pool are called.
pub(super) const CHURN: &str = "churn";

/// What the rows of single allocs are called.
pub(super) const LATENCY: &str = "churn, each alloc timed";

/// The number of chunks that are added and removed.
const CHANGED: usize = 20_000;

/// The granules of each.
const CHANGED_GRANULES: usize = 64;

/// The length in granules of the run that has only one hole to go to.
const RUN: usize = 512;

/// The largest allocation of churn, in granules.
const LARGEST: usize = 16;

/// What places by itself, now and before: `alloc`, the algorithms that name themselves, best fit.
const PLACING: [Who; 9] = [
    Ours(FirstFit),
    Ours(FirstFitNamed),
    Ours(ThreadStart),
    SpreadFit,
    Ours(BestFit),
    Before(FirstFit),
    Before(FirstFitNamed),
    Before(ThreadStart),
    Before(BestFit),
];

/// Those that are measured in a large pool. Filling the others takes minutes.
const LARGE: [Who; 3] = [Buddy, OffsetAllocator, Sharded];

impl Scale {
    fn mix(&self) -> Mix {
        Mix {
            per_mille: self.occupancy * 10,
            largest: LARGEST,
        }
    }

    /// Returns one thread and several.
    fn threads(&self) -> [usize; 2] {
        [1, self.threads]
    }

    pub(super) fn pair(&self) -> Vec<Row> {
        self.of_each(
            Section::Pair,
            PAIR,
            &[ByAddress],
            &[MutexFirstFit, MutexBestFit],
        )
    }

    pub(super) fn churn(&self) -> Vec<Row> {
        let rows = self.of_each(Section::Churn, CHURN, &[ByAddress], &[MutexFirstFit]);
        let churn = Work::Churn(self.mix());
        let rows = rows.into_iter().map(|row| row.work(churn));
        rows.collect()
    }

    /// Returns rows of everything that places, these and the cache, with one thread and with several.
    fn of_each(&self, section: Section, what: &str, calls: &[Call], others: &[Who]) -> Vec<Row> {
        let all = || {
            PLACING
                .into_iter()
                .chain(calls.iter().copied().map(Ours))
                .chain([Ours(Cached), Before(Cached)])
                .chain(others.iter().copied())
                .chain(Who::PEERS)
        };
        let rows = self
            .threads()
            .into_iter()
            .flat_map(|threads| all().map(move |who| self.row(section, what, who, threads)));
        rows.collect()
    }

    pub(super) fn nearly_full(&self) -> Vec<Row> {
        let cells = [(900, 1), (999, 1), (999, self.threads)];
        let rows = cells.into_iter().flat_map(|(per_mille, threads)| {
            let all = PLACING.into_iter().chain([MutexFirstFit]).chain(Who::PEERS);
            all.map(move |who| {
                let what = Self::nearly_full_at(per_mille);
                let row = self.row(Section::NearlyFull, what, who, threads);
                row.scene(Scene::Holes {
                    per_mille: 1000 - per_mille,
                })
            })
        });
        rows.collect()
    }

    /// Returns what the rows of a pool that is so full are called.
    pub(super) fn nearly_full_at(per_mille: usize) -> String {
        format!("{} % full", per_mille as f64 / 10.0)
    }

    pub(super) fn growth(&self) -> Vec<Row> {
        let all = PLACING.into_iter().chain([Ours(Cached)]).chain(LARGE);
        let rows = self.threads().into_iter().flat_map(|threads| {
            all.clone().map(move |who| {
                let row = self.row(Section::Growth, self.large_churn(), who, threads);
                row.layout(self.large()).work(Work::Churn(self.mix()))
            })
        });
        rows.collect()
    }

    /// Returns what the rows of churn in the large pool are called.
    pub(super) fn large_churn(&self) -> String {
        format!("churn, {} granules", self.large().granules)
    }

    pub(super) fn runs(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (layout, peers) in [(self.layout(), &Who::PEERS[..]), (self.large(), &LARGE)] {
            let others = [MutexFirstFit, MutexBestFit];
            let all = PLACING.into_iter().chain(others);
            rows.extend(all.chain(peers.iter().copied()).map(|who| {
                let row = self.row(Section::Runs, Self::run_in(&layout), who, 1);
                row.layout(layout)
                    .work(Work::Pair { granules: RUN })
                    .scene(Scene::RunBehindHoles {
                        run: RUN,
                        per_mille: 300,
                    })
            }));
        }
        rows
    }

    /// Returns what the rows of a long run in a pool of this layout are called.
    pub(super) fn run_in(layout: &Layout) -> String {
        format!("the only run of {RUN}, {} granules", layout.granules)
    }

    pub(super) fn chunks(&self) -> Vec<Row> {
        let row = |who, layout: Layout, work, what: &str| {
            let what = match layout.chunks {
                1 => format!("{what}, 1 chunk"),
                chunks => format!("{what}, {chunks} chunks"),
            };
            self.row(Section::Chunks, what, who, 1)
                .layout(layout)
                .work(work)
        };
        let (one, many) = (self.layout(), self.many());
        let pair = Work::Pair { granules: 1 };
        let placing = [
            Ours(FirstFit),
            Ours(FirstFitNamed),
            Ours(ByAddress),
            Before(FirstFit),
            Before(FirstFitNamed),
            Before(ByAddress),
            MutexFirstFit,
        ];
        let finding = [Ours(FirstFit), Before(FirstFit), MutexFirstFit];
        let mut rows: Vec<Row> = Vec::new();
        rows.extend(placing.map(|who| row(who, many, pair, PAIR)));
        rows.extend(placing.map(|who| row(who, many, Work::Churn(self.mix()), CHURN)));
        rows.extend(placing.map(|who| {
            let row = row(who, many, pair, "alloc + free, room in the oldest only");
            row.scene(Scene::OldestChunkFree)
        }));
        for layout in [one, many] {
            rows.extend(finding.map(|who| row(who, layout, Work::PhysOf, "phys-of")));
        }
        rows
    }

    pub(super) fn refusal(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        // The tree would take minutes to fill in the large pool.
        let large = &[Buddy, RangeAlloc, OffsetAllocator, Sharded];
        for (layout, peers) in [(self.layout(), &Who::PEERS[..]), (self.large(), large)] {
            let all = Call::ALL.into_iter().map(Ours).chain([SpreadFit]);
            let before = [
                FirstFit,
                FirstFitNamed,
                ThreadStart,
                BestFit,
                BestFitNamed,
                Cached,
            ];
            let others = before.map(Before).into_iter().chain([MutexFirstFit]);
            rows.extend(all.chain(others).chain(peers.iter().copied()).map(|who| {
                let row = self.row(Section::Refusal, Self::refusal_in(&layout), who, 1);
                row.layout(layout).work(Work::Refusal).scene(Scene::Full)
            }));
        }
        rows
    }

    /// Returns what the rows of failing allocs in a pool of this layout are called.
    pub(super) fn refusal_in(layout: &Layout) -> String {
        format!("failing alloc, {} granules", layout.granules)
    }

    pub(super) fn crowd(&self) -> Vec<Row> {
        let contestants = [
            Ours(FirstFit),
            Ours(FirstFitNamed),
            Ours(ThreadStart),
            SpreadFit,
            Ours(BestFit),
            Ours(Cached),
            Before(FirstFit),
            MutexFirstFit,
            Buddy,
            RangeAlloc,
            OffsetAllocator,
            Sharded,
        ];
        let works = [
            (Work::Pair { granules: 1 }, PAIR),
            (Work::Churn(self.mix()), CHURN),
        ];
        let rows = works.into_iter().flat_map(|(work, what)| {
            contestants.map(|who| self.row(Section::Crowd, what, who, CROWD).work(work))
        });
        rows.collect()
    }

    pub(super) fn latency(&self) -> Vec<Row> {
        let all = PLACING
            .into_iter()
            .chain([Ours(Cached), MutexFirstFit])
            .chain(Who::PEERS);
        let rows = all.map(|who| {
            let row = self.row(Section::Latency, LATENCY, who, self.threads);
            row.work(Work::Latency(self.mix()))
        });
        rows.collect()
    }

    pub(super) fn fragments(&self) -> Vec<Row> {
        let contestants = [
            Ours(FirstFit),
            Ours(ThreadStart),
            SpreadFit,
            Ours(BestFit),
            OffsetAllocator,
            Sharded,
        ];
        let mut rows = Vec::new();
        for (layout, percent, threads) in self.fragment_cells() {
            let mix = Mix {
                per_mille: percent * 10,
                largest: LARGEST,
            };
            rows.extend(contestants.map(|who| {
                let what = Self::fragments_in(&layout, percent);
                let row = self.row(Section::Fragments, what, who, threads);
                row.layout(layout).work(Work::Fragments(mix))
            }));
        }
        rows
    }

    /// Returns the pools whose free runs are looked at, how full they are in per cent, and the number of threads.
    pub(super) fn fragment_cells(&self) -> [(Layout, usize, usize); 6] {
        let (usual, n) = (self.layout(), self.threads);
        [
            (usual, 70, 1),
            (usual, 70, n),
            (usual, 70, CROWD),
            (self.large(), 70, CROWD),
            (usual, 90, 1),
            (usual, 90, n),
        ]
    }

    /// Returns what the rows of free runs in a pool that is so full are called.
    pub(super) fn fragments_in(layout: &Layout, percent: usize) -> String {
        format!("after churn at {percent} %, {} granules", layout.granules)
    }

    pub(super) fn changes(&self) -> Vec<Row> {
        let row = self.row(Section::Changes, Self::changed(), Ours(FirstFit), 1);
        vec![Row {
            layout: Layout {
                order: self.order,
                granules: CHANGED * CHANGED_GRANULES,
                chunks: CHANGED,
            },
            kind: Kind::Chunks,
            ..row
        }]
    }

    /// Returns what the row of chunks that are added one by one is called.
    pub(super) fn changed() -> String {
        format!("{CHANGED} chunks, one by one")
    }

    pub(super) fn bookkeeping(&self) -> Vec<Row> {
        let layouts = [self.layout(), self.large(), self.many()];
        let rows = layouts.into_iter().flat_map(|layout| {
            [false, true].map(|tracked| Row {
                layout,
                kind: Kind::Bookkeeping { tracked },
                ..self.row(
                    Section::Bookkeeping,
                    Self::bookkeeping_of(&layout, tracked),
                    Ours(FirstFit),
                    1,
                )
            })
        });
        rows.collect()
    }

    /// Returns what the row of bookkeeping of a pool of this layout is called.
    pub(super) fn bookkeeping_of(layout: &Layout, tracked: bool) -> String {
        let Layout {
            granules, chunks, ..
        } = layout;
        let with = if tracked { ", with tracking" } else { "" };
        format!("{granules} granules in {chunks}{with}")
    }
}
