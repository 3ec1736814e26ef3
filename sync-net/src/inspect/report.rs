//! The values that tools get: a node's figures, its peers, its keys, what a key holds under the hood.
//!
//! All fields are text, numbers and lists, so that they travel as JSON and come back the same.

use std::fmt;

use serde::{Deserialize, Serialize};
use sync_core::node::Stats;

use super::hex;
use crate::bootstrap::Bootstrap;
use crate::breakers::BreakerInfo;
use crate::evidence::Evidence;
use crate::namespace::NamespaceInfo;
use crate::storage::{Damage, StorageStatus};
use crate::value::Stored;

/// A node's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node id, in hex.
    pub node: String,
    /// The name in its certificate.
    pub name: String,
    /// The replica id of this life, in hex.
    pub replica: String,
    /// The cluster label.
    pub cluster: String,
    /// Where it listens for peers.
    pub listen: String,
    /// The Merkle root over the live cells, in hex.
    pub root: String,
    /// The state id, in hex: equal ids, identical stores.
    pub state_id: String,
    /// CRDTs present.
    pub crdts: u64,
    /// Accounted bytes of the store, as the limits count them.
    pub bytes: u64,
    /// Live items.
    pub items: u64,
    /// Columns of the causal context: lives of replicas ever heard of.
    pub context_columns: u64,
    /// Position of the newest entry of the status log.
    pub log_head: u64,
    /// Records kept.
    pub records: u64,
    /// Peers linked now.
    pub peers_connected: u64,
    /// Peers whose breaker is not closed.
    #[serde(default)]
    pub breakers_open: u64,
    /// How close each bound is that fills up. A list that only grows: bounds to come are put behind.
    #[serde(default)]
    pub pressure: Vec<BoundPressure>,
    /// Every namespace that is kept, open and closed, by name.
    #[serde(default)]
    pub namespaces: Vec<NamespaceInfo>,
    /// The large answer on its way in; for a newcomer, the whole store.
    #[serde(default)]
    pub bootstrap: Option<Bootstrap>,
    /// What the disk is doing; `None` in a node that keeps its state in memory alone.
    #[serde(default)]
    pub storage: Option<StorageStatus>,
    /// Why the node may only be read, if so.
    #[serde(default)]
    pub damage: Option<Damage>,
    /// Turns of the driver's loop since the start: a few a second at rest, many more under load.
    pub turns: u64,
    /// Counts since the start, over all peers.
    pub totals: Totals,
}

/// How close one bound is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundPressure {
    /// The field of [`crate::Limits`] that sets it.
    pub bound: String,
    /// What is used, in its unit; more than `max` where joins overshoot.
    pub used: u64,
    /// The bound.
    pub max: u64,
    /// 0.0 for nothing used to 1.0 for all of it.
    pub pressure: f64,
}

/// Counts since the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Frames sent.
    pub frames_sent: u64,
    /// Bytes of frames sent.
    pub bytes_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Pushes sent.
    pub pushes_sent: u64,
    /// Items sent, in pushes and in answers to pulls.
    pub deltas_sent: u64,
    /// Repairs by session that brought something.
    pub sessions: u64,
    /// Sessions that had to compare all live dots.
    pub fallbacks: u64,
    /// Answers given to peers that pulled.
    pub answers: u64,
    /// Items received that were new here.
    pub items_new: u64,
    /// Items received that were known here already.
    pub items_known: u64,
    /// Frames dropped because they were for another life of this node, or from one not known.
    pub frames_stale: u64,
    /// Frames refused whole.
    pub frames_refused: u64,
    /// Times that a breaker opened. A probe that fails is no new opening.
    #[serde(default)]
    pub breaker_opens: u64,
    /// Exchanges, dials and probes that made no progress in their time, and frames that stopped on their way.
    #[serde(default)]
    pub timeouts: u64,
    /// Frames longer than one may be, received or announced.
    #[serde(default)]
    pub oversized: u64,
    /// Times that a peer fell off the log and had to pull.
    #[serde(default)]
    pub fell_behind: u64,
    /// Items received that came to stand beside a concurrent write that they contradict.
    #[serde(default)]
    pub conflicts: u64,
}

impl From<Stats> for Totals {
    fn from(stats: Stats) -> Self {
        Self {
            frames_sent: stats.frames_sent,
            bytes_sent: stats.bytes_sent,
            frames_received: stats.frames_received,
            bytes_received: stats.bytes_received,
            pushes_sent: stats.pushes_sent,
            deltas_sent: stats.deltas_sent,
            sessions: stats.sessions,
            fallbacks: stats.fallbacks,
            answers: stats.answers,
            items_new: stats.items_new,
            items_known: stats.items_known,
            frames_stale: stats.frames_stale,
            frames_refused: stats.frames_refused,
            breaker_opens: stats.breaker_opens,
            timeouts: stats.timeouts,
            oversized: stats.oversized,
            fell_behind: stats.fell_behind,
            conflicts: stats.conflicts,
        }
    }
}

