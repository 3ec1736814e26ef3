//! A user's own service under faults: shops that sell one small stock, over carts, while they cannot
//! always reach each other.
//!
//! ```sh
//! cargo run --release -p simulations --example stock_reservation
//! ```
//!
//! A reservation is a unit in the set `reserved/lamp` and a line in a customer's cart, written as one
//! group. Two invariants are the shop's own: no more units are reserved than there are, and a unit is
//! reserved if and only if a cart holds it, at every shop and at every moment. Two ways to keep the first
//! are tried. Asking "is any left?" of the local copy is right in every test on one machine, and the
//! simulator shows how it sells too much. Dividing the stock, so that a shop sells only its own share, holds.

use std::process::ExitCode;

use rand::RngExt;
use simulations::{Scenario, Turn, Workload, World};
use sync_core::store::Store;
use sync_core::types::{lww_map, or_set};

const LAMPS: u64 = 12;
/// What each of the four shops may sell.
const SHARE: usize = 3;
const RESERVED: &str = "reserved/lamp";
const CARTS: u64 = 6;

/// Four shops, a cut in the middle of the day, a crash that loses what was not yet on disk.
const DAY: &str = r#"
name = "stock-reservation"
nodes = 4
run_ms = 8000
rest_ms = 2000

[network]
delay_us = [500, 20000]

[periods]
sync_interval_ms = 1000
sync_timeout_ms = 500

[disk]
sync_us = [1000, 30000]

[workload]
turns = 120

[[fault]]
at_ms = 1500
kind = "cut"
sides = [[0, 1], [2, 3]]
for_ms = 3000

[[fault]]
at_ms = 3000
kind = "crash"
node = 1
down_ms = 1000
torn = true
"#;

/// How a shop decides whether it may sell one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// If its own copy shows one left.
    AnyLeft,
    /// If it has not sold its own share: the stock divided by the shops.
    OwnShare,
}

/// The service, as it runs at every shop.
struct Shops {
    rule: Rule,
}

impl Shops {
    fn may_sell(&self, shop: usize, store: &Store) -> bool {
        match self.rule {
            Rule::AnyLeft => or_set::len(store, RESERVED) < LAMPS,
            Rule::OwnShare => sold_by(shop, store).count() < SHARE,
        }
    }

    fn sell(&self, turn: &mut Turn<'_>) {
        if !self.may_sell(turn.node(), turn.store()) {
            return;
        }
        let unit = unit(turn.node(), turn.at());
        let cart = format!("cart/{}", turn.random().random_range(0..CARTS));
        let sold = turn.write(|writer| {
            writer.add(RESERVED, &unit)?;
            writer.put(&cart, &unit, b"lamp")
        });
        sold.expect("a day's reservations are far below every limit");
    }

    /// A customer puts a lamp back. Only the shop that sold it may free it: the share is its own.
    fn put_back(&self, turn: &mut Turn<'_>) {
        let Some(unit) = sold_by(turn.node(), turn.store()).next().map(<[u8]>::to_vec) else { return };
        let Some(cart) = cart_of(turn.store(), &unit) else { return };
        let freed = turn.write(|writer| {
            writer.remove(RESERVED, &unit)?;
            writer.remove_field(&cart, &unit)
        });
        freed.expect("removes always pass");
    }
}

impl Workload for Shops {
    fn turn(&mut self, turn: &mut Turn<'_>) {
        if turn.random().random_bool(0.3) { self.put_back(turn) } else { self.sell(turn) }
    }

    fn after_step(&mut self, _shop: usize, store: &Store) -> Result<(), String> {
        let reserved = or_set::len(store, RESERVED);
        if reserved > LAMPS {
            return Err(format!("{reserved} lamps are reserved, and there are {LAMPS}"));
        }
        let mut in_carts: Vec<&[u8]> = (0..CARTS)
            .flat_map(|cart| {
                lww_map::entries(store, &format!("cart/{cart}")).map(|(unit, _)| unit).collect::<Vec<_>>()
            })
            .collect();
        in_carts.sort_unstable();
        if !or_set::elements(store, RESERVED).eq(in_carts.iter().copied()) {
            return Err(format!(
                "{reserved} lamps are reserved, and the carts hold {} others",
                in_carts.len()
            ));
        }
        Ok(())
    }
}

/// A unit's name: who sold it, and when. No shop sells two at one moment.
fn unit(shop: usize, at: u64) -> Vec<u8> {
    let shop = u8::try_from(shop).expect("there are four shops");
    [&[shop][..], &at.to_be_bytes()].concat()
}

fn sold_by(shop: usize, store: &Store) -> impl Iterator<Item = &[u8]> {
    or_set::elements(store, RESERVED)
        .filter(move |unit| unit.first().is_some_and(|by| usize::from(*by) == shop))
}

fn cart_of(store: &Store, unit: &[u8]) -> Option<String> {
    (0..CARTS).map(|cart| format!("cart/{cart}")).find(|cart| lww_map::get(store, cart, unit).is_some())
}

/// The first of `days` on which an invariant breaks, and how.
fn first_bad_day(rule: Rule, days: u64) -> Option<(u64, String)> {
    (1..=days).find_map(|seed| {
        let scenario = Scenario { seed, ..Scenario::parse(DAY).expect("the day above is a scenario") };
        let outcome = World::with_workload(&scenario, Box::new(Shops { rule })).run();
        outcome.violation.map(|violation| (seed, violation.to_string()))
    })
}

fn main() -> ExitCode {
    const DAYS: u64 = 500;
    match first_bad_day(Rule::AnyLeft, DAYS) {
        Some((seed, what)) => println!("\"is any left?\" sells too much, first with seed {seed}: {what}"),
        None => println!("\"is any left?\" held for {DAYS} days; the faults are too mild to tell"),
    }
    match first_bad_day(Rule::OwnShare, DAYS) {
        None => {
            println!("\"is any of my share left?\" held for {DAYS} days, through cuts and crashes");
            ExitCode::SUCCESS
        }
        Some((seed, what)) => {
            println!("\"is any of my share left?\" broke with seed {seed}: {what}");
            ExitCode::FAILURE
        }
    }
}
