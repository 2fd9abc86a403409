//! `mmio-sram`: on-chip memory in a device tree, and the pools made from it.
//!
//! The rules are those of the kernel's binding and its driver. The children of an SRAM's node *reserve* their part of
//! it. Children marked `pool` or `protect-exec` become pools of their own, named by their `label`, or else by their
//! name without the unit address. The parts that no child reserves are the unnamed pool, one chunk for each gap.
//! Granules have 32 bytes.
//!
//! An empty child reserves nothing. It must still lie in its SRAM or at its end, and not inside another child. It
//! divides a gap in two.

mod probe;
#[cfg(all(feature = "dma", target_os = "linux"))]
mod uio;

use thiserror::Error;

pub use self::probe::{MapRequest, Mapped, SramError, address_only};
#[cfg(all(feature = "dma", target_os = "linux"))]
pub use self::uio::uio_memory;
use crate::path::NodePath;
use crate::tree::{Complaint, Node, PhysRange, Tree, TreeError};

/// Granules of SRAM pools have `1 << ORDER` bytes.
pub const ORDER: u32 = 5;

/// Executable memory must consist of pages: the smallest that exist.
const PAGE_ORDER: u32 = 12;

/// Larger than any SRAM: those of the boards of `ci/boards.sh` have at most 8 MiB (2026-11).
const LARGEST: u64 = 64 << 20;

/// Larger than all SRAMs of a board together: those of `ci/boards.sh` have at most 9 MiB (2026-11). Bookkeeping takes
/// half as much as the memory, and a node that asks for it has a hundred bytes.
const LARGEST_TOGETHER: u64 = 256 << 20;

/// The most children of an SRAM that are read. Real ones have a dozen (2026-11).
const MOST_CHILDREN: usize = 1024;

/// The most SRAMs and children of one tree that become devices and pools. A real tree has a few dozen (2026-11). A
/// pool takes kilobytes, and a node that asks for it has fifty bytes.
const MOST_TOGETHER: usize = 4096;

/// Bytes of a label, the same as of a node's name. Many references may lead to one label, and the error of each
/// copies it.
const LONGEST_LABEL: usize = 255;

/// The description of an SRAM in its node.
///
/// ```
/// use genpool::devm::{Sram, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
/// assert_eq!(Sram::nodes(&tree).count(), 4); // two of them are disabled
/// let node = tree.find("/soc/sram@0").ok_or("no SRAM")?;
/// assert!(Sram::is_described_by(node)?);
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
    /// The node.
    pub node: NodePath,
    /// The physical addresses.
    pub range: PhysRange,
    /// Whether to map it write-combining, which is the default (`no-memory-wc` is the exception).
    pub write_combining: bool,
    /// The parts that children reserve, by address.
    pub partitions: Vec<Partition>,
    /// Children that are not available. They reserve nothing.
    pub disabled: Vec<NodePath>,
    /// Empty children, by address. They reserve nothing; firmware gives them a size where it wants one.
    pub empty: Vec<NodePath>,
    /// The parts that no child reserves, by address. Between two gaps there is an address or an empty child.
    pub gaps: Vec<PhysRange>,
}

/// A reserved part of an SRAM.
///
/// ```
/// use genpool::devm::{Sram, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
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
    /// The node.
    pub node: NodePath,
    /// The name of its pool, if it becomes one: its `label`, or else the node's name without the unit address.
    pub label: String,
    /// The physical addresses.
    pub range: PhysRange,
    /// Marked `pool`: other devices use it as a pool.
    pub pool: bool,
    /// Marked `export`: it may be accessed from outside of the kernel.
    pub export: bool,
    /// Marked `protect-exec`: a pool whose memory is read-only and executable while code runs in it.
    pub protect_exec: bool,
}

impl Partition {
    /// Whether the partition becomes a pool.
    #[must_use]
    pub fn is_pool(&self) -> bool {
        self.pool || self.protect_exec
    }

