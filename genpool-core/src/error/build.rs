//! Errors of building a pool.

use thiserror::Error;

use super::chunk::AddRefused;
#[cfg(feature = "alloc")]
use crate::memory::NodeError;

/// Why a pool was not built.
///
/// ```
/// use genpool::{BuildError, Pool};
///
/// let refused = Pool::new(64).unwrap_err();
/// assert_eq!(refused, BuildError::Order { order: 64 });
/// assert_eq!(refused.to_string(), "order 64: a granule is 1 << order bytes, with order at most 63");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The order is above 63, or above what an address of this machine can hold.
    #[error("order {order}: a granule is 1 << order bytes, with order at most {}", usize::BITS - 1)]
    Order {
        /// The requested order.
        order: u32,
    },
    /// The machine has no such NUMA node, or it has no memory.
    #[error("NUMA node {node} does not exist or has no memory")]
    UnknownNode {
        /// The requested node.
        node: u32,
    },
    /// This system has no way to place memory on a node.
    #[error("NUMA node {node}: this system cannot place memory on a node")]
    NodeUnsupported {
        /// The requested node.
        node: u32,
    },
    /// The system refused to place memory on the node, as a sandbox may.
    #[error("NUMA node {node}: the system refused mbind (error {errno})")]
    NodeRefused {
        /// The requested node.
        node: u32,
        /// The system's error number.
        errno: i32,
    },
    /// No address space was left for memory on the node.
    #[error("NUMA node {node}: no address space is left for {bytes:#x} bytes")]
    NodeMemory {
        /// The requested node.
        node: u32,
        /// The number of bytes requested.
        bytes: usize,
    },
    /// The chunk of a [`StaticPool`](crate::StaticPool) breaks a rule.
    #[error("the chunk: {0}")]
    Chunk(AddRefused),
    /// The bookkeeping of a [`StaticPool`](crate::StaticPool) has the sizes of another pool.
    #[error("the bookkeeping does not have the sizes of a pool of {granules} granules")]
    Books {
        /// The number of granules that it was made for.
        granules: usize,
    },
}

impl BuildError {
    /// Returns the reason why memory could not be placed on `node`.
    #[cfg(feature = "alloc")]
    pub(crate) fn of_node(node: u32, error: NodeError) -> Self {
        match error {
            NodeError::Unknown => Self::UnknownNode { node },
            NodeError::NoMemory { bytes } => Self::NodeMemory { node, bytes },
            NodeError::Unsupported => Self::NodeUnsupported { node },
            NodeError::Refused { errno } => Self::NodeRefused { node, errno },
        }
    }
}
