//! The memory of SRAMs through UIO devices.

use core::num::NonZeroUsize;
use std::io;

use genpool_dma::PhysAddr;
use genpool_dma::source::UioMap;

use super::{MapRequest, Mapped};

/// Maps an SRAM through the UIO device that covers it, for [`Registry::probe_srams`](crate::Registry::probe_srams). A
/// driver such as `uio_pdrv_genirq` makes that device from the SRAM's node or from a bus around it. The driver decides
/// about caching, so the request for a write-combining mapping is not passed on.
///
/// ```no_run
/// // features = ["devm", "dma"]
/// use std::error::Error;
///
/// use genpool::devm::{Registry, Tree, uio_memory};
///
/// let registry = Registry::new();
/// for (node, probed) in registry.probe_srams(&Tree::running()?, uio_memory) {
///     match probed {
///         Ok(device) => println!("{node}: {} pools", device.pools().len()),
///         Err(error) => println!("{error}: {:?}", error.source()), // no UIO device covers it, for instance
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the range is beyond this machine's addresses, if no UIO device covers it, or if its map cannot be mapped.
pub fn uio_memory(request: &MapRequest<'_>) -> io::Result<Mapped> {
    let phys = PhysAddr::new(request.range.start());
    let size = usize::try_from(request.range.size())
        .ok()
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| io::Error::other("the range is beyond this machine's addresses"))?;
    let map = UioMap::covering(phys, size).map_err(io::Error::other)?;
    let Some(offset) = map.offset_of(phys, size) else {
        return Err(io::Error::other("the UIO map does not cover the range"));
    };
    let region = map.map().map_err(io::Error::other)?;
    Ok(Mapped::new(region.start().get() + offset, region))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Registry, SramError, Tree};

    #[test]
    #[cfg_attr(miri, ignore = "Miri lists no folders")]
    fn an_sram_that_no_uio_device_covers_says_so() {
        let tree = Tree::parse(include_bytes!("../../examples/board.dtb")).unwrap();
        for (node, probed) in Registry::new().probe_srams(&tree, uio_memory) {
            match probed {
                Err(SramError::Map { node: at, source }) => {
                    assert_eq!(at, node);
                    assert!(source.to_string().contains("UIO map"), "{source}");
                }
                Err(SramError::Layout(_)) => {}
                other => panic!("{node}: {other:?}"),
            }
        }
    }
}
