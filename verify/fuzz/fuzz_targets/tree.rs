//! Device trees: every blob gives a tree or an error, and so does everything made from the tree.

#![no_main]

use genpool_devm::Tree;
use genpool_fuzz::is_planted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|blob: &[u8]| {
    genpool_devm::fuzz::tree(blob);
    if is_planted() {
        // The control: as if no tree had an SRAM.
        let tree = Tree::parse(blob);
        let is_sram =
            |node: genpool_devm::Node<'_>| genpool_devm::Sram::is_described_by(node) == Ok(true);
        assert!(!tree.is_ok_and(|tree| tree.nodes().any(is_sram)));
    }
});
