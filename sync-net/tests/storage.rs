//! A node with a disk: what was acknowledged outlives it, and what it does when the disk does not take more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sync_core::node::StepRows;
use sync_core::rows::Table;
use sync_disk::{EachRow, LastStop};
use sync_net::{
    ClusterCa, Disk, DiskError, Durability, DurableError, Error, Identity, Node, NodeBuilder, PeerAddr,
    WriteError,
};

fn identity() -> Identity {
    ClusterCa::create("test").expect("a CA can be made").issue("node").expect("a certificate can be issued")
}

fn builder(identity: &Identity) -> NodeBuilder {
    Node::builder().identity(identity.clone())
}

async fn on_folder(identity: &Identity, folder: &Path) -> Node {
    builder(identity).data(folder).start().await.expect("it starts")
}

/// A disk in memory, which fails as it is told.
#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    commits: usize,
    asides: usize,
    reserve: bool,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Every commit fails.
    Io,
    /// Commits fail that put more than this many rows while the reserve is held.
    Full,
    /// What is there is not what was written.
    Damage,
}

impl Faulty {
    fn set(&self, fault: Option<Fault>) {
        self.0.lock().expect("nobody panics").fault = fault;
    }

    fn items(&self) -> usize {
        let inner = self.0.lock().expect("nobody panics");
        inner.rows.keys().filter(|(table, _)| *table == Table::Item).count()
    }
}

impl Disk for Faulty {
    fn load(&mut self, each: &mut EachRow<'_>) -> Result<LastStop, DiskError> {
        let inner = self.0.lock().expect("nobody panics");
        for ((table, key), stored) in &inner.rows {
            each(*table, key, stored)?;
        }
        Ok(if inner.rows.is_empty() { LastStop::Never } else { LastStop::Crash })
    }