    fn read(node: Node<'_>, range: PhysRange) -> Result<Self, TreeError> {
        Ok(Self {
            node: node.path(),
            label: label(node)?.unwrap_or(node.base_name()).to_owned(),
            range,
            pool: node.has("pool"),
            export: node.has("export"),
            protect_exec: node.has("protect-exec"),
        })
    }
}

/// Returns the `label` of a node, if it has one.
pub(crate) fn label(node: Node<'_>) -> Result<Option<&str>, TreeError> {
    let label = node.text("label")?;
    if label.is_some_and(|label| label.len() > LONGEST_LABEL) {
        return Err(node.complain(Complaint::TooLong {
            property: "label",
            most: LONGEST_LABEL,
            unit: "bytes",
        }));
    }
    Ok(label)
}

/// An available child.
enum Child {
    Partition(Partition),
    Empty(NodePath),
}

impl Sram {
    /// Whether the node describes an SRAM, available or not.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if `compatible` cannot be read.
    pub fn is_described_by(node: Node<'_>) -> Result<bool, TreeError> {
        node.is_compatible("mmio-sram")
    }

    /// Returns the nodes of a tree that describe SRAMs, available or not, and an error for each node whose
    /// `compatible` cannot be read.
    pub fn nodes(tree: &Tree) -> impl Iterator<Item = Result<Node<'_>, TreeError>> {
        tree.nodes()
            .filter_map(|node| match Self::is_described_by(node) {
                Ok(true) => Some(Ok(node)),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            })
    }

    /// Reads the description in a node. Reads at most 1,024 children, and labels of at most 255 bytes.
    ///
    /// # Errors
    ///
    /// [`LayoutError`], which names the node at fault. A property that exists and cannot be read is an error.
    pub fn read(node: Node<'_>) -> Result<Self, LayoutError> {
        let range = node.range()?;
        if range.size() > LARGEST {
            let node = node.path();
            return Err(LayoutError::TooLarge { node, range });
        }
        if node.child_count() > MOST_CHILDREN {
            let node = node.path();
            return Err(LayoutError::TooMany { node });
        }
        let (mut children, mut disabled) = (Vec::new(), Vec::new());
        for child in node.children() {
            if !child.is_available()? {
                disabled.push(child.path());
                continue;
            }
            let (start, size) = child.place()?;
            let what = match PhysRange::new(start, size) {
                Some(range) => Child::Partition(Partition::read(child, range)?),
                None => Child::Empty(child.path()),
            };
            children.push((start, what));
        }
        // Children with the same start stay in the order of the tree, as in the kernel. An empty child that follows a
        // partition with its start is inside that partition; one that comes before is not.
        children.sort_by_key(|&(start, _)| start);
        let mut divided = Divided::new(range);
        for (start, child) in children {
            divided.go_on(start, child)?;
        }
        divided.end();
        Ok(Self {
            node: node.path(),
            range,
            write_combining: !node.has("no-memory-wc"),
            partitions: divided.partitions,
            disabled,
            empty: divided.empty,
            gaps: divided.gaps,
        })
    }
}

/// An SRAM while it is being divided.
struct Divided {
    range: PhysRange,
    /// The first address that is neither reserved nor in a gap, or past the last address at the end.
    at: u128,
    partitions: Vec<Partition>,
    empty: Vec<NodePath>,
    gaps: Vec<PhysRange>,
}

