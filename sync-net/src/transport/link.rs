//! One link: the preface, and what happens from `Up` to `Down`.
//!
//! Each side opens the urgent stream and keeps it. Behind its head it begins with a preface of 16 bytes (the
//! sender's [`Life`]); the accepting side sends its own only once it has admitted the link, so for the
//! dialler the preface is the admission. Then come frames, each a length (u32, little-endian) and that many
//! bytes; `streams` says which stream is whose, `reading` and `writing` move the frames.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use rustls_pki_types::CertificateDer;
use sync_core::class::Class;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::inbox::{Ending, Queued};
use super::refusal::{Close, Refusal, in_words};
use super::streams::{self, HEAD_BYTES, Layout};
use super::table::{Life, Link, Proven, Registered, Shared};
use super::{TransportEvent, reading, writing};
use crate::certs::Facts;
use crate::identity::node_id_of;

/// How often the validity of both certificates is compared with the clock at least: it may be set. Otherwise a link
/// ends with its certificate.
const VALIDITY_CHECK: Duration = Duration::from_secs(60);

/// A certificate is valid in all of its last second: who closed a link at its beginning would be dialled once more.
const LAST_SECOND: Duration = Duration::from_secs(1);

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

/// Opens our urgent stream and says which life we are.
pub(super) async fn send_preface(connection: &Connection, life: &Life) -> Result<SendStream, String> {
    let mut stream = connection.open_uni().await.map_err(|error| in_words(&error))?;
    streams::prioritise(&stream, Class::Urgent);
    let preface = match Layout::of(connection) {
        Layout::Classes => [&streams::head(Class::Urgent)[..], life].concat(),
        Layout::Single => life.to_vec(),
    };
    stream.write_all(&preface).await.map_err(|error| match error {
        WriteError::ConnectionLost(ref error) => in_words(error),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => error.to_string(),
    })?;
    Ok(stream)
}

/// Waits for the peer's urgent stream and its preface. The error of quinn is kept: a dialler reads from it how it
/// was refused.
pub(super) async fn recv_preface(connection: &Connection) -> Result<(RecvStream, Life), PrefaceError> {
    let mut stream = connection.accept_uni().await.map_err(PrefaceError::Lost)?;
    if Layout::of(connection) == Layout::Classes {
        match recv_head(&mut stream).await? {
            Class::Urgent => {}
            class @ (Class::Normal | Class::Bulk) => {
                let reason = format!("the first stream is the {class} one, and must be the urgent one");
                return Err(PrefaceError::Broken(reason));
            }
        }
    }
    let mut life = Life::default();
    stream.read_exact(&mut life).await?;
    Ok((stream, life))
}

/// Reads the head of a stream.
pub(super) async fn recv_head(stream: &mut RecvStream) -> Result<Class, PrefaceError> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    streams::class_of(head).map_err(PrefaceError::Broken)
}

/// Why no preface, or no head of a stream, came.
#[derive(Debug)]
pub(super) enum PrefaceError {
    Lost(quinn::ConnectionError),
    Broken(String),
}

impl From<ReadExactError> for PrefaceError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::ReadError(ReadError::ConnectionLost(error)) => Self::Lost(error),
            other @ (ReadExactError::ReadError(_) | ReadExactError::FinishedEarly(_)) => {
                Self::Broken(other.to_string())
            }
        }
    }
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
    let turn = Arc::clone(turn).acquire_owned().await.expect("nobody closes the turns");
    let peer = link.proven.peer;
    let connection = &link.proven.connection;
    if let Some(error) = connection.close_reason() {
        let reason = link.cut.borrow().as_ref().map_or_else(|| in_words(&error), |cut| cut.reason.clone());
        registered.retire(&reason);
        return reason;
    }
    let (addr, name) = (link.addr, link.proven.name.clone());
    tracing::debug!(peer = %peer.short(), name, %addr, "link up");
    let greeting = Arc::new(watch::Sender::default());
    let up = TransportEvent::Up { peer, link: link.id, addr, name };
    let up = match Layout::of(connection) {
        Layout::Classes => Queued::Event(up),
        // All comes on one stream, in order: there is nothing but `Up` to wait for.
        Layout::Single => Queued::First(up, Arc::clone(&greeting)),
    };
    queue(shared, &stop, Class::Urgent, up).await;

    // One task moves all streams. The order of the branches is random on purpose: with a fixed one, a
    // peer that always has a frame for us would use up the task's budget, and nothing would be written.
    let (ended, failure) = tokio::select! {
        () = was_cut(link) => (String::new(), None),
        ended = reading::all(&registered, recv, &greeting, &stop) => ended,
        reason = writing::all(&registered, send, &stop) => (reason, None),
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
    let event = TransportEvent::Down { peer, reason: reason.clone(), failure };
    let ending = Arc::new(Ending { event, _turn: turn });
    for class in Class::ALL {
        queue(shared, &stop, class, Queued::Last(Arc::clone(&ending))).await;
    }
    reason
}

/// Returns when this node has decided to close the link.
async fn was_cut(link: &Link) {
    // It cannot fail: the sender is in the link.
    let _ = link.cut.subscribe().wait_for(Option::is_some).await;
}

/// Queues `queued` with what is of `class` as soon as there is room; while shutting down, only if there is.
pub(super) async fn queue(shared: &Shared, stop: &watch::Receiver<bool>, class: Class, queued: Queued) {
    let mut stop = stop.clone();
    let queue = shared.events.of(class);
    tokio::select! {
        biased;
        permit = queue.reserve() => {
            if let Ok(permit) = permit {
                permit.send(queued);
            }
        }
        _ = stop.wait_for(|stop| *stop) => {
            let _ = queue.try_send(queued);
        }
    }
}

/// As [`queue`], an event.
pub(super) async fn emit(shared: &Shared, stop: &watch::Receiver<bool>, class: Class, event: TransportEvent) {
    queue(shared, stop, class, Queued::Event(event)).await;
}

/// Returns when nobody receives events any more, or when the transport was dropped without a shutdown.
async fn abandoned(shared: &Shared, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = shared.events.closed() => {}
        () = async { while stop.changed().await.is_ok() {} } => {}
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
