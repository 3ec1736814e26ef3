//! The recorded steps, sorted by what they touch, with the two questions that the checker asks of them.
//!
//! Both questions take `until`: what the asker had seen, or `None` for the end, when all is seen.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::{Minted, Op, Seen, Step};

/// A write with what it knew.
#[derive(Debug, Clone, Copy)]
struct Write<'a> {
    minted: &'a Minted,
    seen: &'a Seen,
}

/// The adds and removes of one product in one cart.
#[derive(Debug, Default)]
struct Line<'a> {
    adds: Vec<Write<'a>>,
    removes: Vec<Write<'a>>,
}

/// The writes of one field: of each replica in its own order, with the value.
type Field<'a> = BTreeMap<&'a str, Vec<(Write<'a>, &'a str)>>;

/// The recorded writes, by what they touch.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    carts: BTreeMap<&'a str, BTreeMap<&'a str, Line<'a>>>,
    profiles: BTreeMap<&'a str, BTreeMap<&'a str, Field<'a>>>,
}

/// True if whoever had seen `seen` knew of `minted`; with `None`, everything is known.
fn knows(seen: Option<&Seen>, minted: &Minted) -> bool {
    seen.is_none_or(|seen| seen.get(&minted.replica).is_some_and(|known| *known >= minted.last))
}

impl<'a> Index<'a> {
    /// Sorts the steps. Reads, and writes that minted nothing, leave no trace: nobody can see them.
    pub(super) fn of(steps: impl Iterator<Item = &'a Step>) -> Self {
        let mut index = Self::default();
        for step in steps {
            let Some(minted) = &step.minted else { continue };
            let write = Write { minted, seen: &step.seen };
            for op in &step.ops {
                index.note(op, write);
            }
        }
        let fields = index.profiles.values_mut().flat_map(BTreeMap::values_mut);
        for writes in fields.flat_map(BTreeMap::values_mut) {
            writes.sort_by_key(|(write, _)| write.minted.last);
        }
        index
    }

    fn note(&mut self, op: &'a Op, write: Write<'a>) {
        match op {
            Op::CartAdd { customer, product } => self.line(customer, product).adds.push(write),
            Op::CartRemove { customer, product, ended: true } => {
                self.line(customer, product).removes.push(write)
            }
            Op::ProfilePut { customer, field, value } => {
                let field = self.profiles.entry(customer).or_default().entry(field).or_default();
                field.entry(&write.minted.replica).or_default().push((write, value));
            }
            Op::CartRemove { ended: false, .. }
            | Op::StockAdd { .. }
            | Op::CartRead { .. }
            | Op::ProfileRead { .. } => {}
        }
    }

    fn line(&mut self, customer: &'a str, product: &'a str) -> &mut Line<'a> {
        self.carts.entry(customer).or_default().entry(product).or_default()
    }

    /// Every customer whose cart was written.
    pub(super) fn customers(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.carts.keys().copied()
    }

    /// Every field that was written, with its customer.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.profiles
            .iter()
            .flat_map(|(customer, fields)| fields.keys().map(move |field| (*customer, *field)))
    }

    /// Must `product` be in the cart of `customer`: is there an add that no remove had seen?
    pub(super) fn in_cart(&self, customer: &str, product: &str, until: Option<&Seen>) -> bool {
        let line = self.carts.get(customer).and_then(|cart| cart.get(product));
        line.is_some_and(|line| line.is_present(until))
    }

    /// Everything that must be in the cart of `customer`.
    pub(super) fn cart(&self, customer: &str, until: Option<&Seen>) -> BTreeSet<&'a str> {
        let lines = self.carts.get(customer).into_iter().flatten();
        lines.filter(|(_, line)| line.is_present(until)).map(|(product, _)| *product).collect()
    }

    /// Every value that the field may have: those whose write no other write of it had seen.
    pub(super) fn values(&self, customer: &str, field: &str, until: Option<&Seen>) -> BTreeSet<&'a str> {
        let Some(writes) = self.profiles.get(customer).and_then(|fields| fields.get(field)) else {
            return BTreeSet::new();
        };
        // A replica's own writes have all seen one another: only its last can be unseen.
        let last: Vec<_> = writes
            .values()
            .filter_map(|own| {
                let known = own.partition_point(|(write, _)| knows(until, write.minted));
                own[..known].last()
            })
            .collect();
        let unseen = |minted| !last.iter().any(|(other, _)| knows(Some(other.seen), minted));
        last.iter().filter(|(write, _)| unseen(write.minted)).map(|(_, value)| *value).collect()
    }
}

impl Line<'_> {
    fn is_present(&self, until: Option<&Seen>) -> bool {
        let removes = || self.removes.iter().filter(|remove| knows(until, remove.minted));
        let mut adds = self.adds.iter().filter(|add| knows(until, add.minted));
        adds.any(|add| !removes().any(|remove| knows(Some(remove.seen), add.minted)))
    }
}
