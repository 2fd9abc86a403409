//! Verdicts of earlier runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::report::Verdict;
use crate::scan::{Site, code_of, fingerprint};

/// Verdicts kept in files. A verdict that a model noticed the weakening is valid while the code of the site's file,
/// without its comments, is unchanged. A verdict that no model noticed it also requires that the code of the models is
/// unchanged.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    models: u64,
    /// Whether to retry the weakenings that no model noticed.
    again: bool,
}

impl Kept {
    pub(crate) fn of(tree: &Path, target: &Path) -> Result<Self, Failure> {
        let folder = target.join("verdicts");
        fs::create_dir_all(&folder)?;
        let mut files: Vec<PathBuf> = fs::read_dir(tree.join("loom-tests/tests/models"))?
            .map(|file| Ok(file?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        files.sort();
        let texts: Vec<String> = files
            .iter()
            .map(fs::read_to_string)
            .collect::<Result<_, _>>()?;
        let models = fingerprint(&code_of(&texts.concat()));
        let again = std::env::var("ORDERINGS_AGAIN").is_ok();
        Ok(Self {
            folder,
            models,
            again,
        })
    }

    fn path(&self, site: &Site, weaker: &str, models: u64) -> PathBuf {
        let file = site.file.replace('/', "-");
        let Site {
            place, fingerprint, ..
        } = site;
        self.folder.join(format!(
            "{file}-{place}-{weaker}-{fingerprint:x}-{models:x}"
        ))
    }

    pub(crate) fn get(&self, site: &Site, weaker: &str) -> Option<Verdict> {
        let stands = if self.again {
            &[0][..]
        } else {
            &[0, self.models]
        };
        stands.iter().find_map(|&models| {
            let known = fs::read_to_string(self.path(site, weaker, models)).ok()?;
            Verdict::from_line(&known)
        })
    }

    pub(crate) fn put(&self, site: &Site, weaker: &str, verdict: &Verdict) -> Result<(), Failure> {
        let models = if verdict.is_caught() { 0 } else { self.models };
        Ok(fs::write(
            self.path(site, weaker, models),
            verdict.to_line(),
        )?)
    }
}
