//! Durable writes: how long one takes to be on the disk, how many a second go there together, and how long a store
//! takes to open, beside the disk itself, SQLite and the file below ours.
//!
//! All write to one folder, one after the other, in one run: what a disk does differs by far more than any of these.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::TableDefinition;
use rusqlite::Connection;
use sync_core::node::{PersistStep, StepRows};
use sync_core::rows::{Row as DiskRow, Table};
use sync_disk::{Disk as _, Folder, RowFile};
use sync_net::{ClusterCa, Durability, Identity, Limits, Node};
use tokio::runtime::Handle;

use super::Settings;
use crate::measure::{micros, quantile};
use crate::report::{Report, Row};

/// Rows that each store holds before anything is measured.
const FILLED: u64 = 10_000;

/// Writes in a turn.
const TURN: u64 = 30;

/// Turns before anything is counted.
const WARM: u64 = 20;

/// Bytes of a value.
const VALUE: usize = 64;

/// What a page is to a disk.
const PAGE: usize = 4_096;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// One durable write of this number.
type Writes = Box<dyn FnMut(u64)>;

/// Measures all of it.
pub fn run(report: &mut Report, settings: Settings) {
    let dir = tempfile::tempdir_in(".").expect("a folder can be made here");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("the machine has two threads for us");
    let mut stores: [Writes; 5] = [
        raw(&dir.path().join("raw")),
        sqlite(&dir.path().join("sqlite")),
        redb_alone(&dir.path().join("redb")),
        row_file(&dir.path().join("file")),
        one_by_one(&dir.path().join("node"), runtime.handle()),
    ];
    // In turns, so that what else the machine does falls on all of them. The first ones are not counted: a file that
    // still grows pays for new blocks of the file system, by how it was filled and not by what writes to it.
    let mut laps = [const { Vec::new() }; 5];
    for turn in 0..WARM + if settings.quick { 15 } else { 100 } {
        for (write, laps) in stores.iter_mut().zip(&mut laps) {
            for number in 0..TURN {
                let begun = Instant::now();
                write(FILLED + turn * TURN + number);
                if turn >= WARM {
                    laps.push(begun.elapsed());
                }
            }
        }
    }
    drop(stores);
    let [raw, sqlite, redb, file, node] = laps;
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |laps: &[Duration]| micros(quantile(&mut laps.to_vec(), q));
        let ours = || Row::new(format!("durable/one/{name}"), of(&node), "us");
        report.add(ours().beside("fdatasync of a page", of(&raw)));
        report.add(ours().beside("SQLite, WAL, FULL", of(&sqlite)));
        let beside = ours().beside("redb, two-phase", of(&redb));
        report.add(if q == 0.5 { beside.ratio_at_most(1.5) } else { beside });
        report.add(
            Row::new(format!("durable/file alone/{name}"), of(&file), "us")
                .beside("redb, two-phase", of(&redb)),
        );
    }
    let rate = |laps: &[Duration]| laps.len() as f64 / laps.iter().sum::<Duration>().as_secs_f64();
    for (name, laps) in
        [("fdatasync of a page", &raw), ("SQLite, WAL, FULL", &sqlite), ("redb, two-phase", &redb)]
    {
        report.add(Row::new("durable/one/rate", rate(&node), "writes/s").beside(name, rate(laps)));
    }
    let writes = if settings.quick { 50_000 } else { 300_000 };
    let grouped = runtime.block_on(grouped(&dir.path().join("grouped"), writes));
    report.add(Row::new("durable/grouped/rate", grouped, "writes/s").at_least(50_000.0));
    let opened = runtime.block_on(opened(&dir.path().join("open"), if settings.quick { 3 } else { 9 }));
    report.add(Row::new("durable/open/10000 CRDTs", micros(opened) / 1e3, "ms").at_most(500.0));
    report.table("Durable writes");
}

fn value(number: u64) -> [u8; VALUE] {
    let mut value = [0x5a; VALUE];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// A page that is there already, written again and synced: the least that a durable write can cost.
fn raw(path: &Path) -> Writes {
    let file = OpenOptions::new().create_new(true).write(true).open(path).expect("it can be made");
    let page = [0x5a; PAGE];
    let at = |number: u64| number % 256 * PAGE as u64;
    (0..256).for_each(|number| file.write_all_at(&page, at(number)).expect("there is room"));
    file.sync_all().expect("the disk works");
    Box::new(move |number| {
        file.write_all_at(&page, at(number)).expect("there is room");
        file.sync_data().expect("the disk works");
    })
}

fn sqlite(path: &Path) -> Writes {
    let mut db = Connection::open(path).expect("it can be made");
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).expect("it answers");
    assert_eq!(mode, "wal");
    db.execute_batch(
        "PRAGMA synchronous=FULL; CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID",
    )
    .expect("it can be made");
    let fill = db.transaction().expect("it begins");
    for number in 0..FILLED {
        fill.execute("INSERT INTO rows VALUES (?1, ?2)", (number.to_be_bytes(), value(number)))
            .expect("there is room");
    }
    fill.commit().expect("there is room");
    Box::new(move |number| {
        let mut insert = db.prepare_cached("INSERT INTO rows VALUES (?1, ?2)").expect("it is SQL");
        insert.execute((number.to_be_bytes(), value(number))).expect("there is room");
    })
}

