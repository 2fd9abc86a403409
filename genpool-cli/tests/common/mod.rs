//! What tests of the built command share.

#![allow(dead_code, reason = "each test uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the command to its end.
pub(crate) fn genpool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_genpool"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Returns a file in the folder that Cargo provides for integration tests.
pub(crate) fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}
