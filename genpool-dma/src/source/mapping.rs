//! Mappings that are unmapped when they are dropped.

use core::ffi::c_void;
use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A mapping of this process.
///
/// # Invariants
///
/// The range was mapped by this value and is unmapped by nobody else.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    len: NonZeroUsize,
}

// SAFETY: a mapping belongs to the process, not to a thread; the value only unmaps it.
unsafe impl Send for Mapping {}
// SAFETY: shared, it only tells where it is.
unsafe impl Sync for Mapping {}

/// What is mapped.
#[derive(Clone, Copy)]
pub(super) enum Backing<'f> {
    Anonymous,
    /// A file from an offset on, shared with all who map it.
    File(BorrowedFd<'f>, u64),
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Mapping {
    /// Maps `len` bytes, readable and writable, where the kernel likes. `flags` are more than whether it
    /// is shared.
    pub(super) fn new(
        len: NonZeroUsize,
        backing: Backing<'_>,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nobody's memory.
        unsafe { map(ptr::null_mut(), len, backing, flags) }
    }

    /// As [`new`](Self::new), at a multiple of `align`.
    pub(super) fn aligned(
        len: NonZeroUsize,
        align: usize,
        backing: Backing<'_>,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        /// Between looking and mapping another thread may map something there. A few such accidents in a
        /// row are thinkable, not so many (2026-11).
        const TRIES: usize = 16;

        let room = len.get().checked_add(align).ok_or(Errno::NOMEM)?;
        for _ in 0..TRIES {
            let at = free_space(room)?.next_multiple_of(align);
            let flags = flags | MapFlags::FIXED_NOREPLACE;
            // SAFETY: a mapping that replaces none touches nobody's memory.
            match unsafe { map(ptr::without_provenance_mut(at), len, backing, flags) } {
                Ok(mapping) if mapping.start.addr().get() == at => return Ok(mapping),
                // Kernels before 4.17 take the address for a wish.
                Ok(_) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::AGAIN)
    }

    pub(super) fn start(&self) -> NonNull<c_void> {
        self.start
    }

    pub(super) fn len(&self) -> NonZeroUsize {
        self.len
    }
}

/// Where so many bytes are free at this moment.
fn free_space(room: usize) -> Result<usize, Errno> {
    let reserve = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: as in `Mapping::new`.
    let space =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room, ProtFlags::empty(), reserve) }?;
    // SAFETY: mapped just now, and used by nobody.
    unsafe { rustix::mm::munmap(space, room) }?;
    Ok(space.addr())
}

/// # Safety
///
/// As of `mmap`: with a fixed address, nobody uses what is mapped there.
unsafe fn map(
    at: *mut c_void,
    len: NonZeroUsize,
    backing: Backing<'_>,
    flags: MapFlags,
) -> Result<Mapping, Errno> {
    let start = match backing {
        Backing::Anonymous => {
            let flags = flags | MapFlags::PRIVATE;
            // SAFETY: the caller's promise.
            unsafe { rustix::mm::mmap_anonymous(at, len.get(), READ_WRITE, flags) }?
        }
        Backing::File(file, offset) => {
            let flags = flags | MapFlags::SHARED;
            // SAFETY: the caller's promise.
            unsafe { rustix::mm::mmap(at, len.get(), READ_WRITE, flags, file, offset) }?
        }
    };
    let start = NonNull::new(start).ok_or(Errno::NOMEM)?;
    Ok(Mapping { start, len })
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let (start, len) = (self.start.as_ptr(), self.len.get());
        // SAFETY: by the invariant the range is our own mapping, and its user is gone.
        if unsafe { rustix::mm::munmap(start, len) }.is_ok() {
            return;
        }
        // The kernel joins neighbours, and taking one out of the middle makes one mapping more, which a process
        // that has as many as it may (`vm.max_map_count`) is refused. Then its pages go, and its addresses stay
        // taken.
        // SAFETY: as above.
        unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontNeed) }.ok();
    }
}

/// How many bytes the process may lock (`RLIMIT_MEMLOCK`); none if it is not limited, or if a sandbox does not
/// let it ask.
pub(super) fn lock_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // rustix takes the call for one that cannot fail.
    // SAFETY: the call writes to `limit` and nowhere else, if it does.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (asked == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no limits")]
    fn the_limit_of_locked_memory_is_the_soft_one() {
        let read = || {
            let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
            let line = limits
                .lines()
                .find(|line| line.starts_with("Max locked memory"))
                .unwrap();
            line.split_whitespace().nth(3).unwrap().parse::<u64>().ok()
        };
        assert_eq!(lock_limit(), read());
        // A page less than there is, or a limit where there is none: other tests lock a few pages.
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the call writes to `limit`.
        let asked = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
        limit.rlim_cur = limit.rlim_cur.min(1 << 40) - 4096;
        // SAFETY: the call reads `limit`.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
        assert_eq!((asked, set), (0, 0));
        assert_eq!(lock_limit(), Some(limit.rlim_cur));
        assert_eq!(read(), Some(limit.rlim_cur));
    }
}
