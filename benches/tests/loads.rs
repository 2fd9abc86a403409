//! Every row of every section runs a few hundred operations and leaves its pool as free as it was.

use std::time::Duration;

use benches::cell::{Patience, Readiness};
use benches::crew::Crew;
use benches::suite::{Row, Scale, Section};

const SCALE: Scale = Scale {
    granules: 16_384,
    order: 12,
    threads: 2,
    occupancy: 70,
};

const PATIENCE: Patience = Patience {
    filling: Duration::from_secs(20),
    settling: Duration::from_millis(1),
};

fn smoke(section: Section) {
    let mut rows = SCALE.rows(section);
    rows.retain(Row::is_here);
    let threads = rows.iter().map(|row| row.threads).max();
    let mut crew = Crew::new(threads.unwrap_or(1).max(SCALE.threads));
    for row in [SCALE.floor(1), SCALE.floor(2)].into_iter().chain(rows) {
        let name = name(&row);
        let mut cell = row
            .cell(PATIENCE.filling)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(cell.threads(), row.threads);
        assert_ne!(
            cell.prepare(&mut crew, PATIENCE),
            Readiness::Unfilled,
            "{name}"
        );
        cell.operations(&mut crew, 300);
        let round = cell.round(&mut crew, Duration::from_micros(200));
        for &measure in row.section.measures() {
            let figure = round.figure(measure);
            let is_sound = figure.is_some_and(|figure| figure.is_finite() && figure >= 0.0);
            assert!(is_sound, "{name}: {measure} is {figure:?}");
        }
        match cell.finish(&mut crew) {
            // Threads that compete for the last granules may find none, and so may those that leave many holes.
            Ok(misses) if row.threads == 1 && section != Section::Fragments => {
                assert_eq!(misses, 0, "{name}");
            }
            Ok(_) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

fn name(row: &Row) -> String {
    let Row {
        section,
        who,
        what,
        threads,
        ..
    } = row;
    format!("{}: {who}, {what}, {threads} threads", section.name())
}

/// Measures what takes no threads.
fn figures(section: Section) {
    let mut crew = Crew::new(1);
    for row in SCALE.rows(section) {
        let name = name(&row);
        let subject = row.subject(PATIENCE.filling, None);
        let mut subject = subject.unwrap_or_else(|error| panic!("{name}: {error}"));
        let round = subject.round(&mut crew, Duration::ZERO);
        let round = round.unwrap_or_else(|error| panic!("{name}: {error}"));
        let measures: Vec<_> = round.figures.iter().map(|figure| figure.0).collect();
        assert_eq!(measures, section.measures(), "{name}");
    }
}

macro_rules! smoke {
    ($($name:ident: $section:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            smoke(Section::$section);
        })*
    };
}

smoke! {
    pair: Pair,
    churn: Churn,
    nearly_full: NearlyFull,
    growth: Growth,
    runs: Runs,
    chunks: Chunks,
    refusal: Refusal,
    crowd: Crowd,
    latency: Latency,
    fragments: Fragments,
}

#[test]
#[cfg_attr(debug_assertions, ignore = "twenty thousand chunks, at length")]
fn changes() {
    figures(Section::Changes);
}

#[test]
fn bookkeeping() {
    figures(Section::Bookkeeping);
}

#[test]
fn a_panic_in_a_job_comes_through() {
    let caught = std::panic::catch_unwind(|| {
        Crew::new(2).run(vec![1, 2], |state| assert_eq!(*state, 1, "second state"));
    });
    let message = caught.expect_err("the second job panics");
    assert!(
        message
            .downcast_ref::<String>()
            .is_some_and(|text| text.contains("second state"))
    );
}
