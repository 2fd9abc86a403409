//! `mmio-sram`, from trees to pools to their users.

mod common;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{board, fdt, probed};
use genpool_devm::{
    Device, GetError, LayoutError, MapRequest, Mapped, NodePath, PhysRange, Registry, Sram,
    SramError, Tree, address_only,
};
use proptest::prelude::*;

#[test]
fn partitions_and_gaps() {
    let tree = board();
    let sram = Sram::read(tree.find("/soc/sram@0").unwrap()).unwrap();
    assert!(sram.write_combining);
    let parts: Vec<_> = sram
        .partitions
        .iter()
        .map(|part| {
            let flags = (part.pool, part.export, part.protect_exec);
            (&*part.label, part.range.start(), part.range.size(), flags)
        })
        .collect();
    assert_eq!(
        parts,
        [
            ("smp-sram", 0x5c00_0100, 0x50, (false, false, false)),
            ("codec-sram", 0x5c00_1000, 0x1000, (true, false, false)),
            ("dsp", 0x5c00_4000, 0x1000, (true, false, false)),
            ("code-sram", 0x5c00_6000, 0x2000, (false, false, true)),
            ("exported-sram", 0x5c02_0000, 0x2_0000, (false, true, false)),
        ]
    );
    assert_eq!(sram.disabled, [NodePath::new("/soc/sram@0/off-sram@9000")]);
    let gaps: Vec<_> = sram.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(
        gaps,
        [
            "0x5c000000..=0x5c0000ff",
            "0x5c000150..=0x5c000fff",
            "0x5c002000..=0x5c003fff",
            "0x5c005000..=0x5c005fff",
            "0x5c008000..=0x5c01ffff",
        ]
    );
    let high = Sram::read(tree.find("/soc/sram@40000000").unwrap()).unwrap();
    assert_eq!(
        (high.write_combining, high.gaps.as_slice()),
        (false, &[high.range][..])
    );
}

#[test]
fn every_enabled_sram_becomes_a_device() {
    let (_, registry) = probed();
    let names: Vec<_> = registry
        .devices()
        .iter()
        .map(|d| d.name().to_owned())
        .collect();
    assert_eq!(names, ["/soc/sram@0", "/soc/sram@40000000"]);
    let device = registry.find_named("/soc/sram@0").unwrap();
    let unnamed = device.pool(None).unwrap();
    assert_eq!((unnamed.granule(), unnamed.chunks().len()), (32, 5));
    // The gap after 0x50 reserved bytes begins inside a granule.
    let starts: Vec<_> = unnamed
        .chunks()
        .map(|chunk| (chunk.start(), chunk.size()))
        .collect();
    assert!(starts.contains(&(0x5c00_0160, 0xea0)), "{starts:x?}");
    let block = unnamed.alloc(100).unwrap();
    assert_eq!(block.phys(), Some(block.addr() as u64));
    assert_eq!(block.owner_as::<String>().as_deref(), Some("/soc/sram@0"));
    let names: Vec<_> = device
        .pools()
        .iter()
        .map(|p| p.name().map(str::to_owned))
        .collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        names,
        [None, named("codec-sram"), named("dsp"), named("code-sram")]
    );
    assert!(matches!(
        device.pool(Some("smp-sram")),
        Err(GetError::NoPool { .. })
    ));

    // A second probe is refused.
    let sram = Sram::read(board().find("/soc/sram@0").unwrap()).unwrap();
    let again = registry.probe_sram(&sram, address_only).unwrap_err();
    assert_eq!(again.to_string(), "/soc/sram@0: it has a device already");
}

/// The name, offset, size and flags of a child.
type Child<'a> = (&'a str, u32, u32, &'a [&'a str]);

