//! The embedding API on one or two nodes: transactions, views, watches, convergence, the end of a node.

mod common;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use common::{PATIENCE, alone, builder, ca, cluster, eventually, peer, text};
use sync_net::{
    Cause, ClusterCa, ConvergeError, Error, Limits, LwwMap, Node, OrSet, PeerAddr, PnCounter, Reading,
    StartError, Watch, WatchEvent, WriteError,
};

#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing() {
    let node = alone().await;
    node.or_set::<String>("cart").add(&text("tea")).expect("there is room");
    let before = node.inspect(None);

    let given_up = node.transaction(|tx| {
        tx.or_set::<String>("cart").add(&text("milk"))?;
        tx.or_set::<String>("cart").remove(&text("tea"))?;
        tx.pn_counter("stock").add(-1)?;
        Err::<(), _>(Error::aborted("the card was refused"))
    });
    assert_eq!(given_up, Err(Error::aborted("the card was refused")));
    assert_eq!(node.inspect(None), before, "no event, no item, no object");
    assert_eq!(node.or_set::<String>("cart").elements().expect("text"), ["tea"]);
}

#[tokio::test]
async fn a_transaction_fails_with_its_first_failed_operation_even_if_the_closure_goes_on() {
    let node = alone().await;
    let long = "k".repeat(Limits::default().key_bytes_max + 1);
    let before = node.inspect(None);
    let failed = node.transaction(|tx| {
        tx.pn_counter("a").add(1)?;
        let _ignored = tx.pn_counter(&long).add(1);
        let _refused = tx.pn_counter("b").add(1);
        Ok(())
    });
    assert!(matches!(failed, Err(Error::Write(WriteError::KeyTooLong { len: 513, max: 512 }))), "{failed:?}");
    assert_eq!(node.inspect(None), before);
}

#[tokio::test]
async fn a_panic_in_a_closure_leaves_nothing_and_the_node_goes_on() {
    let node = alone().await;
    let before = node.inspect(None);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        node.transaction(|tx| {
            tx.pn_counter("a").add(1)?;
            if tx.pn_counter("a").value() == 1 {
                panic!("application bug");
            }
            Ok(())
        })
    }));
    assert!(panicked.is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| node.read(|_| panic!("application bug")))).is_err());
    assert_eq!(node.inspect(None), before);
    node.pn_counter("a").add(1).expect("the node is whole");
}

#[tokio::test]
async fn operations_of_a_transaction_see_those_before_them() {
    let node = alone().await;
    let (seen, written) = node
        .transaction(|tx| {
            tx.or_set::<u32>("set").add(&1)?;
            assert!(tx.view().or_set::<u32>("set").contains(&1));
            assert!(tx.or_set::<u32>("set").remove(&1)?);
            assert!(!tx.or_set::<u32>("set").remove(&1)?, "it is gone already");
            tx.pn_counter("count").add(5)?;
            assert!(tx.pn_counter("count").reset()?);
            tx.pn_counter("count").add(2)?;
            tx.lww_map("map").put(&1_u8, &text("one"))?;
            assert_eq!(tx.view().lww_map::<u8, String>("map").get(&1)?, Some(text("one")));
            Ok(tx.seen().clone())
        })
        .expect("all of it fits");
    let last = written.last.expect("events were minted");
    assert_eq!(last.replica, node.replica());
    assert!(seen.is_empty(), "what was known before the transaction");
    assert!(node.read(|view| view.context().contains(last)));
    assert_eq!(node.pn_counter("count").value(), 2);
    assert!(node.or_set::<u32>("set").is_empty());
}

#[tokio::test]
async fn what_changes_nothing_mints_nothing() {
    let node = alone().await;
    node.or_set::<u32>("set").add(&1).expect("there is room");
    let before = node.read(|view| view.context().clone());
    let (removed, written) = node.or_set::<u32>("set").remove(&2).expect("open");
    assert_eq!((removed, written.last), (false, None));
    assert_eq!(node.pn_counter("count").add(0).expect("open").last, None);
    assert!(!node.pn_counter("count").reset().expect("open").0);
    assert_eq!(node.lww_map::<u8, u8>("map").clear().expect("open").0, 0);
    assert_eq!(node.read(|view| view.context().clone()), before);
}

