//! What errors say: each names what was wrong, and leaves the text of its source to the source.

mod common;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use common::{dma, unseen};
use genpool_core::Constraints;
use genpool_core::{AddRefused, AllocError, BuildError};
use genpool_dma::{
    AddressMask, DevicePoolError, DmaError, Ram, RegionError, RegionRefused, Translation, VirtAddr,
    Width, Window,
};

/// Each error has this text, and a source or none.
#[track_caller]
fn says(table: &[(&dyn Error, &str, bool)]) {
    for (error, text, has_source) in table {
        assert_eq!(error.to_string(), *text);
        assert_eq!(error.source().is_some(), *has_source, "{text}");
        if let Some(source) = error.source() {
            assert!(!text.contains(&source.to_string()), "{text}");
        }
    }
}

#[test]
fn errors_about_addresses_name_them() {
    let window = |virt| Window::new(VirtAddr::new(virt), dma(0x9000), 0x1000).unwrap();
    let overlap = Translation::new([window(0x1000), window(0x1800)]).unwrap_err();
    let one = Translation::new([window(0x1000)]).unwrap();
    let untranslated = one.dma(VirtAddr::new(0x1f00), 0x200).unwrap_err();
    says(&[
        (
            &AddressMask::bits(65).unwrap_err(),
            "65 bits: an address mask has 1 to 64",
            false,
        ),
        (&overlap, "virtual address 0x1800 is in two windows", false),
        (
            &untranslated,
            "0x200 bytes at 0x1f00: the device does not see them in one piece, from 0x2000 on",
            false,
        ),
    ]);
}

#[test]
fn errors_of_allocations_pass_on_what_the_pool_says() {
    let alloc = AllocError::ZeroSize;
    let constraint = Constraints::new().align(3).unwrap_err();
    says(&[
        (&DmaError::Alloc(alloc), &alloc.to_string(), false),
        (
            &DmaError::Constraint(constraint),
            &constraint.to_string(),
            false,
        ),
        (
            &DmaError::NoAddress {
                virt: VirtAddr::new(0x4000),
            },
            "the chunk around 0x4000 was added without a physical address, so no device sees it",
            false,
        ),
    ]);
}

#[test]
fn errors_of_regions_say_why() {
    let width = |order, width| DevicePoolError::Width { order, width };
    let build = BuildError::Order { order: 64 };
    let granule = RegionRefused::Granule {
        start: VirtAddr::new(0x1800),
        size: 0x800,
        granule: 0x1000,
    };
    let text = "0x800 bytes at 0x1800, which the device sees in one piece, \
                are not whole granules of 0x1000 bytes";
    let chunk = AddRefused::NoMemory { bytes: 4096 };
    let with_region = RegionError::<Ram> {
        reason: granule,
        region: Some(unseen(4096).0),
    };
    assert_eq!(with_region.to_string(), text);
    assert_eq!(granule.to_string(), text);
    assert_eq!(RegionRefused::Chunk(chunk).to_string(), chunk.to_string());
    for refused in [RegionRefused::AnotherBus, RegionRefused::Unseen] {
        assert!(!refused.to_string().is_empty());
    }
    says(&[
        (
            &width(0, Width::Two),
            "a granule of 1 byte (order 0) is less than an access of 2 bytes",
            false,
        ),
        (&DevicePoolError::Build(build), &build.to_string(), false),
    ]);
}

#[test]
fn an_access_that_is_refused_names_the_words() {
    use genpool_dma::MemoryPool;

    let pool = MemoryPool::new(6).unwrap();
    pool.add(common::seen(4096, 0x4000).0).unwrap();
    let buffer = pool.dma_zalloc(64).unwrap().share();
    says(&[(
        &buffer.read::<u32>(0x3e).unwrap_err(),
        "0x4 bytes at offset 0x3e are not whole words of 4 inside 0x40 bytes",
        false,
    )]);
}

