//! What breakers say of links: whom the transport dials and lets in, and what it tells of failures.

use std::collections::BTreeMap;

use sync_core::breaker::Failure;

use super::*;
use crate::transport::Gate;

fn gates(peer: NodeId, gate: Gate) -> BTreeMap<NodeId, Gate> {
    BTreeMap::from([(peer, gate)])
}

fn attempts(side: &Side) -> u64 {
    side.transport.links()[0].attempts
}

/// A dialler of a peer at `addr` that must be `of`, quick to try again.
fn dialler(identity: &Identity, of: NodeId, addr: SocketAddr) -> TransportConfig {
    let peers = vec![PeerAddr { addr: addr.to_string(), id: Some(of) }];
    let mut config = TransportConfig::new(identity.clone(), ANY_PORT, peers);
    config.handshake_timeout = Duration::from_millis(200);
    (config.redial_min, config.redial_max) = (Duration::from_millis(20), Duration::from_secs(3_600));
    config
}

#[tokio::test]
async fn a_held_peer_is_dialled_once_for_each_probe_at_once_and_never_by_itself() {
    let (a, b) = two();
    let (of, addr) = (a.node_id(), free_addr());
    let mut b = Side::start(dialler(&b, of, addr)).await;
    let (peer, failure) = b
        .until("DialFailed", |event| match event {
            TransportEvent::DialFailed { peer, failure, .. } => Some((*peer, *failure)),
            _ => None,
        })
        .await;
    assert_eq!((peer, failure), (Some(of), Failure::TimedOut), "whose failure it is, and of which kind");
    b.transport.set_gates(gates(of, Gate::Held));
    b.watch(Duration::from_millis(500)).await;
    let before = attempts(&b);
    b.watch(Duration::from_millis(500)).await;
    assert_eq!(attempts(&b), before);
    for probe in 1..=3 {
        b.transport.probe(of);
        // Not after the dialler's own pause, which may be an hour by now.
        b.dial_failed().await;
        b.watch(Duration::from_millis(100)).await;
        assert_eq!(attempts(&b), before + probe);
    }
    let mut late = config(&a, &[]);
    late.listen = addr;
    let mut a = Side::start(late).await;
    b.transport.probe(of);
    a.up(b.id).await;
    b.up(of).await;
}

#[tokio::test]
async fn who_is_shut_out_is_refused_and_not_dialled_until_the_gate_is_gone() {
    for gate in [Gate::Shut, Gate::Removed] {
        let (a, b) = two();
        let mut a = Side::start(config(&a, &[])).await;
        a.transport.set_gates(gates(b.node_id(), gate));
        let mut b = Side::start(dialler(&b, a.id, a.transport.local_addr())).await;
        assert!(b.dial_failed().await.contains("shut the other out"));
        assert!(a.refused().await.contains("shut the other out"));
        b.transport.set_gates(gates(a.id, gate));
        let row = &b.transport.links()[0];
        assert_eq!((row.configured, row.removed), (gate == Gate::Shut, gate == Gate::Removed));
        a.transport.set_gates(BTreeMap::new());
        b.transport.probe(a.id);
        a.watch(Duration::from_millis(300)).await;
        assert_eq!(a.check_order(b.id), 0, "a probe is for who is held");
        b.transport.set_gates(gates(a.id, Gate::Held));
        b.transport.probe(a.id);
        a.up(b.id).await;
    }
}

#[tokio::test]
async fn peers_are_added_and_removed_while_it_runs_up_to_the_limit() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let mut small = config(&b, &[]);
    small.bounds.peers_max = 1;
    let mut b = Side::start(small).await;
    let addr = PeerAddr { addr: a.transport.local_addr().to_string(), id: None };
    assert!(b.transport.add_peer(addr.clone()));
    a.up(b.id).await;
    b.up(a.id).await;
    assert!(b.transport.add_peer(addr.clone()), "it is dialled already");
    assert!(!b.transport.add_peer(PeerAddr { addr: "127.0.0.1:9".to_owned(), id: None }), "one is the limit");
    assert!(b.transport.remove_peer(&addr.addr) && !b.transport.remove_peer(&addr.addr));
    b.transport.disconnect(&a.id, "the test says so");
    b.down(a.id).await;
    b.watch(Duration::from_millis(500)).await;
    assert!(b.transport.links().is_empty(), "nobody dials it any more: {:?}", b.transport.links());
}
