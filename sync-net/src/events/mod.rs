//! What happens on a node, told as it happens to whoever follows: links, alarms, repairs, the disk.
//!
//! The driver hands every event to the [`EventHub`]; it counts alarms, and keeps a bounded number of events for each
//! follower. Who reads too slowly loses the oldest and is told how many ([`Followed::Dropped`]): the node never waits.
//! Nobody follows mostly, and then an event costs a look at a counter. `alarm` says which events are alarms, `words`
//! says each in words.

mod alarm;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sync_core::id::{NamespaceId, NodeId};
use sync_core::node::Event;
use tokio::sync::Notify;

pub(crate) use self::alarm::Alarm;
use crate::evidence::Evidence;
use crate::renewal::News;
use crate::settings::{Mistakes, Reloaded};
use crate::storage::Report;
use crate::transport::TransportEvent;

/// Events kept for one follower that has not read them; beyond that the oldest go and are counted. About a second of
/// a node under attack, hours of one at rest. A guess.
pub const FOLLOWER_EVENTS_MAX: usize = 1_024;

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Something did not work, or is filling up; the node goes on.
    Warning,
    /// Somebody has to look.
    Alarm,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// When, in milliseconds since 1970 by this machine's clock.
    pub at_ms: u64,
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of event, such as `"peer_up"`: see `docs/troubleshooting.md`.
    pub event: String,
    /// What happened and, if something is to be done, what: one line.
    pub text: String,
    /// Its particulars: text, numbers and lists.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// What a follower gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// The next event.
    Event(Arc<NodeEvent>),
    /// So many were dropped before the next one, because the follower did not read them in time.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// A join that was refused at the store's ceiling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    at: Instant,
    /// Accounted bytes that the store would have had.
    pub(crate) after: u64,
    /// The ceiling.
    pub(crate) max: u64,
}

impl Refused {
    pub(crate) fn now(after: u64, max: u64) -> Self {
        Self { at: Instant::now(), after, max }
    }
}

/// Where the driver tells what happens.
#[derive(Debug)]
pub(crate) struct EventHub {
    alarms: [AtomicU64; Alarm::ALL.len()],
    /// How many follow, so that nobody locks where nobody does.
    following: AtomicUsize,
    /// `None` once the node has stopped.
    followers: Mutex<Option<Vec<Arc<Follower>>>>,
    at_ceiling: Mutex<Option<Refused>>,
    /// Why configured addresses could not be reached, as last told: a peer that is away is dialled for ever and told of
    /// once. At most one entry an address.
    dials: Mutex<BTreeMap<String, String>>,
}

/// One follower's place.
#[derive(Debug, Default)]
struct Follower {
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<NodeEvent>>,
    dropped: u64,
    /// The node has stopped.
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each update under these locks is whole or has not begun.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for EventHub {
    fn default() -> Self {
        Self {
            alarms: Default::default(),
            following: AtomicUsize::new(0),
            followers: Mutex::new(Some(Vec::new())),
            at_ceiling: Mutex::default(),
            dials: Mutex::default(),
        }
    }
}

impl EventHub {
    /// How often an alarm was raised since the start.
    pub(crate) fn raised(&self, alarm: Alarm) -> u64 {
        self.alarms[alarm as usize].load(Ordering::Relaxed)
    }

    /// The last join refused at the ceiling, if that was within `within`.
    pub(crate) fn refused_at_ceiling(&self, within: Duration) -> Option<Refused> {
        lock(&self.at_ceiling).filter(|refused| refused.at.elapsed() <= within)
    }

    /// The core tells of something; `name_of` says what people call a namespace.
    pub(crate) fn core(&self, event: &Event, name_of: impl FnOnce(NamespaceId) -> String) {
        if let Some(alarm) = Alarm::of(event) {
            self.alarms[alarm as usize].fetch_add(1, Ordering::Relaxed);
        }
        if let Event::Degraded { after, max, .. } = event {
            *lock(&self.at_ceiling) = Some(Refused::now(*after, *max));
        }
        if self.is_followed() {
            let namespace = event.namespace().map(|id| (id, name_of(id)));
            self.tell(words::of_core(event, namespace));
        }
    }

