//! One link: the preface, the frames both ways, and the events that tell of them.
//!
//! Each side opens one unidirectional stream and keeps it. It begins with a preface of 16 bytes (the
//! sender's [`Life`]); the accepting side sends its own only once it has admitted the link, so for the
//! dialler the preface is the admission. Then come frames, each a length (u32, little-endian) and that many
//! bytes. Reading stops while the event channel is full, and QUIC's flow control then stops the peer.

use std::future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::{Connection, ConnectionError, ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use rustls_pki_types::CertificateDer;
use sync_core::breaker::Failure;
use sync_core::message::FrameKind;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::{self, Charge};
use super::outbox::Written;
use super::refusal::{Close, Refusal, in_words};
use super::table::{Life, Link, Proven, Registered, Shared};
use super::{Inbound, TransportEvent};
use crate::certs::Facts;
use crate::identity::node_id_of;

/// A frame's buffer starts at most this large and grows as bytes arrive: a length is a claim.
const FRAME_BYTES_FIRST: usize = 64 << 10;

/// A frame that has begun comes at least this fast, in bytes a second, after the first [`TransportConfig::frame_stall`];
/// a slower one closes the link. A modem is faster.
///
/// [`TransportConfig::frame_stall`]: super::TransportConfig::frame_stall
const FRAME_BYTES_PER_SECOND_MIN: f64 = 1_024.0;

/// How often the validity of both certificates is compared with the clock at least: it may be set. Otherwise a link
/// ends with its certificate.
const VALIDITY_CHECK: Duration = Duration::from_secs(60);

/// A certificate is valid in all of its last second: who closed a link at its beginning would be dialled once more.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// How long a link that is closed in good order waits for the peer to confirm what was written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// How long, after the peer has ended its stream, its reason for closing may take to arrive.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Who is at the other end, from the certificate that TLS has verified.
pub(super) fn identify(connection: Connection) -> Result<Proven, Refusal> {
    let refusal = |why: &str| Refusal::new(Close::Protocol, format!("the peer's certificate: {why}"));
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or_else(|| refusal("none was shown"));
    let facts = chain.and_then(|chain| {
        let leaf = chain.into_iter().next().ok_or_else(|| refusal("none was shown"))?;
        let facts = Facts::of(&leaf).map_err(|why| refusal(&why))?;
        Ok((leaf, facts))
    });
    match facts {
        Ok((leaf, facts)) => {
            let peer = node_id_of(&facts);
            Ok(Proven {
                connection,
                peer,
                name: facts.name,
                leaf: Box::new(leaf),
                not_after: facts.not_after,
            })
        }
        Err(refusal) => {
            refusal.tell(&connection);
            Err(refusal)
        }
    }
}

/// Opens our stream and says which life we are.
pub(super) async fn send_preface(connection: &Connection, life: &Life) -> Result<SendStream, String> {
    let mut stream = connection.open_uni().await.map_err(|error| in_words(&error))?;
    stream.write_all(life).await.map_err(|error| match error {
        WriteError::ConnectionLost(ref error) => in_words(error),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => error.to_string(),
    })?;
    Ok(stream)
}

/// Waits for the peer's stream and its preface. The error of quinn is kept: a dialler reads from it how it
/// was refused.
pub(super) async fn recv_preface(connection: &Connection) -> Result<(RecvStream, Life), PrefaceError> {
    let mut stream = connection.accept_uni().await.map_err(PrefaceError::Lost)?;
    let mut life = Life::default();
    match stream.read_exact(&mut life).await {
        Ok(()) => Ok((stream, life)),
        Err(ReadExactError::ReadError(ReadError::ConnectionLost(error))) => Err(PrefaceError::Lost(error)),
        Err(other) => Err(PrefaceError::Broken(other.to_string())),
    }
}

/// Why no preface came.
#[derive(Debug)]
pub(super) enum PrefaceError {
    Lost(quinn::ConnectionError),
    Broken(String),
}

/// Carries frames until the link ends, and tells of it: `Up` once an older link to the peer has said
/// `Down`, then frames, then `Down`. Returns why it ended.
pub(super) async fn run(
    registered: Registered,
    send: SendStream,
    recv: RecvStream,
    stop: watch::Receiver<bool>,
) -> String {
    let Registered { shared, link, turn } = &registered;
    // The semaphore is never closed, so this waits for the older link's `Down` and no longer.
    let _turn = turn.acquire().await;
    let peer = link.proven.peer;
    let connection = &link.proven.connection;
    if let Some(error) = connection.close_reason() {
        let reason = link.cut.borrow().as_ref().map_or_else(|| in_words(&error), |cut| cut.reason.clone());
        registered.retire(&reason);
        return reason;
    }
    let (addr, name) = (link.addr, link.proven.name.clone());
    tracing::debug!(peer = %peer.short(), name, %addr, "link up");
    emit(shared, &stop, TransportEvent::Up { peer, link: link.id, addr, name }).await;

    // One task moves both directions. The order of the branches is random on purpose: with a fixed one, a
    // peer that always has a frame for us would use up the task's budget, and nothing would be written.
    let (ended, failure) = tokio::select! {
        () = was_cut(link) => (String::new(), None),
        ended = read_frames(&registered, recv, &stop) => ended,
        reason = write_frames(&registered, send, stop.clone()) => (reason, None),
        refusal = expiry(&registered) => {
            link.cut(refusal.clone());
            (refusal.reason, None)
        }
        () = abandoned(shared, stop.clone()) => ("this node is gone".to_owned(), None),
    };
    // A decision of ours is the cause, whatever broke in its course.
    let decided = link.cut.borrow().as_ref().map(|cut| cut.reason.clone());
    let reason = decided.unwrap_or(ended);
    // Nothing more is read: tell the peer, unless one of the above has done so.
    link.cut(Refusal::new(Close::ShuttingDown, "the node that closes is shutting down"));
    registered.retire(&reason);
    tracing::debug!(peer = %peer.short(), reason, "link down");
    emit(shared, &stop, TransportEvent::Down { peer, reason: reason.clone(), failure }).await;
    reason
}

/// Returns when this node has decided to close the link.
async fn was_cut(link: &Link) {
    // It cannot fail: the sender is in the link.
    let _ = link.cut.subscribe().wait_for(Option::is_some).await;
}

/// Puts `event` into the channel as soon as there is room; while shutting down, only if there is.
async fn emit(shared: &Shared, stop: &watch::Receiver<bool>, event: TransportEvent) {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        permit = shared.events.reserve() => {
            if let Ok(permit) = permit {
                permit.send(event);
            }
        }
        _ = stop.wait_for(|stop| *stop) => {
            let _ = shared.events.try_send(event);
        }
    }
}

