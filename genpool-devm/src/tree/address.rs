//! The addresses of a node's registers or memory: `reg`, translated by the `ranges` of the buses above.
//!
//! Addresses are translated in 128 bits, so that no cell overflows. A range that ends past 64 bits is an error.

use std::fmt;

use super::{Complaint, Node, TreeError};

/// The specification's defaults for nodes without these properties.
const ADDRESS_CELLS: u32 = 2;
const SIZE_CELLS: u32 = 1;

/// Cells of the widest numbers: 128 bits.
const MOST_CELLS: u32 = 4;

/// The most windows that are searched for one node, over all buses above it. Real boards have a few dozen (2026-11).
/// Without this bound, each of many nodes could search megabytes.
const MOST_WINDOWS: usize = 256;

/// A range of physical addresses as the processor sees them. It is not empty and ends within 64 bits.
///
/// ```
/// use genpool::devm::PhysRange;
///
/// let sram = PhysRange::new(0x5c00_0000, 0x4_0000).ok_or("it is empty or wraps")?;
/// assert_eq!((sram.start(), sram.size(), sram.last()), (0x5c00_0000, 0x4_0000, 0x5c03_ffff));
/// let part = PhysRange::new(0x5c03_fff0, 0x20).ok_or("it is empty or wraps")?;
/// assert!(sram.overlaps(part) && !sram.contains(part));
/// assert_eq!(part.whole_granules(5).map(PhysRange::start), None); // 16 bytes of one, 16 of the next
/// assert_eq!(part.whole_granules(4), Some(part));
/// assert_eq!(PhysRange::new(u64::MAX, 2), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysRange {
    start: u64,
    size: u64,
}

impl PhysRange {
    /// Returns the range of `size` bytes at `start`. None if it is empty or does not end within 64 bits.
    #[must_use]
    pub fn new(start: u64, size: u64) -> Option<Self> {
        start.checked_add(size.checked_sub(1)?)?;
        Some(Self { start, size })
    }

    /// Returns the first address.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        self.size
    }

    /// Returns the last address.
    #[must_use]
    pub fn last(self) -> u64 {
        self.start + (self.size - 1)
    }

    /// Whether `other` lies in it completely.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.last() <= self.last()
    }

    /// Whether the two ranges have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.last() && other.start <= self.last()
    }

    /// Returns the part that consists of whole granules of `1 << order` bytes, if there is any.
    #[must_use]
    pub fn whole_granules(self, order: u32) -> Option<Self> {
        let granule = 1u64.checked_shl(order)?;
        let start = self.start.checked_next_multiple_of(granule)?;
        let before = start - self.start;
        let size = self.size.checked_sub(before)?;
        Self::new(start, size - size % granule)
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.start, self.last())
    }
}

/// Returns the number in these cells, of which there are at most four.
fn number(cells: &[[u8; 4]]) -> u128 {
    cells.iter().fold(0, |number, cell| {
        (number << 32) | u128::from(u32::from_be_bytes(*cell))
    })
}

impl<'t> Node<'t> {
    /// Returns how many cells the addresses or sizes of its children have.
    fn count(self, property: &'static str, default: u32) -> Result<usize, TreeError> {
        let cells = match self.property(property) {
            None => default,
            Some(_) => match self.cells(property)? {
                [cell] => u32::from_be_bytes(*cell),
                cells => {
                    let len = cells.len() * 4;
                    let property = property.to_owned();
                    return Err(self.complain(Complaint::Length { property, len }));
                }
            },
        };
        match cells <= MOST_CELLS {
            true => Ok(cells as usize),
            false => Err(self.complain(Complaint::Cells { property, cells })),
        }
    }

    fn address_cells(self) -> Result<usize, TreeError> {
        self.count("#address-cells", ADDRESS_CELLS)
    }

    fn size_cells(self) -> Result<usize, TreeError> {
        self.count("#size-cells", SIZE_CELLS)
    }

    /// Returns the entries of a property, each of `cells` cells.
    fn entries(self, property: &str, cells: usize) -> Result<&'t [[u8; 4]], TreeError> {
        let all = self.cells(property)?;
        if cells == 0 || !all.len().is_multiple_of(cells) {
            return Err(self.complain(Complaint::Length {
                property: property.to_owned(),
                len: all.len() * 4,
            }));
        }
        Ok(all)
    }

    /// Returns the first range of the node's `reg`, as the processor sees it.
    ///
    /// ```
    /// use genpool::devm::Tree;
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let high = tree.find("/soc/sram@40000000").ok_or("no such node")?;
    /// assert_eq!(high.range()?.start(), 0x1_0000_0000); // through the `ranges` of the bus
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TreeError`], which names the node at fault: this one, or a bus above it.
    pub fn range(self) -> Result<PhysRange, TreeError> {
        let (start, size) = self.place()?;
        PhysRange::new(start, size).ok_or_else(|| {
            let start = start.into();
            self.complain(Complaint::Empty { start })
        })
    }

    /// Returns the start and the size of the first range of the node's `reg`, as the processor sees it. The range may
    /// be empty and ends within 64 bits.
    pub(crate) fn place(self) -> Result<(u64, u64), TreeError> {
        let reg = || "reg".to_owned();
        let missing = || self.complain(Complaint::Missing { property: reg() });
        let bus = self.parent().ok_or_else(missing)?;
        let (address, size) = (bus.address_cells()?, bus.size_cells()?);
        let entries = self.entries("reg", address + size)?;
        let entry = entries.get(..address + size).ok_or_else(|| {
            let (property, index) = (reg(), 0);
            self.complain(Complaint::NoCell { property, index })
        })?;
        let (mut start, size) = (number(&entry[..address]), number(&entry[address..]));
        let (mut bus, mut windows) = (bus, MOST_WINDOWS);
        while let Some(above) = bus.parent() {
            let translated = bus.translate(above, start, size, &mut windows)?;
            start = translated.ok_or_else(|| {
                let bus = bus.path();
                self.complain(Complaint::Unmapped { bus, start, size })
            })?;
            bus = above;
        }
        let place = u64::try_from(start).ok().zip(u64::try_from(size).ok());
        place
            .filter(|&(start, size)| start.checked_add(size.saturating_sub(1)).is_some())
            .ok_or_else(|| self.complain(Complaint::Beyond { start, size }))
    }

    /// Translates an address on this bus to the bus `above`. None if the bus does not map it. Subtracts the windows
    /// that it searches from `left`.
    fn translate(
        self,
        above: Self,
        start: u128,
        size: u128,
        left: &mut usize,
    ) -> Result<Option<u128>, TreeError> {
        match self.property("ranges") {
            None => return Ok(None),
            Some([]) => return Ok(Some(start)),
            Some(_) => {}
        }
        let (child, parent) = (self.address_cells()?, above.address_cells()?);
        let entry = child + parent + self.size_cells()?;
        let mut windows = self.entries("ranges", entry)?.chunks_exact(entry);
        *left = left.checked_sub(windows.len()).ok_or_else(|| {
            self.complain(Complaint::TooLong {
                property: "ranges",
                most: MOST_WINDOWS,
                unit: "windows, with those of the buses inside it",
            })
        })?;
        // For an empty range, the address itself must be mapped.
        let size = size.max(1);
        Ok(windows.find_map(|window| {
            let (from, rest) = window.split_at(child);
            let (to, len) = rest.split_at(parent);
            // The whole range must lie in the window.
            let offset = start.checked_sub(number(from))?;
            let left = number(len).checked_sub(offset)?;
            (size <= left).then(|| number(to).checked_add(offset))?
        }))
    }
}
