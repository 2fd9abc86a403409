//! Tests of the rule for allocators that map more than they need.

use super::*;

/// Returns the pages of the first allocation, and how many unmappings trim it.
fn first(lines: &str) -> (String, u64) {
    let (ops, counts) = converted(lines);
    (ops[0].clone(), counts.trimmed)
}

fn trimmed(pages: u64, cuts: u64) -> (String, u64) {
    (format!("alloc 1 {pages}"), cuts)
}

/// A call that takes time, or belongs to another thread.
const READ: &str = "read(3, \"\", 4096) = 0\n";

#[test]
fn the_head_the_tail_or_both_are_cut() {
    let (head, tail) = (munmap(10, 6), munmap(32, 10));
    assert_eq!(first(&(mmap(10, 32) + &head)), trimmed(26, 1));
    assert_eq!(first(&(mmap(10, 32) + &tail)), trimmed(22, 1));
    assert_eq!(first(&(mmap(10, 32) + &head + &tail)), trimmed(16, 2));
    assert_eq!(first(&(mmap(10, 32) + &tail + &head)), trimmed(16, 2));
    let (ops, counts) = converted(&(mmap(10, 32) + &head + &tail + &munmap(16, 16)));
    assert_eq!(ops, ["alloc 1 16", "free 1"]);
    assert_eq!(
        (counts.trimmed, counts.partial, counts.peak_pages),
        (2, 0, 16)
    );
}

#[test]
fn naming_and_protecting_may_come_between() {
    let between = "mprotect(0x10000, 4096, PROT_NONE) = 0\n\
                   madvise(0x10000, 4096, MADV_HUGEPAGE) = 0\n\
                   prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0xa000, 4096, \"heap\") = 0\n\
                   --- SIGCHLD {si_signo=SIGCHLD} ---\n";
    let text = mmap(10, 32) + between + &munmap(10, 6) + between + &munmap(32, 10);
    assert_eq!(first(&text), trimmed(16, 2));
}

#[test]
fn another_call_of_the_thread_ends_it() {
    for between in [
        READ.to_owned(),
        mmap(100, 1),
        fixed(20, 2),
        munmap(200, 1),
        "brk(0x5555) = 0x5555\n".to_owned(),
        "mremap(0xa000, 131072, 131072, 0) = 0xa000\n".to_owned(),
        "munmap(0xa000, 0) = -1 EINVAL (Invalid argument)\n".to_owned(),
    ] {
        let text = mmap(10, 32) + &between + &munmap(10, 6);
        assert_eq!(first(&text), trimmed(32, 0), "{between}");
        let text = mmap(10, 32) + &munmap(10, 6) + &between + &munmap(32, 10);
        assert_eq!(first(&text), trimmed(26, 1), "{between}");
    }
}

#[test]
fn other_threads_neither_end_it_nor_cut() {
    let text = format!(
        "1 {}2 {READ}2 {}1 {}2 {}1 {}",
        mmap(10, 32),
        mmap(100, 1),
        munmap(10, 6),
        fixed(20, 1),
        munmap(32, 10)
    );
    assert_eq!(first(&text), trimmed(16, 2));
    let text = format!("1 {}2 {}", mmap(10, 32), munmap(10, 6));
    assert_eq!(first(&text), trimmed(32, 0));
    // What another thread has mapped there meanwhile is not trimmed.
    let text = format!(
        "1 {}2 {}2 {}1 {}",
        mmap(10, 32),
        munmap(10, 32),
        mmap(10, 16),
        munmap(10, 6)
    );
    assert_eq!(ops(&text), ["alloc 1 32", "free 1", "alloc 2 16"]);
}

#[test]
fn a_cut_that_another_line_interrupts_counts_from_where_it_begins() {
    let text = format!(
        "1 mmap(NULL, 131072, PROT_NONE <unfinished ...>\n2 {READ}\
         1 <... mmap resumed>, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0xa000\n\
         1 munmap(0xa000, 24576 <unfinished ...>\n2 {READ}1 <... munmap resumed>) = 0\n1 {}",
        munmap(32, 10)
    );
    assert_eq!(first(&text), trimmed(16, 2));
}

