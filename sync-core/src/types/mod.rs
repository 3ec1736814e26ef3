//! The data types: how each maps to cells, and how it is read.
//!
//! A type is a mapping and a reading rule, nothing more (DESIGN section 4). Writes go through a
//! [`Group`](crate::store::Group), reads take a [`Store`](crate::store::Store). Elements, fields and
//! values are bytes here; `sync-net` gives them serde types.

pub mod lww_map;
pub mod or_set;
pub mod pn_counter;

use crate::cell::Item;
use crate::id::Dot;

/// The dots of `items`.
fn dots_of(items: &[Item]) -> Vec<Dot> {
    items.iter().map(|item| item.dot).collect()
}
