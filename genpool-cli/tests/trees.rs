//! `genpool dt` on untrusted blobs: it names what cannot be read, replaces what would control a terminal, and keeps its
//! output small for small blobs.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{file, genpool};
use genpool_cli::plain::plain;
use serde_json::Value;

/// A blob under construction. Libraries refuse names of 200 characters.
#[derive(Default)]
struct Fdt {
    structs: Vec<u8>,
    strings: Vec<u8>,
}

impl Fdt {
    fn word(&mut self, word: usize) {
        self.structs.extend((word as u32).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.structs.extend(bytes);
        self.structs
            .resize(self.structs.len().next_multiple_of(4), 0);
    }

    /// Adds a node with what `fill` puts in it.
    fn node(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.word(1);
        self.bytes(&[name.as_bytes(), b"\0"].concat());
        fill(self);
        self.word(2);
    }

    fn property(&mut self, name: &str, value: &[u8]) {
        let name = [name.as_bytes(), b"\0"].concat();
        let known = self
            .strings
            .windows(name.len())
            .position(|known| known == name);
        let at = known.unwrap_or(self.strings.len());
        if known.is_none() {
            self.strings.extend(name);
        }
        self.word(3);
        self.word(value.len());
        self.word(at);
        self.bytes(value);
    }

    fn cells(&mut self, name: &str, cells: &[u32]) {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property(name, &value);
    }

    /// Sets one cell for the addresses of child nodes, and one for their sizes.
    fn one_cell_each(&mut self) {
        self.cells("#address-cells", &[1]);
        self.cells("#size-cells", &[1]);
    }
}

/// Returns a file with a blob. Its root has one cell for addresses and one for sizes, and what `fill` puts in it.
fn blob(name: &str, fill: impl FnOnce(&mut Fdt)) -> String {
    let mut fdt = Fdt::default();
    fdt.node("", |fdt| {
        fdt.one_cell_each();
        fill(fdt);
    });
    fdt.word(9);
    let (structs, strings) = (fdt.structs.len(), fdt.strings.len());
    let total = 40 + structs + strings;
    let header = [
        0xd00d_feed,
        total,
        40,
        40 + structs,
        40,
        17,
        16,
        0,
        strings,
        structs,
    ];
    let header = header.iter().flat_map(|&word| (word as u32).to_be_bytes());
    let bytes: Vec<u8> = header.chain(fdt.structs).chain(fdt.strings).collect();
    let path = file(name, &bytes);
    path.to_str().unwrap().to_owned()
}

/// Adds an SRAM of 4 KiB with what `fill` puts in it.
fn sram(fdt: &mut Fdt, name: &str, fill: impl FnOnce(&mut Fdt)) {
    fdt.node(name, |fdt| {
        fdt.property("compatible", b"mmio-sram\0");
        fdt.cells("reg", &[0x1000, 0x1000]);
        fdt.one_cell_each();
        fdt.cells("ranges", &[0, 0x1000, 0x1000]);
        fill(fdt);
    });
}

/// Adds a partition of 256 bytes that is a pool.
fn pool(fdt: &mut Fdt, start: u32, phandle: u32, label: &[u8]) {
    fdt.node(&format!("p@{start:x}"), |fdt| {
        fdt.cells("reg", &[start, 0x100]);
        fdt.property("pool", b"");
        fdt.cells("phandle", &[phandle]);
        fdt.property("label", label);
    });
}

fn texts(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap())
}

fn json(path: &str) -> (Value, String, Option<i32>) {
    let output = genpool(&["dt", "--json", path]);
    let [out, err] = texts(&output);
    (
        serde_json::from_str(&out).unwrap(),
        err,
        output.status.code(),
    )
}

