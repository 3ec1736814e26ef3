//! Whether a difference is what two replicas show that have not yet exchanged everything, or damage.
//!
//! An item that only one side holds is explained if the other lacks the event that wrote it, or knows an
//! event that this side lacks, which may have ended it; or if it expired. State is a function of the
//! context (DESIGN section 3, T5), so what none of these explains is an alarm. Contexts are read before
//! and after the cells and only grow between: every alarm is certain, whatever moved meanwhile.

use std::collections::BTreeMap;

use sync_net::{ItemDigest, Knowledge};

/// What a node knows: how many events of each replica, and its horizon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    columns: BTreeMap<String, u64>,
    horizon_ms: u64,
}

/// What a node knew before and after its cells were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) before: Context,
    pub(super) after: Context,
}

impl Known {
    /// Of a node that knows just this.
    pub(super) fn of(knowledge: &Knowledge) -> Self {
        let columns = knowledge.context.iter().map(|column| (column.replica.clone(), column.known)).collect();
        let context = Context { columns, horizon_ms: knowledge.horizon_ms };
        Self { before: context.clone(), after: context }
    }
}

impl Context {
    fn get(&self, replica: &str) -> u64 {
        self.columns.get(replica).copied().unwrap_or(0)
    }

    fn holds(&self, item: &ItemDigest) -> bool {
        item.seq <= self.get(&item.replica)
    }

    /// How many events of `other` are not known here.
    pub(super) fn lacks(&self, other: &Self) -> u64 {
        other.columns.iter().map(|(replica, known)| known.saturating_sub(self.get(replica))).sum()
    }
}

/// Which of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    A,
    B,
}

impl Who {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Why an item is on one side only, or not the same on both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// This node lacks the event that wrote it.
    NotReceived(Who),
    /// It reached this node while the two were read.
    Arriving(Who),
    /// This node lacks events, among them the one that ended it.
    NotEnded(Who),
    /// This node's horizon has not reached its expiry.
    NotExpired(Who),
    /// This node holds it, and the other does not, though the other knows the event and no other that could
    /// have ended it.
    Unexplained(Who),
    /// One event with two contents.
    TwoContents,
}

impl Why {
    /// False for an alarm.
    pub(super) fn is_explained(&self) -> bool {
        match self {
            Self::NotReceived(_) | Self::Arriving(_) | Self::NotEnded(_) | Self::NotExpired(_) => true,
            Self::Unexplained(_) | Self::TwoContents => false,
        }
    }
}

/// Every reason why one cell differs, each once.
pub(super) fn judge(a: (&[ItemDigest], &Known), b: (&[ItemDigest], &Known)) -> Vec<Why> {
    let mut whys = Vec::new();
    for (who, (items, holder), (others, other)) in [(Who::A, a, b), (Who::B, b, a)] {
        for item in items {
            let twin = others.iter().find(|twin| (&twin.replica, twin.seq) == (&item.replica, item.seq));
            match twin {
                Some(twin) if twin == item => {}
                Some(_) => whys.push(Why::TwoContents),
                None => whys.push(alone(item, who, holder, other)),
            }
        }
    }
    whys.sort_unstable();
    whys.dedup();
    whys
}

/// Why `item` is live with `who` and not with the other.
fn alone(item: &ItemDigest, who: Who, holder: &Known, other: &Known) -> Why {
    let has_expired = |horizon_ms: u64| item.expires_ms != 0 && item.expires_ms <= horizon_ms;
    if !other.after.holds(item) {
        Why::NotReceived(who.other())
    } else if !other.before.holds(item) {
        Why::Arriving(who.other())
    } else if has_expired(other.after.horizon_ms) && !has_expired(holder.before.horizon_ms) {
        Why::NotExpired(who)
    } else if holder.before.lacks(&other.after) > 0 {
        Why::NotEnded(who)
    } else {
        Why::Unexplained(who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_net::Shown;

    fn item(replica: &str, seq: u64, expires_ms: u64) -> ItemDigest {
        ItemDigest {
            replica: replica.to_owned(),
            seq,
            hlc: 1,
            expires_ms,
            digest: "00".to_owned(),
            payload: Shown::Hex(String::new()),
        }
    }

    fn context(columns: &[(&str, u64)], horizon_ms: u64) -> Context {
        let columns = columns.iter().map(|(replica, known)| ((*replica).to_owned(), *known)).collect();
        Context { columns, horizon_ms }
    }

    fn still(columns: &[(&str, u64)]) -> Known {
        Known { before: context(columns, 0), after: context(columns, 0) }
    }

    #[test]
    fn an_item_whose_event_the_other_lacks_was_not_received() {
        let whys = judge((&[item("x", 5, 0)], &still(&[("x", 5)])), (&[], &still(&[("x", 4)])));
        assert_eq!(whys, [Why::NotReceived(Who::B)]);
    }

    #[test]
    fn an_item_that_the_other_knows_and_does_not_hold_was_ended_there_by_what_this_side_lacks() {
        let whys = judge((&[], &still(&[("x", 5), ("y", 1)])), (&[item("x", 5, 0)], &still(&[("x", 5)])));
        assert_eq!(whys, [Why::NotEnded(Who::B)]);
    }

    #[test]
    fn the_same_events_and_another_state_are_an_alarm() {
        let same = still(&[("x", 5), ("y", 1)]);
        let whys = judge((&[item("x", 5, 0)], &same), (&[], &same));
        assert_eq!(whys, [Why::Unexplained(Who::A)]);
        assert!(!whys[0].is_explained());
    }

    #[test]
    fn a_side_that_knows_more_and_holds_what_the_other_ended_is_an_alarm_too() {
        let (more, less) = (still(&[("x", 5), ("y", 9)]), still(&[("x", 5), ("y", 1)]));
        assert_eq!(judge((&[item("x", 5, 0)], &more), (&[], &less)), [Why::Unexplained(Who::A)]);
    }

    #[test]
    fn one_event_with_two_contents_is_an_alarm_whatever_else_is_lacking() {
        let flipped = ItemDigest { digest: "01".to_owned(), ..item("x", 5, 0) };
        let whys = judge((&[item("x", 5, 0)], &still(&[("x", 5)])), (&[flipped], &still(&[("x", 9)])));
        assert_eq!(whys, [Why::TwoContents]);
    }

    #[test]
    fn what_arrived_or_was_ended_between_the_two_readings_is_no_alarm() {
        let at_rest = still(&[("x", 5), ("y", 2)]);
        let learning = Known { before: context(&[("x", 4)], 0), after: context(&[("x", 5), ("y", 2)], 0) };
        assert_eq!(judge((&[item("x", 5, 0)], &at_rest), (&[], &learning)), [Why::Arriving(Who::B)]);
        let ending =
            Known { before: context(&[("x", 5), ("y", 2)], 0), after: context(&[("x", 5), ("y", 3)], 0) };
        assert_eq!(judge((&[item("x", 5, 0)], &at_rest), (&[], &ending)), [Why::NotEnded(Who::A)]);
    }

    #[test]
    fn what_expired_on_one_side_only_waits_for_the_horizon_of_the_other() {
        let (behind, ahead) =
            (still(&[("x", 5)]), Known { before: context(&[("x", 5)], 10), after: context(&[("x", 5)], 10) });
        assert_eq!(judge((&[item("x", 5, 10)], &behind), (&[], &ahead)), [Why::NotExpired(Who::A)]);
        assert_eq!(judge((&[item("x", 5, 11)], &behind), (&[], &ahead)), [Why::Unexplained(Who::A)]);
    }
}
