//! What comes in on a link: the streams of the peer, each read on its own, and their frames.
//!
//! A stream is read while its class has room: in the queue to the engine, and for the bytes of the peer's frames of that
//! class. Then QUIC's flow control stops the peer, on that stream alone. Frames of the other classes wait until the engine
//! has taken the first urgent one, the peer's `Hello`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{ConnectionError, ReadError, RecvStream};
use sync_core::breaker::Failure;
use sync_core::class::Class;
use sync_core::message::FrameKind;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::budget::{self, Charge};
use super::inbox::{Greeting, Queued};
use super::link::{PrefaceError, emit, queue, recv_head};
use super::refusal::{Close, Refusal, in_words};
use super::streams::Layout;
use super::table::Registered;
use super::{Inbound, TransportEvent, writing};

/// A frame's buffer starts at most this large and grows as bytes arrive: a length is a claim.
const FRAME_BYTES_FIRST: usize = 64 << 10;

/// A frame that has begun comes at least this fast, in bytes a second, after the first [`TransportConfig::frame_stall`];
/// a slower one closes the link. A modem is faster.
///
/// [`TransportConfig::frame_stall`]: super::TransportConfig::frame_stall
const FRAME_BYTES_PER_SECOND_MIN: f64 = 1_024.0;

/// How long, after the peer has ended its urgent stream, its reason for closing may take to arrive.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// The peer broke a rule.
struct Broke(Failure, Refusal);

impl Broke {
    fn new(failure: Failure, reason: String) -> Self {
        Self(failure, Refusal::new(Close::Protocol, reason))
    }
}

/// Why no frame came.
enum End {
    /// The stream ended between two frames, or the connection did; that one says why.
    Ended,
    Broke(Broke),
}

impl End {
    fn broke(failure: Failure, reason: String) -> Self {
        Self::Broke(Broke::new(failure, reason))
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            // Our QUIC found that the peer does not keep to QUIC.
            ReadError::ConnectionLost(ref error @ ConnectionError::TransportError(_)) => {
                Self::broke(Failure::Violation, in_words(error))
            }
            ReadError::ConnectionLost(_) => Self::Ended,
            ReadError::Reset(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => {
                Self::broke(Failure::Violation, format!("the stream of frames broke: {error}"))
            }
        }
    }
}

/// Reads all streams until the link ends and all that had arrived was read; returns why it ended, and what the peer
/// did wrong if that was it.
pub(super) async fn all(
    registered: &Registered,
    first: RecvStream,
    greeting: &Arc<watch::Sender<Greeting>>,
    stop: &watch::Receiver<bool>,
) -> (String, Option<Failure>) {
    let connection = &registered.link.proven.connection;
    let (class, (normal, normal_opened), (bulk, bulk_opened)) = match Layout::of(connection) {
        Layout::Classes => (Class::Urgent, slot(true), slot(true)),
        Layout::Single => (Class::Normal, slot(false), slot(false)),
    };
    let reading = Reading { registered, stop, greeting };
    let finished = watch::Sender::new(false);
    let urgent = async {
        if class != Class::Urgent {
            reading.taken().await;
        }
        reading.frames(class, first).await?;
        finished.send_replace(true);
        Ok(())
    };
    let every = async {
        tokio::try_join!(
            urgent,
            reading.opened(Class::Normal, normal_opened),
            reading.opened(Class::Bulk, bulk_opened),
            reading.accept(normal, bulk),
        )
    };
    // In good order a peer that has ended its streams says why and closes at once.
    let farewell = async {
        let _ = finished.subscribe().wait_for(|finished| *finished).await;
        if timeout(FAREWELL_MAX, connection.closed()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = every => match ended {
            Ok((_, _, _, reason)) => (reason, None),
            Err(Broke(failure, refusal)) => {
                let peer = registered.link.proven.peer;
                tracing::warn!(peer = %peer.short(), reason = refusal.reason, "closing a link");
                registered.link.cut(refusal.clone());
                (refusal.reason, Some(failure))
            }
        },
        () = farewell => ("the peer ended its stream".to_owned(), None),
    }
}

type Slot = Option<oneshot::Sender<RecvStream>>;

/// Where a stream is put once the peer has opened it; if it is not `wanted`, it never is.
fn slot(wanted: bool) -> (Slot, oneshot::Receiver<RecvStream>) {
    let (put, opened) = oneshot::channel();
    (wanted.then_some(put), opened)
}

struct Reading<'a> {
    registered: &'a Registered,
    stop: &'a watch::Receiver<bool>,
    greeting: &'a Arc<watch::Sender<Greeting>>,
}

