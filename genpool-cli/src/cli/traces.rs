//! The commands that read traces, or make them.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use super::bar::Bar;
use super::output::emphasised;
use super::{CompareArgs, ConvertArgs, End, ReplayArgs, VerifyArgs, complain_of};
use crate::compare::{self, Wish, advise_all, compare};
use crate::replay::{ReplayError, replay};
use crate::report::{Entry, Report};
use crate::strace::convert;
use crate::table::{bytes, count, layout, nanoseconds, shorten};
use crate::trace::{LoadError, Trace};
use crate::verify::verify;

/// Of a trace, in a table.
const LONGEST_PATH: usize = 34;

pub(super) fn replay_command(args: &ReplayArgs, out: &mut dyn Write) -> io::Result<End> {
    let Some(output) = args.report.open(&args.files) else {
        return Ok(End::Impossible);
    };
    let mut report = Report::new("replay");
    let (algorithm, repeats) = (args.unnamed.algorithm, args.repeats.repeats);
    let mut end = play_all(&args.files, |name, trace, bar| {
        let entry = replay(name, trace, algorithm, repeats, &mut |progress| {
            bar.show(progress)
        })?;
        report.entries.push(entry);
        Ok(())
    });
    if report.entries.is_empty() {
        return Ok(end);
    }
    report.fact("traces", report.entries.len().to_string());
    report.fact(
        "algorithm",
        format!(
            "what each allocation names, or else {}",
            args.unnamed.algorithm
        ),
    );
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
    if !output.write(&report) {
        end = end.max(End::Impossible);
    }
    Ok(end)
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
    let mut end = play_all(&args.files, |name, trace, bar| {
        let found = compare(name, trace, &wish, &mut |progress| bar.show(progress))?;
        report.entries.extend(found.entries);
        report.advice.extend(found.advice);
        if found.named > 0 {
            report.notes.push(format!(
                "{name}: {} allocations name an algorithm of their own, which is not heeded here",
                found.named
            ));
        }
        Ok(())
    });
    if report.entries.is_empty() {
        return Ok(end);
    }
    let all = advise_all(&report.loads());
    report.advice.extend(all);
    report.fact("traces", report.loads().len().to_string());
    report.fact("rule", "fails least, then wastes least, then is fastest");
    let text = compare::text::tables(&report);
    let is_main = |line: &str| {
        ["▸", "use ", "all: use "]
            .iter()
            .any(|head| line.starts_with(head))
    };
    write!(out, "{}", emphasised(&text, is_main))?;
    if !output.write(&report) {
        end = end.max(End::Impossible);
    }
    Ok(end)
}

/// Plays one trace after the other, with a bar; complains of what cannot be read or played.
fn play_all(
    files: &[PathBuf],
    mut play: impl FnMut(&str, &Trace, &mut Bar) -> Result<(), ReplayError>,
) -> End {
    let mut end = End::Well;
    let mut bar = Bar::new();
    for path in files {
        let Some(trace) = bar.aside(|| load(path)) else {
            end = End::Impossible;
            continue;
        };
        if let Err(error) = play(&path.display().to_string(), &trace, &mut bar) {
            end = end.max(bar.aside(|| refused(path, &error)));
        }
    }
    bar.clear();
    end
}

/// Says why a trace cannot be played.
fn refused(path: &Path, error: &ReplayError) -> End {
    match error {
        ReplayError::Trace(error) => {
            complain_of(path, Some(error.line()), error.what());
            End::Impossible
        }
        ReplayError::FreeRefused { line, error } => {
            let what = format_args!("the pool refused a free: {error}");
            complain_of(path, Some(*line), what);
            End::Wrong
        }
    }
}

pub(super) fn convert_command(args: &ConvertArgs, out: &mut dyn Write) -> io::Result<End> {
    let converted = File::open(&args.file)
        .map_err(Into::into)
        .and_then(|file| convert(BufReader::new(file), args.size));
    match converted {
        Ok(trace) => {
            write!(io::BufWriter::new(out), "{trace}")?;
            Ok(End::Well)
        }
        Err(error) => {
            complain_of(&args.file, None, error);
            Ok(End::Impossible)
        }
    }
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
        let path = path.display();
        writeln!(
            out,
            "{path}: {} operations checked, {} differences",
            found.checked, found.differences
        )?;
        if let Some(first) = found.first {
            writeln!(out, "{path}:{}: {first}", first.line)?;
            end = end.max(End::Wrong);
        }
    }
    writeln!(
        out,
        "{files} of {} files: {checked} operations checked, {differences} differences",
        args.files.len()
    )?;
    Ok(end)
}

/// Reads a trace, or says why not.
fn load(path: &Path) -> Option<Trace> {
    match Trace::load(path) {
        Ok(trace) => Some(trace),
        Err(LoadError::Trace(error)) => {
            complain_of(path, Some(error.line()), error.what());
            None
        }
        Err(error) => {
            complain_of(path, None, error);
            None
        }
    }
}