impl Divided {
    fn new(range: PhysRange) -> Self {
        Self {
            range,
            at: range.start().into(),
            partitions: Vec::new(),
            empty: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Returns the address past the last one.
    fn limit(&self) -> u128 {
        u128::from(self.range.last()) + 1
    }

    /// Adds the next child by address.
    fn go_on(&mut self, start: u64, child: Child) -> Result<(), LayoutError> {
        let from = u128::from(start);
        let before = match self.partitions.last() {
            Some(before) if from < self.at => Some(before.node.clone()),
            _ => None,
        };
        match child {
            Child::Empty(node) => {
                if start < self.range.start() || from > self.limit() {
                    let within = self.range;
                    return Err(LayoutError::EmptyOutside {
                        node,
                        start,
                        within,
                    });
                }
                if let Some(other) = before {
                    return Err(LayoutError::EmptyInside { node, start, other });
                }
                self.gap_up_to(from);
                self.empty.push(node);
            }
            Child::Partition(part) => {
                let (node, range) = (&part.node, part.range);
                if !self.range.contains(range) {
                    return Err(LayoutError::Outside {
                        node: node.clone(),
                        range,
                        within: self.range,
                    });
                }
                if let Some(other) = before {
                    return Err(LayoutError::Overlap {
                        node: node.clone(),
                        range,
                        other,
                    });
                }
                if part.protect_exec && range.whole_granules(PAGE_ORDER) != Some(range) {
                    return Err(LayoutError::NotPages {
                        node: node.clone(),
                        range,
                    });
                }
                self.gap_up_to(from);
                self.at = u128::from(range.last()) + 1;
                self.partitions.push(part);
            }
        }
        Ok(())
    }

    fn gap_up_to(&mut self, end: u128) {
        // Both addresses lie in the SRAM or at its end.
        let (start, size) = (self.at as u64, (end - self.at) as u64);
        self.gaps.extend(PhysRange::new(start, size));
        self.at = end;
    }

    fn end(&mut self) {
        self.gap_up_to(self.limit());
    }
}

/// The reason why an SRAM's node is invalid.
///
/// ```
/// use genpool::devm::{LayoutError, Sram, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
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
    /// The range is larger than any SRAM.
    #[error("{node}: {range} is more than an SRAM has")]
    TooLarge {
        /// The node.
        node: NodePath,
        /// Its range.
        range: PhysRange,
    },
    /// The node has more children than are read.
    #[error("{node}: more than {MOST_CHILDREN} children")]
    TooMany {
        /// The node.
        node: NodePath,
    },
    /// A child lies outside of its SRAM.
    #[error("{node}: {range} is not inside the SRAM, which is {within}")]
    Outside {
        /// The child.
        node: NodePath,
        /// The child's range.
        range: PhysRange,
        /// The SRAM's range.
        within: PhysRange,
    },
    /// Two children share addresses.
    #[error("{node}: {range} overlaps with {other}")]
    Overlap {
        /// The child with the higher start.
        node: NodePath,
        /// The child's range.
        range: PhysRange,
        /// The other child.
        other: NodePath,
    },
    /// An empty child lies outside of its SRAM.
    #[error("{node}: no bytes at {start:#x}, which is not inside the SRAM, {within}")]
    EmptyOutside {
        /// The child.
        node: NodePath,
        /// The child's address.
        start: u64,
        /// The SRAM's range.
        within: PhysRange,
    },
    /// An empty child lies inside another child.
    #[error("{node}: no bytes at {start:#x}, which is inside {other}")]
    EmptyInside {
        /// The child.
        node: NodePath,
        /// The child's address.
        start: u64,
        /// The other child.
        other: NodePath,
    },
    /// A `protect-exec` child does not consist of whole pages.
    #[error("{node}: {range} is marked protect-exec and does not consist of whole pages")]
    NotPages {
        /// The child.
        node: NodePath,
        /// The child's range.
        range: PhysRange,
    },
}

impl LayoutError {
    /// Returns the node at fault.
    #[must_use]
    pub fn node(&self) -> &NodePath {
        match self {
            Self::Tree(TreeError { node, .. })
            | Self::TooLarge { node, .. }
            | Self::TooMany { node }
            | Self::EmptyOutside { node, .. }
            | Self::EmptyInside { node, .. }
            | Self::Outside { node, .. }
            | Self::Overlap { node, .. }
            | Self::NotPages { node, .. } => node,
        }
    }
}