#[tokio::test]
async fn handles_of_every_type_read_what_was_written() {
    let node = alone().await;
    let set = node.or_set::<(u8, String)>("same key");
    let map = node.lww_map::<u8, Vec<String>>("same key");
    let count = node.pn_counter("same key");
    set.add(&(1, text("a"))).expect("there is room");
    set.add(&(2, text("b"))).expect("there is room");
    map.put(&1, &vec![text("x")]).expect("there is room");
    map.put(&2, &vec![]).expect("there is room");
    map.put(&1, &vec![text("y"), text("z")]).expect("there is room");
    count.add(i64::MIN).expect("there is room");

    assert_eq!(set.elements().expect("pairs"), [(1, text("a")), (2, text("b"))]);
    assert_eq!(map.entries().expect("lists"), [(1, vec![text("y"), text("z")]), (2, vec![])]);
    assert_eq!(count.value(), i128::from(i64::MIN));
    assert!(map.remove(&2).expect("open").0);
    assert_eq!(map.get(&2).expect("a list"), None);
    assert_eq!(set.clear().expect("open").0, 2);
    assert!(count.reset().expect("open").0);
    assert_eq!((set.len(), count.value()), (0, 0));
    let types: Vec<_> = node.keys("").into_iter().map(|info| info.ty).collect();
    assert_eq!(types, ["map"], "emptied objects are gone, the key is free again");
}

