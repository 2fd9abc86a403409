//! Traces and the output of strace are untrusted: whatever they contain, there is a result or an error, and no panic.

use genpool_cli::algorithm::AlgorithmSpec;
use genpool_cli::compare::{Wish, compare};
use genpool_cli::replay::{ReplayError, replay};
use genpool_cli::report::{Report, csv, html};
use genpool_cli::strace::convert;
use genpool_cli::trace::Trace;
use genpool_cli::verify::verify;
use proptest::prelude::*;

/// Numbers that are small, at an edge, or invalid. Those in between would only make large pools.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0u64..0x200).prop_map(|n| n.to_string()),
        4 => (0u64..16).prop_map(|n| format!("{:#x}", n << 4)),
        2 => (0u64..4).prop_map(|n| format!("{:#x}", u64::MAX - n)),
        1 => (60u32..64).prop_map(|n| format!("{:#x}", 1u64 << n)),
        1 => prop::sample::select(vec!["", "-1", "0x", "18446744073709551616", "none", "a=b"]).prop_map(str::to_owned),
    ]
}

fn algorithm() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        prop::sample::select(vec![
            "first-fit",
            "order-align",
            "best-fit",
            "next-fit",
            "thread-start",
            "spread-fit",
            "other"
        ])
        .prop_map(|name| format!("algo={name}")),
        (0u32..64).prop_map(|n| format!("algo=first-fit-align:{:#x}", 1u64 << n)),
        number().prop_map(|n| format!("algo=fixed:{n}")),
        number().prop_map(|n| format!("algo=fixed-address:{n}")),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let id = 0u8..20;
    prop_oneof![
        1 => (number(), number(), number()).prop_map(|(v, p, n)| format!("chunk virt={v} phys={p} size={n}")),
        2 => (number(), number()).prop_map(|(v, n)| format!("chunk virt={v} size={n}")),
        8 => (id.clone(), number(), algorithm()).prop_map(|(id, n, algo)| format!("alloc {id} size={n} {algo}")),
        4 => (id.clone(), number(), number()).prop_map(|(id, n, at)| format!("alloc {id} size={n} -> {at}")),
        8 => id.prop_map(|id| format!("free {id}")),
        1 => (number(), number()).prop_map(|(a, n)| format!("expect avail={a} size={n}")),
        1 => (number(), number()).prop_map(|(a, n)| format!("expect has-addr={a},{n} is=yes")),
        1 => (number(), number()).prop_map(|(a, b)| format!("expect phys-of={a} is={b}")),
        1 => "[ -~]{0,30}",
    ]
}

/// Plays as many leading lines as are valid, so that a bad line does not spare the pool the rest.
fn play(text: &str) {
    let mut lines: Vec<&str> = text.lines().collect();
    let trace = loop {
        match Trace::parse(&lines.join("\n")) {
            Ok(trace) => break trace,
            Err(error) if error.line() as usize <= lines.len() && lines.len() > 2 => {
                lines.remove(error.line() as usize - 1);
            }
            Err(_) => return,
        }
    };
    let verified = verify(&trace, AlgorithmSpec::FirstFit);
    let replayed = replay("a", &trace, AlgorithmSpec::BestFit, Some(1), &mut |_| ());
    assert_eq!(verified.is_err(), replayed.is_err());
    assert!(!matches!(replayed, Err(ReplayError::FreeRefused { .. })));
    let wish = Wish {
        repeats: Some(1),
        ..Wish::default()
    };
    let compared = compare("a", &trace, &wish, &mut |_| ());
    assert!(!matches!(compared, Err(ReplayError::FreeRefused { .. })));
    let mut report = Report::new("compare");
    if let Ok(found) = compared {
        report.entries = found.entries;
        report.advice.extend(found.advice);
    }
    report
        .entries
        .extend(replayed.ok().and_then(|found| found.entry));
    let page = html::page(&report).unwrap();
    assert!(page.ends_with("</html>\n"));
    assert!(
        csv::table(&report)
            .lines()
            .all(|line| line.split(',').count() == 9)
    );
}

