//! The socket: QUIC's limits, and letting peers in.
//!
//! Every limit of QUIC is set here, none is left to a default: with the defaults one hostile peer cost
//! 257 MiB, with these 2.5 MiB (DESIGN section 6, measured).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime,
    TransportConfig as QuicConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use quinn_proto::crypto::{CryptoError, HmacKey};
use rustls_pki_types::PrivateKeyDer;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::budget::{Bucket, HANDSHAKES};
use super::link::{self, PrefaceError};
use super::refusal::{Close, Refusal, in_words, is_duplicate};
use super::table::{Registered, Shared};
use super::{TransportConfig, TransportError, tls};
use crate::certs::{InForce, Verifier};
use crate::identity::Identity;

/// Streams that a peer may open. We use one unidirectional stream each way for each class. One more waits at the peer.
const STREAMS_BIDI_MAX: u32 = 8;
const STREAMS_UNI_MAX: u32 = 4;

/// Bytes that a peer may send ahead of our reading, on one stream and in all. At the edge it waits.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What no class but the urgent one can take of the connection: a stream that is not read stops at its own window, and
/// two that are not leave room for more than one.
const _: () = assert!(3 * STREAM_WINDOW < CONNECTION_WINDOW);

/// Bytes that we send ahead of the peer's acknowledgement. At the edge our writers wait; a stream stops at the peer's
/// window for it before.
const SEND_WINDOW: u64 = 1 << 20;

/// Bytes of datagrams that are kept for sending. We take none: a flood of datagrams that nobody reads costs as much
/// processor time as one that somebody does, and so the first one breaks the protocol and ends the link.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// First packets kept that no task has looked at. One more is refused by QUIC.
const INCOMING_MAX: usize = 256;

/// Bytes kept for connections that no task has looked at, each and in all. Beyond, packets are dropped
/// and come again.
const INCOMING_BYTES_MAX: u64 = 64 << 10;
const INCOMING_BYTES_TOTAL_MAX: u64 = 4 << 20;

/// Handshakes under way from which on an address must first show that it receives (a QUIC retry, one
/// round trip more), so that forged senders cost nothing but a packet. A guess.
const HANDSHAKES_UNPROVEN_MAX: usize = 32;

/// Handshakes under way. One more is refused.
const HANDSHAKES_MAX: usize = 256;

/// The round-trip time assumed before the first answer: a lost first packet is sent again after three
/// times this. Below QUIC's 333 ms, since a peer that is just starting is the usual case here.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How to answer and how to call with one identity, and who is accepted.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) server: ServerConfig,
    pub(super) client: ClientConfig,
    pub(super) verifier: Arc<Verifier>,
    pub(super) revoked: InForce,
    quic: Arc<QuicConfig>,
}

impl Tls {
    fn new(config: &TransportConfig) -> Result<Self, TransportError> {
        let quic = Arc::new(quic_limits(config)?);
        let revoked = InForce::new(RwLock::new(Arc::new(config.revoked.clone())));
        let verifier = verifier(&config.identity, &revoked)?;
        let crypto = tls::server(&config.identity, Arc::clone(&verifier))?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(Arc::clone(&quic))
            .migration(false)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
        let client = client(&config.identity, &verifier, &quic)?;
        Ok(Self { server, client, verifier, revoked, quic })
    }

    /// The same with another certificate and other CAs. What was promised under the old one (the tokens of QUIC
    /// retries) is kept.
    pub(super) fn renewed(&self, identity: &Identity) -> Result<Self, TransportError> {
        let verifier = verifier(identity, &self.revoked)?;
        let mut server = self.server.clone();
        server.crypto = Arc::new(tls::server(identity, Arc::clone(&verifier))?);
        let client = client(identity, &verifier, &self.quic)?;
        Ok(Self { server, client, verifier, ..self.clone() })
    }
}

fn verifier(identity: &Identity, revoked: &InForce) -> Result<Arc<Verifier>, TransportError> {
    let roots = identity.roots().map_err(|error| TransportError::Tls(error.to_string()))?;
    Verifier::new(roots, Arc::clone(revoked)).map_err(TransportError::Tls)
}

fn client(
    identity: &Identity,
    verifier: &Arc<Verifier>,
    quic: &Arc<QuicConfig>,
) -> Result<ClientConfig, TransportError> {
    let mut client = ClientConfig::new(Arc::new(tls::client(identity, Arc::clone(verifier))?));
    client.transport_config(Arc::clone(quic));
    Ok(client)
}

/// Binds the socket and sets every limit.
pub(super) fn open(config: &TransportConfig) -> Result<(Endpoint, Tls), TransportError> {
    let tls = Tls::new(config)?;
    let key = config.identity.key().map_err(|error| TransportError::Tls(error.to_string()))?;
    let bind = |error| TransportError::Bind { addr: config.listen, error };
    let socket = std::net::UdpSocket::bind(config.listen).map_err(bind)?;
    let endpoint =
        Endpoint::new(endpoint_config(&key), Some(tls.server.clone()), socket, Arc::new(TokioRuntime));
    Ok((endpoint.map_err(bind)?, tls))
}

