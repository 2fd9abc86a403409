//! Counts instructions and compares them with earlier counts.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{self, Command};

use crate::figures::Figures;
use crate::scenario::Scenario;

/// Operations of the shorter of two processes. This is enough that variations of start and end change the result by
/// less than a hundredth of an instruction per operation.
const OPERATIONS: u32 = 20_000;

/// How far a count may be from its figure, as a part of it. Counts of one build differ by a tenth of an instruction, so
/// this is room for what a compiler changes. The control's one look-up adds eleven in a hundred (2026-11).
const TOLERANCE: f64 = 0.03;

/// Writes the current counts.
///
/// # Errors
///
/// If something cannot be counted or written.
pub(crate) fn bless(file: &Path) -> Result<(), Box<dyn Error>> {
    let counts = Scenario::judged().map(|scenario| Ok((scenario.name(), per_operation(scenario)?)));
    let figures = Figures {
        rustc: rustc()?,
        instructions: counts.collect::<Result<_, Box<dyn Error>>>()?,
    };
    fs::write(file, figures.to_string())?;
    print!("{figures}");
    Ok(())
}

/// Compares the current counts with the committed figures.
///
/// # Errors
///
/// If something cannot be counted, is slower than its figure, or the control is not noticed.
pub(crate) fn check(file: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    let figures: Figures = text
        .parse()
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let rustc = rustc()?;
    if rustc != figures.rustc {
        println!(
            "The figures are those of {}, this is {rustc}: a difference may be the compiler's.",
            figures.rustc
        );
    }

    let mut changes = Vec::new();
    let mut lowest = f64::INFINITY;
    for scenario in Scenario::judged() {
        let name = scenario.name();
        let figure = figures.get(&name);
        let figure = figure.ok_or_else(|| format!("{name} has no figure: bless it"))?;
        let count = per_operation(scenario)?;
        changes.push(change_of(&name, count, figure));
        if scenario == Scenario::One {
            // A figure that is out of date because the path got faster must not hide the control.
            lowest = figure.min(count);
        }
    }
    let control = per_operation(Scenario::Control)?;
    if change_of("control", control, lowest) != Change::Slower {
        return Err(
            "the control executes more than its figure allows, and the gate did not notice".into(),
        );
    }
    println!("The control is slower, as it must be.");

    if changes.contains(&Change::Slower) {
        return Err("a hot path executes more instructions than it did; if that is meant, bless the figures".into());
    }
    if changes.contains(&Change::Faster) {
        println!("Faster than the figures: bless them, so that it stays so.");
    }
    Ok(())
}

/// The difference between a count and its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Slower,
    Faster,
}

impl Change {
    fn of(count: f64, figure: f64) -> Self {
        let ratio = count / figure;
        if ratio > 1.0 + TOLERANCE {
            Self::Slower
        } else if ratio < 1.0 - TOLERANCE {
            Self::Faster
        } else {
            Self::None
        }
    }
}

fn change_of(name: &str, count: f64, figure: f64) -> Change {
    let change = Change::of(count, figure);
    let percent = (count / figure - 1.0) * 100.0;
    let word = match change {
        Change::None => "ok",
        Change::Slower => "SLOWER",
        Change::Faster => "faster",
    };
    let tolerance = TOLERANCE * 100.0;
    println!(
        "{name:<24} {count:>8.1} instructions, figure {figure:>8.1}: {percent:>+6.1} % of \u{b1}{tolerance:.0} %  {word}"
    );
    change
}

/// Returns the instructions of one operation.
fn per_operation(scenario: Scenario) -> Result<f64, Box<dyn Error>> {
    let (once, twice) = (
        count(scenario, OPERATIONS)?,
        count(scenario, 2 * OPERATIONS)?,
    );
    let more = twice
        .checked_sub(once)
        .ok_or("twice the operations took fewer instructions")?;
    Ok(more as f64 / f64::from(OPERATIONS))
}

/// Returns the instructions of a process that does this many operations.
fn count(scenario: Scenario, operations: u32) -> Result<u64, Box<dyn Error>> {
    let file = env::temp_dir().join(format!("counts-{}.callgrind", process::id()));
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(&file);
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(out)
        .arg(env::current_exe()?)
        .args(["operate", &scenario.name(), &operations.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("valgrind: {}\n{said}", output.status).into());
    }
    let profile = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    total(&profile).ok_or_else(|| "callgrind's file has no total".into())
}

/// Returns the instructions of a whole process from callgrind's file.
fn total(profile: &str) -> Option<u64> {
    let mut lines = profile.lines();
    lines.find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
}

fn rustc() -> Result<String, Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals() {
        let profile = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) main\n7 3\ntotals: 1234\n";
        assert_eq!(total(profile), Some(1234));
        assert_eq!(total("events: Ir\ntotals: many\n"), None);
        assert_eq!(total(""), None);
    }

    #[test]
    fn changes_beyond_the_tolerance() {
        for (count, change) in [
            (100.0, Change::None),
            (102.9, Change::None),
            (97.1, Change::None),
            (103.1, Change::Slower),
            (96.9, Change::Faster),
        ] {
            assert_eq!(Change::of(count, 100.0), change, "{count}");
        }
    }
}