#[test]
fn a_label_that_is_no_text_is_an_error() {
    for label in [&b"ABC"[..], b"", b"\xff\xfe\0"] {
        let path = blob("label.dtb", |fdt| {
            sram(fdt, "sram@1000", |fdt| pool(fdt, 0, 1, label));
            fdt.node("user", |fdt| fdt.cells("sram", &[1]));
        });
        let (board, err, code) = json(&path);
        let says = "/sram@1000/p@0: label is no text: each ends with a NUL, and all are UTF-8";
        assert_eq!((err, code), (format!("{path}: {says}\n"), Some(2)));
        assert_eq!(board["srams"][0]["error"], says);
        assert_eq!(board["consumers"][0]["pool"], Value::Null);
    }
}

#[test]
fn what_cannot_be_read_is_never_missing() {
    let no_text = "is no text: each ends with a NUL, and all are UTF-8";
    let path = blob("unreadable.dtb", |fdt| {
        fdt.property("model", b"Board");
        fdt.node("a@0", |fdt| fdt.property("compatible", b"mmio-sram"));
        sram(fdt, "b@1000", |fdt| {
            fdt.property("status", b"okay");
            fdt.cells("phandle", &[1]);
        });
        fdt.node("user", |fdt| {
            fdt.property("status", b"");
            fdt.cells("sram", &[1]);
            fdt.property("iram", &[0, 0, 0, 1, 0]);
        });
    });
    let (board, err, code) = json(&path);
    let complaints = [
        format!("{path}: /: model {no_text}"),
        format!("{path}: /a@0: compatible {no_text}"),
        format!("{path}: /b@1000: status {no_text}"),
    ];
    assert_eq!(
        (err.lines().collect::<Vec<_>>(), code),
        (complaints.iter().map(String::as_str).collect(), Some(2))
    );
    assert_eq!(
        (&board["model"], &board["srams"][1]["enabled"]),
        (&Value::Null, &true.into())
    );
    assert_eq!(
        board["consumers"][0]["error"],
        format!("/b@1000: status {no_text}")
    );
    assert_eq!(board["consumers"].as_array().unwrap().len(), 1);
    let unreadable = ["/user: iram has 5 bytes, which are no whole entries"];
    assert_eq!(board["unreadable"], serde_json::json!(unreadable));
    let [out, _] = texts(&genpool(&["dt", &path]));
    for says in [
        format!("error     /: model {no_text}"),
        format!("none      {}", "/user: iram has 5 bytes"),
    ] {
        assert!(out.contains(&says), "{says:?} is not in\n{out}");
    }

    let path = blob("phandle.dtb", |fdt| {
        fdt.node("node", |fdt| fdt.property("phandle", &[0, 0, 1]));
    });
    let [_, err] = texts(&genpool(&["dt", &path]));
    assert!(
        err.starts_with(&format!("{path}: /node: a phandle that is not one cell")),
        "{err}"
    );
}

