//! Mappings are created and removed. A program of its own with a single test, because other threads map memory too.
#![cfg(all(target_os = "linux", not(miri)))]

use std::fs;

use genpool_dma::source::{RamSource, SourceError};
use genpool_dma::{Region, VirtAddr};

const PAGE: usize = 4096;

#[test]
fn mappings() {
    memory_is_mapped_and_unmapped();
    alignment_takes_no_more_than_the_memory();
}

fn memory_is_mapped_and_unmapped() {
    for source in [
        RamSource::new(1),
        RamSource::new(5 * PAGE).prefault(),
        RamSource::new(5 * PAGE).align(1 << 21),
        RamSource::new(PAGE).node(0),
        RamSource::new(PAGE).locked().prefault(),
    ] {
        let region = match source.map() {
            Ok(region) => region,
            // Sandboxes may forbid `mbind`, and some kernels have no NUMA support.
            Err(SourceError::System {
                call: "mbind",
                source,
            }) => {
                println!("skipped: mbind is not permitted here: {source}");
                continue;
            }
            Err(error) => panic!("{source:?}: {error}"),
        };
        touch(&region);
        let start = region.start();
        assert!(is_mapped(start));
        assert!(region.size().get().is_multiple_of(PAGE));
        drop(region);
        assert!(!is_mapped(start), "{source:?}");
    }
}

fn alignment_takes_no_more_than_the_memory() {
    let region = RamSource::new(3 * PAGE).align(1 << 30).map().unwrap();
    assert!(region.start().is_aligned(1 << 30));
    let end = region.start().checked_add(3 * PAGE).unwrap();
    let start = region.start();
    assert!(is_mapped(start));
    // The space that was reserved around the region is unmapped.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = format!("{:x}-{:x} rw", start.get(), end.get());
    let alone = maps.lines().any(|have| have.starts_with(&line));
    assert!(alone, "{line} is not in\n{maps}");
}

/// Whether an address is in a mapping of this process.
fn is_mapped(addr: VirtAddr) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (first, end) = range.split_once('-').unwrap();
        let hex = |text| usize::from_str_radix(text, 16).unwrap();
        (hex(first)..hex(end)).contains(&addr.get())
    })
}

fn touch(region: &Region) {
    let bytes = region.size().get();
    for at in [0, bytes / 2, bytes - 1] {
        // SAFETY: the region is mapped, and nobody else uses it.
        unsafe { region.as_ptr().as_ptr().wrapping_add(at).write_volatile(7) };
    }
}
