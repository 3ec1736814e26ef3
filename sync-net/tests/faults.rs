//! A node on a disk that fails: at every operation once, and for a while.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{builder, ca, eventually, peer};
use sync_disk::planted::{Fault, PlantedDisk};
use sync_disk::{Disk, DiskError, RowFile};
use sync_net::{ClusterCa, Error, Identity, Node, NodeBuilder, StartError, StorageError, WriteError};
use tokio::task::JoinSet;

/// Lives that run at a time: most of each is a pause before the disk is tried again.
const LIVES: usize = 12;

fn on(disk: &PlantedDisk) -> Result<Box<dyn Disk>, DiskError> {
    let given = disk.clone();
    Ok(Box::new(RowFile::on(move || given.clone())?))
}

fn issued(ca: &ClusterCa) -> Identity {
    ca.issue("node").expect("a certificate can be issued")
}

fn of(identity: &Identity) -> NodeBuilder {
    Node::builder().identity(identity.clone()).cluster("test")
}

/// A disk with an empty file: the product makes one under another name, whole or not at all.
fn empty() -> Vec<u8> {
    let made = PlantedDisk::default();
    drop(on(&made).expect("nothing fails"));
    made.bytes()
}

/// Starts a node, again if its disk does not let it: that is an error of the disk and never damage.
async fn started(identity: &Identity, disk: &PlantedDisk) -> Node {
    for _ in 0..3 {
        let error = match on(disk) {
            Ok(file) => match of(identity).disk(file).start().await {
                Ok(node) => return node,
                Err(StartError::Storage(StorageError::Disk(error))) => error,
                Err(other) => panic!("a disk that failed is said to be something else: {other}"),
            },
            Err(error) => error,
        };
        assert!(!error.is_damage(), "a disk that failed is said to be damaged: {error}");
    }
    panic!("one fault fails three starts")
}

/// Waits until `written` is durable, through whatever the disk does.
async fn durable(node: &Node, written: &sync_net::Written) {
    let begun = Instant::now();
    while node.durable(written).await.is_err() {
        assert!(begun.elapsed() < common::PATIENCE, "the disk does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A node's life on `disk`, and the next one; gives what the last holds.
async fn live(identity: Identity, disk: PlantedDisk) {
    let node = started(&identity, &disk).await;
    let set = node.or_set::<u64>("set");
    for element in 0..4 {
        let written = loop {
            match set.add(&element) {
                Ok(written) => break written,
                // Refused while the disk fails: nothing was written.
                Err(Error::Write(WriteError::NoGrowth { .. })) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        durable(&node, &written).await;
    }
    let (_, removed) = set.remove(&2).expect("removes pass");
    durable(&node, &removed).await;
    let owner = node.owner();
    node.shutdown().await;
    // A process that is gone: only the bytes are left.
    let node = started(&identity, &PlantedDisk::on(disk.bytes())).await;
    let found = node.or_set::<u64>("set").elements().expect("they are numbers");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 3]));
    assert_eq!(node.owner(), owner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_a_disk_of_which_any_operation_fails_once_loses_nothing_that_it_acknowledged() {
    let (identity, made) = (issued(&ca()), empty());
    let quiet = PlantedDisk::on(made.clone());
    live(identity.clone(), quiet.clone()).await;
    let all = quiet.asked();
    assert!(all > 80, "{all} operations");
    let mut lives = JoinSet::new();
    for at in 0..all {
        for fault in Fault::ALL {
            if lives.len() == LIVES {
                lives.join_next().await.expect("one runs").expect("it loses nothing");
            }
            let disk = PlantedDisk::on(made.clone());
            disk.fail_at(at, fault);
            lives.spawn(live(identity.clone(), disk));
        }
    }
    while let Some(done) = lives.join_next().await {
        done.expect("it loses nothing");
    }
    println!("{all} operations, each with {} faults", Fault::ALL.len());
}

/// Two nodes that only `node` connects, by what it is told to dial.
async fn around(ca: &ClusterCa, node: NodeBuilder) -> [Node; 3] {
    let left = builder(ca, "left").start().await.expect("it starts");
    let right = builder(ca, "right").start().await.expect("it starts");
    let node = node.peer(peer(&left)).peer(peer(&right)).start().await.expect("it starts");
    eventually("both are linked", || node.status().peers_connected == 2).await;
    [left, node, right]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_degraded_within_a_second_goes_on_and_recovers_by_opening_anew() {
    for fault in Fault::ALL {
        let (ca, disk) = (ca(), PlantedDisk::on(empty()));
        let identity = issued(&ca);
        let node = of(&identity).disk(on(&disk).expect("nothing fails yet"));
        let [left, node, right] = around(&ca, node).await;
        let set = |node: &Node| node.or_set::<u64>("set");
        let written = set(&node).add(&1).expect("there is room");
        node.durable(&written).await.expect("the disk works");
        eventually("both have it", || set(&left).len() + set(&right).len() == 2).await;

        disk.fail(fault);
        let asked = Instant::now();
        let unheard = set(&node).add(&2).expect("it is taken in memory");
        node.durable(&unheard).await.expect_err("the disk fails");
        let failing = || node.status().storage.expect("it has a disk").failing;
        eventually("it says so", || failing().is_some()).await;
        let degraded = asked.elapsed();
        println!("{fault:?}: degraded after {degraded:?}");
        // A second is the promise; others run beside this test.
        assert!(degraded < Duration::from_secs(5), "{degraded:?}");

        // It reads, joins what others write, and keeps its links; nothing new is shown or acknowledged.
        assert_eq!(set(&node).len(), 2);
        set(&left).add(&3).expect("there is room");
        eventually("it joins", || set(&node).contains(&3)).await;
        let refused = set(&node).add(&4).expect_err("what grows is refused");
        assert!(matches!(refused, Error::Write(WriteError::NoGrowth { .. })), "{refused}");
        let removed = set(&node).remove(&1).expect("removes pass").1;
        node.durable(&removed).await.expect_err("nothing is acknowledged");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((set(&left).contains(&2), set(&right).contains(&3)), (false, false), "nothing is shown");
        assert_eq!(node.status().peers_connected, 2);

        disk.heal();
        durable(&node, &unheard).await;
        durable(&node, &removed).await;
        eventually("all is relayed", || set(&left).len() == 2 && set(&right).len() == 2).await;
        assert_eq!(failing(), None);
        drop((left, right));
        node.shutdown().await;
        let node = started(&identity, &PlantedDisk::on(disk.bytes())).await;
        let found = set(&node).elements().expect("they are numbers");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([2, 3]), "{fault:?}");
    }
}
