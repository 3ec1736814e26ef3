//! Frames are held: no frame tells of an event of its sender's own that is not durable there.
//!
//! A node whose disk was never seen to make anything durable lives in memory; it holds nothing.

use std::collections::BTreeMap;

use sync_core::id::{Dot, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;

use super::{Checker, Origin, Sent, Step, Violation};
use crate::history::OpId;

const NAME: &str = "frames are held";

/// Own events of a node, not durable yet.
#[derive(Debug)]
struct Pending {
    step: u64,
    first: Dot,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Held {
    pending: BTreeMap<usize, Vec<Pending>>,
    /// Nodes with a disk, and the step it has reached in this life.
    durable: BTreeMap<usize, u64>,
    limits: Limits,
}

/// How far a frame tells of the events of `life`.
fn shown(frame: &Frame, life: ReplicaId) -> u64 {
    match frame {
        Frame::Push(_, push) => push.fragment.dots.top(life),
        Frame::Give(_, give) => give.fragment.dots.top(life),
        Frame::Skeleton(_, skeleton) => skeleton.fragment.dots.top(life),
        Frame::Payloads(_, payloads) => {
            let items = payloads.items.iter().map(|(_, item)| item.dot);
            items.filter(|dot| dot.replica == life).map(|dot| dot.seq).max().unwrap_or(0)
        }
        Frame::Ack(_, ack) => ack.known.get(life),
        Frame::Quote(_, quote) => quote.context.get(life),
        Frame::Open(_, open) => open.context.get(life),
        // A pull shows what its sender would like to be spared; nobody relies on it.
        Frame::Pull(..)
        | Frame::Survey(..)
        | Frame::Hello(_)
        | Frame::Root(..)
        | Frame::Part(..)
        | Frame::More(..)
        | Frame::Symbols(..)
        | Frame::Nodes(..)
        | Frame::NodesFound(..)
        | Frame::Inspect(..)
        | Frame::Inspected(..) => 0,
    }
}

impl Checker for Held {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, _origin: Origin) -> Result<(), Violation> {
        self.pending.remove(&step.node);
        if let Some(reached) = self.durable.get_mut(&step.node) {
            *reached = 0;
        }
        Ok(())
    }

    fn wrote(&mut self, step: &mut Step<'_>, ops: &[OpId]) -> Result<(), Violation> {
        let ops = ops.iter().map(|id| step.history.op(*id));
        let own = ops.filter_map(|op| op.dots.map(|(first, _)| Pending { step: op.step, first }));
        self.pending.entry(step.node).or_default().extend(own);
        Ok(())
    }

    fn durable(&mut self, node: usize, step: u64) {
        let reached = self.durable.entry(node).or_default();
        *reached = step.max(*reached);
        if let Some(pending) = self.pending.get_mut(&node) {
            pending.retain(|own| own.step > *reached);
        }
    }

    fn sent(&mut self, sent: &Sent<'_>) -> Result<(), Violation> {
        let Sent { node, to, bytes, dictionary, resting: _ } = *sent;
        let Some(pending) = self.pending.get(&node).filter(|_| self.durable.contains_key(&node)) else {
            return Ok(());
        };
        let Some(oldest) = pending.first() else { return Ok(()) };
        let Ok(frame) = Frame::decode(bytes, dictionary, &self.limits) else { return Ok(()) };
        let shown = shown(&frame, oldest.first.replica);
        if shown >= oldest.first.seq {
            let what =
                format!("tells node {to} of own events up to {shown}; {:?} is not durable", oldest.first);
            return Err(Violation { property: NAME, node, what });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;
    use sync_core::dictionary::Dictionary;
    use sync_core::id::NamespaceId;
    use sync_core::message::{Ack, Dialect, Route};

    #[test]
    fn a_frame_that_leaves_before_its_state_is_durable_is_caught() {
        let mut bench = Bench::new(Held::default());
        bench.suite.durable(0, 0);
        bench.add("s", "x").expect("writing is right");
        let life = bench.node.replica();
        let route = Route { namespace: NamespaceId::named("default"), from: life, to: life, known: 0 };
        let known = bench.store().context().clone();
        let bytes = Frame::Ack(route, Ack { hi: None, known }).encode(&Dialect::default());
        let dictionary = Dictionary::default().with(route.namespace, (life, life), Vec::new());
        let sent = Sent { node: 0, to: 1, bytes: &bytes, dictionary: &dictionary, resting: false };
        assert!(bench.suite.sent(&sent).is_err());
        bench.suite.durable(0, u64::MAX);
        bench.suite.sent(&sent).expect("now it is durable");
    }
}