#[cfg(target_os = "linux")]
#[test]
fn errors_of_sources_say_what_is_missing() {
    use genpool_dma::source::{PageSize, ResolveError, SourceError, Unresolved};

    let path = || PathBuf::from("/sys/a/file");
    let huge = |node| SourceError::HugePages {
        pages: PageSize::Huge2M,
        wanted: 5,
        free: 2,
        node,
    };
    let lock = |limit| SourceError::LockLimit {
        size: 0x2000,
        limit,
    };
    let virt = VirtAddr::new(0x5000);
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let unresolved = ResolveError {
        reason: Unresolved::Read(denied()),
        region: Box::new(unseen(4096).0),
    };
    says(&[
        (
            &SourceError::Size { size: 0 },
            "0x0 bytes of memory make no sense",
            false,
        ),
        (
            &SourceError::Align { bytes: 3 },
            "an alignment of 3 is not a power of two",
            false,
        ),
        (
            &SourceError::NoSuchPages {
                pages: PageSize::Huge1G,
            },
            "huge pages of 1 GiB do not exist in this kernel",
            false,
        ),
        (
            &huge(None),
            "5 huge pages of 2 MiB are needed, 2 are free; write a number to \
             /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages to reserve more",
            false,
        ),
        (
            &huge(Some(3)),
            "5 huge pages of 2 MiB are needed, 2 are free on node 3; write a number to \
             /sys/devices/system/node/node3/hugepages/hugepages-2048kB/nr_hugepages to reserve more",
            false,
        ),
        (
            &SourceError::NoMemory { size: 0x1000 },
            "0x1000 bytes of memory could not be had",
            false,
        ),
        (
            &lock(Some(0x1000)),
            "0x2000 bytes cannot be locked: the process may lock 0x1000 in all; \
             raise RLIMIT_MEMLOCK (`ulimit -l`) or grant CAP_IPC_LOCK",
            false,
        ),
        (
            &lock(None),
            "0x2000 bytes cannot be locked, though the process has no limit: there is no memory left",
            false,
        ),
        (
            &SourceError::UnknownNode { node: 9 },
            "NUMA node 9 does not exist, has no memory, or is kept from this process",
            false,
        ),
        (
            &SourceError::NoPrivilege {
                path: path(),
                needs: "root",
            },
            "/sys/a/file may not be opened: it takes root",
            false,
        ),
        (
            &SourceError::NotThere {
                path: path(),
                what: "PCI device",
            },
            "/sys/a/file is not there: no PCI device",
            false,
        ),
        (
            &SourceError::Format {
                path: path(),
                text: "\u{1b}[2J".to_owned(),
            },
            "/sys/a/file reads \"\\u{1b}[2J\", which is not understood",
            false,
        ),
        (
            &SourceError::Busy { path: path() },
            "/sys/a/file is held by a driver of the kernel: unbind it from the device",
            false,
        ),
        (
            &SourceError::PciAddress {
                address: "4".to_owned(),
            },
            "\"4\" is no PCI address: one reads like 0000:00:04.0",
            false,
        ),
        (
            &SourceError::NotMemory { bar: 6 },
            "BAR 6 does not exist or is no memory",
            false,
        ),
        (
            &SourceError::System {
                call: "mmap",
                source: denied(),
            },
            "mmap: refused by the system",
            true,
        ),
        (
            &Unresolved::NoPrivilege,
            "frame numbers are hidden: reading them takes CAP_SYS_ADMIN",
            false,
        ),
        (
            &Unresolved::NotPresent { virt },
            "the page at 0x5000 is not there yet: map the memory with `prefault`",
            false,
        ),
        (
            &Unresolved::Swapped { virt },
            "the page at 0x5000 is swapped out: lock the memory, or use huge pages",
            false,
        ),
        (
            &Unresolved::Shared { virt },
            "the page at 0x5000 is a copy-on-write one: the first write will move it",
            false,
        ),
        (
            &Unresolved::Read(denied()),
            "/proc/self/pagemap cannot be read",
            true,
        ),
        (&unresolved, "/proc/self/pagemap cannot be read", true),
    ]);
}
