//! The table of verdicts.

use std::fmt::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::scan::Site;

/// The result of a weakening.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Caught {
        model: String,
        how: String,
    },
    /// Noticed by none of the `tried` models, of all `models` that reach the site.
    Uncaught {
        tried: usize,
        models: usize,
    },
    NotRun,
}

impl Verdict {
    pub(crate) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }

    pub(crate) fn to_line(&self) -> String {
        match self {
            Self::Caught { model, how } => format!("{model}\t{how}"),
            Self::Uncaught { tried, models } => format!("{tried} {models}"),
            Self::NotRun => String::new(),
        }
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        match line.split_once('\t') {
            Some((model, how)) => Some(Self::Caught {
                model: model.into(),
                how: how.into(),
            }),
            None => {
                let (tried, models) = line.split_once(' ')?;
                Some(Self::Uncaught {
                    tried: tried.parse().ok()?,
                    models: models.parse().ok()?,
                })
            }
        }
    }
}

/// One weakening of a site.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) weaker: &'static str,
    pub(crate) verdict: Verdict,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weaker = self.weaker;
        match &self.verdict {
            Verdict::Caught { model, how } => write!(f, "{weaker}: `{model}` ({how})"),
            Verdict::Uncaught { tried, models } => {
                write!(f, "{weaker}: none of {tried} tried of {models} models")
            }
            Verdict::NotRun => write!(f, "{weaker}: not run"),
        }
    }
}

/// Writes the table. Returns how many weakenings are neither caught nor excused.
pub(crate) fn write(
    table: &Path,
    sites: &[Site],
    rows: &[Vec<Row>],
    took: Duration,
) -> std::io::Result<usize> {
    let (mut caught, mut excused, mut open) = (0, 0, 0);
    let mut text = String::new();
    let mut file = "";
    for (site, rows) in sites.iter().zip(rows) {
        if site.file != file {
            file = &site.file;
            let _ = write!(
                text,
                "\n## `{file}`\n\n| line | function | of a | is | weakened to | noticed by |\n\
                 |---|---|---|---|---|---|\n"
            );
        }
        for row in rows {
            let noticed = match (&row.verdict, &site.excuse) {
                (Verdict::Caught { model, how }, _) => {
                    caught += 1;
                    format!("`{model}` ({how})")
                }
                (Verdict::Uncaught { models: 0, .. }, Some(excuse)) => {
                    excused += 1;
                    format!("in no model: {excuse}")
                }
                (Verdict::Uncaught { tried, .. }, Some(excuse)) => {
                    excused += 1;
                    format!("none of {tried} models: {excuse}")
                }
                (Verdict::Uncaught { tried, models }, None) => {
                    open += 1;
                    format!("**open**: none of {tried} tried of {models} models")
                }
                (Verdict::NotRun, _) => {
                    open += 1;
                    "**open**: not run".into()
                }
            };
            let weaker = match (site.kind, row.weaker) {
                (crate::scan::Kind::Fence, "Relaxed") => "no fence",
                (_, weaker) => weaker,
            };
            let Site {
                line,
                function,
                kind,
                ordering,
                ..
            } = site;
            let _ = writeln!(
                text,
                "| {line} | `{function}` | {kind} | {ordering} | {weaker} | {noticed} |"
            );
        }
    }
    let left = match open {
        0 => "none open".into(),
        _ => format!(
            "{open} open: not run yet, or tried with few models for a short time, which says nothing \
             about whether they are needed"
        ),
    };
    let head = format!(
        "# Weakened orderings\n\n\
         Written by `ci/orderings.sh` on {date}, after {minutes} minutes in addition to what was kept of earlier \
         runs. Each ordering above `Relaxed` is made weaker by itself, and models that come by are run \
         until one notices. A weakening that is noticed speaks for those that go further.\n\n\
         {sites} sites, {all} weakenings: {caught} noticed, {excused} not, for the reason at the site, \
         {left}.\n",
        date = today(),
        minutes = took.as_secs().div_ceil(60),
        sites = sites.len(),
        all = caught + excused + open,
    );
    std::fs::write(table, head + &text)?;
    println!("orderings: {caught} noticed, {excused} excused, {open} open");
    Ok(open)
}

fn today() -> String {
    let date = std::process::Command::new("date")
        .arg("+%-d %B %Y")
        .output();
    date.map_or_else(
        |_| "an unknown day".into(),
        |date| String::from_utf8_lossy(&date.stdout).trim().into(),
    )
}