/// Returns when nobody receives events any more, or when the transport was dropped without a shutdown.
async fn abandoned(shared: &Shared, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = shared.events.closed() => {}
        () = async { while stop.changed().await.is_ok() {} } => {}
    }
}

/// Reads frames until the link ends; returns why it did, and what the peer did wrong if that was it.
async fn read_frames(
    registered: &Registered,
    mut stream: RecvStream,
    stop: &watch::Receiver<bool>,
) -> (String, Option<Failure>) {
    let peer = registered.link.proven.peer;
    loop {
        match read_frame(registered, &mut stream).await {
            Ok(bytes) => {
                let charged = budget::lock(&registered.link.budget)
                    .charge(std::time::Instant::now(), FrameKind::of_bytes(&bytes));
                match charged {
                    Charge::After(wait) if wait.is_zero() => {}
                    Charge::After(wait) => tokio::time::sleep(wait).await,
                    Charge::Flood(reason) => {
                        let refusal = Refusal::new(Close::Protocol, reason);
                        tracing::warn!(peer = %peer.short(), reason = refusal.reason, "closing a link");
                        registered.link.cut(refusal.clone());
                        return (refusal.reason, Some(Failure::Violation));
                    }
                }
                tell_written(registered, stop, registered.link.outbox.take_untold()).await;
                emit(&registered.shared, stop, TransportEvent::Frame { peer, bytes }).await;
            }
            Err(End::Lost(reason)) => return (reason, None),
            Err(End::Broke(failure, refusal)) => {
                tracing::warn!(peer = %peer.short(), reason = refusal.reason, "closing a link");
                registered.link.cut(refusal.clone());
                return (refusal.reason, Some(failure));
            }
            Err(End::Finished) => {
                // In good order the reason follows at once.
                let connection = &registered.link.proven.connection;
                let reason = match timeout(FAREWELL_MAX, connection.closed()).await {
                    Ok(error) => in_words(&error),
                    Err(_) => "the peer ended its stream".to_owned(),
                };
                return (reason, None);
            }
        }
    }
}

/// Why no frame came.
enum End {
    /// The connection is gone.
    Lost(String),
    /// The peer ended its stream between two frames.
    Finished,
    /// The peer broke a rule.
    Broke(Failure, Refusal),
}

impl End {
    fn broke(failure: Failure, reason: String) -> Self {
        Self::Broke(failure, Refusal::new(Close::Protocol, reason))
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            // Our QUIC found that the peer does not keep to QUIC.
            ReadError::ConnectionLost(ref error @ ConnectionError::TransportError(_)) => {
                Self::broke(Failure::Violation, in_words(error))
            }
            ReadError::ConnectionLost(ref error) => Self::Lost(in_words(error)),
            ReadError::Reset(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => {
                Self::broke(Failure::Violation, format!("the stream of frames broke: {error}"))
            }
        }
    }
}

