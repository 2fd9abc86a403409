//! `genpool show`: a pool as it was, from a snapshot in JSON.

pub mod text;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use genpool_observe::{NoSnapshot, Snapshot};

/// Longest snapshot that is read: 64 MiB, which those have room in that were not asked to be larger.
pub const MAX_BYTES: u64 = 64 << 20;

/// Reads a snapshot; anything that can be read to its end will do, a pipe included.
///
/// # Errors
///
/// [`ShowError`] when the file cannot be read, is over [`MAX_BYTES`], or is no snapshot that a pool could
/// have made.
///
/// ```
/// use genpool::Pool;
/// use genpool_cli::show;
/// use genpool_observe::Snapshot;
///
/// let pool = Pool::builder().order(12).name("sram").build()?;
/// pool.add(0x10_0000, 0x10_0000)?;
/// let json = serde_json::to_vec(&Snapshot::of(&pool))?;
/// let snapshot = show::parse(&json)?;
/// assert!(show::text::pool(&snapshot).starts_with("pool      sram"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse(json: &[u8]) -> Result<Snapshot, ShowError> {
    let snapshot: Snapshot = serde_json::from_slice(json).map_err(ShowError::Json)?;
    snapshot.check().map_err(ShowError::Value)?;
    Ok(snapshot)
}

/// Reads the file at `path` as [`parse`] does.
///
/// # Errors
///
/// As [`parse`].
pub fn load(path: &Path) -> Result<Snapshot, ShowError> {
    let mut json = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut json))
        .map_err(ShowError::Io)?;
    if json.len() as u64 > MAX_BYTES {
        return Err(ShowError::TooLong);
    }
    parse(&json)
}

/// Why there is nothing to show.
#[derive(Debug)]
pub enum ShowError {
    /// The file cannot be read.
    Io(io::Error),
    /// It is over [`MAX_BYTES`].
    TooLong,
    /// It is not JSON, or not of a snapshot.
    Json(serde_json::Error),
    /// No pool looks like that.
    Value(NoSnapshot),
}

impl fmt::Display for ShowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TooLong => write!(f, "longer than {} MiB", MAX_BYTES >> 20),
            Self::Json(error) => write!(f, "no snapshot: {error}"),
            Self::Value(error) => write!(f, "no snapshot of a pool: {error}"),
        }
    }
}

impl std::error::Error for ShowError {}
