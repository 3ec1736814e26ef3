//! The transport over loopback: what it promises to the engine, and what it does to those who break rules.

#![allow(clippy::wildcard_enum_match_arm, reason = "each helper waits for one kind of event")]

mod certificates;
mod gates;
mod hostile;
mod lanes;
mod links;
mod revocation;
mod trust;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sync_core::class::Class;
use sync_core::id::NodeId;
use tokio::time::timeout;

use super::{Inbox, LinkId, PeerAddr, Transport, TransportConfig, TransportEvent, queues};
use crate::certs::ClusterCa;
use crate::identity::Identity;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Far above what anything here takes, so that only a wrong result fails and never a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A transport and what it has told so far.
struct Side {
    transport: Transport,
    events: Inbox,
    id: NodeId,
    seen: Vec<TransportEvent>,
}

impl Side {
    async fn start(config: TransportConfig) -> Self {
        Self::with_events(config, 1_024).await
    }

    async fn with_events(config: TransportConfig, events_max: usize) -> Self {
        let id = config.identity.node_id();
        let (queues, events) = queues(events_max);
        let transport = Transport::bind(config, queues).await.unwrap();
        Self { transport, events, id, seen: Vec::new() }
    }

    /// The next event that `wanted` maps to something; all events on the way are kept in `seen`.
    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&TransportEvent) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the transport runs");
                let found = wanted(&event);
                self.seen.push(event);
                if let Some(found) = found {
                    return found;
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!(
                "no {what} in {PATIENCE:?}; seen: {:?}; links: {:?}",
                self.seen,
                self.transport.links()
            ),
        }
    }

    async fn up(&mut self, of: NodeId) -> LinkId {
        self.until("Up", |event| match event {
            TransportEvent::Up { peer, link, .. } if *peer == of => Some(*link),
            _ => None,
        })
        .await
    }

    async fn down(&mut self, of: NodeId) -> String {
        self.until("Down", |event| match event {
            TransportEvent::Down { peer, reason, .. } if *peer == of => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    async fn frame(&mut self, of: NodeId) -> Vec<u8> {
        self.until("Frame", |event| match event {
            TransportEvent::Frame { peer, bytes, .. } if *peer == of => Some(bytes.to_vec()),
            _ => None,
        })
        .await
    }

    /// The next frame, and whose stream it came on.
    async fn classed(&mut self, of: NodeId) -> (Class, Vec<u8>) {
        self.until("Frame", |event| match event {
            TransportEvent::Frame { peer, class, bytes } if *peer == of => Some((*class, bytes.to_vec())),
            _ => None,
        })
        .await
    }

    async fn refused(&mut self) -> String {
        self.until("Refused", |event| match event {
            TransportEvent::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    async fn dial_failed(&mut self) -> String {
        self.until("DialFailed", |event| match event {
            TransportEvent::DialFailed { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    /// Reads events for `span` and keeps them.
    async fn watch(&mut self, span: Duration) {
        let _ = timeout(span, async {
            while let Some(event) = self.events.recv().await {
                self.seen.push(event);
            }
        })
        .await;
    }

    /// Checks that the events of `of` so far are `Up, (Frame | Written)*, Down`, again and again; returns
    /// how often it came up.
    fn check_order(&self, of: NodeId) -> usize {
        let (mut up, mut ups) = (false, 0);
        for event in &self.seen {
            match event {
                TransportEvent::Up { peer, .. } if *peer == of => {
                    assert!(!up, "Up twice: {:?}", self.seen);
                    (up, ups) = (true, ups + 1);
                }
                TransportEvent::Down { peer, .. } if *peer == of => {
                    assert!(up, "Down without Up: {:?}", self.seen);
                    up = false;
                }
                TransportEvent::Frame { peer, .. } | TransportEvent::Written { peer, .. } if *peer == of => {
                    assert!(up, "{event:?} outside a link: {:?}", self.seen);
                }
                _ => {}
            }
        }
        ups
    }
}

fn config(identity: &Identity, peers: &[SocketAddr]) -> TransportConfig {
    let peers = peers.iter().map(|addr| PeerAddr { addr: addr.to_string(), id: None }).collect();
    // `seen` holds the frames that came, and so their room.
    TransportConfig { inbox_bytes_max: 16 << 20, ..TransportConfig::new(identity.clone(), ANY_PORT, peers) }
}

/// Two identities of one cluster, the one with the lower node id first.
fn two() -> (Identity, Identity) {
    let ca = ClusterCa::create("test").unwrap();
    let (a, b) = (ca.issue("a").unwrap(), ca.issue("b").unwrap());
    if a.node_id() < b.node_id() { (a, b) } else { (b, a) }
}

/// A port that was free a moment ago, for a peer that starts later.
fn free_addr() -> SocketAddr {
    std::net::UdpSocket::bind(ANY_PORT).unwrap().local_addr().unwrap()
}

/// Two linked sides; the second has dialled.
async fn pair() -> (Side, LinkId, Side, LinkId) {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let mut b = Side::start(config(&b, &[a.transport.local_addr()])).await;
    let (to_b, to_a) = (a.up(b.id).await, b.up(a.id).await);
    (a, to_b, b, to_a)
}
