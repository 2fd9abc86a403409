//! Helpers of several test programs.

#![allow(dead_code, reason = "no program needs all of it")]

use genpool_devm::{Registry, Tree, address_only};
use vm_fdt::FdtWriter;

/// `examples/board.dts`, compiled by `dtc`.
pub(crate) const BOARD: &[u8] = include_bytes!("../../examples/board.dtb");

pub(crate) fn board() -> Tree {
    Tree::parse(BOARD).unwrap()
}

/// A registry with the SRAMs of the board.
pub(crate) fn probed() -> (Tree, Registry) {
    let (tree, registry) = (board(), Registry::new());
    for (node, device) in registry.probe_srams(&tree, address_only) {
        device.unwrap_or_else(|error| panic!("{node}: {error}"));
    }
    (tree, registry)
}

/// A blob whose root has one cell for addresses and one for sizes, and the content that `fill` writes.
pub(crate) fn fdt(fill: impl FnOnce(&mut FdtWriter) -> vm_fdt::FdtWriterResult<()>) -> Vec<u8> {
    let mut fdt = FdtWriter::new().unwrap();
    let root = fdt.begin_node("").unwrap();
    fdt.property_u32("#address-cells", 1).unwrap();
    fdt.property_u32("#size-cells", 1).unwrap();
    fill(&mut fdt).unwrap();
    fdt.end_node(root).unwrap();
    fdt.finish().unwrap()
}
