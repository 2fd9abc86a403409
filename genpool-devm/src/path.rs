//! The full path of a node.
//!
//! A node is known by its path only, so a [`Registry`](crate::Registry) does not depend on a tree and may outlive it.

use std::fmt;
use std::sync::Arc;

/// The full path of a node of a device tree, such as `/soc/sram@5c000000`; `/` is the root.
///
/// ```
/// use genpool::devm::NodePath;
///
/// let node = NodePath::new("/soc/sram@5c000000");
/// assert_eq!(node.as_str(), "/soc/sram@5c000000");
/// assert_eq!(node.to_string(), node.as_str());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePath(Arc<str>);

impl NodePath {
    /// Makes a path from its text.
    pub fn new(path: impl Into<Arc<str>>) -> Self {
        Self(path.into())
    }

    pub(crate) fn root() -> Self {
        Self::new("/")
    }

    /// Returns the path of the node that is reached from the root by these names.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let path: String = names.into_iter().flat_map(|name| ["/", name]).collect();
        match path.is_empty() {
            true => Self::root(),
            false => Self::new(path),
        }
    }

    /// Returns the path as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
