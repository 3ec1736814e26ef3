//! Rows of a disk whose checksums are right and whose contents were never written by a node.
//!
//! An input is a list of rows: table (`u8`), key and value (a varint length and the bytes of each). Each is sealed
//! before it is read, so that the checksum hides nothing.

use std::collections::BTreeSet;

use sync_core::codec::{Reader, Writer};
use sync_core::node::{Config, ImageRows, Node, Persistence, Salvaged};
use sync_core::rows::{Row, Table, Tally};
use sync_core::time::{Now, Timestamp};
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_tests::{Cluster, WALL_START, config, namespace};

use super::{Run, Target};
use crate::judge::Seen;
use crate::mutate::Form;

pub(crate) const ROWS: Target = Target { name: "rows", form: Form::Binary, corpus, begin: begin_rows };

pub(crate) const SALVAGE: Target =
    Target { name: "salvage", form: Form::Binary, corpus, begin: begin_salvage };

/// The life that reads the rows. A life is drawn from 128 bits and must be new: rows that name this one are left out.
const LIFE: u8 = 0xd7;

/// The longest key or value of an input.
const PART_BYTES_MAX: usize = 1 << 20;

pub(super) fn on_disk(life: u8) -> Config {
    Config { persistence: Persistence::Driver, ..config(0, life) }
}

/// A node with something of everything that has a row.
pub(super) fn written(writes: u16) -> Cluster {
    let mut cluster = Cluster::apart([on_disk(0), config(1, 0)]);
    cluster.connect(0, 1);
    for at in 0..writes {
        let name = at.to_be_bytes();
        cluster.write(0, |group| or_set::add(group, "set", &name));
        cluster.write(1, |group| lww_map::put(group, "map", &name, b"value"));
        cluster.settle();
    }
    cluster.write(0, |group| pn_counter::add(group, "count", 2));
    cluster.write(0, |group| or_set::remove(group, "set", &[0, 0]).map(drop));
    cluster.write(0, |group| or_set::clear(group, "set"));
    cluster.write(0, |group| or_set::add(group, "set", b"again"));
    let expires = sync_core::time::WallMillis(cluster.now().wall.0 + 5_000);
    cluster.write(0, |group| group.expiring(expires, |group| or_set::add(group, "brief", b"x")));
    cluster.settle();
    cluster
}

fn corpus() -> Vec<Vec<u8>> {
    let input = |writes| {
        let mut out = Writer::default();
        for row in written(writes).node(0).take_step().rows {
            out.byte(row.table.code());
            out.bytes(&row.key);
            out.bytes(row.value.as_deref().unwrap_or_default());
        }
        out.finish()
    };
    vec![input(0), input(2), input(12)]
}

/// The rows of an input, sealed, up to the first that is none.
fn rows(input: &[u8]) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut input = Reader::new(input);
    let (mut rows, mut keys) = (Vec::new(), BTreeSet::new());
    while let Ok(code) = input.byte("table") {
        let table = Table::ALL[usize::from(code) % Table::ALL.len()];
        let Ok(key) = input.bytes("key", PART_BYTES_MAX) else { break };
        let Ok(value) = input.bytes("value", PART_BYTES_MAX) else { break };
        let own = on_disk(LIFE).replica.0;
        if [key, value].iter().any(|part| part.windows(own.len()).any(|window| window == own)) {
            continue;
        }
        // A disk has one row under a key.
        if !keys.insert((table, key)) {
            continue;
        }
        let row = Row { table, key: key.to_vec(), value: Some(value.to_vec()) };
        let sealed = row.sealed().expect("it has a value");
        rows.push((table, row.key, sealed));
    }
    rows
}

fn now() -> Now {
    Now::at(Timestamp::ZERO, WALL_START)
}

fn begin_rows() -> Run {
    Box::new(|input| {
        let next = on_disk(LIFE);
        let mut loading = ImageRows::new(&next);
        let rows = rows(input);
        for (table, key, sealed) in &rows {
            if let Err(error) = loading.stored(*table, key, sealed) {
                return Seen::refused(&error);
            }
        }
        let image = match loading.finish() {
            Ok(image) => image,
            Err(error) => return Seen::refused(&error),
        };
        let mut node = Node::restart(next, image, now());
        let before = node.store(namespace()).map(|store| store.item_count());
        let name = b"afterwards";
        let written = node.write(now(), namespace(), |group| or_set::add(group, "set", name));
        let checked = node.store(namespace()).map(sync_core::store::Store::check).transpose();
        checked
            .map_err(|reason| format!("rows that were accepted make a store that is not sound: {reason}"))?;
        let mut tally = Tally::default();
        node.take_step().rows.iter().filter_map(Row::sealed).for_each(|row| tally.swap(None, Some(&row)));
        Ok(Seen::read(format!("{} {}", before.is_some(), written.is_ok()), rows.len()))
    })
}

fn begin_salvage() -> Run {
    Box::new(|input| {
        let (mut salvaged, mut refused) = (Vec::new(), None);
        for (table, key, sealed) in rows(input) {
            match Salvaged::read(table, &key, &sealed) {
                Ok(found) => salvaged.extend(found),
                Err(error) => refused = Some(Seen::refused(&error)?),
            }
        }
        let count = salvaged.len();
        let mut node = Node::new(on_disk(LIFE), now());
        node.salvage(salvaged.clone());
        // A refusal is a limit of the new store: what was left out is told.
        let replayed = node.replay_all(now(), &salvaged).is_ok();
        let checked = node.store(namespace()).map(sync_core::store::Store::check).transpose();
        checked.map_err(|reason| format!("what was salvaged makes a store that is not sound: {reason}"))?;
        Ok(refused.unwrap_or_else(|| Seen::read(format!("{replayed}"), count)))
    })
}
