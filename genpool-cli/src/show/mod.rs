//! `genpool show`: the state of a pool, from a snapshot in JSON.

pub mod text;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use genpool_observe::{NoSnapshot, Snapshot};
use thiserror::Error;

use crate::plain::Plain;
use crate::table::shorten;

/// The longest snapshot that is read: 160 MiB (2026-11). With the default limit a snapshot has at most a million runs
/// and allocations, some 120 MiB if they are long and indented. The rest is for chunks.
pub const MAX_BYTES: u64 = 160 << 20;

/// The longest description of an error, which is on one line.
const LONGEST_REASON: usize = 120;

/// Reads a snapshot from text.
///
/// # Errors
///
/// [`ShowError`] if the text is not JSON, or is not a snapshot that a pool could have made.
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
    checked(serde_json::from_slice(json).map_err(ShowError::Json)?)
}

/// Reads the file at `path` as [`parse`] does, or anything else that can be read to its end, such as a pipe.
///
/// # Errors
///
/// Those of [`parse`], and [`ShowError`] if the file cannot be read or exceeds [`MAX_BYTES`].
pub fn load(path: &Path) -> Result<Snapshot, ShowError> {
    let file = File::open(path).map_err(ShowError::Io)?;
    read(file, MAX_BYTES)
}

/// Reads at most `most` bytes, piece by piece, so that the text is never in memory as a whole.
fn read(input: impl Read, most: u64) -> Result<Snapshot, ShowError> {
    let mut input = input.take(most + 1);
    let snapshot = serde_json::from_reader(BufReader::new(&mut input));
    if input.limit() == 0 {
        return Err(ShowError::TooLong);
    }
    checked(snapshot.map_err(|error| match error.is_io() {
        true => ShowError::Io(error.into()),
        false => ShowError::Json(error),
    })?)
}

fn checked(snapshot: Snapshot) -> Result<Snapshot, ShowError> {
    snapshot.check().map_err(ShowError::Value)?;
    Ok(snapshot)
}

/// The reason that there is nothing to show.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShowError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(io::Error),
    /// It is over [`MAX_BYTES`].
    #[error("longer than {} MiB", MAX_BYTES >> 20)]
    TooLong,
    /// It is not JSON, or not a snapshot.
    #[error("no snapshot: {}", shorten(&Plain(.0).to_string(), LONGEST_REASON))]
    Json(serde_json::Error),
    /// No pool looks like that.
    #[error("no snapshot of a pool")]
    Value(#[source] NoSnapshot),
}

#[cfg(test)]
mod tests {
    use genpool::Pool;
    use serde_json::{Value, json};

    use super::*;

    fn snapshot() -> Snapshot {
        let pool = Pool::builder()
            .order(12)
            .boundary_tracking()
            .build()
            .unwrap();
        pool.add(0x1000, 0x4000).unwrap();
        let _ = pool.alloc(1).unwrap().into_raw();
        Snapshot::of(&pool)
    }

    #[test]
    fn too_long_is_distinguished_from_wrong() {
        let json = serde_json::to_vec(&snapshot()).unwrap();
        let most = json.len() as u64;
        assert_eq!(read(&json[..], most).unwrap(), snapshot());
        for most in [most - 1, 1, 0] {
            assert!(matches!(read(&json[..], most), Err(ShowError::TooLong)));
        }
        let half = &json[..json.len() / 2];
        assert!(matches!(read(half, most), Err(ShowError::Json(_))));
    }

    /// A million allocations. As many runs would be shorter.
    #[test]
    fn the_longest_snapshot_of_its_own_accord_has_room() {
        const ENTRIES: u64 = 1 << 20;
        let with = |live: usize| {
            let mut value = serde_json::to_value(snapshot()).unwrap();
            let one = json!({"addr": u64::MAX, "size": u64::MAX, "tag": u64::MAX});
            value["live"] = Value::Array(vec![one; live]);
            serde_json::to_string_pretty(&value).unwrap().len() as u64
        };
        let each = with(2) - with(1);
        assert!(each * ENTRIES < MAX_BYTES / 4 * 3, "{each}");
    }

    #[test]
    fn reasons_are_short() {
        let name = "\u{1b}[31m".repeat(1000);
        let error = parse(json!({"version": name}).to_string().as_bytes()).unwrap_err();
        let text = error.to_string();
        assert!(text.len() < 200 && !text.contains('\u{1b}'), "{text}");
    }
}
