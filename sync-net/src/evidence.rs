//! What peers did against the protocol, kept for people: a few entries a peer, and few in all.
//!
//! In flow what the driver hands to the breakers, with the first bytes of the frame where there is one; out flow rows
//! for `peers`. The breaker decides what follows; this only remembers why.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sync_core::breaker::Failure;
use sync_core::id::NodeId;

/// Entries kept of one peer. The oldest goes.
const PER_PEER_MAX: usize = 4;

/// Entries kept in all. The oldest goes, whoever it is of.
const ENTRIES_MAX: usize = 128;

/// Bytes of a frame that are shown.
const HEAD_BYTES: usize = 32;

/// One thing that a peer did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When last, in milliseconds since 1970 by this machine's clock.
    pub at_ms: u64,
    /// `protocol violation` or `oversize`.
    pub kind: String,
    /// What was wrong, with its numbers.
    pub reason: String,
    /// The first bytes of the frame, in hex; `None` if no frame was read.
    #[serde(default)]
    pub bytes: Option<String>,
    /// How often the same came, one after the other.
    pub times: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct EvidenceLog(Mutex<VecDeque<(NodeId, Evidence)>>);

impl EvidenceLog {
    /// Notes that `peer` did something against the protocol, and gives the entry; `None` of what is no breach.
    pub(crate) fn note(
        &self,
        at_ms: u64,
        peer: NodeId,
        failure: Failure,
        reason: &str,
        frame: Option<&[u8]>,
    ) -> Option<Evidence> {
        if !failure.is_breach() {
            return None;
        }
        let hex = |bytes: &[u8]| {
            bytes.iter().take(HEAD_BYTES).map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let kind = failure.name().to_owned();
        let fresh = Evidence { at_ms, kind, reason: reason.to_owned(), bytes: frame.map(hex), times: 1 };
        let mut log = self.lock();
        let last = log.iter_mut().rev().find(|(of, _)| *of == peer).map(|(_, evidence)| evidence);
        if let Some(last) = last.filter(|last| last.reason == fresh.reason) {
            *last = Evidence { times: last.times.saturating_add(1), ..fresh };
            return Some(last.clone());
        }
        let of_peer = log.iter().filter(|(of, _)| *of == peer).count();
        let goes = if of_peer >= PER_PEER_MAX {
            log.iter().position(|(of, _)| *of == peer)
        } else {
            (log.len() >= ENTRIES_MAX).then_some(0)
        };
        if let Some(at) = goes {
            log.remove(at);
        }
        log.push_back((peer, fresh.clone()));
        Some(fresh)
    }

    /// What is kept of `peer`, the newest last.
    pub(crate) fn of(&self, peer: NodeId) -> Vec<Evidence> {
        self.lock().iter().filter(|(of, _)| *of == peer).map(|(_, evidence)| evidence.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(NodeId, Evidence)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_entries_of_each_peer_are_kept_and_few_in_all() {
        let log = EvidenceLog::default();
        let peer = |n: u8| NodeId([n; 32]);
        for n in 0..10u8 {
            for _ in 0..3 {
                log.note(u64::from(n), peer(1), Failure::Violation, &format!("reason {n}"), Some(&[n; 100]));
            }
        }
        assert_eq!(log.note(0, peer(1), Failure::TimedOut, "away", None), None);
        let kept = log.of(peer(1));
        let reasons: Vec<&str> = kept.iter().map(|evidence| &*evidence.reason).collect();
        assert_eq!(reasons, ["reason 6", "reason 7", "reason 8", "reason 9"]);
        assert_eq!((kept[3].times, kept[3].bytes.clone()), (3, Some("09".repeat(HEAD_BYTES))));
        for n in 0..200u8 {
            log.note(0, peer(n), Failure::Oversize, "long", None);
        }
        assert_eq!(log.lock().len(), ENTRIES_MAX);
        assert_eq!(log.of(peer(199))[0].kind, "oversize");
    }
}
