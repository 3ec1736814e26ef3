//! Why a link was refused or went down, as a code for the peer and as words for people.
//!
//! In flow quinn's errors and our own decisions, out flow one-line reasons. Text that a peer chose is cut
//! and escaped here, before anyone logs it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError, VarInt};

use super::streams::PROTOCOLS;

/// The application error codes with which we close a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Close {
    /// This node is going away.
    ShuttingDown = 0,
    /// Another link between the two nodes stays.
    Duplicate = 1,
    /// Both ends hold the same key.
    OwnNode = 2,
    /// No room for another peer.
    PeersFull = 3,
    /// An operator has cut the two nodes off from each other.
    Blocked = 4,
    /// The peer broke a rule of the framing.
    Protocol = 5,
    /// The engine above wants the link closed.
    Disconnected = 6,
    /// A certificate's validity has ended.
    Expired = 7,
    /// The address is pinned to another node.
    OtherNode = 8,
    /// A newer process with the same certificate has taken the link over.
    Replaced = 9,
    /// The breaker for the peer is open, or the peer is off the list.
    Shut = 10,
    /// The peer, or its certificate, is on the list of the revoked.
    Revoked = 11,
    /// The peer's certificate is not one that the CAs of now vouch for.
    Untrusted = 12,
    /// The peer has, or has made of late, as many connections as one may.
    TooMany = 13,
}

impl Close {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// A decision of ours against a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) close: Close,
    /// For both sides' logs.
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(close: Close, reason: impl Into<String>) -> Self {
        Self { close, reason: reason.into() }
    }

    /// Closes `connection` with this code and reason.
    pub(super) fn tell(&self, connection: &Connection) {
        connection.close(self.close.code(), self.reason.as_bytes());
    }
}

/// Most characters of a text of the peer that are shown, and of ours that are told.
const REASON_CHARS_MAX: usize = 200;

/// A peer's text, cut and without control characters.
pub(super) fn escaped(text: &[u8]) -> String {
    let text = &text[..text.len().min(4 * REASON_CHARS_MAX)];
    String::from_utf8_lossy(text).chars().take(REASON_CHARS_MAX).flat_map(char::escape_debug).collect()
}

/// TLS alerts that people meet, as RFC 8446 section 6 numbers them. In QUIC they are 0x100 + alert.
mod alert {
    pub(super) const BAD_CERTIFICATE: u64 = 0x100 + 42;
    pub(super) const UNSUPPORTED_CERTIFICATE: u64 = 0x100 + 43;
    pub(super) const CERTIFICATE_REVOKED: u64 = 0x100 + 44;
    pub(super) const CERTIFICATE_EXPIRED: u64 = 0x100 + 45;
    pub(super) const CERTIFICATE_UNKNOWN: u64 = 0x100 + 46;
    pub(super) const UNKNOWN_CA: u64 = 0x100 + 48;
    pub(super) const DECRYPT_ERROR: u64 = 0x100 + 51;
    pub(super) const CERTIFICATE_REQUIRED: u64 = 0x100 + 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
}

/// RFC 9000 section 20.1: the peer's endpoint does not take connections.
const CONNECTION_REFUSED: u64 = 0x2;

