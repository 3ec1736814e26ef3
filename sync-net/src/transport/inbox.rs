//! What the transport has to tell, on its way to the engine: one bounded queue for each class, the most urgent first.
//!
//! A class whose queue is full stops the reading of its streams and holds up no other. For each link the engine is told
//! `Up` before and `Down` behind all that the link brought, on whatever stream: nothing else of a link is queued before
//! its [`Greeting`] has been taken, and `Down` goes through all three queues, where the last of the three
//! is it.

use std::sync::Arc;

use sync_core::class::Class;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::TransportEvent;
use super::streams::PerClass;

/// Urgent events that are given out in a row, at most, while others wait: then one of these is. So a peer that floods the
/// urgent lane does not silence the rest.
const URGENT_IN_A_ROW: u32 = 64;

/// How far a link's first frame, the peer's `Hello`, has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Greeting {
    /// It is waited for.
    #[default]
    Awaited,
    /// It is queued for the engine.
    Queued,
    /// The engine has it: what came on other streams may follow.
    Taken,
}

#[derive(Debug)]
pub(super) enum Queued {
    Event(TransportEvent),
    /// An event that others of its link wait for.
    First(TransportEvent, Arc<watch::Sender<Greeting>>),
    /// One in each queue.
    Last(Arc<Ending>),
}

impl Queued {
    /// The event, if this is all of it.
    fn told(self) -> Option<TransportEvent> {
        match self {
            Self::Event(event) => Some(event),
            Self::First(event, greeting) => {
                greeting.send_replace(Greeting::Taken);
                Some(event)
            }
            Self::Last(ending) => Arc::into_inner(ending).map(|ending| ending.event),
        }
    }
}

/// The end of a link.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) event: TransportEvent,
    /// The next link to the same peer is announced once this is gone.
    pub(super) _turn: OwnedSemaphorePermit,
}

/// The transport's side.
#[derive(Debug)]
pub(crate) struct Queues {
    senders: PerClass<mpsc::Sender<Queued>>,
}

/// The engine's side.
#[derive(Debug)]
pub(crate) struct Inbox {
    receivers: PerClass<mpsc::Receiver<Queued>>,
    /// Urgent events given out in a row.
    in_a_row: u32,
}

/// Queues for `max` events of each class.
pub(crate) fn queues(max: usize) -> (Queues, Inbox) {
    let mut receivers = Vec::new();
    let senders = PerClass::new(|_| {
        let (sender, receiver) = mpsc::channel(max);
        receivers.push(receiver);
        sender
    });
    let mut receivers = receivers.into_iter();
    let receivers = PerClass::new(|_| receivers.next().expect("one was made for each class"));
    (Queues { senders }, Inbox { receivers, in_a_row: 0 })
}

impl Queues {
    /// The queue of `class`.
    pub(super) fn of(&self, class: Class) -> &mpsc::Sender<Queued> {
        self.senders.of(class)
    }

    /// Queues what belongs to no stream, if there is room.
    pub(super) fn try_tell(&self, event: TransportEvent) {
        let _ = self.of(Class::Urgent).try_send(Queued::Event(event));
    }

    /// Returns when nobody receives any more.
    pub(super) async fn closed(&self) {
        self.of(Class::Urgent).closed().await;
    }
}

impl Inbox {
    /// The next event, the most urgent first; `None` once the transport is gone and all was taken. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Option<TransportEvent> {
        loop {
            if let Some(event) = self.try_recv() {
                return Some(event);
            }
            let [urgent, normal, bulk] = self.receivers.all_mut();
            let queued = tokio::select! {
                biased;
                Some(queued) = urgent.recv() => queued,
                Some(queued) = normal.recv() => queued,
                Some(queued) = bulk.recv() => queued,
                else => return None,
            };
            if let Some(event) = queued.told() {
                return Some(event);
            }
        }
    }

    /// The next event if there is one now.
    pub(crate) fn try_recv(&mut self) -> Option<TransportEvent> {
        loop {
            let queued = self.pop()?;
            if let Some(event) = queued.told() {
                return Some(event);
            }
        }
    }

    /// How many events of `class` wait.
    #[cfg(test)]
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.receivers.of(class).len()
    }

    fn pop(&mut self) -> Option<Queued> {
        let [urgent, normal, bulk] = self.receivers.all_mut();
        let in_a_row = std::mem::take(&mut self.in_a_row);
        let turn_of_others = in_a_row >= URGENT_IN_A_ROW;
        if turn_of_others && let Ok(queued) = normal.try_recv().or_else(|_| bulk.try_recv()) {
            return Some(queued);
        }
        if let Ok(queued) = urgent.try_recv() {
            self.in_a_row = if turn_of_others { 1 } else { in_a_row + 1 };
            return Some(queued);
        }
        normal.try_recv().or_else(|_| bulk.try_recv()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: &str) -> TransportEvent {
        TransportEvent::Refused { addr: ([127, 0, 0, 1], 1).into(), reason: reason.to_owned() }
    }

    fn reason(event: Option<TransportEvent>) -> String {
        match event {
            Some(TransportEvent::Refused { reason, .. }) => reason,
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_urgent_is_given_out_first_and_a_full_queue_of_another_class_does_not_stop_it() {
        let (queues, mut inbox) = queues(1);
        let tell = |class, text| queues.of(class).try_send(Queued::Event(refused(text))).is_ok();
        assert!(tell(Class::Bulk, "bulk") && !tell(Class::Bulk, "one too many"));
        assert!(tell(Class::Normal, "normal") && tell(Class::Urgent, "urgent"));
        for wanted in ["urgent", "normal", "bulk"] {
            assert_eq!(reason(inbox.recv().await), wanted);
        }
        drop(queues);
        assert!(inbox.recv().await.is_none());
    }

    #[test]
    fn a_flood_of_urgent_events_lets_another_through_now_and_then() {
        let (queues, mut inbox) = queues(200);
        let tell = |class, text| queues.of(class).try_send(Queued::Event(refused(text))).is_ok();
        assert!((0..200).all(|_| tell(Class::Urgent, "urgent")));
        assert!(tell(Class::Normal, "normal") && tell(Class::Bulk, "bulk"));
        let given: Vec<String> = (0..202).map(|_| reason(inbox.try_recv())).collect();
        let at = |text| given.iter().position(|given| given == text);
        assert_eq!((at("normal"), at("bulk")), (Some(64), Some(129)));
    }

    #[tokio::test]
    async fn the_end_of_a_link_is_told_behind_all_that_it_brought_and_then_the_next_may_begin() {
        let (queues, mut inbox) = queues(4);
        let turn = Arc::new(tokio::sync::Semaphore::new(1));
        let permit = Arc::clone(&turn).acquire_owned().await.expect("nobody closes it");
        assert!(queues.of(Class::Bulk).try_send(Queued::Event(refused("bulk"))).is_ok());
        let ending = Arc::new(Ending { event: refused("down"), _turn: permit });
        for class in Class::ALL {
            assert!(queues.of(class).try_send(Queued::Last(Arc::clone(&ending))).is_ok());
        }
        drop(ending);
        assert_eq!(reason(inbox.try_recv()), "bulk");
        assert_eq!(turn.available_permits(), 0);
        assert_eq!(reason(inbox.recv().await), "down");
        assert_eq!(turn.available_permits(), 1);
    }
}
