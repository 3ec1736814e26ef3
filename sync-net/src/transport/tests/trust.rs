//! Who is let in, who is not, and what both sides are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;
use crate::certs::SERVER_NAME;
use crate::identity::provider;

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_and_both_sides_say_so() {
    // The same label on purpose.
    let ours = ClusterCa::create("shop").unwrap().issue("a").unwrap();
    let theirs = ClusterCa::create("shop").unwrap().issue("b").unwrap();
    let mut a = Side::start(config(&ours, &[])).await;
    let mut b = Side::start(config(&theirs, &[a.transport.local_addr()])).await;
    let (dialler, acceptor) = (b.dial_failed().await, a.refused().await);
    assert!(dialler.contains("the peer's certificate is not from our cluster CA"), "{dialler}");
    assert!(acceptor.contains("refused our certificate: it is not from the peer's cluster CA"), "{acceptor}");
    assert_eq!((a.check_order(b.id), b.check_order(a.id)), (0, 0));
}

/// The dialler accepts any server, so the refusal is the acceptor's alone.
#[tokio::test]
async fn an_acceptor_refuses_a_foreign_certificate_even_if_the_dialler_would_not_mind() {
    let a = ClusterCa::create("shop").unwrap().issue("a").unwrap();
    let foreign = ClusterCa::create("shop").unwrap().issue("b").unwrap();
    let mut a = Side::start(config(&a, &[])).await;
    let stranger = Stranger::new(Some(&foreign), b"sync/1");
    let error = stranger.refusal(a.transport.local_addr()).await;
    let reason = a.refused().await;
    assert!(reason.contains("the peer's certificate is not from our cluster CA"), "{reason}");
    let told = crate::transport::refusal::in_words(&error);
    assert!(told.contains("refused our certificate"), "{told}");
}

#[tokio::test]
async fn a_stranger_without_certificate_or_with_another_protocol_is_refused() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    Stranger::new(None, b"sync/1").refusal(a.transport.local_addr()).await;
    let reason = a.refused().await;
    assert!(reason.contains("no certificate"), "{reason}");
    Stranger::new(Some(&b), b"sync/9").refusal(a.transport.local_addr()).await;
    let reason = a.refused().await;
    assert!(reason.contains("no protocol version in common"), "{reason}");
}

/// With tickets a peer comes back without its certificate being looked at (measured with quinn's
/// defaults): the client here wants them and resumes if it can.
#[tokio::test]
async fn a_second_connection_is_verified_as_the_first_and_has_no_early_data() {
    let (a, b) = two();
    let a = Side::start(config(&a, &[])).await;
    let stranger = Stranger::new(Some(&b), b"sync/1");
    for round in 1..=3 {
        let connecting = stranger.connect(a.transport.local_addr());
        let Err(connecting) = connecting.into_0rtt() else { panic!("0-RTT was possible in round {round}") };
        let connection = connecting.await.unwrap();
        // Room for tickets to arrive, were they sent.
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.close(0u32.into(), b"");
        assert_eq!(stranger.looked.load(Ordering::Relaxed), round, "a handshake without certificates");
    }
}

#[tokio::test]
async fn a_pinned_address_accepts_one_node_only() {
    let ca = ClusterCa::create("shop").unwrap();
    let [a, b, other] = ["a", "b", "c"].map(|name| ca.issue(name).unwrap());
    let mut a = Side::start(config(&a, &[])).await;
    let mut pinned = config(&b, &[a.transport.local_addr()]);
    pinned.peers[0].id = Some(other.node_id());
    let mut wrong = Side::start(pinned).await;
    let reason = wrong.dial_failed().await;
    assert!(reason.contains("pinned") && reason.contains(&a.id.to_string()), "{reason}");
    assert!(a.refused().await.contains("pinned"));
    drop(wrong);
    let mut pinned = config(&b, &[a.transport.local_addr()]);
    pinned.peers[0].id = Some(a.id);
    let mut right = Side::start(pinned).await;
    right.up(a.id).await;
    a.up(right.id).await;
}

