//! Health, readiness and events of real nodes, by the API and over the local endpoint.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{PATIENCE, alone, builder, ca, cluster, cut, eventually, heal};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sync_disk::planted::{Fault, PlantedDisk};
use sync_disk::{Disk, RowFile};
use sync_net::local::{LocalServer, serve};
use sync_net::{FOLLOWER_EVENTS_MAX, Followed, HealthState, Limits, Node, PeerAddr, Severity};
use tempfile::TempDir;
use tokio::net::UnixStream;

async fn served(node: &Node) -> (LocalServer, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(node.clone(), &dir.path().join("s")).await.expect("nothing is in the way");
    (server, dir)
}

async fn get(socket: &Path, uri: &str) -> Response<hyper::body::Incoming> {
    let stream = UnixStream::connect(socket).await.expect("the endpoint listens");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::builder().method(Method::GET).uri(uri).header("host", "localhost");
    sender.send_request(request.body(Full::new(Bytes::new())).expect("a request")).await.expect("an answer")
}

async fn json(socket: &Path, uri: &str) -> (StatusCode, Value) {
    let answer = get(socket, uri).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

/// Waits for an event of that kind and gives it.
async fn event(events: &mut sync_net::Events, kind: &str) -> std::sync::Arc<sync_net::NodeEvent> {
    let found = async {
        loop {
            match events.next().await.expect("the node runs") {
                Followed::Event(event) if event.event == kind => return event,
                Followed::Event(_) | Followed::Dropped { .. } => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {kind}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_answer_by_their_status_and_say_why() {
    let node = alone().await;
    let (server, _dir) = served(&node).await;
    for uri in ["/healthz", "/readyz", "/v1/health"] {
        let (status, body) = json(server.path(), uri).await;
        assert_eq!(
            (status, &body["state"], &body["ready"]),
            (StatusCode::OK, &"healthy".into(), &true.into()),
            "{uri}"
        );
    }
    let scraped = get(server.path(), "/metrics").await;
    assert_eq!(scraped.status(), StatusCode::OK);
    let kind = scraped.headers()["content-type"].to_str().expect("text");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = scraped.into_body().collect().await.expect("a body").to_bytes();
    assert!(text.ends_with(b"# EOF\n"));

    node.shutdown().await;
    let (status, body) = json(server.path(), "/readyz").await;
    let why = (&body["ready"], &body["not_ready"]);
    assert_eq!(
        (status, why),
        (StatusCode::SERVICE_UNAVAILABLE, (&false.into(), &"the node has stopped".into()))
    );
    assert_eq!(json(server.path(), "/healthz").await.0, StatusCode::OK, "who stops by intent is not ill");
    assert_eq!(get(server.path(), "/metrics").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_any_of_its_peers_is_isolated_and_says_why_until_one_is_back() {
    let nodes = cluster(2).await;
    let [a, b] = [&nodes[0], &nodes[1]];
    assert_eq!([a.health().state, b.health().state], [HealthState::Healthy; 2]);
    cut(a, std::slice::from_ref(b));
    eventually("the cut is seen", || b.health().state == HealthState::Isolated).await;
    let health = b.health();
    let reason = &health.reasons[0];
    assert!(reason.what.starts_with("none of the 1 configured peers is connected: "), "{reason:?}");
    assert!(reason.what.contains("cut off from here by block_peers"), "{reason:?}");
    assert!(health.ready, "it reads and writes: {health:?}");
    assert_eq!(a.health().state, HealthState::Healthy, "nobody is configured there");
    heal(&nodes);
    eventually("they are linked again", || b.health().state == HealthState::Healthy).await;

    let nowhere = PeerAddr { addr: "127.0.0.1:9".to_owned(), id: None };
    let ca = ca();
    let some = builder(&ca, "some").peer(nowhere.clone()).peer(nowhere.clone());
    let one = builder(&ca, "one").start().await.expect("starts");
    let some = some.peer(common::peer(&one)).start().await.expect("starts");
    eventually("one of three is linked", || some.status().peers_connected == 1).await;
    let health = some.health();
    assert_eq!(
        (health.state, health.reasons[0].kind.as_str()),
        (HealthState::Degraded, "few_peers"),
        "{health:?}"
    );
    assert!(health.reasons[0].what.starts_with("1 of 3 configured"), "{health:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_and_a_used_up_bound_degrade_a_node_and_are_over_when_they_are() {
    let planted = PlantedDisk::default();
    let given = planted.clone();
    let disk: Box<dyn Disk> = Box::new(RowFile::on(move || given.clone()).expect("nothing fails"));
    let limits = Limits { crdts_max: 1, ..Limits::default() };
    let node = builder(&ca(), "node").limits(limits).disk(disk).start().await.expect("starts");
    let kinds = || node.health().reasons.into_iter().map(|reason| reason.kind).collect::<Vec<_>>();
    assert_eq!(kinds(), Vec::<String>::new());
    let mut events = node.events();
    planted.fail(Fault::ALL[0]);
    node.pn_counter("c").add(1).expect("there is room");
    eventually("the disk is seen to fail", || kinds() == ["bound_full", "disk_failing"]).await;
    let health = node.health();
    assert_eq!((health.state, health.ready), (HealthState::Degraded, true));
    assert!(health.reasons[0].what.contains("crdts_max is used up: 1 of 1"), "{health:?}");
    assert_eq!(event(&mut events, "pressure").await.fields["bound"], "crdts_max");
    assert_eq!(event(&mut events, "disk_failing").await.severity, Severity::Alarm);
    assert!(node.metrics().expect("figures").lines().any(|line| {
        line.strip_prefix("crdt_disk_failures_total ")
            .is_some_and(|count| count.parse::<u64>().is_ok_and(|n| n > 0))
    }));
    planted.heal();
    node.remove("c").expect("removes pass");
    eventually("all is well again", || kinds().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_the_end_are_told_to_who_follows() {
    let nodes = cluster(2).await;
    let [a, b] = [&nodes[0], &nodes[1]];
    let mut events = b.events();
    cut(a, std::slice::from_ref(b));
    let down = event(&mut events, "link_down").await;
    assert_eq!(down.fields["peer"], a.id().to_hex());
    a.or_set::<String>("s").add(&"x".to_owned()).expect("there is room");
    heal(&nodes);
    assert_eq!(event(&mut events, "link_up").await.fields["name"], "node-1");
    event(&mut events, "peer_up").await;
    eventually("what was missed comes", || b.or_set::<String>("s").contains(&"x".to_owned())).await;
    b.shutdown().await;
    let end = async { while events.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the end is told");
    assert_eq!(b.events().next().await, None, "who follows a node that has stopped is told so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_over_the_endpoint_that_does_not_read_is_told_how_much_it_missed_and_the_node_goes_on() {
    let node = alone().await;
    let (server, _dir) = served(&node).await;
    let mut followed = get(server.path(), "/v1/events").await.into_body();
    // A watch that is read makes the node tell of each change.
    let mut watch = node.watch("");
    let watching = tokio::spawn(async move { while watch.next().await.is_some() {} });
    let writes = 40 * FOLLOWER_EVENTS_MAX;
    let counter = node.pn_counter("c");
    let mut text = String::new();
    let mut read_until = async |end: &str| {
        let read = async {
            while !text.contains(end) {
                let frame = followed.frame().await.expect("it goes on").expect("a frame");
                text.push_str(&String::from_utf8_lossy(&frame.into_data().expect("data")));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("it is told");
    };
    // While it reads, nothing is dropped.
    counter.add(1).expect("there is room");
    read_until(r#""event":"changed""#).await;
    for _ in 1..writes {
        counter.add(1).expect("there is room");
        tokio::task::yield_now().await;
    }
    assert_eq!(counter.value(), writes as i128);
    read_until(r#"{"count":"#).await;
    let dropped = text.lines().find(|line| line.contains(r#""event":"dropped""#)).expect("a line");
    let dropped: Value = serde_json::from_str(dropped).expect("JSON");
    assert!(dropped["count"].as_u64().is_some_and(|count| count > 0), "{dropped}");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["event"], &first["severity"]), (&"changed".into(), &"info".into()));
    let _ = tokio::time::timeout(Duration::from_millis(1), followed.frame()).await;
    watching.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_follower_too_many_is_refused_with_a_line() {
    let node = alone().await;
    let (server, _dir) = served(&node).await;
    let mut followed = Vec::new();
    for _ in 0..16 {
        followed.push(get(server.path(), "/v1/events").await);
    }
    let (status, body) = json(server.path(), "/v1/events").await;
    assert_eq!((status, &body["kind"]), (StatusCode::SERVICE_UNAVAILABLE, &"too_many_followers".into()));
    followed.pop();
    let begun = std::time::Instant::now();
    while get(server.path(), "/v1/events").await.status() != StatusCode::OK {
        assert!(begun.elapsed() < PATIENCE, "who left gives its place");
    }
}
