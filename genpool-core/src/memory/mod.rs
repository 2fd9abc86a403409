//! Memory for the pool's own bookkeeping. The pool never touches the memory that it manages.

#[cfg(feature = "alloc")]
mod append_list;
#[cfg(not(feature = "alloc"))]
mod heapless;
#[cfg(feature = "alloc")]
mod node;
#[cfg(feature = "alloc")]
mod option_box;
mod table;

#[cfg(feature = "alloc")]
pub(crate) use alloc::boxed::Box;

#[cfg(feature = "alloc")]
pub(crate) use self::append_list::AppendList;
#[cfg(not(feature = "alloc"))]
pub(crate) use self::heapless::{Never as Arc, Never as Box};
#[cfg(feature = "alloc")]
pub(crate) use self::node::{Node, NodeError};
#[cfg(feature = "alloc")]
pub(crate) use self::option_box::AtomicOptionBox;
#[cfg(not(genpool_loom))]
pub(crate) use self::table::TableMemory;
pub(crate) use self::table::{NoMemory, Table};
#[cfg(feature = "alloc")]
pub(crate) use self::table::{probe_spare, reserve, reserve_exact};
#[cfg(feature = "alloc")]
pub(crate) use crate::sync::Arc;
