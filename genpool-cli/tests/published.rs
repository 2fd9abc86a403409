//! Reports are written whole or not at all, whatever ends the command and wherever they go.

#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::genpool;
use tempfile::TempDir;

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/gcc-regex.trace");

/// Returns a folder in which one report already exists.
fn folder() -> (TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let files = ["new.html", "old.json", "new.csv"].map(|name| folder.path().join(name));
    fs::write(&files[1], "precious").unwrap();
    (folder, files)
}

fn is_untouched(folder: &Path) -> bool {
    let names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names == ["old.json"] && fs::read(folder.join("old.json")).unwrap() == b"precious"
}

fn reporting(mut command: Command, files: &[PathBuf; 3]) -> Command {
    for (option, file) in ["--html", "--json", "--csv"].into_iter().zip(files) {
        command.arg(option).arg(file);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn end(child: &Child, signal: &str) {
    let kill = format!("kill -s {signal} {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_signal_leaves_no_file() {
    let signals = [("INT", 2), ("TERM", 15), ("HUP", 1), ("KILL", 9)];
    let running = signals.map(|(signal, number)| {
        let (folder, files) = folder();
        let mut run = Command::new(env!("CARGO_BIN_EXE_genpool"));
        run.args(["run", "--seconds", "60", "--threads", "1", "--size", "256K"]);
        let child = reporting(run, &files).spawn().unwrap();
        (folder, child, signal, number)
    });
    thread::sleep(Duration::from_millis(700));
    for (folder, mut child, signal, number) in running {
        assert!(is_untouched(folder.path()), "while it runs");
        end(&child, signal);
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        assert!(is_untouched(folder.path()), "{signal}");
    }
}

/// As on a full disk: the first piece of a report is written, and the next is refused.
#[test]
fn a_report_that_finds_no_room_leaves_no_part() {
    for ignored in ["", "trap '' XFSZ;"] {
        let (folder, files) = folder();
        let mut limited = Command::new("sh");
        let script = format!("{ignored} ulimit -f 1; exec \"$0\" \"$@\"");
        limited.args(["-c", &script, env!("CARGO_BIN_EXE_genpool")]);
        limited.args(["replay", "--repeats", "1", TRACE]);
        let status = reporting(limited, &files).status().unwrap();
        assert!(!status.success());
        assert!(is_untouched(folder.path()), "{ignored}");
    }
}

#[test]
fn a_pipe_gets_the_whole_report() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let read = thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    let fifo = fifo.to_str().unwrap();
    let output = genpool(&[
        "replay",
        "--repeats",
        "1",
        TRACE,
        "--html",
        fifo,
        "--json",
        "/dev/stdout",
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert!(read.join().unwrap().trim_end().ends_with("</html>"));
    let text = String::from_utf8(output.stdout).unwrap();
    let report: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(report["command"], "replay");
    assert!(text.contains("wrote      /dev/stdout\n"), "{text}");
}

#[test]
fn one_new_file_for_two_reports_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["new", "./new"].map(|name| folder.path().join(name));
    let [one, other] = [&one, &other].map(|path| path.to_str().unwrap());
    let output = genpool(&[
        "replay",
        "--repeats",
        "1",
        TRACE,
        "--html",
        one,
        "--json",
        other,
    ]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("named twice"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_converted_trace_is_published_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let [calls, none, trace] = ["calls", "none", "trace"].map(|name| folder.path().join(name));
    let text = "1 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000\n\
                1 +++ exited with 0 +++\n";
    fs::write(&calls, text).unwrap();
    fs::write(&none, "nothing\n").unwrap();
    let [calls, none, out] = [&calls, &none, &trace].map(|path| path.to_str().unwrap());
    let converted = |input: &str, output: &str| {
        let output = genpool(&["convert", input, "--output", output]);
        assert_eq!(output.stdout, b"");
        output.status.code()
    };
    assert_eq!((converted(none, out), trace.exists()), (Some(2), false));
    assert_eq!(converted(calls, out), Some(0));
    let whole = fs::read_to_string(&trace).unwrap();
    assert!(whole.starts_with("# genpool trace v1\n") && whole.ends_with("free 1\n"));
    assert_eq!(converted(none, out), Some(2));
    assert_eq!(converted(calls, calls), Some(2));
    assert_eq!(fs::read_to_string(&trace).unwrap(), whole);
    assert_eq!(fs::read_to_string(calls).unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}
