//! A QUIC client that keeps no rule: any window, any stream, any byte.
//!
//! It speaks either layout of streams: one stream for everything (`sync/1`), or one for each class (`sync/2`), each with
//! its head, `Hello` on the urgent one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt, WriteError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sync_core::class::Class;
use sync_core::dictionary::{Dictionary, Route, Versions};
use sync_core::id::{NamespaceId, NodeId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::{Dialect, Frame, Hello, Namespaces, NamespacesDigest};
use sync_core::time::WallMillis;
use sync_net::Identity;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Alpn, Counts};

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
    alpn: Alpn,
    pub(super) counts: Arc<Counts>,
}

/// A pause after an attempt came to nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// How long it waits for an answer.
const ANSWER: Duration = Duration::from_secs(6);

/// Frames read ahead of a script, on all streams of the node.
const FRAMES_AHEAD: usize = 64;

/// An endpoint that shows `certificate`, trusts everybody and speaks `alpn` alone.
pub(super) fn endpoint(
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    alpn: Alpn,
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
    config.alpn_protocols = vec![alpn.name().as_bytes().to_vec()];
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
    pub(super) fn new(me: Credentials, target: SocketAddr, alpn: Alpn, counts: Arc<Counts>) -> Self {
        let endpoint = endpoint(Some((me.chain.clone(), me.key.clone_key())), alpn);
        Self { endpoint, me, target, alpn, counts }
    }

    pub(super) fn alpn(&self) -> Alpn {
        self.alpn
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
                    return Link {
                        connection,
                        send,
                        recv: Some(recv),
                        urgent: None,
                        alpn: self.alpn,
                        others: Vec::new(),
                        frames: None,
                        counts: Arc::clone(&self.counts),
                    };
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
        send.write_all(&[self.alpn.head(Class::Urgent), &life].concat()).await.ok()?;
        let recv = tokio::time::timeout(ANSWER, connection.accept_uni()).await.ok()?;
        let mut recv = recv.ok()?;
        let mut theirs = [0; 18];
        let theirs = &mut theirs[..self.alpn.head(Class::Urgent).len() + life.len()];
        recv.read_exact(theirs).await.ok()?;
        Some((send, recv))
    }
}

/// An admitted link.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Where frames go: the only stream, or the urgent one until [`Self::greet`], and then the normal one.
    pub(super) send: SendStream,
    /// The node's first stream, until it is listened to.
    recv: Option<RecvStream>,
    /// The urgent stream, once `send` is another.
    urgent: Option<SendStream>,
    alpn: Alpn,
    /// What the node exchanges besides the default namespace, by its `Hello`.
    pub(super) others: Vec<NamespaceId>,
    frames: Option<Frames>,
    pub(super) counts: Arc<Counts>,
}

/// The node's frames, of whatever stream. Dropping it stops the reading.
pub(super) struct Frames {
    came: mpsc::Receiver<Vec<u8>>,
    _reading: JoinSet<()>,
}

impl Frames {
    /// The next one; `None` once the link is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        self.came.recv().await
    }
}

