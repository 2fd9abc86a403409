//! `genpool dt`: the pools of a board, from its device tree.

pub mod text;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::Path;

use genpool::devm::{
    Complaint, LoadError, Node, PhysRange, Registry, Sram, SramError, Tree, TreeError, address_only,
};
use serde::Serialize;

use crate::chain::Chain;
use crate::plain::Plain;

/// The most rows for SRAMs, for all of their children together, and for references. Real boards have a few dozen of
/// each (2026-11). Without a limit, a small blob could have one long path in each of many rows.
pub const MOST_ROWS: usize = 1000;

/// The most children of SRAMs that are read for these rows, even if they turn out to have none. An SRAM with more
/// children is refused before they are read.
const MOST_CHILDREN: usize = 4 * MOST_ROWS;

/// The pools of a board and their users. All of its texts are [`Plain`].
#[derive(Debug, Serialize)]
pub struct Board {
    /// The board's model name.
    pub model: Option<String>,
    /// Why the model cannot be read.
    pub error: Option<String>,
    /// Its SRAMs, in the order of the tree, and nodes that may be one.
    pub srams: Vec<SramRow>,
    /// The references to them, in the order of the tree.
    pub consumers: Vec<Consumer>,
    /// Why properties that are named like references cannot be read, or do not lead to one node.
    pub unreadable: Vec<String>,
    /// References that lead to a pool, including those without a row.
    pub resolved: usize,
    /// What has no row.
    pub left_out: LeftOut,
}

/// How many items have no row, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// SRAMs.
    pub srams: usize,
    /// References.
    pub consumers: usize,
    /// References that cannot be read.
    pub unreadable: usize,
}

/// A node that describes an SRAM.
#[derive(Debug, Serialize)]
pub struct SramRow {
    /// Its full path.
    pub node: String,
    /// Whether it becomes a device: it and all its parents are available.
    pub enabled: bool,
    /// Why it does not although it is enabled, or what is wrong with one that is not.
    pub error: Option<String>,
    /// Its layout, if that makes sense.
    #[serde(flatten)]
    pub layout: Option<Layout>,
}

/// How an SRAM is divided.
#[derive(Debug, Serialize)]
pub struct Layout {
    /// Its addresses.
    #[serde(flatten)]
    pub range: Range,
    /// Whether it is mapped write-combining.
    pub write_combining: bool,
    /// The parts that its children reserve, by address.
    pub partitions: Vec<PartitionRow>,
    /// Children that are not available.
    pub disabled: Vec<String>,
    /// Children without any bytes.
    pub empty: Vec<String>,
    /// The unnamed pool, by address.
    pub gaps: Vec<Range>,
}

impl Layout {
    /// Returns the number of rows for its children.
    fn rows(&self) -> usize {
        self.partitions.len() + self.disabled.len() + self.empty.len()
    }
}

/// A reserved part.
#[derive(Debug, Serialize)]
pub struct PartitionRow {
    /// Its node's full path.
    pub node: String,
    /// The name that its pool has or would have.
    pub label: String,
    /// Its addresses.
    #[serde(flatten)]
    pub range: Range,
    /// Whether it is marked `pool`.
    pub pool: bool,
    /// Whether it is marked `export`.
    pub export: bool,
    /// Whether it is marked `protect-exec`.
    pub protect_exec: bool,
}

/// A range of physical addresses.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The number of bytes.
    pub size: u64,
}

impl From<PhysRange> for Range {
    fn from(range: PhysRange) -> Self {
        Self {
            start: range.start(),
            size: range.size(),
        }
    }
}

/// A phandle that refers to an SRAM or a part of one.
#[derive(Debug, Serialize)]
pub struct Consumer {
    /// The full path of the node with the reference.
    pub node: String,
    /// Whether that node becomes a device.
    pub enabled: bool,
    /// The property with the reference.
    pub property: String,
    /// The cell of the property.
    pub index: usize,
    /// The full path of the node that it refers to.
    pub target: String,
    /// The pool that a driver gets through it.
    pub pool: Option<PoolName>,
    /// Why it gets none, or what is wrong with the node.
    pub error: Option<String>,
}

