//! `mmio-sram`: what a device tree says of on-chip memory, and the pools that follow from it.
//!
//! The rules are those of the kernel's binding and its driver: the children of an SRAM's node
//! *reserve* their part of it; those marked `pool` or `protect-exec` become pools of their own, named
//! by their `label` or else by their name without the unit address; what no child reserves is the
//! unnamed pool, a chunk for each gap. Granules have 32 bytes.

mod probe;
#[cfg(all(feature = "dma", target_os = "linux"))]
mod uio;

use thiserror::Error;

pub use self::probe::{AddressOnly, MapMemory, MapRequest, Mapped, SramError};
#[cfg(all(feature = "dma", target_os = "linux"))]
pub use self::uio::UioMemory;
use crate::path::NodePath;
use crate::tree::{Complaint, Node, PhysRange, Tree, TreeError};

/// Granules of SRAM pools have `1 << ORDER` bytes.
pub const ORDER: u32 = 5;

/// What memory that is executed from must consist of: the smallest pages there are.
const PAGE_ORDER: u32 = 12;

/// More than any SRAM: those of the boards of `ci/boards.sh` have at most 8 MiB (2026-11).
const LARGEST: u64 = 64 << 20;

/// More than all SRAMs of a board together: those of `ci/boards.sh` have at most 9 MiB (2026-11).
/// Bookkeeping takes half as much as the memory, and a node that asks for it has a hundred bytes.
const LARGEST_TOGETHER: u64 = 256 << 20;

/// What a node says of an SRAM.
///
/// ```
/// use genpool::devm::{Sram, Tree};
///
/// let tree = Tree::load("tests/trees/board.dtb")?;
/// assert_eq!(Sram::nodes(&tree).count(), 4); // two of them are disabled
/// let node = tree.find("/soc/sram@0").ok_or("no SRAM")?;
/// assert!(Sram::is_described_by(node));
///
/// let sram = Sram::read(node)?;
/// assert_eq!((sram.range.start(), sram.range.size()), (0x5c00_0000, 0x4_0000));
/// let pools = sram.partitions.iter().filter(|part| part.is_pool()).map(|part| part.label.as_str());
/// assert_eq!(pools.collect::<Vec<_>>(), ["codec-sram", "dsp", "code-sram"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sram {
    /// Its node.
    pub node: NodePath,
    /// Its addresses.
    pub range: PhysRange,
    /// Whether it is mapped write-combining, which is the rule (`no-memory-wc` is the exception).
    pub write_combining: bool,
    /// What its children reserve, by address.
    pub partitions: Vec<Partition>,
    /// Children that are not available and reserve nothing.
    pub disabled: Vec<NodePath>,
    /// Children of no bytes, which reserve nothing: firmware gives them a size where it wants one.
    pub empty: Vec<NodePath>,
    /// What no child reserves, by address.
    pub gaps: Vec<PhysRange>,
}

/// A reserved part of an SRAM.
///
/// ```
/// use genpool::devm::{Sram, Tree};
///
/// let tree = Tree::load("tests/trees/board.dtb")?;
/// let sram = Sram::read(tree.find("/soc/sram@0").ok_or("no SRAM")?)?;
/// for part in &sram.partitions {
///     let use_of = match (part.is_pool(), part.export) {
///         (true, _) => "a pool",
///         (false, true) => "for the outside",
///         (false, false) => "reserved",
///     };
///     println!("{} at {}: {use_of}", part.node, part.range);
/// }
/// assert!(sram.partitions.iter().any(|part| part.is_pool()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Partition {
    /// Its node.
    pub node: NodePath,
    /// The name of its pool, if it is one: its `label`, else its node's name without the unit address.
    pub label: String,
    /// Its addresses.
    pub range: PhysRange,
    /// Marked `pool`: other devices use it as a pool.
    pub pool: bool,
    /// Marked `export`: it may be accessed from outside of the kernel.
    pub export: bool,
    /// Marked `protect-exec`: a pool whose memory is read-only and executable while code runs in it.
    pub protect_exec: bool,
}

impl Partition {
    /// Whether it becomes a pool.
    #[must_use]
    pub fn is_pool(&self) -> bool {
        self.pool || self.protect_exec
    }

    fn read(node: Node<'_>, range: PhysRange) -> Self {
        let label = node.text("label").unwrap_or(node.base_name());
        Self {
            node: node.path(),
            label: label.to_owned(),
            range,
            pool: node.has("pool"),
            export: node.has("export"),
            protect_exec: node.has("protect-exec"),
        }
    }
}

