//! The two TLS configurations: mutual, TLS 1.3, the cluster's CAs, nothing resumed.
//!
//! Built by hand and not by quinn's short cuts, which allow 0-RTT. Resumption would let a peer in again
//! without its certificate being looked at, so a revoked or expired one would stay (DESIGN section 6): no
//! tickets are sent, no session is stored, and the client keeps none.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;

use super::TransportError;
use super::streams::PROTOCOLS;
use crate::certs::Verifier;
use crate::identity::{Identity, provider};

/// How we answer.
pub(super) fn server(
    identity: &Identity,
    verifier: Arc<Verifier>,
) -> Result<QuicServerConfig, TransportError> {
    QuicServerConfig::try_from(rustls_server(identity, verifier)?).map_err(failed)
}

/// How we call.
pub(super) fn client(
    identity: &Identity,
    verifier: Arc<Verifier>,
) -> Result<QuicClientConfig, TransportError> {
    QuicClientConfig::try_from(rustls_client(identity, verifier)?).map_err(failed)
}

fn rustls_server(
    identity: &Identity,
    verifier: Arc<Verifier>,
) -> Result<rustls::ServerConfig, TransportError> {
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
    Ok(config)
}

fn rustls_client(
    identity: &Identity,
    verifier: Arc<Verifier>,
) -> Result<rustls::ClientConfig, TransportError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        // Dangerous is what a custom verifier may leave out; ours is webpki's and more.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.chain(), identity.key().map_err(failed)?)
        .map_err(failed)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn failed(error: impl std::fmt::Display) -> TransportError {
    TransportError::Tls(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::ClusterCa;

    #[test]
    fn nothing_is_resumed_and_no_data_comes_early_by_the_settings() {
        let identity = ClusterCa::create("shop").unwrap().issue("a").unwrap();
        let verifier = Verifier::new(identity.roots().unwrap(), Arc::default()).unwrap();
        let server = rustls_server(&identity, Arc::clone(&verifier)).unwrap();
        assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
        assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
        assert_eq!(server.alpn_protocols, PROTOCOLS);
        let client = rustls_client(&identity, verifier).unwrap();
        assert!(!client.enable_early_data);
        assert!(
            format!("{:?}", client.resumption).contains("Disabled")
                || format!("{:?}", client.resumption).contains("NoClientSessionStorage"),
            "{:?}",
            client.resumption
        );
        let ciphers = provider().signature_verification_algorithms;
        assert_eq!(ciphers.supported_schemes(), [rustls::SignatureScheme::ED25519]);
    }
}
