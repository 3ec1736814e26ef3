//! Whom the transport believes now: its own certificate, the CAs, and who is revoked. All three change while it runs.
//!
//! In flow a renewed [`Identity`] or a new list, out flow the two TLS configurations and the links that have to go. A
//! handshake that began under the old trust is looked at again when its link is admitted, so nobody slips through
//! between the two.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use quinn::{ClientConfig, Endpoint};
use rustls_pki_types::CertificateDer;
use sync_core::id::NodeId;

use super::endpoint::Tls;
use super::refusal::{Close, Refusal, told};
use super::table::{Link, Shared};
use super::{ReloadError, Transport};
use crate::certs::{InForce, Revoked, in_force};
use crate::identity::Identity;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Trust {
    now: RwLock<Now>,
    revoked: InForce,
}

#[derive(Debug)]
struct Now {
    identity: Identity,
    tls: Tls,
}

impl Trust {
    pub(super) fn new(identity: Identity, tls: Tls) -> Self {
        Self { revoked: Arc::clone(&tls.revoked), now: RwLock::new(Now { identity, tls }) }
    }

    fn read<T>(&self, read: impl FnOnce(&Now) -> T) -> T {
        // It is replaced whole.
        read(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How to dial.
    pub(super) fn client(&self) -> ClientConfig {
        self.read(|now| now.tls.client.clone())
    }

    /// When the validity of this node's own certificate ends.
    pub(super) fn own_ends(&self) -> SystemTime {
        self.read(|now| now.identity.not_after())
    }

    /// True if the node is accepted no more, whatever certificate it shows.
    pub(super) fn is_revoked(&self, node: &NodeId) -> bool {
        in_force(&self.revoked).has_node(node)
    }

    /// Why a peer's certificate is not accepted, or no more.
    pub(super) fn refuses(&self, leaf: &CertificateDer<'_>) -> Option<Refusal> {
        let verifier = self.read(|now| Arc::clone(&now.tls.verifier));
        let why = verifier.look_again(leaf).err()?;
        let close = if why.contains("revoked") { Close::Revoked } else { Close::Untrusted };
        Some(Refusal::new(close, told(&format!("the certificate of the other node is not accepted: {why}"))))
    }

    /// Takes over a renewed identity for all handshakes from now on.
    fn renew(&self, identity: Identity, endpoint: &Endpoint) -> Result<(), ReloadError> {
        let tls = self
            .read(|now| now.tls.renewed(&identity))
            .map_err(|error| ReloadError::Unusable(error.to_string()))?;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        endpoint.set_server_config(Some(tls.server.clone()));
        *now = Now { identity, tls };
        Ok(())
    }
}

impl Shared {
    /// Closes the links whose peers are not accepted any more; how many.
    fn cut_untrusted(&self) -> usize {
        let links: Vec<Arc<Link>> =
            self.lock().peers.values().filter_map(|entry| entry.current.clone()).collect();
        let mut cut = 0;
        for link in links {
            if let Some(refusal) = self.trust.refuses(&link.proven.leaf) {
                tracing::warn!(
                    peer = %link.proven.peer.short(),
                    name = link.proven.name,
                    reason = refusal.reason,
                    "closing a link"
                );
                link.cut(refusal);
                cut += 1;
            }
        }
        self.wake_dials();
        cut
    }
}

impl Transport {
    /// The identity in force.
    pub(crate) fn identity(&self) -> Identity {
        self.shared.trust.read(|now| now.identity.clone())
    }

    /// Shows `identity` to peers, and accepts what its CAs vouch for, from now on. Links stay, but for those whose
    /// certificate the new CAs do not vouch for; how many were closed.
    ///
    /// # Errors
    /// [`ReloadError`]: all is as before.
    pub(crate) fn reload(&self, identity: Identity) -> Result<usize, ReloadError> {
        let (own, new) = (self.shared.own, identity.node_id());
        if own != new {
            return Err(ReloadError::OtherNode { own, new });
        }
        self.shared.trust.renew(identity, &self.endpoint)?;
        Ok(self.shared.cut_untrusted())
    }

    /// Replaces the list of the revoked: closes the links to those on it, and lets none of them in. How many links
    /// were closed.
    pub(crate) fn set_revoked(&self, revoked: Revoked) -> usize {
        *self.shared.trust.revoked.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(revoked);
        self.shared.cut_untrusted()
    }

    /// The list in force.
    pub(crate) fn revoked(&self) -> Arc<Revoked> {
        in_force(&self.shared.trust.revoked)
    }
}
