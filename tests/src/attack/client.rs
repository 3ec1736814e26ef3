//! A QUIC client that keeps no rule: any window, any stream, any byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sync_core::dictionary::{Dictionary, Route, Versions};
use sync_core::id::{NamespaceId, NodeId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::{Dialect, Frame, Hello, Namespaces};
use sync_core::time::WallMillis;
use sync_net::Identity;

use super::Counts;

/// The certificate and key of a member.
#[derive(Debug)]
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    node: NodeId,
}

impl Credentials {
    /// Reads them from a node's folder.
    ///
    /// # Errors
    /// In words, if they cannot be read.
    pub fn load(dir: &Path) -> Result<Self, String> {
        let words = |error: &dyn std::fmt::Display| format!("{}: {error}", dir.display());
        let chain = CertificateDer::from_pem_file(dir.join("node.pem")).map_err(|error| words(&error))?;
        let key = PrivateKeyDer::from_pem_file(dir.join("node.key")).map_err(|error| words(&error))?;
        let node = Identity::load(dir).map_err(|error| words(&error))?.node_id();
        Ok(Self { chain: vec![chain], key, node })
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }
}

/// One attacker: a socket, an identity, a target.
pub(super) struct Attacker {
    endpoint: Endpoint,
    pub(super) me: Credentials,
    target: SocketAddr,
    pub(super) counts: Arc<Counts>,
}

/// A pause after an attempt came to nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// How long it waits for an answer.
const ANSWER: Duration = Duration::from_secs(6);

/// An endpoint that shows `certificate` and trusts everybody.
pub(super) fn endpoint(
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut config = match certificate {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).expect("the key is of the certificate")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"sync/1".to_vec()];
    config.enable_early_data = true;
    let mut client =
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("it is TLS 1.3")));
    let mut transport = quinn::TransportConfig::default();
    transport.send_window(64 << 20).keep_alive_interval(Some(Duration::from_secs(5)));
    client.transport_config(Arc::new(transport));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut endpoint = Endpoint::client(any).expect("a socket is free");
    endpoint.set_default_client_config(client);
    endpoint
}

impl Attacker {
    pub(super) fn new(me: Credentials, target: SocketAddr, counts: Arc<Counts>) -> Self {
        let endpoint = endpoint(Some((me.chain.clone(), me.key.clone_key())));
        Self { endpoint, me, target, counts }
    }

    /// A connection whose handshake is done here; the node may not have looked yet.
    pub(super) async fn connect(&self) -> Connection {
        loop {
            Counts::add(&self.counts.connections);
            let connecting = self.endpoint.connect(self.target, "node.sync.internal").expect("a target");
            match connecting.await {
                Ok(connection) => return connection,
                Err(error) => {
                    self.counts.ended(&error.to_string());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A link that the node has admitted: its first stream came.
    pub(super) async fn link(&self) -> Link {
        loop {
            let connection = self.connect().await;
            match self.preface(&connection).await {
                Some((send, recv)) => {
                    Counts::add(&self.counts.links);
                    return Link { connection, send, recv, counts: Arc::clone(&self.counts) };
                }
                None => {
                    let reason = connection.close_reason().map_or_else(String::new, |why| why.to_string());
                    self.counts.ended(&reason);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn preface(&self, connection: &Connection) -> Option<(SendStream, RecvStream)> {
        let mut send = connection.open_uni().await.ok()?;
        let life: [u8; 16] = rand::random();
        send.write_all(&life).await.ok()?;
        let recv = tokio::time::timeout(ANSWER, connection.accept_uni()).await.ok()?;
        let mut recv = recv.ok()?;
        recv.read_exact(&mut [0; 16]).await.ok()?;
        Some((send, recv))
    }
}

/// An admitted link.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    pub(super) counts: Arc<Counts>,
}

impl Link {
    /// Sends bytes as they are; false once the link is gone.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        let done = self.send.write_all(bytes).await.is_ok();
        if done {
            Counts::add(&self.counts.sent);
        } else if let Ok(reason) = tokio::time::timeout(ANSWER, self.connection.closed()).await {
            self.counts.ended(&reason.to_string());
        }
        done
    }

    /// The next frame of the node.
    pub(super) async fn read(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        self.recv.read_exact(&mut header).await.ok()?;
        let len = usize::try_from(u32::from_le_bytes(header)).ok()?;
        let mut bytes = vec![0; len];
        self.recv.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }

    /// Reads the node's greeting and answers it: the route on which it takes frames from us.
    pub(super) async fn greet(&mut self, me: &Credentials, clock: WallMillis) -> Option<Route> {
        let limits = Limits::default();
        loop {
            let frame = Frame::decode(&self.read().await?, &Dictionary::default(), &limits).ok()?;
            let Frame::Hello(hello) = frame else { continue };
            let from = ReplicaId(rand::random());
            let own = hello_of(me, from, clock);
            if !self.write(&framed(&own.encode(&Dialect::default()))).await {
                return None;
            }
            let namespace = NamespaceId::named(sync_core::node::DEFAULT_NAMESPACE);
            return Some(Route { namespace, from, to: hello.incarnation, known: 0 });
        }
    }
}

pub(super) fn hello_of(me: &Credentials, incarnation: ReplicaId, clock: WallMillis) -> Frame {
    Frame::Hello(Hello {
        features: 0,
        versions: Versions::default(),
        cluster: "default".to_owned(),
        node: me.node(),
        incarnation,
        clock,
        wants_reply: true,
        namespaces: Namespaces::default(),
        trace: None,
        heard: Default::default(),
    })
}

/// A frame as it stands in a stream.
pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).expect("our frames are short");
    [&len.to_le_bytes(), frame].concat()
}

/// What a close of ours says.
pub(super) const BYE: VarInt = VarInt::from_u32(0);

#[derive(Debug)]
struct AnyServer(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
