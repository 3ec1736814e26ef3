//! Whom to dial, and when: the configured addresses, and what the breakers let through.
//!
//! In flow the operator's list and the gates of the engine's breakers, out flow the moments at which the task of an
//! address dials. It all lies in the table that admits links, so that the two never disagree.

use std::collections::BTreeMap;

use sync_core::id::NodeId;

use super::status::Dial;
use super::table::{Shared, Table};
use super::{Gate, PeerAddr};

/// Which configured address is meant; numbers are never used twice by one transport.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct DialId(pub(super) u64);

/// What came of one more address to dial.
pub(super) enum Added {
    New(DialId),
    Known,
    Full,
}

impl Table {
    pub(super) fn add_dial(&mut self, to: PeerAddr) -> DialId {
        self.dials_made += 1;
        let dial = DialId(self.dials_made);
        self.dials.insert(dial, Dial::new(to));
        dial
    }

    /// True if it is; false if there is no such dial any more; `None` if it is to wait. A permit is used up.
    fn is_worth_dialling(&mut self, dial: DialId, revoked: impl FnOnce(&NodeId) -> bool) -> Option<bool> {
        let Some(dial) = self.dials.get(&dial) else { return Some(false) };
        let Some(id) = dial.id() else { return Some(true) };
        let linked = self.peers.get(&id).is_some_and(|entry| entry.current.is_some());
        if linked || self.blocked.contains(&id) || revoked(&id) {
            return None;
        }
        let worth = match self.gates.get(&id) {
            None => true,
            Some(Gate::Held) => self.permits.remove(&id),
            Some(Gate::Shut | Gate::Removed) => false,
        };
        worth.then_some(true)
    }
}

impl Shared {
    /// Waits until the configured address `dial` is worth dialling: no link to who lives there, not blocked or revoked, and
    /// nothing said against it by its breaker. False once it is configured no more.
    pub(super) async fn worth_dialling(&self, dial: DialId) -> bool {
        self.when_changed(|table| table.is_worth_dialling(dial, |node| self.trust.is_revoked(node))).await
    }

    /// Waits until the configured address `dial` is to be dialled at once, however long ago the last dial is.
    pub(super) async fn permitted(&self, dial: DialId) {
        let permitted = |table: &mut Table| {
            let id = table.dials.get(&dial)?.id()?;
            table.permits.contains(&id).then_some(())
        };
        self.when_changed(permitted).await;
    }

    /// Waits until `look` finds something in the table.
    async fn when_changed<T>(&self, look: impl Fn(&mut Table) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let found = look(&mut self.lock());
            if let Some(found) = found {
                return found;
            }
            // The sender is in `self`.
            let _ = changed.changed().await;
        }
    }

    /// Replaces what the breakers say.
    pub(super) fn set_gates(&self, gates: BTreeMap<NodeId, Gate>) {
        let mut table = self.lock();
        table.permits.retain(|peer| gates.get(peer) == Some(&Gate::Held));
        table.gates = gates;
        drop(table);
        self.wake_dials();
    }

    /// Lets a held peer be dialled once.
    pub(super) fn permit(&self, peer: NodeId) {
        self.lock().permits.insert(peer);
        self.wake_dials();
    }

    /// The configured addresses.
    pub(super) fn dial_ids(&self) -> Vec<DialId> {
        self.lock().dials.keys().copied().collect()
    }

    /// Configures one more address.
    pub(super) fn add_dial(&self, to: PeerAddr) -> Added {
        let mut table = self.lock();
        if table.dials.values().any(|dial| dial.to().addr == to.addr) {
            Added::Known
        } else if table.dials.len() >= table.bounds.peers_max {
            Added::Full
        } else {
            Added::New(table.add_dial(to))
        }
    }

    /// Takes an address off the list; false if it was not on it.
    pub(super) fn remove_dial(&self, addr: &str) -> bool {
        let mut table = self.lock();
        let Some(dial) = table.dials.iter().find(|(_, dial)| dial.to().addr == addr).map(|(id, _)| *id)
        else {
            return false;
        };
        let found = table.dials.remove(&dial).and_then(|dial| dial.id());
        if let Some(found) = found {
            table.formerly.insert(addr.to_owned(), found);
            if table.formerly.len() > table.bounds.peers_max {
                table.formerly.pop_first();
            }
        }
        drop(table);
        self.wake_dials();
        true
    }

    /// Who was found at an address that was taken off the list.
    pub(super) fn formerly_at(&self, addr: &str) -> Option<NodeId> {
        self.lock().formerly.get(addr).copied()
    }
}
