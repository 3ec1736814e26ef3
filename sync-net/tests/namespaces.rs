//! Namespaces over real QUIC: stores of their own, shared by those who have them open, each in its own lane.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{PATIENCE, assert_one_state, builder, ca, cluster, converge, eventually, peer, text};
use sync_net::{
    Class, ClusterCa, ConvergeError, Error, Followed, HealthState, Limits, Namespace, NamespaceError, Node,
    Policy, Start, StartError, Visibility, WaitError, WatchEvent, WriteError,
};

/// Opens `name` on all of `nodes` and waits until each pair shares it.
async fn opened(nodes: &[Node], name: &str, class: Class) -> Vec<Namespace> {
    let open = |node: &Node| node.open_namespace(name, class).expect("there is room");
    let opened: Vec<Namespace> = nodes.iter().map(open).collect();
    shared(&opened).await;
    opened
}

async fn shared(namespaces: &[Namespace]) {
    let others = namespaces.len() as u64 - 1;
    let peers = |namespace: &Namespace| {
        let infos = namespace.node().namespaces();
        infos.into_iter().find(|info| info.name == namespace.name()).map_or(0, |info| info.peers)
    };
    eventually("each shares it with all others", || {
        namespaces.iter().all(|namespace| peers(namespace) == others)
    })
    .await;
}