#[tokio::test]
async fn a_node_does_not_link_to_itself() {
    let (a, _) = two();
    let addr = free_addr();
    let mut alone = config(&a, &[addr]);
    alone.listen = addr;
    let mut a = Side::start(alone).await;
    let reason = a.dial_failed().await;
    assert!(reason.contains("the address is the node's own"), "{reason}");
    assert_eq!(a.check_order(a.id), 0);
}

#[tokio::test]
async fn one_peer_too_many_is_refused_with_peers_full() {
    let ca = ClusterCa::create("shop").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| ca.issue(name).unwrap());
    let mut small = config(&a, &[]);
    small.bounds.peers_max = 1;
    let mut a = Side::start(small).await;
    let b = Side::start(config(&b, &[a.transport.local_addr()])).await;
    a.up(b.id).await;
    let mut c = Side::start(config(&c, &[a.transport.local_addr()])).await;
    let (dialler, acceptor) = (c.dial_failed().await, a.refused().await);
    assert!(dialler.contains("PeersFull") && acceptor.contains("PeersFull"), "{dialler} / {acceptor}");
    // Room again: it gets in by itself.
    b.transport.shutdown().await;
    a.up(c.id).await;
}

/// A client with settings that a node of ours never has.
pub(super) struct Stranger {
    endpoint: quinn::Endpoint,
    /// How often it was asked to look at a server's certificate.
    pub(super) looked: Arc<AtomicUsize>,
}

impl Stranger {
    pub(super) fn new(identity: Option<&Identity>, alpn: &[u8]) -> Self {
        Self::with(alpn, |builder| match identity {
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain(), identity.key().unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }

    /// One that shows what `resolver` gives.
    pub(super) fn showing(resolver: Arc<dyn rustls::client::ResolvesClientCert>) -> Self {
        Self::with(b"sync/1", |builder| builder.with_client_cert_resolver(resolver))
    }

    fn with(
        alpn: &[u8],
        shows: impl FnOnce(
            rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>,
        ) -> rustls::ClientConfig,
    ) -> Self {
        let looked = Arc::new(AtomicUsize::new(0));
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(Arc::clone(&looked))));
        let mut config = shows(builder);
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_early_data = true;
        let mut endpoint = quinn::Endpoint::client(ANY_PORT).unwrap();
        let config = QuicClientConfig::try_from(config).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
        Self { endpoint, looked }
    }

    pub(super) fn connect(&self, to: SocketAddr) -> quinn::Connecting {
        self.endpoint.connect(to, SERVER_NAME).unwrap()
    }

    /// Connects and returns how it ended.
    pub(super) async fn refusal(&self, to: SocketAddr) -> quinn::ConnectionError {
        match timeout(PATIENCE, self.connect(to)).await.unwrap() {
            Ok(connection) => timeout(PATIENCE, connection.closed()).await.unwrap(),
            Err(error) => error,
        }
    }
}

#[derive(Debug)]
struct AnyServer(Arc<AtomicUsize>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
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
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What was logged at warning level, one text for each line.
#[derive(Clone, Default)]
struct Warnings(Arc<std::sync::Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("sync_net")
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_foreign_certificate_is_one_warning_on_each_side_however_often_it_is_tried() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let ours = ClusterCa::create("shop").unwrap().issue("a").unwrap();
    let theirs = ClusterCa::create("shop").unwrap().issue("b").unwrap();
    let mut a = Side::start(config(&ours, &[])).await;
    let mut b = Side::start(config(&theirs, &[a.transport.local_addr()])).await;
    a.refused().await;
    for _ in 0..3 {
        b.dial_failed().await;
    }
    let lines = warnings.0.lock().unwrap().clone();
    let [dialler, acceptor] = ["cannot link to a peer", "refused an inbound link"].map(|what| {
        let found: Vec<_> = lines.iter().filter(|line| line.contains(what)).collect();
        assert_eq!(found.len(), 1, "{lines:?}");
        found[0].clone()
    });
    assert!(
        dialler.contains(&a.transport.local_addr().to_string())
            && dialler.contains("not from our cluster CA")
    );
    assert!(
        acceptor.contains("127.0.0.1") && acceptor.contains("not from the peer's cluster CA"),
        "{acceptor}"
    );
}
