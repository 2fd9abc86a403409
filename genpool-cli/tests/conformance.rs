//! The pool gives the addresses that Linux 6.12's genalloc gave, in all recorded runs.

use std::fs;
use std::path::{Path, PathBuf};

use genpool_cli::algorithm::AlgorithmSpec;
use genpool_cli::trace::{Op, Trace};
use genpool_cli::verify::verify;

/// Returns the recorded runs, in the order of their names.
fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/linux-6.12");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "trace")
        })
        .collect();
    paths.sort();
    paths
}

/// All allocations name their algorithm, so the default must not matter. This one would fail them all.
const UNUSED: AlgorithmSpec = AlgorithmSpec::FixedOffset(usize::MAX);

#[test]
fn every_recorded_answer_is_the_same() {
    let paths = recorded();
    assert_eq!(paths.len(), 24);
    let (mut checked, mut wrong) = (0, Vec::new());
    for path in &paths {
        let found = verify(&Trace::load(path).unwrap(), UNUSED).unwrap();
        checked += found.checked;
        if let Some(first) = found.first {
            wrong.push(format!(
                "{}:{}: {first} (and {} more)",
                path.display(),
                first.line,
                found.differences - 1
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(checked, 38_912);
}

/// The figure above does not come from a reader that skips lines.
#[test]
fn the_operations_are_all_there() {
    let (mut allocs, mut results, mut frees, mut expects) = (0, 0, 0, 0);
    for path in recorded() {
        for step in Trace::load(&path).unwrap().steps() {
            match step.op {
                Op::Alloc { result, .. } => {
                    allocs += 1;
                    results += usize::from(result.is_some());
                }
                Op::Free { .. } => frees += 1,
                Op::ExpectTotals { .. } | Op::ExpectHasAddr { .. } | Op::ExpectPhysOf { .. } => {
                    expects += 1
                }
                Op::Chunk { .. } => {}
            }
        }
    }
    assert_eq!(
        (allocs, results, frees, expects),
        (19_297, 19_297, 17_421, 2_194)
    );
    assert!(allocs + frees >= 36_000);
}

/// The control: one answer is changed in each run, and the comparison must say which.
#[test]
fn a_changed_answer_is_found() {
    for path in recorded() {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.len() / 2
            + lines[lines.len() / 2..]
                .iter()
                .position(|line| line.contains("-> 0x"))
                .unwrap();
        let (before, result) = lines[at].split_once("-> 0x").unwrap();
        let moved = usize::from_str_radix(result, 16).unwrap() + 1;
        let changed = format!("{before}-> {moved:#x}");
        let mut with: Vec<&str> = lines.clone();
        with[at] = &changed;

        let found = verify(&Trace::parse(&with.join("\n")).unwrap(), UNUSED).unwrap();
        assert_eq!(found.differences, 1, "{}", path.display());
        let first = found.first.unwrap();
        assert_eq!(first.line as usize, at + 1);
        assert_eq!(
            first.to_string(),
            format!("expected {moved:#x}, got 0x{result}")
        );
    }
}
