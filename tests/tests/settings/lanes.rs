//! Namespaces: which are opened, how many, and how fast they send.

use sync_core::class::Class;
use sync_core::node::{Input, NamespaceConfig, NamespaceError, Node};
use sync_core::time::Span;
use sync_core::types::lww_map;
use sync_net::settings::Settings;
use sync_tests::Cluster;

use super::{node, settings};

#[test]
fn a_node_opens_the_namespaces_that_it_is_told_to() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let opened = |text: &str| {
        runtime.block_on(async {
            let ca = sync_net::ClusterCa::create("c").expect("an authority can be made");
            let identity = ca.issue("a").expect("a certificate can be made");
            let settings = Settings { memory: true, ..settings(text) };
            let started = sync_net::Node::builder().settings(&settings).identity(identity).start().await;
            let node = started.expect("it starts");
            let all = node.namespaces().into_iter().map(|one| format!("{}={}", one.name, one.class));
            let all: Vec<String> = all.collect();
            node.shutdown().await;
            all
        })
    };
    let mut two = opened("namespaces = [\"alarms=urgent\", \"old=bulk\"]");
    two.sort();
    assert_eq!(two, ["alarms=urgent", "default=normal", "old=bulk"]);
    assert_eq!(opened(""), ["default=normal"]);
}

/// Opens one more namespace, of the bounds of the configuration.
fn open(text: &str, names: &[&str]) -> Result<(), NamespaceError> {
    let mut cluster = Cluster::apart([node(0, text)]);
    let (now, limits) = (cluster.now(), settings(text).limits);
    names.iter().try_for_each(|name| {
        let config = NamespaceConfig { class: Class::Bulk, limits: limits.clone() };
        cluster.node(0).open_namespace(now, name, config).map(drop)
    })
}

#[test]
fn a_namespace_more_than_there_may_be_is_not_opened() {
    assert_eq!(open("max_namespaces = 2", &["a", "b"]), Err(NamespaceError::Full { max: 2 }));
    assert_eq!(open("max_namespaces = 3", &["a", "b"]), Ok(()));
}

#[test]
fn namespaces_that_do_not_fit_together_are_not_opened() {
    // Each may come to 128 MiB.
    let refused = open("max_node_bytes = \"200MiB\"", &["a"]);
    assert!(matches!(refused, Err(NamespaceError::NoRoom { max, .. }) if max == 200 << 20), "{refused:?}");
    assert_eq!(open("max_node_bytes = \"300MiB\"", &["a"]), Ok(()));
}

/// Bytes that a node with this configuration sends in five seconds in a namespace of `class`, a hundred writes a second
/// of a hundred bytes.
fn sent(text: &str, class: Class) -> u64 {
    let mut cluster = Cluster::apart([node(0, text), node(1, "")]);
    cluster.connect(0, 1);
    let now = cluster.now();
    let open = |node: &mut Node| {
        let config = NamespaceConfig { class, ..NamespaceConfig::default() };
        node.open_namespace(now, "lane", config).expect("there is room")
    };
    open(cluster.node(1));
    let lane = open(cluster.node(0));
    cluster.settle();
    let before = cluster.node(0).stats().bytes_sent;
    for write in 0..500u32 {
        let now = cluster.now();
        let put = cluster
            .node(0)
            .write(now, lane, |group| lww_map::put(group, "m", &write.to_le_bytes(), &[7; 100]));
        put.expect("there is room");
        cluster.input(0, Input::Wake);
        cluster.advance(Span::from_millis(10));
    }
    cluster.node(0).stats().bytes_sent - before
}

#[test]
fn a_class_with_a_rate_sends_no_faster() {
    for class in Class::ALL {
        let slow = sent(&format!("{class}_rate = 100\nrate_burst = 1000"), class);
        let free = sent("", class);
        assert!(slow * 5 < free, "{class}: {slow} bytes at a hundred a second, {free} without a rate");
    }
}

#[test]
fn a_longer_burst_lets_more_go_at_once() {
    let [short, long] =
        [1_000, 50_000].map(|burst| sent(&format!("bulk_rate = 100\nrate_burst = {burst}"), Class::Bulk));
    assert!(long > short + 40_000, "{short} bytes with a short burst, {long} with a long one");
}
