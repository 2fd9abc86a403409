//! `genpool dt`: what pools a board has, by its device tree.

pub mod text;

use std::path::Path;

use genpool::devm::{AddressOnly, LoadError, Node, PhysRange, Registry, Sram, SramError, Tree};
use serde::Serialize;

/// The pools of a board and who uses them.
#[derive(Debug, Serialize)]
pub struct Board {
    /// What the board calls itself.
    pub model: Option<String>,
    /// Its SRAMs, in the order of the tree.
    pub srams: Vec<SramRow>,
    /// Who refers to them, in the order of the tree.
    pub consumers: Vec<Consumer>,
}

/// A node that describes an SRAM.
#[derive(Debug, Serialize)]
pub struct SramRow {
    /// Its full path.
    pub node: String,
    /// Whether it becomes a device: it and all that it is in are available.
    pub enabled: bool,
    /// Why it does not, although it is enabled, or what is wrong with one that is not.
    pub error: Option<String>,
    /// What it says, if that makes sense.
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
    /// What its children reserve, by address.
    pub partitions: Vec<PartitionRow>,
    /// Children that are not available.
    pub disabled: Vec<String>,
    /// Children of no bytes.
    pub empty: Vec<String>,
    /// The unnamed pool, by address.
    pub gaps: Vec<Range>,
}

/// A reserved part.
#[derive(Debug, Serialize)]
pub struct PartitionRow {
    /// Its node's full path.
    pub node: String,
    /// The name of its pool, were it one.
    pub label: String,
    /// Its addresses.
    #[serde(flatten)]
    pub range: Range,
    /// Marked `pool`.
    pub pool: bool,
    /// Marked `export`.
    pub export: bool,
    /// Marked `protect-exec`.
    pub protect_exec: bool,
}

/// Physical addresses.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// Bytes.
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

/// A phandle that means an SRAM or a part of one.
#[derive(Debug, Serialize)]
pub struct Consumer {
    /// The full path of the node that has it.
    pub node: String,
    /// Whether that becomes a device.
    pub enabled: bool,
    /// The property that it stands in.
    pub property: String,
    /// The cell of the property.
    pub index: usize,
    /// The full path of the node that is meant.
    pub target: String,
    /// The pool that a driver gets through it.
    pub pool: Option<PoolName>,
    /// Why it gets none.
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

/// Reads the blob at `path`, or the one that this system runs with, and looks around in it. References
/// are found in properties that are called as such properties are, and in those named `also`.
///
/// # Errors
///
/// [`LoadError`] when there is no tree to look around in.
pub fn survey(path: Option<&Path>, also: &[String]) -> Result<Board, LoadError> {
    let tree = match path {
        Some(path) => Tree::load(path)?,
        None => Tree::running()?,
    };
    let registry = Registry::new();
    let mut probed = registry.probe_srams(&tree, &AddressOnly).into_iter();
    let srams = Sram::nodes(&tree).map(|node| {
        // Those that are enabled were probed, in the same order.
        let outcome = node.is_enabled().then(|| probed.next()).flatten();
        sram_row(node, outcome.and_then(|(_, device)| device.err()))
    });
    Ok(Board {
        model: tree.root().text("model").map(str::to_owned),
        srams: srams.collect(),
        consumers: consumers(&tree, &registry, also),
    })
}

/// A board in JSON, on one line.
pub fn json(file: Option<&str>, board: &Board) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        file: Option<&'a str>,
        #[serde(flatten)]
        board: &'a Board,
    }
    serde_json::to_string(&Line { file, board }).expect("texts and numbers have a form in JSON")
}

fn sram_row(node: Node<'_>, error: Option<SramError>) -> SramRow {
    let layout = Sram::read(node);
    let wrong = error.map(|error| error.to_string());
    SramRow {
        node: node.path().to_string(),
        enabled: node.is_enabled(),
        error: wrong.or(layout.as_ref().err().map(ToString::to_string)),
        layout: layout.ok().map(|sram| Layout {
            range: sram.range.into(),
            write_combining: sram.write_combining,
            partitions: sram
                .partitions
                .into_iter()
                .map(|part| PartitionRow {
                    node: part.node.to_string(),
                    range: part.range.into(),
                    label: part.label,
                    pool: part.pool,
                    export: part.export,
                    protect_exec: part.protect_exec,
                })
                .collect(),
            disabled: sram.disabled.iter().map(ToString::to_string).collect(),
            empty: sram.empty.iter().map(ToString::to_string).collect(),
            gaps: sram.gaps.into_iter().map(Range::from).collect(),
        }),
    }
}

/// Whether references to on-chip memory are called so: by the bindings, the last word of the
/// property's name is one of these (2026-11).
fn is_called_so(property: &str) -> bool {
    let word = property.rsplit([',', '-']).next();
    matches!(word, Some("sram" | "srams" | "iram" | "asram" | "shmem"))
        || property == "internal-mem"
}

/// Cells from one phandle to the next.
fn stride(property: &str) -> usize {
    match property {
        // Each phandle is followed by the number of a use.
        "allwinner,sram" => 2,
        _ => 1,
    }
}

fn consumers(tree: &Tree, registry: &Registry, also: &[String]) -> Vec<Consumer> {
    let is_memory = |node: Node<'_>| {
        Sram::is_described_by(node) || node.parent().is_some_and(Sram::is_described_by)
    };
    let mut all = Vec::new();
    for node in tree.nodes() {
        for (property, value) in node.properties() {
            if !is_called_so(property) && !also.iter().any(|name| name == property) {
                continue;
            }
            for index in (0..value.len() / 4).step_by(stride(property)) {
                let Some(target) = node
                    .follow(property, index)
                    .ok()
                    .filter(|&node| is_memory(node))
                else {
                    continue;
                };
                let found = registry.of_gen_pool_get(node, property, index);
                let (pool, error) = match found {
                    Ok(pool) => (Some(pool_name(registry, target, pool.name())), None),
                    Err(error) => (None, Some(error.to_string())),
                };
                all.push(Consumer {
                    node: node.path().to_string(),
                    enabled: node.is_enabled(),
                    property: property.to_owned(),
                    index,
                    target: target.path().to_string(),
                    pool,
                    error,
                });
            }
        }
    }
    all
}

fn pool_name(registry: &Registry, target: Node<'_>, name: Option<&str>) -> PoolName {
    let path = target.path();
    let device = match (registry.find(&path), target.parent()) {
        (None, Some(parent)) => parent.path(),
        _ => path,
    };
    PoolName {
        device: device.to_string(),
        name: name.map(str::to_owned),
    }
}
