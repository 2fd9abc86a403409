//! A small user-space driver for a device that works in on-chip SRAM. It goes from the device tree to the pool and to
//! allocations, and ends with the release of the SRAM's device while something is still held.
//!
//! Here the memory is a vector. On a board, `uio_memory` (feature `dma`) replaces `map`, or a closure around
//! `dma::source::physical_memory` does; the mapping is unmapped when it is dropped.
//!
//! `cargo run --features devm --example sram_driver [FILE.dtb NODE PROPERTY]`

use std::error::Error;
use std::io;

use genpool::OwnedAllocation;
use genpool::devm::{Device, MapRequest, Mapped, Node, Registry, Tree};

/// Stands in for a mapping of physical memory.
fn map(request: &MapRequest<'_>) -> io::Result<Mapped> {
    let size = usize::try_from(request.range.size()).map_err(io::Error::other)?;
    // One page more than needed, so that the memory can start at a page.
    let memory = vec![0u8; size + 4096];
    let start = memory.as_ptr().addr().next_multiple_of(4096);
    println!("mapped    {} of {}", request.range, request.node);
    Ok(Mapped::new(start, memory))
}

/// The driver of a video codec. Its rings lie in SRAM, because the device reads them there.
struct Codec {
    rings: Vec<OwnedAllocation>,
}

impl Codec {
    /// Probes the codec at a node of the tree.
    fn probe(registry: &Registry, node: Node<'_>, property: &str) -> Result<Self, Box<dyn Error>> {
        let pool = registry.of_gen_pool_get(node, property, 0)?;
        println!(
            "probing   {}: {} bytes are free in pool {:?}",
            node.path(),
            pool.avail(),
            pool.name()
        );
        let mut rings = Vec::new();
        for size in [1024, 256, 100] {
            let ring = pool.alloc_owned(size)?;
            let phys = ring.phys().ok_or("the device needs a physical address")?;
            println!(
                "ring      {} bytes, for the device at {phys:#x}",
                ring.size()
            );
            rings.push(ring);
        }
        Ok(Self { rings })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (tree, node, property) = match arguments.as_slice() {
        [file, node, property] => (Tree::load(file)?, node.as_str(), property.as_str()),
        _ => {
            let blob = include_bytes!("board.dtb");
            (Tree::parse(blob)?, "/soc/codec@2000", "sram")
        }
    };

    // Every SRAM of the board becomes a device with pools.
    let registry = Registry::new();
    for (_, probed) in registry.probe_srams(&tree, map) {
        probed?;
    }
    let node = tree.find(node).ok_or("there is no such node")?;

    // The codec's rings are resources of its own device: if anything later in its probe fails, they are given back.
    let codec = registry.probe(Device::new("codec").at(node.path()), |device| {
        let codec = Codec::probe(&registry, node, property)?;
        device.manage(codec.rings)?;
        device.on_release(|| println!("codec     stopped"))?;
        Ok::<_, Box<dyn Error>>(())
    });
    drop(codec.map_err(|error| error.to_string())?);

    // The SRAM is removed first, which is the wrong order: its pools are sealed, and report what is held.
    let sram = node.follow(property, 0)?;
    let sram = [Some(sram), sram.parent()]
        .into_iter()
        .flatten()
        .find_map(|node| registry.find(&node.path()))
        .ok_or("the SRAM has gone")?;
    let released = registry.remove(sram.name())?;
    for held in &released.outstanding {
        println!("held      {held}");
    }
    assert_eq!(released.outstanding.len(), 3);
    assert!(registry.of_gen_pool_get(node, property, 0).is_err());
    assert!(!released.is_complete(), "the mapping is still there");

    // The codec is removed next and gives its rings back. The mapping is released with the last of them.
    drop(registry.remove("codec")?);
    assert!(released.is_complete());
    println!("unmapped");
    Ok(())
}
