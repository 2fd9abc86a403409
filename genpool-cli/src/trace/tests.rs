//! Tests of the reader.

use super::*;

const START: &str = "# genpool trace v1\npool order=4\nchunk virt=0x1000 size=0x1000\n";

fn error(text: &str) -> String {
    Trace::parse(text).unwrap_err().to_string()
}

fn error_after_start(lines: &str) -> String {
    error(&format!("{START}{lines}"))
}

#[test]
fn every_operation_is_read() {
    let trace = Trace::parse(
        "# genpool trace v1\n\
         # A comment, and an empty line.\n\n\
         pool order=3   # a comment after an operation\n\
         chunk virt=0x1000 phys=0x100000000 size=0x200\r\n\
         chunk size=64 virt=0\n\
         alloc 1 size=0x12 algo=first-fit-align:64 -> 0x1000\n\
         alloc b size=9\n\
         alloc 3 size=8 algo=first-fit-align:0x40 -> none\n\
         free 0x1\n\
         free 3\n\
         expect avail=0x10 size=576\n\
         expect has-addr=0x1000,8 is=yes\n\
         expect phys-of=0x0 is=none\n",
    )
    .unwrap();
    assert_eq!((trace.order(), trace.pool_line()), (3, 4));
    assert_eq!(trace.allocs(), 3);
    assert_eq!(trace.algorithms(), [AlgorithmSpec::FirstFitAlign(64)]);
    let expected = [
        (
            5,
            Op::Chunk {
                virt: 0x1000,
                phys: Some(1 << 32),
                size: 0x200,
            },
        ),
        (
            6,
            Op::Chunk {
                virt: 0,
                phys: None,
                size: 64,
            },
        ),
        (
            7,
            Op::Alloc {
                slot: Slot(0),
                size: 0x12,
                algorithm: Some(0),
                result: Some(Outcome::Addr(0x1000)),
            },
        ),
        (
            8,
            Op::Alloc {
                slot: Slot(1),
                size: 9,
                algorithm: None,
                result: None,
            },
        ),
        (
            9,
            Op::Alloc {
                slot: Slot(2),
                size: 8,
                algorithm: Some(0),
                result: Some(Outcome::None),
            },
        ),
        (10, Op::Free { slot: Slot(0) }),
        (11, Op::Free { slot: Slot(2) }),
        (
            12,
            Op::ExpectTotals {
                avail: 16,
                size: 576,
            },
        ),
        (
            13,
            Op::ExpectHasAddr {
                addr: 0x1000,
                size: 8,
                inside: true,
            },
        ),
        (
            14,
            Op::ExpectPhysOf {
                addr: 0,
                phys: None,
            },
        ),
    ]
    .map(|(line, op)| Step { line, op });
    assert_eq!(trace.steps(), expected);
}

#[test]
fn header() {
    for text in [
        "",
        "\n",
        "pool order=3\n",
        "# genpool trace\n",
        "#genpool trace v1\n",
    ] {
        assert!(
            error(text).starts_with("line 1: the first line must be `# genpool trace v1`, not `"),
            "{text:?}"
        );
    }
    assert!(error("\u{feff}# genpool trace v1\n").contains("not `\\u{feff}# genpool trace v1`"));
    for text in [
        "# genpool trace v2\npool order=3\n",
        "# genpool trace v10\n",
        "# genpool trace v\n",
    ] {
        assert!(
            error(text).starts_with("line 1: unknown version"),
            "{text:?}"
        );
    }
}

#[test]
fn pool_comes_first_and_once() {
    assert_eq!(
        error("# genpool trace v1\n"),
        "line 1: the trace ends without a `pool` line"
    );
    assert_eq!(
        error("# genpool trace v1\n# nothing\n"),
        "line 2: the trace ends without a `pool` line"
    );
    assert!(
        error("# genpool trace v1\nalloc 1 size=1\n")
            .starts_with("line 2: the first operation must be `pool")
    );
    assert!(error_after_start("pool order=3\n").starts_with("line 4: a second `pool`"));
    assert!(
        error("# genpool trace v1\npool order=64\n").starts_with("line 2: order 64 is too large")
    );
    assert!(error("# genpool trace v1\npool order=4294967296\n").contains("too large"));
    assert!(error("# genpool trace v1\npool\n").contains("`order=` is missing"));
    assert!(error("# genpool trace v1\npool order=1 order=2\n").contains("given twice"));
    assert!(error("# genpool trace v1\npool order=1 name=x\n").contains("unknown field `name`"));
}

