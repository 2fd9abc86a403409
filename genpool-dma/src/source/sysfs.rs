//! Small sysfs files with one number.

use std::fs;
use std::path::Path;

use super::error::SourceError;

/// Returns the text of a file without surrounding white space.
pub(super) fn text(path: &Path, what: &'static str) -> Result<String, SourceError> {
    let text = fs::read_to_string(path).map_err(SourceError::file(path, what, "root"))?;
    Ok(text.trim().to_owned())
}

/// Parses a hexadecimal number as the kernel writes it, with or without `0x`.
pub(super) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// Returns the number that is the whole text of a file.
pub(super) fn number(path: &Path, what: &'static str) -> Result<u64, SourceError> {
    let text = text(path, what)?;
    hex(&text).ok_or_else(|| SourceError::Format {
        path: path.to_owned(),
        text,
    })
}
