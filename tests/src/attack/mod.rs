//! Hostile peers: what a holder of a valid certificate, or a stranger, can do to a node over its own QUIC client.
//!
//! In flow a script, credentials and the address of a node; out flow [`Counts`] of what was tried. Nothing here uses the
//! engine's transport, so nothing here keeps its rules. `client` makes links, `members` are the scripts of a member
//! on one stream, `lanes` those that need more than one, or greet, `strangers` those that need no certificate. The binary `attacker` runs them, and measures what they cost.

mod client;
pub mod dense;
mod lanes;
mod members;
mod strangers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sync_core::class::Class;

pub use self::client::Credentials;

/// How frames are spread over streams, by the name under which TLS agrees on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// One stream for all, the first release's.
    Sync1,
    /// One for each class. The newest.
    #[default]
    Sync2,
}

impl Alpn {
    /// As TLS has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync1 => "sync/1",
            Self::Sync2 => "sync/2",
        }
    }

    /// How a stream of `class` begins (docs/protocol.md, Transport). Written by hand: nothing of the engine's transport
    /// is used here.
    fn head(self, class: Class) -> &'static [u8] {
        match (self, class) {
            (Self::Sync1, _) => &[],
            (Self::Sync2, Class::Urgent) => &[2, 0],
            (Self::Sync2, Class::Normal) => &[2, 1],
            (Self::Sync2, Class::Bulk) => &[2, 2],
        }
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Alpn {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = [Self::Sync1, Self::Sync2].into_iter().find(|alpn| alpn.name() == name);
        found.ok_or_else(|| format!("{name:?} is neither sync/1 nor sync/2"))
    }
}

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
    ("namespaces", "greets with as many namespaces as fit, other ones each time, as often as a peer may"),
    ("all-lanes", "frames that stall on the stream of every class at once, then garbage on all of them"),
    ("greeter", "greets as often as a peer may, for ever, and wants each answered"),
    ("changing-incarnation", "a new life in each greeting, as often as a peer may"),
    ("puller", "asks for the whole state as often as a peer may, for ever, and reads it"),
    ("acks", "acknowledges nothing as fast as frames are taken"),
    ("member", "no attack: joins, reads what comes and says nothing more; what any peer costs"),
    ("dense-give", "fragments and items that take as much memory as their bytes can say"),
    ("dense-skeleton", "skeletons of large answers that do, whenever the node asks"),
    ("dense-nodes", "answers of a descent that do"),
    ("half-open", "no certificate: begins handshakes and never goes on"),
    ("initial-flood", "no certificate: first packets as fast as the socket takes them"),
    ("no-certificate", "no certificate: whole handshakes as fast as it can"),
];

/// True for scripts that need no certificate.
pub fn is_stranger(script: &str) -> bool {
    matches!(script, "half-open" | "initial-flood" | "no-certificate")
}

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
    alpn: Alpn,
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
                        strangers::half_open(target, alpn, &counts, Some(Duration::from_millis(2))).await
                    }
                    "initial-flood" => strangers::half_open(target, alpn, &counts, None).await,
                    "no-certificate" => strangers::without_certificate(target, alpn, &counts).await,
                    "dense-give" | "dense-skeleton" | "dense-nodes" => {
                        let attacker = client::Attacker::new(me, target, alpn, Arc::clone(&counts));
                        dense::run(&script, &attacker).await;
                    }
                    _ => {
                        let attacker = client::Attacker::new(me, target, alpn, Arc::clone(&counts));
                        members::run(&script, attacker).await;
                    }
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
