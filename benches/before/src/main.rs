//! Runs the loads of `benches` with an earlier genpool, by commands on standard input.
//!
//! Everything but the pool is the present code, compiled into this program as into `targets`, so that calls are inlined
//! in the same way.

#![allow(
    dead_code,
    unused_imports,
    reason = "`targets` uses more of the shared modules"
)]

#[path = "../../src/call.rs"]
mod call;
#[path = "../../src/cell.rs"]
mod cell;
mod contestant;
#[path = "../../src/crew.rs"]
mod crew;
#[path = "../../src/load/mod.rs"]
mod load;
#[path = "../../src/measure.rs"]
mod measure;
#[path = "../../src/protocol.rs"]
mod protocol;
#[path = "../../src/rng.rs"]
mod rng;
#[path = "../../src/scene.rs"]
mod scene;
#[path = "../../src/task.rs"]
mod task;

use std::env;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::cell::Cell;
use crate::contestant::BuildFailure;
use crate::crew::Crew;
use crate::protocol::{Answer, Command};
use crate::task::Task;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = env::args().nth(1).ok_or("usage: before THREADS")?.parse()?;
    let mut crew = Crew::new(threads);
    let mut cells = Vec::new();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = obey(serde_json::from_str(&line?)?, &mut cells, &mut crew);
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

fn obey(command: Command, cells: &mut Vec<Option<Cell>>, crew: &mut Crew) -> Answer {
    let at = match command {
        Command::Make {
            call,
            task,
            filling,
        } => return make(call, &task, filling, cells),
        Command::Prepare { cell, .. } | Command::Round { cell, .. } | Command::Finish { cell } => {
            cell
        }
    };
    let Some(slot @ Some(_)) = cells.get_mut(at) else {
        return Answer::Failed(format!("there is no cell {at}"));
    };
    match (command, &mut *slot) {
        (Command::Prepare { patience, .. }, Some(cell)) => {
            Answer::Prepared(cell.prepare(crew, patience))
        }
        (Command::Round { lasting, .. }, Some(cell)) => Answer::Round(cell.round(crew, lasting)),
        _ => match slot.take().map(|cell| cell.finish(crew)) {
            Some(Err(error)) => Answer::Failed(error),
            _ => Answer::Finished,
        },
    }
}

fn make(call: Call, task: &Task, filling: Duration, cells: &mut Vec<Option<Cell>>) -> Answer {
    match call.cell(task, Instant::now() + filling) {
        Ok(cell) => {
            cells.push(Some(cell));
            Answer::Made(cells.len() - 1)
        }
        Err(BuildFailure::TooSlow) => Answer::TooSlow,
        Err(error) => Answer::Failed(error.to_string()),
    }
}
