//! The data types: how each maps to cells, and how it is read.
//!
//! A type is a mapping and a reading rule, nothing more (DESIGN section 4). Writes go through a
//! [`Group`](crate::store::Group), reads take a [`Store`](crate::store::Store). Elements, fields and
//! values are bytes here; `sync-net` gives them serde types. Where a CRDT lies, at a key of its own or in a field
//! of a nested map, is an [`At`]. `docs/crdt.md` has all types on one page.

mod at;
pub mod bounded_counter;
pub mod conflict;
pub mod counter;
pub mod disable_flag;
pub mod enable_flag;
pub mod extremum;
pub mod g_counter;
pub mod grow_set;
pub mod log;
pub mod lww_map;
pub mod lww_register;
pub mod max_register;
pub mod min_register;
pub mod multimap;
pub mod mv_register;
pub mod or_map;
pub mod or_set;
pub mod pn_counter;
pub mod reading;
pub mod rw_set;
pub mod user;
pub mod whole;

use crate::id::Dot;
use crate::store::Items;

pub use at::{At, Spot};

/// The dots of `items`.
fn dots_of(items: Items<'_>) -> Vec<Dot> {
    items.iter().map(|item| item.dot).collect()
}
