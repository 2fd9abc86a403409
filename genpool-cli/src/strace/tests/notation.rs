//! Tests of other notations, of data that looks like structure, and of lines that cannot be read.

use super::*;

#[test]
fn calls_that_cannot_be_read_are_counted() {
    let before = mmap(10, 1);
    for line in [
        "mmap(",
        "mmap()",
        "mmap() = 0x1000",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0)",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = ",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = somewhere",
        "mmap(NULL, 0, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000",
        "mmap(NULL, many, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000",
        "mmap(NULL, 4096, PROT_READ, , 3, 0) = 0x1000",
        "mmap(NULL, 4096, PROT_READ, private, 3, 0) = 0x1000",
        "mmap(NULL, 4096, PROT_READ, -1, 3, 0) = 0x1000",
        "mmap(NULL, 18446744073709551615, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000",
        "mmap(NULL, 18446744073709551616, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000",
        "mmap(NULL, 4096, PROT_READ, MAP_HUGETLB|63<<MAP_HUGE_SHIFT, 3, 0) = 0x1000",
        "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0xfffffffffffff000",
        "<... mmap resumed>) = 0x1000",
        "munmap(0xb000) = 0",
        "munmap(0xb000, all) = 0",
        "munmap(0xb000, 4096",
        "munmap(0xb000, 4096 <interrupted ...>",
        "munmap(0xb000, 4096 <pid changed to 7",
        "mremap(0xb000, 4096, 8192, maymove) = 0xb000",
        "mremap(0xb000, 4096, 8192) = 0xb000",
        "mremap(0xb000, all, 8192, 0) = 0xb000",
        "mremap(0xb000, 4096, 0, 0) = 0xb000",
        "clone(child_stack=NULL, flags=all) = 7",
        "clone() = 7",
        "clone3(0x7ffc050b5000, 0x58) = 7",
        "clone3({stack=0x1000}, 88) = 7",
        "fork() = 0",
        "fork() = 4294967296",
        "vfork(strace: Process 7 attached",
        "1 munmap(0xb000, 1 <unfinished ...>\n1 <... mremap resumed>, 2, 0) = 0xb000",
    ] {
        let (ops, counts) = converted(&format!("{before}{line}\n"));
        assert_eq!(ops, ["alloc 1 1"], "{line}");
        let last = 1 + line.lines().count() as u64;
        assert_eq!(
            (counts.unclear, counts.first_unclear),
            (1, Some(last)),
            "{line}"
        );
        if !line.contains("munmap") {
            let error = convert(line.as_bytes(), None).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{line}: {error}");
        }
    }
    let text = convert(format!("{before}mmap(\nmmap(\n").as_bytes(), None).unwrap();
    assert!(
        text.to_string()
            .contains("\n# 2 calls that could not be read, the first in line 2:"),
        "{text}"
    );
}

#[test]
fn calls_that_failed_or_belong_to_others_are_not_unclear() {
    for line in [
        "mmap(garbage) = -1 EINVAL (Invalid argument)",
        "mremap(0xb000, all, 8192, what) = -1 EFAULT (Bad address)",
        "clone(flags=what) = ? ERESTARTNOINTR (To be restarted)",
        "<... munmap resumed>) = -1 EINVAL (Invalid argument)",
        "<... read resumed>garbage",
        "read(garbage",
        "mmap2 is not a call",
        "+++ a notice of another program +++",
        "+++ b/exited with 0",
        " > /usr/lib/libc.so.6(mmap64+0x23) [0x1053e3]",
        "strace: Process 7 attached",
    ] {
        let (ops, counts) = converted(&format!("{}{line}\n", mmap(10, 1)));
        assert_eq!(ops, ["alloc 1 1"], "{line}");
        assert_eq!((counts.unclear, counts.ignored), (0, 1), "{line}");
    }
}

