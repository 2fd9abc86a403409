//! Reports of the built command, from traces of real programs.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::genpool;
use genpool_cli::algorithm::AlgorithmSpec;
use genpool_cli::report::csv;
use genpool_cli::trace::Trace;
use genpool_cli::verify::verify;
use serde_json::Value;

/// The folder of the recorded traces.
const TRACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");

fn traces() -> Vec<PathBuf> {
    let mut traces: Vec<PathBuf> = fs::read_dir(TRACES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "trace"))
        .collect();
    traces.sort();
    assert!(traces.len() >= 2);
    traces
}

/// The output of a command.
struct Written {
    text: String,
    html: String,
    json: Value,
    csv: String,
}

/// Runs a command with all three reports.
fn written(name: &str, arguments: &[&str]) -> Written {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = |end: &str| folder.join(format!("report-{name}.{end}"));
    let files = ["html", "json", "csv"].map(file);
    let mut all = arguments.to_vec();
    for (option, file) in ["--html", "--json", "--csv"].into_iter().zip(&files) {
        all.extend([option, file.to_str().unwrap()]);
    }
    let output = genpool(&all);
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), error.as_str()),
        (Some(0), ""),
        "{text}"
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(
            !line.contains('\u{1b}'),
            "no colours but on a terminal: {line}"
        );
    }
    let [html, json, csv] = files.map(|file| fs::read_to_string(file).unwrap());
    Written {
        text,
        html,
        json: serde_json::from_str(&json).unwrap(),
        csv,
    }
}

/// Returns the kinds of the pictures in a page. Each picture must contain something.
fn pictures(html: &str) -> Vec<String> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let page = roxmltree::Document::parse_with_options(html, options).unwrap();
    let figures = page
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", "figure")));
    figures
        .map(|figure| {
            let svg = figure
                .descendants()
                .find(|node| node.tag_name().name() == "svg");
            let drawn = ["path", "polyline", "rect"];
            let marks = svg
                .unwrap()
                .descendants()
                .filter(|node| drawn.contains(&node.tag_name().name()));
            assert!(marks.count() > 3, "{figure:?}");
            figure.attribute("class").unwrap().to_owned()
        })
        .collect()
}

/// Checks that every line of the table has all columns. Returns how many lines there are of some figures.
fn figures(csv: &str, names: &[&str]) -> Vec<usize> {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(csv::HEADER));
    let columns = csv::HEADER.split(',').count();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns));
    let count = |name: &&str| rows.iter().filter(|row| row[5] == *name).count();
    names.iter().map(count).collect()
}

#[test]
fn comparing_real_programs() {
    let traces = traces();
    let mut arguments = vec!["compare", "--repeats", "1"];
    arguments.extend(traces.iter().map(|path| path.to_str().unwrap()));
    let found = written("compare", &arguments);
    let entries = found.json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 18 * traces.len());
    for path in &traces {
        let name = path.to_str().unwrap();
        let of_trace = |entry: &&Value| entry["load"] == name;
        let orders: Vec<_> = entries
            .iter()
            .filter(of_trace)
            .map(|entry| &entry["order"])
            .collect();
        assert_eq!(
            (orders[0], orders[6], orders[12]),
            (&10.into(), &12.into(), &14.into())
        );
        let advice = found.json["advice"].as_array().unwrap();
        let advice = advice.iter().find(|advice| advice["load"] == name).unwrap();
        let best = entries.iter().filter(of_trace).find(|entry| {
            entry["algorithm"] == advice["algorithm"] && entry["order"] == advice["order"]
        });
        let failed = |entry: &Value| entry["operations"]["failed"].as_u64().unwrap();
        let least = entries.iter().filter(of_trace).map(failed).min();
        assert_eq!(Some(failed(best.unwrap())), least, "the advice fails least");
    }
    assert_eq!(found.text.matches("\nuse ").count(), traces.len());
    assert_eq!(found.text.matches("\nall: use ").count(), 1);
    let each = [
        "bars",
        "free",
        "fragmentation",
        "latency",
        "map",
        "map",
        "map",
        "map",
        "map",
        "map",
    ];
    assert_eq!(pictures(&found.html), each.repeat(traces.len()));
    let counts = figures(
        &found.csv,
        &["failed", "ns", "scattered_bytes", "largest_run_bytes"],
    );
    assert_eq!(
        counts,
        [
            entries.len(),
            entries.len(),
            entries.len(),
            160 * 6 * traces.len()
        ]
    );
}

