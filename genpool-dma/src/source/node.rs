//! Memory bound to a NUMA node.

use std::io;

use super::error::SourceError;
use super::mapping::Mapping;

/// `MPOL_BIND` of `mbind(2)`: memory comes from the given nodes only.
const MPOL_BIND: usize = 2;
/// The kernel's largest `MAX_NUMNODES` is `1 << CONFIG_NODES_SHIFT`, at most 1024.
const MAX_NODES: usize = 1024;
const MASK_WORDS: usize = MAX_NODES / usize::BITS as usize;

/// Binds the pages of `mapping` to `node`. No page of it may be populated yet.
pub(super) fn bind(mapping: &Mapping, node: u32) -> Result<(), SourceError> {
    let mask = mask_of(node).ok_or(SourceError::UnknownNode { node })?;
    // SAFETY: `mbind` reads the mask, which has the given length, and sets a policy on our own mapping. rustix does
    // not have this call.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            mapping.start().as_ptr(),
            mapping.len().get(),
            MPOL_BIND,
            mask.as_ptr(),
            // The kernel subtracts one from this count.
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

/// The set of one node, if the kernel can have it.
fn mask_of(node: u32) -> Option<[usize; MASK_WORDS]> {
    let mut mask = [0; MASK_WORDS];
    let word = mask.get_mut((node / usize::BITS) as usize)?;
    *word = 1 << (node % usize::BITS);
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_bit_of_the_mask() {
        for node in 0..MAX_NODES as u32 {
            let mask = mask_of(node).unwrap();
            let bits: u32 = mask.iter().map(|word| word.count_ones()).sum();
            let (word, bit) = (node as usize / usize::BITS as usize, node % usize::BITS);
            assert_eq!((bits, mask[word] >> bit & 1), (1, 1), "{node}");
        }
        assert_eq!(mask_of(MAX_NODES as u32), None);
        assert_eq!(mask_of(u32::MAX), None);
    }
}
