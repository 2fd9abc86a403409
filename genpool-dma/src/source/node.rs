//! Memory bound to a NUMA node.

use std::io;

use super::error::SourceError;
use super::mapping::Mapping;

/// `MPOL_BIND` of `mbind(2)`: memory from the given nodes or none.
const MPOL_BIND: usize = 2;
/// The kernel's largest `MAX_NUMNODES` is `1 << CONFIG_NODES_SHIFT`, at most 1024.
const MAX_NODES: usize = 1024;
const MASK_WORDS: usize = MAX_NODES / usize::BITS as usize;

/// Has the pages of `mapping`, none of which is there yet, come from `node` alone.
pub(super) fn bind(mapping: &Mapping, node: u32) -> Result<(), SourceError> {
    let mut mask = [0_usize; MASK_WORDS];
    let at = node as usize;
    let Some(word) = mask.get_mut(at / usize::BITS as usize) else {
        return Err(SourceError::UnknownNode { node });
    };
    *word = 1 << (at % usize::BITS as usize);
    // SAFETY: `mbind` reads the mask, which is as long as it is told, and sets a policy on our own
    // mapping. rustix has no such call.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            mapping.start().as_ptr(),
            mapping.len().get(),
            MPOL_BIND,
            mask.as_ptr(),
            // The kernel counts one less than it is told.
            MAX_NODES + 1,
            0_usize,
        )
    } != 0;
    if !refused {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    Err(match source.raw_os_error() {
        Some(libc::EINVAL) => SourceError::UnknownNode { node },
        _ => SourceError::System {
            call: "mbind",
            source,
        },
    })
}
