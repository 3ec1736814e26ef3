//! The shop: what one invoice line does on the node that it was dealt to, and the record of it.
//!
//! Three data types carry it: `cart/<customer>` is a set of products, `stock/<product>` a counter,
//! `profile/<customer>` a map. A line is one group of writes, so every node sees it whole or not at all.
//! A cart is checked out when the customer's next invoice begins: line by line, each line that this node
//! sees is removed. What another node adds meanwhile stays, and a line that two nodes check out at once is
//! gone once: that is what the checker later holds the nodes to.

use std::collections::BTreeSet;

use sync_net::{CausalContext, Error, Node, Tx, Written};

use super::record::{Holdings, Minted, Op, Seen, Step};
use super::rows::Row;

const LAST_INVOICE: &str = "last_invoice";
const LAST_SEEN: &str = "last_seen";

const CART: &str = "cart/";
const STOCK: &str = "stock/";
const PROFILE: &str = "profile/";

/// One node's place in the shop, with the record of all that was done there.
#[derive(Debug)]
pub(super) struct Till {
    node: Node,
    /// What was done, in order.
    pub(super) steps: Vec<Step>,
}

/// What a node sees of one customer at one moment.
struct Customer {
    last_invoice: Option<String>,
    products: BTreeSet<String>,
}

impl Till {
    /// A till on `node` that has served nobody.
    pub(super) fn new(node: Node) -> Self {
        Self { node, steps: Vec::new() }
    }

    /// Does what `row` says.
    ///
    /// # Errors
    /// The node's own; what was done before it is recorded.
    pub(super) fn serve(&mut self, row: &Row) -> Result<(), Error> {
        if let Some(customer) = row.customer.as_deref().filter(|_| !row.is_cancellation()) {
            let seen = self.look(row.line, customer)?;
            if seen.last_invoice.is_some_and(|last| last != row.invoice) {
                self.check_out(row.line, customer, seen.products)?;
            }
        }
        self.group(row.line, |tx| book(tx, row))
    }

    fn check_out(&mut self, line: u64, customer: &str, products: BTreeSet<String>) -> Result<(), Error> {
        products.into_iter().try_for_each(|product| {
            self.group(line, |tx| {
                let ended = tx.or_set::<String>(&key(CART, customer)).remove(&product)?;
                Ok(vec![Op::CartRemove { customer: customer.to_owned(), product, ended }])
            })
        })
    }

    /// Reads and records what this node sees of the customer `name` now.
    fn look(&mut self, line: u64, name: &str) -> Result<Customer, Error> {
        let (cart, profile) = (key(CART, name), key(PROFILE, name));
        let (seen, customer) = self.node.read(|view| {
            let profile = view.lww_map::<String, String>(&profile);
            let found = Customer {
                last_invoice: profile.get(&LAST_INVOICE.to_owned())?,
                products: view.or_set::<String>(&cart).elements()?.into_iter().collect(),
            };
            Ok::<_, Error>((view.context().clone(), found))
        })?;
        let read = |field: &str, value: &Option<String>| Op::ProfileRead {
            customer: name.to_owned(),
            field: field.to_owned(),
            value: value.clone(),
        };
        let ops = vec![
            read(LAST_INVOICE, &customer.last_invoice),
            Op::CartRead { customer: name.to_owned(), products: customer.products.clone() },
        ];
        self.steps.push(Step { line, seen: plain(&seen), minted: None, ops });
        Ok(customer)
    }

    /// One group of writes, recorded with what the node had seen before it.
    fn group(
        &mut self,
        line: u64,
        writes: impl FnOnce(&mut Tx<'_>) -> Result<Vec<Op>, Error>,
    ) -> Result<(), Error> {
        let ((seen, ops), written) = self.node.transaction(|tx| {
            let seen = tx.seen().clone();
            writes(tx).map(|ops| (seen, ops))
        })?;
        self.steps.push(Step { line, seen: plain(&seen), minted: minted(&written), ops });
        Ok(())
    }
}

/// The writes of one line.
fn book(tx: &mut Tx<'_>, row: &Row) -> Result<Vec<Op>, Error> {
    let by = -i64::from(row.quantity);
    tx.pn_counter(&key(STOCK, &row.product)).add(by)?;
    let mut ops = vec![Op::StockAdd { product: row.product.clone(), by }];
    let Some(customer) = &row.customer else { return Ok(ops) };
    let (cart, product) = (key(CART, customer), row.product.clone());
    if row.is_cancellation() {
        let ended = tx.or_set::<String>(&cart).remove(&product)?;
        ops.push(Op::CartRemove { customer: customer.clone(), product, ended });
        return Ok(ops);
    }
    tx.or_set::<String>(&cart).add(&product)?;
    ops.push(Op::CartAdd { customer: customer.clone(), product });
    let profile = key(PROFILE, customer);
    for (field, value) in [("country", &row.country), (LAST_INVOICE, &row.invoice), (LAST_SEEN, &row.date)] {
        tx.lww_map::<String, String>(&profile).put(&field.to_owned(), value)?;
        ops.push(Op::ProfilePut {
            customer: customer.clone(),
            field: field.to_owned(),
            value: value.clone(),
        });
    }
    Ok(ops)
}

/// Everything that `node` holds now, read from one state.
///
/// # Errors
/// [`Error::Read`] if something in the shop's keys was not written by the shop.
pub(super) fn holdings(node: &Node) -> Result<Holdings, Error> {
    let keys: BTreeSet<String> = node.keys("").into_iter().map(|info| info.key).collect();
    node.read(|view| {
        let mut holdings = Holdings::default();
        for key in &keys {
            if let Some(customer) = key.strip_prefix(CART) {
                let products = view.or_set::<String>(key).elements()?;
                holdings.carts.insert(customer.to_owned(), products.into_iter().collect());
            } else if let Some(product) = key.strip_prefix(STOCK) {
                holdings.stock.insert(product.to_owned(), view.pn_counter(key).value());
            } else if let Some(customer) = key.strip_prefix(PROFILE) {
                let profile = view.lww_map::<String, String>(key).entries()?;
                holdings.profiles.insert(customer.to_owned(), profile.into_iter().collect());
            }
        }
        Ok(holdings)
    })
}

fn key(prefix: &str, id: &str) -> String {
    format!("{prefix}{id}")
}

/// Where the engine's types end.
fn plain(context: &CausalContext) -> Seen {
    context.columns().map(|(replica, known)| (replica.to_hex(), known)).collect()
}

fn minted(written: &Written) -> Option<Minted> {
    let (first, last) = written.first.zip(written.last)?;
    Some(Minted { replica: last.replica.to_hex(), first: first.seq, last: last.seq })
}
