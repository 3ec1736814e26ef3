//! Figures of each peer. The label is the first 16 digits of its node id, so that no peer chooses a label's text; at
//! most as many as the core keeps, [`crate::Limits::peers_max`].

use sync_core::id::NodeId;
use sync_core::node::{PeerLag, PeerStatus};

use super::family::{Family, Labels};
use super::{SpaceTaken, Taken, float};
use crate::node::Shared;

/// Digits of a node id in a label.
const ID_DIGITS: usize = 16;

fn label(node: &NodeId) -> Labels {
    let mut hex = node.to_hex();
    hex.truncate(ID_DIGITS);
    vec![("peer", hex)]
}

pub(super) fn families<'a>(shared: &'a Shared, taken: &'a Taken) -> Vec<Family> {
    let of_lag = |value: fn(&PeerLag) -> Option<f64>| {
        let of = |space: &SpaceTaken| {
            let lags = space.lags.iter();
            lags.filter_map(|lag| Some((space.labelled(label(&lag.node)), value(lag)?))).collect::<Vec<_>>()
        };
        taken.spaces.iter().flat_map(of).collect::<Vec<_>>()
    };
    // Of a peer as such, whatever it shares.
    let of_peer = |value: fn(&PeerStatus) -> Option<f64>| {
        let peers = taken.spaces.first().map(|space| &space.peers).into_iter().flatten();
        peers.filter_map(|peer| Some((label(&peer.node), value(peer)?))).collect::<Vec<_>>()
    };
    let roots = taken.spaces.iter().flat_map(|space| {
        let equal = |peer: &PeerStatus| peer.roots_equal.map(|equal| f64::from(u8::from(equal)));
        let of = |peer: &PeerStatus| Some((space.labelled(label(&peer.node)), equal(peer)?));
        space.peers.iter().filter_map(of).collect::<Vec<_>>()
    });
    let divergence = taken.spaces.iter().flat_map(|space| {
        let told = |peer: &'a PeerStatus| Some((peer, shared.divergence.keys(space.id, peer)?));
        let told = space.peers.iter().filter_map(told).collect::<Vec<_>>();
        told.into_iter().flat_map(move |(peer, (receive, send))| {
            [("in", receive), ("out", send)].map(|(direction, keys)| {
                let mut labels = label(&peer.node);
                labels.push(("direction", direction.to_owned()));
                (space.labelled(labels), float(keys))
            })
        })
    });
    let (roots, divergence) = (roots.collect(), divergence.collect());
    vec![
        Family::gauges(
            "crdt_peer_connected",
            "1 if a link to the peer is up, 0 if it was met and is away",
            of_peer(|peer| Some(f64::from(u8::from(peer.connected)))),
        ),
        Family::gauges(
            "crdt_visibility_lag_seconds",
            "Age of the oldest live write here that the peer is not known to hold, by the writer's clock; 0 if it holds all",
            of_lag(|lag| Some(float(lag.oldest_ms) / 1e3)),
        ),
        Family::gauges(
            "crdt_arrival_lag_seconds",
            "Age, by the writer's clock, of the newest write in what the peer last taught this node, when it came",
            of_peer(|peer| peer.arrival_lag_ms.map(|ms| float(ms) / 1e3)),
        ),
        Family::gauges(
            "crdt_unconfirmed_entries",
            "Entries of this node's log that the peer has not confirmed; absent while it catches up by a session",
            of_lag(|lag| lag.entries.map(float)),
        ),
        Family::gauges(
            "crdt_roots_agree",
            "1 if the last exchange of roots with the peer found one state, 0 if not; absent before the first",
            roots,
        ),
        Family::gauges(
            "crdt_divergence_keys",
            "Keys that a repair would bring in or out, by the last survey; 0 if roots agree, absent if nobody asked",
            divergence,
        ),
        Family::gauges(
            "crdt_outbox_frames",
            "Frames built for the peer and not yet written, those that wait for the disk included",
            of_peer(|peer| Some(float(peer.queued_frames as u64))),
        ),
        Family::gauges(
            "crdt_outbox_bytes",
            "Bytes of frames built for the peer and not yet written, those that wait for the disk included",
            of_peer(|peer| Some(float(peer.queued_bytes as u64))),
        ),
        Family::gauges(
            "crdt_clock_ahead_seconds",
            "The peer's wall clock minus this node's at its last reading, transit included; absent before the first",
            of_peer(|peer| peer.clock_ahead_ms.map(seconds)),
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "the format has floating point numbers only")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}
