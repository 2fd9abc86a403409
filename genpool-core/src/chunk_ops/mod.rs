//! Operations on the chunks of a pool, of whatever kind ([`PoolState`]): allocating where the fast path found nothing,
//! refusing, giving back, resizing.

mod free;
mod refusal;
mod search;
mod state;

pub(crate) use self::free::Free;
#[cfg(feature = "alloc")]
pub(crate) use self::refusal::Refuse;
pub(crate) use self::search::Search;
pub(crate) use self::state::PoolState;

/// True if small code matters more than speed. A fast path repeats the first steps of the slow one, and doubles the code.
pub(crate) const SMALL_CODE: bool = cfg!(not(feature = "alloc"));
