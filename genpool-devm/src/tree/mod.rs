//! Device trees: nodes with properties, read once from a flattened blob.
//!
//! The blob is checked by `blob.rs`, read by `dtoolkit`, and copied: nodes in a list, found by path and by phandle. A
//! property that exists and cannot be read is an error, never treated as missing.
//!
//! No two sizes of an untrusted blob multiply. Paths, labels, windows of buses, children of an SRAM and SRAMs of a
//! tree are bounded, and a property is found by binary search.

mod address;
mod blob;
mod error;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::Path;
use std::ptr;
use std::str;
use std::sync::Arc;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};

pub use self::address::PhysRange;
pub use self::blob::{BlobError, BlobFault};
pub use self::error::{Complaint, LoadError, TreeError};
use crate::path::NodePath;

/// The kernel's copy of the tree that the system runs with.
const RUNNING: &str = "/sys/firmware/fdt";

/// Larger than any board's tree: those that Debian ships are below 300 KiB (2026-11).
const LARGEST: u64 = 4 << 20;

/// Bytes of a `status`, which is read again for each node inside the node.
const LONGEST_STATUS: usize = 255;

/// A device tree: a copy that borrows nothing from the blob.
///
/// ```
/// use genpool::devm::Tree;
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let codec = tree.find("/soc/codec@2000").ok_or("no such node")?;
/// println!("{:?}", codec.text("compatible"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tree {
    /// The root first, then in the order of the blob.
    nodes: Vec<NodeData>,
    by_phandle: BTreeMap<u32, ByPhandle>,
}

#[derive(Debug)]
struct NodeData {
    name: Box<str>,
    parent: Option<usize>,
    children: Vec<usize>,
    /// In the order of the blob.
    properties: Box<[Property]>,
    /// Indices of the properties, sorted by name and then by position.
    by_name: Box<[u32]>,
}

#[derive(Debug)]
struct Property {
    /// Shared by all properties of that name, since a blob stores each name once.
    name: Arc<str>,
    value: Box<[u8]>,
}

impl NodeData {
    fn property(&self, name: &str) -> Option<&Property> {
        let named = |&at: &u32| &self.properties[at as usize];
        let first = self.by_name.partition_point(|at| &*named(at).name < name);
        let found = named(self.by_name.get(first)?);
        (&*found.name == name).then_some(found)
    }
}

#[derive(Clone, Copy, Debug)]
enum ByPhandle {
    One(usize),
    Several,
}

impl Tree {
    /// Parses a flattened blob. Linear in its bytes.
    ///
    /// ```
    /// use genpool::devm::Tree;
    ///
    /// let blob = std::fs::read("examples/board.dtb")?;
    /// let tree = Tree::parse(&blob)?;
    /// assert_eq!(tree.root().text("compatible")?, Some("genpool,board"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BlobError`], which names the node where the blob is invalid.
    pub fn parse(blob: &[u8]) -> Result<Self, BlobError> {
        let mut tree = Self {
            nodes: Vec::new(),
            by_phandle: BTreeMap::new(),
        };
        tree.fill(blob::check(blob)?)?;
        for index in 0..tree.nodes.len() {
            if let Some(phandle) = tree.node(index).phandle() {
                match tree.by_phandle.entry(phandle) {
                    Entry::Vacant(entry) => drop(entry.insert(ByPhandle::One(index))),
                    Entry::Occupied(mut entry) => drop(entry.insert(ByPhandle::Several)),
                }
            }
        }
        Ok(tree)
    }