/// One peer: configured, linked, or linked before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its node id, in hex; `None` if it was never reached and is not pinned.
    pub peer: Option<String>,
    /// The name in its certificate, while it is linked.
    pub name: Option<String>,
    /// The configured address, or the one it came from; `None` for a guest that left.
    pub address: Option<String>,
    /// True if this node is configured to dial it.
    pub configured: bool,
    /// True if a link is up.
    pub connected: bool,
    /// True if it is cut off by [`crate::Node::block_peers`].
    pub blocked: bool,
    /// Why it could not be reached last, or the last link went down; `None` while a link is up.
    pub failure: Option<String>,
    /// Times it was dialled.
    pub attempts: u64,
    /// The replica id of its life, in hex, once it has introduced itself.
    pub incarnation: Option<String>,
    /// True if it has the namespace open too, as far as is known.
    #[serde(default)]
    pub shared: bool,
    /// True if no push can reach it: it has just come, or fell off our log, and catches up by a session.
    pub behind: bool,
    /// The entry of our log that it has acknowledged.
    pub acked: Option<u64>,
    /// Position of the newest entry of our log.
    pub head: u64,
    /// Whether roots were equal when last compared.
    pub roots_equal: Option<bool>,
    /// Frames built for it and not yet written.
    pub queued_frames: u64,
    /// Bytes of frames built for it and not yet written, those that wait for the disk included.
    #[serde(default)]
    pub queued_bytes: u64,
    /// How old the oldest write is that it is not known to hold, in milliseconds, by the writer's clock and ours;
    /// `None` before it has introduced itself.
    #[serde(default)]
    pub lag_ms: Option<u64>,
    /// Keys that a repair between it and this node would touch, by the last survey or 0 if roots were equal since;
    /// `None` if nobody has asked.
    #[serde(default)]
    pub divergent_keys: Option<u64>,
    /// Its breaker.
    #[serde(default)]
    pub breaker: BreakerInfo,
    /// What it did against the protocol of late, the newest last; a few entries.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// Its wall clock minus ours at its last reading, in milliseconds, transit included.
    pub clock_ahead_ms: Option<i64>,
    /// Counts since the start, for this peer.
    pub totals: Totals,
}

/// One CRDT of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The key.
    pub key: String,
    /// `"set"`, `"map"`, `"counter"` and so on, the name of a registered type of the application, or `"type<n>"`
    /// for one that this node does not know.
    #[serde(rename = "type")]
    pub ty: String,
    /// Cells: elements, fields, or contributions.
    pub cells: u64,
    /// Live items.
    pub items: u64,
    /// Accounted bytes.
    pub bytes: u64,
}

/// What the store holds under the hood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The causal context, by replica.
    pub context: Vec<Column>,
    /// Position of the newest entry of the status log.
    pub log_head: u64,
    /// Records kept.
    pub records: u64,
    /// The objects: all types of the key asked for, with their cells; or all keys, without.
    pub objects: Vec<ObjectInspection>,
}

/// One column of the causal context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The life of a replica, in hex.
    pub replica: String,
    /// Its events known here are 1 to this.
    pub known: u64,
}

/// One object with its cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInspection {
    /// Key, type and sizes.
    #[serde(flatten)]
    pub info: KeyInfo,
    /// Its cells in order of their paths, the first 1,000 at most; none if no key was asked for.
    pub shown: Vec<CellInspection>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellInspection {
    /// The element, the field, or the short id of the counter's owner.
    pub path: Shown,
    /// Its live items; several are concurrent writes.
    pub items: Vec<ItemInspection>,
}

/// One live item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemInspection {
    /// The replica that wrote it, in hex.
    pub replica: String,
    /// The number of the event there.
    pub seq: u64,
    /// When it was written: milliseconds since 1970 by the writer's hybrid clock.
    pub written_ms: u64,
    /// When it expires, in milliseconds since 1970; 0 means never.
    pub expires_ms: u64,
    /// The value.
    pub payload: Shown,
}

/// Bytes for people: as text if they encode a string, as JSON if another [`crate::Value`], else in hex.
///
/// A guess, because cells do not tell their Rust type: other values may happen to be a string's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The string that the bytes encode, or the JSON of the value.
    Text(String),
    /// The bytes, in hex.
    Hex(String),
}

impl Shown {
    /// How `bytes`, an encoded value, are shown.
    pub fn of(bytes: &[u8]) -> Self {
        match Stored::of(bytes) {
            Stored::Value(value) => Self::Text(Stored::Value(value).to_string()),
            Stored::Raw(bytes) => Self::Hex(hex(&bytes)),
        }
    }
}

impl fmt::Display for Shown {
    /// Control characters are escaped: the text may come from anyone in the cluster.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.chars().try_for_each(|c| match c.is_control() {
                true => write!(f, "{}", c.escape_default()),
                false => write!(f, "{c}"),
            }),
            Self::Hex(hex) => write!(f, "0x{hex}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_shown_as_text_and_other_bytes_in_hex() {
        let bytes = postcard::to_stdvec("tea").expect("text has bytes");
        assert_eq!(Shown::of(&bytes), Shown::Text("tea".to_owned()));
        assert_eq!(Shown::of(&[3, 0x84, 0xac, 2]), Shown::Text("300".to_owned()));
        assert_eq!(Shown::of(&[3, 0xff, 0, 1]), Shown::Hex("03ff0001".to_owned()));
        assert_eq!(Shown::of(&[9, 1]), Shown::Hex("0901".to_owned()), "a length that lies is no text");
    }

    #[test]
    fn control_characters_of_others_do_not_reach_a_terminal() {
        assert_eq!(Shown::Text("a\u{1b}[2J\nb".to_owned()).to_string(), "a\\u{1b}[2J\\nb");
    }
}
