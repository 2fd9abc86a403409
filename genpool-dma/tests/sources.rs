//! Sources of memory on this machine. What needs a device, a privilege or reserved huge pages is tested in an
//! emulated machine, by `ci/qemu.sh`. Here it either works or the error says what is missing.
#![cfg(all(target_os = "linux", not(miri)))]

use std::fs;
use std::io::{self, Write};
use std::mem;
use std::path::Path;

use genpool_dma::source::{
    PageMap, PageSize, PciDevice, RamSource, SourceError, UioMap, Unresolved,
};
use genpool_dma::{MemoryPool, Region};

const PAGE: usize = 4096;

/// Reports what could not be tested, past the capture of the test runner.
macro_rules! skipped {
    ($($words:tt)+) => {
        writeln!(io::stderr(), "skipped: {}", format_args!($($words)+)).unwrap()
    };
}

fn touch(region: &Region) {
    let bytes = region.size().get();
    for at in [0, bytes / 2, bytes - 1] {
        // SAFETY: the region is mapped, and nobody else uses it.
        unsafe { region.as_ptr().as_ptr().wrapping_add(at).write_volatile(7) };
    }
}

#[test]
fn a_memfd_is_the_same_memory() {
    use std::os::unix::fs::FileExt;

    let (region, file) = RamSource::new(2 * PAGE).map_memfd("test").unwrap();
    // SAFETY: the region is mapped, and nobody else uses it.
    unsafe {
        region
            .as_ptr()
            .as_ptr()
            .wrapping_add(PAGE)
            .write_volatile(7)
    };
    // SAFETY: read only, while nobody writes.
    let file = fs::File::from(unsafe { file.into_file() });
    let flags = rustix::io::fcntl_getfd(&file).unwrap();
    assert_eq!(flags, rustix::io::FdFlags::CLOEXEC, "no child has it");
    let mut byte = [0];
    file.read_exact_at(&mut byte, PAGE as u64).unwrap();
    assert_eq!(
        (byte, file.metadata().unwrap().len()),
        ([7], 2 * PAGE as u64)
    );
}

#[test]
fn aligned_regions_are_side_by_side() {
    const ALIGN: usize = 1 << 30;
    let source = RamSource::new(PAGE).align(ALIGN);
    let regions = [source.map().unwrap(), source.map().unwrap()];
    for region in &regions {
        touch(region);
        assert!(region.start().is_aligned(ALIGN), "{}", region.start());
    }
}

/// The flags of the mapping that holds the region, as `smaps` has them.
fn flags_of(region: &Region) -> Option<String> {
    let maps = fs::read_to_string("/proc/self/smaps").ok()?;
    let mut inside = false;
    for line in maps.lines() {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        if let Some((Some(first), Some(end))) = range.map(|(a, b)| (number(a), number(b))) {
            inside = (first..end).contains(&region.start().get());
        }
        if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return Some(format!("{flags} "));
        }
    }
    None
}

#[test]
fn pages_are_there_and_locked_as_they_are_asked_for() {
    let map = PageMap::open().unwrap();
    let is_there =
        |region: &Region| !matches!(map.phys(region.start()), Err(Unresolved::NotPresent { .. }));
    let untouched = RamSource::new(PAGE).map().unwrap();
    assert!(!is_there(&untouched));
    let prefaulted = RamSource::new(PAGE).prefault().map().unwrap();
    assert!(is_there(&prefaulted));
    let locked = RamSource::new(PAGE).locked().map().unwrap();
    assert!(is_there(&locked));
    match (flags_of(&prefaulted), flags_of(&locked)) {
        (Some(prefaulted), Some(locked)) => {
            assert!(!prefaulted.contains(" lo "), "{prefaulted}");
            assert!(locked.contains(" lo "), "{locked}");
        }
        _ => skipped!("no flags of mappings in /proc/self/smaps"),
    }
}

#[test]
fn huge_pages_or_what_is_missing() {
    for pages in [PageSize::Huge2M, PageSize::Huge1G] {
        // More than any machine that runs tests has reserved.
        let source = RamSource::new(1 << 44).pages(pages);
        let refused = source.map().unwrap_err();
        let expected = matches!(
            refused,
            SourceError::HugePages { .. } | SourceError::NoSuchPages { .. }
        );
        assert!(expected, "{refused}");
        let text = refused.to_string();
        assert!(text.contains(&pages.to_string()), "{text}");
        let refused = source.map_memfd("test").unwrap_err();
        assert!(
            refused.to_string().contains(&pages.to_string()),
            "{refused}"
        );
    }
    for pages in [PageSize::Huge2M, PageSize::Huge1G] {
        let source = RamSource::new(1).pages(pages);
        let shared = source.map_memfd("test").map(|(region, _)| region);
        match (source.map(), shared) {
            (Err(error), Err(shared)) => {
                assert_eq!(mem::discriminant(&error), mem::discriminant(&shared));
                skipped!("{error}");
            }
            regions => {
                for region in [regions.0, regions.1].into_iter().flatten() {
                    touch(&region);
                    assert!(region.start().is_aligned(pages.bytes()));
                    assert_eq!(region.size().get(), pages.bytes());
                    if let Some(flags) = flags_of(&region) {
                        assert!(flags.contains(" ht "), "{flags}");
                    }
                }
            }
        }
    }
}

