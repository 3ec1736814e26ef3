//! What an operator asks: surveys, the convergence of a cluster, and pages for comparing two nodes.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{PATIENCE, assert_one_state, builder, ca, cluster, cut, eventually, heal, peer, text};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sync_net::local::{LocalServer, serve};
use sync_net::{CellPage, ConvergeError, Node, ObjectPage, RangeDigest};
use tempfile::TempDir;
use tokio::net::UnixStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survey_finds_linked_peers_equal_and_says_why_a_cut_one_told_nothing() {
    let nodes = cluster(3).await;
    nodes[1].or_set::<String>("s").add(&text("x")).expect("a small write");
    nodes[1].converge(PATIENCE).await.expect("the cluster is whole");
    let before = nodes[0].status();
    let report = nodes[0].survey(PATIENCE).await.expect("it runs");
    assert_eq!(report.root, before.root);
    assert_eq!(report.peers.len(), 2);
    for peer in &report.peers {
        let told = peer.told.as_ref().expect("it is linked");
        assert!(told.same_events && told.roots_equal && peer.reason.is_none());
        assert_eq!((told.receive.events, told.send.events), (0, 0));
    }
    assert_eq!(nodes[0].status().state_id, before.state_id);
    assert_eq!(nodes[0].status().log_head, before.log_head);

    cut(&nodes[2], &nodes[..2]);
    eventually("it is cut", || nodes[2].status().peers_connected == 0).await;
    let report = nodes[2].survey(PATIENCE).await.expect("it runs");
    assert!(report.peers.iter().all(|peer| peer.told.is_none()));
    assert!(
        report.peers.iter().all(|peer| peer.reason.as_deref().is_some_and(|why| why.contains("cut off")))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_converges_as_one_and_names_who_is_cut_off() {
    let nodes = cluster(3).await;
    cut(&nodes[2], &nodes[..2]);
    for (index, node) in nodes.iter().enumerate() {
        node.or_set::<String>("s").add(&format!("from {index}")).expect("a small write");
    }
    let late = nodes[2].converge_cluster(Duration::from_millis(300)).await;
    let Err(ConvergeError::TimedOut { pending, .. }) = late else { panic!("{late:?}") };
    assert_eq!(pending.len(), 2, "both that it is configured with: {pending:?}");
    heal(&nodes);
    let report = nodes[2].converge_cluster(PATIENCE).await.expect("the cluster is whole again");
    assert_eq!(report.peers.len(), 2);
    assert!(report.links_elsewhere.is_empty() && report.away.is_empty());
    assert_one_state(&nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_peer_of_a_peer_knows_is_waited_for_where_links_lead() {
    let ca = ca();
    let start = |name: &'static str, peers: Vec<sync_net::PeerAddr>| {
        let builder = peers.into_iter().fold(builder(&ca, name), |builder, peer| builder.peer(peer));
        async move { builder.start().await.expect("a node starts on a free port") }
    };
    let hub = start("hub", vec![]).await;
    let arms = [start("one", vec![peer(&hub)]).await, start("two", vec![peer(&hub)]).await];
    eventually("the arms are linked", || hub.status().peers_connected == 2).await;
    arms[0].pn_counter("n").add(7).expect("a small write");
    hub.converge_cluster(PATIENCE).await.expect("all are linked with the hub");
    assert_eq!(arms[1].pn_counter("n").value(), 7, "it came through the hub");
    let report = arms[0].converge_cluster(PATIENCE).await.expect("the hub is linked");
    assert_eq!(report.links_elsewhere, [hub.id().to_hex()], "the other arm was not asked");
}

struct Endpoint {
    server: LocalServer,
    _dir: TempDir,
}

async fn endpoint(node: &Node) -> Endpoint {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(node.clone(), &dir.path().join("s")).await.expect("nothing is in the way");
    Endpoint { server, _dir: dir }
}

impl Endpoint {
    async fn get(&self, uri: &str) -> (StatusCode, Value) {
        let stream = UnixStream::connect(self.server.path()).await.expect("the endpoint listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        let driven = tokio::spawn(connection);
        let request = Request::builder().uri(uri).header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        driven.abort();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn page<T: serde::de::DeserializeOwned>(&self, uri: &str) -> T {
        let (status, body) = self.get(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {body}");
        serde_json::from_value(body).unwrap_or_else(|error| panic!("{uri}: {error}"))
    }
}

#[tokio::test]
async fn objects_and_cells_come_in_bounded_pages_each_once_and_in_order() {
    let node = builder(&ca(), "alone").start().await.expect("starts");
    for group in 0..5 {
        let written = node.transaction(|tx| {
            (0..500).try_for_each(|n| tx.pn_counter(&format!("key/{:04}", group * 500 + n)).add(1))?;
            let set = tx.or_set::<String>("set");
            (0..500).try_for_each(|n| set.add(&format!("{:04}", group * 500 + n)))
        });
        written.expect("within the limits");
    }
    let endpoint = endpoint(&node).await;

    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page: ObjectPage = endpoint.page(&format!("/v1/compare/objects{after}")).await;
        assert!(page.objects.len() <= 1_000 && page.at.replica == node.replica().to_hex());
        names.extend(page.objects.iter().map(|object| object.name.clone()));
        let last = names.last().expect("pages are not empty");
        after = format!("?key={}&tag={}", last.key.replace('/', "%2F"), last.tag);
        if !page.more {
            break;
        }
    }
    assert_eq!(names.len(), 2_501);
    assert!(names.is_sorted() && names.iter().collect::<BTreeSet<_>>().len() == names.len());

    let (mut paths, mut after) = (Vec::new(), String::new());
    loop {
        let page: CellPage = endpoint.page(&format!("/v1/compare/cells?key=set&tag=1{after}")).await;
        assert!(page.cells.len() <= 1_000);
        paths.extend(page.cells.into_iter().map(|cell| cell.path));
        after = format!("&after={}", paths.last().expect("pages are not empty"));
        if !page.more {
            break;
        }
    }
    assert_eq!(paths.len(), 2_500);
    assert!(paths.is_sorted());

    let first: RangeDigest = endpoint.page("/v1/compare/range?key=set&tag=1&cells=100").await;
    assert_eq!((first.cells, first.cut, first.last.as_ref()), (100, true, Some(&paths[99])));
    let again: RangeDigest =
        endpoint.page(&format!("/v1/compare/range?key=set&tag=1&until={}", paths[99])).await;
    assert_eq!((again.fingerprint, again.cut), (first.fingerprint.clone(), false));
    node.or_set::<String>("set").remove(&text("0000")).expect("a small write");
    let other: RangeDigest =
        endpoint.page(&format!("/v1/compare/range?key=set&tag=1&until={}", paths[99])).await;
    assert_ne!(other.fingerprint, first.fingerprint);
}

#[tokio::test]
async fn what_is_no_path_is_refused_and_what_is_absent_is_empty() {
    let node = builder(&ca(), "alone").start().await.expect("starts");
    let endpoint = endpoint(&node).await;
    for uri in [
        "/v1/compare/cells?key=s&tag=1&after=0",
        "/v1/compare/range?key=s&tag=1&until=zz",
        "/v1/compare/range?key=s&tag=300",
        "/v1/compare/objects?from=a",
        "/v1/knowledge?key=s",
    ] {
        let (status, body) = endpoint.get(uri).await;
        assert_eq!((status, &body["kind"]), (StatusCode::BAD_REQUEST, &Value::from("bad_query")), "{uri}");
    }
    let page: CellPage = endpoint.page("/v1/compare/cells?key=s&tag=1").await;
    assert!(page.cells.is_empty() && !page.more);
    let range: RangeDigest = endpoint.page("/v1/compare/range?key=s&tag=1").await;
    assert_eq!((range.cells, range.cut, range.last), (0, false, None));
    let page: ObjectPage = endpoint.page("/v1/compare/objects").await;
    assert!(page.objects.is_empty() && !page.more);
}
