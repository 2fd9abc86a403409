//! What the fuzz targets share.

use std::sync::OnceLock;

/// Whether each target is to make a mistake of its own, which it must then find: `GENPOOL_PLANTED` is set.
pub fn is_planted() -> bool {
    static PLANTED: OnceLock<bool> = OnceLock::new();
    *PLANTED.get_or_init(|| std::env::var_os("GENPOOL_PLANTED").is_some())
}
