//! The files that a report is written to.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use console::Style;

use super::publish::{Draft, Identity, identity};
use super::{End, complain_of};
use crate::plain::Plain;
use crate::report::{Report, csv, html};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Write a report with pictures, one file of HTML that needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the figures of the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures of the report as CSV, one a line
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// The format of a file.
#[derive(Clone, Copy)]
enum Kind {
    Html,
    Json,
    Csv,
}

impl ReportArgs {
    /// Returns whether any file is requested.
    pub(super) fn is_wanted(&self) -> bool {
        self.files().next().is_some()
    }

    fn files(&self) -> impl Iterator<Item = (Kind, &Path)> {
        [
            (Kind::Html, &self.html),
            (Kind::Json, &self.json),
            (Kind::Csv, &self.csv),
        ]
        .into_iter()
        .filter_map(|(kind, path)| Some((kind, path.as_deref()?)))
    }

    /// Checks that the files can be written, before the work whose result they get. Returns `None`, after a complaint,
    /// if one cannot be written, or is the same as another one, an input, standard output or standard error, whose
    /// content would be lost.
    pub(super) fn open(&self, inputs: &[PathBuf]) -> Option<Output> {
        let mut known = taken(inputs);
        let mut output = Output { files: Vec::new() };
        for (kind, path) in self.files() {
            output.files.push(Target {
                kind,
                path: path.to_owned(),
                draft: draft_unless_known(path, &mut known)?,
            });
        }
        Some(output)
    }
}

/// Checks that one file can be written, before the work whose result it gets: see [`ReportArgs::open`].
pub(super) fn draft(path: &Path, inputs: &[PathBuf]) -> Option<Draft> {
    draft_unless_known(path, &mut taken(inputs))
}

/// Returns the files that must not be overwritten.
fn taken(inputs: &[PathBuf]) -> Vec<Identity> {
    let shown = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    let shown = shown.into_iter().filter(|path| path.is_file());
    let all = inputs.iter().map(PathBuf::as_path).chain(shown);
    all.flat_map(identity).collect()
}

fn draft_unless_known(path: &Path, known: &mut Vec<Identity>) -> Option<Draft> {
    if let Ok(file) = identity(path) {
        if known.contains(&file) {
            complain_of(path, None, "named twice: what it holds would be lost");
            return None;
        }
        known.push(file);
    }
    Draft::open(path)
        .map_err(|error| complain_of(path, None, format_args!("cannot write: {error}")))
        .ok()
}

/// A file of the report, and its format.
struct Target {
    kind: Kind,
    path: PathBuf,
    draft: Draft,
}

/// The files of a report. They stay unchanged until it is written.
pub(super) struct Output {
    files: Vec<Target>,
}

/// The result of writing the files.
pub(super) struct Written {
    /// A line for each file that has the report.
    pub(super) text: String,
    pub(super) end: End,
}

impl Output {
    /// Writes the report, and complains about files that cannot be written. This comes before the report is shown, so
    /// that the files are complete even if nobody reads standard output to its end.
    pub(super) fn write(self, report: &Report) -> Written {
        let mut written = Written {
            text: String::new(),
            end: End::Well,
        };
        for target in self.files {
            let text = match target.kind {
                Kind::Html => html::page(report).map_err(io::Error::other),
                Kind::Json => Ok(report.to_json() + "\n"),
                Kind::Csv => Ok(csv::table(report)),
            };
            let path = Plain(target.path.display());
            match text.and_then(|text| target.draft.publish(&text)) {
                Ok(()) => written.text += &format!("wrote      {path}\n"),
                Err(error) => {
                    complain_of(&target.path, None, format_args!("cannot write: {error}"));
                    written.end = End::Impossible;
                }
            }
        }
        written
    }
}

/// Emphasises the lines that `is_main` picks, if standard output is a terminal and `NO_COLOR` is not set.
pub(super) fn emphasised(text: &str, is_main: impl Fn(&str) -> bool) -> String {
    if !io::stdout().is_terminal() || !console::colors_enabled() {
        return text.to_owned();
    }
    let style = Style::new().green().bold();
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) if is_main(line) => format!("{}\n", style.apply_to(line)),
            _ => line.to_owned(),
        })
        .collect()
}