#[test]
fn bad_lines_are_named() {
    for (line, says) in [
        ("realloc 1 size=2", "unknown operation `realloc`"),
        ("chunk virt=0", "`size=` is missing"),
        ("chunk virt=zero size=16", "virt=`zero` is not a number"),
        ("chunk virt=0 size=-16", "size=`-16` is not a number"),
        ("chunk virt=0 size=18446744073709551616", "is too large"),
        (
            "chunk virt=0 phys=none size=16",
            "phys=`none` is not a number",
        ),
        ("chunk virt=0 size=16 16", "`16` is not `key=value`"),
        ("alloc", "`alloc` needs an ID"),
        ("alloc size=4", "needs an ID first"),
        ("alloc -> none", "needs an ID first"),
        ("alloc 1", "`size=` is missing"),
        (
            "alloc 1 size=4 algo=worst",
            "algo=`worst`: unknown algorithm",
        ),
        (
            "alloc 1 size=4 algo=first-fit-align:3",
            "not a power of two",
        ),
        ("alloc 1 size=4 ->", "nothing follows the `->`"),
        (
            "alloc 1 size=4 -> nowhere",
            "the result `nowhere` is not a number",
        ),
        ("alloc 1 size=4 -> 0 0", "`0` after the result"),
        ("free", "`free` needs an ID"),
        ("free 1 2", "`2` after the ID"),
        ("free 1", "unknown ID `1`"),
        ("expect", "`avail=` is missing"),
        ("expect avail=1", "`size=` is missing"),
        ("expect has-addr=1 is=yes", "is not `A,N`"),
        ("expect has-addr=1,x is=yes", "not a number"),
        ("expect has-addr=1,2 is=maybe", "neither `yes` nor `no`"),
        ("expect has-addr=1,2", "`is=` is missing"),
        ("expect phys-of=1 is=no", "nor is it `none`"),
        ("expect phys-of=1 is=1 avail=2", "unknown field `avail`"),
    ] {
        let error = error_after_start(line);
        assert!(
            error.starts_with("line 4: ") && error.contains(says),
            "{line:?}: {error}"
        );
    }
}

#[test]
fn words_are_shown_safely() {
    let error = error_after_start(&format!("\u{1b}[2J{}", "x".repeat(1000)));
    assert!(error.contains("\\u{1b}[2J") && error.len() < 200, "{error}");
}

#[test]
fn ids() {
    assert!(
        error_after_start("alloc 16 size=1\nalloc 0x10 size=1\n")
            .starts_with("line 5: ID `0x10` is still held, since line 4")
    );
    assert!(
        error_after_start("alloc 1 size=1\nfree 1\nfree 1\n")
            .starts_with("line 6: ID `1` was freed already, at line 5")
    );
    for large in ["18446744073709551616", "0x10000000000000000"] {
        for line in [format!("alloc {large} size=1"), format!("free {large}")] {
            let expected = format!("line 4: ID `{large}` is too large");
            assert!(error_after_start(&line).starts_with(&expected), "{line}");
        }
    }
    for good in [
        "alloc 1 size=1\nfree 1\nalloc 1 size=1\nfree 1\n",
        "alloc 1 size=1 -> none\nalloc 1 size=1\nfree 1\n",
        "alloc 1 size=1 -> none\nfree 1\nalloc 1 size=1 -> none\n",
    ] {
        assert!(Trace::parse(&format!("{START}{good}")).is_ok(), "{good:?}");
    }
}

#[test]
fn absurd_chunks_are_refused() {
    assert!(
        error("# genpool trace v1\npool order=0\nchunk virt=0 size=0x1000000000000000\n")
            .starts_with("line 3: chunks too large")
    );
    // Each fits alone, but not both together.
    let half = MAX_GRANULES / 2 + 1;
    assert!(
        error(&format!("# genpool trace v1\npool order=0\nchunk virt=0 size={half}\nchunk virt={half} size={half}\n"))
            .starts_with("line 4: chunks too large")
    );
    // With a higher order, the same bytes are few granules.
    assert!(
        Trace::parse("# genpool trace v1\npool order=40\nchunk virt=0 size=0x1000000000000000\n")
            .is_ok()
    );
    assert!(
        Trace::parse("# genpool trace v1\npool order=63\nchunk virt=0 size=0x8000000000000000\n")
            .is_ok()
    );

    let mut many = String::from("# genpool trace v1\npool order=0\n");
    for i in 0..=MAX_CHUNKS {
        many += &format!("chunk virt={i} size=1\n");
    }
    assert!(error(&many).contains("too many chunks"));
    let (fits, _) = many.trim_end().rsplit_once('\n').unwrap();
    assert!(Trace::parse(fits).is_ok());
}

/// What a recorder writes for a pool that resizes: each line names a place of its own. This would take minutes if each
/// were compared with all others.
#[test]
fn as_many_algorithms_as_lines() {
    const LINES: usize = 100_000;
    let place = |i: usize| format!("alloc {i} size=1 algo=fixed-address:{i}\nfree {i}\n");
    let lines: String = (0..LINES).chain(0..LINES).map(place).collect();
    let trace = Trace::parse(&format!("{START}{lines}")).unwrap();
    assert_eq!(trace.algorithms().len(), LINES);
    for step in trace.steps() {
        if let Op::Alloc {
            slot, algorithm, ..
        } = step.op
        {
            assert_eq!(algorithm.unwrap() as usize, slot.index() % LINES);
        }
    }
}

#[test]
fn files() {
    let missing = Trace::load(Path::new("/nonexistent/x.trace")).unwrap_err();
    assert!(matches!(missing, LoadError::Io(_)), "{missing}");
    let directory = Trace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
    assert!(matches!(directory, LoadError::Io(_)), "{directory}");
}

#[test]
fn a_text_is_as_long_as_a_file_at_most() {
    let long = START.to_owned() + &" ".repeat(MAX_BYTES as usize + 1 - START.len());
    assert!(error(&long).starts_with("line 4: longer than 256 MiB"));
}
