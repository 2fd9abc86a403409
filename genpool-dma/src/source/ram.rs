//! Ordinary memory: anonymous or memfd, in ordinary or huge pages.

use core::fmt;
use core::num::NonZeroUsize;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags};

use super::error::SourceError;
use super::mapping::{Backing, Mapping, lock_limit};
use super::node;
use crate::kind::Ram;
use crate::region::Region;

/// Bytes of a memfd's name, as the kernel limits them.
const LONGEST_NAME: usize = 249;

/// The size of the pages that memory consists of.
///
/// ```
/// use genpool::dma::source::PageSize;
///
/// assert_eq!(PageSize::Huge2M.bytes(), 2 << 20);
/// assert_eq!(PageSize::Huge1G.to_string(), "huge pages of 1 GiB");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageSize {
    /// The machine's ordinary pages, 4 KiB on x86-64.
    #[default]
    Ordinary,
    /// Huge pages of 2 MiB, reserved in advance.
    Huge2M,
    /// Huge pages of 1 GiB, reserved in advance, as a rule on the kernel command line.
    Huge1G,
}

impl PageSize {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Ordinary => rustix::param::page_size(),
            Self::Huge2M => 2 << 20,
            Self::Huge1G => 1 << 30,
        }
    }

    /// The kernel's folder of numbers on such pages, on a node or in all.
    fn folder(self, node: Option<u32>) -> PathBuf {
        let base = match node {
            None => "/sys/kernel/mm/hugepages".to_owned(),
            Some(node) => format!("/sys/devices/system/node/node{node}/hugepages"),
        };
        PathBuf::from(format!("{base}/hugepages-{}kB", self.bytes() >> 10))
    }

    /// The file that reserves such pages.
    pub(super) fn knob(self, node: Option<u32>) -> impl fmt::Display {
        let path = self.folder(node).join("nr_hugepages");
        path.display().to_string()
    }

    fn map_flags(self) -> MapFlags {
        match self {
            Self::Ordinary => MapFlags::empty(),
            Self::Huge2M => MapFlags::HUGETLB | MapFlags::HUGE_2MB,
            Self::Huge1G => MapFlags::HUGETLB | MapFlags::HUGE_1GB,
        }
    }

    fn memfd_flags(self) -> MemfdFlags {
        match self {
            Self::Ordinary => MemfdFlags::empty(),
            Self::Huge2M => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            Self::Huge1G => MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
        }
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordinary => "ordinary pages",
            Self::Huge2M => "huge pages of 2 MiB",
            Self::Huge1G => "huge pages of 1 GiB",
        })
    }
}

/// Ordinary memory to be mapped. Describing it does nothing; mapping it is a system call or a few, linear in
/// the pages where they are to be there at once. Not [signal-safe](crate#signal-safety).
///
/// ```
/// # #[cfg(not(miri))] {
/// use genpool::dma::source::{PageSize, RamSource};
///
/// let huge = RamSource::new(4 << 20).pages(PageSize::Huge2M).map();
/// match huge {
///     Ok(region) => assert!(region.start().is_aligned(2 << 20)),
///     Err(error) => println!("{error}"), // "2 huge pages of 2 MiB are needed, 0 are free; ..."
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RamSource {
    size: usize,
    pages: PageSize,
    align: usize,
    node: Option<u32>,
    locked: bool,
    prefault: bool,
}

/// The file behind memory that other processes can map.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::fs::File;
///
/// use genpool::dma::source::RamSource;
///
/// let (region, memory) = RamSource::new(1 << 16).map_memfd("rings")?;
/// // SAFETY: only its length is asked for.
/// let file = File::from(unsafe { memory.into_file() });
/// assert_eq!(file.metadata()?.len(), region.size().get() as u64);
/// // To be sent to the process that plays the device, by SCM_RIGHTS.
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Debug)]
pub struct MemFd(OwnedFd);

impl MemFd {
    /// The file itself.
    ///
    /// # Safety
    ///
    /// Who reads or writes the file, or maps it, accesses what the owners of allocations hold. That is
    /// done only as a device would: in the parts that were handed over, between the hand-over and its
    /// end. The file keeps its length.
    #[must_use]
    pub unsafe fn into_file(self) -> OwnedFd {
        self.0
    }
}

