//! The commands that read or make traces.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::slice;

use super::bar::Bar;
use super::output::{draft, emphasised};
use super::{CompareArgs, ConvertArgs, End, ReplayArgs, VerifyArgs, complain_of};
use crate::chain::Chain;
use crate::compare::{self, Wish, advise_all, compare};
use crate::plain::Plain;
use crate::replay::{ReplayError, replay};
use crate::report::{Entry, Report};
use crate::strace::convert;
use crate::table::{bytes, count, layout, nanoseconds, shorten, wrapped};
use crate::trace::{LoadError, Trace};
use crate::verify::verify;

/// The longest path of a trace in a table.
const LONGEST_PATH: usize = 34;

/// The most lines of allocations that are not freed in a message.
const MOST_LINES: usize = 5;

pub(super) fn replay_command(args: &ReplayArgs, out: &mut dyn Write) -> io::Result<End> {
    let Some(output) = args.report.open(&args.files) else {
        return Ok(End::Impossible);
    };
    let mut report = Report::new("replay");
    let (algorithm, repeats) = (args.unnamed.algorithm, args.repeats.repeats);
    let Played { end, missing } = play_all(&args.files, |name, trace, bar| {
        let found = replay(name, trace, algorithm, repeats, &mut |progress| {
            bar.show(progress)
        })?;
        report.entries.extend(found.entry);
        let notes = found.notes.into_iter().chain(not_freed(trace));
        report.notes.extend(noted(name, notes));
        Ok(())
    });
    if report.entries.is_empty() {
        return Ok(end);
    }
    report.notes.extend(left_out(&missing));
    report.fact("traces", report.entries.len().to_string());
    report.fact(
        "algorithm",
        format!(
            "what each allocation names, or else {}",
            args.unnamed.algorithm
        ),
    );
    let written = output.write(&report);
    let header = [
        "trace",
        "operations",
        "failed",
        "peak",
        "of",
        "each",
        "p50",
        "p99",
    ];
    let rows: Vec<Vec<String>> = report.entries.iter().map(replayed).collect();
    write!(out, "{}", layout(&header, &[], &rows))?;
    writeln!(
        out,
        "peak   most bytes taken at once, and all there are\n\
         each   mean of an operation, which is an allocation or a free, in the median of all runs\n\
         p50    and p99 are of single operations, with the time to read the clock"
    )?;
    for note in &report.notes {
        write!(out, "{}", wrapped("note   ", note))?;
    }
    out.write_all(written.text.as_bytes())?;
    Ok(end.max(written.end))
}

fn replayed(entry: &Entry) -> Vec<String> {
    let time = |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), nanoseconds);
    let latency = entry.latency.as_ref();
    let peak = entry.memory.map_or(0, |memory| memory.peak_taken);
    vec![
        shorten(&entry.load, LONGEST_PATH),
        entry.operations.all.to_string(),
        count(entry.operations.failed),
        bytes(peak as f64),
        bytes(entry.size as f64),
        time(entry.speed.map(|speed| speed.ns)),
        time(latency.map(|latency| latency.p50 as f64)),
        time(latency.map(|latency| latency.p99 as f64)),
    ]
}

pub(super) fn compare_command(args: &CompareArgs, out: &mut dyn Write) -> io::Result<End> {
    let Some(output) = args.report.open(&args.files) else {
        return Ok(End::Impossible);
    };
    let wish = Wish {
        orders: args.order.clone(),
        algorithms: args.algorithm.clone(),
        repeats: args.repeats.repeats,
    };
    let mut report = Report::new("compare");
    let Played { end, missing } = play_all(&args.files, |name, trace, bar| {
        let found = compare(name, trace, &wish, &mut |progress| bar.show(progress))?;
        report.entries.extend(found.entries);
        report.advice.extend(found.advice);
        report.notes.extend(noted(name, found.notes));
        Ok(())
    });
    if report.entries.is_empty() {
        return Ok(end);
    }
    report.notes.extend(left_out(&missing));
    let loads = report.loads();
    if loads.len() > 1 {
        match advise_all(&loads, &missing) {
            Some(advice) => report.advice.push(advice),
            None => report.notes.push(
                "nothing is recommended for all traces together: no algorithm and order served all of them".to_owned(),
            ),
        }
    }
    report.fact("traces", report.loads().len().to_string());
    report.fact("rule", "fails least, then wastes least, then is fastest");
    let written = output.write(&report);
    let text = compare::text::tables(&report);
    let is_main = |line: &str| {
        ["▸", "use ", "all: use "]
            .iter()
            .any(|head| line.starts_with(head))
    };
    write!(out, "{}", emphasised(&text, is_main))?;
    out.write_all(written.text.as_bytes())?;
    Ok(end.max(written.end))
}

