//! Helpers shared by the fuzz targets.

use std::sync::OnceLock;

/// Returns whether each target makes a planted mistake, which it must then find: `GENPOOL_PLANTED` is set.
pub fn is_planted() -> bool {
    static PLANTED: OnceLock<bool> = OnceLock::new();
    *PLANTED.get_or_init(|| std::env::var_os("GENPOOL_PLANTED").is_some())
}
