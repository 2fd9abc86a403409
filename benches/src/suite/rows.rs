//! The rows of each section.

use super::{PAIR, Row, Scale, Section, Target, Who, Work};
use crate::contestant::Layout;
use crate::crew::processors;
use crate::scene::Scene;

/// The length in granules of the run that has only one hole to go to.
const RUN: usize = 512;

/// The largest allocation of churn, in granules.
const LARGEST: usize = 16;

/// Threads in the oversubscribed rows: a multiple of the processors, and a minimum.
const CROWDS: [(usize, usize); 2] = [(4, 8), (32, 64)];

impl Scale {
    fn random_sizes(&self) -> Work {
        Work::Churn {
            per_mille: self.occupancy * 10,
            largest: LARGEST,
        }
    }

    pub(super) fn pair(&self) -> Vec<Row> {
        let n = self.threads;
        let row = |who, threads| {
            Row::new(
                Section::Pair,
                who,
                threads,
                self.layout(),
                PAIR,
                "alloc + free",
            )
        };
        let mut rows = vec![
            row(Who::FirstFit, 1)
                .at(0)
                .target(Target::Floor(1.5))
                .name("pair"),
            row(Who::FirstFitByAddress, 1).at(0).name("pair by address"),
            row(Who::ThreadStart, 1).at(0).name("pair, thread start"),
            row(Who::Cached, 1).at(0).target(Target::Floor(0.35)),
            row(Who::BestFit, 1).at(0),
            row(Who::MutexFirstFit, 1).at(0),
            row(Who::MutexBestFit, 1).at(0),
            row(Who::FirstFit, n).at(1).target(Target::Floor(5.0)),
            row(Who::ThreadStart, n)
                .at(1)
                .target(Target::Row(1.2, "pair, thread start")),
            row(Who::Cached, n).at(1).target(Target::Floor(0.35)),
            row(Who::BestFit, n).at(1),
            row(Who::MutexFirstFit, n).at(1),
            row(Who::MutexBestFit, n).at(1),
        ];
        rows.extend(Who::PEERS.map(|who| row(who, 1).at(0)));
        rows.extend(Who::PEERS.map(|who| row(who, n).at(1)));
        rows
    }

    pub(super) fn churn(&self) -> Vec<Row> {
        let (n, churn) = (self.threads, self.random_sizes());
        let row =
            |who, threads| Row::new(Section::Churn, who, threads, self.layout(), churn, "churn");
        let mut rows = vec![
            row(Who::FirstFit, 1)
                .at(2)
                .target(Target::Floor(5.0))
                .name("churn"),
            row(Who::FirstFitByAddress, 1)
                .at(2)
                .name("churn by address"),
            row(Who::ThreadStart, 1)
                .at(2)
                .target(Target::Floor(2.6))
                .name("churn, thread start"),
            row(Who::MutexFirstFit, 1).at(2),
            row(Who::FirstFit, n).at(3),
            row(Who::ThreadStart, n).at(3).target(Target::Floor(4.0)),
            row(Who::MutexFirstFit, n).at(3),
        ];
        rows.extend(Who::PEERS.map(|who| row(who, 1).at(2)));
        rows.extend(Who::PEERS.map(|who| row(who, n).at(3)));
        rows
    }

    pub(super) fn nearly_full(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (per_mille, percent, threads, column) in [
            (900, "90 %", 1, 4),
            (999, "99.9 %", 1, 5),
            (999, "99.9 %", self.threads, 6),
        ] {
            let row = |who, work, which: &str| {
                let what = format!("{percent} full, {which}");
                Row::new(Section::NearlyFull, who, threads, self.layout(), work, what)
            };
            let bitmaps = [
                Who::FirstFit,
                Who::ThreadStart,
                Who::BestFit,
                Who::MutexFirstFit,
                Who::MutexBestFit,
            ];
            for who in bitmaps.into_iter().chain(Who::PEERS) {
                let mut row = row(who, PAIR, "the granule just taken").at(column);
                row.target = match (column, who) {
                    (5, Who::FirstFit | Who::ThreadStart) => Some(Target::Floor(2.0)),
                    (6, Who::ThreadStart) => Some(Target::Floor(3.0)),
                    _ => None,
                };
                row.scene = Scene::Holes {
                    per_mille: 1000 - per_mille,
                };
                rows.push(row);
            }
            // For comparison with the target's row: the cost of "free and take one granule" if the freed granule is a
            // random one. The targets mean the former, in which a bitmap under a mutex costs no more at 90 % than a
            // pair does (31 and 30 ns there).
            for who in [Who::FirstFit, Who::ThreadStart, Who::MutexFirstFit] {
                let churn = Work::Churn {
                    per_mille,
                    largest: 1,
                };
                rows.push(row(who, churn, "a random granule"));
            }
        }
        rows
    }

    pub(super) fn best_fit(&self) -> Vec<Row> {
        let churn = self.random_sizes();
        let row = |who| Row::new(Section::BestFit, who, 1, self.layout(), churn, "churn").at(2);
        vec![
            row(Who::BestFit).target(Target::Floor(12.0)),
            row(Who::MutexBestFit),
        ]
    }

