//! An earlier genpool, in a process of its own.
//!
//! Two versions of one crate could be linked into one program, but only with other names and under one lock file. A
//! process has neither problem: `benches/before.sh` builds the same loads and cells with the earlier version. The process
//! does nothing between its rounds, so it does not disturb those of the others.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::call::Call;
use crate::cell::{Patience, Readiness};
use crate::contestant::BuildFailure;
use crate::crew::Crew;
use crate::measure::Round;
use crate::protocol::{Answer, Command};
use crate::subject::Subject;
use crate::task::Task;

/// The commit that the program is built from.
pub const COMMIT: &str = "c71988f";

/// The running program.
#[derive(Clone, Debug)]
pub struct Before(Rc<RefCell<Process>>);

#[derive(Debug)]
struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A cell in the program.
struct Remote {
    program: Before,
    cell: usize,
}

impl Before {
    /// Starts the program with this many threads.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(program: &Path, threads: usize) -> io::Result<Self> {
        let mut child = Program::new(program)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let gone = || io::Error::other("the program has no pipes");
        let commands = child.stdin.take().ok_or_else(gone)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        Ok(Self(Rc::new(RefCell::new(Process {
            child,
            commands,
            answers,
        }))))
    }

    /// Makes the pool and sets the scene of the task, within the time `filling`.
    ///
    /// # Errors
    ///
    /// As in this process.
    pub fn subject(
        &self,
        call: Call,
        task: &Task,
        filling: Duration,
    ) -> Result<Box<dyn Subject>, BuildFailure> {
        let task = *task;
        let make = Command::Make {
            call,
            task,
            filling,
        };
        match self.ask(make).map_err(BuildFailure::new)? {
            Answer::Made(cell) => Ok(Box::new(Remote {
                program: self.clone(),
                cell,
            })),
            Answer::TooSlow => Err(BuildFailure::TooSlow),
            other => Err(BuildFailure::new(unexpected(&other))),
        }
    }

    fn ask(&self, command: Command) -> Result<Answer, String> {
        let mut process = self.0.borrow_mut();
        let answer = process.exchange(command).map_err(|error| error.to_string());
        match answer? {
            Answer::Failed(reason) => Err(reason),
            answer => Ok(answer),
        }
    }
}

impl Process {
    fn exchange(&mut self, command: Command) -> io::Result<Answer> {
        writeln!(self.commands, "{}", serde_json::to_string(&command)?)?;
        self.commands.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the earlier genpool's process has ended"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever its state: what it was to measure is measured.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subject for Remote {
    fn prepare(&mut self, _: &mut Crew, patience: Patience) -> Result<Readiness, String> {
        let cell = self.cell;
        match self.program.ask(Command::Prepare { cell, patience })? {
            Answer::Prepared(readiness) => Ok(readiness),
            other => Err(unexpected(&other)),
        }
    }

    fn round(&mut self, _: &mut Crew, lasting: Duration) -> Result<Round, String> {
        let cell = self.cell;
        match self.program.ask(Command::Round { cell, lasting })? {
            Answer::Round(round) => Ok(round),
            other => Err(unexpected(&other)),
        }
    }

    fn finish(self: Box<Self>, _: &mut Crew) -> Result<(), String> {
        let cell = self.cell;
        match self.program.ask(Command::Finish { cell })? {
            Answer::Finished => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> String {
    format!("an answer that does not fit: {answer:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant::Layout;
    use crate::scene::Scene;
    use crate::task::Work;

    #[test]
    fn a_program_that_is_not_there_or_ends_is_an_error() {
        assert!(Before::start(Path::new("/no/such/program"), 1).is_err());
        let program = Before::start(Path::new("true"), 1).expect("every system has it");
        let task = Task {
            threads: 1,
            layout: Layout {
                order: 12,
                granules: 64,
                chunks: 1,
            },
            scene: Scene::Empty,
            work: Work::Refusal,
        };
        let made = program.subject(Call::FirstFit, &task, Duration::ZERO);
        assert!(made.is_err());
    }
}
