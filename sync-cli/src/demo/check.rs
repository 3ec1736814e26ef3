//! Decides, without the engine, whether what the nodes did and hold is right.
//!
//! In go the books ([`Ledger`]), what each node did ([`Step`]) and what each node holds in the end
//! ([`Holdings`]); out comes every difference, as text. Nothing here knows how the engine works, only
//! what it promises, stated over what each step had seen:
//!
//! - *Stock*: the sum of all changes, whatever the order.
//! - *Cart*: a product is in it iff some add of it was not seen by any remove of it. A read or a remove
//!   on the way is judged the same way, over the steps that it had seen.
//! - *Profile*: a field reads as a value whose write no other write of the field had seen.
//! - *Causality*: no node forgets, a group is seen whole or not at all, and who sees a step sees what
//!   that step had seen.

mod causality;
mod index;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use self::index::Index;
use super::ledger::{Entry, Ledger};
use super::record::{Holdings, Op, Step};

/// Differences that are kept as text; the others are only counted.
const DIFFERENCES_KEPT: usize = 20;

/// What the check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The first differences, one line each.
    differences: Vec<String>,
    /// How many there are in all.
    count: usize,
    /// Steps that were judged.
    pub(crate) steps: usize,
    /// Operations in them.
    pub(crate) operations: usize,
}

impl Verdict {
    /// True if nothing differs.
    pub(crate) fn holds(&self) -> bool {
        self.count == 0
    }