#[test]
fn a_trace_given_twice_and_one_that_is_missing() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let trace = folder.join("twice.trace");
    fs::copy(&traces()[0], &trace).unwrap();
    let (trace, json) = (trace.to_str().unwrap(), folder.join("twice.json"));
    let json = json.to_str().unwrap();
    let output = genpool(&[
        "compare", trace, "/no/such", trace, "--order", "12", "--json", json,
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "one of them cannot be read");
    let again = format!("{trace} (2)");
    for line in [trace, &again, &format!("wrote      {json}")] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let loads = |name: &str| {
        let entries = report["entries"].as_array().unwrap().iter();
        entries.filter(|entry| entry["load"] == name).count()
    };
    assert_eq!((loads(trace), loads(&again)), (6, 6));
    let all = report["advice"].as_array().unwrap().last().unwrap();
    assert!(all["load"].is_null());
    let reason = all["reason"].as_str().unwrap();
    assert!(reason.ends_with("; without /no/such"), "{reason}");
}

#[test]
fn one_trace_has_one_recommendation() {
    let path = &traces()[0];
    let found = written(
        "one",
        &[
            "compare",
            "--repeats",
            "1",
            "--order",
            "12",
            path.to_str().unwrap(),
        ],
    );
    assert_eq!(found.json["advice"].as_array().unwrap().len(), 1);
    assert!(
        !found.text.contains("all traces together"),
        "{}",
        found.text
    );
}

/// The name of a file must neither control the terminal nor act as markup.
#[cfg(unix)]
#[test]
fn names_of_files_are_only_text() {
    let name = "<h2>\u{1b}[2J\u{202e}\",軍\n& 'x'.trace";
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::copy(&traces()[0], &path).unwrap();
    for command in ["compare", "replay"] {
        let found = written(
            "names",
            &[command, "--repeats", "1", path.to_str().unwrap()],
        );
        let is_bad = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        for text in [&found.text, &found.html, &found.csv] {
            assert!(!text.contains(is_bad), "{text}");
        }
        assert!(!pictures(&found.html).is_empty());
        let load = found.json["entries"][0]["load"].as_str().unwrap();
        assert!(
            load.ends_with("\u{fffd}\",軍\u{fffd}& 'x'.trace") && !load.contains(is_bad),
            "{load}"
        );
    }
}

#[test]
fn replaying_with_a_report() {
    let path = &traces()[0];
    let found = written(
        "replay",
        &["replay", "--repeats", "1", path.to_str().unwrap()],
    );
    let entry = &found.json["entries"][0];
    assert_eq!(entry["algorithm"], "first-fit");
    assert_eq!(entry["timeline"]["points"].as_array().unwrap().len(), 160);
    assert_eq!(
        entry["timeline"]["points"][0]["rows"]
            .as_array()
            .unwrap()
            .len(),
        48
    );
    assert_eq!(
        pictures(&found.html),
        ["free", "fragmentation", "latency", "map"]
    );
    assert_eq!(figures(&found.csv, &["p99_ns", "free_runs"]), [1, 160]);
}

#[test]
fn a_run_with_a_report() {
    let found = written(
        "run",
        &["run", "--seconds", "2", "--threads", "2", "--size", "1M"],
    );
    let kinds = pictures(&found.html);
    assert_eq!(
        kinds[..5],
        ["bars", "threads", "free", "fragmentation", "latency"]
    );
    assert_eq!(kinds[5..], ["map"; 10]);
    let entries = found.json["entries"].as_array().unwrap();
    let with = |threads: u64| {
        entries
            .iter()
            .filter(|entry| entry["threads"] == threads)
            .count()
    };
    assert_eq!((with(1), with(2)), (14, 14));
    assert_eq!(
        figures(&found.csv, &["checked", "free_at_end_runs"]),
        [28, 20]
    );
    assert!(found.text.contains("0 overlaps, all memory given back"));
}

#[test]
fn recorded_traces_fit_their_pools_and_say_nothing_of_the_machine() {
    for path in traces() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() < 100_000, "{} is large", path.display());
        assert!(!text.contains("/root") && !text.contains("/home") && !text.contains("/tmp"));
        let trace = Trace::parse(&text).unwrap();
        assert_eq!(trace.order(), 12);
        assert!(trace.allocs() > 500, "{}", path.display());
        assert_eq!(
            verify(&trace, AlgorithmSpec::FirstFit).unwrap().differences,
            0
        );
    }
}