impl Link {
    /// Sends bytes as they are; false once the link is gone.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        let done = self.send.write_all(bytes).await;
        self.wrote(done).await
    }

    /// Sends bytes on the stream on which `Hello` goes; false once the link is gone.
    pub(super) async fn write_urgent(&mut self, bytes: &[u8]) -> bool {
        let done = self.urgent.as_mut().unwrap_or(&mut self.send).write_all(bytes).await;
        self.wrote(done).await
    }

    async fn wrote(&self, done: Result<(), WriteError>) -> bool {
        if done.is_ok() {
            Counts::add(&self.counts.sent);
        } else if let Ok(reason) = tokio::time::timeout(ANSWER, self.connection.closed()).await {
            self.counts.ended(&reason.to_string());
        }
        done.is_ok()
    }

    /// Opens one more stream, with the head of `class` where streams have one.
    pub(super) async fn open(&self, class: Class) -> Option<SendStream> {
        let mut stream = self.connection.open_uni().await.ok()?;
        stream.write_all(self.alpn.head(class)).await.ok()?;
        Some(stream)
    }

    /// A stream for each class, or the only one there is.
    pub(super) async fn into_lanes(self) -> Option<(Connection, Vec<SendStream>)> {
        let bulk = if self.alpn == Alpn::Sync2 { Some(self.open(Class::Bulk).await?) } else { None };
        Some((self.connection, self.urgent.into_iter().chain([self.send]).chain(bulk).collect()))
    }

    /// The next frame of the node. From here on all that it sends is read.
    pub(super) async fn read(&mut self) -> Option<Vec<u8>> {
        if self.frames.is_none() {
            self.frames = self.listen();
        }
        self.frames.as_mut()?.next().await
    }

    /// Reads all streams of the node from here on; `None` if somebody does.
    pub(super) fn listen(&mut self) -> Option<Frames> {
        if let Some(frames) = self.frames.take() {
            return Some(frames);
        }
        let first = self.recv.take()?;
        let (put, came) = mpsc::channel(FRAMES_AHEAD);
        let mut reading = JoinSet::new();
        reading.spawn(frames_of(first, put.clone()));
        if self.alpn == Alpn::Sync2 {
            let connection = self.connection.clone();
            reading.spawn(async move {
                let mut streams = JoinSet::new();
                while let Ok(mut stream) = connection.accept_uni().await {
                    let put = put.clone();
                    streams.spawn(async move {
                        if stream.read_exact(&mut [0; 2]).await.is_ok() {
                            frames_of(stream, put).await;
                        }
                    });
                }
            });
        }
        Some(Frames { came, _reading: reading })
    }

    /// Reads the node's greeting and answers it: the route on which it takes frames from us. Only its first stream is
    /// read, so that what it sends on others stays where it is.
    pub(super) async fn greet(&mut self, me: &Credentials, clock: WallMillis) -> Option<Route> {
        let limits = Limits::default();
        loop {
            let bytes = frame_of(self.recv.as_mut()?).await?;
            let frame = Frame::decode(&bytes, &Dictionary::default(), &limits).ok()?;
            let Frame::Hello(hello) = frame else { continue };
            self.others = hello.namespaces.open.iter().copied().collect();
            let from = ReplicaId(rand::random());
            let own = self.hello(me, from, clock);
            if !self.write_urgent(&framed(&own.encode(&Dialect::default()))).await {
                return None;
            }
            if self.alpn == Alpn::Sync2 {
                let normal = self.open(Class::Normal).await?;
                self.urgent = Some(std::mem::replace(&mut self.send, normal));
            }
            let namespace = NamespaceId::named(sync_core::node::DEFAULT_NAMESPACE);
            return Some(Route { namespace, from, to: hello.incarnation, known: 0 });
        }
    }

    /// A greeting that claims to exchange all that the node exchanges.
    pub(super) fn hello(&self, me: &Credentials, incarnation: ReplicaId, clock: WallMillis) -> Frame {
        let open = self.others.iter().copied().collect();
        hello_with(me, incarnation, clock, Namespaces { open, ..Namespaces::default() })
    }

    /// `route` in each namespace that the node exchanges.
    pub(super) fn routes(&self, route: Route) -> Vec<Route> {
        let others = self.others.iter().map(|namespace| Route { namespace: *namespace, ..route });
        std::iter::once(route).chain(others).collect()
    }
}

/// The next frame of a stream. Not cancel safe.
async fn frame_of(stream: &mut RecvStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.ok()?;
    let len = usize::try_from(u32::from_le_bytes(header)).ok()?;
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn frames_of(mut stream: RecvStream, put: mpsc::Sender<Vec<u8>>) {
    while let Some(bytes) = frame_of(&mut stream).await {
        if put.send(bytes).await.is_err() {
            return;
        }
    }
}

pub(super) fn hello_with(
    me: &Credentials,
    incarnation: ReplicaId,
    clock: WallMillis,
    namespaces: Namespaces,
) -> Frame {
    Frame::Hello(Hello {
        features: 0,
        versions: Versions::default(),
        cluster: "default".to_owned(),
        node: me.node(),
        incarnation,
        clock,
        wants_reply: true,
        namespaces,
        trace: None,
        heard: NamespacesDigest::default(),
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