    pub(super) fn growth(&self) -> Vec<Row> {
        let what = format!("churn, {} granules", self.large().granules);
        let churn = self.random_sizes();
        let row = |who| Row::new(Section::Growth, who, 1, self.large(), churn, what.clone());
        vec![
            row(Who::FirstFit).target(Target::Row(1.5, "churn")),
            row(Who::ThreadStart).target(Target::Row(1.5, "churn, thread start")),
            row(Who::MutexFirstFit),
        ]
    }

    pub(super) fn runs(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        // In the large pool the others would take minutes to free the single granules.
        let large = &[Who::Buddy, Who::OffsetAllocator];
        for (layout, target, peers) in [
            (self.layout(), 25.0, &Who::PEERS[..]),
            (self.large(), 50.0, large),
        ] {
            let bitmaps = [
                Who::FirstFit,
                Who::ThreadStart,
                Who::BestFit,
                Who::MutexFirstFit,
                Who::MutexBestFit,
            ];
            for who in bitmaps.into_iter().chain(peers.iter().copied()) {
                let what = format!("the only run of {RUN}, {} granules", layout.granules);
                let mut row = Row::new(
                    Section::Runs,
                    who,
                    1,
                    layout,
                    Work::Pair { granules: RUN },
                    what,
                );
                row.scene = Scene::RunBehindHoles {
                    run: RUN,
                    per_mille: 300,
                };
                row.target = who.is_ours().then_some(Target::Floor(target));
                rows.push(row);
            }
        }
        rows
    }

    pub(super) fn chunks(&self) -> Vec<Row> {
        let row = |who, layout: Layout, work, what: &str| {
            let chunks = if layout.chunks == 1 {
                "1 chunk".into()
            } else {
                format!("{} chunks", layout.chunks)
            };
            Row::new(
                Section::Chunks,
                who,
                1,
                layout,
                work,
                format!("{what}, {chunks}"),
            )
        };
        let (one, many, churn) = (self.layout(), self.many(), self.random_sizes());
        let oldest = |who| {
            let mut row = row(who, many, PAIR, "alloc + free, room in the oldest only");
            row.scene = Scene::OldestChunkFree;
            row
        };
        vec![
            row(Who::FirstFit, many, PAIR, "alloc + free").target(Target::Row(2.0, "pair")),
            row(Who::FirstFitByAddress, many, PAIR, "alloc + free")
                .target(Target::Row(2.0, "pair by address")),
            row(Who::MutexFirstFit, many, PAIR, "alloc + free"),
            row(Who::FirstFit, many, churn, "churn").target(Target::Row(2.0, "churn")),
            row(Who::FirstFitByAddress, many, churn, "churn")
                .target(Target::Row(2.0, "churn by address")),
            row(Who::MutexFirstFit, many, churn, "churn"),
            oldest(Who::FirstFit),
            oldest(Who::MutexFirstFit),
            row(Who::FirstFit, one, Work::PhysOf, "phys-of").name("phys-of"),
            row(Who::FirstFit, many, Work::PhysOf, "phys-of").target(Target::Row(2.0, "phys-of")),
            row(Who::MutexFirstFit, one, Work::PhysOf, "phys-of"),
            row(Who::MutexFirstFit, many, Work::PhysOf, "phys-of"),
        ]
    }

    pub(super) fn refusal(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        // The tree would take minutes to fill in the large pool.
        let large = &[Who::Buddy, Who::RangeAlloc, Who::OffsetAllocator];
        for (layout, target, peers) in [
            (self.layout(), 2.0, &Who::PEERS[..]),
            (self.large(), 5.0, large),
        ] {
            let bitmaps = [
                Who::FirstFit,
                Who::ThreadStart,
                Who::BestFit,
                Who::MutexFirstFit,
            ];
            for who in bitmaps.into_iter().chain(peers.iter().copied()) {
                let what = format!("failing alloc, {} granules", layout.granules);
                let mut row = Row::new(Section::Refusal, who, 1, layout, Work::Refusal, what);
                row.scene = Scene::Full;
                row.target = who.is_ours().then_some(Target::Floor(target));
                rows.push(row);
            }
        }
        rows
    }
    pub(super) fn oversubscribed(&self) -> Vec<Row> {
        let contestants = [
            Who::FirstFit,
            Who::ThreadStart,
            Who::MutexFirstFit,
            Who::Buddy,
            Who::RangeAlloc,
            Who::OffsetAllocator,
        ];
        let mut rows = Vec::new();
        for (work, what) in [(PAIR, "alloc + free"), (self.random_sizes(), "churn")] {
            for (times, least) in CROWDS {
                let threads = (times * processors()).max(least);
                let what = format!("{what}, {threads} threads on {} processors", processors());
                let row = |who| {
                    let section = Section::Oversubscribed;
                    Row::new(section, who, threads, self.layout(), work, what.clone())
                };
                rows.extend(contestants.map(row));
            }
        }
        rows
    }
}
