//! Physical addresses from `/proc/self/pagemap`.
//!
//! A page that may move is not an error, because nobody can know in advance. The text of [`source`](crate::source)
//! says which memory stays, and [`PageMap::still_holds`] checks again. The shared page of zeros is refused.

use core::error::Error;
use core::fmt;
use core::ops::Range;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::SourceError;
use crate::addr::{DmaAddr, PhysAddr, VirtAddr};
use crate::kind::Ram;
use crate::region::{Bus, Region};
use crate::window::{Translation, Window};

const PATH: &str = "/proc/self/pagemap";

/// The kernel's table of this process's pages.
///
/// Its answers are true at this moment. Whether they stay true depends on the memory: see the
/// [module](crate::source).
///
/// ```no_run
/// use genpool::dma::VirtAddr;
/// use genpool::dma::source::{PageMap, PageSize, RamSource};
///
/// let map = PageMap::open()?;
/// let region = RamSource::new(4 << 20).pages(PageSize::Huge2M).map()?;
/// println!("the first byte is at {}", map.phys(region.start())?);
/// let region = map.resolve(region)?; // devices see it from here on
/// for window in region.windows() {
///     println!("{} bytes at {}, for devices at {}", window.size(), window.virt(), window.dma());
/// }
/// assert!(map.still_holds(&region)?); // as long as nobody moves the pages
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PageMap {
    file: File,
}

/// An entry of the table: one page.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_FILE: u64 = 1 << 61;
    const EXCLUSIVE: u64 = 1 << 56;
    const FRAME: u64 = (1 << 55) - 1;

    /// Returns the frame of a page that is present, visible to this process, and not shared.
    fn frame(self, virt: VirtAddr) -> Result<u64, Unresolved> {
        let Self(bits) = self;
        if bits & Self::SWAPPED != 0 {
            return Err(Unresolved::Swapped { virt });
        }
        if bits & Self::PRESENT == 0 {
            return Err(Unresolved::NotPresent { virt });
        }
        // A process without the privilege reads 0.
        if bits & Self::FRAME == 0 {
            return Err(Unresolved::NoPrivilege);
        }
        // The shared page of zeros, which stands for everything never written, or a page shared by a fork.
        if bits & (Self::OF_FILE | Self::EXCLUSIVE) == 0 {
            return Err(Unresolved::Shared { virt });
        }
        Ok(bits & Self::FRAME)
    }

    /// Returns the physical address of a byte in this page of `page` bytes.
    fn phys(self, virt: VirtAddr, page: usize) -> Result<PhysAddr, Unresolved> {
        let start = self.frame(virt)?.checked_mul(page as u64);
        let beyond = || io::Error::new(io::ErrorKind::InvalidData, "a frame beyond all addresses");
        let start = start.ok_or_else(|| Unresolved::Read(beyond()))?;
        // No overflow: the start is a multiple of the page size.
        Ok(PhysAddr::new(start + (virt.get() % page) as u64))
    }
}

impl PageMap {
    /// Opens the table.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotThere`] if `/proc` is not mounted, [`SourceError::NoPrivilege`] if the file may not be
    /// opened.
    pub fn open() -> Result<Self, SourceError> {
        let explain = SourceError::file(Path::new(PATH), "table of pages", "CAP_SYS_ADMIN");
        Ok(Self {
            file: File::open(PATH).map_err(explain)?,
        })
    }

    /// Returns the physical address of a byte of this process.
    ///
    /// # Errors
    ///
    /// [`Unresolved`]. The call never returns address 0.
    pub fn phys(&self, virt: VirtAddr) -> Result<PhysAddr, Unresolved> {
        let page = rustix::param::page_size();
        let mut entry = [0; 8];
        self.read(virt.get() / page, &mut entry)?;
        Entry(u64::from_ne_bytes(entry)).phys(virt, page)
    }

    /// Gives the region the DMA addresses that devices use without an IOMMU. Each physically contiguous run becomes a
    /// window: a huge page is one window, and pages that happen to be physically adjacent are merged. Linear in the
    /// pages.
    ///
    /// # Errors
    ///
    /// [`ResolveError`], with the region in it.
    pub fn resolve(&self, region: Region<Ram>) -> Result<Region<Ram>, ResolveError> {
        match self.translation(&region) {
            // SAFETY: these are the kernel's own numbers. That the pages stay in place is a property of the memory;
            // see the text of the module.
            Ok(translation) => Ok(unsafe { region.seen_at(Bus::Physical, translation) }),
            Err(reason) => Err(ResolveError {
                reason,
                region: Box::new(region),
            }),
        }
    }

