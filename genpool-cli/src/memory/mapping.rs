//! Anonymous memory from the system.

use std::fmt;
use std::fs;
use std::io;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use crate::run::machine;
use crate::size::Bytes;

/// Bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// Aligned anonymous memory, zeroed, readable and writable.
///
/// # Invariants
///
/// `skip + len` is at most the length of `map`, and the address `skip` bytes into `map` has the
/// alignment that was asked for.
pub(super) struct Mapping {
    map: MmapRaw,
    /// Bytes before the first usable one, which the alignment takes.
    skip: usize,
    len: usize,
    pages: Pages,
}

/// What an arena's memory is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages of [`HUGE_PAGE`] bytes.
    Huge,
    /// Pages of the ordinary size.
    Ordinary {
        /// Why they are not huge.
        because: String,
    },
}

impl Mapping {
    /// Maps `len` bytes, not 0, at a multiple of `align`, a power of two.
    pub(super) fn new(len: usize, align: usize) -> Result<Self, MapError> {
        let huge = map_huge(len, align).and_then(|map| Self::settle(map, len, align, Pages::Huge));
        huge.or_else(|error| {
            let because = why_not_huge(padded(len, align, HUGE_PAGE), &error);
            let map = map_ordinary(len, align)?;
            Self::settle(map, len, align, Pages::Ordinary { because })
        })
        .map_err(|error| MapError::new(len, error))
    }

    /// Finds the aligned part and has the system provide every page of it now. So the run does not
    /// measure page faults, and a huge page that cannot be had after all is an error here and not a
    /// signal at the first access.
    fn settle(map: MmapMut, len: usize, align: usize, pages: Pages) -> io::Result<Self> {
        let start = map.as_ptr().addr();
        let skip = start.next_multiple_of(align) - start;
        if skip.checked_add(len).is_none_or(|end| end > map.len()) {
            return Err(io::Error::other(
                "the system's alignment is not as expected",
            ));
        }
        populate(&map, skip, len)?;
        Ok(Self {
            map: map.into(),
            skip,
            len,
            pages,
        })
    }

    /// The first usable byte.
    pub(super) fn first(&self) -> *const u8 {
        self.map.as_ptr().wrapping_add(self.skip)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }
}

/// Bytes to map so that `len` of them start at a multiple of `align`, when a mapping by itself
/// starts at a multiple of `page`.
fn padded(len: usize, align: usize, page: usize) -> io::Result<usize> {
    let slack = if align > page { align } else { 0 };
    len.checked_add(slack)
        .and_then(|len| len.checked_next_multiple_of(page))
        .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "more than there are addresses"))
}

fn map_huge(len: usize, align: usize) -> io::Result<MmapMut> {
    if !cfg!(target_os = "linux") {
        return Err(io::ErrorKind::Unsupported.into());
    }
    MmapOptions::new()
        .len(padded(len, align, HUGE_PAGE)?)
        .huge(Some(HUGE_PAGE.ilog2() as u8))
        .map_anon()
}

fn why_not_huge(wanted: io::Result<usize>, error: &io::Error) -> String {
    if !cfg!(target_os = "linux") {
        return "huge pages are used on Linux only".to_owned();
    }
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .map(|text| text.trim().parse::<usize>());
    match (free, wanted.map(|bytes| bytes / HUGE_PAGE)) {
        (Ok(Ok(free)), Ok(wanted)) if free < wanted => {
            format!(
                "{free} of {wanted} huge pages are free; `sysctl vm.nr_hugepages={wanted}` reserves more"
            )
        }
        (Ok(_), _) => format!("the system refused huge pages: {error}"),
        (Err(_), _) => "this system has no huge pages of 2 MiB".to_owned(),
    }
}

fn map_ordinary(len: usize, align: usize) -> io::Result<MmapMut> {
    /// The smallest there is; where pages are larger, mappings are only aligned better.
    const PAGE: usize = 4096;

    let wanted = padded(len, align, PAGE)?;
    // A system that overcommits maps more than it has, and ends a process when that is written to.
    // A tenth is left to bookkeeping and to others.
    match machine::available_memory() {
        Some(available) if available / 10 * 9 < len as u64 => Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("{} are available", Bytes(available as usize)),
        )),
        _ => MmapOptions::new().len(wanted).map_anon(),
    }
}

fn populate(map: &MmapMut, skip: usize, len: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match map.advise_range(memmap2::Advice::PopulateWrite, skip, len) {
        // Kernels before 5.14 do not know it; pages then come one by one at the first access.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        result => return result,
    }
    let _ = (map, skip, len);
    Ok(())
}

/// Memory could not be mapped.
#[derive(Debug)]
pub struct MapError {
    len: usize,
    source: io::Error,
}

impl MapError {
    pub(super) fn new(len: usize, source: io::Error) -> Self {
        Self { len, source }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot map {} of memory: {}",
            Bytes(self.len),
            self.source
        )
    }
}

impl std::error::Error for MapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
