//! From an SRAM's node to a device with pools.

use std::any::Any;
use std::io;
use std::sync::Arc;

use genpool_core::{ChunkSpec, FirstPanic, Pool};
use thiserror::Error;

use super::{LARGEST_TOGETHER, LayoutError, MOST_CHILDREN, MOST_TOGETHER, ORDER, Partition, Sram};
use crate::device::Device;
use crate::error::{AddChunkError, CreateError, Rejected};
use crate::path::NodePath;
use crate::pool::ManagedPool;
use crate::registry::{RegisterError, Registry};
use crate::tree::{Node, PhysRange, Tree};

/// A request to map an SRAM, as [`Registry::probe_srams`] makes it.
///
/// ```
/// use std::io;
///
/// use genpool::devm::{MapRequest, Mapped, Registry, Tree};
///
/// /// Maps nothing, but prints the request.
/// fn print(request: &MapRequest<'_>) -> io::Result<Mapped> {
///     println!("{}: {}, write-combining: {}", request.node, request.range, request.write_combining);
///     let start = usize::try_from(request.range.start()).map_err(io::Error::other)?;
///     Ok(Mapped::new(start, ()))
/// }
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let registry = Registry::new();
/// for (_, probed) in registry.probe_srams(&tree, print) {
///     probed?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MapRequest<'a> {
    /// The SRAM's node.
    pub node: &'a NodePath,
    /// Its physical addresses, which need not begin or end at a page boundary.
    pub range: PhysRange,
    /// Whether to map it write-combining.
    pub write_combining: bool,
}

/// Memory that is mapped.
///
/// ```
/// use genpool::devm::Mapped;
///
/// /// A mapping that is removed when it is dropped.
/// struct Mapping(Vec<u8>);
///
/// let mapping = Mapping(vec![0; 4096]);
/// let mapped = Mapped::new(mapping.0.as_ptr().addr(), mapping);
/// ```
pub struct Mapped {
    start: usize,
    mapping: Box<dyn Any + Send>,
}

impl Mapped {
    /// The range begins at the virtual address `start` and stays there until `mapping` is dropped, which happens
    /// after the last allocation in it.
    pub fn new(start: usize, mapping: impl Any + Send) -> Self {
        Self {
            start,
            mapping: Box::new(mapping),
        }
    }
}

/// Maps nothing: addresses are the physical ones. Meant for planning and tests.
///
/// ```
/// use genpool::devm::{Registry, Tree, address_only};
///
/// let registry = Registry::new();
/// let tree = Tree::load("examples/board.dtb")?;
/// for (node, probed) in registry.probe_srams(&tree, address_only) {
///     println!("{node}: {} pools", probed?.pools().len());
/// }
/// let buffer = registry.pool("/soc/sram@0", Some("dsp"))?.alloc_owned(100)?;
/// assert_eq!(buffer.phys(), u64::try_from(buffer.addr()).ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the range is beyond this machine's addresses.
pub fn address_only(request: &MapRequest<'_>) -> io::Result<Mapped> {
    match usize::try_from(request.range.last()) {
        Ok(_) => Ok(Mapped::new(request.range.start() as usize, ())),
        Err(_) => Err(io::Error::other(
            "the range is beyond this machine's addresses",
        )),
    }
}

/// The reason why an SRAM did not become a device.
///
/// ```
/// use std::error::Error;
/// use std::io;
///
/// use genpool::devm::{Registry, SramError, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let probed = Registry::new().probe_srams(&tree, |_| Err(io::ErrorKind::PermissionDenied.into()));
/// for (node, probed) in probed {
///     let refused = probed.err().ok_or("it was mapped")?;
///     println!("{refused}: {:?}", refused.source());
///     assert!(matches!(refused, SramError::Map { node: at, .. } if at == node));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SramError {
    /// The node is invalid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// With this SRAM, the SRAMs of the tree would be larger or have more parts than those of any board.
    #[error("{node}: with it, the SRAMs of the tree are larger or more than a board has them")]
    TooMuch {
        /// The SRAM's node.
        node: NodePath,
    },
    /// The SRAM could not be mapped.
    #[error("{node}: cannot be mapped")]
    Map {
        /// The SRAM's node.
        node: NodePath,
        /// The reason.
        source: io::Error,
    },
    /// A pool was refused: two of the partitions have the same label.
    #[error("{node}: its pool was refused")]
    Create {
        /// The node whose pool was refused.
        node: NodePath,
        /// The reason.
        source: CreateError,
    },
    /// A range was refused by its pool.
    #[error("{node}: its range was refused")]
    Add {
        /// The node of the range.
        node: NodePath,
        /// The reason.
        source: AddChunkError,
    },
    /// The registry already has a device for the node.
    #[error("{node}: it has a device already")]
    Occupied {
        /// The SRAM's node.
        node: NodePath,
    },
    /// The device was released while it was probed.
    #[error("{node}: the device was released while it was probed")]
    Gone {
        /// The SRAM's node.
        node: NodePath,
    },
}

