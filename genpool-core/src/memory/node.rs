//! Memory on one NUMA node.

pub(super) use self::imp::Mapping;

/// Why a node provides no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeError {
    /// The system has no such node.
    #[cfg_attr(
        not(all(feature = "std", target_os = "linux")),
        expect(dead_code, reason = "for Linux")
    )]
    Unknown,
    /// There is no memory for a mapping of this size.
    #[cfg_attr(
        not(all(feature = "std", target_os = "linux")),
        expect(dead_code, reason = "for Linux")
    )]
    NoMemory { bytes: usize },
    /// This system offers no way to place memory on a node.
    #[cfg_attr(
        all(feature = "std", target_os = "linux"),
        expect(dead_code, reason = "for other systems")
    )]
    Unsupported,
    /// The system refused to place memory on the node.
    #[cfg_attr(
        not(all(feature = "std", target_os = "linux")),
        expect(dead_code, reason = "for Linux")
    )]
    Refused { errno: i32 },
}

/// A NUMA node that was seen to provide memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(u32);

impl Node {
    /// Checks that `node` exists: the system must bind a mapping to it.
    pub(crate) fn probe(node: u32) -> Result<Self, NodeError> {
        Mapping::new(1, node)?;
        Ok(Self(node))
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
mod imp {
    use core::ffi::c_void;
    #[cfg(not(genpool_loom))]
    use core::mem::ManuallyDrop;
    use core::ptr::{self, NonNull};

    use rustix::mm::{MapFlags, ProtFlags};

    use super::NodeError;

    /// `MPOL_BIND` of `set_mempolicy(2)`: memory comes from the given nodes or not at all.
    const MPOL_BIND: usize = 2;
    /// The kernel's largest `MAX_NUMNODES` is `1 << CONFIG_NODES_SHIFT`, at most 1024.
    const MAX_NODES: usize = 1024;
    const MASK_WORDS: usize = MAX_NODES / usize::BITS as usize;

    /// Zeroed anonymous memory bound to one node.
    ///
    /// # Invariants
    ///
    /// `start` and `len` are one mapping that belongs to this value alone.
    #[derive(Debug)]
    pub(crate) struct Mapping {
        start: NonNull<c_void>,
        len: usize,
    }

    impl Mapping {
        /// Maps `len` bytes (not zero) on `node`.
        pub(crate) fn new(len: usize, node: u32) -> Result<Self, NodeError> {
            let mut mask = [0usize; MASK_WORDS];
            let at = node as usize;
            let Some(word) = mask.get_mut(at / usize::BITS as usize) else {
                return Err(NodeError::Unknown);
            };
            *word = 1 << (at % usize::BITS as usize);

            let flags = MapFlags::PRIVATE;
            let prot = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a fresh mapping at an address of the kernel's choice overlaps no other memory.
            let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, prot, flags) };
            let start = start.ok().and_then(NonNull::new);
            let start = start.ok_or(NodeError::NoMemory { bytes: len })?;
            let mapping = Self { start, len };

            // SAFETY: `mbind` reads the mask, which is as long as the call says, and sets a policy on our own
            // mapping.
            let refused = unsafe {
                libc::syscall(
                    libc::SYS_mbind,
                    start.as_ptr(),
                    len,
                    MPOL_BIND,
                    mask.as_ptr(),
                    // The kernel counts one less than it is passed.
                    MAX_NODES + 1,
                    0usize,
                )
            } != 0;
            if refused {
                let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
                return Err(match errno {
                    libc::EINVAL => NodeError::Unknown,
                    errno => NodeError::Refused { errno },
                });
            }
            Ok(mapping)
        }

        /// Takes the mapping apart. Its start and its length are the ownership of it.
        #[cfg(not(genpool_loom))]
        pub(crate) fn into_start(self) -> NonNull<c_void> {
            ManuallyDrop::new(self).start
        }

        /// Ends a mapping that was taken apart.
        ///
        /// # Safety
        ///
        /// The parts are those of one such mapping, and are used for this only.
        #[cfg(not(genpool_loom))]
        pub(crate) unsafe fn end(start: NonNull<c_void>, len: usize) {
            drop(Self { start, len });
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: by the invariant the range is one mapping of ours, and nothing uses it any more.
            let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.len) };
            debug_assert!(unmapped.is_ok(), "munmap of our own mapping cannot fail");
        }
    }
}

#[cfg(not(all(feature = "std", target_os = "linux")))]
mod imp {
    use core::ffi::c_void;
    use core::ptr::NonNull;

    use super::NodeError;

    /// This system has no way to ask for memory on a node.
    #[derive(Debug)]
    pub(crate) enum Mapping {}

    impl Mapping {
        pub(crate) fn new(_len: usize, _node: u32) -> Result<Self, NodeError> {
            Err(NodeError::Unsupported)
        }

        pub(crate) fn into_start(self) -> NonNull<c_void> {
            match self {}
        }

        /// Does nothing: no mapping was ever taken apart.
        ///
        /// # Safety
        ///
        /// As on Linux.
        pub(crate) unsafe fn end(_start: NonNull<c_void>, _len: usize) {}
    }
}