/// What becomes no device, what is mapped otherwise, and which cells are references.
#[test]
fn nodes_that_are_not_as_usual_are_marked() {
    let path = blob("marks.dtb", |fdt| {
        sram(fdt, "on@1000", |fdt| pool(fdt, 0, 1, b"a\0"));
        sram(fdt, "off@3000", |fdt| {
            fdt.property("status", b"disabled\0");
            fdt.property("no-memory-wc", b"");
        });
        fdt.node("clock", |fdt| fdt.cells("phandle", &[7]));
        fdt.node("user", |fdt| {
            // A use's number follows each phandle.
            fdt.cells("allwinner,sram", &[1, 1, 1, 1]);
            // No memory, no node, and the one.
            fdt.cells("sram", &[7, 0x77, 1]);
            fdt.cells("clocks", &[1]);
        });
    });
    let (board, err, code) = json(&path);
    assert_eq!((&*err, code), ("", Some(0)));
    let consumers = board["consumers"].as_array().unwrap();
    let references: Vec<_> = consumers
        .iter()
        .map(|row| {
            (
                row["property"].as_str().unwrap(),
                row["index"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        references,
        [("allwinner,sram", 0), ("allwinner,sram", 2), ("sram", 2)]
    );
    assert_eq!(board["unreadable"], serde_json::json!([]));
    let [out, _] = texts(&genpool(&["dt", &path]));
    assert_eq!(
        out.matches("disabled: becomes no device").count(),
        1,
        "{out}"
    );
    assert_eq!(
        out.matches("mapped    not write-combining\n").count(),
        1,
        "{out}"
    );
    let off = out.find("SRAM      /off@3000").unwrap();
    assert!(
        out.find("disabled: becomes no device").unwrap() > off,
        "{out}"
    );
}

/// Control characters, direction marks, and characters without width.
const EVIL: &str = "A\u{1b}[31m\u{202e}evil\u{200b} \u{9b}board\n\r\u{7f}\u{feff}\u{e0041}軍";

#[test]
fn texts_of_a_blob_do_not_steer_the_terminal() {
    let evil = [EVIL.as_bytes(), b"\0"].concat();
    let path = blob("evil\u{202e}\u{1b}.dtb", |fdt| {
        fdt.property("model", &evil);
        sram(fdt, "sram@1000", |fdt| {
            pool(fdt, 0, 1, &evil);
            pool(fdt, 0x200, 3, b"other\0");
        });
        // Refused, since the name is used twice.
        sram(fdt, "twice@1000", |fdt| {
            pool(fdt, 0, 4, &evil);
            pool(fdt, 0x100, 5, &evil);
        });
        // Looked for, but not there.
        sram(fdt, "closed@1000", |fdt| {
            fdt.node("p@0", |fdt| {
                fdt.cells("reg", &[0, 0x100]);
                fdt.cells("phandle", &[6]);
                fdt.property("label", &evil);
            });
        });
        fdt.node("user", |fdt| fdt.cells("sram", &[1, 3, 4, 5, 6]));
    });
    let nowhere = "no\u{202e}where\u{1b}.dtb";
    for arguments in [
        &["dt", &path][..],
        &["dt", "--json", &path],
        &["dt", nowhere],
        &["dt", "--json", nowhere],
    ] {
        for text in texts(&genpool(arguments)) {
            let bad = text
                .chars()
                .find(|&c| c != '\n' && plain(c) != c && c != '\u{fffd}');
            assert_eq!(bad, None, "{text:?}");
        }
    }
    let (board, _, _) = json(&path);
    let shown: String = EVIL.chars().map(plain).collect();
    assert_eq!(board["model"], shown);
    assert_eq!(board["srams"][0]["partitions"][0]["label"], shown);
    assert_eq!(board["consumers"][0]["pool"]["name"], shown);
    // An escape in JSON would become a control character again.
    fn has_no_steering(value: &Value) -> bool {
        match value {
            Value::String(text) => text.chars().all(|c| plain(c) == c),
            Value::Array(all) => all.iter().all(has_no_steering),
            Value::Object(all) => all.values().all(has_no_steering),
            _ => true,
        }
    }
    assert!(has_no_steering(&board), "{board}");
}

/// Runs the command with at most `kib` KiB of address space.
#[cfg(target_os = "linux")]
fn confined(kib: usize, arguments: &[&str]) -> Output {
    Command::new("sh")
        .args([
            "-c",
            "ulimit -v \"$1\"; shift; exec \"$@\"",
            "sh",
            &kib.to_string(),
        ])
        .arg(Path::new(env!("CARGO_BIN_EXE_genpool")))
        .args(arguments)
        .output()
        .unwrap()
}

/// 1.6 MB of one reference, under names of 200 bytes.
#[test]
#[cfg(target_os = "linux")]
fn many_references_are_bounded() {
    let long = |letter: &str| letter.repeat(200);
    let path = blob("references.dtb", |fdt| {
        fdt.node(&long("s"), |fdt| {
            fdt.one_cell_each();
            fdt.property("ranges", b"");
            sram(fdt, &long("m"), |fdt| fdt.cells("phandle", &[1]));
            fdt.node(&long("u"), |fdt| fdt.cells("sram", &[1; 400_000]));
        });
    });
    for format in [&[][..], &["--json"]] {
        let arguments = [&["dt"], format, &[&path]].concat();
        let output = confined(100_000, &arguments);
        let [out, err] = texts(&output);
        assert_eq!((err.as_str(), output.status.code()), ("", Some(0)));
        assert!(out.len() < 2_000_000, "{} bytes", out.len());
        if format.is_empty() {
            for says in [
                "references: 400000, of them to a pool: 400000",
                "left out  SRAM nodes: 0, references: 399000",
            ] {
                assert!(out.contains(says), "{says:?} is not in\n{}", &out[..500]);
            }
            continue;
        }
        let board: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&board["resolved"], &board["left_out"]["consumers"]),
            (&400_000.into(), &399_000.into())
        );
        assert_eq!(board["consumers"].as_array().unwrap().len(), 1000);
    }
}

/// As many nodes as fit into a few hundred kilobytes, each an SRAM, a part of one, or an error.
#[test]
#[cfg(target_os = "linux")]
fn many_srams_are_bounded() {
    let long = |letter: &str| letter.repeat(250);
    let bus = |fdt: &mut Fdt, name: &str, fill: &dyn Fn(&mut Fdt)| {
        fdt.node(name, |fdt| {
            fdt.one_cell_each();
            fdt.property("ranges", b"");
            fill(fdt);
        });
    };
    let nested = |fill: &dyn Fn(&mut Fdt)| {
        blob("srams.dtb", |fdt| {
            bus(fdt, &long("s"), &|fdt| bus(fdt, &long("b"), fill));
        })
    };
    let check = |path: &str, srams: usize, left_out: usize| {
        let output = confined(200_000, &["dt", "--json", path]);
        let [out, err] = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(out.len() < 3_000_000 && err.len() < 3_000_000);
        assert!(
            err.ends_with("it has more SRAMs than can be shown\n"),
            "{}",
            &err[err.len() - 200..]
        );
        let board: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(board["srams"].as_array().unwrap().len(), srams);
        assert_eq!(board["left_out"]["srams"], left_out);
    };
    let errors = nested(&|fdt| {
        for at in 0..10_000 {
            fdt.node(&format!("{at:x}"), |fdt| fdt.property("compatible", b"x"));
        }
    });
    check(&errors, 1000, 9000);
    let sram = |fdt: &mut Fdt, at: u32, size: u32, parts: u32| {
        bus(fdt, &format!("{at:x}"), &|fdt| {
            fdt.property("compatible", b"mmio-sram\0");
            fdt.cells("reg", &[at * size, size]);
            for part in 0..parts {
                fdt.node(&format!("{part:x}"), |fdt| {
                    fdt.cells("reg", &[at * size + part * 0x20, 0x20]);
                    fdt.property("pool", b"");
                });
            }
        });
    };
    let devices = nested(&|fdt| (0..5000).for_each(|at| sram(fdt, at, 0x100, 0)));
    check(&devices, 1000, 4000);
    let parts = nested(&|fdt| (0..10).for_each(|at| sram(fdt, at, 0x1_0000, 300)));
    check(&parts, 3, 7);
    // The number of children that are read is limited, even if they get no row because they lie outside their SRAM.
    let outside = nested(&|fdt| {
        for at in 0..10 {
            bus(fdt, &format!("{at:x}"), &|fdt| {
                fdt.property("compatible", b"mmio-sram\0");
                fdt.cells("reg", &[0x1000, 0x1000]);
                for part in 0..1000 {
                    fdt.node(&format!("{part:x}"), |fdt| fdt.cells("reg", &[part, 1]));
                }
            });
        }
    });
    check(&outside, 4, 6);
}
