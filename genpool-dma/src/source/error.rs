//! Errors of sources.

use core::error::Error;
use core::fmt;
use std::io;
use std::path::PathBuf;

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
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// Zero bytes were asked for, or more than there are addresses.
    Size {
        /// The bytes asked for.
        size: usize,
    },
    /// The alignment is not a power of two.
    Align {
        /// The given alignment in bytes.
        bytes: usize,
    },
    /// The name of a memfd contains a NUL or has more than 249 bytes.
    Name {
        /// The given name.
        name: String,
    },
    /// The kernel has no pages of this size.
    NoSuchPages {
        /// The size asked for.
        pages: PageSize,
    },
    /// Not enough huge pages are reserved and free.
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
    NoMemory {
        /// The bytes asked for.
        size: usize,
    },
    /// The process may not lock this much memory.
    LockLimit {
        /// The bytes asked for.
        size: usize,
        /// How many bytes the process may lock in total (`RLIMIT_MEMLOCK`), or none if there is no limit.
        limit: Option<u64>,
    },
    /// The machine has no such NUMA node, the node has no memory, or a cpuset hides it from the process.
    UnknownNode {
        /// The given node.
        node: u32,
    },
    /// Opening a file needs a privilege.
    NoPrivilege {
        /// The file.
        path: PathBuf,
        /// The privilege.
        needs: &'static str,
    },
    /// A file does not exist.
    NotThere {
        /// The file.
        path: PathBuf,
        /// What the file would be.
        what: &'static str,
    },
    /// A file of the kernel is not in the expected format.
    Format {
        /// The file.
        path: PathBuf,
        /// The text found.
        text: String,
    },
    /// A kernel driver holds the device's memory.
    Busy {
        /// The file that would be mapped.
        path: PathBuf,
    },
    /// The text is not the address of a PCI device.
    PciAddress {
        /// The given text.
        address: String,
    },
    /// The BAR does not exist or is not memory.
    NotMemory {
        /// The index of the BAR.
        bar: u8,
    },
    /// The system refused a call.
    System {
        /// The call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
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

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { size } => write!(f, "{size:#x} bytes of memory make no sense"),
            Self::Align { bytes } => write!(f, "an alignment of {bytes} is not a power of two"),
            Self::Name { name } => write!(f, "the name {name:?} has a NUL, or more than 249 bytes"),
            Self::NoSuchPages { pages } => write!(f, "this kernel has no {pages}"),
            Self::HugePages {
                pages,
                wanted,
                free,
                node,
            } => {
                write!(f, "{wanted} {pages} are needed, {free} are free")?;
                if let Some(node) = node {
                    write!(f, " on node {node}")?;
                }
                write!(
                    f,
                    "; write a number to {} to reserve more",
                    pages.knob(*node)
                )
            }
            Self::NoMemory { size } => write!(f, "{size:#x} bytes of memory could not be had"),
            Self::LockLimit {
                size,
                limit: Some(limit),
            } => write!(
                f,
                "{size:#x} bytes cannot be locked: the process may lock {limit:#x} in all; raise RLIMIT_MEMLOCK (`ulimit -l`) or grant CAP_IPC_LOCK"
            ),
            Self::LockLimit { size, limit: None } => write!(
                f,
                "{size:#x} bytes cannot be locked, though the process has no limit: there is no memory left"
            ),
            Self::UnknownNode { node } => {
                write!(
                    f,
                    "NUMA node {node} does not exist, has no memory, or is kept from this process"
                )
            }
            Self::NoPrivilege { path, needs } => {
                write!(f, "{} may not be opened: it takes {needs}", path.display())
            }
            Self::NotThere { path, what } => {
                write!(f, "no {what}: {} is not there", path.display())
            }
            Self::Format { path, text } => {
                write!(
                    f,
                    "{} reads {text:?}, which is not understood",
                    path.display()
                )
            }
            Self::Busy { path } => write!(
                f,
                "{} is held by a driver of the kernel: unbind it from the device",
                path.display()
            ),
            Self::PciAddress { address } => write!(
                f,
                "{address:?} is no PCI address: one reads like 0000:00:04.0"
            ),
            Self::NotMemory { bar } => write!(f, "BAR {bar} does not exist or is no memory"),
            Self::System { call, source } => write!(f, "{call}: {source}"),
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
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