/// The result of playing several traces.
struct Played {
    end: End,
    /// The names of traces that could not be played.
    missing: Vec<String>,
}

/// Plays traces one after the other, with a bar. Complains about those that cannot be read or played.
fn play_all(
    files: &[PathBuf],
    mut play: impl FnMut(&str, &Trace, &mut Bar) -> Result<(), ReplayError>,
) -> Played {
    let mut end = End::Well;
    let mut missing = Vec::new();
    let mut bar = Bar::new();
    for (path, name) in files.iter().zip(names(files)) {
        let Some(trace) = bar.aside(|| load(path)) else {
            end = End::Impossible;
            missing.push(name);
            continue;
        };
        if let Err(error) = play(&name, &trace, &mut bar) {
            end = end.max(bar.aside(|| refused(path, &error)));
            missing.push(name);
        }
    }
    bar.clear();
    Played { end, missing }
}

/// Returns the names of the files in reports: their paths, with a number if one is repeated.
fn names(files: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for path in files {
        let path = Plain(path.display()).to_string();
        let numbered = (2..).map(|n| format!("{path} ({n})"));
        let name = iter::once(path.clone())
            .chain(numbered)
            .find(|name| !names.contains(name));
        names.extend(name);
    }
    names
}

/// Returns the notes on one of several traces.
fn noted(name: &str, notes: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    let name = shorten(name, LONGEST_PATH);
    notes.into_iter().map(move |note| format!("{name}: {note}"))
}

/// Returns a note on the allocations that a trace does not free, if there are any.
fn not_freed(trace: &Trace) -> Option<String> {
    let lines = trace.unfreed();
    let first: Vec<_> = lines.iter().take(MOST_LINES).map(u32::to_string).collect();
    let first = first.join(", ");
    match lines.len() {
        0 => None,
        1 => Some(format!("1 allocation is not freed: line {first}")),
        count => {
            let more = if count > MOST_LINES { ", …" } else { "" };
            Some(format!(
                "{count} allocations are not freed: lines {first}{more}"
            ))
        }
    }
}

fn left_out(missing: &[String]) -> Option<String> {
    let names: Vec<String> = missing
        .iter()
        .map(|name| shorten(name, LONGEST_PATH))
        .collect();
    (!names.is_empty()).then(|| format!("could not be played: {}", names.join(", ")))
}

/// Reports why a trace cannot be played.
fn refused(path: &Path, error: &ReplayError) -> End {
    match error {
        ReplayError::Trace(error) => {
            complain_of(path, Some(error.line()), error.what());
            End::Impossible
        }
        ReplayError::FreeRefused { line, source } => {
            let what = format_args!("the pool refused a free: {source}");
            complain_of(path, Some(*line), what);
            End::Wrong
        }
    }
}

