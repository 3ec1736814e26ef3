//! What happened between two looks at a node, by the second.

use std::collections::BTreeMap;

use sync_net::Totals;

use super::Glance;

/// Counts by the second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) frames_out: f64,
    pub(super) bytes_out: f64,
    pub(super) frames_in: f64,
    pub(super) bytes_in: f64,
    pub(super) items_new: f64,
    pub(super) conflicts: f64,
    pub(super) timeouts: f64,
    pub(super) fell_behind: f64,
    pub(super) refused: f64,
}

impl Rate {
    /// A count that fell, because the node was started again, counts as none.
    fn between(before: &Totals, now: &Totals, seconds: f64) -> Self {
        let rate = |count: fn(&Totals) -> u64| count(now).saturating_sub(count(before)) as f64 / seconds;
        Self {
            frames_out: rate(|totals| totals.frames_sent),
            bytes_out: rate(|totals| totals.bytes_sent),
            frames_in: rate(|totals| totals.frames_received),
            bytes_in: rate(|totals| totals.bytes_received),
            items_new: rate(|totals| totals.items_new),
            conflicts: rate(|totals| totals.conflicts),
            timeouts: rate(|totals| totals.timeouts),
            fell_behind: rate(|totals| totals.fell_behind),
            refused: rate(|totals| totals.frames_refused),
        }
    }
}

/// Of the whole node and of each peer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) node: Rate,
    /// By node id, in hex.
    pub(super) peers: BTreeMap<String, Rate>,
}

impl Rates {
    pub(super) fn between(before: &Glance, now: &Glance) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
        let totals_of = |id: &str| before.peers.iter().find(|peer| peer.peer.as_deref() == Some(id));
        let of_peer = |peer: &sync_net::PeerInfo| {
            let id = peer.peer.clone()?;
            let before = totals_of(&id).map(|peer| peer.totals).unwrap_or_default();
            Some((id, Rate::between(&before, &peer.totals, seconds)))
        };
        Self {
            node: Rate::between(&before.status.totals, &now.status.totals, seconds),
            peers: now.peers.iter().filter_map(of_peer).collect(),
        }
    }
}