    fn commit(&mut self, step: &StepRows) -> Result<(), DiskError> {
        let mut inner = self.0.lock().expect("nobody panics");
        match inner.fault {
            Some(Fault::Io) => {
                let reason = "the cable is out".to_owned();
                return Err(DiskError::Io { doing: "writing", path: "disk".into(), reason });
            }
            Some(Fault::Full) if inner.reserve => {
                return Err(DiskError::Full { path: "disk".into(), reason: "no space left".to_owned() });
            }
            Some(Fault::Damage) => {
                let reason = "a page is another".to_owned();
                return Err(DiskError::Damaged { path: "disk".into(), reason });
            }
            Some(Fault::Full) | None => {}
        }
        inner.commits += 1;
        if step.whole {
            inner.rows.clear();
        }
        for row in &step.rows {
            let key = (row.table, row.key.clone());
            match row.sealed() {
                Some(stored) => inner.rows.insert(key, stored),
                None => inner.rows.remove(&key),
            };
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn take_reserve(&mut self) -> Result<(), DiskError> {
        let mut inner = self.0.lock().expect("nobody panics");
        if inner.fault == Some(Fault::Full) {
            return Err(DiskError::Full { path: "disk".into(), reason: "no space left".to_owned() });
        }
        inner.reserve = true;
        Ok(())
    }

    fn give_reserve(&mut self) -> Result<(), DiskError> {
        self.0.lock().expect("nobody panics").reserve = false;
        Ok(())
    }

    fn set_aside(&mut self) -> Result<String, DiskError> {
        let mut inner = self.0.lock().expect("nobody panics");
        inner.rows.clear();
        inner.asides += 1;
        inner.fault = None;
        Ok("aside".to_owned())
    }

    fn bytes(&self) -> u64 {
        self.0.lock().expect("nobody panics").rows.values().map(|stored| stored.len() as u64).sum()
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_there_after_a_restart_under_a_new_incarnation_and_the_same_owner() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let identity = identity();
    let mut lives = Vec::new();
    for life in 1..=3 {
        let node = on_folder(&identity, dir.path()).await;
        let written = node.pn_counter("count").add(2).expect("there is room");
        node.or_set::<u64>("set").add(&life).expect("there is room");
        node.durable(&written).await.expect("the disk works");
        assert_eq!(node.pn_counter("count").value(), 2 * i128::from(life));
        assert_eq!(node.or_set::<u64>("set").len(), life);
        lives.push((node.replica(), node.owner()));
        if life == 2 {
            // Dropped, not stopped: links go, and what is in memory still goes to the disk.
            drop(node);
            tokio::time::sleep(Duration::from_millis(500)).await;
        } else {
            node.shutdown().await;
        }
    }
    assert!(lives[0].0 != lives[1].0 && lives[1].0 != lives[2].0, "every start is a new incarnation");
    assert!(lives.iter().all(|(_, owner)| *owner == lives[0].1), "the counter's owner stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_serves_one_process_and_one_node() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let (mine, other) = (identity(), identity());
    let node = on_folder(&mine, dir.path()).await;
    let error = builder(&mine).data(dir.path()).start().await.expect_err("it is in use");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    node.pn_counter("count").add(1).expect("there is room");
    node.shutdown().await;
    let error = builder(&other).data(dir.path()).start().await.expect_err("it is another node's");
    assert!(error.to_string().contains("another node's"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_shows_what_is_not_on_the_disk() {
    let ca = ClusterCa::create("test").expect("a CA can be made");
    let issue = |name| ca.issue(name).expect("a certificate can be issued");
    let disk = Faulty::default();
    let node = Node::builder().identity(issue("node")).disk(Box::new(disk.clone()));
    let node = node.start().await.expect("it starts");
    let peer = Node::builder().identity(issue("peer"));
    let addr = PeerAddr { addr: node.listen_addr().to_string(), id: Some(node.id()) };
    let peer = peer.peer(addr).start().await.expect("it starts");
    node.pn_counter("count").add(1).expect("there is room");
    until("the peer has it", || peer.pn_counter("count").value() == 1).await;
    disk.set(Some(Fault::Io));
    let written = node.pn_counter("count").add(1).expect("it is taken in memory");
    let error = node.durable(&written).await.expect_err("the disk fails");
    assert!(
        matches!(&error, DurableError::Failing { reason } if reason.contains("the cable is out")),
        "{error}"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((node.pn_counter("count").value(), peer.pn_counter("count").value()), (2, 1));
    let status = node.status().storage.expect("it has a disk");
    assert!(status.failing.is_some() && status.failing_ms.is_some() && status.persisted < status.steps);
    // Removes pass, what grows does not; reading goes on.
    let refused = node.or_set::<u64>("set").add(&1).expect_err("the disk takes no more");
    assert!(matches!(refused, Error::Write(WriteError::NoGrowth { .. })), "{refused}");
    disk.set(None);
    until("the peer has it", || peer.pn_counter("count").value() == 2).await;
    node.durable(&written).await.expect("the disk works again");
    node.or_set::<u64>("set").add(&1).expect("the disk works again");
    let status = node.status().storage.expect("it has a disk");
    assert_eq!((status.failing, status.failing_ms), (None, None));
    assert!(status.commits >= 2 && status.commits <= status.steps, "{} of {}", status.commits, status.steps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_the_reserve_lets_removes_through_and_growth_waits_for_room() {
    let (identity, disk) = (identity(), Faulty::default());
    let node = builder(&identity).disk(Box::new(disk.clone())).start().await.expect("it starts");
    let set = node.or_set::<u64>("set");
    let written = set.add(&1).expect("there is room");
    node.durable(&written).await.expect("the disk works");
    disk.set(Some(Fault::Full));
    set.add(&2).expect("it is taken in memory");
    until("the reserve is given up", || !node.status().storage.expect("it has a disk").reserve).await;
    until("the step is there", || disk.items() == 2).await;
    let refused = set.add(&3).expect_err("there is no room");
    assert!(matches!(refused, Error::Write(WriteError::NoGrowth { .. })), "{refused}");
    let (_, written) = set.remove(&2).expect("removes pass");
    node.durable(&written).await.expect("there is room for a remove");
    assert_eq!(disk.items(), 1);
    disk.set(None);
    until("the reserve is back", || node.status().storage.expect("it has a disk").reserve).await;
    let written = set.add(&3).expect("there is room again");
    node.durable(&written).await.expect("the disk works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_under_a_running_node_is_written_anew_from_memory() {
    let (identity, disk) = (identity(), Faulty::default());
    let node = builder(&identity).disk(Box::new(disk.clone())).start().await.expect("it starts");
    let set = node.or_set::<u64>("set");
    for n in 0..20 {
        set.add(&n).expect("there is room");
    }
    until("all is there", || disk.items() == 20).await;
    disk.set(Some(Fault::Damage));
    let written = set.add(&20).expect("it is taken in memory");
    node.durable(&written).await.expect("all was written anew");
    assert_eq!((disk.items(), disk.0.lock().expect("nobody panics").asides), (21, 1));
    node.shutdown().await;
}

/// An identity for a node with a disk, another, and a peer in memory with its address.
async fn beside_a_peer() -> (Identity, Identity, Node, PeerAddr) {
    let ca = ClusterCa::create("test").expect("a CA can be made");
    let issue = |name| ca.issue(name).expect("a certificate can be issued");
    let (mine, other) = (issue("node"), issue("peer"));
    let peer = builder(&other).start().await.expect("it starts");
    let addr = PeerAddr { addr: peer.listen_addr().to_string(), id: Some(peer.id()) };
    (mine, issue("third"), peer, addr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_folder_is_refilled_by_peers_and_only_to_be_read_where_there_are_none() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let (mine, third, peer, addr) = beside_a_peer().await;
    let node = builder(&mine).peer(addr.clone()).data(dir.path()).start().await.expect("it starts");
    for n in 0..50 {
        node.or_set::<u64>("set").add(&n).expect("there is room");
    }
    until("the peer has it", || peer.or_set::<u64>("set").len() == 50).await;
    node.shutdown().await;
    let file = dir.path().join("state.redb");
    let mut bytes = std::fs::read(&file).expect("it is there");
    let items = bytes.windows(3).rposition(|three| three == b"set").expect("its rows name the set");
    bytes[items] ^= 1;
    std::fs::write(&file, bytes).expect("it is written");
    let damaged = std::fs::read(&file).expect("it is there");
    let alone = builder(&mine).data(dir.path()).start().await.expect("what is sound can be read");
    let damage = alone.damage().expect("it says so");
    assert_eq!((damage.readable.items, damage.readable.unsound), (49, 1), "{damage:?}");
    assert_eq!(alone.or_set::<u64>("set").len(), 49);
    let refused = alone.or_set::<u64>("set").add(&99).expect_err("it can only be read");
    assert!(matches!(refused, Error::Write(WriteError::Damaged)), "{refused}");
    let refused = alone.backup(dir.path().join("backup")).await.expect_err("it would look sound");
    assert!(refused.to_string().contains("damaged"), "{refused}");
    let to_alone = PeerAddr { addr: alone.listen_addr().to_string(), id: Some(alone.id()) };
    let third = builder(&third).peer(to_alone).start().await.expect("it starts");
    let why = |node: &Node| node.peers().into_iter().find_map(|peer| peer.failure).unwrap_or_default();
    until("a peer is told why it is not let in", || why(&third).contains("damaged")).await;
    assert!(third.or_set::<u64>("set").is_empty(), "nothing of it leaves");
    alone.shutdown().await;
    assert!(std::fs::read(&file).expect("it is there") == damaged, "it lies as it lay");
    let node = builder(&mine).peer(addr).data(dir.path()).start().await.expect("it starts");
    until("all is fetched", || node.or_set::<u64>("set").len() == 50).await;
    assert!(dir.path().join("state.redb.damaged-1").exists());
    let written = node.or_set::<u64>("set").add(&50).expect("there is room");
    node.durable(&written).await.expect("the disk works");
    node.shutdown().await;
    let node = on_folder(&mine, dir.path()).await;
    assert_eq!(node.or_set::<u64>("set").len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_come_together_share_a_step_and_a_level_of_none_waits_for_nothing() {
    let (identity, disk) = (identity(), Faulty::default());
    let node = builder(&identity).durability(Durability::Grouped).disk(Box::new(disk.clone()));
    let node = node.start().await.expect("it starts");
    let set = node.or_set::<u64>("set");
    let written: Vec<_> = (0..500).map(|n| set.add(&n).expect("there is room")).collect();
    for written in &written {
        node.durable(written).await.expect("the disk works");
    }
    let commits = disk.0.lock().expect("nobody panics").commits;
    assert!(commits < 100, "500 writes took {commits} commits");
    disk.set(Some(Fault::Io));
    let unheard = set.remove(&1).expect("removes pass").1;
    node.durable_as(&unheard, Durability::None).await.expect("nobody waits");
    node.durable_as(&unheard, Durability::Immediate).await.expect_err("the disk fails");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_items_that_no_peer_has_come_back_from_a_damaged_file_and_removed_ones_do_not() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let (mine, _, peer, addr) = beside_a_peer().await;
    let node = builder(&mine).peer(addr.clone()).data(dir.path()).start().await.expect("it starts");
    for n in 0..10 {
        node.or_set::<u64>("shared").add(&n).expect("there is room");
    }
    until("the peer has it", || peer.or_set::<u64>("shared").len() == 10).await;
    node.block_peers([peer.id()].into());
    peer.block_peers([node.id()].into());
    for n in 0..30 {
        node.lww_map::<u64, String>("alone").put(&n, &format!("value {n}")).expect("there is room");
    }
    node.or_set::<u64>("alone too").add(&1).expect("there is room");
    node.shutdown().await;
    peer.block_peers(Default::default());
    peer.or_set::<u64>("shared").remove(&3).expect("it is there");
    let file = dir.path().join("state.redb");
    let mut bytes = std::fs::read(&file).expect("it is there");
    let item = bytes.windows(8).rposition(|found| found == b"value 17").expect("its row has the value");
    bytes[item] ^= 1;
    std::fs::write(&file, bytes).expect("it is written");

    let node = builder(&mine).peer(addr).data(dir.path()).start().await.expect("it starts");
    until("what can be read is back", || entries(&node) == 29).await;
    until("the peer has it", || entries(&peer) == 29).await;
    for node in [&node, &peer] {
        assert_eq!(node.lww_map::<u64, String>("alone").get(&17), Ok(None), "its row was damaged");
        assert_eq!(node.lww_map::<u64, String>("alone").get(&16), Ok(Some("value 16".to_owned())));
        assert!(node.or_set::<u64>("alone too").contains(&1));
        assert_eq!(node.or_set::<u64>("shared").len(), 9, "the peer knew that one was removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_ten_thousand_crdts_is_whole_each_time_it_is_opened() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let identity = identity();
    let node = on_folder(&identity, dir.path()).await;
    for n in 0..10_000 {
        node.lww_register::<String>(&format!("register/{n}"))
            .set(&format!("value {n}"))
            .expect("there is room");
    }
    node.shutdown().await;
    let mut opened = Vec::new();
    for _ in 0..4 {
        let started = Instant::now();
        let node = on_folder(&identity, dir.path()).await;
        opened.push(started.elapsed());
        assert_eq!(node.status().crdts, 10_000);
        node.shutdown().await;
    }
    // Told and not judged: others run beside this one.
    println!("opened in {opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_in_time_on_a_disk_that_does_not_come_back() {
    let (identity, disk) = (identity(), Faulty::default());
    let node = builder(&identity).disk(Box::new(disk.clone())).start().await.expect("it starts");
    disk.set(Some(Fault::Io));
    let written = node.pn_counter("count").add(1).expect("it is taken in memory");
    node.durable(&written).await.expect_err("the disk fails");
    let started = Instant::now();
    node.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert_eq!(disk.items(), 0);
}

fn entries(node: &Node) -> usize {
    node.lww_map::<u64, String>("alone").entries().map_or(0, |entries| entries.len())
}
