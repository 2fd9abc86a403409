//! Fixed-size tables: zeroed ones on the heap or on one NUMA node, and borrowed ones. A table on the heap that fills a
//! cache line begins at the start of one.

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

#[cfg(all(feature = "alloc", not(genpool_loom)))]
use alloc::alloc::Layout;
#[cfg(genpool_loom)]
use alloc::boxed::Box;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(all(feature = "alloc", not(genpool_loom)))]
use bytemuck::Zeroable;

#[cfg(all(feature = "alloc", not(genpool_loom)))]
use super::node::Mapping;
#[cfg(feature = "alloc")]
use super::node::Node;

/// There was no memory for a table of this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory {
    pub(crate) bytes: usize,
}

/// More bytes than a change of the chunk list allocates in small pieces (2026-11).
#[cfg(feature = "alloc")]
const SPARE: usize = 2048;

/// Checks that there is memory for the small pieces of bookkeeping that a change of the chunk list allocates, in
/// `Arc`s and boxes. Such an allocation cannot report a failure: it ends the process. This is a check and no
/// reservation, so other threads may take the memory meanwhile.
#[cfg(feature = "alloc")]
pub(crate) fn probe_spare() -> Result<(), NoMemory> {
    let mut spare = Vec::<u8>::new();
    let had = spare.try_reserve_exact(SPARE);
    // Or the compiler leaves out the unused allocation.
    core::hint::black_box(&spare);
    had.map_err(|_| NoMemory { bytes: SPARE })
}

/// Makes room in a list for `more` items besides those that it has.
#[cfg(feature = "alloc")]
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), NoMemory> {
    list.try_reserve(more).map_err(|_| NoMemory {
        bytes: more.saturating_mul(size_of::<T>()),
    })
}

/// Makes room as [`reserve`] does, and no more than is asked for.
#[cfg(feature = "alloc")]
pub(crate) fn reserve_exact<T>(list: &mut Vec<T>, more: usize) -> Result<(), NoMemory> {
    list.try_reserve_exact(more).map_err(|_| NoMemory {
        bytes: more.saturating_mul(size_of::<T>()),
    })
}

/// Bytes in a cache line.
#[cfg(all(feature = "alloc", not(genpool_loom)))]
const CACHE_LINE: usize = 64;

/// The byte before the items of a table that borrows them.
#[cfg(not(genpool_loom))]
const BORROWED: u8 = u8::MAX;

/// Items that stay in place until the table is dropped.
///
/// # Invariants
///
/// `items` points to initialised items that this table alone owns, or that it borrows for good. If they are not empty,
/// the byte before them belongs to the table too. It says how many bytes of the allocation come before the items. The
/// allocation is as [`layout_of`](Self::layout_of) says. Or the byte is 0, and the items come [`CACHE_LINE`] bytes after
/// the start of a mapping that was taken apart. Or it is [`BORROWED`].
pub(crate) struct Table<T> {
    items: NonNull<[T]>,
}

// SAFETY: the table owns its items, as a `Box<[T]>` does, or borrows items that are `Sync`.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: a shared table hands out shared references only.
unsafe impl<T: Sync> Sync for Table<T> {}

/// Items for a table to borrow.
#[cfg(not(genpool_loom))]
#[derive(Debug)]
#[cfg_attr(target_pointer_width = "64", repr(C, align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(C))]
pub(crate) struct TableMemory<T, const N: usize> {
    before: [u8; BEFORE],
    items: [T; N],
}

/// Bytes before borrowed items. A cache line on 64-bit machines, so that the items begin at one.
#[cfg(not(genpool_loom))]
const BEFORE: usize = if cfg!(target_pointer_width = "64") {
    64
} else {
    size_of::<usize>()
};

#[cfg(not(genpool_loom))]
impl<T, const N: usize> TableMemory<T, N> {
    pub(crate) const fn new(items: [T; N]) -> Self {
        // Or there are bytes in between.
        const { assert!(BEFORE.is_multiple_of(align_of::<T>())) };
        let before = [BORROWED; BEFORE];
        Self { before, items }
    }
}

#[cfg(not(genpool_loom))]
impl<T: Sync> Table<T> {
    /// Creates a table that borrows its items.
    pub(crate) const fn borrowed<const N: usize>(memory: &'static TableMemory<T, N>) -> Self {
        let memory = core::ptr::from_ref(memory);
        // SAFETY: the place is inside the memory. The pointer may be used for all of the memory, also for the byte before
        // the items.
        let items = unsafe { memory.cast::<u8>().add(BEFORE) };
        // SAFETY: it is inside what a reference points to.
        let items = unsafe { NonNull::new_unchecked(items.cast_mut()) };
        Self {
            items: NonNull::slice_from_raw_parts(items.cast(), N),
        }
    }
}

