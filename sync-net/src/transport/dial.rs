//! Dials one configured peer, again and again, whenever no link to it exists.
//!
//! One task for each configured address. The name is resolved at each dial, so a peer may move. The pause
//! between dials is drawn anew each time (decorrelated jitter), so that nodes that lost each other at one
//! moment do not come back at one moment. Once the peer's breaker is open, the breaker alone says when.

use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, RecvStream, SendStream};
use sync_core::breaker::Failure;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::PeerAddr;
use super::gates::DialId;
use super::link::{self, PrefaceError};
use super::refusal::{Close, Refusal, escaped, in_words, is_duplicate};
use super::table::{Registered, Shared};
use crate::certs::SERVER_NAME;

/// Addresses of one name that are tried in one dial; a name with more is tried in part.
const ADDRESSES_MAX: usize = 4;

/// Pause after an address turned out to be this node's own: a list of all nodes, the same on each, is a
/// sensible configuration, so it is asked again, but seldom.
const OWN_ADDRESS_PAUSE: Duration = Duration::from_secs(60);

/// A link made by dialling, with its two streams.
type Dialled = (Registered, SendStream, RecvStream);

/// Why a dial made no link.
enum Failed {
    /// Another link between the two nodes stays: as good as success.
    Duplicate,
    /// The address is our own.
    OwnNode(String),
    /// Anything else, in words.
    Other(Failure, String),
}

impl Failed {
    fn refused(reason: impl Into<String>) -> Self {
        Self::Other(Failure::Refused, reason.into())
    }

    fn late(reason: impl Into<String>) -> Self {
        Self::Other(Failure::TimedOut, reason.into())
    }
}

impl From<ConnectionError> for Failed {
    fn from(error: ConnectionError) -> Self {
        let reason = in_words(&error);
        if error == ConnectionError::TimedOut { Self::late(reason) } else { Self::refused(reason) }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        match refusal.close {
            Close::Duplicate => Self::Duplicate,
            Close::OwnNode => Self::OwnNode(refusal.reason),
            Close::ShuttingDown
            | Close::PeersFull
            | Close::Blocked
            | Close::Protocol
            | Close::Disconnected
            | Close::Expired
            | Close::OtherNode
            | Close::Shut
            | Close::Revoked
            | Close::Untrusted
            | Close::TooMany
            | Close::Replaced => Self::refused(refusal.reason),
        }
    }
}

