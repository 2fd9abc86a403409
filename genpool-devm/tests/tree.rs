//! `Tree`: its nodes, their properties and addresses, and the errors of those that cannot be read.

mod common;

use std::error::Error;
use std::io::ErrorKind;
use std::process::Command;

use common::{BOARD, board, fdt};
use genpool_devm::{BlobFault, Complaint, LoadError, NodePath, PhysRange, Tree, TreeError};

#[test]
fn nodes_and_properties() {
    let tree = board();
    let sram = tree.find("/soc/sram@0").unwrap();
    assert_eq!((sram.name(), sram.base_name()), ("sram@0", "sram"));
    assert_eq!(sram.path(), NodePath::new("/soc/sram@0"));
    assert_eq!(tree.root().path().as_str(), "/");
    assert!(tree.find("/soc/sram").is_none() && tree.find("soc").is_none());
    assert_eq!(tree.find("/").unwrap().path(), tree.root().path());
    let compatible: Vec<_> = sram.texts("compatible").unwrap().collect();
    assert_eq!(compatible, ["genpool,tcm", "mmio-sram"]);
    assert_eq!(sram.is_compatible("mmio-sram"), Ok(true));
    assert_eq!(sram.is_compatible("mmio"), Ok(false));
    assert_eq!(sram.children().count(), 6);
    let by_phandle = tree.by_phandle(sram.phandle().unwrap()).unwrap();
    assert_eq!(by_phandle.path(), sram.path());
    let enabled = |path: &str| {
        let node = tree.find(path).unwrap();
        (node.is_available().unwrap(), node.is_enabled().unwrap())
    };
    assert_eq!(enabled("/soc/sram@0"), (true, true));
    assert_eq!(enabled("/soc/sram@80000"), (false, false));
    assert_eq!(enabled("/soc/bus@90000/sram@90000"), (true, false));
}

/// Only checked where `dtc` is installed.
#[test]
fn the_blob_is_that_of_its_source() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/board.dts");
    let compiler = Command::new("dtc")
        .args(["-q", "-I", "dts", "-O", "dtb", source])
        .output();
    match compiler {
        Ok(output) => assert!(output.stdout == BOARD, "compile board.dts again"),
        Err(_) => println!("there is no dtc here"),
    }
}

#[test]
fn addresses_are_translated() {
    let tree = board();
    let range = |path: &str| {
        let range = tree.find(path).unwrap().range().unwrap();
        (range.start(), range.size())
    };
    assert_eq!(range("/soc/sram@0"), (0x5c00_0000, 0x4_0000));
    assert_eq!(range("/soc/sram@0/codec-sram@1000"), (0x5c00_1000, 0x1000));
    assert_eq!(range("/soc/sram@40000000"), (0x1_0000_0000, 0x2000));
    assert_eq!(range("/soc/bus@90000/sram@90000"), (0x5c09_0000, 0x1000));
}

#[test]
fn addresses_that_make_no_sense() {
    let complaint = |cells: [u32; 3], ranges: Option<&[u32]>, reg: &[u32]| {
        let blob = fdt(|fdt| {
            let bus = fdt.begin_node("bus")?;
            fdt.property_u32("#address-cells", cells[0])?;
            fdt.property_u32("#size-cells", cells[1])?;
            if let Some(ranges) = ranges {
                fdt.property_array_u32("ranges", ranges)?;
            }
            let node = fdt.begin_node("sram@0")?;
            fdt.property_array_u32("reg", reg)?;
            fdt.end_node(node)?;
            fdt.end_node(bus)
        });
        let tree = Tree::parse(&blob).unwrap();
        let error = tree.find("/bus/sram@0").unwrap().range().unwrap_err();
        (error.node.to_string(), error.complaint)
    };
    let identity: Option<&[u32]> = Some(&[]);
    let (node, what) = complaint([1, 1, 0], identity, &[0, 0]);
    assert_eq!(
        (node.as_str(), what),
        ("/bus/sram@0", Complaint::Empty { start: 0 })
    );
    let (_, what) = complaint([1, 1, 0], identity, &[0, 1, 2]);
    assert!(matches!(what, Complaint::Length { len: 12, .. }));
    let (_, what) = complaint([1, 1, 0], identity, &[]);
    assert!(matches!(what, Complaint::NoCell { index: 0, .. }));
    let (_, what) = complaint([0, 0, 0], identity, &[1]);
    assert!(matches!(what, Complaint::Length { .. }));
    let (node, what) = complaint([9, 1, 0], identity, &[0]);
    assert_eq!(node, "/bus");
    assert!(matches!(what, Complaint::Cells { cells: 9, .. }));
    let (_, what) = complaint([2, 2, 0], identity, &[!0, !0, 0, 2]);
    assert!(matches!(what, Complaint::Beyond { .. }));
    let (_, what) = complaint([4, 4, 0], identity, &[!0; 8]);
    assert!(matches!(what, Complaint::Beyond { .. }));
    // Without `ranges`, the bus is not mapped. Further, a window that is too small, and one that is cut off.
    let (node, what) = complaint([1, 1, 0], None, &[0, 8]);
    assert_eq!(node, "/bus/sram@0");
    assert!(matches!(what, Complaint::Unmapped { .. }));
    let (_, what) = complaint([1, 1, 0], Some(&[0, 0x100, 7]), &[0, 8]);
    assert!(matches!(what, Complaint::Unmapped { .. }));
    let (_, what) = complaint([1, 1, 0], Some(&[0, 0, 7, 0]), &[0, 8]);
    assert!(matches!(what, Complaint::Length { .. }));
}