    /// The transport tells of something.
    pub(crate) fn transport(&self, event: &TransportEvent) {
        if self.is_followed()
            && self.is_news(event)
            && let Some(event) = words::of_transport(event)
        {
            self.tell(event);
        }
    }

    /// False for a dial that failed as the one before; any new link makes all of them news again.
    fn is_news(&self, event: &TransportEvent) -> bool {
        match event {
            TransportEvent::DialFailed { addr, reason, .. } => {
                lock(&self.dials).insert(addr.clone(), reason.clone()).as_ref() != Some(reason)
            }
            TransportEvent::Up { .. } => {
                lock(&self.dials).clear();
                true
            }
            TransportEvent::Frame { .. }
            | TransportEvent::Written { .. }
            | TransportEvent::Down { .. }
            | TransportEvent::Refused { .. } => true,
        }
    }

    /// A peer did something against the protocol.
    pub(crate) fn misbehaved(&self, peer: NodeId, evidence: &Evidence) {
        if self.is_followed() {
            self.tell(words::of_evidence(peer, evidence));
        }
    }

    /// Something happened to the certificate, or to whom it makes accepted.
    pub(crate) fn certificate(&self, news: &News) {
        let said = words::of_certificate(news);
        if said.severity == Severity::Alarm {
            self.alarms[Alarm::CertificateEnds as usize].fetch_add(1, Ordering::Relaxed);
        }
        if self.is_followed() {
            self.tell(said);
        }
    }

    /// The disk's thread tells of something.
    pub(crate) fn storage(&self, report: &Report) {
        if self.is_followed()
            && let Some(event) = words::of_storage(report)
        {
            self.tell(event);
        }
    }

    /// A running node took over another configuration.
    pub(crate) fn reloaded(&self, reloaded: &Reloaded) {
        if self.is_followed() {
            self.tell(words::of_reload(reloaded));
        }
    }

    /// It did not, because of these.
    pub(crate) fn reload_refused(&self, mistakes: &Mistakes) {
        if self.is_followed() {
            self.tell(words::of_mistakes(mistakes));
        }
    }

    /// The node has stopped: followers get what is kept, and then the end.
    pub(crate) fn close(&self) {
        for follower in lock(&self.followers).take().into_iter().flatten() {
            lock(&follower.kept).closed = true;
            follower.news.notify_one();
        }
    }

    fn is_followed(&self) -> bool {
        self.following.load(Ordering::Relaxed) > 0
    }

    fn tell(&self, event: NodeEvent) {
        let event = Arc::new(event);
        for follower in lock(&self.followers).iter().flatten() {
            follower.take(event.clone());
        }
    }
}

impl Follower {
    fn take(&self, event: Arc<NodeEvent>) {
        let mut kept = lock(&self.kept);
        if kept.events.len() >= FOLLOWER_EVENTS_MAX {
            kept.events.pop_front();
            kept.dropped += 1;
        }
        kept.events.push_back(event);
        drop(kept);
        self.news.notify_one();
    }

    /// What comes next, if there is anything; `Err` after the end.
    fn next(&self) -> Result<Option<Followed>, Ended> {
        let mut kept = lock(&self.kept);
        let dropped = std::mem::take(&mut kept.dropped);
        if dropped > 0 {
            return Ok(Some(Followed::Dropped { count: dropped }));
        }
        match kept.events.pop_front() {
            Some(event) => Ok(Some(Followed::Event(event))),
            None if kept.closed => Err(Ended),
            None => Ok(None),
        }
    }
}

struct Ended;

/// Follows what happens on a node; see [`crate::Node::events`]. It does not keep the node alive.
#[derive(Debug)]
pub struct Events {
    hub: Arc<EventHub>,
    follower: Arc<Follower>,
}

impl Events {
    pub(crate) fn of(hub: &Arc<EventHub>) -> Self {
        let follower = Arc::new(Follower::default());
        match &mut *lock(&hub.followers) {
            Some(followers) => followers.push(follower.clone()),
            None => lock(&follower.kept).closed = true,
        }
        hub.following.fetch_add(1, Ordering::Relaxed);
        Self { hub: hub.clone(), follower }
    }