#[cfg(all(feature = "alloc", not(genpool_loom)))]
impl<T> Table<T> {
    /// Returns a multiple of which items of so many bytes begin at. At most so many bytes come before them.
    fn boundary(bytes: usize) -> usize {
        const { assert!(align_of::<T>() <= CACHE_LINE) };
        if bytes < CACHE_LINE {
            align_of::<T>()
        } else {
            CACHE_LINE
        }
    }

    /// Returns what to allocate for `len` items, if it can be allocated. No greater alignment is asked for than that of
    /// the items, because the allocator would then write memory that the system gave zeroed.
    fn layout_of(len: usize) -> Option<Layout> {
        let items = Layout::array::<T>(len).ok()?;
        let size = items.size().checked_add(Self::boundary(items.size()))?;
        Layout::from_size_align(size, items.align()).ok()
    }
}

#[cfg(all(feature = "alloc", not(genpool_loom)))]
impl<T: Zeroable> Table<T> {
    /// Creates a table of `len` zeroed items, on `node` if one is given.
    pub(crate) fn zeroed(len: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let layout = Self::layout_of(len).ok_or(NoMemory { bytes: usize::MAX })?;
        let bytes = size_of::<T>() * len;
        let no_memory = NoMemory { bytes };
        let start = match node {
            _ if bytes == 0 => NonNull::<T>::dangling().cast(),
            None => {
                // SAFETY: the layout is not empty.
                let begin = unsafe { alloc::alloc::alloc_zeroed(layout) };
                let begin = NonNull::new(begin).ok_or(no_memory)?;
                let boundary = Self::boundary(bytes);
                let skipped = boundary - begin.addr().get() % boundary;
                // SAFETY: the allocation is longer than the items by `boundary`, which is at least `skipped`.
                let start = unsafe { begin.add(skipped) };
                // SAFETY: at least one byte of the allocation comes before the items.
                let before = unsafe { start.sub(1) };
                // SAFETY: the byte is ours.
                unsafe { before.write(skipped as u8) };
                start
            }
            Some(node) => {
                let mapped = bytes.checked_add(CACHE_LINE).ok_or(no_memory)?;
                let mapping = Mapping::new(mapped, node.number()).map_err(|_| no_memory)?;
                // SAFETY: the mapping is longer than this.
                unsafe { mapping.into_start().cast::<u8>().add(CACHE_LINE) }
            }
        };
        Ok(Self {
            items: NonNull::slice_from_raw_parts(start.cast(), len),
        })
    }
}

#[cfg(genpool_loom)]
impl<T: Default> Table<T> {
    /// Creates a table of `len` fresh items: loom's atomics have no all-zero form.
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
        // SAFETY: by the invariant the items are initialised and live as long as the table, and no mutable
        // reference to them exists.
        unsafe { self.items.as_ref() }
    }
}

#[cfg(all(feature = "alloc", not(genpool_loom)))]
impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        const { assert!(!core::mem::needs_drop::<T>()) };
        let bytes = size_of::<T>() * self.items.len();
        if bytes == 0 {
            return;
        }
        let start = self.items.cast::<u8>();
        // SAFETY: by the invariant the byte before the items belongs to the table.
        let before = unsafe { start.sub(1) };
        // SAFETY: it was written, or mapped, when the table was made.
        let before = unsafe { before.read() };
        if before == BORROWED {
            return;
        }
        let skipped = usize::from(before);
        if skipped != 0
            && let Some(layout) = Self::layout_of(self.items.len())
        {
            // SAFETY: by the invariant the allocation begins there.
            let begin = unsafe { start.sub(skipped) };
            // SAFETY: by the invariant it was allocated with this layout, and nothing uses the items any more.
            unsafe { alloc::alloc::dealloc(begin.as_ptr(), layout) };
        } else {
            // SAFETY: by the invariant the mapping begins there.
            let begin = unsafe { start.sub(CACHE_LINE) };
            // SAFETY: by the invariant these are the parts of a mapping, and nothing uses it any more.
            unsafe { Mapping::end(begin.cast(), bytes + CACHE_LINE) };
        }
    }
}

#[cfg(genpool_loom)]
impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: in the model the items are a leaked box, and nothing uses them any more.
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

#[cfg(all(test, target_os = "linux", not(miri), not(genpool_loom)))]
mod tests {
    use super::super::node::NodeError;
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
            Err(NodeError::Refused { .. }) => return,
            Err(other) => panic!("{other:?}"),
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
