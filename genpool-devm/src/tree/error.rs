//! Errors of a tree, or of a node in it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::BlobError;
use crate::path::NodePath;

/// A tree was not loaded. The text names the file; the reason is the error's [`source`](std::error::Error::source).
///
/// ```
/// use std::error::Error;
///
/// use genpool::devm::Tree;
///
/// let refused = Tree::load("no-such-board.dtb").unwrap_err();
/// assert_eq!(refused.to_string(), "no-such-board.dtb: cannot be read");
/// let reason = refused.source().ok_or("a reason")?; // such as "No such file or directory"
/// println!("{refused}: {reason}");
/// # Ok::<(), Box<dyn Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The content is not a flattened device tree. A source text (`.dts`) must be compiled first, by `dtc -O dtb`.
    #[error("{}: is not a valid device tree", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: BlobError,
    },
}

/// A node is invalid.
///
/// ```
/// use genpool::devm::{Complaint, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let refused = tree.root().range().unwrap_err();
/// assert_eq!(refused.complaint, Complaint::Missing { property: "reg".into() });
/// assert_eq!(refused.node.as_str(), "/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{node}: {complaint}")]
pub struct TreeError {
    /// The path of the node.
    pub node: NodePath,
    /// What is wrong.
    pub complaint: Complaint,
}

/// What is wrong in a node.
///
/// ```
/// use genpool::devm::{Complaint, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let dsp = tree.find("/soc/dsp@3000").ok_or("no such node")?;
/// let complaint = |property, index| dsp.follow(property, index).map_err(|refused| refused.complaint);
/// assert_eq!(complaint("sram", 4).err(), Some(Complaint::NoNode { phandle: 0xdead }));
/// assert_eq!(complaint("sram", 5).err(), Some(Complaint::NoCell { property: "sram".into(), index: 5 }));
/// let odd = Complaint::Length { property: "pm-sram".into(), len: 3 };
/// assert_eq!(complaint("pm-sram", 0).err(), Some(odd));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Complaint {
    /// The node lacks a property.
    #[error("it has no {property}")]
    Missing {
        /// The name of the property.
        property: String,
    },
    /// A property is not a text, or not a list of texts.
    #[error("{property} is no text: each ends with a NUL, and all are UTF-8")]
    NoText {
        /// The name of the property.
        property: String,
    },
    /// A property is longer than its limit.
    #[error("{property} is longer than {most} {unit}")]
    TooLong {
        /// The name of the property.
        property: &'static str,
        /// The limit.
        most: usize,
        /// The unit of the limit.
        unit: &'static str,
    },
    /// A property does not consist of whole entries.
    #[error("{property} has {len} bytes, which are no whole entries")]
    Length {
        /// The name of the property.
        property: String,
        /// Its length in bytes.
        len: usize,
    },
    /// A property has fewer cells than asked for.
    #[error("{property} has no cell {index}")]
    NoCell {
        /// The name of the property.
        property: String,
        /// The index of the cell.
        index: usize,
    },
    /// No node has the phandle.
    #[error("phandle {phandle:#x} is that of no node")]
    NoNode {
        /// The phandle.
        phandle: u32,
    },
    /// More than one node has the phandle.
    #[error("phandle {phandle:#x} is that of several nodes")]
    SeveralNodes {
        /// The phandle.
        phandle: u32,
    },
    /// No address or size has this many cells.
    #[error("{property} says {cells} cells")]
    Cells {
        /// The name of the property.
        property: &'static str,
        /// Its value.
        cells: u32,
    },
    /// A range is empty.
    #[error("a range of no bytes at {start:#x}")]
    Empty {
        /// The start of the range.
        start: u128,
    },
    /// A range does not end within 64 bits.
    #[error("{size:#x} bytes at {start:#x} do not end within 64 bits")]
    Beyond {
        /// The start of the range.
        start: u128,
        /// The size of the range.
        size: u128,
    },
    /// The `ranges` of a bus do not map an address to the processor's.
    #[error("{bus} does not map {size:#x} bytes at {start:#x}")]
    Unmapped {
        /// The bus.
        bus: NodePath,
        /// The start of the range, as nodes on that bus see it.
        start: u128,
        /// The size of the range.
        size: u128,
    },
}