impl RamSource {
    /// `size` bytes, rounded up to whole pages: ordinary ones, on any node, not locked.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            size,
            pages: PageSize::Ordinary,
            align: 1,
            node: None,
            locked: false,
            prefault: false,
        }
    }

    /// In pages of this size. Huge ones are prefaulted in any case, because one that is missing would
    /// otherwise be a signal at the first access.
    #[must_use]
    pub fn pages(mut self, pages: PageSize) -> Self {
        self.pages = pages;
        self
    }

    /// Starting at a multiple of `bytes`, where that is more than a page: a pool's granule.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    ///
    /// // For a pool whose granules are 1 MiB.
    /// let region = RamSource::new(4 << 20).align(1 << 20).prefault().map()?;
    /// assert!(region.start().is_aligned(1 << 20));
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn align(mut self, bytes: usize) -> Self {
        self.align = bytes;
        self
    }

    /// From one NUMA node, or not at all.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    ///
    /// match RamSource::new(1 << 16).node(0).map() {
    ///     Ok(region) => println!("{} bytes of node 0", region.size()),
    ///     Err(error) => println!("{error}"), // in a sandbox
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn node(mut self, node: u32) -> Self {
        self.node = Some(node);
        self
    }

    /// Locked: never swapped out. It may be moved to other frames all the same; see the
    /// [module](crate::source). Huge pages are never swapped and need no lock.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    ///
    /// match RamSource::new(1 << 16).locked().map() {
    ///     Ok(region) => println!("{} bytes that are never swapped out", region.size()),
    ///     Err(error) => println!("{error}"), // RLIMIT_MEMLOCK, as a rule
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn locked(mut self) -> Self {
        self.locked = true;
        self
    }

    /// Every page is there when the call returns.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    ///
    /// let region = RamSource::new(1 << 16).prefault().map()?; // no access faults later
    /// assert_eq!(region.size().get(), 1 << 16);
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn prefault(mut self) -> Self {
        self.prefault = true;
        self
    }

    /// Maps private anonymous memory, zeroed.
    ///
    /// # Errors
    ///
    /// [`SourceError`] says what is missing.
    pub fn map(&self) -> Result<Region<Ram>, SourceError> {
        let mapping = self.mapping(Backing::Anonymous)?;
        // SAFETY: the mapping is ours.
        let kept = unsafe {
            let advice = Advice::LinuxDontFork;
            rustix::mm::madvise(mapping.start().as_ptr(), mapping.len().get(), advice)
        };
        kept.map_err(SourceError::system("madvise"))?;
        Ok(self.region(mapping))
    }

    /// Maps a memfd, zeroed, which other processes can map as well. `name` shows up in `/proc`.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    ///
    /// let (region, file) = RamSource::new(1 << 16).map_memfd("rings")?;
    /// assert_eq!(region.size().get(), 1 << 16);
    /// # drop(file);
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`SourceError`] says what is missing.
    pub fn map_memfd(&self, name: &str) -> Result<(Region<Ram>, MemFd), SourceError> {
        if name.len() > LONGEST_NAME || name.contains('\0') {
            let name = name.to_owned();
            return Err(SourceError::Name { name });
        }
        let flags = MemfdFlags::CLOEXEC | self.pages.memfd_flags();
        let file = rustix::fs::memfd_create(name, flags).map_err(|errno| match errno {
            // What it says of huge pages of a size that the kernel does not know.
            Errno::NODEV | Errno::INVAL | Errno::NOENT if self.pages != PageSize::Ordinary => {
                self.no_such_pages()
            }
            errno => SourceError::system("memfd_create")(errno),
        })?;
        let size = self.whole_pages()?.get() as u64;
        rustix::fs::ftruncate(&file, size).map_err(SourceError::system("ftruncate"))?;
        let mapping = self.mapping(Backing::File(file.as_fd(), 0))?;
        Ok((self.region(mapping), MemFd(file)))
    }

    fn region(&self, mapping: Mapping) -> Region<Ram> {
        // SAFETY: a fresh mapping of ordinary memory, readable and writable, is ours alone; it is
        // unmapped when it is dropped, and the file of a memfd does not leave us by safe code.
        unsafe { Region::from_raw(mapping.start().cast(), mapping.len(), mapping) }
    }

    fn whole_pages(&self) -> Result<NonZeroUsize, SourceError> {
        let size = self.size.checked_next_multiple_of(self.pages.bytes());
        size.filter(|&size| size <= isize::MAX as usize)
            .and_then(NonZeroUsize::new)
            .ok_or(SourceError::Size { size: self.size })
    }

    fn mapping(&self, backing: Backing<'_>) -> Result<Mapping, SourceError> {
        let (len, align) = (self.whole_pages()?, self.align);
        if !align.is_power_of_two() {
            return Err(SourceError::Align { bytes: align });
        }
        let flags = self.pages.map_flags();
        let mapping = if align <= self.pages.bytes() {
            Mapping::new(len, backing, flags)
        } else {
            Mapping::aligned(len, align, backing, flags)
        };
        let mapping = mapping.map_err(|errno| match (errno, self.pages) {
            // What it says of huge pages of a size that the kernel does not know.
            (Errno::INVAL, PageSize::Huge2M | PageSize::Huge1G) => self.no_such_pages(),
            // What valgrind says of more than there are addresses.
            (Errno::INVAL, PageSize::Ordinary) => SourceError::NoMemory { size: len.get() },
            (errno, _) => self.explain("mmap", errno, len),
        })?;
        if let Some(node) = self.node {
            node::bind(&mapping, node)?;
        }
        if self.prefault || self.pages != PageSize::Ordinary {
            let advice = Advice::LinuxPopulateWrite;
            // SAFETY: the mapping is ours, and populating it changes no byte.
            unsafe { rustix::mm::madvise(mapping.start().as_ptr(), len.get(), advice) }
                .map_err(|errno| self.explain("madvise(MADV_POPULATE_WRITE)", errno, len))?;
        }
        if self.locked && self.pages == PageSize::Ordinary {
            // SAFETY: the mapping is ours; unmapping unlocks it.
            unsafe { rustix::mm::mlock(mapping.start().as_ptr(), len.get()) }.map_err(|errno| {
                match errno {
                    Errno::PERM | Errno::NOMEM | Errno::AGAIN => SourceError::LockLimit {
                        size: len.get(),
                        limit: lock_limit(),
                    },
                    errno => SourceError::system("mlock")(errno),
                }
            })?;
        }
        Ok(mapping)
    }

    /// What an error of the kernel's means for memory like this.
    fn explain(&self, call: &'static str, errno: Errno, len: NonZeroUsize) -> SourceError {
        let shortage = matches!(errno, Errno::NOMEM | Errno::FAULT);
        match self.pages {
            PageSize::Ordinary if errno == Errno::NOMEM => {
                SourceError::NoMemory { size: len.get() }
            }
            PageSize::Huge2M | PageSize::Huge1G if shortage => {
                let path = self.pages.folder(self.node).join("free_hugepages");
                let free = fs::read_to_string(path).ok();
                match (free.and_then(|text| text.trim().parse().ok()), self.node) {
                    (Some(free), node) => SourceError::HugePages {
                        pages: self.pages,
                        wanted: len.get() / self.pages.bytes(),
                        free,
                        node,
                    },
                    // The kernel has such pages, but not on this node.
                    (None, Some(node)) if self.pages.folder(None).exists() => {
                        SourceError::UnknownNode { node }
                    }
                    (None, _) => self.no_such_pages(),
                }
            }
            _ => SourceError::system(call)(errno),
        }
    }

    fn no_such_pages(&self) -> SourceError {
        SourceError::NoSuchPages { pages: self.pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_errors_are_explained_by_the_pages_asked_for() {
        let explain = |pages, errno| {
            let source = RamSource::new(4 << 30).pages(pages);
            source.explain("mmap", errno, source.whole_pages().unwrap())
        };
        let ordinary = explain(PageSize::Ordinary, Errno::NOMEM);
        assert!(
            matches!(ordinary, SourceError::NoMemory { size } if size == 4 << 30),
            "{ordinary}"
        );
        for errno in [Errno::FAULT, Errno::AGAIN] {
            let other = explain(PageSize::Ordinary, errno);
            assert!(
                matches!(other, SourceError::System { call: "mmap", .. }),
                "{other}"
            );
        }
        for (pages, count) in [(PageSize::Huge2M, 2048), (PageSize::Huge1G, 4)] {
            for errno in [Errno::NOMEM, Errno::FAULT] {
                match explain(pages, errno) {
                    SourceError::HugePages { wanted, .. } => assert_eq!(wanted, count),
                    SourceError::NoSuchPages { pages: missing } => assert_eq!(missing, pages),
                    other => panic!("{other}"),
                }
            }
            let other = explain(pages, Errno::AGAIN);
            assert!(
                matches!(other, SourceError::System { call: "mmap", .. }),
                "{other}"
            );
        }
    }
}
