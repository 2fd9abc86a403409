//! The rows of each section.

use super::{Column, PAIR, Row, Scale, Section, Target, Who, Work};
use crate::contestant::Layout;
use crate::scene::Scene;

/// Granules of the run that has only one hole to go to.
const RUN: usize = 512;

/// Random sizes in a pool 70 % full.
const CHURN: Work = Work::Churn {
    per_mille: 700,
    largest: 16,
};

impl Scale {
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
        vec![
            row(Who::FirstFit, 1)
                .at(0)
                .target(Target::Floor(1.5))
                .name("pair"),
            row(Who::FirstFitByAddress, 1).at(0).name("pair by address"),
            row(Who::ThreadStart, 1).at(0).name("pair, thread start"),
            row(Who::BestFit, 1).at(0),
            row(Who::MutexFirstFit, 1).at(0),
            row(Who::MutexBestFit, 1).at(0),
            row(Who::FirstFit, n).at(1).target(Target::Floor(5.0)),
            row(Who::ThreadStart, n)
                .at(1)
                .target(Target::Row(1.2, "pair, thread start")),
            row(Who::MutexFirstFit, n).at(1),
        ]
    }

    pub(super) fn churn(&self) -> Vec<Row> {
        let n = self.threads;
        let row =
            |who, threads| Row::new(Section::Churn, who, threads, self.layout(), CHURN, "churn");
        vec![
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
            row(Who::MutexFirstFit, 1).at(2).name("churn, mutex"),
            row(Who::FirstFit, n).at(3),
            row(Who::ThreadStart, n).at(3).target(Target::Floor(4.0)),
            row(Who::MutexFirstFit, n).at(3),
        ]
    }

    pub(super) fn nearly_full(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (per_mille, percent, threads, column) in [
            (900, "90 %", 1, 4),
            (999, "99.9 %", 1, 5),
            (999, "99.9 %", self.threads, 6),
        ] {
            for who in [Who::FirstFit, Who::ThreadStart, Who::MutexFirstFit] {
                let target = match (column, who) {
                    (5, Who::FirstFit | Who::ThreadStart) => Some(Target::Floor(2.0)),
                    (6, Who::ThreadStart) => Some(Target::Floor(3.0)),
                    _ => None,
                };
                let churn = Work::Churn {
                    per_mille,
                    largest: 1,
                };
                for (work, which) in [
                    (PAIR, "the granule just taken"),
                    (churn, "a random granule"),
                ] {
                    let what = format!("{percent} full, {which}");
                    let mut row =
                        Row::new(Section::NearlyFull, who, threads, self.layout(), work, what);
                    row.target = target;
                    row.column = Some(Column(column));
                    if work == PAIR {
                        row.scene = Scene::Holes {
                            per_mille: 1000 - per_mille,
                        };
                    }
                    rows.push(row);
                }
            }
        }
        rows
    }

    pub(super) fn best_fit(&self) -> Vec<Row> {
        let row = |who| Row::new(Section::BestFit, who, 1, self.layout(), CHURN, "churn").at(2);
        vec![
            row(Who::BestFit).target(Target::Floor(12.0)),
            row(Who::MutexBestFit),
        ]
    }

    pub(super) fn growth(&self) -> Vec<Row> {
        let what = format!("churn, {} granules", self.large().granules);
        let row = |who| Row::new(Section::Growth, who, 1, self.large(), CHURN, what.clone());
        vec![
            row(Who::FirstFit).target(Target::Row(1.5, "churn")),
            row(Who::ThreadStart).target(Target::Row(1.5, "churn, thread start")),
            row(Who::MutexFirstFit),
        ]
    }

    pub(super) fn runs(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (layout, target) in [(self.layout(), 25.0), (self.large(), 50.0)] {
            for who in [
                Who::FirstFit,
                Who::ThreadStart,
                Who::BestFit,
                Who::MutexFirstFit,
                Who::MutexBestFit,
            ] {
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
        let (one, many) = (self.layout(), self.many());
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
            row(Who::FirstFit, many, CHURN, "churn").target(Target::Row(2.0, "churn")),
            row(Who::FirstFitByAddress, many, CHURN, "churn")
                .target(Target::Row(2.0, "churn by address")),
            row(Who::MutexFirstFit, many, CHURN, "churn"),
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
        for (layout, target) in [(self.layout(), 2.0), (self.large(), 5.0)] {
            for who in [
                Who::FirstFit,
                Who::ThreadStart,
                Who::BestFit,
                Who::MutexFirstFit,
            ] {
                let what = format!("failing alloc, {} granules", layout.granules);
                let mut row = Row::new(Section::Refusal, who, 1, layout, Work::Refusal, what);
                row.scene = Scene::Full;
                row.target = who.is_ours().then_some(Target::Floor(target));
                rows.push(row);
            }
        }
        rows
    }
}