impl Registry {
    /// Makes a device of every enabled SRAM of a tree: see [`probe_sram`](Self::probe_sram). An invalid SRAM does not
    /// stop the others, and neither does a node of which it is unknown whether it is an enabled SRAM. SRAMs past a
    /// total of 256 MiB, or past a total of 4,096 SRAMs and children, are refused. The first refusal because of their
    /// number ends the list.
    ///
    /// `map` maps the memory of an SRAM: [`address_only`] maps nothing, `uio_memory` (with the feature `dma`) maps
    /// through UIO, and a closure around `genpool::dma::source::physical_memory` maps through `/dev/mem`.
    ///
    /// # After the last allocation
    ///
    /// What `map` returned as the mapping lies under the pools: it is dropped after the last allocation was given back.
    /// An action that is added to the device by [`Device::on_release`] lies above the pools, so it runs as soon as the
    /// device ends. To run something after the last allocation, put it into the drop of the mapping, or give it to
    /// [`Released::on_complete`](crate::Released::on_complete).
    ///
    /// ```
    /// use genpool::devm::{Mapped, Registry, Tree};
    ///
    /// /// Powers the SRAM off when it is dropped.
    /// struct Power;
    ///
    /// impl Drop for Power {
    ///     fn drop(&mut self) {
    ///         println!("the SRAM is off");
    ///     }
    /// }
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let registry = Registry::new();
    /// // Memory that the firmware has already mapped, from this address on.
    /// let base = 0x1000_0000_0000;
    /// let probed = registry.probe_srams(&tree, |request| {
    ///     let phys = usize::try_from(request.range.start()).map_err(std::io::Error::other)?;
    ///     Ok(Mapped::new(base + phys, Power))
    /// });
    /// for (_, device) in probed {
    ///     device?;
    /// }
    /// let held = registry.pool("/soc/sram@0", Some("dsp"))?.alloc_owned(1)?;
    /// assert_eq!(held.addr(), 0x1000_5c00_4000);
    /// let released = registry.remove("/soc/sram@0")?;
    /// released.on_complete(|| println!("and nothing is left of its device"));
    /// drop(held); // prints both
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// ```
    /// use genpool::devm::{Registry, Tree, address_only};
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let registry = Registry::new();
    /// let probed = registry.probe_srams(&tree, address_only);
    /// let nodes: Vec<String> = probed.iter().map(|(node, _)| node.to_string()).collect();
    /// assert_eq!(nodes, ["/soc/sram@0", "/soc/sram@40000000"]); // those that are enabled
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn probe_srams(
        &self,
        tree: &Tree,
        mut map: impl FnMut(&MapRequest<'_>) -> io::Result<Mapped>,
    ) -> Vec<(NodePath, Result<Arc<Device>, SramError>)> {
        let mut left = LARGEST_TOGETHER;
        let mut probe = |node: Node<'_>| {
            let sram = Sram::read(node)?;
            left = left
                .checked_sub(sram.range.size())
                .ok_or_else(|| SramError::TooMuch { node: node.path() })?;
            self.probe_sram(&sram, &mut map)
        };
        let mut nodes_left = MOST_TOGETHER;
        let mut all = Vec::new();
        for found in Sram::nodes(tree) {
            let (path, children) = match &found {
                Ok(node) => (node.path(), node.child_count()),
                Err(error) => (error.node.clone(), 0),
            };
            let enabled = match found.and_then(|node| Ok((node, node.is_enabled()?))) {
                Ok((_, false)) => continue,
                Ok((node, true)) => Ok(node),
                Err(error) => Err(LayoutError::from(error).into()),
            };
            // An SRAM with more children is refused before they are read.
            let children = Some(children).filter(|&children| children <= MOST_CHILDREN);
            let Some(left) = nodes_left.checked_sub(1 + children.unwrap_or(0)) else {
                let node = path.clone();
                all.push((path, Err(SramError::TooMuch { node })));
                break;
            };
            nodes_left = left;
            all.push((path, enabled.and_then(&mut probe)));
        }
        all
    }

