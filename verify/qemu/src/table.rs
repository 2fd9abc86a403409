//! The result of each step, a line each, in the form that the script on the host reads.

use std::error::Error;
use std::process::ExitCode;

/// The finding of a check in words, or why it failed.
pub(crate) type Outcome = Result<String, Box<dyn Error>>;

/// The lines so far.
#[derive(Default)]
pub(crate) struct Table {
    failed: usize,
    passed: usize,
}

impl Table {
    /// Runs a check and prints its line.
    pub(crate) fn check(&mut self, step: &str, what: &str, check: impl FnOnce() -> Outcome) {
        self.line(step, what, check());
    }

    /// Runs the same check with a wrong address, which must report a mismatch. A check that could not run at all does
    /// not count.
    pub(crate) fn control(&mut self, step: &str, what: &str, check: impl FnOnce() -> Outcome) {
        let outcome = match check() {
            Ok(found) => Err(format!("passed, and should not: {found}").into()),
            Err(error) if error.is::<Wrong>() => Ok(format!("fails as it must: {error}")),
            Err(error) => Err(error),
        };
        self.line(step, &format!("control: {what}"), outcome);
    }

    /// Adds lines that another process printed.
    pub(crate) fn take_over(&mut self, other: &str) {
        for line in other.lines().filter(|line| line.starts_with("| ")) {
            println!("{line}");
            match line.contains("| ok |") {
                true => self.passed += 1,
                false => self.failed += 1,
            }
        }
    }

    fn line(&mut self, step: &str, what: &str, outcome: Outcome) {
        let (verdict, words) = match outcome {
            Ok(words) => ("ok", words),
            Err(error) => ("FAILED", with_sources(&*error)),
        };
        match verdict {
            "ok" => self.passed += 1,
            _ => self.failed += 1,
        }
        println!("| {step} | {what} | {verdict} | {words} |");
    }

    /// Prints the summary.
    pub(crate) fn sum_up(&self) -> ExitCode {
        let Self { failed, passed } = self;
        println!("RESULT {passed} passed, {failed} failed");
        match (*failed, *passed) {
            (0, 1..) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// Returns the texts of an error and its sources, on one line.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The error of a check that found a mismatch.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// Returns an error with these words.
pub(crate) fn wrong<T>(words: impl Into<String>) -> Result<T, Box<dyn Error>> {
    Err(Wrong(words.into()).into())
}
