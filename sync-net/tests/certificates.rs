//! Certificates of running nodes: renewed under traffic, replaced file by file, revoked by a list in the folder.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sync_net::certs::{revoke_in, trust_in};
use sync_net::{ClusterCa, Followed, Identity, Node, PeerAddr, ReloadError};
use tempfile::TempDir;

/// Far above what anything here takes, so that only a wrong result fails and never a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose certificate lies in a folder.
struct Place {
    node: Node,
    dir: TempDir,
}

impl Place {
    async fn start(ca: &ClusterCa, name: &str, peer: Option<&Node>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        ca.issue(name).unwrap().save(dir.path()).unwrap();
        let builder = Node::builder().identity(Identity::load(dir.path()).unwrap());
        let builder = builder.watch_certificates(dir.path());
        let addr = |node: &Node| PeerAddr { addr: node.listen_addr().to_string(), id: Some(node.id()) };
        let builder = peer.map(addr).into_iter().fold(builder, |builder, peer| builder.peer(peer));
        Self { node: builder.start().await.unwrap(), dir }
    }

    fn linked(&self) -> usize {
        self.node.peers().iter().filter(|peer| peer.connected).count()
    }

    fn kinds(&self) -> Vec<String> {
        self.node.health().reasons.into_iter().map(|reason| reason.kind).collect()
    }
}