#[test]
fn nonsense_is_refused() {
    for size in [0, usize::MAX, isize::MAX as usize] {
        let refused = RamSource::new(size).map().unwrap_err();
        assert!(matches!(refused, SourceError::Size { .. }), "{refused}");
    }
    let refused = RamSource::new(1 << 62).map().unwrap_err();
    assert!(matches!(refused, SourceError::NoMemory { .. }), "{refused}");
    let refused = RamSource::new(1).align(3).map().unwrap_err();
    assert!(
        matches!(refused, SourceError::Align { bytes: 3 }),
        "{refused}"
    );
    for node in [1000, 1023, 1024, u32::MAX] {
        match RamSource::new(1).node(node).map().unwrap_err() {
            SourceError::UnknownNode { node: unknown } => assert_eq!(unknown, node),
            SourceError::System {
                call: "mbind",
                source,
            } if source.raw_os_error() != Some(libc::EINVAL) => {
                skipped!("mbind is not permitted here: {source}");
            }
            other => panic!("{other}"),
        }
    }
    let missing = PciDevice::at("ffff:ff:1f.7").unwrap_err();
    assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
    let missing = UioMap::open(4_000_000, 0).unwrap_err();
    assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
}

/// Invalid names and nodes are reported even if the memory could not be mapped anyway.
#[test]
fn what_is_wrong_is_named_whatever_the_pages() {
    for pages in [PageSize::Ordinary, PageSize::Huge2M, PageSize::Huge1G] {
        let source = RamSource::new(1).pages(pages);
        let long = "x".repeat(250);
        for given in ["a\0name", &long] {
            match source.map_memfd(given).unwrap_err() {
                SourceError::Name { name } => assert_eq!(name, given),
                other => panic!("{other}"),
            }
        }
        match source.node(1000).map().unwrap_err() {
            SourceError::UnknownNode { node } => assert_eq!(node, 1000),
            // If the kernel has no such pages, that is the error.
            SourceError::NoSuchPages { pages: missing } => {
                let folder = format!(
                    "/sys/kernel/mm/hugepages/hugepages-{}kB",
                    pages.bytes() >> 10
                );
                assert_eq!(missing, pages);
                assert!(!Path::new(&folder).exists(), "{folder}");
            }
            other => skipped!("{other}"),
        }
    }
    assert!(RamSource::new(1).map_memfd(&"x".repeat(249)).is_ok());
}

