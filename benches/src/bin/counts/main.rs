//! A gate on instructions: what the hot paths execute per operation, compared with committed figures.
//!
//! Instruction counts hardly differ from run to run, even on a machine that is too busy for any timing. A scenario runs
//! in a process of its own under callgrind, once with N and once with 2 N operations. The difference divided by N is
//! what an operation executes, without the cost of start-up and scene, and needs no help from the profiled program.
//!
//! gungraun, the continuation of iai-callgrind, runs on valgrind 3.19 but is not used. It compares with the last run on
//! the same machine or with upper limits in the source, not with committed figures in both directions. It cannot expect
//! a regression, as the control requires. And it needs a second program of exactly its version.

#![forbid(unsafe_code)]

mod figures;
mod gate;
mod scenario;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::scenario::Scenario;

/// Counts the instructions of the hot paths and compares them with committed figures.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does the operations of one scenario: what is profiled
    Operate {
        /// Which scenario
        scenario: Scenario,
        /// How many operations
        operations: u32,
    },
    /// Counts every scenario, and fails when one is slower than its figure or the control is not noticed
    Check {
        /// The committed figures
        figures: PathBuf,
        /// Write what is counted to the file instead of comparing
        #[arg(long)]
        bless: bool,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    match args.command {
        Command::Operate {
            scenario,
            operations,
        } => scenario.operate(operations),
        Command::Check {
            figures,
            bless: true,
        } => gate::bless(&figures),
        Command::Check {
            figures,
            bless: false,
        } => gate::check(&figures),
    }
}
