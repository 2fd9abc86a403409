//! Memory is given back even if the process has as many mappings as it may have. A program of its own with a single
//! test, because nothing else can be mapped meanwhile.
#![cfg(all(target_os = "linux", not(miri)))]

use std::fs;
use std::io::{self, Write};
use std::ptr;

use genpool_dma::source::RamSource;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

#[test]
fn a_mapping_between_two_others_goes_at_the_limit_of_mappings() {
    let page = rustix::param::page_size();
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 1 << 17 {
        writeln!(io::stderr(), "skipped: {limit} mappings take too long").unwrap();
        return;
    }
    // The kernel places each mapping below the last and merges them, so the second is in the middle of a mapping.
    let source = RamSource::new(page);
    let mut regions: Vec<_> = (0..64).map(|_| source.map().unwrap()).collect();
    regions.sort_by_key(|region| region.start());
    let apart = |at: usize| regions[at + 1].start().checked_sub(regions[at].start());
    let middle = (1..63).find(|&at| apart(at - 1) == Some(page) && apart(at) == Some(page));
    let middle = regions.remove(middle.expect("three neighbours"));
    let first = middle.as_ptr();
    // SAFETY: the region is mapped, and nobody else uses it.
    unsafe { first.write_volatile(7) };

    let len = 2 * limit * page;
    let (none, reserve) = (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a fresh mapping replaces no other memory.
    let space = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, none, reserve) }.unwrap();
    // Every other page becomes readable until the limit is reached, then the rest, until no mapping is left.
    let readable = |from: usize, len: usize| {
        // SAFETY: inside the mapping.
        let start = unsafe { space.byte_add(from * page) };
        // SAFETY: the mapping is our own, and nobody uses it.
        unsafe { rustix::mm::mprotect(start, len, MprotectFlags::READ) }.is_ok()
    };
    let pages = (1..2 * limit)
        .step_by(2)
        .take_while(|&at| readable(at, page));
    let split = 2 * pages.count() + 1;
    let last = readable(split, len - split * page);

    // If the drop did not expect this, it would panic or abort.
    drop(middle);
    // SAFETY: the mapping from above.
    unsafe { rustix::mm::munmap(space, len) }.unwrap();
    println!("{split} pages apart, and the rest: {last}");
    // Nothing else was mapped there, because the addresses stay occupied; the pages were freed.
    // SAFETY: still mapped, which is what the test checks.
    assert_eq!(unsafe { first.read_volatile() }, 0);
}
