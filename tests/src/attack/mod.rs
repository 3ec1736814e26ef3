//! Hostile peers: what a holder of a valid certificate, or a stranger, can do to a node over its own QUIC client.
//!
//! In flow a script, credentials and the address of a node; out flow [`Counts`] of what was tried. Nothing here uses the
//! engine's transport, so nothing here keeps its rules. `client` makes links, `members` are the scripts of a member,
//! `strangers` those that need no certificate. The binary `attacker` runs them, and measures what they cost.

mod client;
mod members;
mod strangers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use self::client::Credentials;

/// Scripts by name, with what each does.
pub const SCRIPTS: &[(&str, &str)] = &[
    ("garbage", "random bytes where frames are expected"),
    ("huge-length", "announces a frame of 4 GiB, again and again"),
    ("oversize", "announces a frame of one byte too many and sends it"),
    ("slow-loris", "sends a frame at one byte a second"),
    ("stalled-frame", "begins the longest frame, sends half of it and stops"),
    ("reads-nothing", "asks for the state and reads no answer"),
    ("streams", "opens streams as fast as it may and fills each"),
    ("hello-flood", "greets as fast as it can and wants each answered"),
    ("root-flood", "tells roots that differ as fast as it can"),
    ("pull-flood", "asks for the whole state as fast as it can and reads it"),
    ("survey-flood", "asks what a repair would move as fast as it can"),
    ("malformed", "valid frames with flipped bits: contexts, dots, counts"),
    ("foreign", "valid frames for namespaces and lives that nobody has"),
    ("replay", "sends every frame that it gets back, again and again"),
    ("reconnect", "links and leaves as fast as it can"),
    ("silent", "shakes hands and says nothing, as often as it may"),
    ("datagrams", "datagrams as fast as it can, which nobody reads"),
    ("clock-lies", "greets and tells roots with clocks that are years off"),
    ("half-open", "no certificate: begins handshakes and never goes on"),
    ("initial-flood", "no certificate: first packets as fast as the socket takes them"),
    ("no-certificate", "no certificate: whole handshakes as fast as it can"),
];

/// What was tried, and how the other side took it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections begun.
    pub connections: AtomicU64,
    /// Links that the node admitted.
    pub links: AtomicU64,
    /// Frames, streams or packets sent, whatever the script sends.
    pub sent: AtomicU64,
    reasons: Mutex<BTreeMap<String, u64>>,
}

/// Reasons that are counted apart.
const REASONS_MAX: usize = 8;

impl Counts {
    fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, reason: &str) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let reason: String = reason.chars().take(120).collect();
        if reasons.len() < REASONS_MAX || reasons.contains_key(&reason) {
            *reasons.entry(reason).or_default() += 1;
        }
    }

    /// What the node said when it closed links, and how often.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs one script for each of `members` against `target` for `time`. False if there is no such script.
///
/// # Panics
/// If this machine has no sockets or randomness left for an attacker.
pub async fn attack(
    script: &str,
    members: Vec<Credentials>,
    target: SocketAddr,
    time: Duration,
    counts: Arc<Counts>,
) -> bool {
    if !SCRIPTS.iter().any(|(name, _)| *name == script) {
        return false;
    }
    let until = tokio::time::Instant::now() + time;
    let mut attackers = tokio::task::JoinSet::new();
    for me in members {
        let (script, counts) = (script.to_owned(), Arc::clone(&counts));
        attackers.spawn(async move {
            let stranger = async {
                match script.as_str() {
                    "half-open" => {
                        strangers::half_open(target, &counts, Some(Duration::from_millis(2))).await
                    }
                    "initial-flood" => strangers::half_open(target, &counts, None).await,
                    "no-certificate" => strangers::without_certificate(target, &counts).await,
                    _ => members::run(&script, client::Attacker::new(me, target, Arc::clone(&counts))).await,
                }
            };
            let _ = tokio::time::timeout_at(until, stranger).await;
        });
    }
    while let Some(ended) = attackers.join_next().await {
        ended.expect("an attacker that panics attacks nobody");
    }
    true
}
