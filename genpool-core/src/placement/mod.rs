//! Placement: the request, the view of a chunk, and the algorithm that decides where an allocation goes.

mod algorithm;
pub(crate) mod notation;
mod view;

pub use self::algorithm::{Algorithm, FirstFit, Request};
pub use self::notation::Notation;
pub use self::view::ChunkView;
