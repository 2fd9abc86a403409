//! The loads of every section, with a criterion group for each section.
//!
//! All groups are in one binary: `cargo bench -p benches -- churn/` measures one group.

use std::time::Duration;

use benches::cell::{Cell, Patience, Readiness};
use benches::crew::Crew;
use benches::measure::Measure;
use benches::suite::{Row, Scale, Section};
use criterion::{BenchmarkId, Criterion};

/// How long a pool's preparations may take.
const PATIENCE: Patience = Patience {
    filling: Duration::from_secs(30),
    settling: Duration::from_millis(500),
};

fn main() {
    let scale = Scale::default();
    let threads = Section::ALL.iter().flat_map(|&section| scale.rows(section));
    let mut crew = Crew::new(threads.map(|row| row.threads).max().unwrap_or(1));
    let mut criterion = Criterion::default().configure_from_args();
    for section in Section::ALL {
        group(section, &scale, &mut crew, &mut criterion);
    }
    criterion.final_summary();
}

/// Measures the rows of a section, after the floor.
fn group(section: Section, scale: &Scale, crew: &mut Crew, criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(section.name());
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let rows = scale.rows(section).into_iter().filter(is_timed);
    for row in [scale.floor(1)].into_iter().chain(rows) {
        let name = format!("{}/threads={}", row.what, row.threads);
        let mut cell = None;
        group.bench_function(BenchmarkId::new(row.who.to_string(), name), |bencher| {
            let cell = cell.get_or_insert_with(|| prepared(&row, crew));
            bencher.iter_custom(|iterations| {
                cell.operations(crew, usize::try_from(iterations).unwrap_or(usize::MAX))
            });
        });
        if let Some(cell) = cell {
            match cell.finish(crew) {
                Ok(0) => {}
                Ok(misses) => eprintln!("{}: {} operations went wrong", row.what, misses),
                Err(error) => panic!("{}: {error}", row.what),
            }
        }
    }
    group.finish();
}

/// Returns whether the row is a load whose operations are timed, on a contestant in this process.
fn is_timed(row: &Row) -> bool {
    row.section.measures().contains(&Measure::Time) && row.is_here()
}

fn prepared(row: &Row, crew: &mut Crew) -> Cell {
    let name = format!("{}, {}", row.what, row.who);
    let mut cell = row
        .cell(PATIENCE.filling)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let ready = cell.prepare(crew, PATIENCE);
    assert_ne!(
        ready,
        Readiness::Unfilled,
        "{name}: the loads hold too little"
    );
    cell
}
