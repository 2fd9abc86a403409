//! The models, by tool: which sites each of them reaches, and its verdict on a weakened site.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Failure;
use crate::report::Verdict;
use crate::scan::Site;

/// For how many seconds of processor time each function's models run, with few switches, to find the sites that they
/// reach. This is long enough for all of them (2026-11).
const WATCHED: u32 = 5;

/// How many times more models are tried with few switches than with all switches.
const HASTY: usize = 4;

/// How many times longer than it took to notice a weakening a model must pass with nothing weakened.
const PATIENCE: u32 = 5;

/// A test function, which has one or more models.
#[derive(Debug)]
struct Model {
    /// The function's name, with its module.
    function: String,
    /// The test program under loom.
    program: PathBuf,
    sites: BTreeSet<usize>,
}

#[derive(Debug)]
pub(crate) struct Models {
    tree: PathBuf,
    target: PathBuf,
    /// All models, those that loom finishes first at the front.
    models: Vec<Model>,
    effort: Effort,
    /// Parts of the names of the models to try first.
    first: Vec<String>,
}

/// How long to search for a model that notices a weakening.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Seconds of processor time for a model under loom.
    loom: u32,
    /// Executions of a model under Miri, for each seed.
    executions: u32,
    seeds: u32,
    /// How many models to try under loom.
    models: usize,
    /// How many models to try under Miri.
    miri_models: usize,
}

/// Returns a number from the environment, or `otherwise`.
fn asked(name: &str, otherwise: u32) -> u32 {
    let given = std::env::var(name).ok();
    given
        .and_then(|given| given.parse().ok())
        .unwrap_or(otherwise)
}

fn flags(more: &str) -> String {
    format!("--cfg genpool_loom --cfg genpool_small {more} -Awarnings")
}

