//! Measures genpool against its speed targets, together with other allocators, an earlier genpool and a floor. It prints
//! contestants against workloads, every row, and the targets with their verdicts.

#![forbid(unsafe_code)]

mod args;
mod csv;
mod lines;
mod report;
mod run;
mod svg;
mod verdict;

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;
use std::time::Instant;

use benches::before::Before;
use benches::crew::Crew;
use clap::Parser;

use crate::args::Args;
use crate::lines::{count, judged, lines};
use crate::run::Rows;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("targets: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints. Returns whether all targets are met.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let started = Instant::now();
    let (scale, pace, sections) = (args.scale(), args.pace(), args.sections());
    let rows = Rows::new(&scale, &sections);
    let targets = scale.targets(&sections);
    let mut crew = Crew::new(rows.threads());
    let before = match args.before() {
        Some(program) => Some(Before::start(&program, rows.threads())?),
        None => None,
    };
    let runs = (0..args.runs)
        .map(|_| rows.measure(&mut crew, before.as_ref(), &pace))
        .collect::<Result<Vec<_>, _>>()?;
    let lines = lines(&rows, &runs);
    let judged = judged(&targets, &rows, &runs);

    let pinned = crew.is_pinned(scale.threads);
    println!(
        "{} granules of {} bytes, {} x {} rounds, {} threads{}; medians\n",
        scale.granules,
        1usize << scale.order,
        args.runs,
        pace.rounds,
        scale.threads,
        if pinned {
            ", each on a processor of its own"
        } else {
            ""
        },
    );
    println!("{}\n", report::compared(&lines, &scale.columns()));
    for table in report::measured(&lines) {
        println!("{table}\n");
    }
    if !judged.is_empty() {
        println!("{}\n", report::judged(&judged));
    }
    if let Some(file) = &args.csv {
        csv::write(&lines, &mut BufWriter::new(File::create(file)?))?;
    }
    if let Some(file) = &args.svg {
        svg::draw(&lines, file)?;
    }
    report::remarks(&lines, pinned);
    println!(
        "- The run took {:.0} seconds.",
        started.elapsed().as_secs_f64()
    );
    let count = count(&judged);
    println!(
        "targets: {} of {} met, {} not met, {} too noisy, {} not measured",
        count.met,
        count.all(),
        count.not_met,
        count.too_noisy,
        count.not_measured
    );
    Ok(args.quick || count.met == count.all())
}