/// Addresses in a few pages, some of them odd, and lengths that reach beyond them.
fn mapped() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => (0u64..24).prop_map(|page| 0x7000_0000_0000 + (page << 12)),
        1 => Just(0x7000_0000_0800),
        1 => Just(u64::MAX),
    ]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![12 => (0u64..8).prop_map(|pages| pages << 12), 1 => Just(1), 1 => Just(u64::MAX - 4095)]
}

fn call() -> impl Strategy<Value = String> {
    let flags = vec![
        "MAP_PRIVATE",
        "MAP_PRIVATE|MAP_FIXED",
        "0x32",
        "0x22 /* MAP_PRIVATE|MAP_ANONYMOUS */",
        "MAP_HUGETLB",
        "MAP_FIXED|MAP_HUGETLB|16<<MAP_HUGE_SHIFT",
        "?",
    ];
    let flags = prop::sample::select(flags);
    let child = 1u32..6;
    prop_oneof![
        6 => (mapped(), length(), flags).prop_map(|(at, len, flags)| {
            format!("mmap({at:#x}, {len}, PROT_READ, {flags}, -1, 0) = {at:#x}")
        }),
        6 => (mapped(), length()).prop_map(|(at, len)| format!("munmap({at:#x}, {len}) = 0")),
        3 => (mapped(), length(), mapped(), length()).prop_map(|(from, old, to, new)| {
            format!("mremap({from:#x}, {old}, {new}, MREMAP_MAYMOVE) = {to:#x}")
        }),
        1 => child.clone().prop_map(|pid| format!("clone(flags=CLONE_VM|CLONE_THREAD) = {pid}")),
        1 => child.prop_map(|pid| format!("vfork() = {pid}")),
        2 => (mapped(), length()).prop_map(|(at, len)| format!("munmap({at:#x}, {len} <unfinished ...>")),
        1 => (mapped(), length(), length()).prop_map(|(at, old, new)| {
            format!("mremap({at:#x}, {old}, {new}, 0x1 <unfinished ...>")
        }),
        2 => Just("<... munmap resumed>) = 0".to_owned()),
        1 => mapped().prop_map(|at| format!("<... mremap resumed>) = {at:#x}")),
        1 => (0u8..9).prop_map(|seconds| format!("12:00:0{seconds} read(0, \"\", 1) = 0")),
        1 => Just("clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>".to_owned()),
        1 => Just("execve(\"/bin/true\", [\"true\"], 0x7ffe /* 1 var */) = 0".to_owned()),
        1 => Just("+++ exited with 0 +++".to_owned()),
        1 => Just("<... mmap resumed>) = 0x700000000000".to_owned()),
        1 => Just("mmap(NULL, 4096, PROT_NONE, <unfinished ...>".to_owned()),
        1 => "[ -~]{0,30}",
    ]
}

/// Converted output must be a trace that fits its pool, except for fragmentation.
fn converted(text: &[u8]) {
    if let Ok(converted) = convert(text, None) {
        let trace = Trace::parse(&converted.to_string()).unwrap();
        assert_eq!(trace.allocs() as u64, converted.counts().allocs);
        let found = verify(&trace, AlgorithmSpec::FirstFit).unwrap();
        assert_eq!(found.differences, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_of_the_format(order in prop::sample::select(vec![0u32, 3, 4, 12, 40, 62, 63]), lines in prop::collection::vec(line(), 0..60)) {
        play(&format!(
            "# genpool trace v1\npool order={order}\nchunk virt={:#x} size={:#x}\n{}",
            if order < 20 { 3u64 << order } else { 0 },
            if order < 20 { 32u64 << order } else { 1 << order },
            lines.join("\n")
        ));
    }

    #[test]
    fn lines_of_strace(lines in prop::collection::vec((1u32..6, call()), 0..80)) {
        let lines: Vec<String> = lines.into_iter().map(|(pid, call)| format!("{pid} {call}\n")).collect();
        converted(lines.concat().as_bytes());
    }

    #[test]
    fn any_bytes_of_strace(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        converted(&bytes);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        let _ = Trace::parse(&text);
        let _ = Trace::parse(&format!("# genpool trace v1\n{text}"));
        let _ = Trace::parse(&format!("# genpool trace v1\npool order=1\n{text}"));
    }
}
