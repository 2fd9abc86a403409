//! Memory for the pool's own bookkeeping. The pool never touches the memory that it manages.

mod append_list;
mod node;
mod option_box;
mod table;

pub(crate) use self::append_list::AppendList;
pub(crate) use self::node::{Node, NodeError};
pub(crate) use self::option_box::AtomicOptionBox;
pub(crate) use self::table::{NoMemory, Table, probe_spare, reserve, reserve_exact};