fn quic_limits(config: &TransportConfig) -> Result<QuicConfig, TransportError> {
    let idle = IdleTimeout::try_from(config.idle_timeout)
        .map_err(|_| TransportError::Config("idle_timeout is too long for QUIC"))?;
    let mut quic = QuicConfig::default();
    quic.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_BIDI_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_UNI_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX)
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(config.keep_alive));
    Ok(quic)
}

/// Connection ids and stateless resets that a later process with the same key and port understands: it
/// then answers packets of links that it never knew with a reset, and the peer notices the restart at its
/// next packet and not at the idle time-out (RFC 9000 section 10.3.2).
fn endpoint_config(key: &PrivateKeyDer<'_>) -> EndpointConfig {
    let ids = blake3::derive_key("sync 2026-11 quic connection ids", key.secret_der());
    let reset = blake3::derive_key("sync 2026-11 quic stateless reset", key.secret_der());
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset)));
    let mut id_key = [0; 8];
    id_key.copy_from_slice(&ids[..8]);
    let id_key = u64::from_le_bytes(id_key);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

/// Makes the tokens of stateless resets.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = <[u8; blake3::OUT_LEN]>::try_from(signature).map_err(|_| CryptoError)?;
        // Comparing two `blake3::Hash` takes the same time whatever they hold.
        if blake3::keyed_hash(&self.0, data) == blake3::Hash::from(signature) {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Lets peers in until the endpoint is closed.
pub(super) async fn accept(shared: Arc<Shared>, endpoint: Endpoint, mut stop: watch::Receiver<bool>) {
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut rate = Bucket::new(HANDSHAKES, std::time::Instant::now());
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(incoming) = incoming else {
            if !*stop.borrow() {
                tracing::error!(
                    "the QUIC socket is gone; no peer can be reached until the node is restarted"
                );
            }
            return;
        };
        let busy = under_way.load(Ordering::Relaxed);
        if busy >= HANDSHAKES_MAX {
            incoming.refuse();
        } else if busy >= HANDSHAKES_UNPROVEN_MAX && incoming.may_retry() {
            // It fails only where a retry is not allowed, which was just asked.
            let _ = incoming.retry();
        } else if !rate.takes(std::time::Instant::now()) {
            incoming.ignore();
        } else {
            let guest = Gauge::new(&under_way);
            tokio::spawn(serve(Arc::clone(&shared), incoming, guest, stop.clone()));
        }
    }
}

/// Counts handshakes under way.
struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One inbound connection, from its first packet to its end.
async fn serve(shared: Arc<Shared>, incoming: Incoming, guest: Gauge, mut stop: watch::Receiver<bool>) {
    let mut addr = incoming.remote_address();
    addr.set_ip(addr.ip().to_canonical());
    let greeted = tokio::select! {
        greeted = greet(&shared, incoming) => greeted,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    drop(guest);
    match greeted {
        Ok((registered, send, recv)) => {
            link::run(registered, send, recv, stop).await;
        }
        Err(None) => tracing::debug!(%addr, "an inbound link gave way to another to the same peer"),
        Err(Some(reason)) => shared.refused(addr, reason),
    }
}

/// From a first packet to an admitted link; the error is a reason to tell, or `None` for a link that gave
/// way to another of the same peer.
async fn greet(
    shared: &Arc<Shared>,
    incoming: Incoming,
) -> Result<(Registered, quinn::SendStream, quinn::RecvStream), Option<String>> {
    let deadline = Instant::now() + shared.config.handshake_timeout;
    let connecting = incoming.accept().map_err(|error| Some(in_words(&error)))?;
    let connection = timeout_at(deadline, connecting)
        .await
        .map_err(|_| Some("the handshake did not end in time".to_owned()))?
        .map_err(|error| Some(in_words(&error)))?;
    let proven = link::identify(connection).map_err(|refusal| Some(refusal.reason))?;
    let greeting = shared.greets(proven.peer).map_err(|refusal| {
        refusal.tell(&proven.connection);
        Some(refusal.reason)
    })?;
    let late = "the preface did not come in time";
    let connection = proven.connection.clone();
    let (recv, life) = match link::by(deadline, &connection, late, link::recv_preface(&connection)).await {
        Ok(Ok(preface)) => preface,
        Ok(Err(PrefaceError::Lost(error))) if is_duplicate(&error) => return Err(None),
        Ok(Err(PrefaceError::Lost(error))) => return Err(Some(in_words(&error))),
        Ok(Err(PrefaceError::Broken(reason))) => {
            Refusal::new(Close::Protocol, reason.clone()).tell(&connection);
            return Err(Some(reason));
        }
        Err(late) => return Err(Some(late)),
    };
    let registered = shared.admit(proven, life, false).map_err(|(proven, refusal)| {
        refusal.tell(&proven.connection);
        (refusal.close != Close::Duplicate).then_some(refusal.reason)
    })?;
    drop(greeting);
    let sent = link::by(deadline, &connection, late, link::send_preface(&connection, &shared.life)).await;
    match sent.and_then(|sent| sent) {
        Ok(send) => Ok((registered, send, recv)),
        Err(reason) => Err(Some(reason)),
    }
}
