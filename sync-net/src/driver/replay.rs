//! After a damaged disk: what this node wrote and nobody else has is written again, as new events.
//!
//! Whether anybody has it shows once this node has been level with its peers: what they know is known here then. It
//! waits for every configured peer, and after a time goes by those that are there: an item that an absent peer knows
//! to be removed may come back then. We rather bring one back than lose one, and say so.

use std::time::{Duration, Instant};

use sync_core::node::Salvaged;

use super::Driver;

/// How long the peers that do not come are waited for, once one has.
const ABSENT_WAIT: Duration = Duration::from_secs(60);

/// Items that wait for the peers' word.
pub(super) struct Replay {
    salvaged: Vec<Salvaged>,
    /// Since when a peer has been level with this node.
    since: Option<Instant>,
    written: usize,
}

impl Replay {
    /// Nothing to do if nothing was salvaged.
    pub(super) fn of(salvaged: Vec<Salvaged>) -> Option<Self> {
        (!salvaged.is_empty()).then_some(Self { salvaged, since: None, written: 0 })
    }
}

impl Driver {
    /// Writes the next group, if the peers that could have it have been heard.
    pub(super) fn replay(&mut self) {
        let Some(mut replay) = self.replay.take() else { return };
        if !self.peers_are_level(&mut replay) {
            self.replay = Some(replay);
            return;
        }
        let mut core = self.shared.core();
        let done = core.replay(self.shared.clock.now(), &replay.salvaged);
        drop(core);
        let node = self.shared.name.as_str();
        match done {
            Ok((done, written)) => {
                replay.salvaged.drain(..done.min(replay.salvaged.len()));
                replay.written += written.len();
                self.shared.work.notify_one();
            }
            Err(error) => {
                tracing::error!(node, %error, left = replay.salvaged.len(), "salvaged items are not written again");
                return;
            }
        }
        if replay.salvaged.is_empty() {
            let text = "of the damaged store, these items were this node's own and no peer had them: \
                        they were written again";
            tracing::warn!(node, items = replay.written, "{text}");
        } else {
            self.replay = Some(replay);
        }
    }

    fn peers_are_level(&self, replay: &mut Replay) -> bool {
        let peers = self.shared.core().peers(self.shared.namespace);
        let level =
            |id| peers.iter().any(|peer| peer.node == id && peer.connected && peer.roots_equal == Some(true));
        let configured = self.transport.links().into_iter().filter(|link| link.configured);
        let (here, away): (Vec<_>, Vec<_>) = configured.partition(|link| link.id.is_some_and(level));
        if here.is_empty() {
            replay.since = None;
            return false;
        }
        let since = *replay.since.get_or_insert_with(Instant::now);
        away.is_empty() || since.elapsed() >= ABSENT_WAIT
    }
}
