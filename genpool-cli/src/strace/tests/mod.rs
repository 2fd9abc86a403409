//! Tests on handwritten output of strace.

mod notation;
mod trims;

use super::*;

/// Returns the converted operations, and the counts.
fn converted(lines: &str) -> (Vec<String>, Counts) {
    let converted = convert(lines.as_bytes(), None).unwrap();
    let ops = converted.ops.iter().map(|op| match op {
        Op::Alloc { id, pages } => format!("alloc {id} {pages}"),
        Op::Free { id } => format!("free {id}"),
    });
    (ops.collect(), *converted.counts())
}

fn ops(lines: &str) -> Vec<String> {
    converted(lines).0
}

/// A line of `mmap` for some pages at a page.
fn mmap(page: u64, pages: u64) -> String {
    let (at, len) = (page << 12, pages << 12);
    format!("mmap(NULL, {len}, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {at:#x}\n")
}

fn fixed(page: u64, pages: u64) -> String {
    let (at, len) = (page << 12, pages << 12);
    format!(
        "mmap({at:#x}, {len}, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0x1000) = {at:#x}\n"
    )
}

fn munmap(page: u64, pages: u64) -> String {
    format!("munmap({:#x}, {}) = 0\n", page << 12, pages << 12)
}

#[test]
fn a_trace_with_its_head() {
    let text = "mmap(NULL, 8193, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000\n\
                brk(NULL) = 0x5555\n\
                mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</lib/a, b = c>, 0) = -1 ENOMEM (Cannot allocate memory)\n\
                munmap(0x7f0000000000, 8193)            = 0\n";
    let converted = convert(text.as_bytes(), None).unwrap();
    assert_eq!(
        converted.to_string(),
        "# genpool trace v1\n\
         # Mappings of a program, made by `genpool convert` from 4 lines of strace, 2 of them without\n\
         # a part in it. 1 mappings, at most 12 KiB at once.\n\
         pool order=12\nchunk virt=0x4000 size=0x4000\nalloc 1 size=0x3000\nfree 1\n"
    );
    let pool = |size| convert(text.as_bytes(), Some(size)).map(|converted| converted.chunk_pages);
    assert_eq!(pool(5 << 12).unwrap(), 5);
    assert_eq!(pool(1).unwrap(), 1);
    assert_eq!(pool(MAX_GRANULES << 12).unwrap(), MAX_GRANULES as u64);
    assert!(matches!(
        pool((MAX_GRANULES << 12) + 1),
        Err(ConvertError::PoolSize { .. })
    ));
    assert!(matches!(pool(0), Err(ConvertError::PoolSize { pages: 0 })));
    assert!(matches!(
        pool(usize::MAX),
        Err(ConvertError::PoolSize { .. })
    ));
}

#[test]
fn comments_say_what_is_only_approximated() {
    let text = mmap(10, 10) + &fixed(12, 4) + &fixed(12, 4) + &munmap(10, 1);
    let converted = convert(text.as_bytes(), None).unwrap().to_string();
    let comments = converted.lines().filter(|line| line.starts_with("# "));
    let comments: Vec<_> = comments.skip(3).collect();
    let expected = [
        "# 2 fixed mappings over what was mapped: no allocation, but for gaps.",
        "# 1 other cuts of a mapping: all of it stays until its last page goes.",
    ];
    assert_eq!(comments, expected);
}

#[test]
fn lines_in_all_their_forms() {
    let call = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</a, b>, 0) = 0x1000";
    for line in [
        call.to_owned(),
        format!("123 {call} <0.000012>"),
        format!("  123  {call}"),
        format!("[pid   123] {call}"),
        format!("123 12:30:01.123456 {call}"),
        format!("12:30:01 {call}"),
        format!("1700000000.123456 {call}"),
        format!("[pid 123] 1700000000.1 {call}"),
        format!("     0.000043 {call}"),
        "mmap2(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000".to_owned(),
        "mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE, 3, 0)   = 0x1000".to_owned(),
        "7 mmap(NULL, 4096, <unfinished ...>\n8 brk(0) = 1\n7 <... mmap resumed>PROT_READ, MAP_SHARED, 3, 0) = 0x1000"
            .to_owned(),
        "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0 <unfinished ...>\n7 <... mmap resumed>) = 0x1000"
            .to_owned(),
        "[pid 7] 12:00:00 mmap(NULL, 4096 <unfinished ...>\n[pid 7] 12:00:01 <... mmap resumed>, 1, MAP_SHARED, 3, 0) \
         = 0x1000 <0.1>"
            .to_owned(),
    ] {
        assert_eq!(ops(&format!("{line}\n")), ["alloc 1 1"], "{line}");
    }
}

