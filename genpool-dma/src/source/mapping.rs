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

// SAFETY: a mapping belongs to the process, not to a thread, and the value only unmaps it.
unsafe impl Send for Mapping {}
// SAFETY: a shared mapping only returns its address.
unsafe impl Sync for Mapping {}

/// What is mapped.
#[derive(Clone, Copy)]
pub(super) enum Backing<'f> {
    Anonymous,
    /// A file from an offset on, shared with everybody who maps it.
    File(BorrowedFd<'f>, u64),
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Mapping {
    /// Maps `len` bytes, readable and writable, at an address of the kernel's choice. `flags` are those other than
    /// shared or private.
    pub(super) fn new(
        len: NonZeroUsize,
        backing: Backing<'_>,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        // SAFETY: a fresh mapping at an address of the kernel's choice replaces no other memory.
        unsafe { map(ptr::null_mut(), len, backing, flags) }
    }

    /// Like [`new`](Self::new), at a multiple of `align`.
    pub(super) fn aligned(
        len: NonZeroUsize,
        align: usize,
        backing: Backing<'_>,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        /// Another thread may map something between the search and the mapping. A few collisions in a row are
        /// possible, but not this many (2026-11).
        const TRIES: usize = 16;

        let room = len.get().checked_add(align).ok_or(Errno::NOMEM)?;
        for _ in 0..TRIES {
            let at = free_space(room)?.next_multiple_of(align);
            let flags = flags | MapFlags::FIXED_NOREPLACE;
            // SAFETY: a mapping that replaces none affects nobody's memory.
            match unsafe { map(ptr::without_provenance_mut(at), len, backing, flags) } {
                Ok(mapping) if mapping.start.addr().get() == at => return Ok(mapping),
                // Kernels before 4.17 treat the address as a hint.
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

/// Returns an address at which `room` bytes are free at this moment.
fn free_space(room: usize) -> Result<usize, Errno> {
    let reserve = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: as in `Mapping::new`.
    let space =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room, ProtFlags::empty(), reserve) }?;
    // SAFETY: mapped just now and used by nobody.
    unsafe { rustix::mm::munmap(space, room) }?;
    Ok(space.addr())
}

/// # Safety
///
/// As for `mmap`: with a fixed address, nobody uses what is mapped there.
unsafe fn map(
    at: *mut c_void,
    len: NonZeroUsize,
    backing: Backing<'_>,
    flags: MapFlags,
) -> Result<Mapping, Errno> {
    let start = match backing {
        Backing::Anonymous => {
            let flags = flags | MapFlags::PRIVATE;
            // SAFETY: the caller promises this.
            unsafe { rustix::mm::mmap_anonymous(at, len.get(), READ_WRITE, flags) }?
        }
        Backing::File(file, offset) => {
            let flags = flags | MapFlags::SHARED;
            // SAFETY: the caller promises this.
            unsafe { rustix::mm::mmap(at, len.get(), READ_WRITE, flags, file, offset) }?
        }
    };
    let start = NonNull::new(start).ok_or(Errno::NOMEM)?;
    Ok(Mapping { start, len })
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let (start, len) = (self.start.as_ptr(), self.len.get());
        // SAFETY: by the invariant the range is this value's own mapping, and its user is gone.
        if unsafe { rustix::mm::munmap(start, len) }.is_ok() {
            return;
        }
        // The kernel merges adjacent mappings. Unmapping a part of the middle needs one mapping more, which is
        // refused to a process that has the maximum number (`vm.max_map_count`). Then the pages are freed and the
        // addresses stay occupied.
        // SAFETY: as above.
        unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontNeed) }.ok();
    }
}

/// Returns how many bytes the process may lock (`RLIMIT_MEMLOCK`). None if there is no limit, or if a sandbox refuses
/// the query.
pub(super) fn lock_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // rustix assumes that this call cannot fail.
    // SAFETY: the call writes to `limit` or to nothing.
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