    /// Reads and parses a file of at most 4 MiB: a flattened device tree (`.dtb`). A source text (`.dts`) must be
    /// compiled first, by `dtc -O dtb`.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the file cannot be read, is too large, or is not a device tree.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let mut blob = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut blob))
            .and_then(|read| match read as u64 <= LARGEST {
                true => Ok(()),
                false => Err(io::ErrorKind::FileTooLarge.into()),
            })
            .map_err(|source| LoadError::Read {
                path: path.to_owned(),
                source,
            })?;
        Self::parse(&blob).map_err(|source| LoadError::Blob {
            path: path.to_owned(),
            source,
        })
    }

    /// Loads the tree that this system runs with.
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// use genpool::devm::Tree;
    ///
    /// match Tree::running() {
    ///     Ok(tree) => println!("{:?}", tree.root().text("model")),
    ///     Err(error) => println!("{error}: {:?}", error.source()), // on a PC, for instance
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Systems without a device tree do not have the file, and reading it needs root.
    pub fn running() -> Result<Self, LoadError> {
        Self::load(RUNNING)
    }

    /// Copies the checked nodes, without recursion.
    fn fill(&mut self, fdt: Fdt<'_>) -> Result<(), BlobError> {
        let root = fdt.root();
        let mut known = HashSet::new();
        self.push(root, None, &mut known);
        let mut ways = vec![(0, root.children(), BTreeSet::new())];
        while let Some((parent, children, names)) = ways.last_mut() {
            let Some(child) = children.next() else {
                ways.pop();
                continue;
            };
            let parent = *parent;
            let is_twin = !names.insert(child.name());
            let index = self.push(child, Some(parent), &mut known);
            if is_twin {
                return Err(BlobError {
                    node: self.node(index).path(),
                    offset: 0,
                    fault: BlobFault::Twin,
                });
            }
            ways.push((index, child.children(), BTreeSet::new()));
        }
        Ok(())
    }

    fn push(
        &mut self,
        node: FdtNode<'_>,
        parent: Option<usize>,
        known: &mut HashSet<Arc<str>>,
    ) -> usize {
        let index = self.nodes.len();
        let properties: Box<[_]> = node
            .properties()
            .map(|property| Property {
                name: shared(known, property.name()),
                value: property.value().into(),
            })
            .collect();
        // A blob has at most 2^32 bytes.
        let mut by_name: Box<[u32]> = (0..properties.len() as u32).collect();
        by_name.sort_by_key(|&at| &*properties[at as usize].name);
        self.nodes.push(NodeData {
            name: node.name().into(),
            parent,
            children: Vec::new(),
            properties,
            by_name,
        });
        if let Some(parent) = parent {
            self.nodes[parent].children.push(index);
        }
        index
    }

    fn node(&self, index: usize) -> Node<'_> {
        Node { tree: self, index }
    }

    /// Returns the node at the top.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        self.node(0)
    }

    /// Returns all nodes, parents before their children.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.nodes.len()).map(|index| self.node(index))
    }

    /// Returns the node at a full path, unit addresses included. Linear in the siblings at each step.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Node<'_>> {
        let mut node = self.root();
        for name in path.strip_prefix('/')?.split_terminator('/') {
            node = node.children().find(|child| child.name() == name)?;
        }
        Some(node)
    }

    /// Returns the node that has this phandle.
    ///
    /// ```
    /// use genpool::devm::Tree;
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let sram = tree.find("/soc/sram@40000000").ok_or("no such node")?;
    /// let phandle = sram.phandle().ok_or("nobody refers to it")?;
    /// assert_eq!(tree.by_phandle(phandle)?.name(), "sram@40000000");
    /// assert!(tree.by_phandle(0xdead).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Complaint::NoNode`] or [`Complaint::SeveralNodes`], unless exactly one node has it.
    pub fn by_phandle(&self, phandle: u32) -> Result<Node<'_>, Complaint> {
        match self.by_phandle.get(&phandle) {
            Some(&ByPhandle::One(index)) => Ok(self.node(index)),
            Some(ByPhandle::Several) => Err(Complaint::SeveralNodes { phandle }),
            None => Err(Complaint::NoNode { phandle }),
        }
    }
}

/// Returns the shared copy of a name, and adds the name to `known` if it is new.
fn shared(known: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(name) = known.get(name) {
        return Arc::clone(name);
    }
    let name: Arc<str> = name.into();
    known.insert(Arc::clone(&name));
    name
}

