//! A trace goes along in `Hello`: peers hear under which request a node acts, and nothing else changes.

use sync_core::dictionary::{Version, Versions};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Event, Input};
use sync_core::trace::TraceContext;
use sync_core::types::or_set;
use sync_tests::{Cluster, config, node_id};

fn trace(span: u8) -> TraceContext {
    let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902{span:02x}-01");
    text.parse().expect("it is a trace context")
}

/// What nodes have heard of node 0's trace since the last look.
fn heard(cluster: &mut Cluster) -> Vec<(u8, Option<TraceContext>)> {
    let of = |(node, event)| {
        let Event::Traced { peer, trace } = event else { return None };
        (peer == node_id(0)).then_some((node, trace))
    };
    cluster.events().into_iter().filter_map(of).collect()
}

fn act_under(cluster: &mut Cluster, trace: Option<TraceContext>) {
    cluster.node(0).set_trace(trace);
    cluster.input(0, Input::Wake);
    cluster.settle();
}

#[test]
fn every_peer_hears_of_a_trace_once_and_of_its_end() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.events();
    act_under(&mut cluster, Some(trace(1)));
    assert_eq!(heard(&mut cluster), [(1, Some(trace(1))), (2, Some(trace(1)))]);
    act_under(&mut cluster, Some(trace(1)));
    assert_eq!(heard(&mut cluster), [], "it is the same");
    act_under(&mut cluster, Some(trace(2)));
    assert_eq!(heard(&mut cluster), [(1, Some(trace(2))), (2, Some(trace(2)))]);
    act_under(&mut cluster, None);
    assert_eq!(heard(&mut cluster), [(1, None), (2, None)]);
}

#[test]
fn who_connects_later_hears_of_the_trace_and_who_reconnects_of_none() {
    let mut cluster = Cluster::apart((0..2).map(|index| config(index, 0)));
    cluster.node(0).set_trace(Some(trace(1)));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(heard(&mut cluster), [(1, Some(trace(1)))]);
    cluster.disconnect(0, 1);
    cluster.node(0).set_trace(None);
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(heard(&mut cluster), [], "a connection begins without a trace");
}

#[test]
fn a_peer_of_version_1_is_told_nothing_and_syncs_as_before() {
    let mut old = config(1, 0);
    old.versions = Versions { min: Version(1), max: Version(1) };
    let mut cluster = Cluster::apart([config(0, 0), old]);
    cluster.node(0).set_trace(Some(trace(1)));
    cluster.connect(0, 1);
    cluster.settle();
    cluster.node(0).set_trace(Some(trace(2)));
    cluster.input(0, Input::Wake);
    let told = |frame: &Frame| matches!(frame, Frame::Hello(hello) if hello.trace.is_some());
    assert!(!cluster.take_frames(0, 1).iter().any(told));
    assert_eq!(heard(&mut cluster), []);
    cluster.write(0, |group| or_set::add(group, "set", b"x"));
    cluster.settle();
    assert!(cluster.is_converged());
}
