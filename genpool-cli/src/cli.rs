//! The command line: arguments in, text and an exit code out.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use genpool::devm::LoadError;
use indicatif::{ProgressBar, ProgressStyle};

use crate::algorithm::AlgorithmSpec;
use crate::dt;
use crate::memory::Arena;
use crate::replay::{ReplayError, replay};
use crate::run::load::Fault;
use crate::run::plan::{Plan, Wish};
use crate::run::{Progress, RunError, machine, report, run};
use crate::show;
use crate::size::{parse_number, parse_size};
use crate::table::{layout, nanoseconds, shorten};
use crate::trace::{self, Trace};
use crate::verify::verify;

/// Exercise and check the genpool allocator.
#[derive(Debug, Parser)]
#[command(name = "genpool", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every algorithm on real memory with all cores, checking every allocation
    Run(RunArgs),
    /// Time recorded traces, ignoring the answers recorded in them
    Replay(ReplayArgs),
    /// Replay recorded traces and compare every answer
    Verify(VerifyArgs),
    /// Show what pools a board has, by its device tree
    Dt(DtArgs),
    /// Show a pool as it was, from a snapshot in JSON
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Length of the run, shared by all algorithms [default: 20]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    threads: Option<usize>,
    /// Memory under the pool, such as 64M, 1G, 4096 or 0x100000 [default: 16M]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = size)]
    size: Option<usize>,
    /// Granules are 2^ORDER bytes [default: 6]
    #[arg(long, value_name = "ORDER", allow_negative_numbers = true, value_parser = number)]
    order: Option<usize>,
    /// Chunks that the memory is split into [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    chunks: Option<usize>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    unnamed: Unnamed,
    /// Runs of each trace, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeats: u32,
    /// Traces
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    unnamed: Unnamed,
    /// Traces
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct DtArgs {
    /// Print JSON, a line for each file
    #[arg(long)]
    json: bool,
    /// Properties in which to look for references too
    #[arg(long, value_name = "NAME")]
    property: Vec<String>,
    /// Flattened device trees [default: that of this system]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Snapshots
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Unnamed {
    /// For allocations that name no algorithm: first-fit, first-fit-align:BYTES, order-align,
    /// best-fit, fixed:OFFSET, fixed-address:ADDRESS, next-fit or thread-start
    #[arg(long, value_name = "ALGO", default_value_t)]
    algorithm: AlgorithmSpec,
}

fn size(text: &str) -> Result<usize, String> {
    parse_size(text).map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<usize, String> {
    parse_number(text)
        .map_err(|error| error.to_string())
        .and_then(|number| usize::try_from(number).map_err(|_| "too large".to_owned()))
}

/// Of a trace, in a table.
const LONGEST_PATH: usize = 58;

/// How a command ended, if it was not cut off by an error of its own output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Well,
    /// The pool gave a wrong answer.
    Wrong,
    /// The input or the machine does not allow the job.
    Impossible,
}

/// Runs the command with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut out = io::stdout().lock();
    let end = match cli.command {
        Command::Run(args) => run_command(&args, &mut out),
        Command::Replay(args) => replay_command(&args, &mut out),
        Command::Verify(args) => verify_command(&args, &mut out),
        Command::Dt(args) => dt_command(&args, &mut out),
        Command::Show(args) => show_command(&args, &mut out),
    };
    match end.and_then(|end| out.flush().map(|()| end)) {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Wrong) => ExitCode::from(1),
        Ok(End::Impossible) => ExitCode::from(2),
        // The reader of the output has gone, which is its right; nobody is left to be told.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(2),
        Err(error) => {
            complain(&format!("cannot write: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Help and version go out as they are; a wrong argument becomes one line.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            let lines: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.is_empty())
                .collect();
            let line = lines.join(" ");
            complain(line.strip_prefix("error: ").unwrap_or(&line));
            ExitCode::from(2)
        }
    }
}

/// One line on standard error. Where that cannot be written there is nobody to tell.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "genpool: {line}");
}

/// The same about a file, so that editors find the place.
fn complain_of(path: &Path, line: Option<u32>, what: impl Display) {
    let path = path.display();
    let _ = match line {
        Some(line) => writeln!(io::stderr(), "{path}:{line}: {what}"),
        None => writeln!(io::stderr(), "{path}: {what}"),
    };
}

