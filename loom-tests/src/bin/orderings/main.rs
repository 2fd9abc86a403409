//! Weakens each ordering above `Relaxed` in the crates, one by one, and runs models until one of them fails: see
//! `ci/orderings.sh`.
//!
//! A copy of the tree is built once, in which each ordering is looked up by a number. The environment says which number
//! is weakened, and to what. So a weakening costs a run, not a build.
//!
//! In that copy loom's own `SeqCst` loads stand for themselves: they read nothing older than the last `SeqCst` store,
//! if everything stored before was stored with `SeqCst` too, which the copy ensures. Where that does not suffice there
//! are fences, on the weakened side only. A model that also fails with nothing weakened gives no verdict.
//!
//! Finally the models run on the machine's atomics under Miri (`--cfg genpool_machine`). An ordering that no model
//! needs either has a reason at its site or was unnecessary, and has been weakened.

mod kept;
mod models;
mod report;
mod scan;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::kept::Kept;
use crate::models::Models;
use crate::report::{Row, Verdict};

/// A failure of a file operation or a program, as text.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, table, only @ ..] = &*arguments else {
        eprintln!(
            "orderings: names a folder to work in, the table's file, and source files if not all"
        );
        return ExitCode::from(2);
    };
    match weaken(Path::new(target), Path::new(table), only) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(open) => {
            eprintln!("orderings: {open} weakenings are neither caught nor excused");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("orderings: {error}");
            ExitCode::from(2)
        }
    }
}

/// Weakens all sites, or those in files whose names contain one of `only`. Returns how many weakenings are neither
/// caught nor excused.
fn weaken(target: &Path, table: &Path, only: &[String]) -> Result<usize, Failure> {
    let began = Instant::now();
    let sites = scan::sites()?;
    let tree = target.join("tree");
    scan::copy(&tree, &sites)?;
    let models = Models::build(&tree, target)?;
    let kept = Kept::of(&tree, target)?;
    let mut rows = Vec::new();
    for (number, site) in sites.iter().enumerate() {
        let name = format!("{}:{}", site.file, site.line);
        let chosen = only.is_empty() || only.iter().any(|part| name.contains(part));
        let judge = |weaker: &'static str| -> Result<Row, Failure> {
            let verdict = match kept.get(site, weaker) {
                Some(known) => known,
                None if !chosen && models.come_by(number) => Verdict::NotRun,
                None => {
                    let verdict = models.judge(number, site, weaker)?;
                    kept.put(site, weaker, &verdict)?;
                    verdict
                }
            };
            let row = Row { weaker, verdict };
            println!("{}:{} {} -> {row}", site.file, site.line, site.ordering);
            Ok(row)
        };
        let mut of_site = Vec::new();
        for weaker in site.one_step_down() {
            of_site.push(judge(weaker)?);
        }
        // A model that notices one step down also notices two.
        if of_site.iter().any(|row| !row.verdict.is_caught()) {
            for weaker in site.two_steps_down() {
                of_site.push(judge(weaker)?);
            }
        }
        rows.push(of_site);
    }
    Ok(report::write(table, &sites, &rows, began.elapsed())?)
}
