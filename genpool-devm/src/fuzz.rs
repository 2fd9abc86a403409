//! For fuzzers: all code that an untrusted blob reaches.

use crate::registry::Registry;
use crate::sram::{Sram, address_only};
use crate::tree::Tree;

/// Parses `blob`, probes its SRAMs, and follows cells of every property. None of this may panic.
///
/// # Panics
///
/// If one of these steps does, or if a node is not found by its own path.
pub fn tree(blob: &[u8]) {
    let Ok(tree) = Tree::parse(blob) else {
        return;
    };
    let registry = Registry::new();
    for (node, device) in registry.probe_srams(&tree, address_only) {
        assert_eq!(device.is_ok(), registry.find(&node).is_some());
    }
    for node in tree.nodes() {
        let path = node.path();
        assert_eq!(tree.find(path.as_str()).map(|node| node.path()), Some(path));
        drop((
            node.range(),
            node.is_enabled(),
            node.text("label"),
            Sram::read(node),
        ));
        for (property, value) in node.properties() {
            // A few are enough: all cells take the same path.
            for index in 0..value.len().div_ceil(4).min(4) {
                drop(registry.of_gen_pool_get(node, property, index));
            }
        }
    }
}