/// Why a connection failed or ended, in one line that says whose move it is.
pub(super) fn in_words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(error) => match u64::from(error.code) {
            alert::UNKNOWN_CA => {
                "the peer's certificate is not from our cluster CA; give both nodes certificates of one CA"
                    .into()
            }
            // A certificate that was altered is told of as not usable.
            alert::DECRYPT_ERROR => "the peer does not hold the key of the certificate that it shows".into(),
            alert::CERTIFICATE_EXPIRED if error.reason.contains("not valid yet") => {
                "the peer's certificate is not valid now: its time has not begun; set the clocks".into()
            }
            alert::CERTIFICATE_EXPIRED => {
                "the peer's certificate is not valid now: it has expired; renew it or set the clocks".into()
            }
            alert::CERTIFICATE_REQUIRED => "the peer shows no certificate; it is not a node of ours".into(),
            alert::NO_APPLICATION_PROTOCOL => other_protocol(),
            alert::BAD_CERTIFICATE
            | alert::UNSUPPORTED_CERTIFICATE
            | alert::CERTIFICATE_REVOKED
            | alert::CERTIFICATE_UNKNOWN => {
                format!("the peer's certificate is not usable: {}", unfit(error.reason.as_bytes()))
            }
            _ => format!("QUIC failed: {}", escaped(error.to_string().as_bytes())),
        },
        ConnectionError::ConnectionClosed(frame) => match u64::from(frame.error_code) {
            alert::UNKNOWN_CA | alert::DECRYPT_ERROR => {
                "the peer refused our certificate: it is not from the peer's cluster CA; give both nodes \
                 certificates of one CA"
                    .into()
            }
            alert::CERTIFICATE_EXPIRED => {
                "the peer refused our certificate as not valid now; issue a new one or set the clocks".into()
            }
            alert::CERTIFICATE_REQUIRED
            | alert::BAD_CERTIFICATE
            | alert::UNSUPPORTED_CERTIFICATE
            | alert::CERTIFICATE_REVOKED
            | alert::CERTIFICATE_UNKNOWN => {
                format!("the peer refused our certificate: {}", unfit(&frame.reason))
            }
            alert::NO_APPLICATION_PROTOCOL => other_protocol(),
            CONNECTION_REFUSED => "the peer takes no connections now: it is overloaded or starting".into(),
            _ => format!("the peer's QUIC closed the link: {}", escaped(frame.to_string().as_bytes())),
        },
        ConnectionError::ApplicationClosed(frame) => {
            format!("the peer closed the link: {}", escaped(&frame.reason))
        }
        ConnectionError::Reset => "the peer knows nothing of this link: it has restarted".into(),
        ConnectionError::TimedOut => "no packet came from the peer for the idle time-out".into(),
        ConnectionError::LocallyClosed => "closed by this node".into(),
        ConnectionError::VersionMismatch => "the peer speaks another version of QUIC".into(),
        ConnectionError::CidsExhausted => "QUIC ran out of connection ids".into(),
    }
}

/// What is wrong with a certificate, by the one who looked at it.
fn unfit(reason: &[u8]) -> String {
    crate::certs::unfit_in(&escaped(reason))
}

fn other_protocol() -> String {
    let ours = PROTOCOLS.map(escaped).join(" and ");
    format!("the two nodes have no protocol version in common (ours are {ours}); run one version on both")
}

/// True if the peer closed because another link of ours stays.
pub(super) fn is_duplicate(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(frame) if frame.error_code == Close::Duplicate.code())
}

/// `text` as a reason that fits a close frame.
pub(super) fn told(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

/// Lets one refusal of a kind through in a while: who can reach the port can cause as many as he likes.
#[derive(Debug, Default)]
pub(super) struct RefusalLimit {
    shown: BTreeMap<(IpAddr, String), Instant>,
}

impl RefusalLimit {
    /// The same reason from the same address is shown again after this time.
    const QUIET: Duration = Duration::from_secs(60);
    /// Kinds remembered. When full, and none is old enough to go, a new kind is not shown.
    const KINDS_MAX: usize = 64;

    /// True if this one is to be shown.
    pub(super) fn admits(&mut self, now: Instant, from: IpAddr, reason: &str) -> bool {
        let key = (from, reason.to_owned());
        self.shown.retain(|_, at| now.duration_since(*at) < Self::QUIET);
        if self.shown.len() >= Self::KINDS_MAX || self.shown.contains_key(&key) {
            return false;
        }
        self.shown.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_cannot_forge_a_log_line_or_fill_the_log() {
        let shown = escaped(b"fine\n2026 ERROR forged \x1b[31m\xff");
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert!(escaped(&[b'x'; 100_000]).len() <= REASON_CHARS_MAX);
    }

    #[test]
    fn a_flood_of_refusals_is_shown_in_part() {
        let mut limit = RefusalLimit::default();
        let now = Instant::now();
        let from = |n: u8| IpAddr::from([10, 0, 0, n]);
        assert!(limit.admits(now, from(1), "a"));
        assert!(!limit.admits(now, from(1), "a"));
        assert!(limit.admits(now, from(1), "b") && limit.admits(now, from(2), "a"));
        let shown = (0..=255).filter(|n| limit.admits(now, from(*n), "c")).count();
        assert_eq!(shown, RefusalLimit::KINDS_MAX - 3);
        assert!(limit.admits(now + RefusalLimit::QUIET, from(1), "a"));
    }
}