#[test]
fn a_status_is_no_longer_than_that_of_any_board() {
    let is_enabled = |len: usize| {
        let mut status = vec![b'a'; len];
        status[..5].copy_from_slice(b"okay\0");
        status[len - 1] = 0;
        let blob = fdt(|fdt| {
            let bus = fdt.begin_node("bus")?;
            fdt.property("status", &status)?;
            let node = fdt.begin_node("sram@0")?;
            fdt.end_node(node)?;
            fdt.end_node(bus)
        });
        let tree = Tree::parse(&blob).unwrap();
        let enabled = tree.find("/bus/sram@0").unwrap().is_enabled();
        enabled.map_err(|error| error.to_string())
    };
    assert_eq!(is_enabled(255), Ok(true));
    let refused = Err("/bus: status is longer than 255 bytes".to_owned());
    assert_eq!(is_enabled(256), refused);
}

/// The last window within the limit, and one more, on one bus and on two together.
#[test]
fn windows_of_all_buses_together_are_bounded() {
    let windows = |count: usize| {
        let mut windows = [0, 0x100, 7].repeat(count - 1);
        windows.extend([0, 0, 0x100]);
        windows
    };
    let range = |outer: usize, inner: usize| {
        let blob = fdt(|fdt| {
            let mut buses = Vec::new();
            for count in [outer, inner] {
                buses.push(fdt.begin_node("bus")?);
                fdt.property_u32("#address-cells", 1)?;
                fdt.property_u32("#size-cells", 1)?;
                fdt.property_array_u32("ranges", &windows(count))?;
            }
            let node = fdt.begin_node("sram@0")?;
            fdt.property_array_u32("reg", &[0, 8])?;
            fdt.end_node(node)?;
            while let Some(bus) = buses.pop() {
                fdt.end_node(bus)?;
            }
            Ok(())
        });
        let tree = Tree::parse(&blob).unwrap();
        let range = tree.find("/bus/bus/sram@0").unwrap().range();
        range
            .map(PhysRange::start)
            .map_err(|error| error.to_string())
    };
    let too_long = |node: &str| {
        let most = "ranges is longer than 256 windows, with those of the buses inside it";
        Err(format!("{node}: {most}"))
    };
    assert_eq!(range(1, 255), Ok(0));
    assert_eq!(range(255, 1), Ok(0));
    assert_eq!(range(1, 256), too_long("/bus"));
    assert_eq!(range(128, 129), too_long("/bus"));
    assert_eq!(range(1, 257), too_long("/bus/bus"));
}