#[test]
fn a_pci_address_does_not_leave_its_folder() {
    // Joined to a path, each of them would be a device.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("resource"), "").unwrap();
    let absolute = folder.path().to_str().unwrap();
    let relative = format!("../../../..{absolute}");
    let first = fs::read_dir("/sys/bus/pci/devices").ok();
    let first = first.and_then(|mut devices| devices.next()?.ok()?.file_name().into_string().ok());
    let around = first.as_ref().map(|name| format!("../devices/{name}"));
    let below = first.as_ref().map(|name| format!("{name}/."));
    let nonsense = [
        "",
        ".",
        "..",
        "/",
        "0000:00:04",
        "0000:00:4.0",
        "00:04.0",
        "0000:00:04.0/",
    ];
    let more = [
        "0000:00:04.0\n",
        "0000:00:04.0\0",
        "0000:00:0g.0",
        "+000:00:04.0",
        "0000:00:04.0:0",
    ];
    let texts = nonsense
        .into_iter()
        .chain(more)
        .chain([absolute, &relative]);
    for text in texts.chain(around.as_deref()).chain(below.as_deref()) {
        match PciDevice::at(text) {
            Err(SourceError::PciAddress { address }) => assert_eq!(address, text),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    // The domains of virtual controllers have five digits.
    let missing = PciDevice::at("ffffe:e1:00.0").unwrap_err();
    assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
    // A folder that the caller names is used as it is.
    assert!(PciDevice::in_folder(absolute).is_ok());
}

#[test]
fn physical_addresses_are_told_or_refused() {
    let map = PageMap::open().unwrap();
    let untouched = map
        .resolve(RamSource::new(PAGE).map().unwrap())
        .unwrap_err();
    assert!(
        matches!(untouched.reason, Unresolved::NotPresent { virt } if virt == untouched.region.start()),
        "{untouched}"
    );
    let there = RamSource::new(64 * PAGE).prefault().locked().map().unwrap();
    match map.resolve(there) {
        Ok(region) => {
            assert!(map.still_holds(&region).unwrap());
            for window in region.windows() {
                assert_ne!(window.dma().get(), 0);
                let phys = map.phys(window.virt()).unwrap();
                assert_eq!(phys.get(), window.dma().get());
            }
            let pool = MemoryPool::new(12).unwrap();
            pool.add(region).unwrap();
            let buffer = pool.dma_zalloc(PAGE).unwrap();
            let phys = map.phys(buffer.virt()).unwrap();
            assert_eq!(pool.virt_to_phys(buffer.virt()), Some(phys));
        }
        Err(refused) => {
            assert!(
                matches!(refused.reason, Unresolved::NoPrivilege),
                "{refused}"
            );
            skipped!("{refused}");
        }
    }
}

/// The page of zeros is present and has a frame, which everybody shares.
#[test]
fn the_page_of_zeros_is_no_memory_for_a_device() {
    let map = PageMap::open().unwrap();
    let region = RamSource::new(PAGE).map().unwrap();
    // SAFETY: the region is mapped.
    let _ = unsafe { region.as_ptr().read_volatile() };
    let refused = map.resolve(region).unwrap_err();
    match refused.reason {
        Unresolved::Shared { .. } => {}
        Unresolved::NoPrivilege => skipped!("{refused}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_bar_is_mapped_by_the_table_of_resources() {
    let folder = tempfile::tempdir().unwrap();
    let line =
        |first: u64, last: u64, flags: u64| format!("{first:#018x} {last:#018x} {flags:#018x}\n");
    let table = [
        line(0xfe00_0000, 0xfe00_1fff, 0x0004_0200),
        line(0xc000, 0xc03f, 0x0004_0101),
        line(0x8_0000_0000, 0x8_0000_3fff, 0x0014_220c),
        line(0, 0, 0),
        line(0, 0, 0),
        line(0xfe00_2100, 0xfe00_21ff, 0x0004_0200),
        // The ROM, which is no BAR.
        line(0xfe01_0000, 0xfe01_ffff, 0x0004_6200),
    ];
    fs::write(folder.path().join("resource"), table.concat()).unwrap();
    fs::write(folder.path().join("resource2"), vec![7; 4 * PAGE]).unwrap();
    let device = PciDevice::in_folder(folder.path()).unwrap();
    for bar in [1, 3, 4, 6, 255] {
        let refused = device.bar(bar).unwrap_err();
        assert!(
            matches!(refused, SourceError::NotMemory { .. }),
            "{bar}: {refused}"
        );
    }
    assert!(!device.bar(0).unwrap().is_prefetchable());
    let missing = device.bar(0).unwrap().map().unwrap_err();
    assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
    let bar = device.bar(2).unwrap();
    assert!(bar.is_prefetchable());
    assert_eq!(bar.size().get(), 4 * PAGE);
    assert!(bar.map_write_combining().is_err());
    let region = bar.map().unwrap();
    assert_eq!(region.size().get(), 4 * PAGE);
    assert_eq!(region.windows()[0].dma().get(), 0x8_0000_0000);
    // SAFETY: the region is mapped, and nobody else uses the file.
    assert_eq!(unsafe { region.as_ptr().read_volatile() }, 7);

    // This BAR is smaller than a page and begins in the middle of one.
    let mut page = vec![7; PAGE];
    page[0x100] = 9;
    fs::write(folder.path().join("resource5"), page).unwrap();
    let region = device.bar(5).unwrap().map().unwrap();
    assert_eq!(region.size().get(), 0x100);
    assert_eq!(region.windows()[0].dma().get(), 0xfe00_2100);
    // SAFETY: as above.
    assert_eq!(unsafe { region.as_ptr().read_volatile() }, 9);

    fs::write(folder.path().join("resource"), "0x1 two\n").unwrap();
    let garbled = device.bar(0).unwrap_err();
    assert!(matches!(garbled, SourceError::Format { .. }), "{garbled}");
}

/// A caller's memory need not consist of pages.
#[test]
fn parts_of_pages_have_physical_addresses() {
    let map = PageMap::open().unwrap();
    let whole = RamSource::new(3 * PAGE).prefault().map().unwrap();
    let start = whole.as_ptr().as_ptr().wrapping_add(100);
    let size = std::num::NonZeroUsize::new(2 * PAGE).unwrap();
    // SAFETY: a part of a region that is kept with it and used by nobody else.
    let part: Region =
        unsafe { Region::from_raw(std::ptr::NonNull::new(start).unwrap(), size, whole) };
    match map.resolve(part) {
        Ok(part) => {
            let bytes: usize = part
                .windows()
                .iter()
                .map(|window| window.size().get())
                .sum();
            assert_eq!(
                (bytes, part.windows()[0].virt().get() % PAGE),
                (2 * PAGE, 100)
            );
            let last = part.start().checked_add(2 * PAGE - 1).unwrap();
            assert_eq!(
                map.phys(last).unwrap().get(),
                part.dma(last, 1).unwrap().get()
            );
        }
        Err(refused) => skipped!("{refused}"),
    }
}