/// A node of a [`Tree`]. Two are equal if they are the same node of the same tree.
///
/// A property that exists and cannot be read, such as a `status` that is not a text, is an error which names the node
/// and the property. It never counts as missing.
///
/// ```
/// use genpool::devm::Tree;
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let sram = tree.find("/soc/sram@0").ok_or("no such node")?;
/// assert_eq!((sram.name(), sram.base_name()), ("sram@0", "sram"));
/// assert_eq!(sram.path().as_str(), "/soc/sram@0");
/// assert_eq!(sram.parent().map(|bus| bus.name()), Some("soc"));
/// assert_eq!(sram.children().count(), 6);
/// assert!(sram.is_compatible("mmio-sram")? && sram.is_enabled()?);
/// assert_eq!(sram.texts("compatible")?.collect::<Vec<_>>(), ["genpool,tcm", "mmio-sram"]);
/// assert!(sram.has("ranges") && sram.property("status").is_none());
///
/// let off = tree.find("/soc/sram@80000").ok_or("no such node")?;
/// assert!(!off.is_available()? && off.text("status")? == Some("disabled"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Node<'t> {
    tree: &'t Tree,
    index: usize,
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.tree, other.tree) && self.index == other.index
    }
}

impl Eq for Node<'_> {}

impl Hash for Node<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl<'t> Node<'t> {
    fn data(self) -> &'t NodeData {
        &self.tree.nodes[self.index]
    }

    /// Returns the full name, such as `sram@5c000000`. The name of the root is empty.
    #[must_use]
    pub fn name(self) -> &'t str {
        &self.data().name
    }

    /// Returns the name without the unit address.
    #[must_use]
    pub fn base_name(self) -> &'t str {
        let name = self.name();
        name.split_once('@').map_or(name, |(base, _)| base)
    }

    /// Returns the full path.
    #[must_use]
    pub fn path(self) -> NodePath {
        let mut names: Vec<_> = self.with_ancestors().map(Self::name).collect();
        names.pop();
        names.reverse();
        NodePath::of(names)
    }

    /// Returns the node that contains this one. None for the root.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        self.data().parent.map(|index| self.tree.node(index))
    }

    /// Returns the nodes directly inside this one.
    pub fn children(self) -> impl Iterator<Item = Self> + use<'t> {
        let tree = self.tree;
        self.data().children.iter().map(|&index| tree.node(index))
    }

    pub(crate) fn child_count(self) -> usize {
        self.data().children.len()
    }

    /// Returns the node itself, its parent, and so on up to the root.
    fn with_ancestors(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |node| node.parent())
    }

    /// Returns the names and values of the properties, in the order of the blob.
    pub fn properties(self) -> impl Iterator<Item = (&'t str, &'t [u8])> {
        let properties = self.data().properties.iter();
        properties.map(|property| (&*property.name, &*property.value))
    }

    /// Returns the value of a property. If several have that name, returns the first one's, as the kernel does.
    /// Logarithmic in the number of properties.
    #[must_use]
    pub fn property(self, name: &str) -> Option<&'t [u8]> {
        let property = self.data().property(name)?;
        Some(&property.value)
    }

    /// Whether the node has the property, whatever its value. Flags are read like this, by the kernel too: `pool =
    /// <0>` counts as much as `pool`.
    #[must_use]
    pub fn has(self, property: &str) -> bool {
        self.property(property).is_some()
    }

    /// Returns the texts of a property that is a list of texts. Empty if the node lacks the property or its value is
    /// empty.
    ///
    /// # Errors
    ///
    /// [`Complaint::NoText`] unless the whole value is UTF-8 and its last text ends with a NUL.
    pub fn texts(
        self,
        property: &str,
    ) -> Result<impl Iterator<Item = &'t str> + use<'t>, TreeError> {
        let value = self.property(property).unwrap_or_default();
        match str::from_utf8(value) {
            Ok(texts) if texts.is_empty() || texts.ends_with('\0') => {
                Ok(texts.split_terminator('\0'))
            }
            _ => Err(self.no_text(property)),
        }
    }

    /// Returns the text of a property, if the node has it. Of several texts it returns the first, as the kernel does.
    ///
    /// # Errors
    ///
    /// [`Complaint::NoText`], as for [`texts`](Self::texts), and also for a property without a value.
    pub fn text(self, property: &str) -> Result<Option<&'t str>, TreeError> {
        let text = self.texts(property)?.next();
        match text.is_none() && self.has(property) {
            true => Err(self.no_text(property)),
            false => Ok(text),
        }
    }

    fn no_text(self, property: &str) -> TreeError {
        let property = property.to_owned();
        self.complain(Complaint::NoText { property })
    }

    /// Whether `name` is in the node's `compatible` list.
    ///
    /// # Errors
    ///
    /// [`Complaint::NoText`] if `compatible` is not a list of texts.
    pub fn is_compatible(self, name: &str) -> Result<bool, TreeError> {
        Ok(self.texts("compatible")?.any(|known| known == name))
    }

    /// Whether the node has no `status`, or one that is `okay` or `ok`.
    ///
    /// # Errors
    ///
    /// [`Complaint::NoText`] if `status` is not a text, [`Complaint::TooLong`] if it has over 255 bytes.
    pub fn is_available(self) -> Result<bool, TreeError> {
        let status = self.property("status").unwrap_or_default();
        if status.len() > LONGEST_STATUS {
            return Err(self.complain(Complaint::TooLong {
                property: "status",
                most: LONGEST_STATUS,
                unit: "bytes",
            }));
        }
        Ok(matches!(self.text("status")?, None | Some("okay" | "ok")))
    }

    /// Whether the node becomes a device: it is available, and so are all nodes around it.
    ///
    /// # Errors
    ///
    /// As for [`is_available`](Self::is_available), with the node whose `status` is at fault: this one, or one around
    /// it.
    pub fn is_enabled(self) -> Result<bool, TreeError> {
        Ok(self.disabled_by()?.is_none())
    }

    /// Returns the first node that is not available: this one, or the innermost one around it.
    pub(crate) fn disabled_by(self) -> Result<Option<Self>, TreeError> {
        for node in self.with_ancestors() {
            if !node.is_available()? {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// Returns the node's phandle. An invalid one is an error of the blob ([`BlobFault::Phandle`]).
    #[must_use]
    pub fn phandle(self) -> Option<u32> {
        let value = self
            .property("phandle")
            .or(self.property("linux,phandle"))?;
        Some(u32::from_be_bytes(value.try_into().ok()?))
    }

    /// Returns the value of a property as cells of 32 bits.
    ///
    /// ```
    /// use genpool::devm::Tree;
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let sram = tree.find("/soc/sram@0").ok_or("no such node")?;
    /// let cells = sram.cells("reg")?.iter().map(|&cell| u32::from_be_bytes(cell));
    /// assert_eq!(cells.collect::<Vec<_>>(), [0x0, 0x4_0000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Complaint::Missing`] or [`Complaint::Length`].
    pub fn cells(self, property: &str) -> Result<&'t [[u8; 4]], TreeError> {
        let complain = |complaint| self.complain(complaint);
        let property = || property.to_owned();
        let value = self.property(&property()).ok_or_else(|| {
            complain(Complaint::Missing {
                property: property(),
            })
        })?;
        match value.as_chunks() {
            (cells, []) => Ok(cells),
            _ => Err(complain(Complaint::Length {
                property: property(),
                len: value.len(),
            })),
        }
    }

    /// Returns the node that the phandle in cell `index` of a property refers to.
    ///
    /// ```
    /// use genpool::devm::Tree;
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let codec = tree.find("/soc/codec@2000").ok_or("no such node")?;
    /// assert_eq!(codec.follow("iram", 0)?.name(), "sram@40000000");
    /// assert_eq!(codec.follow("iram", 1)?.name(), "sram@0");
    /// assert!(codec.follow("iram", 2).is_err()); // it has two cells
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TreeError`] if there is no such cell, or no single node with that phandle.
    pub fn follow(self, property: &str, index: usize) -> Result<Self, TreeError> {
        let cells = self.cells(property)?;
        let cell = cells.get(index).ok_or_else(|| {
            self.complain(Complaint::NoCell {
                property: property.to_owned(),
                index,
            })
        })?;
        self.tree
            .by_phandle(u32::from_be_bytes(*cell))
            .map_err(|complaint| self.complain(complaint))
    }

    pub(crate) fn complain(self, complaint: Complaint) -> TreeError {
        TreeError {
            node: self.path(),
            complaint,
        }
    }
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.path())
    }
}