#[test]
fn lines_without_a_mapping() {
    for line in [
        "",
        "mmap",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = ?",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0xffffffffffffff00",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = -1 (errno 12)",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0 <unfinished ...>",
        "<... mmap resumed>) = -1 ENOMEM (Cannot allocate memory)",
        "munmap(0x1000, 4096) = 0",
        "123 --- SIGCHLD {si_signo=SIGCHLD} ---",
        "+++ exited with 0 +++",
        "\u{0}\u{ffff}(((",
    ] {
        let result = convert(line.as_bytes(), None);
        assert!(matches!(result, Err(ConvertError::Nothing)), "{line:?}");
    }
}

#[test]
fn an_older_one_stays_until_its_last_page_goes() {
    let text = mmap(10, 8) + &mmap(30, 1) + &munmap(12, 2) + &munmap(10, 2) + &munmap(14, 4);
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 8", "alloc 2 1", "free 1"]);
    assert_eq!((counts.partial, counts.peak_pages), (2, 9));
}

#[test]
fn one_call_may_unmap_several() {
    let text = mmap(10, 2) + &mmap(12, 2) + &mmap(20, 2) + &mmap(40, 1) + &munmap(11, 10);
    let (ops, counts) = converted(&text);
    assert_eq!(ops[4..], ["free 2"]);
    assert_eq!((counts.partial, counts.unknown), (2, 0));
    assert_eq!(converted(&(mmap(1, 1) + &munmap(5, 2))).1.unknown, 1);
}

#[test]
fn the_peak_is_of_what_is_held_at_one_time() {
    let text = mmap(10, 4) + &munmap(10, 4) + &mmap(20, 5) + &munmap(20, 5) + &mmap(30, 3);
    assert_eq!(converted(&text).1.peak_pages, 5);
}

#[test]
fn fixed_mappings_are_new_only_where_nothing_was() {
    // A loader maps all of a library first, then its segments over it, and zeros after it.
    let text = mmap(10, 10) + &fixed(12, 4) + &fixed(16, 2) + &fixed(19, 3);
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 10", "alloc 2 2"]);
    assert_eq!(counts.fixed, 3);
    assert_eq!(converted(&fixed(10, 4)).1.fixed, 0);
    // Gaps before, between and after.
    let text = mmap(10, 2) + &mmap(14, 2) + &fixed(8, 10) + &munmap(8, 10);
    let (ops, _) = converted(&text);
    assert_eq!(
        ops,
        [
            "alloc 1 2",
            "alloc 2 2",
            "alloc 3 2",
            "alloc 4 2",
            "alloc 5 2",
            "free 3",
            "free 1",
            "free 4",
            "free 2",
            "free 5"
        ]
    );
}

#[test]
fn mremap_grows_moves_and_shrinks() {
    let mremap = |from: u64, old: u64, to: u64, new: u64, flags: &str| {
        let (from, old, new, to) = (from << 12, old << 12, new << 12, to << 12);
        format!("mremap({from:#x}, {old}, {new}, {flags}) = {to:#x}\n")
    };
    let base = mmap(10, 4) + &mmap(50, 1);
    let after = |line: String| ops(&(base.clone() + &line))[2..].to_vec();
    assert_eq!(
        after(mremap(10, 4, 10, 6, "MREMAP_MAYMOVE")),
        ["free 1", "alloc 3 6"]
    );
    assert_eq!(
        after(mremap(10, 4, 20, 6, "MREMAP_MAYMOVE")),
        ["alloc 3 6", "free 1"]
    );
    assert_eq!(
        after(mremap(10, 4, 50, 2, "MREMAP_MAYMOVE|MREMAP_FIXED, 0x32000")),
        ["free 2", "alloc 3 2", "free 1"]
    );
    assert_eq!(
        after(mremap(10, 4, 20, 4, "MREMAP_MAYMOVE|MREMAP_DONTUNMAP")),
        ["alloc 3 4"]
    );
    assert_eq!(after(mremap(10, 0, 20, 4, "MREMAP_MAYMOVE")), ["alloc 3 4"]);
    assert_eq!(
        after(mremap(10, 4, 10, 2, "MREMAP_MAYMOVE")),
        ["free 1", "alloc 3 2"]
    );
    assert!(after(mremap(10, 4, 10, 4, "0")).is_empty());
    // A part of a mapping cannot be freed.
    assert!(after(mremap(10, 3, 10, 2, "0")).is_empty());
    let text = base.clone() + &mremap(10, 3, 10, 2, "0") + &munmap(10, 2) + &munmap(13, 1);
    assert_eq!(ops(&text)[2..], ["free 1"]);
    // Nor can a piece of a mapping with a hole.
    let text = mmap(10, 8) + &munmap(13, 1) + &mremap(10, 3, 10, 2, "0");
    assert_eq!(ops(&text), ["alloc 1 8"]);
    let twice = mremap(10, 4, 10, 6, "0") + &mremap(10, 6, 10, 5, "0");
    assert_eq!(converted(&(base + &twice)).1.resized, 2);
}

