//! Every row of every section runs a few hundred operations and leaves its pool as free as it was.

use std::time::Duration;

use benches::cell::{Patience, Readiness};
use benches::crew::Crew;
use benches::suite::{Scale, Section};

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
    let rows = SCALE.rows(section);
    let threads = rows.iter().map(|row| row.threads).max();
    let mut crew = Crew::new(threads.unwrap_or(1).max(SCALE.threads));
    for row in [SCALE.floor(1), SCALE.floor(2)].into_iter().chain(rows) {
        let name = format!(
            "{}: {}, {}, {} threads",
            section.name(),
            row.who,
            row.what,
            row.threads
        );
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
        let figure = cell
            .round(&mut crew, Duration::from_micros(200))
            .nanoseconds;
        assert!(figure.is_finite() && figure > 0.0, "{name}: {figure}");
        match cell.finish(&mut crew) {
            // Threads that compete for the last granules may find none.
            Ok(misses) if row.threads == 1 => {
                assert_eq!(misses, 0, "{name}");
            }
            Ok(_) => {}
            Err(error) => panic!("{name}: {error}"),
        }
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
    best_fit: BestFit,
    growth: Growth,
    runs: Runs,
    chunks: Chunks,
    refusal: Refusal,
    oversubscribed: Oversubscribed,
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
