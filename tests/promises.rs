//! The tests, files and models that PROMISES.md and CASES.md name exist.

#![cfg(not(miri))]

use std::fs;
use std::path::Path;

const DOCUMENTS: [&str; 2] = [include_str!("../PROMISES.md"), include_str!("CASES.md")];

/// Collects all test sources under a folder of the workspace.
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
    let packages = [root, &root.join("verify")].map(|folder| fs::read_dir(folder).unwrap());
    for package in packages.into_iter().flatten() {
        let package = package.unwrap().path();
        for folder in ["src", "tests"].map(|folder| package.join(folder)) {
            if folder.is_dir() {
                sources(&folder, &mut code);
            }
        }
    }
    sources(&root.join("tests"), &mut code);
    let mut named = 0;
    // Every second part stands between backticks.
    let names = DOCUMENTS.map(|text| text.split('`').skip(1).step_by(2));
    for name in names.into_iter().flatten() {
        // A name may go on in the next line.
        let name: Vec<&str> = name.split_whitespace().collect();
        let name = name.join(" ");
        let name = name.as_str();
        let is_test = name.matches('_').count() > 1
            && name
                .chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
        let is_file = name.ends_with(".rs") || name.ends_with(".sh");
        // A model with a name of several words. One of a single word cannot be distinguished from other names.
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