#[test]
fn threads_share_and_processes_do_not() {
    let thread =
        "1 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x1000} => {parent_tid=[2]}, 88) = 2\n";
    let fork =
        "1 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x1) = 2\n";
    let tail = format!(
        "2 {}1 +++ exited with 0 +++\n2 +++ exited with 0 +++\n",
        munmap(10, 2)
    );
    let text = |spawn: &str| format!("1 {}{spawn}{tail}", mmap(10, 2));
    let (of_thread, counts) = converted(&text(thread));
    assert_eq!(
        (of_thread, counts.unknown),
        (vec!["alloc 1 2".to_owned(), "free 1".to_owned()], 0)
    );
    // The child's mapping is a copy that costs nothing. The parent's goes with the parent.
    let (of_process, counts) = converted(&text(fork));
    assert_eq!((of_process.len(), counts.unknown), (2, 1));
    // A mapping at the same address in both is two mappings.
    let both = format!("1 {}{fork}2 {}", mmap(10, 2), mmap(10, 3));
    let (both, counts) = converted(&both);
    assert_eq!(
        (both, counts.conflicts),
        (vec!["alloc 1 2".to_owned(), "alloc 2 3".to_owned()], 0)
    );
}

#[test]
fn a_child_may_call_before_its_creator_returns() {
    let text = format!(
        "1 {}1 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n2 {}1 <... clone resumed>) = 2\n\
         2 +++ exited with 0 +++\n",
        mmap(10, 2),
        mmap(10, 3)
    );
    assert_eq!(ops(&text), ["alloc 1 2", "alloc 2 3", "free 2"]);
}

/// The pages are mapped again before the line that ends the call.
#[test]
fn an_unmapping_counts_from_where_it_begins() {
    let text = format!(
        "1 {}1 munmap(0xa000, 8192 <unfinished ...>\n2 {}1 <... munmap resumed>) = 0\n",
        mmap(10, 2),
        mmap(10, 1)
    );
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 2", "free 1", "alloc 2 1"]);
    assert_eq!(
        (counts.conflicts, counts.unknown, counts.ignored),
        (0, 0, 1)
    );
}

/// Each takes the place where it began, also after earlier events have been passed on.
#[test]
fn interrupted_calls_of_several_threads_keep_their_places() {
    let text = format!(
        "1 {}2 {}1 munmap(0xa000, 4096 <unfinished ...>\n2 munmap(0x14000, 8192 <unfinished ...>\n3 {}\
         1 <... munmap resumed>) = 0\n2 <... munmap resumed>) = 0\n",
        mmap(10, 1),
        mmap(20, 2),
        mmap(30, 3)
    );
    let expected = ["alloc 1 1", "alloc 2 2", "free 1", "free 2", "alloc 3 3"];
    assert_eq!(ops(&text), expected);
}

/// No other thread can use the pages before the call returns.
#[test]
fn a_mapping_counts_from_where_it_ends() {
    let text = format!(
        "1 mmap(NULL, 8192, PROT_READ <unfinished ...>\n2 {}1 <... mmap resumed>, MAP_PRIVATE, 3, 0) = 0xa000\n",
        mmap(20, 1)
    );
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 1", "alloc 2 2"]);
    assert_eq!((counts.lines, counts.ignored), (3, 1));
}