/// Keeps the peer at the configured address `index` linked until the node stops, or the address is taken off the list.
pub(super) async fn keep(
    shared: Arc<Shared>,
    index: DialId,
    endpoint: Endpoint,
    mut stop: watch::Receiver<bool>,
) {
    let Some(to) = shared.dial_to(index) else { return };
    let mut backoff = Backoff::new(shared.config.redial_min, shared.config.redial_max);
    loop {
        let step = async {
            if !shared.worth_dialling(index).await {
                return None;
            }
            shared.dial_began(index);
            Some(dial(&shared, index, &to, &endpoint).await)
        };
        let dialled = tokio::select! {
            dialled = step => dialled,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(dialled) = dialled else { return };
        let pause = match dialled {
            Ok((registered, send, recv)) => {
                let began = Instant::now();
                link::run(registered, send, recv, stop.clone()).await;
                // A link that broke at once is a failed dial in disguise and must not reset the pause.
                if began.elapsed() > shared.config.redial_max {
                    backoff.reset();
                }
                backoff.next()
            }
            Err(Failed::Duplicate) => backoff.next(),
            Err(Failed::OwnNode(reason)) => {
                shared.dial_failed(index, None, reason);
                OWN_ADDRESS_PAUSE
            }
            Err(Failed::Other(failure, reason)) => {
                shared.dial_failed(index, Some(failure), reason);
                backoff.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.permitted(index) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Tries the addresses of one name in turn. The last failure is the one that is told.
async fn dial(
    shared: &Arc<Shared>,
    index: DialId,
    to: &PeerAddr,
    endpoint: &Endpoint,
) -> Result<Dialled, Failed> {
    let resolved = timeout(shared.config.handshake_timeout, tokio::net::lookup_host(&to.addr)).await;
    let addrs = match resolved {
        Ok(Ok(addrs)) => addrs.take(ADDRESSES_MAX).collect::<Vec<_>>(),
        Ok(Err(error)) => {
            let error = escaped(error.to_string().as_bytes());
            return Err(Failed::refused(format!("the name cannot be resolved: {error}")));
        }
        Err(_) => return Err(Failed::late("the name was not resolved in time")),
    };
    let mut last = Failed::refused("the name has no address");
    for addr in addrs {
        let connecting = match endpoint.connect_with(shared.trust.client(), addr, SERVER_NAME) {
            Ok(connecting) => connecting,
            Err(error) => {
                last = Failed::refused(format!("{addr} cannot be dialled from our socket: {error}"));
                continue;
            }
        };
        match greet(shared, index, to, connecting).await {
            Err(Failed::Other(failure, reason)) => last = Failed::Other(failure, reason),
            done @ (Ok(_) | Err(Failed::Duplicate | Failed::OwnNode(_))) => return done,
        }
    }
    Err(last)
}

/// From a dialled address to an admitted link.
async fn greet(
    shared: &Arc<Shared>,
    index: DialId,
    to: &PeerAddr,
    connecting: quinn::Connecting,
) -> Result<Dialled, Failed> {
    let config = &shared.config;
    let deadline = Instant::now() + config.handshake_timeout;
    let connection = match timeout_at(deadline, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            let reason =
                format!("no answer in {:?}; is it running, is the address right?", config.handshake_timeout);
            return Err(Failed::late(reason));
        }
    };
    let proven = link::identify(connection)?;
    let refuse = |connection: &quinn::Connection, refusal: Refusal| {
        refusal.tell(connection);
        Failed::from(refusal)
    };
    if let Some(wanted) = to.id.filter(|wanted| *wanted != proven.peer) {
        let reason = format!("the address is pinned to node {wanted}, who answers is node {}", proven.peer);
        return Err(refuse(&proven.connection, Refusal::new(Close::OtherNode, reason)));
    }
    shared.dial_found(index, proven.peer);
    let claim = shared.claim(proven.peer).map_err(|refusal| refuse(&proven.connection, refusal))?;
    let connection = &proven.connection;
    let prefaces = async {
        let send = link::send_preface(connection, &shared.life).await.map_err(PrefaceError::Broken)?;
        let (recv, life) = link::recv_preface(connection).await?;
        Ok((send, recv, life))
    };
    let late = "the peer did not admit the link in time";
    let (send, recv, life) = match link::by(deadline, connection, late, prefaces).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(PrefaceError::Lost(error))) if is_duplicate(&error) => return Err(Failed::Duplicate),
        Ok(Err(PrefaceError::Lost(error))) => return Err(error.into()),
        Ok(Err(PrefaceError::Broken(reason))) => return Err(Failed::refused(reason)),
        Err(late) => return Err(Failed::late(late)),
    };
    let registered =
        shared.admit(proven, life, true).map_err(|(proven, refusal)| refuse(&proven.connection, refusal))?;
    drop(claim);
    Ok((registered, send, recv))
}

/// Pauses between dials: each drawn between the shortest and three times the one before, cut at the
/// longest ("decorrelated jitter").
#[derive(Debug)]
struct Backoff {
    min: Duration,
    max: Duration,
    last: Duration,
}

impl Backoff {
    fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, last: min }
    }

    fn reset(&mut self) {
        self.last = self.min;
    }

    fn next(&mut self) -> Duration {
        // Without randomness the middle does: only nodes that fail in step would notice.
        let drawn = getrandom::u32().unwrap_or(u32::MAX / 2);
        self.last = self.drawn(drawn);
        self.last
    }

    fn drawn(&self, drawn: u32) -> Duration {
        let span = (self.last * 3).saturating_sub(self.min);
        (self.min + span.mul_f64(f64::from(drawn) / f64::from(u32::MAX))).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_in_bounds_and_start_over() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max);
        assert_eq!(backoff.drawn(0), min);
        assert_eq!(backoff.drawn(u32::MAX), 3 * min);
        for _ in 0..1_000 {
            let pause = backoff.next();
            assert!((min..=max).contains(&pause), "{pause:?}");
        }
        backoff.last = max;
        assert_eq!((backoff.drawn(0), backoff.drawn(u32::MAX)), (min, max));
        backoff.reset();
        assert!(backoff.next() <= 3 * min);
    }
}