#[test]
fn a_cut_comes_within_a_second_where_lines_have_times() {
    for (mapped, cut, is_trim) in [
        ("12:00:00", "12:00:01", true),
        ("12:00:00.100000", "12:00:01.100001", false),
        ("1700000000.1", "1700000000.2", true),
        ("1700000000.1", "1700000060.1", false),
        ("0.000001", "0.000100", true),
        ("0.000001", "7.500000", false),
    ] {
        for pid in ["", "12 ", "[pid 12] "] {
            let text = format!("{pid}{mapped} {}{pid}{cut} {}", mmap(10, 32), munmap(10, 6));
            let pages = if is_trim { 26 } else { 32 };
            assert_eq!(
                first(&text),
                trimmed(pages, is_trim.into()),
                "{mapped} {cut}"
            );
        }
    }
}

#[test]
fn a_mapping_that_goes_piecewise_was_allocated_whole() {
    let pieces = |pages: Vec<u64>| -> String {
        let cuts = pages.into_iter().map(|page| munmap(page, 1));
        mmap(10, 16) + &cuts.collect::<String>()
    };
    let upwards: Vec<u64> = (10..26).collect();
    let downwards: Vec<u64> = (10..26).rev().collect();
    let inwards = vec![10, 25, 11, 24, 12, 23];
    for pages in [upwards, downwards, inwards] {
        let cuts = pages.len() as u64;
        let (ops, counts) = converted(&pieces(pages.clone()));
        assert_eq!(ops[0], "alloc 1 16");
        assert_eq!(ops.len() == 2, cuts == 16);
        let parts = cuts - u64::from(cuts == 16);
        assert_eq!((counts.trimmed, counts.partial), (0, parts), "{pages:?}");
    }
}

#[test]
fn a_cut_takes_an_end_of_this_mapping_alone() {
    // The middle.
    assert_eq!(first(&(mmap(10, 16) + &munmap(12, 2))), trimmed(16, 0));
    // Both ends of neighbours.
    let neighbours = mmap(40, 4) + &mmap(10, 16);
    let text = neighbours.clone() + &munmap(22, 20);
    assert_eq!(ops(&text), ["alloc 1 4", "alloc 2 16"]);
    let below = mmap(4, 6) + &mmap(10, 16);
    assert_eq!(ops(&(below + &munmap(8, 4))), ["alloc 1 6", "alloc 2 16"]);
    // All of it.
    assert_eq!(
        ops(&(neighbours + &munmap(10, 16)))[1..],
        ["alloc 2 16", "free 2"]
    );
}

#[test]
fn only_what_mmap_placed_is_cut() {
    assert_eq!(first(&(fixed(10, 16) + &munmap(10, 4))), trimmed(16, 0));
    let grown = "mremap(0xa000, 65536, 131072, MREMAP_MAYMOVE) = 0xa000\n";
    let (ops, counts) = converted(&(mmap(10, 16) + grown + &munmap(10, 4)));
    assert_eq!(ops, ["alloc 1 16", "free 1", "alloc 2 32"]);
    assert_eq!((counts.trimmed, counts.partial), (0, 1));
    // Nor does a call in two parts trim as `munmap` does.
    let text = format!(
        "1 {}1 mremap(0xa000, 16384, 4096, MREMAP_MAYMOVE <unfinished ...>\n2 {READ}\
         1 <... mremap resumed>) = 0x64000\n",
        mmap(10, 16)
    );
    assert_eq!(converted(&text).0, ["alloc 1 16", "alloc 2 1"]);
}

#[test]
fn an_end_of_the_thread_ends_it() {
    let text = format!(
        "1 {}2 {}2 +++ exited with 0 +++\n2 {}",
        mmap(100, 1),
        mmap(10, 16),
        munmap(10, 4)
    );
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 1", "alloc 2 16"]);
    assert_eq!((counts.trimmed, counts.partial), (0, 1));
}
