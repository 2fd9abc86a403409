//! Files that are written whole or not at all.
//!
//! The new content goes to a draft in the file's folder. When all of it is on the disk, a rename puts the draft in the
//! file's place. Until then an existing file is untouched. On Linux the draft has no name before that, so a killed
//! process leaves nothing behind. If the file system does not support unnamed files, the draft exists only while the
//! content is written.
//!
//! A device, a pipe or a socket cannot be replaced, so it is written to directly.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;

/// The most symbolic links that are followed; as many as Linux follows.
const MOST_LINKS: usize = 40;

/// A destination that can be written.
pub(super) enum Draft {
    /// A device, a pipe or a socket.
    Stream(File),
    File(Replacement),
}

/// A file that is to be created or replaced.
pub(super) struct Replacement {
    /// The final path, with all symbolic links resolved.
    place: PathBuf,
    /// The metadata of the file that it replaces.
    earlier: Option<Box<Metadata>>,
    /// The draft, if the file system supports unnamed files.
    unnamed: Option<File>,
}

impl Draft {
    /// Checks that the file can be written, before the work whose result it gets. Changes nothing. Opening a FIFO waits
    /// for its reader.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let writable = || File::options().write(true).open(path);
        let earlier = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(Self::Stream(writable()?)),
            Ok(found) => {
                // A file that is not writable must not be replaced either.
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

    /// Writes `text` as the file's only content. If that fails, the file is unchanged.
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
        // Some file systems report only now that the disk is full.
        file.sync_all()
    }
}

/// Copies the owner, as far as this process may, and the permissions of the replaced file.
fn adopt(file: &File, earlier: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};

        // This fails except for root, or for one of the user's own groups.
        let _ = fchown(file, None, Some(earlier.gid()));
        let _ = fchown(file, Some(earlier.uid()), None);
    }
    let permissions: Permissions = earlier.permissions();
    file.set_permissions(permissions)
}

/// Returns the path that a file of this name has or would have, after following symbolic links.
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

/// Creates a file without a name, if the folder's file system supports that. Returns an error if the folder does not
/// allow new files.
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

/// The folder in which Linux lists the open files of this process.
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

/// A value that is the same for all names of a file: its device and number. If the file does not exist yet, those of
/// its folder and its name there.
#[cfg(unix)]
pub(super) type Identity = (u64, u64, Option<std::ffi::OsString>);

#[cfg(unix)]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    // This does not open it, as it may be a pipe.
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

/// A value that is the same for all names of a file, except hard links.
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
