//! Errors of sources.

use core::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::page_size::PageSize;

/// The reason why a source has no memory to give.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::source::{RamSource, SourceError};
///
/// let refused = RamSource::new(0).map().unwrap_err();
/// assert!(matches!(refused, SourceError::Size { size: 0 }));
/// match RamSource::new(1 << 30).locked().map() {
///     Ok(region) => println!("{} bytes, locked", region.size()),
///     Err(SourceError::LockLimit { limit, .. }) => println!("at most {limit:?} bytes may be locked"),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Zero bytes were asked for, or more than there are addresses.
    #[error("{size:#x} bytes of memory make no sense")]
    Size {
        /// The bytes asked for.
        size: usize,
    },
    /// The alignment is not a power of two.
    #[error("an alignment of {bytes} is not a power of two")]
    Align {
        /// The given alignment in bytes.
        bytes: usize,
    },
    /// The name of a memfd contains a NUL or has more than 249 bytes.
    #[error("the name {name:?} has a NUL, or more than 249 bytes")]
    Name {
        /// The given name.
        name: String,
    },
    /// The kernel has no pages of this size.
    #[error("{pages} do not exist in this kernel")]
    NoSuchPages {
        /// The size asked for.
        pages: PageSize,
    },
    /// Not enough huge pages are reserved and free.
    #[error(
        "{wanted} {pages} are needed, {free} are free{}; write a number to {} to reserve more",
        OnNode(*node),
        pages.knob(*node)
    )]
    HugePages {
        /// Their size.
        pages: PageSize,
        /// How many are needed.
        wanted: usize,
        /// How many are free, on the node if one was given.
        free: usize,
        /// The given node.
        node: Option<u32>,
    },
    /// No memory is left.
    #[error("{size:#x} bytes of memory could not be had")]
    NoMemory {
        /// The bytes asked for.
        size: usize,
    },
    /// The process may not lock this much memory.
    #[error("{size:#x} bytes cannot be locked{}", Lockable(*limit))]
    LockLimit {
        /// The bytes asked for.
        size: usize,
        /// How many bytes the process may lock in total (`RLIMIT_MEMLOCK`), or none if there is no limit.
        limit: Option<u64>,
    },
    /// The machine has no such NUMA node, the node has no memory, or a cpuset hides it from the process.
    #[error("NUMA node {node} does not exist, has no memory, or is kept from this process")]
    UnknownNode {
        /// The given node.
        node: u32,
    },
    /// Opening a file needs a privilege.
    #[error("{} may not be opened: it takes {needs}", path.display())]
    NoPrivilege {
        /// The file.
        path: PathBuf,
        /// The privilege.
        needs: &'static str,
    },
    /// A file does not exist.
    #[error("{} is not there: no {what}", path.display())]
    NotThere {
        /// The file.
        path: PathBuf,
        /// What the file would be.
        what: &'static str,
    },
    /// A file of the kernel is not in the expected format.
    #[error("{} reads {text:?}, which is not understood", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The text found.
        text: String,
    },
    /// A kernel driver holds the device's memory.
    #[error("{} is held by a driver of the kernel: unbind it from the device", path.display())]
    Busy {
        /// The file that would be mapped.
        path: PathBuf,
    },
    /// The text is not the address of a PCI device.
    #[error("{address:?} is no PCI address: one reads like 0000:00:04.0")]
    PciAddress {
        /// The given text.
        address: String,
    },
    /// The BAR does not exist or is not memory.
    #[error("BAR {bar} does not exist or is no memory")]
    NotMemory {
        /// The index of the BAR.
        bar: u8,
    },
    /// The system refused a call.
    #[error("{call}: refused by the system")]
    System {
        /// The call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
}

/// Formats the node that a source was given, if any.
struct OnNode(Option<u32>);

impl fmt::Display for OnNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(node) => write!(f, " on node {node}"),
            None => Ok(()),
        }
    }
}

/// Formats why the process cannot lock more memory.
struct Lockable(Option<u64>);

impl fmt::Display for Lockable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(
                f,
                ": the process may lock {limit:#x} in all; raise RLIMIT_MEMLOCK (`ulimit -l`) or grant CAP_IPC_LOCK"
            ),
            None => f.write_str(", though the process has no limit: there is no memory left"),
        }
    }
}

impl SourceError {
    pub(super) fn system(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System {
            call,
            source: errno.into(),
        }
    }

    /// Returns a function that maps an I/O error of opening or reading `path`.
    pub(super) fn file(
        path: &std::path::Path,
        what: &'static str,
        needs: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::NotThere { path, what },
            io::ErrorKind::PermissionDenied => Self::NoPrivilege { path, needs },
            _ => Self::System { call: what, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_read_is_missing_or_not_ours_or_broken() {
        let explain = |kind: io::ErrorKind| {
            let explain = SourceError::file("/a/file".as_ref(), "table", "root");
            explain(io::Error::from(kind))
        };
        let missing = explain(io::ErrorKind::NotFound);
        assert!(
            matches!(missing, SourceError::NotThere { what: "table", .. }),
            "{missing}"
        );
        let denied = explain(io::ErrorKind::PermissionDenied);
        assert!(
            matches!(denied, SourceError::NoPrivilege { needs: "root", .. }),
            "{denied}"
        );
        let broken = explain(io::ErrorKind::InvalidData);
        assert!(
            matches!(broken, SourceError::System { call: "table", .. }),
            "{broken}"
        );
    }
}