pub(super) fn convert_command(args: &ConvertArgs, out: &mut dyn Write) -> io::Result<End> {
    let draft = match &args.output {
        Some(path) => match draft(path, slice::from_ref(&args.file)) {
            Some(draft) => Some((path, draft)),
            None => return Ok(End::Impossible),
        },
        None => None,
    };
    let converted = File::open(&args.file)
        .map_err(Into::into)
        .and_then(|file| convert(BufReader::new(file), args.size));
    let trace = match converted {
        Ok(trace) => trace,
        Err(error) => {
            complain_of(&args.file, None, Chain(&error));
            return Ok(End::Impossible);
        }
    };
    match draft {
        None => {
            let mut out = io::BufWriter::new(out);
            write!(out, "{trace}")?;
            // Dropping it would hide an error.
            out.flush()?;
        }
        Some((path, draft)) => {
            if let Err(error) = draft.publish(&trace.to_string()) {
                complain_of(path, None, format_args!("cannot write: {error}"));
                return Ok(End::Impossible);
            }
        }
    }
    Ok(End::Well)
}

pub(super) fn verify_command(args: &VerifyArgs, out: &mut dyn Write) -> io::Result<End> {
    let mut end = End::Well;
    let (mut files, mut checked, mut differences) = (0u64, 0u64, 0u64);
    for path in &args.files {
        let Some(trace) = load(path) else {
            end = End::Impossible;
            continue;
        };
        let found = match verify(&trace, args.unnamed.algorithm) {
            Ok(found) => found,
            Err(error) => {
                complain_of(path, Some(error.line()), error.what());
                end = End::Impossible;
                continue;
            }
        };
        if found.recorded == 0 && found.differences == 0 {
            complain_of(
                path,
                None,
                "nothing to verify: no result and no expectation is recorded",
            );
            end = End::Impossible;
            continue;
        }
        files += 1;
        checked += found.checked;
        differences += found.differences;
        let path = Plain(path.display());
        writeln!(
            out,
            "{path}: {} operations checked, {} differences",
            found.checked, found.differences
        )?;
        if let Some(first) = found.first {
            writeln!(out, "{path}:{}: {first}", first.line)?;
            end = end.max(End::Wrong);
        }
        if let Some(note) = not_freed(&trace) {
            writeln!(out, "{path}: {note}")?;
        }
    }
    writeln!(
        out,
        "{files} of {} files: {checked} operations checked, {differences} differences",
        args.files.len()
    )?;
    Ok(end)
}

/// Reads a trace, or reports why it cannot be read.
fn load(path: &Path) -> Option<Trace> {
    match Trace::load(path) {
        Ok(trace) => Some(trace),
        Err(LoadError::Trace(error)) => {
            complain_of(path, Some(error.line()), error.what());
            None
        }
        Err(error) => {
            complain_of(path, None, Chain(&error));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_played_is_named() {
        assert_eq!(left_out(&[]), None);
        let missing = ["a", "b"].map(str::to_owned);
        assert_eq!(left_out(&missing).unwrap(), "could not be played: a, b");
    }

    #[test]
    fn allocations_that_are_not_freed_are_counted() {
        let note = |lines: &str| {
            let text = format!("# genpool trace v1\npool order=4\n{lines}");
            not_freed(&Trace::parse(&text).unwrap())
        };
        let allocs = |ids: std::ops::Range<u32>| -> String {
            ids.map(|id| format!("alloc {id} size=1\n")).collect()
        };
        assert_eq!(note(&(allocs(0..2) + "free 0\nfree 1\n")), None);
        assert_eq!(note("alloc 1 size=1 -> none\n"), None);
        // The ID is used again.
        let again = allocs(1..2) + "free 1\n" + &allocs(1..2);
        let text = "1 allocation is not freed: line 5";
        assert_eq!(note(&again).as_deref(), Some(text));
        let text = "5 allocations are not freed: lines 3, 4, 5, 6, 7";
        assert_eq!(note(&allocs(0..5)).as_deref(), Some(text));
        let text = "6 allocations are not freed: lines 3, 4, 5, 6, 7, …";
        assert_eq!(note(&allocs(0..6)).as_deref(), Some(text));
    }

    #[test]
    fn names_are_distinct() {
        let files = ["a", "b", "a", "a (2)", "a", "c\u{1b}[2J"].map(PathBuf::from);
        let expected = ["a", "b", "a (2)", "a (2) (2)", "a (3)", "c\u{fffd}[2J"];
        assert_eq!(names(&files), expected);
    }
}
