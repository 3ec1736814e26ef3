//! The one task that moves a node: what the transport reports goes into the core, what the core wants
//! done is done, and its deadline is kept.
//!
//! Each turn of the loop waits for one reason to act, then takes in a bounded number of transport
//! events, wakes the core if its deadline has come, and acts on a bounded number of outputs. So no
//! source can starve another: writers, peers and timers all get their part of each turn. The core is
//! locked for one step at a time; frames are decoded, and sent, outside of the lock. What is done with outputs, and
//! who else may move a quiet node, is in `hands`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sync_core::message::Frame;
use sync_core::node::{ConvergeGoal, Convergence, Input, Members};
use sync_core::time::Timestamp;
use tokio::sync::{Notify, mpsc};

use crate::converge::AskAgain;
use crate::hands::Hands;
use crate::node::{Phase, Shared};
use crate::transport::{Transport, TransportEvent};
use crate::watchdog::{BEAT, Watchdog};

/// Transport events taken in one turn, at most.
const EVENTS_PER_TURN: usize = 64;

/// The shortest wait for a deadline; what is due at once comes with a notification. Whatever deadline the
/// core names, the loop does not spin.
const TICK: Duration = Duration::from_millis(1);

/// How long a shutdown tries to hand over what connected peers lack.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Starts the driver, and a supervisor that closes the links if the driver breaks.
pub(crate) fn spawn(shared: Arc<Shared>, inbox: mpsc::Receiver<TransportEvent>, watchdog: Watchdog) {
    let transport = shared.transport().expect("a node starts with its links");
    tell_members(&shared, &transport);
    let driver = Driver {
        hand_over: None,
        shared: shared.clone(),
        transport: transport.clone(),
        inbox,
        watchdog,
    };
    let end = End(shared.clone());
    tokio::spawn(async move {
        if let Err(error) = tokio::spawn(driver.run()).await {
            tracing::error!(node = shared.name, %error, "the node broke and closes its links: restart the process");
            shared.enter(Phase::Closing);
            transport.shutdown().await;
        }
        drop(transport);
        drop(end);
    });
}

/// Tells the core who is configured: peers that have not been met yet are members all the same.
fn tell_members(shared: &Shared, transport: &Transport) {
    let (named, unnamed): (Vec<_>, Vec<_>) =
        transport.links().into_iter().filter(|link| link.configured).partition(|link| link.id.is_some());
    let nodes = named.into_iter().filter_map(|link| link.id).collect();
    shared.core().set_members(Members { nodes, unnamed: unnamed.len() });
}

/// When the driver wakes by itself: who moves the node in its place tells it of deadlines before that.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// Microseconds of the node's clock; 0 while the driver is awake.
    at: AtomicU64,
}

impl Alarm {
    /// The driver, which holds the core, is about to sleep for `due`.
    fn set(&self, now: Timestamp, due: Duration) {
        let due = u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
        self.at.store(now.as_micros().saturating_add(due), Ordering::Relaxed);
    }

    /// The driver is awake, and will look for the deadline itself.
    fn off(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// The deadline of the core, which the caller holds, is `deadline`: wakes the driver if it would sleep too long.
    pub(crate) fn tell(&self, driver: &Notify, deadline: Option<Timestamp>) {
        if deadline.is_some_and(|at| at.as_micros() < self.at.load(Ordering::Relaxed)) {
            driver.notify_one();
        }
    }
}

/// The end of a node, also when its runtime is dropped under it: nobody must wait for ever.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.forget_transport();
        self.0.watchers.close();
        self.0.enter(Phase::Stopped);
    }
}

struct Driver {
    shared: Arc<Shared>,
    transport: Arc<Transport>,
    inbox: mpsc::Receiver<TransportEvent>,
    watchdog: Watchdog,
    hand_over: Option<HandOver>,
}

/// A shutdown that waits for peers to hold what we hold.
struct HandOver {
    until: Instant,
    goal: ConvergeGoal,
    again: AskAgain,
}

impl Driver {
    async fn run(mut self) {
        let mut phase = self.shared.phase.subscribe();
        loop {
            let due = self.due();
            let event = tokio::select! {
                biased;
                _ = phase.changed() => None,
                Some(event) = self.inbox.recv() => Some(event),
                () = self.shared.work.notified() => None,
                () = tokio::time::sleep(due) => None,
            };
            self.shared.alarm.off();
            self.watchdog.turned();
            let now = *phase.borrow_and_update();
            let goes_on = match now {
                Phase::Running => true,
                Phase::HandingOver => !self.handed_over(),
                Phase::Closing | Phase::Stopped => false,
            };
            if !goes_on {
                break;
            }
            self.turn(event);
        }
        self.close().await;
    }

    /// How long the loop may wait.
    fn due(&self) -> Duration {
        let hand_over = self.hand_over.as_ref().map_or(BEAT, |begun| begun.again.pause(Instant::now()));
        let core = self.shared.core();
        let until = core.poll_timeout().map_or(BEAT, |at| self.shared.clock.until(at));
        let due = until.min(hand_over).clamp(TICK, BEAT);
        self.shared.alarm.set(self.shared.clock.mono(), due);
        due
    }