/// In data, in names of files and programs, and in comments.
#[test]
fn what_looks_like_structure_may_be_data() {
    let start = format!("10 {}", mmap(10, 2));
    let end = format!("10 {}", munmap(10, 2));
    for line in [
        r#"10 <... read resumed>"+++ b/file\n", 4096) = 11"#,
        r#"10 <... read resumed>"+++ exited with 0 +++", 4096) = 21"#,
        r#"10 <... read resumed>"+++ exited with 0 +++"#,
        r#"10 <... read resumed>"10 munmap(0xa000, 8192) = 0", 4096) = 27"#,
        r#"10 <... read resumed>"<... munmap resumed>) = 0", 4096) = 27"#,
        r#"10 read(0, "munmap(0xa000, 8192 <unfinished ...>", 99) = 9"#,
        r#"10 write(1, "munmap(0xa000, 8192) = 0"..., 4096) = 27"#,
        r#"10 write(1, "+++ exited with 0 +++", 21) = 21"#,
        r#"10 execve("/bin/a", ["a", "\"], ) = 0 <unfinished ...>"], 0x7ffc /* 1 var */) = -1 ENOENT (No such file)"#,
        r#"10 execve("/bin/a) = 0", ["a", "]) = 0"...], 0x7ffc) = -1 ENOENT (No such file)"#,
        r#"10 execve("a", ["\\"], 0x7ffc /* ) = 0 */) = -1 ENOENT (No such file)"#,
        "10 --- SIGTERM {si_signo=SIGTERM, si_value={int=0, ptr=\"+++ exited with 0 +++\"}} ---",
    ] {
        let (ops, counts) = converted(&format!("{start}{line}\n{end}"));
        assert_eq!(ops, ["alloc 1 2", "free 1"], "{line}");
        let counted = (counts.ignored, counts.unclear, counts.unknown);
        assert_eq!(counted, (1, 0, 0), "{line}");
    }
    for call in [
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</a, 0, MAP_FIXED) = 0x5000>, 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</a (deleted)>, 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</a>(deleted), 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</a->, 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</a \"b[{>, 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_SHARED, 3</dev/zero<char 1:5>>, 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_SHARED, 3<TCP:[127.0.0.1:80->127.0.0.1:9]>, 0) = 0xa000",
        "mmap(NULL, 8192, PROT_READ, MAP_SHARED, 3<UNIX-STREAM:[1->2,\"/a>, (\"]>, 0) = 0xa000",
        "mmap(NULL, 8192 /* = 0x1000) */, PROT_READ, MAP_PRIVATE, 3, 0) = 0xa000 (flags = 0x5000)",
    ] {
        let (ops, counts) = converted(&format!("10 {call}\n{end}"));
        assert_eq!(ops, ["alloc 1 2", "free 1"], "{call}");
        assert_eq!((counts.unclear, counts.unknown), (0, 0), "{call}");
    }
    // The name of a child.
    let text = format!("{start}10 vfork() = 11<a = 5) b>\n11 +++ exited with 0 +++\n{end}");
    assert_eq!(converted(&text).1.unclear, 0);
}

