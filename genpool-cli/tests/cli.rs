//! The built command, with good and with bad input.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use common::{file, genpool};

const GOOD: &str = "# genpool trace v1\npool order=4\nchunk virt=0 phys=0x100 size=0x40\n";

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The command must have refused with one line of its own, not with a panic.
fn refused(output: &Output, says: &str) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        !text.contains("panicked") && !text.contains("RUST_BACKTRACE"),
        "{text}"
    );
    assert!(text.contains(says), "{says:?} is not in {text:?}");
}

/// Both verifying and replaying must refuse `content`.
fn bad_trace(name: &str, content: &[u8], line: u32, says: &str) {
    let path = file(&format!("bad-{name}.trace"), content);
    let path = path.to_str().unwrap();
    for command in ["verify", "replay", "compare"] {
        let output = genpool(&[command, path]);
        refused(&output, &format!("{path}:{line}: "));
        refused(&output, says);
    }
}

/// The device tree of `genpool-devm`'s examples.
const BOARD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../genpool-devm/examples/board.dtb"
);

#[test]
fn dt_shows_the_pools_of_a_board() {
    let output = genpool(&["dt", BOARD]);
    assert_eq!(output.status.code(), Some(0));
    let text = out(&output);
    for line in text.lines().filter(|line| !line.starts_with("file")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for says in [
        "found     SRAM nodes: 4, partitions: 5, references: 7, of them to a pool: 5",
        "▕ABB···CC·DDD····································EEEE",
        "B codec-sram@1000      0x5c001000  0x5c001fff    4 KiB       pool \"codec-sram\"",
        "D code-sram@6000       0x5c006000  0x5c007fff    8 KiB  pool \"code-sram\", exec",
        "/soc/codec@2000   iram[0]  sram@40000000: unnamed",
        "none      /soc/sram@80000: disabled by the status of /soc/sram@80000",
        "disabled  /soc/sram@0/off-sram@9000",
    ] {
        assert!(text.contains(says), "{says:?} is not in\n{text}");
    }
    let text = out(&genpool(&["dt", BOARD, BOARD, "--property", "pm-sram"]));
    assert_eq!(text.matches("found     SRAM nodes: 4").count(), 2);
    assert!(text.starts_with("file      "), "{text}");
    assert_eq!(text.matches("\n\nfile      ").count(), 1, "{text}");
}

#[test]
fn dt_prints_json() {
    let output = genpool(&["dt", "--json", BOARD, BOARD]);
    let text = out(&output);
    assert_eq!((output.status.code(), text.lines().count()), (Some(0), 2));
    let board: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let sram = &board["srams"][0];
    assert_eq!(
        (&sram["node"], &sram["start"]),
        (&"/soc/sram@0".into(), &0x5c00_0000.into())
    );
    assert_eq!(sram["partitions"][3]["protect_exec"], true);
    assert_eq!(sram["gaps"][1]["start"], 0x5c00_0150);
    assert_eq!(board["consumers"][0]["pool"]["name"], "codec-sram");
    assert_eq!(board["consumers"][5]["pool"], serde_json::Value::Null);
}

#[test]
fn dt_refuses_bad_trees() {
    let blob = fs::read(BOARD).unwrap();
    let cut = file("cut.dtb", &blob[..700]);
    let cut = cut.to_str().unwrap();
    refused(
        &genpool(&["dt", cut]),
        &format!("{cut}: /: the blob is cut off"),
    );
    refused(&genpool(&["dt", "/nowhere.dtb"]), "/nowhere.dtb: ");
    // A partition that is larger than its SRAM is an error of that SRAM; the rest is shown.
    let mut wrong = blob;
    let reg = [0, 0, 0x10, 0, 0, 0, 0x10, 0];
    let at = wrong.windows(8).position(|bytes| bytes == reg).unwrap();
    wrong[at + 4] = 1;
    let path = file("wrong.dtb", &wrong);
    let path = path.to_str().unwrap();
    let output = genpool(&["dt", path]);
    refused(&output, &format!("{path}: /soc/sram@0/codec-sram@1000: "));
    let text = out(&output);
    assert!(
        text.contains("error     /soc/sram@0/codec-sram@1000: "),
        "{text}"
    );
    assert!(text.contains("sram@40000000: unnamed"), "{text}");
}

#[test]
fn verify_wants_something_to_verify() {
    for (name, text) in [
        ("bare.trace", "# genpool trace v1\npool order=0\n"),
        (
            "unrecorded.trace",
            "# genpool trace v1\npool order=0\nchunk virt=0 size=64\nalloc 1 size=8\nfree 1\n",
        ),
    ] {
        let path = file(name, text.as_bytes());
        let output = genpool(&["verify", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains(name) && message.contains("nothing to verify"),
            "{message}"
        );
    }
}

#[test]
fn verify_distinguishes_right_from_wrong() {
    let good = file(
        "good.trace",
        format!("{GOOD}alloc 1 size=20 -> 0\nfree 1\n").as_bytes(),
    );
    let good = good.to_str().unwrap();
    let output = genpool(&["verify", good]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        out(&output),
        format!(
            "{good}: 2 operations checked, 0 differences\n1 of 1 files: 2 operations checked, 0 differences\n"
        )
    );

    let wrong = file(
        "wrong.trace",
        format!("{GOOD}alloc 1 size=20 -> 0\nalloc 2 size=1 -> 0x10\nalloc 3 size=1 -> none\n")
            .as_bytes(),
    );
    let wrong = wrong.to_str().unwrap();
    let output = genpool(&["verify", good, wrong]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        out(&output),
        format!(
            "{good}: 2 operations checked, 0 differences\n\
             {wrong}: 3 operations checked, 2 differences\n\
             {wrong}:5: expected 0x10, got 0x20\n\
             {wrong}: 2 allocations are not freed: lines 4, 5\n\
             2 of 2 files: 5 operations checked, 2 differences\n"
        )
    );
}

#[test]
fn the_algorithm_is_for_those_that_name_none() {
    let text = format!("{GOOD}alloc 1 size=1 -> 0x10\nalloc 2 size=1 algo=first-fit -> 0\n");
    let path = file("unnamed.trace", text.as_bytes());
    let path = path.to_str().unwrap();
    assert_eq!(
        genpool(&["verify", "--algorithm", "fixed:0x10", path])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(genpool(&["verify", path]).status.code(), Some(1));
    for algorithm in [
        "first-fit",
        "first-fit-align:64",
        "order-align",
        "best-fit",
        "fixed:0",
        "next-fit",
        "thread-start",
        "spread-fit",
    ] {
        let output = genpool(&["replay", "--repeats", "1", "--algorithm", algorithm, path]);
        assert_eq!(output.status.code(), Some(0), "{algorithm}");
    }
}

#[test]
fn replay_counts_and_times() {
    let path = file(
        "replayed.trace",
        format!("{GOOD}alloc 1 size=20\nalloc 2 size=64 -> 0\nfree 2\nfree 1\n").as_bytes(),
    );
    let output = genpool(&["replay", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let text = out(&output);
    let row: Vec<&str> = text
        .lines()
        .find(|line| line.contains("replayed.trace"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[1..7], ["3", "1", "32", "B", "64", "B"], "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(!text.contains("not freed"), "{text}");
}

#[test]
fn replay_notes_what_is_not_freed() {
    let path = file(
        "leak.trace",
        format!("{GOOD}alloc 1 size=20\nalloc 2 size=16\nfree 1\n").as_bytes(),
    );
    let output = genpool(&["replay", "--repeats", "1", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let text = out(&output);
    let note = "1 allocation is not freed: line 5";
    assert!(text.replace("\n       ", " ").contains(note), "{text}");
}

#[test]
fn bad_lines() {
    let after = |lines: &str| format!("{GOOD}{lines}").into_bytes();
    bad_trace("empty", b"", 1, "the first line must be");
    bad_trace(
        "version",
        b"# genpool trace v2\npool order=4\n",
        1,
        "unknown version",
    );
    bad_trace(
        "no-pool",
        b"# genpool trace v1\n\nfree 1\n",
        3,
        "the first operation must be `pool",
    );
    bad_trace(
        "nothing",
        b"# genpool trace v1\n# end\n",
        2,
        "without a `pool` line",
    );
    bad_trace(
        "order",
        b"# genpool trace v1\npool order=64\n",
        2,
        "order 64 is too large",
    );
    bad_trace("number", &after("alloc 1 size=1x\n"), 4, "is not a number");
    bad_trace(
        "huge-number",
        &after("alloc 1 size=99999999999999999999\n"),
        4,
        "is too large",
    );
    bad_trace("unknown-id", &after("free 7\n"), 4, "unknown ID `7`");
    bad_trace(
        "held-id",
        &after("alloc 7 size=1\nalloc 7 size=1\n"),
        5,
        "still held, since line 4",
    );
    bad_trace(
        "freed-id",
        &after("alloc 7 size=1\nfree 7\nfree 7\n"),
        6,
        "freed already, at line 5",
    );
    bad_trace(
        "algorithm",
        &after("alloc 7 size=1 algo=worst-fit\n"),
        4,
        "unknown algorithm",
    );
    bad_trace(
        "alignment",
        &after("alloc 7 size=1 algo=first-fit-align:3\n"),
        4,
        "not a power of two",
    );
    bad_trace("operation", &after("resize 7\n"), 4, "unknown operation");
    bad_trace(
        "field",
        &after("alloc 7 size=1 color=red\n"),
        4,
        "unknown field `color`",
    );
    bad_trace(
        "binary",
        b"# genpool trace v1\npool order=4\n\xff\xfe\n",
        3,
        "not UTF-8",
    );
}

/// Errors that only the pool can find, and numbers that would cost memory if they were trusted.
#[test]
fn bad_chunks() {
    let chunk = |line: &str| format!("{GOOD}{line}\n").into_bytes();
    bad_trace(
        "overlap",
        &chunk("chunk virt=0x30 size=0x20"),
        4,
        "chunk of ",
    );
    bad_trace(
        "misaligned",
        &chunk("chunk virt=0x1001 size=0x20"),
        4,
        "chunk of ",
    );
    bad_trace(
        "ragged",
        &chunk("chunk virt=0x1000 size=0x21"),
        4,
        "chunk of ",
    );
    bad_trace("zero", &chunk("chunk virt=0x1000 size=0"), 4, "chunk of ");
    bad_trace(
        "wrapping",
        &chunk("chunk virt=0xfffffffffffffff0 size=0x20"),
        4,
        "chunk of ",
    );
    bad_trace(
        "absurd",
        &chunk("chunk virt=0x1000 size=0xfffffffffffff000"),
        4,
        "chunks too large",
    );
    bad_trace(
        "phys-wraps",
        &chunk("chunk virt=0x1000 phys=0xfffffffffffffff0 size=0x20"),
        4,
        "chunk of ",
    );
}

#[test]
fn absurd_allocations_are_answers_not_errors() {
    let text = format!(
        "{GOOD}alloc 1 size=0xffffffffffffffff -> none\nalloc 2 size=0 -> none\nfree 1\n\
         alloc 3 size=1 algo=fixed:0xffffffffffffffff -> none\n\
         alloc 4 size=1 algo=first-fit-align:0x8000000000000000 -> 0\n\
         expect has-addr=0xffffffffffffffff,0xffffffffffffffff is=no\nexpect phys-of=0xffffffffffffffff is=none\n"
    );
    let path = file("absurd.trace", text.as_bytes());
    let output = genpool(&["verify", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
}

/// The highest addresses: the chunk ends at the end of the address space, or just before it.
#[test]
fn the_top_of_the_address_space() {
    let text = "# genpool trace v1\npool order=63\nchunk virt=0 size=0x8000000000000000\nalloc 1 size=1 -> 0\n\
                alloc 2 size=1 -> none\nexpect avail=0 size=0x8000000000000000\nfree 1\n";
    let path = file("top.trace", text.as_bytes());
    let output = genpool(&["verify", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
}

#[test]
fn bad_files() {
    for command in ["verify", "replay", "compare", "convert"] {
        let output = genpool(&[command, "/nonexistent/x.trace"]);
        refused(&output, "/nonexistent/x.trace: ");
        refused(
            &genpool(&[command, env!("CARGO_TARGET_TMPDIR")]),
            "directory",
        );
        refused(&genpool(&[command]), "required");
    }
    // An endless file is read up to the limit only.
    if Path::new("/dev/zero").exists() {
        refused(
            &genpool(&["verify", "/dev/zero"]),
            "/dev/zero: longer than 256 MiB",
        );
    }
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let good = file(
        "other.trace",
        format!("{GOOD}alloc 1 size=20 -> 0\n").as_bytes(),
    );
    let output = genpool(&["verify", "/nonexistent/x.trace", good.to_str().unwrap()]);
    refused(&output, "/nonexistent/x.trace: ");
    assert!(out(&output).contains("1 of 2 files: 1 operations checked, 0 differences"));
}

/// Whatever is wrong, untrusted characters do not control the terminal, nor reorder or hide what it shows.
#[test]
fn errors_show_no_hidden_characters() {
    let hidden = "a\u{1b}[2J\u{202e}\u{200b}\u{ad}\u{9b}\u{3164}\u{e0041}\u{fe0f}z";
    let trace = file(
        "hidden.trace",
        format!("# genpool trace v1\n{hidden}\n").as_bytes(),
    );
    let trace = trace.to_str().unwrap();
    let missing = format!("/nonexistent/{hidden}");
    for arguments in [
        &[hidden][..],
        &["run", hidden],
        &["run", "--size", hidden],
        &["run", "--threads", hidden],
        &["run", "--seconds", hidden],
        &["run", "--html", &missing],
        &["replay", "--algorithm", hidden, trace],
        &["compare", "--order", hidden, trace],
        &["convert", "--size", hidden, trace],
        &["convert", trace],
        &["verify", trace],
        &["replay", trace],
        &["verify", &missing],
        &["show", &missing],
        &["show", trace],
        &["dt", &missing],
    ] {
        let output = genpool(arguments);
        let text = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        let is_hidden = |c: char| c != '\n' && (c.is_control() || hidden.contains(c));
        let shown = text.replace(['a', 'z', '[', '2', 'J'], "");
        assert_eq!(output.status.code(), Some(2), "{text:?}");
        assert!(!shown.contains(is_hidden), "{arguments:?}: {text:?}");
    }
}

#[test]
fn bad_arguments() {
    for (arguments, says) in [
        (["run", "--threads", "0"], "--threads 0: must be 1 to"),
        (["run", "--threads", "-1"], "--threads"),
        (["run", "--threads", "99999999999999999999"], "too large"),
        (["run", "--order", "31"], "--order 31: must be 0 to 30"),
        (
            ["run", "--order", "18446744073709551615"],
            "must be 0 to 30",
        ),
        (["run", "--size", "0"], "less than a granule"),
        (["run", "--size", "255"], "less than a granule"),
        (["run", "--size", "many"], "not a number"),
        (["run", "--size", "17179869184G"], "too large"),
        (["run", "--size", "16777215T"], "granules"),
        (["run", "--chunks", "0"], "--chunks 0: must be 1 to"),
        (["run", "--chunks", "5000"], "--chunks 5000: must be 1 to"),
        (
            ["run", "--seconds", "0"],
            "--seconds 0: must be more than 0",
        ),
        (
            ["run", "--seconds", "-3"],
            "--seconds -3: must be more than 0",
        ),
        (
            ["run", "--seconds", "NaN"],
            "--seconds NaN: must be more than 0",
        ),
        (["run", "--seconds", "soon"], "--seconds"),
        (["run", "--algorithm", "best-fit"], "--algorithm"),
        (["replay", "--algorithm", "worst-fit"], "unknown algorithm"),
        (["replay", "--repeats", "0"], "--repeats"),
        (["verify", "--algorithm", "fixed"], "needs offset"),
        (["compare", "--algorithm", "worst-fit"], "unknown algorithm"),
        (["compare", "--order", "64"], "--order"),
        (["compare", "--repeats", "3"], "required"),
        (["convert", "--size", "many"], "not a number"),
        (["walk", "the", "dog"], "walk"),
    ] {
        refused(&genpool(&arguments), says);
    }
}

#[test]
fn memory_that_is_not_there() {
    let output = genpool(&["run", "--size", "1024T", "--order", "30", "--seconds", "1"]);
    refused(&output, "cannot map 1 PiB of memory");
}

#[test]
fn help_and_version() {
    for arguments in [["--help"], ["--version"]] {
        let output = genpool(&arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("genpool"));
    }
    assert_eq!(genpool(&[]).status.code(), Some(2));
}

/// Even if the output is the requested help.
#[test]
fn output_that_is_not_taken_is_an_error() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        return;
    };
    let trace = file("full.trace", GOOD.as_bytes());
    let trace = trace.to_str().unwrap();
    let calls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/strace/realloc.strace");
    for arguments in [
        &["convert", calls][..],
        &["--help"],
        &["--version"],
        &["help", "run"],
        &["dt", BOARD],
        &["replay", "--repeats", "1", trace],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_genpool"))
            .args(arguments)
            .stdout(full.try_clone().unwrap())
            .output()
            .unwrap();
        refused(&output, "cannot write: ");
    }
}

#[test]
fn a_short_run() {
    for extra in [
        &["--size", "4M"][..],
        &["--size", "64K", "--order", "1", "--chunks", "3"],
    ] {
        let mut arguments = vec!["run", "--seconds", "1", "--threads", "2"];
        arguments.extend(extra);
        let output = genpool(&arguments);
        let text = out(&output);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{error}");
        assert!(error.is_empty(), "{error}");
        for algorithm in [
            "first fit",
            "aligned",
            "order-aligned",
            "best fit",
            "next fit",
            "thread start",
            "constrained",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(algorithm)),
                "{algorithm}: {text}"
            );
        }
        assert!(
            text.trim_end()
                .ends_with("allocations written and checked, 0 overlaps, all memory given back"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}

/// The smallest possible pool: one granule for several threads.
#[test]
fn a_run_without_room() {
    let output = genpool(&[
        "run",
        "--seconds",
        "0.5",
        "--threads",
        "3",
        "--size",
        "64",
        "--chunks",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
}
