//! Memory for bookkeeping: fixed-size tables that start out zeroed, on the heap or on one NUMA
//! node. What fills a cache line begins at the beginning of one.
//!
//! The pool never touches the memory that it manages; these tables are its own.

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

#[cfg(not(genpool_loom))]
use alloc::alloc::Layout;
#[cfg(genpool_loom)]
use alloc::boxed::Box;
use alloc::vec::Vec;
#[cfg(not(genpool_loom))]
use bytemuck::Zeroable;

use crate::error::{AddRefused, BuildError};

/// A NUMA node that was seen to take memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(u32);

impl Node {
    /// Proves that `node` exists: the system binds a mapping to it.
    pub(crate) fn probe(node: u32) -> Result<Self, BuildError> {
        node_memory::Mapping::new(1, node)?;
        Ok(Self(node))
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// The table could not be had: this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory {
    pub(crate) bytes: usize,
}

impl From<NoMemory> for AddRefused {
    fn from(NoMemory { bytes }: NoMemory) -> Self {
        Self::NoMemory { bytes }
    }
}

/// More bytes than a change of the chunk list allocates in small pieces (2026-11).
const SPARE: usize = 2048;

/// Whether there is memory for the small pieces of bookkeeping that a change of the chunk list allocates, in
/// `Arc`s and boxes, whose allocation cannot fail but ends the process. A look, and no reservation: other
/// threads may take it meanwhile.
pub(crate) fn probe_spare() -> Result<(), NoMemory> {
    let mut spare = Vec::<u8>::new();
    let had = spare.try_reserve_exact(SPARE);
    // Or the compiler leaves out what is not used.
    core::hint::black_box(&spare);
    had.map_err(|_| NoMemory { bytes: SPARE })
}

/// Bytes in a cache line.
#[cfg(not(genpool_loom))]
const CACHE_LINE: usize = 64;

/// `len` zeroed items that stay in place until the table is dropped.
///
/// # Invariants
///
/// `items` points to initialised items, owned by this table alone: allocated as
/// [`layout_of`](Self::layout_of) says, `skipped` bytes before them, or a mapping that was taken apart.
pub(crate) struct Table<T> {
    items: NonNull<[T]>,
    /// Bytes of the heap before the items; none where they are on a node.
    #[cfg(not(genpool_loom))]
    skipped: Option<u8>,
}

// SAFETY: the table owns its items, as a `Box<[T]>` does.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: a shared table hands out shared references only.
unsafe impl<T: Sync> Sync for Table<T> {}

#[cfg(not(genpool_loom))]
impl<T> Table<T> {
    /// What is allocated for `len` items, if it can be: where they fill a line, enough to begin at one.
    /// No greater alignment is asked for, because memory that the system gave zeroed would be written
    /// all the same.
    fn layout_of(len: usize) -> Option<Layout> {
        let items = Layout::array::<T>(len).ok()?;
        let spare = if items.size() < CACHE_LINE {
            0
        } else {
            CACHE_LINE
        };
        Layout::from_size_align(items.size().checked_add(spare)?, items.align()).ok()
    }
}

#[cfg(not(genpool_loom))]
impl<T: Zeroable> Table<T> {
    /// A table of `len` zeroed items, on `node` if one is given.
    pub(crate) fn zeroed(len: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let layout = Self::layout_of(len).ok_or(NoMemory { bytes: usize::MAX })?;
        let bytes = size_of::<T>() * len;
        let no_memory = NoMemory { bytes };
        let (start, skipped) = match node {
            _ if bytes == 0 => (NonNull::dangling(), None),
            None => {
                // SAFETY: the layout is not empty.
                let begin = unsafe { alloc::alloc::alloc_zeroed(layout) };
                let begin = NonNull::new(begin).ok_or(no_memory)?;
                let spare = layout.size() - bytes;
                let skipped = begin.addr().get().wrapping_neg() % CACHE_LINE;
                let skipped = if spare == 0 { 0 } else { skipped };
                // SAFETY: `spare`, which is more, is behind the items.
                (unsafe { begin.add(skipped) }.cast(), Some(skipped as u8))
            }
            Some(node) => {
                let mapping = node_memory::Mapping::new(bytes, node.number());
                (mapping.map_err(|_| no_memory)?.into_start().cast(), None)
            }
        };
        Ok(Self {
            items: NonNull::slice_from_raw_parts(start, len),
            skipped,
        })
    }
}

#[cfg(genpool_loom)]
impl<T: Default> Table<T> {
    /// A table of `len` fresh items: loom's atomics have no all-zero form.
    pub(crate) fn zeroed(len: usize, _node: Option<Node>) -> Result<Self, NoMemory> {
        let items: Box<[T]> = (0..len).map(|_| T::default()).collect();
        Ok(Self {
            items: NonNull::from(Box::leak(items)),
        })
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: by the invariant the items are initialised and live as long as the table, and
        // nobody holds a mutable reference to them.
        unsafe { self.items.as_ref() }
    }
}

#[cfg(not(genpool_loom))]
impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        const { assert!(!core::mem::needs_drop::<T>()) };
        let bytes = size_of::<T>() * self.items.len();
        if bytes == 0 {
            return;
        }
        if let Some(skipped) = self.skipped
            && let Some(layout) = Self::layout_of(self.items.len())
        {
            let start = self.items.as_ptr().cast::<u8>();
            // SAFETY: by the invariant the allocation begins there.
            let begin = unsafe { start.sub(usize::from(skipped)) };
            // SAFETY: by the invariant it was made so, and nobody uses the items any more.
            unsafe { alloc::alloc::dealloc(begin, layout) };
        } else {
            // SAFETY: by the invariant these are a mapping's parts, and nobody uses it any more.
            drop(unsafe { node_memory::Mapping::from_parts(self.items.cast(), bytes) });
        }
    }
}

