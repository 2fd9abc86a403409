//! The command that runs a load on real memory.

use std::io::{self, Write};

use super::bar::Bar;
use super::output::emphasised;
use super::{End, RunArgs, complain};
use crate::chain::Chain;
use crate::memory::Arena;
use crate::run::load::Fault;
use crate::run::plan::{Plan, Wish};
use crate::run::{Extent, RunError, machine, report, run};
use crate::table::facts;

pub(super) fn run_command(args: &RunArgs, out: &mut dyn Write) -> io::Result<End> {
    let default = Wish::default();
    let wish = Wish {
        seconds: args.seconds.unwrap_or(default.seconds),
        threads: args.threads.unwrap_or(default.threads),
        size: args.size.unwrap_or(default.size),
        order: args.order.map_or(default.order, |order| {
            u32::try_from(order).unwrap_or(u32::MAX)
        }),
        chunks: args.chunks.unwrap_or(default.chunks),
    };
    let plan = match Plan::new(&wish) {
        Ok(plan) => plan,
        Err(error) => {
            complain(Chain(&error));
            return Ok(End::Impossible);
        }
    };
    let Some(output) = args.report.open(&[]) else {
        return Ok(End::Impossible);
    };
    let arena = match Arena::map(plan.size(), plan.granule(), plan.granule()) {
        Ok(arena) => arena,
        Err(error) => {
            complain(Chain(&error));
            return Ok(End::Impossible);
        }
    };
    // If there are more threads than processors, the system distributes them.
    let processors = match machine::processors() {
        processors if processors.len() >= plan.threads() => processors,
        _ => Vec::new(),
    };
    let mut found = report::head(&plan, arena.pages(), !processors.is_empty());
    writeln!(out, "{}", facts(&found))?;
    out.flush()?;

    let mut bar = Bar::new();
    let extent = Extent {
        watch: args.report.is_wanted() || bar.is_shown(),
        by_threads: args.report.is_wanted(),
    };
    let outcome = run(&plan, &arena, &processors, extent, &mut |progress| {
        bar.show(progress);
    });
    bar.clear();
    match outcome {
        Ok(outcome) => {
            report::add(&mut found, &plan, outcome);
            let written = output.write(&found);
            writeln!(out, "{}", report::table(&plan, &found))?;
            write!(out, "{}", emphasised(&report::verdict(&found), |_| true))?;
            out.write_all(written.text.as_bytes())?;
            Ok(written.end)
        }
        Err(error) => {
            complain(Chain(&error));
            Ok(match error {
                RunError::Setup(_) => End::Impossible,
                RunError::Fault {
                    fault: Fault::Spawn(_),
                    ..
                } => End::Impossible,
                RunError::Fault { .. } => End::Wrong,
            })
        }
    }
}
