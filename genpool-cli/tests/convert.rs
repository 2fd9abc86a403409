//! Output of `strace` in files. `program-*.strace` show one program in four notations, as strace 6.1 writes them on
//! Linux 6.18.

use genpool_cli::strace::{Converted, convert};
use genpool_cli::trace::Trace;

macro_rules! converted {
    ($name:literal) => {
        read(include_bytes!(concat!("strace/", $name, ".strace")))
    };
}

fn read(text: &[u8]) -> Converted {
    let converted = convert(text, None).unwrap();
    Trace::parse(&converted.to_string()).unwrap();
    converted
}

/// Returns the operations, without comments.
fn ops(converted: &Converted) -> Vec<String> {
    let text = converted.to_string();
    let ops = text.lines().filter(|line| {
        let is_op = |verb| line.starts_with(verb);
        ["alloc ", "free "].into_iter().any(is_op)
    });
    ops.map(str::to_owned).collect()
}

#[test]
fn a_mapping_that_goes_piecewise_is_allocated_whole() {
    let found = converted!("fixed-then-piecewise");
    assert_eq!(ops(&found), ["alloc 1 size=0x10000", "free 1"]);
    assert!(
        found
            .to_string()
            .contains("\nchunk virt=0x10000 size=0x10000\n")
    );
}

#[test]
fn a_mapping_that_mremap_shrinks_is_allocated_twice() {
    let expected = [
        "alloc 1 size=0x100000",
        "free 1",
        "alloc 2 size=0x1000",
        "free 2",
    ];
    assert_eq!(ops(&converted!("realloc")), expected);
}

#[test]
fn the_data_of_a_resumed_call_ends_no_process() {
    let found = converted!("resumed-data");
    assert_eq!(ops(&found), ["alloc 1 size=0x2000", "free 1"]);
    assert_eq!(found.counts().unknown, 0);
}

#[test]
fn flags_as_numbers_convert_like_names() {
    let numbers = converted!("raw-flags");
    assert_eq!(numbers, converted!("raw-flags-as-names"));
    assert_eq!(ops(&numbers), ["alloc 1 size=0x8000", "free 1"]);
}

#[test]
fn a_huge_mapping_is_of_a_huge_page() {
    let found = converted!("hugetlb");
    assert_eq!(ops(&found), ["alloc 1 size=0x200000", "free 1"]);
}

#[test]
fn a_program_converts_alike_in_every_notation() {
    let names = converted!("program-names");
    let counts = names.counts();
    assert_eq!(
        (counts.trimmed, counts.unclear, counts.conflicts),
        (2, 0, 0)
    );
    assert_eq!(converted!("program-numbers"), names);
    assert_eq!(converted!("program-verbose"), names);
    assert_eq!(converted!("program-raw"), names);
}
