//! Placement: the request, the view of a chunk, and the algorithm that decides where an allocation goes.

mod algorithm;
mod constraints;
mod first_fit;
pub(crate) mod name;
mod request;
mod view;

pub use self::algorithm::Algorithm;
pub use self::constraints::{Constrained, ConstraintError, Constraints};
pub use self::first_fit::FirstFit;
pub use self::name::AlgorithmName;
pub use self::request::Request;
pub use self::view::ChunkView;