impl Reading<'_> {
    /// Takes the streams of the other classes as the peer opens them; returns why the connection ended.
    async fn accept(&self, mut normal: Slot, mut bulk: Slot) -> Result<String, Broke> {
        let connection = &self.registered.link.proven.connection;
        if normal.is_none() {
            return Ok(in_words(&connection.closed().await));
        }
        loop {
            let mut stream = match connection.accept_uni().await {
                Ok(stream) => stream,
                Err(error) => return Ok(in_words(&error)),
            };
            let stall = self.registered.shared.config.frame_stall;
            let class = match timeout(stall, recv_head(&mut stream)).await {
                Ok(Ok(class)) => class,
                Ok(Err(PrefaceError::Lost(error))) => return Ok(in_words(&error)),
                Ok(Err(PrefaceError::Broken(reason))) => return Err(Broke::new(Failure::Violation, reason)),
                Err(_) => {
                    let reason = format!("a stream was opened and its head did not come in {stall:?}");
                    return Err(Broke::new(Failure::TimedOut, reason));
                }
            };
            let slot = match class {
                Class::Urgent => None,
                Class::Normal => normal.take(),
                Class::Bulk => bulk.take(),
            };
            let Some(slot) = slot else {
                let reason = format!("a second stream of class {class} was opened");
                return Err(Broke::new(Failure::Violation, reason));
            };
            // Who waits for it waits as long as this runs.
            let _ = slot.send(stream);
        }
    }

    /// Reads the stream of `class` once the peer has opened it and has introduced itself.
    async fn opened(&self, class: Class, opened: oneshot::Receiver<RecvStream>) -> Result<(), Broke> {
        let Ok(stream) = opened.await else { return Ok(()) };
        let limit = self.registered.shared.config.handshake_timeout;
        let mut greeting = self.greeting.subscribe();
        tokio::select! {
            biased;
            // It cannot fail: the sender is ours.
            _ = greeting.wait_for(|greeting| *greeting >= Greeting::Queued) => {}
            _ = self.registered.link.proven.connection.closed() => return Ok(()),
            () = tokio::time::sleep(limit) => {
                let reason = format!("frames of class {class} came and no greeting before them in {limit:?}");
                return Err(Broke::new(Failure::TimedOut, reason));
            }
        }
        // From here on it is our engine that is waited for.
        self.taken().await;
        self.frames(class, stream).await
    }

    /// Waits until the engine has what others wait for.
    async fn taken(&self) {
        let _ = self.greeting.subscribe().wait_for(|greeting| *greeting == Greeting::Taken).await;
    }

    /// Reads the frames of one stream.
    async fn frames(&self, class: Class, mut stream: RecvStream) -> Result<(), Broke> {
        let Registered { shared, link, .. } = self.registered;
        let peer = link.proven.peer;
        loop {
            match self.frame(class, &mut stream).await {
                Ok(bytes) => {
                    let charged =
                        budget::lock(&link.budget).charge(Instant::now(), FrameKind::of_bytes(&bytes));
                    match charged {
                        Charge::After(wait) if wait.is_zero() => {}
                        Charge::After(wait) => tokio::time::sleep(wait).await,
                        Charge::Flood(reason) => return Err(Broke::new(Failure::Violation, reason)),
                    }
                    // What was written goes first, of every class in that class's own queue.
                    let told = link.outbox.of(class).take_untold();
                    writing::tell(self.registered, self.stop, class, told).await;
                    let event = TransportEvent::Frame { peer, class, bytes };
                    let is_greeting = *self.greeting.borrow() == Greeting::Awaited;
                    if class == Class::Urgent && is_greeting {
                        self.greeting.send_replace(Greeting::Queued);
                        let first = Queued::First(event, Arc::clone(self.greeting));
                        queue(shared, self.stop, class, first).await;
                    } else {
                        emit(shared, self.stop, class, event).await;
                    }
                }
                Err(End::Ended) => return Ok(()),
                Err(End::Broke(broke)) => return Err(broke),
            }
        }
    }

    async fn frame(&self, class: Class, stream: &mut RecvStream) -> Result<Inbound, End> {
        let config = &self.registered.shared.config;
        let mut header = [0; 4];
        // Between frames there is no deadline: silence is the idle time-out's business.
        let Some(mut have) = stream.read(&mut header).await? else {
            return Err(End::Ended);
        };
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
        let room = Arc::clone(self.registered.link.inbox.of(class)).acquire_many_owned(permits).await;
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
