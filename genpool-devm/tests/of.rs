//! `Registry::of_gen_pool_get`: from a reference in a device tree to a pool, and what an error says of it.

mod common;

use common::{board, fdt, probed};
use genpool_devm::{Device, GetError, NodePath, OfError, Registry, Tree, address_only};

#[test]
fn of_gen_pool_get() {
    let (tree, registry) = probed();
    let get = |node: &str, property: &str, index| {
        registry.of_gen_pool_get(tree.find(node).unwrap(), property, index)
    };
    let start =
        |pool: Result<genpool_devm::ManagedPool, OfError>| pool.unwrap().alloc(1).unwrap().addr();
    // The node has a device: the result is its unnamed pool.
    assert_eq!(start(get("/soc/codec@2000", "iram", 0)), 0x1_0000_0000);
    assert_eq!(get("/soc/codec@2000", "iram", 1).unwrap().name(), None);
    // Otherwise the parent's device is used, by the label, by the full name or by the name without the unit address.
    assert_eq!(start(get("/soc/dsp@3000", "sram", 0)), 0x5c00_4000);
    assert_eq!(start(get("/soc/dsp@3000", "sram", 1)), 0x5c00_6000);
    assert_eq!(start(get("/soc/codec@2000", "sram", 0)), 0x5c00_1000);
    let device = registry.find_named("/soc/sram@0").unwrap();
    let builder = genpool_core::Pool::builder().name("codec-sram@1000");
    device.create_pool(builder).unwrap();
    let full = get("/soc/codec@2000", "sram", 0).unwrap();
    assert_eq!(full.name(), Some("codec-sram@1000"));

    // An error names the step that fails.
    let error = |node, property, index| get(node, property, index).unwrap_err().to_string();
    assert_eq!(
        error("/soc/dsp@3000", "sram", 2),
        "/soc/sram@80000: disabled by the status of /soc/sram@80000"
    );
    assert_eq!(
        error("/soc/dsp@3000", "sram", 3),
        "/soc/bus@90000/sram@90000: disabled by the status of /soc/bus@90000"
    );
    assert_eq!(
        error("/soc/dsp@3000", "sram", 4),
        "/soc/dsp@3000: phandle 0xdead is that of no node"
    );
    assert_eq!(
        error("/soc/dsp@3000", "sram", 5),
        "/soc/dsp@3000: sram has no cell 5"
    );
    assert_eq!(
        error("/soc/dsp@3000", "iram", 0),
        "/soc/dsp@3000: it has no iram"
    );
    assert_eq!(
        error("/soc/dsp@3000", "pm-sram", 0),
        "/soc/dsp@3000: pm-sram has 3 bytes, which are no whole entries"
    );
    drop(device.release().unwrap());
    assert_eq!(
        error("/soc/dsp@3000", "sram", 0),
        "device /soc/sram@0 is gone"
    );
    drop(registry.remove("/soc/sram@40000000").unwrap());
    assert_eq!(
        error("/soc/codec@2000", "iram", 0),
        "/soc/sram@40000000: neither it nor its parent has a device"
    );
    drop(registry.remove("/soc/sram@0"));
    assert_eq!(
        error("/soc/codec@2000", "sram", 0),
        "/soc/sram@0/codec-sram@1000: neither it nor its parent has a device"
    );
}