/// A property that exists and cannot be read is an error that names the node and the property. It is never missing.
#[test]
fn properties_that_cannot_be_read() {
    let tree = |property: &str, value: &[u8]| {
        let blob = fdt(|fdt| {
            let bus = fdt.begin_node("bus")?;
            fdt.property(property, value)?;
            let node = fdt.begin_node("node@0")?;
            fdt.property_array_u32("reg", &[0, 0, 8])?;
            fdt.end_node(node)?;
            fdt.end_node(bus)
        });
        Tree::parse(&blob).map_err(|error| error.to_string())
    };
    let bad_texts: [&[u8]; 4] = [b"okay", b"\xff\xfe\0", b"okay\0ok", b"okay\0\xff\0"];
    for value in bad_texts {
        let tree = tree("status", value).unwrap();
        let bus = tree.find("/bus").unwrap();
        let says = "/bus: status is no text: each ends with a NUL, and all are UTF-8";
        let error = |answer: Result<bool, TreeError>| answer.unwrap_err().to_string();
        assert_eq!(error(bus.is_available()), says);
        // The error is that of the node around it.
        let inner = tree.find("/bus/node@0").unwrap();
        assert_eq!(inner.is_available(), Ok(true));
        assert_eq!(error(inner.is_enabled()), says);
        assert!(bus.text("status").is_err() && bus.texts("status").is_err());
    }
    for value in bad_texts {
        let tree = tree("compatible", value).unwrap();
        let error = tree
            .find("/bus")
            .unwrap()
            .is_compatible("okay")
            .unwrap_err();
        let property = "compatible".to_owned();
        assert_eq!(error.complaint, Complaint::NoText { property });
    }
    // An empty value is not a text, but it is an empty list of texts.
    let empty = tree("status", b"").unwrap();
    let bus = empty.find("/bus").unwrap();
    assert!(bus.text("status").is_err() && bus.is_available().is_err());
    assert_eq!(bus.texts("status").unwrap().count(), 0);
    assert_eq!(bus.text("label"), Ok(None));
    // Empty texts, and the first of several.
    for (value, first) in [(&b"\0"[..], ""), (b"\0\0", ""), (b"a\0b\0", "a")] {
        let tree = tree("label", value).unwrap();
        assert_eq!(tree.find("/bus").unwrap().text("label"), Ok(Some(first)));
    }
    // Cells.
    for property in ["#address-cells", "#size-cells", "ranges"] {
        for value in [&[1][..], &[0, 0, 1], &[0; 5], &[0; 7]] {
            let tree = tree(property, value).unwrap();
            let error = tree.find("/bus/node@0").unwrap().range().unwrap_err();
            let (property, len) = (property.to_owned(), value.len());
            assert_eq!(error.complaint, Complaint::Length { property, len });
        }
    }
    for value in [&[][..], &[0; 8]] {
        let tree = tree("#address-cells", value).unwrap();
        let error = tree.find("/bus/node@0").unwrap().range().unwrap_err();
        assert!(matches!(error.complaint, Complaint::Length { .. }));
    }
    // A phandle that cannot be read is an error of the blob, even if no node refers to it.
    for property in ["phandle", "linux,phandle"] {
        for value in [
            &[][..],
            &[7],
            &[0, 0, 7],
            &[0, 0, 0, 7, 0],
            &[0; 8],
            &[0; 4],
            &[255; 4],
        ] {
            let error = tree(property, value).unwrap_err();
            let says = "/bus: a phandle that is not one cell, is 0 or 0xffffffff, or differs";
            assert!(error.starts_with(says), "{error}");
        }
        assert!(tree(property, &[0, 0, 0, 7]).is_ok());
    }
    let two = |old| {
        let blob = fdt(|fdt| {
            let node = fdt.begin_node("node")?;
            fdt.property_u32("linux,phandle", old)?;
            fdt.property_u32("phandle", 7)?;
            fdt.end_node(node)?;
            let other = fdt.begin_node("other")?;
            fdt.property_u32("phandle", 8)?;
            fdt.end_node(other)
        });
        Tree::parse(&blob).map(|tree| tree.by_phandle(7).unwrap().name().to_owned())
    };
    assert_eq!(two(7).unwrap(), "node");
    assert_eq!(two(9).unwrap_err().fault, BlobFault::Phandle);
}

