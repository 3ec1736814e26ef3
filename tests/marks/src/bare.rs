//! The reference without an engine: a map, postcard, one quinn stream with mutual TLS, a map.
//!
//! It merges nothing, digests nothing, and forgets what it sent. Quinn with its defaults; certificates as
//! ours: Ed25519, one CA, both sides verified.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;

use crate::data::{Key, Value};

const NAME: &str = "marks.test";

/// A frame's length goes first, in this many bytes.
const LENGTH: usize = 4;

/// Longest frame that is read.
const FRAME_MAX: usize = 1 << 20;

/// Two identities of one CA.
pub struct Trust {
    roots: Arc<rustls::RootCertStore>,
    leaves: [(CertificateDer<'static>, Vec<u8>); 2],
}

impl Trust {
    /// New keys and certificates.
    pub fn new() -> Self {
        let key = || KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let ca_key = key();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = params.self_signed(&ca_key).expect("a certificate");
        let issuer = Issuer::new(params, ca_key);
        let leaves = [(), ()].map(|()| {
            let key = key();
            let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
            let leaf = params.signed_by(&key, &issuer).expect("a certificate");
            (leaf.der().clone(), key.serialize_der())
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).expect("our own certificate");
        Self { roots: Arc::new(roots), leaves }
    }

    fn leaf(&self, index: usize) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let (certificate, key) = &self.leaves[index];
        (vec![certificate.clone()], PrivatePkcs8KeyDer::from(key.clone()).into())
    }

    /// A listening endpoint and its address. Inside a runtime.
    pub fn listen(&self) -> (Endpoint, SocketAddr) {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider());
        let (chain, key) = self.leaf(0);
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(verifier.build().expect("a root"))
            .with_single_cert(chain, key)
            .expect("a leaf");
        let crypto = QuicServerConfig::try_from(config).expect("TLS 1.3");
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, loopback()).expect("a free port");
        let addr = endpoint.local_addr().expect("it is bound");
        (endpoint, addr)
    }

    /// Connects to `addr`.
    pub async fn connect(&self, addr: SocketAddr) -> (Endpoint, Connection) {
        let (chain, key) = self.leaf(1);
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(chain, key)
            .expect("a leaf");
        let crypto = QuicClientConfig::try_from(config).expect("TLS 1.3");
        let endpoint = Endpoint::client(loopback()).expect("a free port");
        let connecting =
            endpoint.connect_with(ClientConfig::new(Arc::new(crypto)), addr, NAME).expect("an address");
        let connection = connecting.await.expect("it listens");
        (endpoint, connection)
    }
}

/// The connection that comes in.
pub async fn accept(endpoint: &Endpoint) -> Connection {
    endpoint.accept().await.expect("the endpoint is open").await.expect("one CA")
}

/// Appends a frame of `entries` to `out`.
pub fn encode(entries: &[(Key, Value)], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; LENGTH]);
    *out = postcard::to_extend(entries, std::mem::take(out)).expect("entries have bytes");
    let len = u32::try_from(out.len() - at - LENGTH).expect("a short frame");
    out[at..at + LENGTH].copy_from_slice(&len.to_le_bytes());
}

/// Writes one entry.
pub async fn send(stream: &mut SendStream, entry: (Key, Value)) {
    let mut bytes = Vec::with_capacity(64);
    encode(&[entry], &mut bytes);
    stream.write_all(&bytes).await.expect("the peer reads");
}

/// Reads one frame; none at the end of the stream.
pub async fn receive(stream: &mut RecvStream) -> Option<Vec<(Key, Value)>> {
    let mut length = [0; LENGTH];
    stream.read_exact(&mut length).await.ok()?;
    let len = u32::from_le_bytes(length) as usize;
    assert!(len <= FRAME_MAX, "frames are short");
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(postcard::from_bytes(&bytes).expect("entries"))
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