#[test]
fn of_gen_pool_get_of_a_disabled_partition() {
    let blob = fdt(|fdt| {
        fdt.property_array_u32("sram", &[1, 2])?;
        let sram = fdt.begin_node("sram@0")?;
        fdt.property_string("compatible", "mmio-sram")?;
        fdt.property_array_u32("reg", &[0, 0x1000])?;
        fdt.property_u32("#address-cells", 1)?;
        fdt.property_u32("#size-cells", 1)?;
        fdt.property_null("ranges")?;
        for (name, phandle, status) in [("off@0", 1, "disabled"), ("on@100", 2, "okay")] {
            let child = fdt.begin_node(name)?;
            fdt.property_string("status", status)?;
            fdt.property_array_u32("reg", &[0x100 * (phandle - 1), 0x100])?;
            fdt.property_u32("phandle", phandle)?;
            fdt.end_node(child)?;
        }
        fdt.end_node(sram)
    });
    let (tree, registry) = (Tree::parse(&blob).unwrap(), Registry::new());
    let error = |index| {
        registry
            .of_gen_pool_get(tree.root(), "sram", index)
            .unwrap_err()
    };
    let off = NodePath::new("/sram@0/off@0");
    let disabled = OfError::Disabled {
        node: off.clone(),
        by: off,
    };
    assert_eq!(error(0), disabled);
    assert!(matches!(error(1), OfError::NoDevice { .. }));
    for (_, probed) in registry.probe_srams(&tree, address_only) {
        probed.unwrap();
    }
    assert_eq!(error(0), disabled);
    assert!(matches!(
        error(1),
        OfError::Get(GetError::NoPool { .. }) // it is not marked `pool`
    ));
}

#[test]
fn of_gen_pool_get_while_the_device_is_probed() {
    let (tree, registry) = (board(), Registry::new());
    let codec = tree.find("/soc/codec@2000").unwrap();
    let node = NodePath::new("/soc/sram@0");
    let probe = registry.probe(Device::new("sram").at(node), |_| {
        for (property, index) in [("sram", 0), ("iram", 1)] {
            let early = registry
                .of_gen_pool_get(codec, property, index)
                .unwrap_err();
            assert!(
                matches!(early, OfError::Get(GetError::NotYet { .. })),
                "{early}"
            );
        }
        Ok::<(), ()>(())
    });
    probe.unwrap();
    let late = registry.of_gen_pool_get(codec, "sram", 0).unwrap_err();
    assert!(
        matches!(late, OfError::Get(GetError::NoPool { .. })),
        "{late}"
    );
}

#[test]
fn phandles_that_lead_in_circles_or_twice() {
    let blob = fdt(|fdt| {
        let sram = fdt.begin_node("sram@0")?;
        fdt.property_string("compatible", "mmio-sram")?;
        fdt.property_array_u32("reg", &[0, 0x1000])?;
        fdt.property_phandle(1)?;
        fdt.property_array_u32("sram", &[1, 2, 3, 0, u32::MAX])?;
        fdt.end_node(sram)?;
        let other = fdt.begin_node("other")?;
        fdt.property_phandle(2)?;
        fdt.property_array_u32("sram", &[2, 1])?;
        fdt.end_node(other)?;
        for (name, phandle) in [("a", 3), ("b", 3)] {
            let node = fdt.begin_node(name)?;
            // As old compilers wrote it.
            fdt.property_u32("linux,phandle", phandle)?;
            fdt.end_node(node)?;
        }
        Ok(())
    });
    let (tree, registry) = (Tree::parse(&blob).unwrap(), Registry::new());
    for (_, device) in registry.probe_srams(&tree, address_only) {
        device.unwrap();
    }
    let get = |node: &str, index| {
        let found = registry.of_gen_pool_get(tree.find(node).unwrap(), "sram", index);
        found
            .map(|pool| pool.size())
            .map_err(|error| error.to_string())
    };
    let says = |text: &str| Err(text.to_owned());
    assert_eq!(get("/sram@0", 0), Ok(0x1000));
    assert_eq!(get("/other", 1), Ok(0x1000));
    assert_eq!(
        get("/other", 0),
        says("/other: neither it nor its parent has a device")
    );
    assert_eq!(
        get("/sram@0", 2),
        says("/sram@0: phandle 0x3 is that of several nodes")
    );
    assert_eq!(
        get("/sram@0", 3),
        says("/sram@0: phandle 0x0 is that of no node")
    );
    assert_eq!(
        get("/sram@0", 4),
        says("/sram@0: phandle 0xffffffff is that of no node")
    );
}
