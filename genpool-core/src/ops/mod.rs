//! The operations of a [`Pool`](crate::Pool): those of `chunk_ops`, and what they need of its list of chunks; the fast
//! path of an allocation.

mod alloc;
mod give_back;
#[cfg(feature = "observe")]
mod observed;
mod state;
