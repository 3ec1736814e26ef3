//! The two TLS configurations: mutual, TLS 1.3, one cluster CA, nothing resumed.
//!
//! Built by hand and not by quinn's short cuts, which allow 0-RTT. Resumption would let a peer in again
//! without its certificate being looked at, so a revoked or expired one would stay (DESIGN section 6): no
//! tickets are sent, no session is stored, and the client keeps none.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;

use super::TransportError;
use super::streams::PROTOCOLS;
use crate::identity::{Identity, provider};

/// How we answer.
pub(super) fn server(identity: &Identity) -> Result<QuicServerConfig, TransportError> {
    let roots = identity.roots().map_err(failed)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(failed)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key().map_err(failed)?)
        .map_err(failed)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(failed)
}

/// How we call.
pub(super) fn client(identity: &Identity) -> Result<QuicClientConfig, TransportError> {
    let roots = identity.roots().map_err(failed)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(failed)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(identity.chain(), identity.key().map_err(failed)?)
        .map_err(failed)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> TransportError {
    TransportError::Tls(error.to_string())
}
