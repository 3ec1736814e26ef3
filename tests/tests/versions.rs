//! Versions: two nodes talk in the newest that both speak, and what one cannot resolve it asks for whole.

use std::sync::Arc;

use sync_core::causal::{CausalContext, DotSet};
use sync_core::dictionary::{Base, Version, Versions};
use sync_core::id::ReplicaId;
use sync_core::message::{Dialect, Frame, Pull, Route};
use sync_core::node::Event;
use sync_core::time::{Span, WallMillis};
use sync_core::types::or_set;
use sync_tests::{Cluster, config, namespace, node_id, replica};

fn speaking(versions: [Versions; 2]) -> Cluster {
    let configs = (0..2u8).zip(versions).map(|(index, versions)| {
        let mut config = config(index, 0);
        config.versions = versions;
        config
    });
    let mut cluster = Cluster::apart(configs);
    cluster.connect(0, 1);
    cluster
}

const OLD: Versions = Versions { min: Version(1), max: Version(1) };

#[test]
fn nodes_of_two_versions_talk_in_the_older_and_converge() {
    for versions in [[OLD, Versions::default()], [Versions::default(), OLD]] {
        let mut cluster = speaking(versions);
        cluster.settle();
        for element in 0..20u8 {
            cluster.write(element % 2, |group| or_set::add(group, "s", &[element]));
            cluster.advance(Span::from_millis(50));
        }
        for node in [0, 1] {
            assert_eq!(cluster.node(node).peers(namespace())[0].version, Some(Version(1)));
            assert_eq!(cluster.node(node).stats().frames_refused, 0);
        }
        assert!(cluster.is_converged());
        // Nothing of the newer version is on the wire.
        cluster.write(0, |group| or_set::add(group, "s", b"last"));
        assert!(cluster.take(0, 1).iter().all(|bytes| bytes[0] == 1));
    }
}

#[test]
fn nodes_without_a_common_version_part_with_a_reason_that_names_both() {
    let future = Versions { min: Version(9), max: Version(12) };
    let mut cluster = speaking([OLD, future]);
    cluster.settle();
    assert!(cluster.parted().iter().any(|reason| reason.contains("1 to 1") && reason.contains("9 to 12")));
}

#[test]
fn a_context_that_builds_on_what_was_forgotten_is_asked_for_whole() {
    let mut cluster = speaking([Versions::default(); 2]);
    cluster.settle();
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(1));
    cluster.events();
    let route = Route { namespace: namespace(), from: replica(0, 0), to: replica(1, 0), known: 0 };
    let lost = Base::of(&CausalContext::from_iter([(ReplicaId([9; 16]), 4)]));
    let context = cluster.store(0).context().clone();
    let pull = Pull { context, horizon: WallMillis(0), listing: false, have: DotSet::default() };
    let dialect = Dialect { version: Version(2), base: Some(Arc::new(lost)) };
    cluster.deliver(0, 1, &Frame::Pull(route, pull).encode(&dialect));
    let asked = cluster.take(1, 0);
    let whole = |frame: &Frame| matches!(frame, Frame::Root(_, root) if root.wants_whole);
    let frames: Vec<Frame> = asked.iter().map(|bytes| cluster.read_sent(1, 0, bytes)).collect();
    assert!(frames.iter().any(whole), "{frames:?}");
    asked.iter().for_each(|bytes| cluster.deliver(1, 0, bytes));
    // From here on node 0 builds on nothing until a new context is agreed on.
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.connect(0, 1);
    cluster.settle();
    assert!(cluster.is_converged());
    let refused = cluster.events().into_iter().any(|(_, event)| matches!(event, Event::FrameRefused { .. }));
    assert!(!refused, "a base that is gone is nobody's fault");
    assert_eq!(cluster.node(1).peers(namespace())[0].node, node_id(0));
}