#[cfg(genpool_loom)]
impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: in the model the items are a leaked box, and nobody uses them any more.
        drop(unsafe { Box::from_raw(self.items.as_ptr()) });
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
mod node_memory {
    use core::ffi::c_void;
    #[cfg(not(genpool_loom))]
    use core::mem::ManuallyDrop;
    use core::ptr::{self, NonNull};

    use rustix::mm::{MapFlags, ProtFlags};

    use crate::error::BuildError;

    /// `MPOL_BIND` of `set_mempolicy(2)`: memory from the given nodes or none.
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
        /// `len` bytes (not zero) on `node`.
        pub(crate) fn new(len: usize, node: u32) -> Result<Self, BuildError> {
            let mut mask = [0usize; MASK_WORDS];
            let at = node as usize;
            let Some(word) = mask.get_mut(at / usize::BITS as usize) else {
                return Err(BuildError::UnknownNode { node });
            };
            *word = 1 << (at % usize::BITS as usize);

            let flags = MapFlags::PRIVATE;
            let prot = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a fresh mapping at an address of the kernel's choice touches nobody's memory.
            let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, prot, flags) };
            let start = start.ok().and_then(NonNull::new);
            let start = start.ok_or(BuildError::NodeMemory { node, bytes: len })?;
            let mapping = Self { start, len };

            // SAFETY: `mbind` reads the mask, which is as long as it is told, and sets a policy on
            // our own mapping.
            let refused = unsafe {
                libc::syscall(
                    libc::SYS_mbind,
                    start.as_ptr(),
                    len,
                    MPOL_BIND,
                    mask.as_ptr(),
                    // The kernel counts one less than it is told.
                    MAX_NODES + 1,
                    0usize,
                )
            } != 0;
            if refused {
                let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
                return Err(match errno {
                    libc::EINVAL => BuildError::UnknownNode { node },
                    errno => BuildError::NodeRefused { node, errno },
                });
            }
            Ok(mapping)
        }

        /// Takes it apart: whoever has the start and knows the length owns it.
        #[cfg(not(genpool_loom))]
        pub(crate) fn into_start(self) -> NonNull<c_void> {
            ManuallyDrop::new(self).start
        }

        /// Puts it together again.
        ///
        /// # Safety
        ///
        /// The parts are those of one mapping that was taken apart, and are used for this only.
        #[cfg(not(genpool_loom))]
        pub(crate) unsafe fn from_parts(start: NonNull<c_void>, len: usize) -> Self {
            Self { start, len }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: by the invariant the range is one mapping of ours, and its user is gone.
            let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.len) };
            debug_assert!(unmapped.is_ok(), "munmap of our own mapping cannot fail");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod node_memory {
    use core::ffi::c_void;
    use core::ptr::NonNull;

    use crate::error::BuildError;

    /// No memory on a node can be asked for on this system.
    #[derive(Debug)]
    pub(crate) enum Mapping {}

    impl Mapping {
        pub(crate) fn new(_len: usize, node: u32) -> Result<Self, BuildError> {
            Err(BuildError::NodeUnsupported { node })
        }

        pub(crate) fn into_start(self) -> NonNull<c_void> {
            match self {}
        }

        /// Never called: there is nothing to put together.
        ///
        /// # Safety
        ///
        /// As on Linux.
        pub(crate) unsafe fn from_parts(_start: NonNull<c_void>, _len: usize) -> Self {
            unreachable!("no mapping was ever taken apart")
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri), not(genpool_loom)))]
mod tests {
    use super::*;
    use crate::sync::AtomicUsize;