#[test]
fn of_properties_of_one_name_the_first_counts() {
    let blob = fdt(|fdt| {
        let node = fdt.begin_node("node")?;
        for (name, value) in [("b", 1), ("a", 2), ("b", 3), ("c", 4)] {
            fdt.property_u32(name, value)?;
        }
        fdt.end_node(node)
    });
    let tree = Tree::parse(&blob).unwrap();
    let node = tree.find("/node").unwrap();
    let cell = |name| node.cells(name).map(|cells| cells[0][3]);
    assert_eq!((cell("a"), cell("b"), cell("c")), (Ok(2), Ok(1), Ok(4)));
    assert!(!node.has("") && !node.has("bb") && !node.has("d"));
    let all: Vec<_> = node
        .properties()
        .map(|(name, value)| (name, value[3]))
        .collect();
    assert_eq!(all, [("b", 1), ("a", 2), ("b", 3), ("c", 4)]);
}

#[test]
fn ranges_of_whole_granules() {
    let whole = |start, size| {
        let range = PhysRange::new(start, size).unwrap();
        range
            .whole_granules(5)
            .map(|range| (range.start(), range.size()))
    };
    assert_eq!(whole(0x150, 0xeb0), Some((0x160, 0xea0)));
    assert_eq!(whole(0x20, 0x3f), Some((0x20, 0x20)));
    assert_eq!(whole(0x21, 0x3e), None);
    assert_eq!(whole(u64::MAX, 1), None);
    assert_eq!(whole(u64::MAX - 31, 32), Some((u64::MAX - 31, 32)));
    let range = |start, size| PhysRange::new(start, size).unwrap();
    for (a, b, overlap) in [
        (range(0x10, 0x10), range(0x1f, 1), true),
        (range(0x10, 0x10), range(0x20, 1), false),
        (range(0x10, 0x10), range(0, 0x100), true),
        (range(0, 1), range(u64::MAX, 1), false),
    ] {
        assert_eq!(
            (a.overlaps(b), b.overlaps(a)),
            (overlap, overlap),
            "{a} {b}"
        );
    }
    assert!(PhysRange::new(0, 0).is_none() && PhysRange::new(u64::MAX, 2).is_none());
}

#[test]
fn nodes_are_equal_if_they_are_the_same_of_one_tree() {
    use std::collections::HashSet;

    let (tree, other) = (board(), board());
    let soc = tree.find("/soc").unwrap();
    assert_eq!(tree.find("/soc"), Some(soc));
    assert_ne!(tree.root(), soc);
    assert_ne!(other.find("/soc"), Some(soc));
    let all: HashSet<_> = tree.nodes().chain(tree.nodes()).collect();
    assert_eq!(all.len(), tree.nodes().count());
    assert!(all.contains(&soc));
}

#[test]
fn the_cells_of_a_bus_are_one_number() {
    let blob = fdt(|fdt| {
        let bus = fdt.begin_node("bus")?;
        fdt.property_array_u32("#address-cells", &[1, 1])?;
        let node = fdt.begin_node("a@0")?;
        fdt.property_array_u32("reg", &[0, 1])?;
        fdt.end_node(node)?;
        fdt.end_node(bus)
    });
    let tree = Tree::parse(&blob).unwrap();
    let error = tree.find("/bus/a@0").unwrap().range().unwrap_err();
    assert_eq!(
        error.to_string(),
        "/bus: #address-cells has 8 bytes, which are no whole entries"
    );
}

#[test]
fn files() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/board.dtb");
    assert_eq!(
        Tree::load(path).unwrap().nodes().count(),
        board().nodes().count()
    );
    let error = Tree::load("/nowhere/board.dtb").unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/board.dtb: cannot be read");
    assert!(
        matches!(error, LoadError::Read { source, .. } if source.kind() == ErrorKind::NotFound)
    );
    let error = Tree::load("examples/board.dts").unwrap_err();
    let text = "examples/board.dts: is not a valid device tree";
    assert_eq!(error.to_string(), text);
    let reason = "/: not a flattened device tree; compile a source text with `dtc -O dtb` (byte 0)";
    assert_eq!(error.source().unwrap().to_string(), reason);
    // As large as it may be, and a byte more.
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/large.dtb");
    let file = std::fs::File::create(path).unwrap();
    for (len, kind) in [
        (4 << 20, None),
        ((4 << 20) + 1, Some(ErrorKind::FileTooLarge)),
    ] {
        file.set_len(len).unwrap();
        let refused = match Tree::load(path).unwrap_err() {
            LoadError::Read { source, .. } => Some(source.kind()),
            _ => None,
        };
        assert_eq!(refused, kind, "{len:#x}");
    }
}