/// Returns a command that ends after `seconds` seconds of processor time.
fn limited(seconds: u32, program: &Path) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("ulimit -t {seconds}; exec \"$0\" \"$@\"")])
        .arg(program)
        .env("RUST_BACKTRACE", "0");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Models {
    /// Builds the models in `tree` for both tools, and finds which sites each of them reaches.
    pub(crate) fn build(tree: &Path, target: &Path) -> Result<Self, Failure> {
        let mut models = Self {
            tree: fs::canonicalize(tree)?,
            target: fs::canonicalize(target)?,
            models: Vec::new(),
            first: std::env::var("ORDERINGS_FIRST")
                .map(|names| names.split(' ').map(String::from).collect())
                .unwrap_or_default(),
            effort: Effort {
                loom: asked("ORDERINGS_LOOM_SECONDS", 2),
                executions: asked("ORDERINGS_EXECUTIONS", 30),
                seeds: asked("ORDERINGS_SEEDS", 1),
                models: asked("ORDERINGS_MODELS", 10) as usize,
                miri_models: asked("ORDERINGS_MIRI_MODELS", 3) as usize,
            },
        };
        let built = Command::new("cargo")
            .args([
                "test",
                "--release",
                "-p",
                "loom-tests",
                "--test",
                "models",
                "--no-run",
            ])
            .current_dir(&models.tree)
            .env("CARGO_TARGET_DIR", models.target.join("loom"))
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "4")
            .env("RUSTFLAGS", flags(""))
            .output()?;
        let stderr = text(&built.stderr);
        if !built.status.success() {
            return Err(stderr.into());
        }
        let (_, program) = stderr
            .trim_end()
            .rsplit_once("Executable tests/models/main.rs (")
            .ok_or("an unknown line of cargo's")?;
        models.watch(program.trim_end_matches(')'))?;
        let built = models.miri(&["--no-run"]).output()?;
        if !built.status.success() {
            return Err(text(&built.stderr).into());
        }
        Ok(models)
    }

    /// Registers the program's models, sorted by how soon loom finishes them.
    fn watch(&mut self, program: &str) -> Result<(), Failure> {
        let program = fs::canonicalize(program)?;
        let listed = text(&Command::new(&program).arg("--list").output()?.stdout);
        let functions = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        for function in functions.filter(|name| !name.contains("::control_")) {
            let seen = self.target.join("watched").join(function);
            let log = match fs::read_to_string(&seen) {
                Ok(log) if self.is_newer(&seen, &program) => log,
                _ => {
                    let run = limited(WATCHED, &program)
                        .args(["--exact", function, "--nocapture"])
                        .env("GENPOOL_SITES", "")
                        .env("GENPOOL_PREEMPTIONS", "1")
                        .output()?;
                    let log = text(&run.stdout);
                    if log.contains(": failed in execution") {
                        return Err(format!("{function} fails though nothing is weakened").into());
                    }
                    fs::create_dir_all(self.target.join("watched"))?;
                    fs::write(seen, &log)?;
                    log
                }
            };
            let sites = log
                .lines()
                .filter_map(|line| line.split("site ").nth(1)?.parse().ok());
            self.models.push(Model {
                function: function.into(),
                program: program.clone(),
                sites: sites.collect(),
            });
        }
        // Models that reach few sites are small.
        self.models.sort_by_key(|model| model.sites.len());
        Ok(())
    }

    fn is_newer(&self, file: &Path, than: &Path) -> bool {
        let changed = |file: &Path| fs::metadata(file).and_then(|data| data.modified()).ok();
        changed(file) > changed(than)
    }

    /// Returns a command that runs Miri on tests of the models.
    fn miri(&self, more: &[&str]) -> Command {
        let mut command = limited(600, Path::new("cargo"));
        command
            .args([
                "+nightly",
                "miri",
                "test",
                "-q",
                "-p",
                "loom-tests",
                "--test",
                "models",
            ])
            .args(more)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", self.target.join("machine"))
            .env("RUSTFLAGS", flags("--cfg genpool_machine"));
        command
    }

    /// Returns whether any model reaches the site.
    pub(crate) fn come_by(&self, number: usize) -> bool {
        self.models
            .iter()
            .any(|model| model.sites.contains(&number))
    }

    /// Returns the models' verdict on a weakened site.
    pub(crate) fn judge(
        &self,
        number: usize,
        site: &Site,
        weaker: &'static str,
    ) -> Result<Verdict, Failure> {
        let mut by_it: Vec<&Model> = self.models.iter().collect();
        by_it.retain(|model| model.sites.contains(&number));
        by_it.sort_by_key(|model| !self.first.iter().any(|name| model.function.contains(name)));
        let tried = self.effort.models.max(self.first.len()).min(by_it.len());
        let weakened = format!("{number} {weaker}");
        let fences = site.fences(weaker);
        // Most faults need few switches, and models finish soon with those. Excused sites are tried with no more.
        let (hasty, thorough) = match site.excuse {
            Some(_) => (tried, 0),
            None => (HASTY * tried, tried),
        };
        let hasty = by_it.iter().take(hasty).map(|model| (model, "1"));
        let thorough = by_it[..thorough]
            .iter()
            .flat_map(|model| [(model, "2"), (model, "")]);
        for (model, switches) in hasty.chain(thorough) {
            for way in fences {
                match self.noticed_by_loom(model, &weakened, way, switches, 1)? {
                    Some(caught) if self.passes(model, way, switches)? => return Ok(caught),
                    // The models' own fences order more than none.
                    None if fences.last() == Some(&"") => break,
                    _ => {}
                }
            }
        }
        for seed in 0..self.effort.seeds {
            for model in by_it.iter().take(self.effort.miri_models) {
                let run = self
                    .miri(&["--", "--exact", &model.function, "--nocapture"])
                    .env("GENPOOL_WEAKENED", &weakened)
                    .env("GENPOOL_EXECUTIONS", self.effort.executions.to_string())
                    .env("MIRIFLAGS", miri_flags(seed))
                    .output()?;
                if let Some(caught) = noticed_by_miri(&run, seed)? {
                    return Ok(caught);
                }
            }
        }
        Ok(Verdict::Uncaught {
            tried,
            models: by_it.len(),
        })
    }

    /// Returns whether a model passes if nothing is weakened: some need their own fences.
    fn passes(&self, model: &Model, fences: &str, switches: &str) -> Result<bool, Failure> {
        let known = format!("{} {fences} {switches}", model.function);
        let known = self.target.join("watched").join(known);
        if self.is_newer(&known, &model.program) {
            return Ok(fs::read_to_string(known)?.is_empty());
        }
        let failed = self.noticed_by_loom(model, "", fences, switches, PATIENCE)?;
        fs::write(
            known,
            failed.as_ref().map(Verdict::to_line).unwrap_or_default(),
        )?;
        Ok(failed.is_none())
    }

    fn noticed_by_loom(
        &self,
        model: &Model,
        weakened: &str,
        fences: &str,
        switches: &str,
        times: u32,
    ) -> Result<Option<Verdict>, Failure> {
        let seconds = if switches == "1" { 1 } else { self.effort.loom };
        let run = limited(seconds * times, &model.program)
            .args(["--exact", &model.function, "--nocapture"])
            .env("GENPOOL_WEAKENED", weakened)
            .env("GENPOOL_FENCES", fences)
            .env("GENPOOL_PREEMPTIONS", switches)
            .output()?;
        let (output, errors) = (text(&run.stdout), text(&run.stderr));
        // Endless executions are due to loom's unfair scheduling.
        if run.status.success() || errors.contains("exceeded maximum number of branches") {
            return Ok(None);
        }
        // A model that is killed at its limit gives no verdict.
        let failed = output.split_once(": failed in execution ");
        Ok(failed.map(|(before, after)| {
            let model = before.rsplit(['\n']).next().unwrap_or(before);
            let model = model.rsplit("... ").next().unwrap_or(model);
            let execution = after.lines().next().unwrap_or(after);
            let switches = match switches {
                "" => String::new(),
                most => format!(", {most} preemptions"),
            };
            let fences = match fences {
                "" => String::new(),
                "none" => ", no fences".into(),
                which => format!(", fences at {which}"),
            };
            Verdict::Caught {
                model: model.into(),
                how: format!("loom{fences}{switches}, execution {execution}"),
            }
        }))
    }
}