#[tokio::test]
async fn reading_with_another_type_is_an_error_that_names_key_and_type() {
    let node = alone().await;
    node.or_set::<String>("cart").add(&text("a long line of text")).expect("there is room");
    let wrong = node.or_set::<bool>("cart").elements().expect_err("text is no bool");
    let message = wrong.to_string();
    assert!(message.contains("\"cart\"") && message.contains("bool"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_one_batch_here_and_on_the_peer() {
    let nodes = cluster(2).await;
    let (mut here, mut there) = (nodes[0].watch("cart/"), nodes[1].watch("cart/"));
    nodes[0]
        .transaction(|tx| {
            for n in 0..20_u32 {
                tx.or_set::<u32>(&format!("cart/{}", n % 4)).add(&n)?;
            }
            tx.pn_counter("stock").add(-20)
        })
        .expect("it fits");
    for (watch, from) in [(&mut here, Cause::Local), (&mut there, Cause::Remote { peer: nodes[0].id() })] {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time");
        let Some(WatchEvent::Batch { changes }) = event else { panic!("{event:?}") };
        assert_eq!(changes.len(), 20);
        assert!(changes.iter().all(|change| change.cause == from && change.new == Reading::Present));
        assert_eq!((changes[0].key(), changes[0].type_name()), ("cart/0", "set"));
        assert_eq!(changes[0].decode_path::<u32>(), Ok(0));
        assert_eq!(watch.try_next(), None, "the counter is not below the prefix");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_goes_on_both_nodes_and_watches_hear_the_cause() {
    let nodes = cluster(2).await;
    let mut watch = nodes[1].watch("online/");
    let set = nodes[0].or_set::<String>("online/now");
    let soon = set.expires_in(Duration::from_secs(1));
    soon.add(&text("ada")).expect("there is room");
    set.add(&text("bob")).expect("there is room");
    let map = nodes[0].or_map("page").expires_in(Duration::from_secs(1));
    map.lww_register("title").set(&text("Tea")).expect("there is room");
    let refused = map.pn_counter("views").add(1).expect_err("a counter cannot expire");
    assert!(matches!(refused, Error::Write(WriteError::NeverExpires { .. })), "{refused}");
    let past = SystemTime::now() - Duration::from_secs(1);
    let refused =
        nodes[0].transaction(|tx| tx.enable_flag("f").expires_at(past).enable()).expect_err("too late");
    assert!(matches!(refused, Error::Write(WriteError::AlreadyExpired { .. })), "{refused}");
    loop {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time");
        let Some(WatchEvent::Batch { changes }) = event else { panic!("{event:?}") };
        if changes.iter().any(|change| change.cause == Cause::Expired) {
            break;
        }
    }
    assert_eq!(nodes[1].or_set::<String>("online/now").elements().expect("text"), [text("bob")]);
    assert!(!nodes[1].or_map("page").contains("title"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn converge_times_out_with_the_name_of_the_peer_that_is_not_there() {
    let ca = ca();
    let absent = ca.issue("absent").expect("a certificate").node_id();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port"); // answers nothing
    let silent = PeerAddr { addr: socket.local_addr().expect("bound").to_string(), id: Some(absent) };
    let present = builder(&ca, "present").start().await.expect("starts");
    let node = builder(&ca, "node")
        .peer(peer(&present))
        .peer(silent.clone())
        .start()
        .await
        .expect("starts without it");
    eventually("the other is linked", || node.status().peers_connected == 1).await;

    let error = node.converge(Duration::from_millis(700)).await.expect_err("one peer never answers");
    let message = error.to_string();
    let ConvergeError::TimedOut { after, pending } = error else { panic!("{message}") };
    assert!(after >= Duration::from_millis(700));
    assert_eq!(pending.len(), 1, "the peer that is there is not named: {message}");
    assert_eq!(pending[0].peer, Some(absent.to_hex()));
    assert_eq!(pending[0].address, silent.addr);
    assert!(message.contains(&silent.addr) && message.contains("not connected"), "{message}");

    present.converge(PATIENCE).await.expect("the other side waits only for whom it knows");
}

#[tokio::test]
async fn a_node_without_peers_converges_at_once() {
    let node = alone().await;
    node.pn_counter("count").add(1).expect("there is room");
    let report = node.converge(Duration::ZERO).await.expect("nobody to wait for");
    let status = node.status();
    assert_eq!((report.root, report.state_id), (status.root, status.state_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_at_rest_do_next_to_nothing() {
    let nodes = cluster(3).await;
    nodes[0].pn_counter("count").add(1).expect("there is room");
    common::converge(&nodes).await;
    tokio::time::sleep(Duration::from_secs(1)).await; // the last acknowledgements are told
    let before: Vec<_> = nodes.iter().map(Node::status).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (node, before) in nodes.iter().zip(before) {
        let after = node.status();
        let turns = after.turns - before.turns;
        assert!(turns < 40, "{turns} turns in two seconds; four a second are the beat");
        assert!(after.totals.frames_sent - before.totals.frames_sent <= 4, "a round every sync interval");
    }
}

#[test]
fn a_node_whose_runtime_is_gone_ends_and_lets_nobody_wait() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let node = runtime.block_on(alone());
    let mut watch = node.watch("");
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    other.block_on(async {
        node.shutdown().await;
        assert_eq!(watch.next().await, None);
    });
    assert_eq!(node.pn_counter("count").add(1), Err(Error::Closed));
}

#[test]
fn nodes_handles_and_watches_may_be_used_from_any_thread() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Node>();
    shared::<OrSet<String>>();
    shared::<LwwMap<String, String>>();
    shared::<PnCounter>();
    shared::<Watch>();
    shared::<Error>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_hands_over_the_last_writes_and_then_refuses_more() {
    let nodes = cluster(2).await;
    for n in 0..500_u32 {
        nodes[0].or_set::<u32>("set").add(&n).expect("there is room");
    }
    let (first, second) = tokio::join!(nodes[0].shutdown(), nodes[0].shutdown());
    assert_eq!((first, second), ((), ()));
    assert_eq!(nodes[1].or_set::<u32>("set").len(), 500, "the peer has all of it when shutdown returns");

    assert_eq!(nodes[0].pn_counter("late").add(1), Err(Error::Closed));
    assert_eq!(nodes[0].transaction(|_| Ok(())).map(|_| ()), Err(Error::Closed));
    assert_eq!(nodes[0].converge(PATIENCE).await, Err(ConvergeError::Closed));
    assert_eq!(nodes[0].or_set::<u32>("set").len(), 500, "reads still work");
    eventually("the peer knows that it is gone", || nodes[1].status().peers_connected == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_free_again_after_a_shutdown_and_after_a_drop() {
    let ca = ca();
    let first = builder(&ca, "first").start().await.expect("starts");
    let addr = first.listen_addr();
    let taken = builder(&ca, "second").listen(addr).start().await.expect_err("the port is taken");
    assert!(
        matches!(taken, StartError::Transport(_)) && taken.to_string().contains(&addr.to_string()),
        "{taken}"
    );
    first.shutdown().await;
    let second = free_again(&ca, addr).await;
    drop(second);
    free_again(&ca, addr).await;
}

/// A node on `addr`, which is free in a moment: the socket is closed by a task of its own.
async fn free_again(ca: &ClusterCa, addr: SocketAddr) -> Node {
    let begun = Instant::now();
    loop {
        match builder(ca, "next").listen(addr).start().await {
            Ok(node) => return node,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_builder_that_lacks_something_says_what() {
    let missing = Node::builder().start().await.expect_err("no identity");
    assert!(missing.to_string().contains("NodeBuilder::identity"), "{missing}");
    let ca = ca();
    let label = builder(&ca, "n").cluster(&"x".repeat(65)).start().await.expect_err("a long label");
    assert!(matches!(label, StartError::ClusterLabel { len: 65, max: 64 }), "{label}");
    let limits = Limits { group_bytes_max: 2_000_000, ..Limits::default() };
    let limits = builder(&ca, "n").limits(limits).start().await.expect_err("a group must fit a frame");
    assert!(limits.to_string().contains("group_bytes_max"), "{limits}");
    let limits = Limits { store_bytes_max: 1 << 30, ..Limits::default() };
    let limits =
        builder(&ca, "n").limits(limits).start().await.expect_err("peers would refuse what is written");
    assert!(limits.to_string().contains("store_bytes_ceiling"), "{limits}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_peers_and_inspection_show_what_is_there() {
    let nodes = cluster(2).await;
    nodes[0].or_set::<String>("cart").add(&text("tea")).expect("there is room");
    nodes[0].lww_map("profile").put(&text("country"), &text("France")).expect("there is room");
    nodes[0].pn_counter("stock").add(4).expect("there is room");
    nodes[0].converge(PATIENCE).await.expect("the peer is there");

    let status = nodes[0].status();
    assert_eq!(status.node, nodes[0].id().to_hex());
    assert_eq!((status.cluster.as_str(), status.name.as_str()), ("test", "node-1"));
    assert_eq!((status.crdts, status.items, status.context_columns), (3, 3, 1));
    assert!(status.totals.bytes_sent > 0 && status.totals.deltas_sent >= 3);
    assert_eq!(status.root.len(), 64);
    let crdts = status.pressure.iter().find(|reading| reading.bound == "crdts_max").expect("it is shown");
    assert_eq!((crdts.used, crdts.max), (3, 10_000));
    assert!((crdts.pressure - 0.0003).abs() < 1e-9);

    let peers = nodes[1].peers();
    assert_eq!(peers.len(), 1);
    assert!(peers[0].connected && peers[0].configured && peers[0].failure.is_none());
    assert_eq!(peers[0].peer, Some(nodes[0].id().to_hex()));
    assert_eq!(peers[0].incarnation, Some(nodes[0].replica().to_hex()));

    let cart = nodes[1].inspect(Some("cart"));
    assert_eq!(cart.objects.len(), 1);
    assert_eq!(cart.objects[0].shown[0].path.to_string(), "tea");
    assert_eq!(cart.objects[0].shown[0].items[0].replica, nodes[0].replica().to_hex());
    let profile = nodes[1].inspect(Some("profile"));
    assert_eq!(profile.objects[0].shown[0].items[0].payload.to_string(), "France");
    assert_eq!(nodes[1].inspect(Some("no such key")).objects, []);
    let all = nodes[1].inspect(None);
    assert_eq!((all.objects.len(), all.context.len()), (3, 1));
    assert!(all.objects.iter().all(|object| object.shown.is_empty()));
}