    /// Waits for what happens next; `None` once the node has stopped and all was read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Followed> {
        loop {
            match self.follower.next() {
                Ok(Some(followed)) => return Some(followed),
                Ok(None) => self.follower.news.notified().await,
                Err(Ended) => return None,
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(followers) = &mut *lock(&self.hub.followers) {
            followers.retain(|follower| !Arc::ptr_eq(follower, &self.follower));
        }
        self.hub.following.fetch_sub(1, Ordering::Relaxed);
    }
}

/// This machine's clock, in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use sync_core::breaker::Failure;

    use super::*;

    fn jump(by_ms: i64) -> Event {
        Event::ClockJumped { by_ms }
    }

    async fn next_jump(events: &mut Events) -> Option<i64> {
        match events.next().await {
            Some(Followed::Event(event)) => event.fields["by_ms"].as_i64(),
            Some(Followed::Dropped { .. }) | None => None,
        }
    }

    #[tokio::test]
    async fn who_reads_too_slowly_loses_the_oldest_is_told_how_many_and_holds_up_nobody() {
        let hub = Arc::new(EventHub::default());
        let (mut slow, mut fast) = (Events::of(&hub), Events::of(&hub));
        let (kept, more) = (i64::try_from(FOLLOWER_EVENTS_MAX).expect("it is small"), 7);
        for by_ms in 0..kept + more {
            hub.core(&jump(by_ms), |_| panic!("a clock is of no namespace"));
            assert_eq!(next_jump(&mut fast).await, Some(by_ms));
        }
        assert_eq!(slow.next().await, Some(Followed::Dropped { count: 7 }));
        for by_ms in more..kept + more {
            assert_eq!(next_jump(&mut slow).await, Some(by_ms));
        }
        hub.core(&jump(-1), |_| String::new());
        assert_eq!(next_jump(&mut slow).await, Some(-1), "what was missed is told of once");
        hub.close();
        assert_eq!((slow.next().await, fast.next().await.is_some()), (None, true));
        assert_eq!(hub.raised(Alarm::ClockJumped), 1_032);
    }

    #[tokio::test]
    async fn a_peer_that_stays_away_is_told_of_once_until_the_reason_changes() {
        let hub = Arc::new(EventHub::default());
        let mut events = Events::of(&hub);
        let fails = |reason: &str| {
            let (addr, reason) = ("a:1".to_owned(), reason.to_owned());
            hub.transport(&TransportEvent::DialFailed {
                addr,
                peer: None,
                failure: Failure::TimedOut,
                reason,
            });
        };
        ["timed out", "timed out", "refused", "refused"].into_iter().for_each(fails);
        hub.close();
        let mut told = Vec::new();
        while let Some(Followed::Event(event)) = events.next().await {
            told.push(event.fields["reason"].clone());
        }
        assert_eq!(told, ["timed out", "refused"]);
    }

    #[test]
    fn alarms_are_counted_also_when_nobody_follows_and_who_left_costs_nothing() {
        let hub = Arc::new(EventHub::default());
        drop(Events::of(&hub));
        hub.core(&jump(1), |_| panic!("nobody reads it"));
        assert!(lock(&hub.followers).as_ref().is_some_and(Vec::is_empty) && !hub.is_followed());
        assert_eq!([hub.raised(Alarm::ClockJumped), hub.raised(Alarm::ClockOff)], [1, 0]);
    }
}