/// A pool of a device.
#[derive(Debug, Serialize)]
pub struct PoolName {
    /// The full path of the device's node.
    pub device: String,
    /// The pool's name, if it has one.
    pub name: Option<String>,
}

/// Reads the blob at `path`, or that of this system, and lists the pools in it. References are found in properties
/// whose names mark them as such, and in those named `also`.
///
/// # Errors
///
/// [`LoadError`] if there is no tree to read.
pub fn survey(path: Option<&Path>, also: &[String]) -> Result<Board, LoadError> {
    let tree = match path {
        Some(path) => Tree::load(path)?,
        None => Tree::running()?,
    };
    let registry = Registry::new();
    let probed = registry.probe_srams(&tree, address_only);
    let mut errors: HashMap<_, _> = probed
        .into_iter()
        .filter_map(|(node, device)| Some((node, device.err()?)))
        .collect();
    let mut left_out = LeftOut::default();
    let mut srams = Vec::new();
    let (mut parts, mut children_left) = (0, MOST_CHILDREN);
    for found in Sram::nodes(&tree) {
        let children = found.as_ref().map_or(0, |node| node.children().count());
        let children = Some(children).filter(|&children| children <= MOST_CHILDREN);
        let after = children_left.checked_sub(children.unwrap_or(0));
        let (true, Some(after)) = (srams.len() < MOST_ROWS, after) else {
            left_out.srams += 1;
            continue;
        };
        children_left = after;
        let row = match found {
            Ok(node) => {
                let path = node.path();
                let is_missing = is_enabled(node) && registry.find(&path).is_none();
                let error = errors.remove(&path);
                // The registry did not even try to probe it.
                let too_much = || is_missing.then_some(SramError::TooMuch { node: path });
                sram_row(node, error.or_else(too_much))
            }
            Err(error) => unknown(&error),
        };
        let size = row.layout.as_ref().map_or(0, Layout::rows);
        if parts + size > MOST_ROWS {
            left_out.srams += 1;
            continue;
        }
        parts += size;
        srams.push(row);
    }
    let (model, error) = match tree.root().text("model") {
        Ok(model) => (model.map(shown), None),
        Err(error) => (None, Some(shown(error))),
    };
    let mut board = Board {
        model,
        error,
        srams,
        consumers: Vec::new(),
        unreadable: Vec::new(),
        resolved: 0,
        left_out,
    };
    References::new(&tree, &registry).find(also, &mut board);
    Ok(board)
}

/// Returns a text that comes from the blob, or may contain such text, fit to be shown.
fn shown(text: impl Display) -> String {
    Plain(text).to_string()
}

/// Returns a board in JSON, on one line.
pub fn json(file: Option<&Path>, board: &Board) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        file: Option<String>,
        #[serde(flatten)]
        board: &'a Board,
    }
    let file = file.map(|file| shown(file.display()));
    serde_json::to_string(&Line { file, board }).expect("texts and numbers have a form in JSON")
}

fn sram_row(node: Node<'_>, error: Option<SramError>) -> SramRow {
    let layout = Sram::read(node);
    let wrong = error.map(|error| shown(Chain(&error)));
    SramRow {
        node: shown(node.path()),
        enabled: is_enabled(node),
        error: wrong.or(layout.as_ref().err().map(shown)),
        layout: layout.ok().map(|sram| Layout {
            range: sram.range.into(),
            write_combining: sram.write_combining,
            partitions: sram
                .partitions
                .into_iter()
                .map(|part| PartitionRow {
                    node: shown(part.node),
                    range: part.range.into(),
                    label: shown(part.label),
                    pool: part.pool,
                    export: part.export,
                    protect_exec: part.protect_exec,
                })
                .collect(),
            disabled: sram.disabled.iter().map(shown).collect(),
            empty: sram.empty.iter().map(shown).collect(),
            gaps: sram.gaps.into_iter().map(Range::from).collect(),
        }),
    }
}

/// Returns the row of a node that may or may not be an SRAM.
fn unknown(error: &TreeError) -> SramRow {
    SramRow {
        node: shown(&error.node),
        enabled: true,
        error: Some(shown(error)),
        layout: None,
    }
}