async fn read_frame(registered: &Registered, stream: &mut RecvStream) -> Result<Inbound, End> {
    let config = &registered.shared.config;
    let mut header = [0; 4];
    // Between frames there is no deadline: silence is the idle time-out's business.
    let Some(mut have) = stream.read(&mut header).await? else { return Err(End::Finished) };
    while have < header.len() {
        have += within(config.frame_stall, stream.read(&mut header[have..])).await?;
    }
    let len = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    let max = config.message_bytes_max;
    if len == 0 {
        return Err(End::broke(Failure::Violation, "a frame of 0 bytes was announced".to_owned()));
    }
    if len > max {
        let reason = format!(
            "a frame of {len} bytes was announced, the limit is {max}; set the same message_bytes_max on both nodes"
        );
        return Err(End::broke(Failure::Oversize, reason));
    }
    let permits = u32::try_from(len).expect("it was read from a u32");
    let room = Arc::clone(&registered.link.inbox).acquire_many_owned(permits).await;
    let room = room.expect("nobody closes the inbox");
    let began = Instant::now(); // after waiting for room, which was our doing
    let mut bytes = Vec::with_capacity(len.min(FRAME_BYTES_FIRST));
    while bytes.len() < len {
        let missing = len - bytes.len();
        // No byte for this long ends it, and so does a rate below the least.
        let pace = Duration::from_secs_f64(bytes.len() as f64 / FRAME_BYTES_PER_SECOND_MIN);
        let left = (began + config.frame_stall + pace).saturating_duration_since(Instant::now());
        let chunk = within(left.min(config.frame_stall), stream.read_chunk(missing, true)).await?;
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(Inbound { bytes, _room: room })
}

/// What `read` brings within `stall`; inside a frame the end of the stream is as bad as silence.
async fn within<T>(
    stall: Duration,
    read: impl Future<Output = Result<Option<T>, ReadError>>,
) -> Result<T, End> {
    match timeout(stall, read).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        // A process that is killed ends its stream anywhere.
        Ok(Ok(None)) => Err(End::broke(Failure::TimedOut, "the stream ended inside a frame".to_owned())),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let reason = format!("a frame had begun and came too slowly: no more of it in {stall:?}");
            Err(End::broke(Failure::TimedOut, reason))
        }
    }
}

/// Writes frames until the node shuts down; returns why it stopped. If the connection is lost, the reader
/// says so, once it has read what had arrived.
async fn write_frames(
    registered: &Registered,
    mut stream: SendStream,
    mut stop: watch::Receiver<bool>,
) -> String {
    let outbox = &registered.link.outbox;
    let stopping = stop.clone();
    loop {
        let frames = tokio::select! {
            biased;
            frames = outbox.take() => frames,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        write_batch(registered, &mut stream, frames, &stopping).await;
    }
    let flush = async {
        loop {
            let frames = outbox.try_take();
            if frames.is_empty() {
                break;
            }
            write_batch(registered, &mut stream, frames, &stopping).await;
        }
        if stream.finish().is_ok() {
            let _ = stream.stopped().await;
        }
    };
    let _ = timeout(FLUSH_MAX, flush).await;
    "the node that closes is shutting down".to_owned()
}

/// Writes frames as one piece.
async fn write_batch(
    registered: &Registered,
    stream: &mut SendStream,
    frames: Vec<Vec<u8>>,
    stop: &watch::Receiver<bool>,
) {
    let mut packed = Vec::with_capacity(frames.iter().map(|frame| 4 + frame.len()).sum());
    for frame in &frames {
        let len = u32::try_from(frame.len()).expect("bind bounds message_bytes_max by u32, send checks it");
        packed.extend_from_slice(&len.to_le_bytes());
        packed.extend_from_slice(frame);
    }
    match stream.write_all(&packed).await {
        Ok(()) => {}
        Err(WriteError::ConnectionLost(_)) => future::pending().await,
        Err(error) => {
            registered
                .link
                .cut(Refusal::new(Close::Protocol, format!("the stream of frames broke: {error}")));
            future::pending().await
        }
    }
    let bytes = frames.iter().map(Vec::len).sum();
    let told = registered.link.outbox.written(frames.len(), bytes);
    tell_written(registered, stop, told).await;
}

async fn tell_written(registered: &Registered, stop: &watch::Receiver<bool>, told: Option<Written>) {
    if let Some(Written { frames, bytes }) = told {
        let event = TransportEvent::Written { peer: registered.link.proven.peer, frames, bytes };
        emit(&registered.shared, stop, event).await;
    }
}

/// Returns when one of the two certificates has ended.
async fn expiry(registered: &Registered) -> Refusal {
    let peers = registered.link.proven.not_after + LAST_SECOND;
    loop {
        // It may have been renewed. The peer has seen the older one and closes the link when that ends; the next link
        // shows it the new one.
        let own = registered.shared.trust.own_ends() + LAST_SECOND;
        let now = SystemTime::now();
        if now >= own {
            return Refusal::new(
                Close::Expired,
                "the certificate of the node that closes has expired; renew it",
            );
        }
        if now >= peers {
            return Refusal::new(
                Close::Expired,
                "the certificate that the other node showed on this link has expired; renew it",
            );
        }
        let left = own.min(peers).duration_since(now).unwrap_or_default();
        tokio::time::sleep(left.min(VALIDITY_CHECK) + Duration::from_millis(1)).await;
    }
}

/// `future`, or `reason` told to the peer when `deadline` comes first.
pub(super) async fn by<T>(
    deadline: Instant,
    connection: &Connection,
    reason: &str,
    future: impl Future<Output = T>,
) -> Result<T, String> {
    timeout_at(deadline, future).await.map_err(|_| {
        Refusal::new(Close::Protocol, reason).tell(connection);
        reason.to_owned()
    })
}