    /// Whether the physical addresses of a resolved region are still right.
    ///
    /// # Errors
    ///
    /// [`Unresolved`] if a page is no longer present.
    pub fn still_holds(&self, region: &Region<Ram>) -> Result<bool, Unresolved> {
        Ok(self.translation(region)?.windows() == region.windows())
    }

    fn translation(&self, region: &Region<Ram>) -> Result<Translation, Unresolved> {
        /// Entries per read: a page of them (2026-11).
        const BATCH: usize = 512;

        let page = rustix::param::page_size();
        let (start, end) = (
            region.start().get(),
            region.start().get() + region.size().get(),
        );
        let (first, pages) = (start / page, end.div_ceil(page) - start / page);
        let mut windows = Vec::new();
        let mut buffer = [0; 8 * BATCH];
        for done in (0..pages).step_by(BATCH) {
            let batch = &mut buffer[..8 * BATCH.min(pages - done)];
            self.read(first + done, batch)?;
            let (entries, _) = batch.as_chunks();
            let entries = entries
                .iter()
                .map(|&entry| Entry(u64::from_ne_bytes(entry)));
            for (number, entry) in (first + done..).zip(entries) {
                windows.push(part_of(start..end, number, entry, page)?);
            }
        }
        Ok(Translation::new(windows).expect("pages are apart"))
    }

    fn read(&self, first: usize, entries: &mut [u8]) -> Result<(), Unresolved> {
        let offset = first as u64 * 8;
        self.file
            .read_exact_at(entries, offset)
            .map_err(Unresolved::Read)
    }
}

/// Returns the part of `range` in page `number`, of `page` bytes. A caller's region may begin and end inside a page.
fn part_of(
    range: Range<usize>,
    number: usize,
    entry: Entry,
    page: usize,
) -> Result<Window, Unresolved> {
    let from = range.start.max(number * page);
    let len = range.end.min((number + 1) * page) - from;
    let virt = VirtAddr::new(from);
    let phys = entry.phys(virt, page)?;
    let window = Window::new(virt, DmaAddr::untranslated(phys), len);
    Ok(window.expect("a part of a page does not wrap around"))
}

/// The reason why memory has no known physical address.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::VirtAddr;
/// use genpool::dma::source::{PageMap, Unresolved};
///
/// let value = 17_u64;
/// let map = PageMap::open()?;
/// match map.phys(VirtAddr::of(&raw const value)) {
///     Ok(phys) => println!("{phys}"),
///     Err(Unresolved::NoPrivilege) => println!("only root may read them"),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unresolved {
    /// Frame numbers are hidden from this process.
    #[error("frame numbers are hidden: reading them takes CAP_SYS_ADMIN")]
    NoPrivilege,
    /// The page is not present: it was never accessed.
    #[error("the page at {virt} is not there yet: map the memory with `prefault`")]
    NotPresent {
        /// The address of the page.
        virt: VirtAddr,
    },
    /// The page is swapped out.
    #[error("the page at {virt} is swapped out: lock the memory, or use huge pages")]
    Swapped {
        /// The address of the page.
        virt: VirtAddr,
    },
    /// The page is shared with others, and the first write will replace it.
    #[error("the page at {virt} is a copy-on-write one: the first write will move it")]
    Shared {
        /// The address of the page.
        virt: VirtAddr,
    },
    /// The table could not be read.
    #[error("{PATH} cannot be read")]
    Read(#[source] io::Error),
}

