//! The tests and models that PROMISES.md names are there.

#![cfg(not(miri))]

use std::fs;
use std::path::Path;

const PROMISES: &str = include_str!("../PROMISES.md");

/// All test sources under a folder of the workspace.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            *all += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_evidence_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for entry in fs::read_dir(root).unwrap() {
        let package = entry.unwrap().path();
        for folder in ["src", "tests"].map(|folder| package.join(folder)) {
            if folder.is_dir() {
                sources(&folder, &mut code);
            }
        }
    }
    sources(&root.join("tests"), &mut code);
    let mut named = 0;
    // Every second part stands between backticks.
    for name in PROMISES.split('`').skip(1).step_by(2) {
        let is_test = name.matches('_').count() > 1
            && name
                .chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
        let is_file = name.ends_with(".rs") || name.ends_with(".sh");
        // A model of several words; one of a single word cannot be told from other things.
        let is_command = name.starts_with("genpool ") || name.starts_with("cargo ");
        let is_model = name.contains(' ')
            && !is_command
            && name.chars().all(|c| c == ' ' || c.is_ascii_lowercase());
        if is_test {
            assert!(code.contains(&format!("fn {name}(")), "no test `{name}`");
        } else if is_file {
            let there = [".", "tests", "genpool-core/src"].map(|at| root.join(at).join(name));
            assert!(there.iter().any(|path| path.exists()), "no file `{name}`");
        } else if is_model {
            assert!(code.contains(&format!("\"{name}\"")), "no model `{name}`");
        }
        named += usize::from(is_test || is_file || is_model);
    }
    assert!(named > 80, "only {named} are named");
}
