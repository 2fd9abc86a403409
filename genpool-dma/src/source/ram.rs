//! Ordinary memory: anonymous or memfd, in ordinary or huge pages.

use core::num::NonZeroUsize;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::Advice;

use super::error::SourceError;
use super::mapping::{Backing, Mapping, lock_limit};
use super::node;
use super::page_size::PageSize;
use crate::kind::Ram;
use crate::region::Region;

/// The kernel's limit for the name of a memfd, in bytes.
const LONGEST_NAME: usize = 249;

/// A description of ordinary memory to map. Describing it does nothing. Mapping it takes a few system calls, and time
/// linear in the pages if they are prefaulted. Not [signal-safe](crate#signal-safety).
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

/// The file of a memfd, which other processes can map.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::fs::File;
///
/// use genpool::dma::source::RamSource;
///
/// let (region, memory) = RamSource::new(1 << 16).map_memfd("rings")?;
/// // SAFETY: only its length is read.
/// let file = File::from(unsafe { memory.into_file() });
/// assert_eq!(file.metadata()?.len(), region.size().get() as u64);
/// // To be sent by SCM_RIGHTS to the process that plays the device.
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Debug)]
pub struct MemFd(OwnedFd);

impl MemFd {
    /// Returns the file itself.
    ///
    /// # Safety
    ///
    /// Any read, write or mapping of the file accesses memory that the owners of allocations hold. Access it only as
    /// a device would: in the parts that were handed over, between the hand-over and its end. The length of the file
    /// must not change.
    #[must_use]
    pub unsafe fn into_file(self) -> OwnedFd {
        self.0
    }
}

impl RamSource {
    /// Describes `size` bytes, rounded up to whole pages: ordinary pages, on any node, not locked.
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

    /// Uses pages of this size. Huge pages are always prefaulted: if one was missing at the first access, the process
    /// would get a signal.
    #[must_use]
    pub fn pages(mut self, pages: PageSize) -> Self {
        self.pages = pages;
        self
    }

    /// Aligns the start to `bytes`, which is needed if a pool's granule is larger than a page.
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

    /// Takes the memory from one NUMA node, or fails.
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

    /// Locks the memory, so that it is never swapped out. The kernel may still move it to other frames; see the
    /// [module](crate::source). Huge pages are never swapped and need no lock.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    ///
    /// match RamSource::new(1 << 16).locked().map() {
    ///     Ok(region) => println!("{} bytes that are never swapped out", region.size()),
    ///     Err(error) => println!("{error}"), // usually RLIMIT_MEMLOCK
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    #[must_use]
    pub fn locked(mut self) -> Self {
        self.locked = true;
        self
    }

    /// Populates every page before the call returns.
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
    /// [`SourceError`], which says what is missing.
    pub fn map(&self) -> Result<Region<Ram>, SourceError> {
        let mapping = self.mapping(Backing::Anonymous)?;
        // SAFETY: the mapping is our own.
        let kept = unsafe {
            let advice = Advice::LinuxDontFork;
            rustix::mm::madvise(mapping.start().as_ptr(), mapping.len().get(), advice)
        };
        kept.map_err(SourceError::system("madvise"))?;
        Ok(self.region(mapping))
    }

    /// Maps a memfd, zeroed, which other processes can map too. `name` shows up in `/proc`.
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
    /// [`SourceError`], which says what is missing.
    pub fn map_memfd(&self, name: &str) -> Result<(Region<Ram>, MemFd), SourceError> {
        if name.len() > LONGEST_NAME || name.contains('\0') {
            let name = name.to_owned();
            return Err(SourceError::Name { name });
        }
        let flags = MemfdFlags::CLOEXEC | self.pages.memfd_flags();
        let file = rustix::fs::memfd_create(name, flags).map_err(|errno| match errno {
            // The error for a huge page size that the kernel does not know.
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
        // SAFETY: a fresh mapping of ordinary memory, readable and writable, is exclusively ours and is unmapped when
        // it is dropped. Safe code cannot get the file of a memfd.
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
            // The error for a huge page size that the kernel does not know.
            (Errno::INVAL, PageSize::Huge2M | PageSize::Huge1G) => self.no_such_pages(),
            // valgrind's error for more bytes than there are addresses.
            (Errno::INVAL, PageSize::Ordinary) => SourceError::NoMemory { size: len.get() },
            (errno, _) => self.explain("mmap", errno, len),
        })?;
        if let Some(node) = self.node {
            node::bind(&mapping, node)?;
        }
        if self.prefault || self.pages != PageSize::Ordinary {
            let advice = Advice::LinuxPopulateWrite;
            // SAFETY: the mapping is our own, and populating it changes no byte.
            unsafe { rustix::mm::madvise(mapping.start().as_ptr(), len.get(), advice) }
                .map_err(|errno| self.explain("madvise(MADV_POPULATE_WRITE)", errno, len))?;
        }
        if self.locked && self.pages == PageSize::Ordinary {
            // SAFETY: the mapping is our own, and unmapping unlocks it.
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

    /// Returns what a kernel error means for this kind of memory.
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