/// Pages stay allocated as long as it is unknown whether the call that unmaps them succeeds.
#[test]
fn a_call_that_fails_in_the_end_has_taken_nothing() {
    let text = format!(
        "1 {}1 munmap(0xa000, 8192 <unfinished ...>\n2 {}1 <... munmap resumed>) = -1 EINVAL (Invalid argument)\n\
         1 mremap(0xa000, 8192, 12288, MREMAP_MAYMOVE <unfinished ...>\n2 {}\
         1 <... mremap resumed>) = -1 ENOMEM (Cannot allocate memory)\n\
         1 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n2 {}\
         1 <... clone resumed>) = -1 EAGAIN (Resource temporarily unavailable)\n1 {}",
        mmap(10, 2),
        mmap(20, 1),
        mmap(30, 1),
        mmap(40, 1),
        munmap(10, 2)
    );
    let (found, counts) = converted(&text);
    assert_eq!(
        found,
        ["alloc 1 2", "alloc 2 1", "alloc 3 1", "alloc 4 1", "free 1"]
    );
    assert_eq!(
        (counts.resized, counts.unknown, counts.conflicts),
        (0, 0, 0)
    );
    // Nor has a call that was cut off by the end of the file, or of its thread.
    let begun = format!("1 {}1 munmap(0xa000, 8192 <unfinished ...>\n", mmap(10, 2));
    assert_eq!(ops(&begun), ["alloc 1 2"]);
    let followed = format!("{begun}2 {}", mmap(20, 1));
    assert_eq!(ops(&followed), ["alloc 1 2", "alloc 2 1"]);
    let ended = format!(
        "{begun}2 {}1 +++ killed by SIGKILL +++\n2 {}",
        mmap(20, 1),
        munmap(10, 1)
    );
    assert_eq!(ops(&ended), ["alloc 1 2", "alloc 2 1"]);
    // A later thread of the same number does not continue it.
    let (found, counts) = converted(&(ended + "1 <... munmap resumed>) = 0\n"));
    assert_eq!(found, ["alloc 1 2", "alloc 2 1"]);
    assert_eq!(counts.unclear, 1);
}

/// As strace 6.1 writes it: the leader, and a second thread that executes another program.
#[test]
fn exec_by_another_thread_ends_the_leader_too() {
    let clone = "clone3({flags=CLONE_VM|CLONE_THREAD|CLONE_SIGHAND}, 88) = ";
    let start = format!(
        "1 {}1 {clone}2\n1 {clone}3\n3 {}3 execve(\"/bin/true\", [\"true\"], 0x7ffc <unfinished ...>\n",
        mmap(10, 2),
        mmap(20, 1)
    );
    let rest = format!(
        "1 <... execve resumed>) = 0\n1 {}1 +++ exited with 0 +++\n",
        mmap(30, 1)
    );
    let expected = [
        "alloc 1 2",
        "alloc 2 1",
        "free 1",
        "free 2",
        "alloc 3 1",
        "free 3",
    ];
    let switched = start.replace("<unfinished ...>", "<pid changed to 1 ...>");
    for start in [&start, &switched] {
        for notices in [
            "2 +++ exited with 0 +++\n1 +++ superseded by execve in pid 3 +++\n",
            "1 +++ superseded by execve in pid 3 +++\n",
            // `strace -qqq` leaves the notices out.
            "",
        ] {
            assert_eq!(
                ops(&format!("{start}{notices}{rest}")),
                expected,
                "{notices}"
            );
        }
    }
}

#[test]
fn names_of_programs_may_follow_their_numbers() {
    let text = format!(
        "7<a b> {}7<a b> clone(child_stack=NULL, flags=SIGCHLD) = 9<a b>\n[pid 9<x\\76>] {}\
         9<x> +++ exited with 0 +++\n7<a b> munmap(0xa000, 4096 <unfinished ...>\n\
         7<a b> <... munmap resumed>) = 0\n",
        mmap(10, 1),
        mmap(10, 2)
    );
    assert_eq!(ops(&text), ["alloc 1 1", "alloc 2 2", "free 2", "free 1"]);
}

#[test]
fn exec_and_the_last_exit_free_everything() {
    let text = format!(
        "1 {}1 vfork() = 2\n2 {}2 execve(\"/bin/a\", [\"a\", \"= b\"], 0x7ffe /* 3 vars */) = 0\n2 {}\
         1 execve(\"/bin/c\", [\"c\"], 0x7ffe /* 3 vars */) = 0\n1 +++ killed by SIGKILL +++\n2 +++ exited with 0 +++\n",
        mmap(10, 1),
        mmap(20, 1),
        mmap(10, 5)
    );
    assert_eq!(
        ops(&text),
        [
            "alloc 1 1",
            "alloc 2 1",
            "alloc 3 5",
            "free 1",
            "free 2",
            "free 3"
        ]
    );
}

#[test]
fn impossible_mappings_are_reported() {
    let (ops, counts) = converted(&(mmap(10, 4) + &mmap(12, 4)));
    assert_eq!(ops, ["alloc 1 4", "alloc 2 4"]);
    assert_eq!((counts.conflicts, counts.trimmed), (1, 0));
}

#[test]
fn pools_that_would_be_too_large() {
    let text = mmap(0, 1 << 40);
    let error = convert(text.as_bytes(), None).unwrap_err();
    assert!(matches!(error, ConvertError::PoolSize { .. }), "{error}");
}