async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes on `node` until it is told to stop; the sum of what was written.
fn writes(node: Node, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<i64> {
    let sum = AtomicI64::new(0);
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            node.pn_counter("count").add(1).unwrap();
            node.or_set::<String>("names").add(&format!("{}-{sum:?}", node.id().short())).unwrap();
            sum.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sum.into_inner()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_rotations_under_traffic_drop_no_link_and_no_write() {
    let ca = ClusterCa::create("shop").unwrap();
    let a = Place::start(&ca, "a", None).await;
    let b = Place::start(&ca, "b", Some(&a.node)).await;
    eventually("they are linked", || a.linked() == 1 && b.linked() == 1).await;
    let mut followed = a.node.events();
    let downs = tokio::spawn(async move {
        let mut downs = 0;
        while let Some(followed) = followed.next().await {
            let Followed::Event(event) = followed else { panic!("events were missed") };
            downs += usize::from(event.event == "link_down" && !event.text.contains("shutting down"));
        }
        downs
    });
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [&a, &b].map(|place| writes(place.node.clone(), stop.clone()));
    let (mut serials, mut remade) = (BTreeSet::new(), 0);
    for round in 0..100 {
        let place = if round % 2 == 0 { &a } else { &b };
        ca.renew_in(place.dir.path()).unwrap();
        // At once and not at the next look at the folder, which may come first.
        let reloaded = place.node.reload_certificates().unwrap();
        assert_eq!(reloaded.cut, 0);
        serials.insert(reloaded.serial);
        if round % 20 == 19 {
            // What was renewed is good for a new link too.
            remade += 1;
            a.node.block_peers(BTreeSet::from([b.node.id()]));
            eventually("they are cut", || a.linked() == 0).await;
            a.node.block_peers(BTreeSet::new());
            eventually("they are linked again", || a.linked() == 1 && b.linked() == 1).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sum = 0;
    for writer in writers {
        sum += writer.await.unwrap();
    }
    assert_eq!(serials.len(), 100, "each round had a certificate of its own");
    for place in [&a, &b] {
        place.node.converge(PATIENCE).await.unwrap();
    }
    for place in [&a, &b] {
        assert_eq!(i64::try_from(place.node.pn_counter("count").value()).unwrap(), sum);
        assert_eq!(
            i64::try_from(place.node.or_set::<String>("names").elements().unwrap().len()).unwrap(),
            sum
        );
    }
    a.node.shutdown().await;
    assert_eq!(downs.await.unwrap(), remade, "a link went down that nobody closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_the_list_is_cut_within_five_seconds_and_stays_out_until_it_is_off_it() {
    let ca = ClusterCa::create("shop").unwrap();
    let a = Place::start(&ca, "a", None).await;
    let b = Place::start(&ca, "b", Some(&a.node)).await;
    let c = Place::start(&ca, "c", Some(&a.node)).await;
    eventually("all are linked", || a.linked() == 2 && b.linked() == 1 && c.linked() == 1).await;
    let begun = Instant::now();
    revoke_in(a.dir.path(), &b.node.id().to_hex()).unwrap();
    eventually("b is cut off", || a.linked() == 1 && b.linked() == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let told = b.node.peers()[0].failure.clone().unwrap_or_default();
    assert!(told.contains("revoked"), "b is told why: {told}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((a.linked(), b.linked(), c.linked()), (1, 0, 1));
    // A list that cannot be read, and one that is gone, change nothing.
    let list = a.dir.path().join("revoked");
    std::fs::write(&list, "what").unwrap();
    eventually("a says so", || a.kinds().contains(&"certificate_refused".to_owned())).await;
    std::fs::remove_file(&list).unwrap();
    eventually("a says nothing", || a.kinds().is_empty()).await;
    assert_eq!(b.linked(), 0);
    std::fs::write(&list, "# nobody\n").unwrap();
    eventually("b is back", || a.linked() == 2 && b.linked() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_on_the_list_at_the_start_never_gets_in_and_a_broken_list_lets_nobody_start() {
    let ca = ClusterCa::create("shop").unwrap();
    let (dir, b) = (tempfile::tempdir().unwrap(), ca.issue("b").unwrap());
    ca.issue("a").unwrap().save(dir.path()).unwrap();
    revoke_in(dir.path(), &format!("serial {}", b.serial())).unwrap();
    let start = || {
        Node::builder().identity(Identity::load(dir.path()).unwrap()).watch_certificates(dir.path()).start()
    };
    let a = start().await.unwrap();
    let addr = PeerAddr { addr: a.listen_addr().to_string(), id: None };
    let b = Node::builder().identity(b).peer(addr).start().await.unwrap();
    let told = || b.peers()[0].failure.clone().unwrap_or_default();
    eventually("b is told", || told().contains("it is revoked: its serial number")).await;
    assert_eq!(a.status().peers_connected, 0);
    a.shutdown().await;
    std::fs::write(dir.path().join("revoked"), "broken").unwrap();
    assert!(start().await.unwrap_err().to_string().contains("line 1"));
}

/// The files of a folder, replaced one by one in each order, with a look between any two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_replaced_in_any_order_never_break_a_node() {
    let [old, new] = ["old", "new"].map(|label| ClusterCa::create(label).unwrap());
    let orders: [[&str; 3]; 6] = [
        ["ca.pem", "node.pem", "node.key"],
        ["ca.pem", "node.key", "node.pem"],
        ["node.pem", "ca.pem", "node.key"],
        ["node.pem", "node.key", "ca.pem"],
        ["node.key", "ca.pem", "node.pem"],
        ["node.key", "node.pem", "ca.pem"],
    ];
    for order in orders {
        for same_key in [true, false] {
            let (a, fresh) = (Place::start(&old, "a", None).await, tempfile::tempdir().unwrap());
            let b = Place::start(&old, "b", Some(&a.node)).await;
            eventually("they are linked", || a.linked() == 1).await;
            let before = a.node.reload_certificates().unwrap();
            if same_key {
                copy_all(a.dir.path(), fresh.path());
                new.renew_in(fresh.path()).unwrap();
            } else {
                old.issue("another").unwrap().save(fresh.path()).unwrap();
                trust_in(fresh.path(), new.certificate_pem(), false).unwrap();
            }
            let mut last = None;
            for name in order {
                // In two pieces, as a copy that is slow.
                let text = std::fs::read(fresh.path().join(name)).unwrap();
                let there = a.dir.path().join(name);
                std::fs::write(&there, &text[..text.len() * 2 / 3]).unwrap();
                assert!(a.node.reload_certificates().is_err(), "a part of {name} is not usable");
                std::fs::write(&there, &text).unwrap();
                last = Some(a.node.reload_certificates());
                assert_eq!((a.linked(), b.linked()), (1, 1), "{order:?} {name}");
            }
            match last.unwrap() {
                Ok(reloaded) => assert!(same_key && reloaded.serial != before.serial),
                Err(error) => {
                    assert!(!same_key && matches!(error, ReloadError::OtherNode { .. }), "{order:?}: {error}")
                }
            }
            a.node.pn_counter("count").add(1).unwrap();
            a.node.converge(PATIENCE).await.unwrap();
            assert_eq!(b.node.pn_counter("count").value(), 1);
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    for name in ["ca.pem", "node.pem", "node.key"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_ends_soon_is_an_event_a_reason_and_a_metric_until_it_is_renewed() {
    let ca = ClusterCa::create("shop").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60 + 600);
    ca.issue_for("a", days(6)).unwrap().save(dir.path()).unwrap();
    let builder = Node::builder().identity(Identity::load(dir.path()).unwrap());
    let node = builder.watch_certificates(dir.path()).start().await.unwrap();
    eventually("the alarm is counted", || {
        let metrics = node.metrics().unwrap();
        metrics.contains("crdt_alarms_total{alarm=\"certificate_ends\"} 1")
            && metrics.contains("crdt_certificate_days_left 6.0")
    })
    .await;
    let health = node.health();
    assert_eq!(health.reasons[0].kind, "certificate_ends");
    assert!(health.reasons[0].what.contains("6 days"), "{health:?}");
    let mut events = node.events();
    ca.renew_in(dir.path()).unwrap();
    eventually("it is renewed", || node.health().reasons.is_empty()).await;
    loop {
        let Some(Followed::Event(event)) = events.next().await else { panic!("the node runs") };
        if event.event == "certificate_reloaded" {
            break assert!(event.text.contains("364 days"), "{}", event.text);
        }
    }
}
