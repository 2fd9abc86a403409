//! Placement: the request, the view of a chunk, and the algorithm that decides where an allocation goes.
//!
//! Constraints are no business of an algorithm. [`Constrained`] translates them to the chunk at hand, once in each
//! proposal ([`Places`](places::Places)), and passes on a view of the chunk whose searches find only what is allowed. So
//! every algorithm can be constrained, and keeps its own way to search: `ThreadStart` its position, best fit its index.

mod algorithm;
mod claim;
mod constrained;
mod constraints;
mod first_fit;
pub(crate) mod name;
mod places;
mod plain;
mod request;
mod view;

pub use self::algorithm::Algorithm;
pub use self::claim::{Claim, Claimed};
pub use self::constrained::Constrained;
pub use self::constraints::{ConstraintError, Constraints};
pub use self::first_fit::FirstFit;
pub use self::name::AlgorithmName;
pub use self::request::Request;
pub use self::view::ChunkView;