/// Returns whether a node becomes a device. One whose status cannot be read would, if not for that error.
fn is_enabled(node: Node<'_>) -> bool {
    node.is_enabled().unwrap_or(true)
}

/// Returns whether a property is named like references to on-chip memory. In the bindings, the last word of its name is
/// one of these (2026-11).
fn is_called_so(property: &str) -> bool {
    let word = property.rsplit([',', '-']).next();
    matches!(word, Some("sram" | "srams" | "iram" | "asram" | "shmem"))
        || property == "internal-mem"
}

/// Returns the number of cells from one phandle to the next.
fn stride(property: &str) -> usize {
    match property {
        // A number for the use follows each phandle.
        "allwinner,sram" => 2,
        _ => 1,
    }
}

/// Finds the references to SRAMs and their parts.
struct References<'t> {
    tree: &'t Tree,
    registry: &'t Registry,
    srams: HashSet<Node<'t>>,
    /// Whether the targets found so far have a pool: many references may lead to one.
    has_pool: HashMap<Node<'t>, bool>,
}

impl<'t> References<'t> {
    fn new(tree: &'t Tree, registry: &'t Registry) -> Self {
        Self {
            tree,
            registry,
            srams: Sram::nodes(tree).flatten().collect(),
            has_pool: HashMap::new(),
        }
    }

    /// Adds the references to the board.
    fn find(&mut self, also: &[String], board: &mut Board) {
        for node in self.tree.nodes() {
            for (property, value) in node.properties() {
                if !is_called_so(property) && !also.iter().any(|name| name == property) {
                    continue;
                }
                for index in (0..value.len().div_ceil(4)).step_by(stride(property)) {
                    let complaint = match node.follow(property, index) {
                        Ok(target) => {
                            self.add(node, property, index, target, board);
                            continue;
                        }
                        // A cell need not be a phandle.
                        Err(error) if matches!(error.complaint, Complaint::NoNode { .. }) => {
                            continue;
                        }
                        Err(error) => error,
                    };
                    match board.unreadable.len() < MOST_ROWS {
                        true => board.unreadable.push(shown(&complaint)),
                        false => board.left_out.unreadable += 1,
                    }
                    if matches!(complaint.complaint, Complaint::Length { .. }) {
                        // This error concerns the whole property.
                        break;
                    }
                }
            }
        }
    }

    fn add(
        &mut self,
        node: Node<'t>,
        property: &str,
        index: usize,
        target: Node<'t>,
        board: &mut Board,
    ) {
        if !self.is_memory(target) {
            return;
        }
        board.resolved += usize::from(self.has_pool(node, property, index, target));
        if board.consumers.len() == MOST_ROWS {
            board.left_out.consumers += 1;
            return;
        }
        let found = self.registry.of_gen_pool_get(node, property, index);
        let error = found.as_ref().err().map(shown);
        board.consumers.push(Consumer {
            node: shown(node.path()),
            enabled: is_enabled(node),
            property: shown(property),
            index,
            target: shown(target.path()),
            pool: found.ok().map(|pool| self.pool_name(target, pool.name())),
            error: error.or(node.is_enabled().err().map(shown)),
        });
    }

    fn is_memory(&self, node: Node<'t>) -> bool {
        self.srams.contains(&node)
            || node
                .parent()
                .is_some_and(|parent| self.srams.contains(&parent))
    }

    /// Returns whether a reference to `target`, such as this one, leads to a pool.
    fn has_pool(&mut self, node: Node<'t>, property: &str, index: usize, target: Node<'t>) -> bool {
        *self.has_pool.entry(target).or_insert_with(|| {
            let found = self.registry.of_gen_pool_get(node, property, index);
            found.is_ok()
        })
    }

    fn pool_name(&self, target: Node<'_>, name: Option<&str>) -> PoolName {
        let path = target.path();
        let device = match (self.registry.find(&path), target.parent()) {
            (None, Some(parent)) => parent.path(),
            _ => path,
        };
        PoolName {
            device: shown(device),
            name: name.map(shown),
        }
    }
}
