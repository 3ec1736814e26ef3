//! Watches of real nodes: snapshot then changes, lagging, resuming elsewhere, types, conflicts.

mod common;

use std::time::Duration;

use common::{PATIENCE, alone, cluster, converge, cut, eventually, heal, text};
use serde_json::{Value, json};
use sync_net::local::{LocalServer, serve};
use sync_net::{
    Cause, ConflictEvent, CountChange, Cursor, ElementChange, EntryChange, Mirror, Node, Policy, Reading,
    Scope, Start, TypedEvent, ValueChange, Watch, WatchEvent,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

async fn next(watch: &mut Watch) -> WatchEvent {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time").expect("the node runs")
}

/// What a watcher would hold that begins now.
fn fresh(node: &Node, prefix: &str) -> Mirror {
    let mut mirror = Mirror::default();
    let mut watch = node.watch_from(prefix, Start::Snapshot, Policy::Steps);
    mirror.apply(&watch.try_next().expect("a snapshot is read at once"));
    mirror
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_changes_behind_it_lose_and_double_nothing_while_others_write() {
    let node = alone().await;
    let writer = node.clone();
    let writing = tokio::task::spawn_blocking(move || {
        for n in 0..3_000_u32 {
            let key = format!("key/{}", n % 7);
            if n % 5 == 0 {
                writer.or_set::<u32>(&key).remove(&(n / 10)).expect("a remove passes");
            } else {
                writer.or_set::<u32>(&key).add(&(n / 5)).expect("there is room");
            }
            writer.pn_counter(&key).add(1).expect("there is room");
        }
    });
    let mut watches = Vec::new();
    for policy in [Policy::Steps, Policy::Coalesce, Policy::Steps] {
        watches.push((node.watch_from("key/", Start::Snapshot, policy), Mirror::default()));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    writing.await.expect("it writes");
    node.shutdown().await;
    for (watch, mirror) in &mut watches {
        while let Some(event) = watch.next().await {
            if let WatchEvent::Batch { changes } = &event {
                for change in changes {
                    assert_eq!(
                        *mirror.get(&change.place),
                        change.old,
                        "each change begins where the last ended"
                    );
                }
            }
            mirror.apply(&event);
        }
        assert_eq!(*mirror, fresh(&node, "key/"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_sleeps_lags_once_and_reads_only_what_changed_meanwhile() {
    let node = alone().await;
    for n in 0..500_u32 {
        node.lww_map::<u32, u32>("still").put(&n, &n).expect("there is room");
    }
    let (mut watch, mut mirror) = (node.watch_from("", Start::Snapshot, Policy::Steps), Mirror::default());
    mirror.apply(&next(&mut watch).await);
    for n in 0..3_000_u32 {
        node.or_set::<u32>("busy").add(&(n % 50)).expect("there is room");
        node.or_set::<u32>("busy").remove(&((n + 7) % 50)).expect("a remove passes");
    }
    node.shutdown().await;
    let mut events = Vec::new();
    while let Some(event) = watch.next().await {
        mirror.apply(&event);
        events.push(event);
    }
    let [WatchEvent::Lagged, WatchEvent::Snapshot { scope: Scope::Parts(parts), entries }] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert!(parts.places.len() <= 50 && entries.len() <= 50, "the map is not read again");
    assert_eq!(mirror, fresh(&node, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_coalesces_reads_the_latest_of_each_place_with_the_oldest_value() {
    let node = alone().await;
    node.pn_counter("count").add(5).expect("there is room");
    let mut watch = node.watch_from("", Start::Now, Policy::Coalesce);
    // As many steps as may wait for a driver that has no time, and no more: beyond that a watch lags.
    for n in 0..1_000_u32 {
        node.pn_counter("count").add(1).expect("there is room");
        node.lww_register("last").set(&n).expect("there is room");
    }
    let set = node.or_set::<u32>("passing");
    set.add(&1).expect("there is room");
    set.remove(&1).expect("a remove passes");
    node.shutdown().await;
    let Some(WatchEvent::Batch { changes }) = watch.next().await else { panic!("it does not lag") };
    let seen: Vec<_> = changes.iter().map(|change| (change.key(), &change.old)).collect();
    assert_eq!(
        seen,
        [("count", &Reading::Count(5)), ("last", &Reading::Absent)],
        "what came and went is no change"
    );
    assert_eq!(changes[0].new, Reading::Count(1_005));
    assert_eq!(watch.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_goes_on_at_another_node_also_past_removes() {
    let nodes = cluster(2).await;
    for n in 0..200_u32 {
        nodes[0].lww_map::<u32, u32>(&format!("map/{}", n % 20)).put(&n, &n).expect("there is room");
    }
    let (mut watch, mut mirror) =
        (nodes[0].watch_from("map/", Start::Snapshot, Policy::Steps), Mirror::default());
    mirror.apply(&next(&mut watch).await);
    let text = watch.cursor().expect("a snapshot was read").to_string();
    drop(watch);

    nodes[0].lww_map::<u32, u32>("map/3").clear().expect("a remove passes");
    nodes[0].lww_map::<u32, u32>("map/4").put(&4, &400).expect("there is room");
    nodes[0].or_set::<u32>("elsewhere").add(&1).expect("there is room");
    converge(&nodes).await;

    let cursor: Cursor = text.parse().expect("it was printed");
    let mut watch = nodes[1].watch_from("map/", Start::Cursor(cursor.clone()), Policy::Steps);
    let event = next(&mut watch).await;
    mirror.apply(&event);
    let WatchEvent::Snapshot { scope: Scope::Parts(parts), entries } = event else { panic!("{event:?}") };
    assert_eq!(
        (parts.places.len(), parts.ranges.len(), entries.len()),
        (1, 1, 1),
        "what changed, and no more"
    );
    assert_eq!(mirror, fresh(&nodes[1], "map/"));
    assert_eq!(watch.try_next(), None);

    let other = nodes[1].watch_from("m", Start::Cursor(cursor), Policy::Steps).try_next();
    let whole = matches!(other, Some(WatchEvent::Snapshot { scope: Scope::All, .. }));
    assert!(whole, "a cursor says nothing of another prefix");
    assert!("zz".parse::<Cursor>().is_err() && "02".parse::<Cursor>().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lacks_what_the_watcher_has_seen_says_all_it_holds() {
    let nodes = cluster(2).await;
    cut(&nodes[0], &nodes[1..]);
    eventually("the cut", || nodes[0].status().peers_connected == 0).await;
    nodes[0].pn_counter("count").add(1).expect("there is room");
    let mut watch = nodes[0].watch_from("", Start::Snapshot, Policy::Steps);
    next(&mut watch).await;
    let cursor = watch.cursor().expect("a snapshot was read");
    let mut there = nodes[1].watch_from("", Start::Cursor(cursor), Policy::Steps);
    assert_eq!(next(&mut there).await, WatchEvent::Snapshot { scope: Scope::All, entries: vec![] });
    heal(&nodes);
    let WatchEvent::Batch { changes } = next(&mut there).await else { panic!("a step comes") };
    assert_eq!(changes[0].cause, Cause::Remote { peer: nodes[0].id() });
}

#[tokio::test]
async fn typed_watches_speak_the_types_of_their_handles() {
    let node = alone().await;
    let set = node.or_set::<String>("set");
    set.add(&text("tea")).expect("there is room");
    let mut elements = set.watch();
    assert_eq!(elements.try_next(), Some(Ok(TypedEvent::Reset(vec![ElementChange::Added(text("tea"))]))));
    let inner = node.or_map("user/7").or_map("address").lww_map::<String, u32>("numbers");
    let (mut fields, mut count) = (inner.watch(), node.or_map("user/7").pn_counter("logins").watch());
    let register = node.lww_register::<u32>("register");
    let mut value = register.watch();
    assert_eq!(fields.try_next(), Some(Ok(TypedEvent::Reset(vec![]))));
    assert_eq!(count.try_next(), Some(Ok(TypedEvent::Reset(vec![]))));
    assert_eq!(value.try_next(), Some(Ok(TypedEvent::Reset(vec![]))));

    set.remove(&text("tea")).expect("a remove passes");
    inner.put(&text("home"), &1).expect("there is room");
    inner.put(&text("home"), &2).expect("there is room");
    node.or_map("user/7").pn_counter("logins").add(3).expect("there is room");
    register.set(&9).expect("there is room");
    node.shutdown().await;

    let local = |change| Ok(TypedEvent::Changes(vec![(Cause::Local, change)]));
    let removed = Ok(TypedEvent::Changes(vec![(Cause::Local, ElementChange::Removed(text("tea")))]));
    assert_eq!(elements.next().await, Some(removed));
    let entry = |old, new| EntryChange { field: text("home"), old, new };
    assert_eq!(fields.next().await, Some(local(entry(None, Some(1)))));
    assert_eq!(fields.next().await, Some(local(entry(Some(1), Some(2)))));
    assert_eq!(fields.next().await, None);
    let counted = Ok(TypedEvent::Changes(vec![(Cause::Local, CountChange { old: 0, new: 3 })]));
    assert_eq!(count.next().await, Some(counted));
    let changed = Ok(TypedEvent::Changes(vec![(Cause::Local, ValueChange { old: None, new: Some(9) })]));
    assert_eq!(value.next().await, Some(changed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_a_conflict_is_told_and_the_winner_is_not() {
    let nodes = cluster(2).await;
    let mut streams = [nodes[0].conflicts(), nodes[1].conflicts()];
    cut(&nodes[0], &nodes[1..]);
    eventually("the cut", || nodes.iter().all(|node| node.status().peers_connected == 0)).await;
    nodes[0].lww_map::<String, u32>("map").put(&text("k"), &1).expect("there is room");
    tokio::time::sleep(Duration::from_millis(5)).await;
    nodes[1].lww_map::<String, u32>("map").put(&text("k"), &2).expect("there is room");
    heal(&nodes);
    let told = tokio::time::timeout(PATIENCE, streams[0].next()).await.expect("in time");
    let Some(ConflictEvent::Conflict(conflict)) = told else { panic!("{told:?}") };
    assert!(conflict.lost && conflict.theirs.dot.replica == nodes[1].replica());
    converge(&nodes).await;
    assert_eq!(streams[1].try_next(), None);
}

/// The lines of an answer of the local endpoint, as they come. The chunks between them are left out.
struct Follower(tokio::io::Lines<tokio::io::BufReader<tokio::net::UnixStream>>);

impl Follower {
    async fn open(server: &LocalServer, query: &str) -> Self {
        let mut stream = tokio::net::UnixStream::connect(server.path()).await.expect("the endpoint listens");
        let request = format!("GET /v1/watch?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is read");
        Self(tokio::io::BufReader::new(stream).lines())
    }

    /// The next line of JSON; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.0.next_line()).await.expect("in time");
            let line = line.ok().flatten()?;
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).expect("a line of JSON"));
            }
        }
    }

    async fn next_of(&mut self, event: &str) -> Value {
        loop {
            let line = self.next().await.expect("the stream goes on");
            if line["event"] == event {
                return line;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_endpoint_streams_a_watch_and_goes_on_from_its_cursor() {
    let node = alone().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(node.clone(), &dir.path().join("s")).await.expect("nothing is in the way");
    node.or_set::<String>("cart/7").add(&text("tea")).expect("there is room");
    node.pn_counter("stock").add(1).expect("there is room");

    let mut follower = Follower::open(&server, "prefix=cart/&snapshot=true").await;
    let snapshot = follower.next_of("snapshot").await;
    assert_eq!((&snapshot["scope"], &snapshot["more"]), (&json!("all"), &json!(false)));
    assert_eq!(snapshot["entries"][0]["path"], json!({ "text": "tea" }));
    node.or_set::<String>("cart/7").remove(&text("tea")).expect("a remove passes");
    let batch = follower.next_of("batch").await;
    let change = &batch["changes"][0];
    assert_eq!(
        (&change["old"], &change["new"], &change["cause"]),
        (&json!(true), &Value::Null, &json!("local"))
    );
    let cursor = follower.next_of("cursor").await;
    let cursor = cursor["cursor"].as_str().expect("text").to_owned();
    drop(follower);

    node.or_set::<String>("cart/8").add(&text("milk")).expect("there is room");
    let mut follower = Follower::open(&server, &format!("prefix=cart/&cursor={cursor}")).await;
    let snapshot = follower.next_of("snapshot").await;
    assert_eq!((&snapshot["scope"], &snapshot["places"][0]["key"]), (&json!("parts"), &json!("cart/8")));

    let refused = Follower::open(&server, "cursor=zz").await.next().await.expect("an answer");
    assert_eq!(refused["kind"], "bad_cursor");
    let mut followers = Vec::new();
    for _ in 1..16 {
        let mut follower = Follower::open(&server, "snapshot=true").await;
        follower.next_of("snapshot").await;
        followers.push(follower);
    }
    let refused = Follower::open(&server, "").await.next().await.expect("an answer");
    assert_eq!(refused["kind"], "too_many_watches");
    let begun = std::time::Instant::now();
    server.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "followers do not hold up the end");
}