    /// Makes a device of an SRAM. The SRAM is mapped, and its pools are created over the mapping, which is released
    /// after them: see [`probe_srams`](Self::probe_srams). The device is named by the node's path. All its pools track
    /// boundaries, and the owner of each chunk is the path of its node, as a `String`.
    ///
    /// If a range does not begin or end at a multiple of 32, the rest of that granule is left out.
    ///
    /// ```
    /// use genpool::devm::{Registry, Sram, Tree, address_only};
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let node = tree.find("/soc/sram@0").ok_or("no SRAM")?;
    /// let registry = Registry::new();
    /// let device = registry.probe_sram(&Sram::read(node)?, address_only)?;
    /// assert_eq!(device.name(), "/soc/sram@0");
    /// assert_eq!(device.pool(Some("dsp"))?.size(), 0x1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SramError`], which names the node.
    pub fn probe_sram(
        &self,
        sram: &Sram,
        map: impl FnOnce(&MapRequest<'_>) -> io::Result<Mapped>,
    ) -> Result<Arc<Device>, SramError> {
        let node = || sram.node.clone();
        let device = Device::new(sram.node.as_str()).at(node());
        let probed = self.probe(device, |device| Probe { sram, device }.run(map));
        probed.map_err(|error| match error {
            RegisterError::Occupied { .. } => SramError::Occupied { node: node() },
            RegisterError::Probe { error, released } => {
                // Other threads may have allocated while it was probed.
                if let Some(released) = released {
                    let mut panics = FirstPanic::default();
                    released.report(sram.node.as_str(), &mut panics);
                    panics.resume();
                }
                error
            }
        })
    }
}

struct Probe<'a> {
    sram: &'a Sram,
    device: &'a Device,
}

impl Probe<'_> {
    fn run(
        &self,
        map: impl FnOnce(&MapRequest<'_>) -> io::Result<Mapped>,
    ) -> Result<(), SramError> {
        let sram = self.sram;
        let node = || sram.node.clone();
        let request = MapRequest {
            node: &sram.node,
            range: sram.range,
            write_combining: sram.write_combining,
        };
        let mapped = map(&request).map_err(|source| SramError::Map {
            node: node(),
            source,
        })?;
        let start = mapped.start;
        let end = usize::try_from(sram.range.size() - 1).ok();
        if end.and_then(|more| start.checked_add(more)).is_none() {
            return Err(SramError::Map {
                node: node(),
                source: io::Error::other("it was mapped beyond the last address"),
            });
        }
        self.device
            .manage(mapped.mapping)
            .map_err(|Rejected { .. }| SramError::Gone { node: node() })?;

        let unnamed = self.pool(None)?;
        for &gap in &sram.gaps {
            self.add(&unnamed, &sram.node, gap, start)?;
        }
        for partition in sram.partitions.iter().filter(|part| part.is_pool()) {
            let pool = self.pool(Some(partition))?;
            self.add(&pool, &partition.node, partition.range, start)?;
        }
        Ok(())
    }

    fn pool(&self, of: Option<&Partition>) -> Result<ManagedPool, SramError> {
        let mut builder = Pool::builder().order(ORDER).boundary_tracking();
        if let Some(partition) = of {
            builder = builder.name(&partition.label);
        }
        let node = of.map_or(&self.sram.node, |partition| &partition.node);
        self.device
            .create_pool(builder)
            .map_err(|source| SramError::Create {
                node: node.clone(),
                source,
            })
    }

    /// Adds the whole granules of a range. `start` is the virtual address of the SRAM.
    fn add(
        &self,
        pool: &ManagedPool,
        node: &NodePath,
        range: PhysRange,
        start: usize,
    ) -> Result<(), SramError> {
        let sram = self.sram.range;
        // Granules are those of the mapping. No overflow: all of the mapping has addresses.
        let virt = start as u64 + (range.start() - sram.start());
        let whole = PhysRange::new(virt, range.size()).and_then(|all| all.whole_granules(ORDER));
        let Some(whole) = whole else {
            return Ok(());
        };
        let phys = range.start() + (whole.start() - virt);
        let chunk = ChunkSpec::new(whole.start() as usize, whole.size() as usize)
            .phys(phys)
            .owner(node.to_string());
        pool.add_chunk(chunk).map_err(|source| SramError::Add {
            node: node.clone(),
            source,
        })
    }
}