fn redb_alone(path: &Path) -> Writes {
    let db = redb::Database::create(path).expect("it can be made");
    let commit = move |numbers: std::ops::Range<u64>| {
        let mut write = db.begin_write().expect("nobody else writes");
        write.set_two_phase_commit(true);
        {
            let mut rows = write.open_table(ROWS).expect("it can be made");
            for number in numbers {
                rows.insert(&number.to_be_bytes()[..], &value(number)[..]).expect("there is room");
            }
        }
        write.commit().expect("there is room");
    };
    commit(0..FILLED);
    Box::new(move |number| commit(number..number + 1))
}

fn row(table: Table, key: u64, value: Vec<u8>) -> DiskRow {
    DiskRow { table, key: key.to_be_bytes().to_vec(), value: Some(value) }
}

fn item(number: u64) -> DiskRow {
    row(Table::Item, number, value(number).to_vec())
}

/// The file of rows without the node above it: a step as an added element makes one.
fn row_file(path: &Path) -> Writes {
    let folder = Folder::open(path).expect("it can be made");
    let mut file = RowFile::open(&folder).expect("it can be made");
    let fill = StepRows { step: PersistStep(1), whole: true, rows: (0..FILLED).map(item).collect() };
    file.commit(&fill).expect("there is room");
    Box::new(move |number| {
        let rows = vec![
            row(Table::Node, 0, vec![7; 70]),
            row(Table::Life, 0, Vec::new()),
            row(Table::Space, 0, vec![7; 16]),
            row(Table::Column, 0, number.to_be_bytes().to_vec()),
            item(number),
        ];
        file.commit(&StepRows { step: PersistStep(number), whole: false, rows }).expect("there is room");
    })
}

fn identity() -> Identity {
    ClusterCa::create("marks").and_then(|ca| ca.issue("node")).expect("a certificate can be issued")
}

async fn on(folder: &Path, identity: &Identity, level: Durability) -> Node {
    let limits = Limits { store_bytes_max: 1 << 30, store_bytes_ceiling: 1 << 31, ..Limits::default() };
    let node = Node::builder().identity(identity.clone()).limits(limits).data(folder).durability(level);
    node.start().await.expect("it starts")
}

/// A node that is asked for one write after the other, each waited for.
fn one_by_one(folder: &Path, runtime: &Handle) -> Writes {
    let runtime = runtime.clone();
    let node = runtime.block_on(on(folder, &identity(), Durability::Immediate));
    let set = node.or_set::<Vec<u8>>("set");
    let mut last = None;
    for number in 0..FILLED {
        last = Some(set.add(&value(number).to_vec()).expect("there is room"));
    }
    runtime.block_on(node.durable(&last.expect("some were written"))).expect("the disk works");
    Box::new(move |number| {
        let written = set.add(&value(number).to_vec()).expect("there is room");
        runtime.block_on(node.durable(&written)).expect("the disk works");
    })
}

/// Writes of several clients that do not wait for each other, until the last one is on the disk.
async fn grouped(folder: &Path, writes: u64) -> f64 {
    const CLIENTS: u64 = 4;
    const UNHEARD_MAX: u64 = 2_000;
    let node = on(folder, &identity(), Durability::Grouped).await;
    let begun = Instant::now();
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let node = node.clone();
        clients.push(tokio::spawn(async move {
            let set = node.or_set::<u64>(&format!("set/{client}"));
            let mut unheard = std::collections::VecDeque::new();
            for number in 0..writes / CLIENTS {
                unheard.push_back(set.add(&number).expect("there is room"));
                if unheard.len() as u64 == UNHEARD_MAX {
                    let oldest = unheard.pop_front().expect("it is not empty");
                    node.durable(&oldest).await.expect("the disk works");
                }
            }
            for written in unheard {
                node.durable(&written).await.expect("the disk works");
            }
        }));
    }
    for client in clients {
        client.await.expect("it does not panic");
    }
    let rate = writes as f64 / begun.elapsed().as_secs_f64();
    node.shutdown().await;
    rate
}

/// The median of starts on a folder with 10,000 CRDTs.
async fn opened(folder: &Path, times: usize) -> Duration {
    let identity = identity();
    let node = on(folder, &identity, Durability::Grouped).await;
    for number in 0..10_000u32 {
        let register = node.lww_register::<String>(&format!("register/{number}"));
        register.set(&format!("value {number}")).expect("there is room");
    }
    node.shutdown().await;
    let mut laps = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        let node = on(folder, &identity, Durability::Grouped).await;
        laps.push(begun.elapsed());
        assert_eq!(node.status().crdts, 10_000);
        node.shutdown().await;
    }
    quantile(&mut laps, 0.5)
}