    fn differs(&mut self, text: String) {
        self.count += 1;
        if self.differences.len() < DIFFERENCES_KEPT {
            self.differences.push(text);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds() {
            return f.write_str("ok");
        }
        f.write_str(&self.differences.join("; "))?;
        match self.count - self.differences.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Judges everything. `steps` and `holdings` have one entry a node, in the same order.
pub(crate) fn check(ledger: &Ledger, steps: &[Vec<Step>], holdings: &[Holdings]) -> Verdict {
    let mut verdict = Verdict::default();
    let all = || steps.iter().flatten();
    verdict.steps = all().count();
    verdict.operations = all().map(|step| step.ops.len()).sum();
    check_rows(ledger, all(), &mut verdict);
    causality::check(steps, &mut verdict);
    let index = Index::of(all());
    for (node, steps) in steps.iter().enumerate() {
        for step in steps {
            check_reads(&index, node, step, &mut verdict);
        }
    }
    for (node, holdings) in holdings.iter().enumerate() {
        check_carts(&index, node, holdings, &mut verdict);
        check_stock(ledger, node, holdings, &mut verdict);
        check_profiles(&index, node, holdings, &mut verdict);
    }
    for (node, other) in holdings.iter().enumerate().skip(1) {
        if *other != holdings[0] {
            verdict.differs(format!("node {} holds other data than node 1", node + 1));
        }
    }
    verdict
}

/// Every line of the books was done once, as the books say, and nothing else was.
fn check_rows<'a>(ledger: &Ledger, steps: impl Iterator<Item = &'a Step>, verdict: &mut Verdict) {
    let mut done: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
    for step in steps {
        let ops = done.entry(step.line).or_default();
        ops.extend(step.ops.iter().filter(|op| !matches!(op, Op::CartRead { .. } | Op::ProfileRead { .. })));
    }
    for entry in &ledger.entries {
        check_row(entry, &done.remove(&entry.line).unwrap_or_default(), verdict);
    }
    for line in done.keys() {
        verdict.differs(format!("line {line}: the books do not have it, a node does"));
    }
}

fn check_row(entry: &Entry, ops: &[&Op], verdict: &mut Verdict) {
    let Entry { line, product, customer, cancels, stock_change, profile } = entry;
    let stock: Vec<_> = ops.iter().filter(|op| matches!(op, Op::StockAdd { .. })).collect();
    if stock.len() != 1 || **stock[0] != (Op::StockAdd { product: product.clone(), by: *stock_change }) {
        verdict.differs(format!("line {line}: the stock was not changed by {stock_change}"));
    }
    let Some(customer) = customer else { return };
    for (field, value) in profile {
        let (customer, field, value) = (customer.clone(), (*field).to_owned(), value.clone());
        let put = Op::ProfilePut { customer, field, value };
        if !ops.contains(&&put) {
            verdict.differs(format!("line {line}: the shop did not do {put:?}"));
        }
    }
    let in_cart = ops.iter().any(|op| match op {
        Op::CartAdd { customer: c, product: p } => !cancels && (c, p) == (customer, product),
        Op::CartRemove { customer: c, product: p, .. } => *cancels && (c, p) == (customer, product),
        Op::StockAdd { .. } | Op::ProfilePut { .. } | Op::CartRead { .. } | Op::ProfileRead { .. } => false,
    });
    if !in_cart {
        verdict.differs(format!("line {line}: {product} never reached the cart of {customer}"));
    }
}

/// What a step read, and what its removes answered, is what it had seen.
fn check_reads(index: &Index<'_>, node: usize, step: &Step, verdict: &mut Verdict) {
    let at = |what: String| format!("line {}, node {}: {what}", step.line, node + 1);
    for op in &step.ops {
        match op {
            Op::CartRemove { customer, product, ended } => {
                let present = index.in_cart(customer, product, Some(&step.seen));
                if present != *ended {
                    let (had, said) =
                        (if present { "in" } else { "not in" }, if *ended { "ended" } else { "left" });
                    verdict.differs(at(format!(
                        "{product} was {had} the cart of {customer}, the remove {said} it"
                    )));
                }
            }
            Op::CartRead { customer, products } => {
                let expected = index.cart(customer, Some(&step.seen));
                for product in expected.symmetric_difference(&products.iter().map(String::as_str).collect()) {
                    let fault = if products.contains(*product) { "not in it" } else { "missing" };
                    verdict.differs(at(format!("the cart of {customer} was read with {product} {fault}")));
                }
            }
            Op::ProfileRead { customer, field, value } => {
                let allowed = index.values(customer, field, Some(&step.seen));
                if !fits(value.as_deref(), &allowed) {
                    verdict.differs(at(format!(
                        "{field} of {customer} was read as {value:?}, not of {allowed:?}"
                    )));
                }
            }
            Op::CartAdd { .. } | Op::StockAdd { .. } | Op::ProfilePut { .. } => {}
        }
    }
}

/// True if `value` is one of `allowed`, or absent where none is.
fn fits(value: Option<&str>, allowed: &BTreeSet<&str>) -> bool {
    value.map_or(allowed.is_empty(), |value| allowed.contains(value))
}

fn check_carts(index: &Index<'_>, node: usize, holdings: &Holdings, verdict: &mut Verdict) {
    let empty = BTreeSet::new();
    let customers: BTreeSet<&str> =
        index.customers().chain(holdings.carts.keys().map(String::as_str)).collect();
    for customer in customers {
        let expected = index.cart(customer, None);
        let held: BTreeSet<&str> =
            holdings.carts.get(customer).unwrap_or(&empty).iter().map(String::as_str).collect();
        for product in expected.difference(&held) {
            verdict.differs(format!("node {}: {product} is lost from the cart of {customer}", node + 1));
        }
        for product in held.difference(&expected) {
            verdict.differs(format!("node {}: {product} is back in the cart of {customer}", node + 1));
        }
    }
}

fn check_stock(ledger: &Ledger, node: usize, holdings: &Holdings, verdict: &mut Verdict) {
    let products: BTreeSet<&String> = ledger.stock.keys().chain(holdings.stock.keys()).collect();
    for product in products {
        let expected = ledger.stock.get(product).copied().unwrap_or(0);
        let held = holdings.stock.get(product).copied().unwrap_or(0);
        if held != expected {
            verdict.differs(format!(
                "node {}: the stock of {product} is {held}, the books say {expected}",
                node + 1
            ));
        }
    }
}

fn check_profiles(index: &Index<'_>, node: usize, holdings: &Holdings, verdict: &mut Verdict) {
    let held = holdings
        .profiles
        .iter()
        .flat_map(|(customer, profile)| profile.keys().map(move |field| (customer.as_str(), field.as_str())));
    let fields: BTreeSet<(&str, &str)> = index.fields().chain(held).collect();
    for (customer, field) in fields {
        let allowed = index.values(customer, field, None);
        let value =
            holdings.profiles.get(customer).and_then(|profile| profile.get(field)).map(String::as_str);
        if !fits(value, &allowed) {
            verdict.differs(format!(
                "node {}: {field} of {customer} is {value:?}, which is none of {allowed:?}",
                node + 1
            ));
        }
    }
}