#[test]
fn converting_what_strace_wrote() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a.strace");
    let text = "1 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000\n1 +++ exited with 0 +++\n";
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let output = genpool(&["convert", path, "--size", "64K"]);
    let trace = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        trace.ends_with(
            "pool order=12\nchunk virt=0x10000 size=0x10000\nalloc 1 size=0x2000\nfree 1\n"
        ),
        "{trace}"
    );
    fs::write(path, "nothing\n").unwrap();
    let output = genpool(&["convert", path]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error.starts_with(path) && error.contains("no line is a call of mmap"),
        "{error}"
    );
}

/// A file is only replaced by a complete report, and never if it is a trace under another name.
#[test]
fn files_keep_what_they_hold_until_there_is_a_report() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [trace, link, kept] = ["linked.trace", "link.trace", "kept.html"].map(|n| folder.join(n));
    fs::copy(&traces()[0], &trace).unwrap();
    fs::remove_file(&link).ok();
    fs::hard_link(&trace, &link).unwrap();
    let [trace, link, kept] = [&trace, &link, &kept].map(|path| path.to_str().unwrap());
    fs::write(kept, "precious").unwrap();
    for arguments in [
        ["replay", trace, "--html", link],
        ["compare", "nofile.trace", "--html", kept],
    ] {
        assert_eq!(genpool(&arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(fs::read(trace).unwrap(), fs::read(&traces()[0]).unwrap());
    assert_eq!(fs::read(kept).unwrap(), b"precious");

    fs::write(kept, "x".repeat(10_000_000)).unwrap();
    let arguments = ["replay", "--repeats", "1", trace, "--html", kept];
    assert_eq!(genpool(&arguments).status.code(), Some(0));
    let page = fs::read_to_string(kept).unwrap();
    assert!(
        page.trim_end().ends_with("</html>"),
        "what was longer is cut"
    );
}

/// Without a report there is no file.
#[test]
fn files_that_get_nothing_are_removed() {
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new.html");
    fs::remove_file(&new).ok();
    let html = ["--html", new.to_str().unwrap()];
    let trace = traces()[0].to_str().unwrap().to_owned();
    for arguments in [
        &["replay", "nofile.trace"][..],
        &["compare", "nofile.trace"],
        &["compare", &trace, "--json", "/nonexistent/report.json"],
    ] {
        let output = genpool(&[arguments, &html].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!new.exists(), "{arguments:?}");
    }
}

/// As with `head`: the report is written even if nobody reads the text.
#[test]
fn a_report_needs_no_reader_of_standard_output() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let trace = traces()[0].to_str().unwrap().to_owned();
    for command in ["replay", "compare"] {
        let page = folder.join(format!("unread-{command}.html"));
        fs::remove_file(&page).ok();
        let mut child = Command::new(env!("CARGO_BIN_EXE_genpool"))
            .args([command, "--repeats", "1", &trace, "--html"])
            .arg(&page)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(2));
        let page = fs::read_to_string(page).unwrap();
        assert!(page.trim_end().ends_with("</html>"), "{command}");
    }
}

/// As with `--html out.html >out.html`.
#[cfg(target_os = "linux")]
#[test]
fn a_report_and_the_text_are_not_written_over_each_other() {
    let both = Path::new(env!("CARGO_TARGET_TMPDIR")).join("both.html");
    let status = Command::new(env!("CARGO_BIN_EXE_genpool"))
        .args(["replay", "--repeats", "1", traces()[0].to_str().unwrap()])
        .args(["--html", both.to_str().unwrap()])
        .stdout(fs::File::create(&both).unwrap())
        .status();
    assert_eq!(status.unwrap().code(), Some(2));
    assert_eq!(fs::read(both).unwrap(), b"");
}

#[test]
fn files_that_cannot_be_written() {
    let trace = &traces()[0];
    let trace = trace.to_str().unwrap();
    let before = fs::read(trace).unwrap();
    for (file, says) in [
        (
            "/nonexistent/report.html",
            "/nonexistent/report.html: cannot write",
        ),
        (env!("CARGO_TARGET_TMPDIR"), "cannot write"),
        (trace, "named twice"),
    ] {
        for command in ["replay", "compare"] {
            let output = genpool(&[command, "--repeats", "1", trace, "--html", file]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                (output.status.code(), output.stdout.len()),
                (Some(2), 0),
                "{error}"
            );
            assert!(
                error.contains(says) && error.lines().count() == 1,
                "{error}"
            );
        }
    }
    assert_eq!(fs::read(trace).unwrap(), before);
    if Path::new("/dev/full").exists() {
        let output = genpool(&["replay", "--repeats", "1", trace, "--json", "/dev/full"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("/dev/full: cannot write"), "{error}");
    }
}
