//! The operations of a pool: allocating, giving back, resizing.

#[cfg(feature = "alloc")]
mod alloc;
mod free;
#[cfg(feature = "alloc")]
mod give_back;
#[cfg(feature = "observe")]
mod observed;
mod refusal;
mod search;
mod state;

pub(crate) use self::free::Free;
#[cfg(feature = "alloc")]
pub(crate) use self::refusal::Refuse;
pub(crate) use self::search::Search;
pub(crate) use self::state::PoolState;