    fn turn(&mut self, first: Option<TransportEvent>) {
        let shared = self.shared.clone();
        let mut hands = shared.hands();
        let mut taken = 0;
        let mut next = first;
        while let Some(event) = next {
            self.on_transport(&mut hands, event);
            taken += 1;
            next = if taken < EVENTS_PER_TURN { self.inbox.try_recv().ok() } else { None };
        }
        self.wake_if_due();
        let drained = hands.drain(&shared);
        drop(hands);
        if !drained {
            self.shared.work.notify_one();
        }
        if taken > 0 || !drained {
            self.shared.progress.notify_waiters();
        }
    }

    fn wake_if_due(&self) {
        let mut core = self.shared.core();
        let now = self.shared.clock.now();
        if core.poll_timeout().is_some_and(|at| at <= now.mono) {
            core.handle(now, Input::Wake);
        }
    }

    fn handle(&self, input: Input) {
        let mut core = self.shared.core();
        // Read under the lock: readings must not go back from one input to the next.
        core.handle(self.shared.clock.now(), input);
    }

    fn on_transport(&self, hands: &mut Hands, event: TransportEvent) {
        let node = self.shared.name.as_str();
        match event {
            TransportEvent::Up { peer, link, addr, name, .. } => {
                tracing::info!(node, ?peer, name, %addr, "link up");
                hands.linked(peer, link);
                self.handle(Input::Connected { peer });
                tell_members(&self.shared, &self.transport);
            }
            TransportEvent::Frame { peer, bytes } => {
                let dictionary = self.shared.core().reads(peer);
                match Frame::decode(&bytes, &dictionary, &self.shared.limits) {
                    Ok(frame) => self.handle(Input::Received { peer, frame, len: bytes.len() }),
                    Err(error) => self.handle(Input::Malformed { peer, error }),
                }
            }
            TransportEvent::Written { peer, frames, bytes } => {
                self.handle(Input::Written { peer, frames, bytes });
            }
            TransportEvent::Down { peer, reason } => {
                tracing::info!(node, ?peer, reason, "link down");
                hands.unlinked(peer);
                self.handle(Input::Disconnected { peer });
            }
            // The transport has logged both, and `peers` shows them. An address may have turned out to be ours.
            TransportEvent::DialFailed { .. } => tell_members(&self.shared, &self.transport),
            TransportEvent::Refused { .. } => {}
        }
    }

    /// True once every connected peer holds what this node held when it began to shut down, or the time
    /// for that is over.
    fn handed_over(&mut self) -> bool {
        let mut core = self.shared.core();
        let now = Instant::now();
        let mut begun = match self.hand_over.take() {
            Some(begun) => begun,
            None => match core.converge_begin(self.shared.clock.now(), self.shared.namespace) {
                Ok(goal) => HandOver { until: now + HAND_OVER, goal, again: AskAgain::after(now) },
                Err(_) => return true,
            },
        };
        let verdicts = core.converge_check(&begun.goal);
        if begun.again.is_due(now) {
            core.handle(self.shared.clock.now(), Input::SyncNow);
        }
        drop(core);
        let over = now >= begun.until;
        self.hand_over = Some(begun);
        let done = |id| verdicts.contains(&(id, Convergence::Done));
        let linked = self.transport.links().into_iter().filter(|link| link.connected);
        over || linked.filter_map(|link| link.id).all(done)
    }

    /// Closes the links, and keeps the inbox moving meanwhile: a transport task may wait for room in it.
    async fn close(mut self) {
        // The last writes still reach the watches, and as frames the links. It ends: only finished steps
        // give outputs, and each peer's frames are bounded.
        self.wake_if_due();
        while !self.shared.hands().drain(&self.shared) {}
        let transport = self.transport.clone();
        let mut closing = std::pin::pin!(transport.shutdown());
        loop {
            tokio::select! {
                biased;
                () = &mut closing => break,
                Some(_) = self.inbox.recv() => {}
                () = tokio::time::sleep(BEAT) => self.watchdog.turned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterCa, Error, Node, PeerAddr};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_core_that_broke_is_cut_off_from_its_peers_and_takes_no_more_writes() {
        let ca = ClusterCa::create("test").expect("a CA can be made");
        let identity = |name| ca.issue(name).expect("a certificate can be issued");
        let peer = Node::builder().identity(identity("peer")).start().await.expect("starts");
        let addr = PeerAddr { addr: peer.listen_addr().to_string(), id: Some(peer.id()) };
        let node = Node::builder().identity(identity("node")).peer(addr).start().await.expect("starts");
        while peer.status().peers_connected == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        let breaking = node.clone();
        let broken = std::thread::spawn(move || {
            let _core = breaking.shared().core();
            panic!("as if an invariant of the core broke");
        });
        assert!(broken.join().is_err());
        node.shutdown().await;
        assert_eq!(node.pn_counter("count").add(1), Err(Error::Closed));
        while peer.status().peers_connected > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