/// Returns the flags for Miri. Other tests check aliasing and validity. Bookkeeping that the models keep is not a leak.
fn miri_flags(seed: u32) -> String {
    format!(
        "-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-disable-stacked-borrows \
         -Zmiri-disable-validation -Zmiri-preemption-rate=0.03 -Zmiri-seed={seed}"
    )
}

fn noticed_by_miri(run: &Output, seed: u32) -> Result<Option<Verdict>, Failure> {
    if run.status.success() {
        return Ok(None);
    }
    let (output, errors) = (text(&run.stdout), text(&run.stderr));
    let what = if errors.contains("Data race detected") {
        "a data race"
    } else if errors.contains("Undefined Behavior") {
        "undefined behaviour"
    } else if errors.contains("panicked at") {
        "an assertion"
    } else if errors.contains("deadlock") {
        "a deadlock"
    } else if errors.contains("error: could not compile") {
        return Err(errors.into());
    } else {
        return Ok(None);
    };
    let begun = output
        .lines()
        .filter_map(|line| line.split_once(" executions on the"))
        .next_back();
    let Some((begun, _)) = begun else {
        return Err(format!("Miri failed before a model began:\n{errors}").into());
    };
    let (model, _) = begun.rsplit_once(": ").ok_or("a model without a name")?;
    let model = model.rsplit("... ").next().unwrap_or(model);
    Ok(Some(Verdict::Caught {
        model: model.into(),
        how: format!("Miri, {what}, seed {seed}"),
    }))
}