/// The physical addresses of a region could not be resolved.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::{PageMap, RamSource};
///
/// let region = RamSource::new(1 << 16).map()?; // nothing was accessed, so no page is present
/// let refused = PageMap::open()?.resolve(region).unwrap_err();
/// println!("{}", refused.reason);
/// assert_eq!(refused.region.size().get(), 1 << 16);
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Debug)]
pub struct ResolveError {
    /// The reason.
    pub reason: Unresolved,
    /// The region as it was given.
    pub region: Box<Region<Ram>>,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

// By hand: `#[error(transparent)]` takes a single field.
impl Error for ResolveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_at_their_word_only_when_whole() {
        let virt = VirtAddr::new(0x5000);
        let good = Entry::PRESENT | Entry::EXCLUSIVE;
        assert_eq!(Entry(good | 0x1234).frame(virt).unwrap(), 0x1234);
        let shared_file = Entry::PRESENT | Entry::OF_FILE | 7;
        assert_eq!(Entry(shared_file).frame(virt).unwrap(), 7);
        let refused = |bits| Entry(bits).frame(virt).unwrap_err();
        assert!(matches!(refused(good), Unresolved::NoPrivilege));
        assert!(matches!(refused(0), Unresolved::NotPresent { .. }));
        assert!(matches!(
            refused(Entry::EXCLUSIVE | 9),
            Unresolved::NotPresent { .. }
        ));
        assert!(matches!(
            refused(Entry::SWAPPED | 9),
            Unresolved::Swapped { .. }
        ));
        assert!(matches!(
            refused(Entry::PRESENT | 9),
            Unresolved::Shared { .. }
        ));
        let beyond = Entry(good | Entry::FRAME).phys(virt, 4096);
        assert!(matches!(beyond, Err(Unresolved::Read(_))), "{beyond:?}");
    }

    /// The tests cannot depend on the real page table, so the entries are made up.
    #[test]
    fn frames_with_a_gap_between_them_are_two_windows() {
        const PAGE: usize = 4096;
        // From the middle of page 16 to the middle of page 22.
        let range = 0x1_0800..0x1_6800;
        let frames = [5, 6, 9, 8, 0x1_0000, 0x1_0001, 0x1_0002];
        let parts = frames.into_iter().enumerate().map(|(number, frame)| {
            let entry = Entry(Entry::PRESENT | Entry::EXCLUSIVE | frame);
            part_of(range.clone(), 16 + number, entry, PAGE).unwrap()
        });
        let translation = Translation::new(parts).unwrap();
        let windows: Vec<_> = translation
            .windows()
            .iter()
            .map(|w| (w.virt().get(), w.dma().get(), w.size().get()))
            .collect();
        let expected = [
            (0x1_0800, 0x5800, 0x1800),
            (0x1_2000, 0x9000, 0x1000),
            (0x1_3000, 0x8000, 0x1000),
            (0x1_4000, 0x1000_0000, 0x2800),
        ];
        assert_eq!(windows, expected);
        let dma = |virt, len| translation.dma(VirtAddr::new(virt), len);
        assert_eq!(dma(0x1_1ffc, 4), Ok(DmaAddr::new(0x6ffc)));
        assert_eq!(dma(0x1_1ffc, 5).unwrap_err().at, VirtAddr::new(0x1_2000));
    }

    /// A table of our own, which says of the pages of one region what it is to say.
    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no memory of these sizes")]
    fn a_region_of_many_pages_is_read_in_batches() {
        use super::super::RamSource;

        let (page, pages) = (rustix::param::page_size(), 1300);
        let region = RamSource::new(pages * page).map().unwrap();
        let first = region.start().get() / page;
        let map = PageMap {
            file: tempfile::tempfile().unwrap(),
        };
        let put = |number: usize, bits: u64| {
            let at = 8 * (first + number) as u64;
            map.file.write_all_at(&bits.to_ne_bytes(), at).unwrap();
        };
        let good = Entry::PRESENT | Entry::EXCLUSIVE;
        // One run but for a page in each batch.
        let frame = |number: usize| match number {
            5 | 700 | 1299 => 0x100_0000 + number as u64,
            number => 0x1000 + number as u64,
        };
        for number in 0..pages {
            put(number, good | frame(number));
        }
        let region = map.resolve(region).unwrap();
        let bytes = |pages: usize| pages * page;
        let windows: Vec<_> = region
            .windows()
            .iter()
            .map(|w| {
                (
                    w.virt().get() / page - first,
                    w.dma().get() / page as u64,
                    w.size().get(),
                )
            })
            .collect();
        let expected = [
            (0, frame(0), bytes(5)),
            (5, frame(5), bytes(1)),
            (6, frame(6), bytes(694)),
            (700, frame(700), bytes(1)),
            (701, frame(701), bytes(598)),
            (1299, frame(1299), bytes(1)),
        ];
        assert_eq!(windows, expected);
        assert!(map.still_holds(&region).unwrap());
        put(1000, good | 7);
        assert!(!map.still_holds(&region).unwrap(), "the page has moved");
        put(1000, 0);
        let gone = map.still_holds(&region).unwrap_err();
        let virt = VirtAddr::new((first + 1000) * page);
        assert!(
            matches!(gone, Unresolved::NotPresent { virt: at } if at == virt),
            "{gone}"
        );
    }
}
