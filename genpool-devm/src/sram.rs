//! `mmio-sram`: what a device tree says of on-chip memory, and the pools that follow from it.
//!
//! The rules are those of the kernel's binding and its driver: the children of an SRAM's node
//! *reserve* their part of it; those marked `pool` or `protect-exec` become pools of their own, named
//! by their `label` or else by their name without the unit address; what no child reserves is the
//! unnamed pool, a chunk for each gap. Granules have 32 bytes.
//!
//! A child of no bytes reserves nothing. It must lie in its SRAM all the same, or at its end, and not inside
//! another child; a gap ends before it, and another begins.

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

/// Children that are read of an SRAM. Real ones have a dozen (2026-11).
const MOST_CHILDREN: usize = 1024;

/// SRAMs and their children that become devices and pools of one tree. A real one has a few dozen (2026-11);
/// a pool takes kilobytes, and a node that asks for it has fifty bytes.
const MOST_TOGETHER: usize = 4096;

/// Bytes of a label, as of a node's name: many references may lead to it, and each names it.
const LONGEST_LABEL: usize = 255;

/// What a node says of an SRAM.
///
/// ```
/// use genpool::devm::{Sram, Tree};
///
/// let tree = Tree::load("tests/trees/board.dtb")?;
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
    /// Children of no bytes, by address. They reserve nothing: firmware gives them a size where it wants one.
    pub empty: Vec<NodePath>,
    /// What no child reserves, by address. Two gaps have an address between them, or an empty child.
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

/// The `label` of a node, if it has one.
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

/// A child that is available.
enum Child {
    Partition(Partition),
    Empty(NodePath),
}

impl Sram {
    /// Whether the node describes an SRAM, available or not.
    ///
    /// # Errors
    ///
    /// [`TreeError`], if its `compatible` cannot be read.
    pub fn is_described_by(node: Node<'_>) -> Result<bool, TreeError> {
        node.is_compatible("mmio-sram")
    }

    /// The nodes of a tree that describe SRAMs, available or not, and an error for each node of which
    /// that cannot be said.
    pub fn nodes(tree: &Tree) -> impl Iterator<Item = Result<Node<'_>, TreeError>> {
        tree.nodes()
            .filter_map(|node| match Self::is_described_by(node) {
                Ok(true) => Some(Ok(node)),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            })
    }

    /// What the node says. At most 1,024 children are read, and labels of at most 255 bytes.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] names the node at fault. A property that is there and cannot be read is an error.
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
        // Children of one start stay in the order of the tree, as in the kernel: an empty one that follows a
        // partition there is inside it, and one that comes before it is not.
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

/// An SRAM as far as it is divided.
struct Divided {
    range: PhysRange,
    /// The first address that is neither reserved nor in a gap; past the last one once all are.
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

    /// Past the last address.
    fn limit(&self) -> u128 {
        u128::from(self.range.last()) + 1
    }

    /// Goes on to the next child by address.
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
        // Both lie in the SRAM, or at its end.
        let (start, size) = (self.at as u64, (end - self.at) as u64);
        self.gaps.extend(PhysRange::new(start, size));
        self.at = end;
    }

    fn end(&mut self) {
        self.gap_up_to(self.limit());
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
    /// No SRAM has so many children.
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
    /// A child of no bytes lies outside of its SRAM.
    #[error("{node}: no bytes at {start:#x}, which is not inside the SRAM, {within}")]
    EmptyOutside {
        /// The child.
        node: NodePath,
        /// Where it says it is.
        start: u64,
        /// Where the SRAM is.
        within: PhysRange,
    },
    /// A child of no bytes lies inside another child.
    #[error("{node}: no bytes at {start:#x}, which is inside {other}")]
    EmptyInside {
        /// The child.
        node: NodePath,
        /// Where it says it is.
        start: u64,
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
            | Self::TooMany { node }
            | Self::EmptyOutside { node, .. }
            | Self::EmptyInside { node, .. }
            | Self::Outside { node, .. }
            | Self::Overlap { node, .. }
            | Self::NotPages { node, .. } => node,
        }
    }
}