/// An SRAM of 0x1000 bytes at 0x1000 with these children.
fn layout(children: &[Child<'_>]) -> Result<Sram, LayoutError> {
    layout_of(0x1000, children)
}

fn layout_of(size: u32, children: &[Child<'_>]) -> Result<Sram, LayoutError> {
    let blob = fdt(|fdt| {
        let sram = fdt.begin_node("sram@1000")?;
        fdt.property_string("compatible", "mmio-sram")?;
        fdt.property_array_u32("reg", &[0x1000, size])?;
        fdt.property_u32("#address-cells", 1)?;
        fdt.property_u32("#size-cells", 1)?;
        fdt.property_array_u32("ranges", &[0, 0x1000, 0x2000])?;
        for (name, start, size, flags) in children {
            let child = fdt.begin_node(name)?;
            fdt.property_array_u32("reg", &[*start, *size])?;
            for flag in *flags {
                fdt.property_null(flag)?;
            }
            fdt.end_node(child)?;
        }
        fdt.end_node(sram)
    });
    let tree = Tree::parse(&blob).unwrap();
    Sram::read(tree.find("/sram@1000").unwrap())
}

#[test]
fn children_that_make_no_sense_are_named() {
    let full = layout(&[("b@800", 0x800, 0x800, &[]), ("a@0", 0, 0x800, &["pool"])]).unwrap();
    assert!(full.gaps.is_empty());
    let says = |children: &[Child<'_>]| layout(children).unwrap_err().to_string();
    assert_eq!(
        says(&[("a@0", 0, 0x101, &[]), ("b@100", 0x100, 0x100, &["pool"])]),
        "/sram@1000/b@100: 0x1100..=0x11ff overlaps with /sram@1000/a@0"
    );
    assert_eq!(
        says(&[("a@f00", 0xf00, 0x101, &[])]),
        "/sram@1000/a@f00: 0x1f00..=0x2000 is not inside the SRAM, which is 0x1000..=0x1fff"
    );
    assert_eq!(
        says(&[("a@f00", u32::MAX, 2, &[])]),
        "/sram@1000/a@f00: /sram@1000 does not map 0x2 bytes at 0xffffffff"
    );
    assert_eq!(
        says(&[("a@0", 0, 0x800, &["protect-exec"])]),
        "/sram@1000/a@0: 0x1000..=0x17ff is marked protect-exec and does not consist of whole pages"
    );
    // An SRAM of all addresses.
    let blob = fdt(|fdt| {
        let sram = fdt.begin_node("sram@0")?;
        fdt.property_array_u32("reg", &[0, u32::MAX])?;
        fdt.end_node(sram)
    });
    let tree = Tree::parse(&blob).unwrap();
    let error = Sram::read(tree.find("/sram@0").unwrap()).unwrap_err();
    assert!(matches!(&error, LayoutError::TooLarge { .. }), "{error}");
    assert_eq!(error.node().as_str(), "/sram@0");
}

/// Firmware has not given these children a size, or they only label an address.
#[test]
fn children_of_no_bytes() {
    let gaps = |children: &[Child<'_>]| {
        let sram = layout(children).map_err(|error| error.to_string())?;
        assert_eq!(
            sram.empty.len(),
            children.iter().filter(|child| child.2 == 0).count()
        );
        let gaps = sram.gaps.iter().map(|gap| (gap.start(), gap.size()));
        Ok::<_, String>(gaps.collect::<Vec<_>>())
    };
    // At the edges no gap is split. Elsewhere a gap ends.
    assert_eq!(
        gaps(&[("a@0", 0, 0, &["pool"])]),
        Ok(vec![(0x1000, 0x1000)])
    );
    assert_eq!(
        gaps(&[("a@1000", 0x1000, 0, &[])]),
        Ok(vec![(0x1000, 0x1000)])
    );
    let two = vec![(0x1000, 0x123), (0x1123, 0xedd)];
    assert_eq!(gaps(&[("a@123", 0x123, 0, &[])]), Ok(two.clone()));
    // Two at one address are one border.
    let twice: [Child<'_>; 2] = [("a@123", 0x123, 0, &[]), ("b@123", 0x123, 0, &[])];
    assert_eq!(gaps(&twice), Ok(two));
    // They may lie before and after a partition, but not in it.
    let part: Child<'_> = ("p@100", 0x100, 0x100, &["pool"]);
    let around = vec![(0x1000, 0x100), (0x1200, 0xe00)];
    assert_eq!(gaps(&[("a@100", 0x100, 0, &[]), part]), Ok(around.clone()));
    assert_eq!(gaps(&[part, ("a@200", 0x200, 0, &[])]), Ok(around));
    for at in [0x101, 0x180, 0x1ff] {
        let says = format!(
            "/sram@1000/a@0: no bytes at {:#x}, which is inside /sram@1000/p@100",
            0x1000 + at
        );
        assert_eq!(gaps(&[("a@0", at, 0, &[]), part]), Err(says.clone()));
        assert_eq!(gaps(&[part, ("a@0", at, 0, &["pool"])]), Err(says));
    }
    // As in the kernel, an empty child is inside a partition of the same start that comes before it.
    assert!(gaps(&[part, ("a@100", 0x100, 0, &[])]).is_err());
    // It must not lie outside of the SRAM, nor where the bus maps nothing.
    assert_eq!(
        gaps(&[("a@1001", 0x1001, 0, &[])]),
        Err(
            "/sram@1000/a@1001: no bytes at 0x2001, which is not inside the SRAM, 0x1000..=0x1fff"
                .to_owned()
        )
    );
    assert_eq!(
        gaps(&[("a@2000", 0x2000, 0, &[])]),
        Err("/sram@1000/a@2000: /sram@1000 does not map 0x0 bytes at 0x2000".to_owned())
    );
    // If a gap is split, the chunks of its pool are separate.
    let sram = layout(&[("a@140", 0x140, 0, &[])]).unwrap();
    let device = Registry::new().probe_sram(&sram, address_only).unwrap();
    let mut chunks: Vec<_> = device
        .pool(None)
        .unwrap()
        .chunks()
        .map(|chunk| chunk.start())
        .collect();
    chunks.sort_unstable();
    assert_eq!(chunks, [0x1000, 0x1140]);
}

proptest! {
    /// Layouts of 32 bytes, compared with a list of the owner of each byte.
    #[test]
    fn layouts_are_those_of_a_list_of_bytes(
        children in prop::collection::vec((0u32..40, 0u32..12), 0..6),
    ) {
        let names: Vec<_> = (0..children.len()).map(|at| format!("part@{at}")).collect();
        let named: Vec<_> = names
            .iter()
            .zip(&children)
            .map(|(name, &(start, size))| (&**name, start, size, &["pool"][..]))
            .collect();
        let read = layout_of(0x20, &named);

        let mut bytes = [false; 0x20];
        let mut is_good = children.iter().enumerate().all(|(at, &(start, size))| {
            // An empty child lies in no other, and comes before a child of the same start.
            let lies_in = |(other, &(from, more)): (usize, &(u32, u32))| {
                from < start && start < from + more || from == start && more > 0 && other < at
            };
            size > 0 || start <= 0x20 && !children.iter().enumerate().any(lies_in)
        });
        for &(start, size) in &children {
            for at in start..start + size {
                match bytes.get_mut(at as usize) {
                    Some(byte) if !*byte => *byte = true,
                    _ => is_good = false,
                }
            }
        }
        prop_assert_eq!(read.is_ok(), is_good);
        if let Ok(sram) = read {
            let has = |ranges: &mut dyn Iterator<Item = PhysRange>| {
                let mut has = [false; 0x20];
                for range in ranges {
                    for at in range.start()..=range.last() {
                        prop_assert!(!std::mem::replace(&mut has[at as usize - 0x1000], true));
                    }
                }
                Ok(has)
            };
            prop_assert_eq!(has(&mut sram.partitions.iter().map(|part| part.range))?, bytes);
            prop_assert_eq!(has(&mut sram.gaps.iter().copied())?, bytes.map(|taken| !taken));
            // The gaps are as few as possible.
            let is_border = |at| children.iter().any(|&(start, size)| size == 0 && u64::from(start) + 0x1000 == at);
            for two in sram.gaps.windows(2) {
                let end = two[0].last() + 1;
                prop_assert!(end < two[1].start() || is_border(end));
            }
            for &(start, size) in &children {
                let start = u64::from(start) + 0x1000;
                let is_split = |gap: &PhysRange| gap.start() < start && start <= gap.last();
                prop_assert!(size > 0 || !sram.gaps.iter().any(is_split));
            }
            let empty = children.iter().filter(|(_, size)| *size == 0).count();
            prop_assert_eq!(sram.empty.len(), empty);
        }
    }
}

#[test]
fn two_partitions_of_one_label() {
    let sram = layout(&[("a@0", 0, 0x40, &["pool"]), ("a@40", 0x40, 0x40, &["pool"])]).unwrap();
    let registry = Registry::new();
    let error = registry.probe_sram(&sram, address_only).unwrap_err();
    assert_eq!(error.to_string(), "/sram@1000/a@40: its pool was refused");
    let source = error.source().map(ToString::to_string);
    assert_eq!(
        source.as_deref(),
        Some("device /sram@1000 has its pool \"a\" already")
    );
    assert!(registry.devices().is_empty());
}

/// An SRAM whose only child is a pool with this label, and a node that refers to it.
fn labelled(label: &[u8]) -> Tree {
    let blob = fdt(|fdt| {
        let sram = fdt.begin_node("sram@1000")?;
        fdt.property_string("compatible", "mmio-sram")?;
        fdt.property_array_u32("reg", &[0x1000, 0x1000])?;
        fdt.property_u32("#address-cells", 1)?;
        fdt.property_u32("#size-cells", 1)?;
        fdt.property_array_u32("ranges", &[0, 0x1000, 0x1000])?;
        let part = fdt.begin_node("part@0")?;
        fdt.property_array_u32("reg", &[0, 0x100])?;
        fdt.property_null("pool")?;
        fdt.property_phandle(1)?;
        fdt.property("label", label)?;
        fdt.end_node(part)?;
        fdt.end_node(sram)?;
        let user = fdt.begin_node("user")?;
        fdt.property_u32("sram", 1)?;
        fdt.end_node(user)
    });
    Tree::parse(&blob).unwrap()
}

#[test]
fn labels_that_are_no_text_are_errors() {
    let long = [&[b'l'; 256][..], b"\0"].concat();
    let no_text = "label is no text: each ends with a NUL, and all are UTF-8";
    for (label, says) in [
        (&b"ABC"[..], no_text),
        (b"", no_text),
        (b"\xff\xfe\0", no_text),
        (b"a\0b", no_text),
        (&long, "label is longer than 255 bytes"),
    ] {
        let tree = labelled(label);
        let sram = tree.find("/sram@1000").unwrap();
        let says = format!("/sram@1000/part@0: {says}");
        let refused = Sram::read(sram).unwrap_err();
        assert_eq!(
            (refused.to_string(), refused.node().as_str()),
            (says.clone(), "/sram@1000/part@0")
        );
        let registry = Registry::new();
        let probed = registry.probe_srams(&tree, address_only).remove(0).1;
        assert_eq!(probed.unwrap_err().to_string(), says);
        // A bad label does not lead to a pool of another name for a node that refers to it.
        let device = registry
            .add(Device::new("sram").at(NodePath::new("/sram@1000")))
            .unwrap();
        for name in ["part", "part@0"] {
            device
                .create_pool(genpool_core::Pool::builder().name(name))
                .unwrap();
        }
        let user = tree.find("/user").unwrap();
        let refused = registry.of_gen_pool_get(user, "sram", 0).unwrap_err();
        assert_eq!(refused.to_string(), says);
    }
    for (label, name) in [
        (&b"\0"[..], ""),
        (b"two\0labels\0", "two"),
        (&long[1..], &"l".repeat(255)),
    ] {
        let tree = labelled(label);
        let sram = Sram::read(tree.find("/sram@1000").unwrap()).unwrap();
        assert_eq!(sram.partitions[0].label, name);
        let registry = Registry::new();
        registry.probe_sram(&sram, address_only).unwrap();
        let pool = registry
            .of_gen_pool_get(tree.find("/user").unwrap(), "sram", 0)
            .unwrap();
        assert_eq!(pool.name(), Some(name));
    }
}

#[test]
fn the_mapping_ends_after_the_pools() {
    struct Mapping(Arc<AtomicBool>);
    impl Drop for Mapping {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let unmapped = Arc::new(AtomicBool::new(false));
    let sram = layout(&[("a@100", 0x100, 0x100, &["pool"])]).unwrap();
    let registry = Registry::new();
    let device = registry
        .probe_sram(&sram, |request| {
            assert_eq!(request.range.size(), 0x1000);
            Ok(Mapped::new(0x7000_0010, Mapping(Arc::clone(&unmapped))))
        })
        .unwrap();
    let block = device.pool(Some("a")).unwrap().alloc_owned(1).unwrap();
    // Granules are those of the mapping, and the physical address is the corresponding one.
    assert_eq!((block.addr(), block.phys()), (0x7000_0120, Some(0x1110)));
    drop(device);
    let released = registry.remove("/sram@1000").unwrap();
    assert_eq!(
        released.outstanding[0].owner_name(),
        Some("/sram@1000/a@100")
    );
    assert!(!unmapped.load(Ordering::Relaxed));
    drop(block);
    assert!(unmapped.load(Ordering::Relaxed));

    let error = registry
        .probe_sram(&sram, |_| Err(io::Error::other("no such window")))
        .unwrap_err();
    assert_eq!(error.to_string(), "/sram@1000: cannot be mapped");
    let source = error.source().map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("no such window"));
    // Up to the last address, and a byte more.
    let at = |start| move |_: &MapRequest<'_>| Ok(Mapped::new(start, ()));
    registry.probe_sram(&sram, at(usize::MAX - 0xfff)).unwrap();
    assert!(registry.remove("/sram@1000").unwrap().is_complete());
    let error = registry
        .probe_sram(&sram, at(usize::MAX - 0xffe))
        .unwrap_err();
    assert!(matches!(error, SramError::Map { .. }), "{error}");
}