impl Sram {
    /// Whether the node describes an SRAM, available or not.
    #[must_use]
    pub fn is_described_by(node: Node<'_>) -> bool {
        node.is_compatible("mmio-sram")
    }

    /// The nodes of a tree that describe SRAMs, available or not.
    pub fn nodes(tree: &Tree) -> impl Iterator<Item = Node<'_>> {
        tree.nodes().filter(|&node| Self::is_described_by(node))
    }

    /// What the node says.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] names the node at fault.
    pub fn read(node: Node<'_>) -> Result<Self, LayoutError> {
        let range = node.range()?;
        if range.size() > LARGEST {
            let node = node.path();
            return Err(LayoutError::TooLarge { node, range });
        }
        let (mut partitions, mut disabled, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for child in node.children() {
            if !child.is_available() {
                disabled.push(child.path());
                continue;
            }
            match child.range() {
                Ok(range) => partitions.push(Partition::read(child, range)),
                Err(TreeError {
                    complaint: Complaint::Empty { .. },
                    ..
                }) => empty.push(child.path()),
                Err(error) => return Err(error.into()),
            }
        }
        partitions.sort_by_key(|partition| partition.range);
        let mut gaps = Vec::new();
        let mut from = range.start();
        let mut is_full = false;
        for (at, partition) in partitions.iter().enumerate() {
            let part = partition.range;
            if !range.contains(part) {
                return Err(LayoutError::Outside {
                    node: partition.node.clone(),
                    range: part,
                    within: range,
                });
            }
            if let Some(before) = at.checked_sub(1).map(|before| &partitions[before])
                && before.range.overlaps(part)
            {
                return Err(LayoutError::Overlap {
                    node: partition.node.clone(),
                    range: part,
                    other: before.node.clone(),
                });
            }
            if partition.protect_exec && part.whole_granules(PAGE_ORDER) != Some(part) {
                return Err(LayoutError::NotPages {
                    node: partition.node.clone(),
                    range: part,
                });
            }
            gaps.extend(PhysRange::new(from, part.start() - from));
            is_full = part.last() == range.last();
            from = part.last().wrapping_add(1);
        }
        if !is_full {
            gaps.extend(PhysRange::new(from, range.last() - from + 1));
        }
        Ok(Self {
            node: node.path(),
            range,
            write_combining: !node.has("no-memory-wc"),
            partitions,
            disabled,
            empty,
            gaps,
        })
    }
}

/// Why an SRAM's node makes no sense.
///
/// ```
/// use genpool::devm::{LayoutError, Sram, Tree};
///
/// let tree = Tree::load("tests/trees/board.dtb")?;
/// let bus = tree.find("/soc").ok_or("no bus")?; // it has no `reg`
/// let refused = Sram::read(bus).unwrap_err();
/// assert!(matches!(refused, LayoutError::Tree(_)));
/// assert_eq!(refused.node().as_str(), "/soc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A node cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// No SRAM is that large.
    #[error("{node}: {range} is more than an SRAM has")]
    TooLarge {
        /// The node.
        node: NodePath,
        /// Where it says it is.
        range: PhysRange,
    },
    /// A child lies outside of its SRAM.
    #[error("{node}: {range} is not inside the SRAM, which is {within}")]
    Outside {
        /// The child.
        node: NodePath,
        /// Where it says it is.
        range: PhysRange,
        /// Where the SRAM is.
        within: PhysRange,
    },
    /// Two children share addresses.
    #[error("{node}: {range} overlaps with {other}")]
    Overlap {
        /// The child with the higher start.
        node: NodePath,
        /// Where it says it is.
        range: PhysRange,
        /// The other child.
        other: NodePath,
    },
    /// A child that is executed from does not consist of whole pages.
    #[error("{node}: {range} is marked protect-exec and does not consist of whole pages")]
    NotPages {
        /// The child.
        node: NodePath,
        /// Where it says it is.
        range: PhysRange,
    },
}

impl LayoutError {
    /// The node at fault.
    #[must_use]
    pub fn node(&self) -> &NodePath {
        match self {
            Self::Tree(TreeError { node, .. })
            | Self::TooLarge { node, .. }
            | Self::Outside { node, .. }
            | Self::Overlap { node, .. }
            | Self::NotPages { node, .. } => node,
        }
    }
}