    /// `MPOL_F_ADDR` of `get_mempolicy(2)`: the policy of the memory at an address.
    const OF_ADDR: usize = 2;
    /// `MPOL_F_ADDR | MPOL_F_NODE`: the node of the page at an address.
    const NODE_OF_ADDR: usize = 2 | 1;

    fn ask(table: &Table<AtomicUsize>, what: usize) -> core::ffi::c_int {
        let mut observed = -1;
        // SAFETY: the kernel writes one int and reads nothing of ours but the page's address.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_get_mempolicy,
                &raw mut observed,
                core::ptr::null_mut::<usize>(),
                0_usize,
                table.as_ptr(),
                what,
            )
        };
        assert_eq!(answer, 0, "get_mempolicy");
        observed
    }

    #[test]
    fn tables_lie_on_their_node() {
        let node = match Node::probe(0) {
            Ok(node) => node,
            // A sandbox may forbid the call; the builder reports that to its caller.
            Err(BuildError::NodeRefused { .. }) => return,
            Err(other) => panic!("{other}"),
        };
        let table = Table::<AtomicUsize>::zeroed(100_000, Some(node)).unwrap();
        let zeroed = |word: &AtomicUsize| word.load(crate::sync::Ordering::Relaxed) == 0;
        assert!(table.iter().all(zeroed));
        assert_eq!(ask(&table, OF_ADDR), 2, "bound to its node");
        assert_eq!(ask(&table, NODE_OF_ADDR), 0);
    }

    #[test]
    fn absurd_tables_are_refused() {
        let most = isize::MAX as usize / size_of::<usize>();
        for len in [usize::MAX, usize::MAX / 2, most + 1] {
            let refused = Table::<AtomicUsize>::zeroed(len, None);
            assert!(matches!(refused, Err(NoMemory { .. })));
        }
        assert!(Table::<AtomicUsize>::zeroed(0, None).unwrap().is_empty());
    }

    #[test]
    fn what_fills_a_line_begins_at_one() {
        for len in CACHE_LINE / size_of::<usize>()..200 {
            let table = Table::<AtomicUsize>::zeroed(len, None).unwrap();
            assert!(table.as_ptr().addr().is_multiple_of(CACHE_LINE));
        }
    }
}
