//! Silence at rest: once nothing is left to say, only roots go, one round a peer per sync interval.
//!
//! A round in which a log is confirmed for the first time ends with an acknowledgement that tells no news.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::limits::Limits;
use sync_core::message::Frame;

use super::{Checker, Sent, Violation};

const NAME: &str = "silence at rest";

/// How long a run rests at its end for this checker at most, in sync intervals.
pub const REST_INTERVALS: u64 = 2;

/// Most roots from one node to another in that time: three intervals touch it, and in each a node may
/// send one by itself and one as an answer.
const ROOTS_MAX: u32 = 6;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Rest {
    roots: BTreeMap<(usize, usize), u32>,
    confirmed: BTreeSet<(usize, usize)>,
    limits: Limits,
}

impl Checker for Rest {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sent(&mut self, sent: &Sent<'_>) -> Result<(), Violation> {
        let Sent { node, to, bytes, dictionary, resting } = *sent;
        if !resting {
            return Ok(());
        }
        let what = match Frame::decode(bytes, dictionary, &self.limits) {
            Ok(Frame::Root(..)) => {
                let roots = self.roots.entry((node, to)).or_default();
                *roots += 1;
                if *roots <= ROOTS_MAX {
                    return Ok(());
                }
                format!("sent {roots} roots to node {to} at rest; {ROOTS_MAX} would do")
            }
            Ok(Frame::Ack(_, ack)) if ack.known.is_empty() && self.confirmed.insert((node, to)) => {
                return Ok(());
            }
            Ok(frame) => format!("sent node {to} a frame at rest that is no root: {frame:?}"),
            Err(error) => format!("sent node {to} bytes that are no frame: {error}"),
        };
        Err(Violation { property: NAME, node, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::Suite;
    use sync_core::dictionary::Dictionary;
    use sync_core::id::{NamespaceId, ReplicaId, StateId};
    use sync_core::message::{Ack, Dialect, Root, Route};

    #[test]
    fn chatter_at_rest_is_caught() {
        let (life, namespace) = (ReplicaId([1; 16]), NamespaceId::named("default"));
        let route = Route { namespace, from: life, to: life, known: 0 };
        let root = Root {
            state: StateId([0; 32]),
            head: 0,
            clock: None,
            behind: false,
            neighbour: false,
            wants_reply: false,
            wants_whole: false,
        };
        let root = Frame::Root(route, root).encode(&Dialect::default());
        let ack = Frame::Ack(route, Ack { hi: None, known: Default::default() }).encode(&Dialect::default());
        let dictionary = Dictionary::default().with(namespace, (life, life), Vec::new());
        let sent = |bytes, resting| Sent { node: 0, to: 1, bytes, dictionary: &dictionary, resting };
        let mut suite = Suite::of(vec![Box::new(Rest::default())], 1);
        suite.sent(&sent(&ack, false)).expect("it is not resting yet");
        suite.sent(&sent(&ack, true)).expect("a log is confirmed once");
        (0..ROOTS_MAX).for_each(|_| suite.sent(&sent(&root, true)).expect("a round is right"));
        assert!(suite.sent(&sent(&root, true)).is_err());
        assert!(suite.sent(&sent(&ack, true)).is_err());
    }
}
