//! The lines between `targets` and the program that runs an earlier genpool: a command, and its answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::cell::{Patience, Readiness};
use crate::measure::Round;
use crate::task::Task;

/// What the program is to do. Cells are numbered from 0 in the order in which they are made.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Command {
    /// Make a cell within the time `filling`.
    Make {
        /// The contestant.
        call: Call,
        /// What it does.
        task: Task,
        /// The time for the scene.
        filling: Duration,
    },
    /// Prepare a cell.
    Prepare {
        /// The cell.
        cell: usize,
        /// How long it may take.
        patience: Patience,
    },
    /// Work for a while.
    Round {
        /// The cell.
        cell: usize,
        /// How long.
        lasting: Duration,
    },
    /// Give everything back.
    Finish {
        /// The cell.
        cell: usize,
    },
}

/// What the program has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// A cell with this number.
    Made(usize),
    /// Nothing, because the time was over.
    TooSlow,
    /// The preparations.
    Prepared(Readiness),
    /// A round.
    Round(Round),
    /// All is given back.
    Finished,
    /// Nothing, for this reason.
    Failed(String),
}
