//! What the shop did, as plain data for the checker.
//!
//! A [`Step`] is one thing that one node did at one moment: a group of writes, or a read. Beside what
//! was written and read it says what the node had seen then, so the checker can decide which operation
//! knew of which. Everything is a string, a number or a map: the engine's types end where these begin.

use std::collections::{BTreeMap, BTreeSet};

/// A version vector: how many events of each replica are known, by the replica's id in hex.
pub(crate) type Seen = BTreeMap<String, u64>;

/// One thing that one node did at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The line of the data that made it happen.
    pub(crate) line: u64,
    /// What the node knew before.
    pub(crate) seen: Seen,
    /// The events that its writes became; `None` for a read, or if there was nothing to write.
    pub(crate) minted: Option<Minted>,
    /// What was done, in order.
    pub(crate) ops: Vec<Op>,
}

/// The consecutive events of one group of writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Minted {
    /// The replica's id in hex.
    pub(crate) replica: String,
    /// The first event's number, from 1.
    pub(crate) first: u64,
    /// The last event's number.
    pub(crate) last: u64,
}

/// One operation of the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// A product was put into a customer's cart.
    CartAdd { customer: String, product: String },
    /// A product was taken out; `ended` is what the node answered: was it in there?
    CartRemove { customer: String, product: String, ended: bool },
    /// A product's stock was changed.
    StockAdd { product: String, by: i64 },
    /// A field of a customer's profile was written.
    ProfilePut { customer: String, field: String, value: String },
    /// A cart was read.
    CartRead { customer: String, products: BTreeSet<String> },
    /// A field of a profile was read.
    ProfileRead { customer: String, field: String, value: Option<String> },
}

/// Everything that one node holds in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// The products in each customer's cart; customers with an empty cart may be left out.
    pub(crate) carts: BTreeMap<String, BTreeSet<String>>,
    /// Each product's stock.
    pub(crate) stock: BTreeMap<String, i128>,
    /// Each customer's profile.
    pub(crate) profiles: BTreeMap<String, BTreeMap<String, String>>,
}
