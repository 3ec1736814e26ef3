//! Steps to write, and what a file that took them holds.

#![allow(unreachable_pub, reason = "each test file uses its part of this")]

use std::collections::BTreeMap;

use sync_core::node::{PersistStep, StepRows};
use sync_core::rows::{self, Row, Table};
use sync_disk::{Disk, DiskError, LastStop, RowFile};

pub type Held = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

pub fn row(table: Table, key: u64, value: Option<&[u8]>) -> Row {
    Row { table, key: key.to_be_bytes().to_vec(), value: value.map(<[u8]>::to_vec) }
}

pub fn step(n: u64, whole: bool, rows: Vec<Row>) -> StepRows {
    StepRows { step: PersistStep(n), whole, rows }
}

pub fn read(file: &mut RowFile) -> Result<(Held, LastStop), DiskError> {
    let mut held = Held::new();
    let stop = file.load(&mut |table, key, stored| {
        let value = rows::open(table, key, stored)?.to_vec();
        held.insert((table, key.to_vec()), value);
        Ok(())
    })?;
    Ok((held, stop))
}

pub fn apply(held: &mut Held, step: &StepRows) {
    if step.whole {
        held.clear();
    }
    for row in &step.rows {
        let key = (row.table, row.key.clone());
        match &row.value {
            Some(value) => held.insert(key, value.clone()),
            None => held.remove(&key),
        };
    }
}

pub fn steps() -> Vec<StepRows> {
    let items =
        |from: u64, to: u64| (from..to).map(|n| row(Table::Item, n, Some(&[7; 40]))).collect::<Vec<_>>();
    let gone = |from: u64, to: u64| (from..to).map(|n| row(Table::Item, n, None)).collect::<Vec<_>>();
    let node = |n: u8| row(Table::Node, 0, Some(&[n]));
    vec![
        step(1, true, vec![node(1)]),
        step(2, false, [items(0, 30), vec![node(2)]].concat()),
        step(3, false, [gone(3, 9), vec![node(3), row(Table::Record, 5, Some(b"record"))]].concat()),
        step(4, false, [items(40, 60), vec![node(4), row(Table::Record, 5, None)]].concat()),
    ]
}
