//! Errors, one small type per operation. Each says what was wrong with which value.

mod alloc;
mod build;
mod chunk;
mod free;

pub use alloc::{AllocError, Impossible, Unsuitable};
pub use build::BuildError;
pub use chunk::AddRefused;
#[cfg(feature = "alloc")]
pub use chunk::{AddError, AddManyError, RemoveError};
#[cfg(feature = "alloc")]
pub use free::NotTracked;
pub use free::{FreeError, ResizeError};
