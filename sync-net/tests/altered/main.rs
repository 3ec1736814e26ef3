//! A node on a data file that was altered below it, one block of 64 bytes after the other: it never panics, never
//! reads what was not written, and is healed by its peer.
//!
//! What a block means to the file is told without a node first: of those in which nothing lies the rows read as they
//! were. Under every other block a real node starts, sets the file aside and fetches all from a live peer over QUIC.
//!
//! ```text
//! cargo test -p sync-net --test altered                            every 97th block, as in every test run
//! cargo test --release -p sync-net --test altered -- --stride 1    all 16,384
//! ```

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser as _;
use common::{builder, ca, eventually, peer};
use sync_disk::planted::PlantedDisk;
use sync_disk::{Disk as _, DiskError, Folder, RowFile};
use sync_net::{ClusterCa, Identity, Node, NodeStatus};

/// Bytes that are altered at a time.
const BLOCK: usize = 64;

/// Bytes of the file that are gone through.
const FILE: usize = 1 << 20;

/// Nodes at a time, each with a file and a certificate of its own.
const LANES: usize = 4;

/// Blocks between two lines of progress.
const TELL_EVERY: usize = 1_024;

#[derive(clap::Parser)]
struct Args {
    /// Every so many blocks.
    #[arg(long, default_value_t = 97)]
    stride: usize,
    /// What `cargo test` hands to every test: names to run, and how.
    #[arg(hide = true, allow_hyphen_values = true)]
    others: Vec<String>,
}

/// A row's table and key, and its stored bytes.
type Stored = (Vec<u8>, Vec<u8>);

/// One node to be, and the file of its last life.
struct Lane {
    identity: Identity,
    sound: Vec<u8>,
    rows: Vec<Stored>,
}

#[derive(Default)]
struct Told {
    blocks: AtomicUsize,
    /// Seen by nobody: every row reads as it was.
    unharmed: AtomicUsize,
    healed: AtomicUsize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let asks_for_others =
        args.others.iter().any(|other| !other.starts_with('-') && !"altered".contains(other));
    if asks_for_others || args.others.iter().any(|other| other == "--list") {
        return ExitCode::SUCCESS;
    }
    // What breaks inside the file's reader is caught there, and is told to nobody.
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_none_or(|place| !place.file().contains("redb")) {
            eprintln!("{panic}");
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the machine has two threads for us").block_on(all(&args));
    ExitCode::SUCCESS
}

async fn all(args: &Args) {
    let begun = Instant::now();
    let ca = ca();
    let holder = builder(&ca, "holder").start().await.expect("it starts");
    let lanes = filled(&ca, &holder).await;
    let expected = Arc::new(holder.status());
    let told = Arc::new(Told::default());
    let stride = args.stride.max(1);
    let runs: Vec<_> = lanes
        .into_iter()
        .enumerate()
        .map(|(at, lane)| {
            let (holder, expected, told) = (holder.clone(), Arc::clone(&expected), Arc::clone(&told));
            tokio::spawn(async move {
                for block in (0..FILE / BLOCK).step_by(stride).skip(at).step_by(LANES) {
                    altered(&lane, block, &holder, &expected, &told).await;
                }
            })
        })
        .collect();
    for run in runs {
        run.await.expect("every block is damage that heals, or nothing");
    }
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (blocks, unharmed, healed) = (count(&told.blocks), count(&told.unharmed), count(&told.healed));
    println!(
        "{blocks} blocks altered: {healed} healed from the peer, {unharmed} of no row; 0 panics, 0 wrong reads; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(healed * 4 > blocks, "{healed} of {blocks} blocks were seen to be altered");
}

/// Lets every lane's node fetch and store what the holder has, and stop.
async fn filled(ca: &ClusterCa, holder: &Node) -> Vec<Lane> {
    for n in 0..3_000u32 {
        holder.lww_map::<u32, String>("map").put(&n, &format!("{n:0>280}")).expect("there is room");
    }
    holder.pn_counter("count").add(7).expect("there is room");
    let mut lanes = Vec::new();
    for at in 0..LANES {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let identity = ca.issue(&format!("lane-{at}")).expect("a certificate can be issued");
        let node = start(&identity, dir.path(), holder).await;
        let all = || node.status().state_id == holder.status().state_id;
        eventually("it fetches all", all).await;
        node.shutdown().await;
        let folder = Folder::at(dir.path());
        let sound = std::fs::read(folder.rows()).expect("it is there");
        assert!(sound.len() >= FILE, "{} bytes", sound.len());
        let rows = rows(sound.clone()).expect("it is sound");
        lanes.push(Lane { identity, sound, rows });
    }
    lanes
}

async fn start(identity: &Identity, dir: &Path, holder: &Node) -> Node {
    let node = Node::builder().identity(identity.clone()).cluster("test").peer(peer(holder)).data(dir);
    node.start().await.expect("it starts, whatever lies there")
}

fn rows(bytes: Vec<u8>) -> Result<Vec<Stored>, DiskError> {
    let (disk, mut rows) = (PlantedDisk::on(bytes), Vec::new());
    let mut file = RowFile::on(move || disk.clone())?;
    file.load(&mut |table, key, stored| {
        sync_core::rows::open(table, key, stored)?;
        rows.push(([&[table.code()], key].concat(), stored.to_vec()));
        Ok(())
    })?;
    Ok(rows)
}

async fn altered(lane: &Lane, block: usize, holder: &Node, expected: &NodeStatus, told: &Told) {
    let mut bytes = lane.sound.clone();
    bytes[block * BLOCK..][..BLOCK].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let seen = match rows(bytes.clone()) {
        Ok(found) => {
            assert!(found == lane.rows, "block {block} was altered, and other rows were read");
            told.unharmed.fetch_add(1, Ordering::Relaxed);
            false
        }
        // A version that is not known is refused by name, and no peer heals that.
        Err(DiskError::Version { .. }) => false,
        Err(error) => {
            assert!(error.is_damage(), "block {block}: {error}");
            true
        }
    };
    if seen {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let folder = Folder::open(&dir.path().join("data")).expect("it is made");
        std::fs::write(folder.rows(), &bytes).expect("it is written");
        let node = start(&lane.identity, folder.path(), holder).await;
        let aside = std::fs::read(folder.path().join("state.redb.damaged-1")).expect("it was set aside");
        assert!(aside.len() >= bytes.len(), "block {block}: all of it is kept");
        let healed = || node.status().state_id == expected.state_id;
        eventually(&format!("block {block} is healed"), healed).await;
        assert_eq!((node.status().root, node.pn_counter("count").value()), (expected.root.clone(), 7));
        node.shutdown().await;
        told.healed.fetch_add(1, Ordering::Relaxed);
    }
    let blocks = told.blocks.fetch_add(1, Ordering::Relaxed) + 1;
    if blocks.is_multiple_of(TELL_EVERY) {
        eprintln!("{blocks} blocks, {} healed", told.healed.load(Ordering::Relaxed));
    }
}
