//! Measures genpool against its speed targets, together with a floor and other allocators, and prints two tables:
//! contestants against workloads, and every row with its target.

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

use benches::crew::Crew;
use clap::Parser;

use crate::args::Args;
use crate::lines::{Line, lines};
use crate::run::Rows;
use crate::verdict::{Count, Tally};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("targets: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let (scale, pace) = (args.scale(), args.pace());
    let rows = Rows::new(&scale, &args.sections());
    let mut crew = Crew::new(rows.threads());
    let runs = (0..args.runs)
        .map(|_| rows.measure(&mut crew, &pace, args.rounds))
        .collect::<Result<Vec<_>, _>>()?;
    let bookkeeping = if args.is_complete() {
        scale.bookkeeping()?
    } else {
        Vec::new()
    };
    let lines = lines(&rows, &runs);

    let pinned = crew.is_pinned(scale.threads);
    println!(
        "{} granules of {} bytes, {} x {} rounds, {} threads{}; nanoseconds per operation and thread, median\n",
        scale.granules,
        1usize << scale.order,
        args.runs,
        args.rounds,
        scale.threads,
        if pinned {
            ", each on a processor of its own"
        } else {
            ""
        },
    );
    println!("{}\n", report::compared(&lines, scale.threads));
    println!("{}\n", report::judged(&lines));
    if !bookkeeping.is_empty() {
        println!("{}\n", report::kept(&bookkeeping));
    }
    if let Some(file) = &args.csv {
        csv::write(&lines, &mut BufWriter::new(File::create(file)?))?;
    }
    if let Some(file) = &args.svg {
        svg::draw(&lines, file)?;
    }
    report::remarks(&lines, pinned);
    println!(
        "- The run took {:.1} seconds.",
        started.elapsed().as_secs_f64()
    );

    let tallies = lines.iter().filter_map(Line::tally);
    let count: Count = tallies
        .map(|tally: Tally| tally.overall())
        .chain(bookkeeping.iter().filter_map(report::fits))
        .collect();
    println!("{count}");
    if args.strict && count.not_met() > 0 {
        return Err(format!("targets that are not met: {}", count.not_met()).into());
    }
    Ok(())
}
