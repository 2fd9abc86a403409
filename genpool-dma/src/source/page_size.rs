//! The size of the pages of a mapping.

use core::fmt;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use rustix::mm::MapFlags;

/// The size of the pages of a mapping.
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
    /// Huge pages of 1 GiB, reserved in advance, usually on the kernel command line.
    Huge1G,
}

impl PageSize {
    /// Returns the size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Ordinary => rustix::param::page_size(),
            Self::Huge2M => 2 << 20,
            Self::Huge1G => 1 << 30,
        }
    }

    /// Returns the sysfs folder with the counts of these pages, on one node or in total.
    pub(super) fn folder(self, node: Option<u32>) -> PathBuf {
        let base = match node {
            None => "/sys/kernel/mm/hugepages".to_owned(),
            Some(node) => format!("/sys/devices/system/node/node{node}/hugepages"),
        };
        PathBuf::from(format!("{base}/hugepages-{}kB", self.bytes() >> 10))
    }

    /// Returns the sysfs file that reserves such pages.
    pub(super) fn knob(self, node: Option<u32>) -> impl fmt::Display {
        let path = self.folder(node).join("nr_hugepages");
        path.display().to_string()
    }

    pub(super) fn map_flags(self) -> MapFlags {
        match self {
            Self::Ordinary => MapFlags::empty(),
            Self::Huge2M => MapFlags::HUGETLB | MapFlags::HUGE_2MB,
            Self::Huge1G => MapFlags::HUGETLB | MapFlags::HUGE_1GB,
        }
    }

    pub(super) fn memfd_flags(self) -> MemfdFlags {
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
