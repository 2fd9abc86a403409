//! Errors, one small type per operation. Each says what was wrong with which value.

mod alloc;
mod build;
mod chunk;
mod free;

pub use alloc::{AllocError, Impossible, Unsuitable};
pub use build::BuildError;
pub use chunk::{AddError, AddManyError, AddRefused, RemoveError};
pub use free::{FreeError, NotTracked, ResizeError};