/// Each of these calls, with names and in other notations.
#[test]
fn every_notation_of_a_call_converts_alike() {
    let start = mmap(10, 8) + &mmap(100, 2);
    let all: [&[&str]; 8] = [
        &[
            "mmap(0xc000, 8192, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0xc000",
            "mmap(0xc000, 0x2000, 0x1, 0x32, 0xffffffff, 0) = 0xc000",
            "mmap(0xc000, 8192, 0x1 /* PROT_READ */, 0x32 /* MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS */, -1, 0) = 0xc000",
            "mmap(addr=0xc000, length=8192, prot=PROT_READ, flags=MAP_PRIVATE|MAP_FIXED, fd=-1, offset=0) = 0xc000",
            "mmap(0xc000, 8192, PROT_READ, MAP_PRIVATE|0x10, -1, 0) = 0xc000",
        ],
        &[
            "mmap(0x20000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED_NOREPLACE, -1, 0) = 0x20000",
            "mmap(0x20000, 4096, PROT_READ, 0x100022, -1, 0) = 0x20000",
        ],
        &[
            "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_HUGETLB, -1, 0) = 0x40000000",
            "mmap(NULL, 4096, 0x1, 0x40022, -1, 0) = 0x40000000",
            "mmap(NULL, 4096, 0x1, 0x40022 /* MAP_PRIVATE|MAP_HUGETLB */, -1, 0) = 0x40000000",
            "mmap(NULL, 4096, 0x1, MAP_PRIVATE|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0) = 0x40000000",
            "mmap(NULL, 4096, 0x1, MAP_PRIVATE|MAP_HUGETLB|MAP_HUGE_2MB, -1, 0) = 0x40000000",
            "mmap(NULL, 4096, 0x1, 0x54040022, -1, 0) = 0x40000000",
        ],
        &[
            "mremap(0xa000, 32768, 32768, MREMAP_MAYMOVE|MREMAP_DONTUNMAP) = 0x30000",
            "mremap(0xa000, 0x8000, 0x8000, 0x5) = 0x30000",
            "mremap(0xa000, 0x8000, 0x8000, 0x5 /* MREMAP_MAYMOVE|MREMAP_DONTUNMAP */, 0) = 0x30000",
            "mremap(old_address=0xa000, old_size=32768, new_size=32768, flags=0x4|MREMAP_MAYMOVE) = 0x30000",
        ],
        &[
            "mremap(0xa000, 32768, 65536, MREMAP_MAYMOVE|MREMAP_FIXED, 0x64000) = 0x64000",
            "mremap(0xa000, 0x8000, 0x10000, 0x3, 0x64000) = 0x64000",
            "mremap(0xa000, 0100000, 0200000, 03, 0x64000) = 0x64000",
        ],
        // A thread.
        &[
            "clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x1000} => {parent_tid=[7]}, 88) = 7",
            "clone3({flags=0x3d0f00, stack=0x1000, stack_size=0x7fff80} => {parent_tid=[7]}, 88) = 7",
            "clone3({flags=0x3d0f00 /* CLONE_VM|CLONE_THREAD */, stack=0x1000}, 88) = 7",
            "clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 7<thread>",
            "clone(0x3d0f00, 0x7f0000000000, 0, 0, 0) = 0x7",
            "clone(child_stack=0x7f, flags=CLONE_VM|0x10000) = 2 /* 7 in strace's PID NS */ <0.000012>",
        ],
        &[
            "clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 7",
            "clone(child_stack=NULL, flags=0x4100|17) = 7",
            "vfork() = 0x7",
        ],
        &[
            "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 7",
            "clone(child_stack=NULL, flags=0x1200000|17, child_tidptr=0x7f) = 7",
            "clone(child_stack=NULL, flags=0x1200000 /* CLONE_CHILD_CLEARTID */|17 /* SIGCHLD */) = 7",
            "clone(0x1200011, 0, 0, 0x7fdd7f741a10, 0) = 0x7",
            "clone3({flags=0, exit_signal=SIGCHLD}, 88) = 7",
            "fork() = 7",
        ],
    ];
    for twins in all {
        let converted = |call: &str| {
            let lines = format!("{start}{call}\nread(0, \"\", 0) = 0\n7 {}", munmap(10, 8));
            let rest = format!("7 execve(\"/a\", [\"a\"], 0x7ffc) = 0\n{}", munmap(100, 2));
            let (ops, counts) = converted(&(lines + &rest));
            assert_eq!(counts.unclear, 0, "{call}");
            (
                ops,
                Counts {
                    peak_pages: 0,
                    ..counts
                },
            )
        };
        for call in twins {
            assert_eq!(converted(call), converted(twins[0]), "{call}");
        }
    }
}

#[test]
fn a_mapping_that_replaces_nothing_is_not_fixed() {
    let text = mmap(10, 8)
        + "mmap(0xc000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED_NOREPLACE, 3, 0) = 0x20000\n";
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 8", "alloc 2 1"]);
    assert_eq!((counts.fixed, counts.conflicts), (0, 0));
}

/// Sizes are rounded as the kernel does.
#[test]
fn huge_mappings_are_of_whole_huge_pages() {
    let huge = |len: u64, flags: &str| {
        format!("mmap(NULL, {len}, PROT_READ, MAP_PRIVATE|{flags}, -1, 0) = 0x40000000\n")
    };
    for (len, flags, pages) in [
        (1, "MAP_HUGETLB", 512),
        (2 << 20, "MAP_HUGETLB", 512),
        ((2 << 20) + 1, "MAP_HUGETLB", 1024),
        (1, "MAP_HUGETLB|30<<MAP_HUGE_SHIFT", 1 << 18),
        (1, "MAP_HUGETLB|16<<MAP_HUGE_SHIFT", 16),
        (1, "21<<MAP_HUGE_SHIFT", 1),
    ] {
        assert_eq!(
            ops(&huge(len, flags)),
            [format!("alloc 1 {pages}")],
            "{flags}"
        );
    }
    let one = huge(4096, "MAP_HUGETLB");
    for gone in [
        "munmap(0x40000000, 2097152) = 0\n",
        "munmap(0x40000000, 4096) = 0\n",
    ] {
        assert_eq!(
            ops(&(one.clone() + gone)),
            ["alloc 1 512", "free 1"],
            "{gone}"
        );
    }
    let three = huge(5 << 20, "MAP_HUGETLB");
    let text = three.clone()
        + "munmap(0x40200000, 2097152) = 0\nmunmap(0x40400000, 1) = 0\nmunmap(0x40000000, 4096) = 0\n";
    assert_eq!(ops(&text), ["alloc 1 1536", "free 1"]);
    // Growing, in one line and in two.
    let grown = "mremap(0x40000000, 5242880, 6291457, MREMAP_MAYMOVE) = 0x80000000\n";
    assert_eq!(
        ops(&(three.clone() + grown)),
        ["alloc 1 1536", "alloc 2 2048", "free 1"]
    );
    let grown = "mremap(0x40000000, 5242880, 6291457, 1 <unfinished ...>\n<... mremap resumed>) = 0x80000000\n";
    assert_eq!(
        ops(&(three + grown)),
        ["alloc 1 1536", "free 1", "alloc 2 2048"]
    );
}

