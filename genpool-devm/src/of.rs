//! From a consumer's node through a phandle to a pool.
//!
//! A partition without a `label` has a pool that is named by the node without the unit address, as the binding says.
//! The kernel looks for it by the full name. [`Registry::of_gen_pool_get`] tries the full name first, then the one
//! that the binding gives.

use thiserror::Error;

use crate::error::GetError;
use crate::path::NodePath;
use crate::pool::ManagedPool;
use crate::registry::Registry;
use crate::sram::label;
use crate::tree::{Node, TreeError};

/// The reason why a phandle does not lead to a pool.
///
/// ```
/// use genpool::devm::{OfError, Registry, Tree};
///
/// let tree = Tree::load("examples/board.dtb")?;
/// let codec = tree.find("/soc/codec@2000").ok_or("no codec")?;
/// let registry = Registry::new(); // nothing has been probed
/// let refused = registry.of_gen_pool_get(codec, "sram", 0).unwrap_err();
/// assert!(matches!(refused, OfError::NoDevice { .. })); // once it is probed
/// let dsp = tree.find("/soc/dsp@3000").ok_or("no DSP")?;
/// let refused = registry.of_gen_pool_get(dsp, "sram", 2).unwrap_err();
/// assert!(matches!(refused, OfError::Disabled { .. })); // never
/// let refused = registry.of_gen_pool_get(codec, "sram", 1).unwrap_err();
/// assert!(matches!(refused, OfError::Tree(_))); // never
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfError {
    /// The property, or the phandle in it, is invalid.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Neither the node that the phandle refers to nor its parent has a registered device: it was not probed yet, its
    /// probe failed, or it was removed.
    #[error("{node}: neither it nor its parent has a device")]
    NoDevice {
        /// The node that the phandle refers to.
        node: NodePath,
    },
    /// The node that the phandle refers to has no pool, and never gets one: its `status`, or that of a node around it,
    /// is neither `okay` nor `ok`.
    #[error("{node}: disabled by the status of {by}")]
    Disabled {
        /// The node that the phandle refers to.
        node: NodePath,
        /// The node with that status.
        by: NodePath,
    },
    /// The device has no such pool.
    #[error(transparent)]
    Get(#[from] GetError),
}

impl Registry {
    /// Returns the pool that the phandle in cell `index` of a node's property refers to.
    ///
    /// If the target node has a device, the result is that device's unnamed pool. Otherwise it is a pool of the
    /// device of the node's parent: the one named by the node's `label`, or without a label the one with the node's
    /// full name. The SRAM binding names the pool of a node without a label by the node's name without the unit
    /// address, so that name is tried last. A label that is not a text is an error.
    ///
    /// ```
    /// use genpool::devm::{Registry, Tree, address_only};
    ///
    /// let tree = Tree::load("examples/board.dtb")?;
    /// let registry = Registry::new();
    /// for (_, probed) in registry.probe_srams(&tree, address_only) {
    ///     probed?;
    /// }
    /// let codec = tree.find("/soc/codec@2000").ok_or("no codec")?;
    /// let pool = registry.of_gen_pool_get(codec, "sram", 0)?;
    /// assert_eq!(pool.alloc(100)?.phys(), Some(0x5c00_1000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OfError`]. [`OfError::NoDevice`] and [`GetError::NotYet`] may change when more devices are probed.
    pub fn of_gen_pool_get(
        &self,
        node: Node<'_>,
        property: &str,
        index: usize,
    ) -> Result<ManagedPool, OfError> {
        let target = node.follow(property, index)?;
        let found = self.pool_of(target);
        if let Err(
            OfError::NoDevice { .. }
            | OfError::Get(GetError::NoPool { .. } | GetError::NotYet { .. }),
        ) = found
            && let Some(by) = target.disabled_by()?
        {
            let (node, by) = (target.path(), by.path());
            return Err(OfError::Disabled { node, by });
        }
        found
    }

    fn pool_of(&self, target: Node<'_>) -> Result<ManagedPool, OfError> {
        if let Some(device) = self.find(&target.path()) {
            return Ok(device.pool(None)?);
        }
        let parent = target.parent().and_then(|parent| self.find(&parent.path()));
        let device = parent.ok_or_else(|| OfError::NoDevice {
            node: target.path(),
        })?;
        if let Some(label) = label(target)? {
            return Ok(device.pool(Some(label))?);
        }
        match device.pool(Some(target.name())) {
            Err(GetError::NoPool { .. } | GetError::NotYet { .. }) => {
                Ok(device.pool(Some(target.base_name()))?)
            }
            answer => Ok(answer?),
        }
    }
}
