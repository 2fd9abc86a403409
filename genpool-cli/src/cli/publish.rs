//! Files that are published whole or not at all.
//!
//! The new content goes to a draft in the folder of the file, and takes the file's place by a rename when all of
//! it is on the disk. Until then a file that was there is untouched. On Linux the draft has no name before that,
//! so a process that is killed leaves nothing behind; where the file system has no such files, the draft exists
//! only while the content is written to it.
//!
//! A device, a pipe or a socket cannot be replaced: it is written to.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;

/// Symbolic links that are followed; as many as Linux follows.
const MOST_LINKS: usize = 40;

/// What a file is about to hold.
pub(super) enum Draft {
    /// A device, a pipe or a socket.
    Stream(File),
    File(Replacement),
}

/// What takes the place of a file, or of none.
pub(super) struct Replacement {
    /// Where it goes: no symbolic link.
    place: PathBuf,
    /// The file that it replaces.
    earlier: Option<Box<Metadata>>,
    /// Where the content is written, if a file may be without a name.
    unnamed: Option<File>,
}

impl Draft {
    /// Finds out whether the file can be written, before the work whose result it gets. Changes nothing.
    /// Opening a FIFO waits for its reader.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let writable = || File::options().write(true).open(path);
        let earlier = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(Self::Stream(writable()?)),
            Ok(found) => {
                // A file that may not be written is not replaced either.
                writable()?;
                Some(Box::new(found))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let place = place_of(path)?;
        let unnamed = unnamed_in(folder_of(&place)).map_err(|error| {
            let what = format!("no new file can be made in its folder: {error}");
            io::Error::new(error.kind(), what)
        })?;
        Ok(Self::File(Replacement {
            place,
            earlier,
            unnamed,
        }))
    }

    /// Has the file hold `text` and nothing else. If that fails, it is as it was.
    pub(super) fn publish(self, text: &str) -> io::Result<()> {
        match self {
            Self::Stream(mut file) => file.write_all(text.as_bytes()),
            Self::File(replacement) => replacement.publish(text),
        }
    }
}

impl Replacement {
    fn publish(self, text: &str) -> io::Result<()> {
        let folder = folder_of(&self.place);
        let mut name = Builder::new();
        name.prefix(".genpool-");
        let draft = match &self.unnamed {
            Some(file) => {
                self.fill(file, text)?;
                let named = name.make_in(folder, |path| give_name(file, path))?;
                named.into_temp_path()
            }
            None => {
                let named = name.make_in(folder, |path| File::create_new(path))?;
                self.fill(named.as_file(), text)?;
                named.into_temp_path()
            }
        };
        draft.persist(&self.place)?;
        Ok(())
    }

    fn fill(&self, mut file: &File, text: &str) -> io::Result<()> {
        file.write_all(text.as_bytes())?;
        if let Some(earlier) = &self.earlier {
            adopt(file, earlier)?;
        }
        // Some file systems say only now that the disk is full.
        file.sync_all()
    }
}

/// Gives a file the owner, as far as this process may, and the permissions of the one it replaces.
fn adopt(file: &File, earlier: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};

        // Refused to all but root, unless the group is one of the user's own.
        let _ = fchown(file, None, Some(earlier.gid()));
        let _ = fchown(file, Some(earlier.uid()), None);
    }
    let permissions: Permissions = earlier.permissions();
    file.set_permissions(permissions)
}

/// Where a file of this name is or would be: what its symbolic links lead to.
fn place_of(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.file_name().is_none() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            Ok(link) => place = folder_of(&place).join(link),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file without a name, if the folder's file system has such files. An error where the folder takes no new
/// file.
#[cfg(target_os = "linux")]
fn unnamed_in(folder: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;

    if Path::new(OPEN_FILES).exists() {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(CWD, folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => return Ok(Some(File::from(file))),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    tempfile::tempfile_in(folder).map(|_| None)
}

#[cfg(not(target_os = "linux"))]
fn unnamed_in(folder: &Path) -> io::Result<Option<File>> {
    tempfile::tempfile_in(folder).map(|_| None)
}

/// The names by which Linux knows the open files of this process.
#[cfg(target_os = "linux")]
const OPEN_FILES: &str = "/proc/self/fd";

#[cfg(target_os = "linux")]
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, linkat};

    let open = format!("{OPEN_FILES}/{}", file.as_raw_fd());
    Ok(linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn give_name(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What is the same for all names of a file, also before it exists: its device and number, or those of its folder
/// with its name there.
#[cfg(unix)]
pub(super) type Identity = (u64, u64, Option<std::ffi::OsString>);

#[cfg(unix)]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    // Without opening it, for it may be a pipe.
    match fs::metadata(path) {
        Ok(file) => Ok((file.dev(), file.ino(), None)),
        Err(_) => {
            let place = place_of(path)?;
            let folder = fs::metadata(folder_of(&place))?;
            let name = place.file_name().map(ToOwned::to_owned);
            Ok((folder.dev(), folder.ino(), name))
        }
    }
}

/// What is the same for all names of a file but hard links.
#[cfg(not(unix))]
pub(super) type Identity = PathBuf;

#[cfg(not(unix))]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    fs::canonicalize(path).or_else(|_| {
        let place = place_of(path)?;
        let folder = fs::canonicalize(folder_of(&place))?;
        Ok(folder.join(place.file_name().unwrap_or_default()))
    })
}

#[cfg(all(test, unix))]
mod tests;