/// Pages that only adjoin a huge mapping are not rounded to its pages. A huge page may be smaller than 2 MiB.
#[test]
fn pages_next_to_a_huge_mapping_are_apart() {
    let huge = |page: u64| {
        let at = page << 12;
        format!("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_HUGETLB, -1, 0) = {at:#x}\n")
    };
    let gone = |page| mmap(504, 8) + &huge(512) + "read(3, \"\", 1) = 0\n" + &munmap(page, 7);
    let (found, counts) = converted(&gone(504));
    assert_eq!(found, ["alloc 1 8", "alloc 2 512"]);
    assert_eq!((counts.partial, counts.unknown), (1, 0));
    let all = gone(504) + &munmap(511, 1);
    assert_eq!(ops(&all)[2..], ["free 1"]);

    let before = mmap(200, 56) + &huge(256) + &munmap(200, 56);
    let (found, counts) = converted(&before);
    assert_eq!(found, ["alloc 1 56", "alloc 2 512", "free 1"]);
    assert_eq!(counts.partial, 0);

    let moved = "mremap(0x400000, 8192, 12288, MREMAP_MAYMOVE) = 0x800000\n";
    assert_eq!(ops(&(huge(512) + moved)), ["alloc 1 512", "alloc 2 3"]);
}

#[test]
fn memory_that_has_no_part_is_counted() {
    let text = mmap(10, 1)
        + "brk(NULL) = 0x5000\nbrk(0) = 0x5000\nbrk(0x9000) = 0x9000\nshmat(0, NULL, 0) = 0x70000\n\
           shmat(0, NULL, 0) = -1 EINVAL (Invalid argument)\nmap_shadow_stack(NULL, 32768, 0x1) = 0x80000\n";
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 1"]);
    assert_eq!(
        (counts.elsewhere, counts.ignored, counts.unclear),
        (3, 6, 0)
    );
}

/// A child whose flags cannot be read shares the memory, like one without a line.
#[test]
fn a_child_of_unknown_kin_shares_the_memory() {
    let text = format!(
        "1 {}1 clone3(0x7ffc050b5000, 0x58) = 7\n7 {}",
        mmap(10, 2),
        munmap(10, 2)
    );
    let (ops, counts) = converted(&text);
    assert_eq!(ops, ["alloc 1 2", "free 1"]);
    assert_eq!((counts.unclear, counts.unknown), (1, 0));
}

#[test]
fn files_of_other_systems() {
    let text = format!("\u{feff}{}{}", mmap(10, 2), munmap(10, 2)).replace('\n', "\r\n");
    assert_eq!(ops(&text), ["alloc 1 2", "free 1"]);
    let text = mmap(10, 2).replace('\n', "\0\n") + &"\0".repeat(100_000);
    assert_eq!(converted(&text).1.unclear, 0);
}

/// Long lines and deep brackets neither take long nor overflow a stack.
#[test]
fn lines_may_be_long() {
    const LONG: usize = 1 << 17;
    for part in [
        "(", "/**/", "/*", "{[", "\\\"", "|", "1|", ",", "<", "a<", "a=", "3</a>", " = ", "[1] ",
        "[1]", "1 ",
    ] {
        let text = part.repeat(LONG);
        for line in [
            format!("mmap(NULL, 4096, PROT_READ, {text}"),
            format!("mmap(NULL, 4096, PROT_READ, 0x2{text}, 3, 0) = 0x1000"),
            format!("clone3({{flags={text}}}, 88) = 2"),
            format!("{text} mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000"),
        ] {
            drop(convert(line.as_bytes(), None));
        }
    }
}