fn run_command(args: &RunArgs, out: &mut dyn Write) -> io::Result<End> {
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
            complain(&error.to_string());
            return Ok(End::Impossible);
        }
    };
    let arena = match Arena::map(plan.size(), plan.granule(), plan.granule()) {
        Ok(arena) => arena,
        Err(error) => {
            complain(&error.to_string());
            return Ok(End::Impossible);
        }
    };
    // More threads than processors share them as the system sees fit.
    let processors = match machine::processors() {
        processors if processors.len() >= plan.threads() => processors,
        _ => Vec::new(),
    };
    writeln!(
        out,
        "{}",
        report::head(&plan, arena.pages(), !processors.is_empty())
    )?;
    out.flush()?;

    let bar = progress_bar(plan.time());
    let outcome = run(
        &plan,
        &arena,
        &processors,
        &mut |Progress { name, elapsed }| {
            bar.set_message(name.to_owned());
            bar.set_position(elapsed.as_millis() as u64);
        },
    );
    bar.finish_and_clear();
    match outcome {
        Ok(outcome) => {
            writeln!(out, "{}", report::table(&plan, &outcome))?;
            write!(out, "{}", report::verdict(&outcome))?;
            Ok(End::Well)
        }
        Err(error) => {
            complain(&error.to_string());
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

/// A bar on standard error that fills with the time; none where that is no terminal.
fn progress_bar(time: Duration) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(time.as_millis() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn replay_command(args: &ReplayArgs, out: &mut dyn Write) -> io::Result<End> {
    let mut end = End::Well;
    let mut rows = Vec::new();
    for path in &args.files {
        let Some(trace) = load(path) else {
            end = End::Impossible;
            continue;
        };
        match replay(&trace, args.unnamed.algorithm, args.repeats) {
            Ok(replay) => rows.push(vec![
                shorten(&path.display().to_string(), LONGEST_PATH),
                replay.operations.to_string(),
                replay.allocs.to_string(),
                replay.failed.to_string(),
                replay
                    .ns_per_operation()
                    .map_or("-".to_owned(), nanoseconds),
            ]),
            Err(ReplayError::Trace(error)) => {
                complain_of(path, Some(error.line()), error.what());
                end = End::Impossible;
            }
            Err(ReplayError::FreeRefused { line, error }) => {
                complain_of(
                    path,
                    Some(line),
                    format_args!("the pool refused a free: {error}"),
                );
                end = end.max(End::Wrong);
            }
        }
    }
    if !rows.is_empty() {
        let header = ["trace", "operations", "allocs", "failed", "time each"];
        write!(out, "{}", layout(&header, &[], &rows))?;
        let runs = match args.repeats {
            1 => "of one run".to_owned(),
            n => format!("in the median of {n} runs"),
        };
        writeln!(
            out,
            "time of an operation, which is an allocation or a free: the mean {runs}"
        )?;
    }
    Ok(end)
}

fn verify_command(args: &VerifyArgs, out: &mut dyn Write) -> io::Result<End> {
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

fn dt_command(args: &DtArgs, out: &mut dyn Write) -> io::Result<End> {
    let mut end = End::Well;
    let mut files: Vec<Option<&Path>> = args.files.iter().map(|path| Some(&**path)).collect();
    if files.is_empty() {
        files.push(None);
    }
    for (at, &path) in files.iter().enumerate() {
        let board = match dt::survey(path, &args.property) {
            Ok(board) => board,
            Err(error) => {
                match (path, &error) {
                    (Some(path), LoadError::Blob(error)) => complain_of(path, None, error),
                    _ => complain(&error.to_string()),
                }
                end = End::Impossible;
                continue;
            }
        };
        for sram in board.srams.iter().filter(|sram| sram.enabled) {
            if let Some(error) = &sram.error {
                complain_of(path.unwrap_or(Path::new("this system")), None, error);
                end = End::Impossible;
            }
        }
        if args.json {
            let file = path.map(|path| path.display().to_string());
            writeln!(out, "{}", dt::json(file.as_deref(), &board))?;
        } else {
            if at > 0 {
                writeln!(out)?;
            }
            if let Some(path) = path {
                writeln!(out, "file      {}", path.display())?;
            }
            write!(out, "{}", dt::text::board(&board))?;
        }
    }
    Ok(end)
}

fn show_command(args: &ShowArgs, out: &mut dyn Write) -> io::Result<End> {
    let mut end = End::Well;
    for (at, path) in args.files.iter().enumerate() {
        match show::load(path) {
            Ok(snapshot) => {
                if at > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", show::text::pool(&snapshot))?;
            }
            Err(error) => {
                complain_of(path, None, error);
                end = End::Impossible;
            }
        }
    }
    Ok(end)
}

/// Reads a trace, or says why not.
fn load(path: &Path) -> Option<Trace> {
    match Trace::load(path) {
        Ok(trace) => Some(trace),
        Err(trace::LoadError::Trace(error)) => {
            complain_of(path, Some(error.line()), error.what());
            None
        }
        Err(error) => {
            complain_of(path, None, error);
            None
        }
    }
}
