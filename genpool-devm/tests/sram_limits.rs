//! Untrusted `mmio-sram` nodes: nodes whose kind cannot be read, and limits on what nodes may ask for.

mod common;

use std::io;

use common::fdt;
use genpool_devm::{LayoutError, Registry, Sram, SramError, Tree, address_only};

/// Nodes of which it is unknown whether they are SRAMs, or become devices, are errors. The others are not affected.
#[test]
fn nodes_that_cannot_be_told_are_errors() {
    let blob = fdt(|fdt| {
        for (name, compatible, status) in [
            ("a@1000", &b"mmio-sram"[..], &b"okay\0"[..]),
            ("b@2000", b"mmio-sram\0", b"okay"),
            ("c@3000", b"mmio-sram\0", b"disabled\0"),
            ("d@4000", b"mmio-sram\0", b"ok\0"),
            ("e@5000", b"", b"ok\0"),
        ] {
            let node = fdt.begin_node(name)?;
            fdt.property("compatible", compatible)?;
            fdt.property("status", status)?;
            fdt.property_array_u32("reg", &[0x1000, 0x1000])?;
            fdt.end_node(node)?;
        }
        let bus = fdt.begin_node("bus")?;
        fdt.property("status", b"maybe")?;
        fdt.property_null("ranges")?;
        let sram = fdt.begin_node("sram@0")?;
        fdt.property_string("compatible", "mmio-sram")?;
        fdt.end_node(sram)?;
        fdt.end_node(bus)
    });
    let tree = Tree::parse(&blob).unwrap();
    let probed = Registry::new().probe_srams(&tree, address_only);
    let probed: Vec<_> = probed
        .into_iter()
        .map(|(node, probed)| {
            (
                node.to_string(),
                probed.err().map(|error| error.to_string()),
            )
        })
        .collect();
    let no_text = |what: &str| {
        Some(format!(
            "{what} is no text: each ends with a NUL, and all are UTF-8"
        ))
    };
    assert_eq!(
        probed,
        [
            ("/a@1000".to_owned(), no_text("/a@1000: compatible")),
            ("/b@2000".to_owned(), no_text("/b@2000: status")),
            ("/d@4000".to_owned(), None),
            ("/bus/sram@0".to_owned(), no_text("/bus: status")),
        ]
    );
    assert_eq!(Sram::nodes(&tree).filter(Result::is_ok).count(), 4);
    // For a child of an SRAM it must be known whether it is reserved.
    let blob = fdt(|fdt| {
        let sram = fdt.begin_node("sram@1000")?;
        fdt.property_array_u32("reg", &[0x1000, 0x1000])?;
        let part = fdt.begin_node("part@0")?;
        fdt.property("status", b"disabled")?;
        fdt.end_node(part)?;
        fdt.end_node(sram)
    });
    let tree = Tree::parse(&blob).unwrap();
    let refused = Sram::read(tree.find("/sram@1000").unwrap()).unwrap_err();
    assert_eq!(refused.node().as_str(), "/sram@1000/part@0");
}

/// As in the kernel.
#[test]
fn a_flag_is_there_whatever_its_value() {
    let blob = fdt(|fdt| {
        let sram = fdt.begin_node("sram@1000")?;
        fdt.property_array_u32("reg", &[0x1000, 0x1000])?;
        fdt.property_u32("#address-cells", 1)?;
        fdt.property_u32("#size-cells", 1)?;
        fdt.property_array_u32("ranges", &[0, 0x1000, 0x1000])?;
        fdt.property_string("no-memory-wc", "no")?;
        let part = fdt.begin_node("part@0")?;
        fdt.property_array_u32("reg", &[0, 0x1000])?;
        fdt.property_u32("pool", 0)?;
        fdt.property("export", b"x")?;
        fdt.property_u32("protect-exec", 0)?;
        fdt.end_node(part)?;
        fdt.end_node(sram)
    });
    let tree = Tree::parse(&blob).unwrap();
    let sram = Sram::read(tree.find("/sram@1000").unwrap()).unwrap();
    let part = &sram.partitions[0];
    assert!(!sram.write_combining && part.pool && part.export && part.protect_exec);
}

/// A blob needs fifty bytes for each part, a pool kilobytes.
#[test]
fn more_parts_than_a_board_has() {
    let many = |srams: u32, children: u32| {
        let blob = fdt(|fdt| {
            for at in 0..srams {
                let sram = fdt.begin_node(&format!("sram@{at:x}"))?;
                fdt.property_string("compatible", "mmio-sram")?;
                fdt.property_array_u32("reg", &[at << 16, 0x1000])?;
                fdt.property_u32("#address-cells", 1)?;
                fdt.property_u32("#size-cells", 1)?;
                fdt.property_null("ranges")?;
                for child in 0..children {
                    let part = fdt.begin_node(&format!("p@{child:x}"))?;
                    fdt.property_array_u32("reg", &[(at << 16) + child, 1])?;
                    fdt.end_node(part)?;
                }
                fdt.end_node(sram)?;
            }
            Ok(())
        });
        let tree = Tree::parse(&blob).unwrap();
        let probed = Registry::new().probe_srams(&tree, address_only);
        probed
            .into_iter()
            .map(|(_, probed)| probed.err().map(|error| error.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(many(1, 1024), [None]);
    assert_eq!(
        many(1, 1025),
        [Some("/sram@0: more than 1024 children".to_owned())]
    );
    // Nodes count without children too.
    let probed = many(4097, 0);
    assert_eq!(probed.len(), 4097);
    assert!(probed[..4096].iter().all(Option::is_none));
    assert!(probed[4096].is_some());
    // Eight SRAMs with their children reach the limit of a tree. The ninth ends the list.
    let probed = many(20, 511);
    assert_eq!(probed.len(), 9);
    assert!(probed[..8].iter().all(Option::is_none));
    assert_eq!(
        probed[8].as_deref(),
        Some("/sram@8: with it, the SRAMs of the tree are larger or more than a board has them")
    );
}

/// The bookkeeping for a tree is bounded, however much memory its nodes claim.
#[test]
fn more_memory_than_a_board_has() {
    let blob = fdt(|fdt| {
        for (at, size) in [
            0x400_0001, 0x400_0000, 0x400_0000, 0x400_0000, 0x400_0000, 1,
        ]
        .into_iter()
        .enumerate()
        {
            let sram = fdt.begin_node(&format!("sram@{at}"))?;
            fdt.property_string("compatible", "mmio-sram")?;
            fdt.property_array_u32("reg", &[0x1000_0000 * at as u32, size])?;
            fdt.end_node(sram)?;
        }
        Ok(())
    });
    let tree = Tree::parse(&blob).unwrap();
    let errors: Vec<_> = Registry::new()
        .probe_srams(&tree, |_| Err(io::Error::other("no such window")))
        .into_iter()
        .map(|(_, probed)| probed.unwrap_err())
        .collect();
    assert!(matches!(
        errors[0],
        SramError::Layout(LayoutError::TooLarge { .. })
    ));
    assert!(
        errors[1..5]
            .iter()
            .all(|error| matches!(error, SramError::Map { .. }))
    );
    assert_eq!(
        errors[5].to_string(),
        "/sram@5: with it, the SRAMs of the tree are larger or more than a board has them"
    );
}