fn info(node: &Node, name: &str) -> sync_net::NamespaceInfo {
    let infos = node.namespaces();
    infos.into_iter().find(|info| info.name == name).unwrap_or_else(|| panic!("{node:?} keeps {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_opened_while_nodes_run_is_a_store_of_its_own_on_all_of_them() {
    let nodes = cluster(3).await;
    let alarms = opened(&nodes, "alarms", Class::Urgent).await;
    alarms[0].or_set::<String>("raised").add(&text("smoke")).expect("there is room");
    nodes[1].or_set::<String>("raised").add(&text("nothing")).expect("there is room");
    for namespace in &alarms {
        namespace.converge(PATIENCE).await.expect("all have it open");
    }
    converge(&nodes).await;
    assert_one_state(&nodes);
    for (node, alarms) in nodes.iter().zip(&alarms) {
        assert_eq!(alarms.or_set::<String>("raised").elements().expect("text"), ["smoke"]);
        assert_eq!(node.or_set::<String>("raised").elements().expect("text"), ["nothing"]);
        assert_eq!((alarms.keys("").len(), node.keys("").len()), (1, 1));
    }
    let roots: Vec<_> = nodes.iter().map(|node| info(node, "alarms").root).collect();
    assert!(roots[0].is_some() && roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    assert_ne!(roots[0].as_ref(), Some(&nodes[0].status().root));
    let listed = nodes[0].namespaces();
    let listed: Vec<_> =
        listed.iter().map(|info| (&*info.name, &*info.class, info.open, info.peers)).collect();
    assert_eq!(listed, [("alarms", "urgent", true, 2), ("default", "normal", true, 2)]);
}

/// The bulk lane is written to until the urgent writes are confirmed, so it never rests before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urgent_writes_are_confirmed_by_all_while_a_bulk_lane_never_rests() {
    let nodes = cluster(3).await;
    let alarms = opened(&nodes, "alarms", Class::Urgent).await;
    let history = opened(&nodes, "history", Class::Bulk).await;
    let done = Arc::new(AtomicBool::new(false));
    let (bulk, ends) = (history[0].clone(), Arc::clone(&done));
    let writer = tokio::task::spawn_blocking(move || {
        let value = "x".repeat(16_000);
        for n in 0_u64.. {
            if ends.load(Ordering::Relaxed) {
                return n;
            }
            bulk.lww_map("m").put(&(n % 500), &value).expect("there is room");
        }
        0
    });
    for n in 0..20_u32 {
        let written = alarms[0].or_set::<u32>("raised").add(&n).expect("there is room");
        let visible = alarms[0].visible(&written.token(), Visibility::All, PATIENCE).await;
        assert_eq!(visible.expect("confirmed by all").holders.len(), 2);
        assert!(alarms.iter().all(|alarms| alarms.or_set::<u32>("raised").contains(&n)));
    }
    done.store(true, Ordering::Relaxed);
    assert!(writer.await.expect("it ends") > 0);
    history[0].converge(PATIENCE).await.expect("the bulk lane has not suffered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_closed_on_one_side_is_no_failure_of_the_peer() {
    let nodes = cluster(2).await;
    let x = opened(&nodes, "x", Class::Normal).await;
    x[0].or_set::<u32>("set").add(&1).expect("there is room");
    x[0].converge(PATIENCE).await.expect("both have it open");

    nodes[1].close_namespace("x").expect("it is open");
    eventually("the other has heard", || info(&nodes[0], "x").peers == 0).await;
    let written = x[0].or_set::<u32>("set").add(&2).expect("it is open here");
    let visible =
        x[0].visible(&written.token(), Visibility::All, PATIENCE).await.expect("nobody else has it");
    assert_eq!((visible.holders.len(), visible.without), (0, vec![nodes[1].id().to_hex()]));
    let report = x[0].converge(PATIENCE).await.expect("nobody else has it");
    assert_eq!((report.peers.len(), report.without), (0, vec![nodes[1].id().to_hex()]));
    nodes[0].or_set::<u32>("set").add(&3).expect("there is room");
    converge(&nodes).await;
    assert_one_state(&nodes);
    for node in &nodes {
        let peer = &node.peers()[0];
        assert_eq!((&*peer.breaker.state, peer.breaker.violations), ("closed", 0), "{peer:?}");
        assert_eq!(node.status().totals.frames_refused, 0);
        assert!(peer.shared, "the default one");
    }
    assert!(!x[0].peers()[0].shared);

    // What it held stays, is read, and goes on when it is opened again.
    assert!(x[1].or_set::<u32>("set").contains(&1) && !x[1].or_set::<u32>("set").contains(&2));
    let again = nodes[1].open_namespace("x", Class::Bulk).expect("it is closed");
    eventually("it has caught up", || again.or_set::<u32>("set").contains(&2)).await;
    assert!(x[1].is_open(), "an old handle is as good as a new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closed_or_unknown_namespace_refuses_says_its_name_and_what_to_do() {
    let node = common::alone().await;
    let unknown = node.namespace("nowhere").expect_err("never opened").to_string();
    assert!(unknown.contains("\"nowhere\"") && unknown.contains("open it"), "{unknown}");
    let x = node.open_namespace("x", Class::Normal).expect("there is room");
    let token = x.pn_counter("n").add(5).expect("it is open").token();
    assert!(matches!(node.open_namespace("x", Class::Bulk), Err(NamespaceError::IsOpen { .. })));
    node.close_namespace("x").expect("it is open");
    assert!(!x.is_open());
    let closed = x.pn_counter("n").add(1).expect_err("closed");
    assert!(matches!(&closed, Error::NamespaceClosed(closed) if closed.name == "x"), "{closed}");
    assert!(closed.to_string().contains("open it again"), "{closed}");
    assert!(matches!(x.transaction(|tx| tx.pn_counter("n").add(1)), Err(Error::NamespaceClosed(_))));
    assert!(matches!(x.converge(PATIENCE).await, Err(ConvergeError::NamespaceClosed(_))));
    let waited = node.wait_for(&token, PATIENCE).await;
    assert_eq!(waited, Err(WaitError::NoNamespace { name: text("x") }));
    assert_eq!(x.pn_counter("n").value(), 5, "what it holds is read");
    assert!(matches!(node.close_namespace("default"), Err(NamespaceError::Default)));
    assert!(node.close_namespace("x").is_err() && node.close_namespace("nowhere").is_err());

    let y = node.open_namespace("y", Class::Normal).expect("there is room");
    let other = y.read_after(&token, PATIENCE, |_| ()).await;
    assert_eq!(other, Err(WaitError::OtherNamespace { name: text("y"), of: text("x") }));
    let ca = ClusterCa::create("test").expect("a CA");
    let start = builder(&ca, "n").namespace("", Class::Bulk).start().await;
    assert!(matches!(start, Err(StartError::Namespace { .. })), "{start:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_touches_one_namespace_and_a_panic_in_it_leaves_all_as_they_were() {
    let node = common::alone().await;
    let x = node.open_namespace("x", Class::Normal).expect("there is room");
    let (_, written) = x
        .transaction(|tx| {
            tx.or_set::<u32>("a").add(&1)?;
            tx.pn_counter("n").add(2)
        })
        .expect("there is room");
    assert_eq!((x.keys("").len(), node.keys("").len()), (2, 0));
    assert_eq!(written.token().namespace(), written.namespace);
    let failed = x.transaction::<()>(|tx| {
        tx.pn_counter("n").add(40)?;
        Err(Error::aborted("no"))
    });
    assert!(failed.is_err());
    assert_eq!(x.pn_counter("n").value(), 2);
    assert_eq!(x.read(|view| view.pn_counter("n").value()), 2);
    assert_eq!(x.remove("n").expect("open").0, 1);
    assert_eq!(x.keys("").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_full_by_its_own_limits() {
    let node = common::alone().await;
    let limits = Limits { crdts_max: 2, ..Limits::default() };
    let small = node.open_namespace_with("small", Class::Bulk, limits).expect("there is room");
    for key in ["a", "b"] {
        small.pn_counter(key).add(1).expect("two fit");
    }
    let full = small.pn_counter("c").add(1);
    assert!(matches!(full, Err(Error::Write(WriteError::Full { .. }))), "{full:?}");
    node.pn_counter("c").add(1).expect("the node has its own");
    let pressure = info(&node, "small").pressure;
    let crdts = pressure.iter().find(|reading| reading.bound == "crdts_max").map(|reading| reading.used);
    assert_eq!(crdts, Some(2));
    let health = node.health();
    let reason = health.reasons.iter().find(|reason| reason.kind == "bound_full");
    assert!(reason.is_some_and(|reason| reason.what.contains("of namespace \"small\"")), "{health:?}");
    let metrics = node.metrics().expect("the node is well");
    let of_small = r#"crdt_state_crdts{namespace="small"} 2"#;
    assert!(metrics.contains(of_small) && metrics.contains("crdt_state_crdts 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_degraded_from_ninety_five_percent_of_a_bound_until_below_ninety() {
    let node = common::alone().await;
    let limits = Limits { crdts_max: 20, ..Limits::default() };
    let small = node.open_namespace_with("small", Class::Normal, limits).expect("there is room");
    let counters: Vec<String> = (0..19).map(|n| format!("c{n}")).collect();
    let reasons = || node.health().reasons;
    for key in &counters[..18] {
        small.pn_counter(key).add(1).expect("there is room");
    }
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(reasons(), [], "90 % is well if it was never more");
    small.pn_counter(&counters[18]).add(1).expect("there is room");
    eventually("it is at 95 %", || reasons().len() == 1).await;
    let reason = &reasons()[0];
    assert_eq!(
        (reason.state, reason.kind.as_str()),
        (HealthState::Degraded, "bound_nearly_full"),
        "{reason:?}"
    );
    assert!(reason.what.contains("crdts_max of namespace \"small\" is used by 95 %: 19 of 20"), "{reason:?}");
    assert!(reason.next.contains("remove some or raise it"), "{reason:?}");
    small.remove(&counters[18]).expect("removes pass");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(reasons().len(), 1, "90 % is not yet room again");
    small.remove(&counters[17]).expect("removes pass");
    eventually("there is room again", || reasons().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_events_is_told_the_names_of_namespaces() {
    let node = common::alone().await;
    let mut events = node.events();
    node.open_namespace("alarms", Class::Urgent).expect("there is room");
    node.close_namespace("alarms").expect("it is open");
    for (kind, text) in [("namespace_opened", "was opened, class urgent"), ("namespace_closed", "was closed")]
    {
        let told = loop {
            match events.next().await.expect("the node runs") {
                Followed::Event(event) if event.event == kind => break event,
                Followed::Event(_) | Followed::Dropped { .. } => {}
            }
        };
        assert!(told.text.starts_with("the namespace \"alarms\" (") && told.text.contains(text), "{told:?}");
        assert_eq!(told.fields["namespace_name"], "alarms", "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_its_own_namespace_and_its_cursor_is_of_no_other() {
    let node = common::alone().await;
    let (x, y) = (
        node.open_namespace("x", Class::Normal).expect("there is room"),
        node.open_namespace("y", Class::Normal).expect("there is room"),
    );
    let (mut all_x, mut one_x) = (x.watch(""), x.or_set::<u32>("set").watch());
    assert!(one_x.next().await.is_some(), "what is there, nothing");
    y.or_set::<u32>("set").add(&1).expect("there is room");
    node.or_set::<u32>("set").add(&2).expect("there is room");
    x.or_set::<u32>("set").add(&3).expect("there is room");
    let Some(WatchEvent::Batch { changes }) = all_x.next().await else { panic!("a change comes first") };
    assert_eq!(changes[0].decode_path::<u32>(), Ok(3), "nothing of the others before it");
    let typed = one_x.next().await.expect("a change").expect("numbers");
    assert!(format!("{typed:?}").contains("Added(3)"), "{typed:?}");
    assert!(all_x.try_next().is_none() && one_x.try_next().is_none());

    let cursor = all_x.cursor().expect("it has read something");
    x.or_set::<u32>("set").add(&4).expect("there is room");
    let mut behind = x.watch_from("", Start::Cursor(cursor.clone()), Policy::Steps);
    let Some(WatchEvent::Snapshot { entries, .. }) = behind.next().await else { panic!("a snapshot") };
    assert_eq!(entries.len(), 1, "only what came since");
    let mut other = y.watch_from("", Start::Cursor(cursor), Policy::Steps);
    let Some(WatchEvent::Snapshot { entries, .. }) = other.next().await else { panic!("a snapshot") };
    assert_eq!(entries.len(), 1, "all of the other namespace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_brings_every_namespace_back_and_a_backup_holds_all() {
    let folder = tempfile::tempdir().expect("a directory");
    let identity = ca().issue("node").expect("a certificate");
    let start = |data: &std::path::Path| Node::builder().identity(identity.clone()).data(data);
    let node = start(folder.path())
        .namespace("alarms", Class::Urgent)
        .namespace("history", Class::Bulk)
        .start()
        .await
        .expect("starts");
    for (name, n) in [("default", 1), ("alarms", 2), ("history", 3)] {
        let namespace = node.namespace(name).expect("it is open");
        let written = namespace.pn_counter("n").add(n).expect("there is room");
        namespace.durable(&written).await.expect("the disk works");
    }
    let backup = folder.path().join("backup");
    node.backup(&backup).await.expect("the disk works");
    let states: Vec<_> = node.namespaces().into_iter().map(|info| (info.name, info.state_id)).collect();
    node.shutdown().await;

    let restored = folder.path().join("restored");
    let renewed = sync_net::data::restore(&backup, &restored, identity.node_id()).expect("it is sound");
    let held: Vec<_> = renewed.namespaces.iter().map(|held| (&*held.name, held.crdts)).collect();
    assert_eq!((held, renewed.crdts), (vec![("alarms", 1), ("default", 1), ("history", 1)], 3));
    let examined = sync_net::data::examine(folder.path(), identity.node_id()).expect("it is sound");
    assert_eq!((examined.namespaces.len(), examined.items), (3, 3));

    for data in [folder.path(), &restored] {
        // Nobody opens them: they are kept all the same, by their names.
        let node = start(data).start().await.expect("starts");
        let kept: Vec<_> =
            node.namespaces().into_iter().map(|info| (info.name, info.open, info.crdts)).collect();
        let closed = |name: &str| (text(name), false, 1);
        assert_eq!(kept, [closed("alarms"), (text("default"), true, 1), closed("history")]);
        let history = node.namespace("history").expect("it is kept");
        assert_eq!(history.pn_counter("n").value(), 3, "and read");
        node.open_namespace("history", Class::Bulk).expect("there is room");
        node.open_namespace("alarms", Class::Urgent).expect("there is room");
        let now: Vec<_> = node.namespaces().into_iter().map(|info| (info.name, info.state_id)).collect();
        assert_eq!(now, states);
        history.pn_counter("n").add(4).expect("it is open");
        assert_eq!(history.pn_counter("n").value(), 7);
        node.shutdown().await;
    }
}

/// By its rate the last write may not go when the node stops: only a hand-over that waits for its namespace brings it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_hands_over_what_it_wrote_in_every_namespace() {
    let ca = ca();
    let limits = Limits { bulk_rate_max: 100_000, rate_burst_bytes: 1, ..Limits::default() };
    let stays = builder(&ca, "stays").namespace("x", Class::Bulk).start().await.expect("starts");
    let goes = builder(&ca, "goes").namespace("x", Class::Bulk).namespace("own", Class::Normal);
    let goes = goes.limits(limits).peer(peer(&stays)).start().await.expect("starts");
    let [there, here] = [&stays, &goes].map(|node| node.namespace("x").expect("open"));
    shared(&[here.clone(), there.clone()]).await;
    let (here, there) = (here.lww_map::<u32, String>("m"), there.lww_map::<u32, String>("m"));
    let is_there = |field: u32| there.get(&field).expect("text").is_some();
    // It takes the tokens of half a second.
    here.put(&1, &"x".repeat(60_000)).expect("there is room");
    eventually("the long one is there", || is_there(1)).await;
    here.put(&2, &text("last")).expect("there is room");
    goes.namespace("own").expect("open").pn_counter("n").add(1).expect("there is room");
    goes.pn_counter("n").add(1).expect("there is room");
    assert!(!is_there(2), "it waits for tokens");
    goes.shutdown().await;
    assert_eq!((is_there(2), stays.pn_counter("n").value()), (true, 1));
}
