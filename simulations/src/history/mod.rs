//! The abstract execution: who wrote what, and which writes each write had seen.
//!
//! The world records an [`Op`] for every write that a node accepted, with what its origin knew just
//! before ([`Seen`]) and the dots it was given. Nothing of a store's contents is in it, so the oracle that
//! reads it cannot repeat an error of the engine: what is visible follows from *these* relations alone
//! (Burckhardt et al. 2014, replicated data types: specification, verification, optimality).

mod act;
mod damage;
mod rotten;

use std::collections::{BTreeMap, BTreeSet};

use sync_core::causal::CausalContext;
use sync_core::id::{Dot, OwnerId, ReplicaId};

pub use act::{Act, Kind};
pub use damage::Damaged;
pub use rotten::Rotten;

/// Names an operation; they are numbered from 0 in the order in which they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub usize);

/// A set of events that has no gaps: for each life, how many of its events are in it.
///
/// A plain copy of a causal context, so that the oracle shares no code with the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<ReplicaId, u64>);

impl Seen {
    /// How many events of `life` are in it.
    pub fn get(&self, life: ReplicaId) -> u64 {
        self.0.get(&life).copied().unwrap_or(0)
    }

    /// True if `dot` is in it.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.seq <= self.get(dot.replica)
    }

    /// True if everything in `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(life, count)| *count <= self.get(*life))
    }

    /// Takes in the events of a life up to `dot`.
    pub fn raise(&mut self, dot: Dot) {
        let count = self.0.entry(dot.replica).or_default();
        *count = dot.seq.max(*count);
    }

    /// The lives with events in it, ascending, and how many.
    pub fn columns(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.0.iter().map(|(life, count)| (*life, *count))
    }
}

impl From<&CausalContext> for Seen {
    fn from(context: &CausalContext) -> Self {
        Self(context.columns().collect())
    }
}

/// One operation that a node accepted.
#[derive(Clone, Debug)]
pub struct Op {
    /// Its number; [`History::record`] sets it.
    pub id: OpId,
    /// The node that accepted it.
    pub node: usize,
    /// The life of the node that minted its dots.
    pub life: ReplicaId,
    /// The counter owner of that node then.
    pub owner: OwnerId,
    /// What was asked.
    pub act: Act,
    /// Its first and last dot; `None` if nothing had to be minted (removing what is absent).
    pub dots: Option<(Dot, Dot)>,
    /// What the origin knew just before; in a group, the earlier dots of the group too.
    pub seen: Seen,
    /// The hybrid clock reading that it was written with. Decides between concurrent writes of one field.
    pub hlc: u64,
    /// Operations of one group share this number, and take effect together.
    pub group: u64,
    /// When what it wrote expires, in wall milliseconds; 0 for never.
    pub expires: u64,
    /// The horizon of its origin then: what expires up to it was dead there.
    pub horizon: u64,
    /// The persist step that makes it durable ([`sync_core::node::Written::step`]).
    pub step: u64,
    /// When it was accepted, in virtual microseconds.
    pub at: u64,
    /// Lost items that it covers and its origin did not hold; empty where nothing was damaged.
    pub blind: Vec<Dot>,
}

impl Op {
    /// True if `dot` is one of its dots.
    pub fn minted(&self, dot: Dot) -> bool {
        self.dots.is_some_and(|(first, last)| {
            dot.replica == first.replica && (first.seq..=last.seq).contains(&dot.seq)
        })
    }

    /// True if whoever knows `seen` knows all of this operation.
    pub fn is_in(&self, seen: &Seen) -> bool {
        self.dots.is_some_and(|(_, last)| seen.contains(last))
    }

    /// True if what it wrote is dead at `horizon`.
    pub fn is_expired(&self, horizon: u64) -> bool {
        (1..=horizon).contains(&self.expires)
    }

    /// True if this operation had seen `other`.
    pub fn saw(&self, other: &Self) -> bool {
        other.is_in(&self.seen) && !other.dots.is_some_and(|(_, last)| self.blind.contains(&last))
    }
}

/// Every operation of a run, with the indexes that the oracle and the checkers need.
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Op>,
    objects: BTreeMap<(Kind, String), Vec<OpId>>,
    /// Of each life, the last sequence of an operation and the operation.
    lives: BTreeMap<ReplicaId, BTreeMap<u64, OpId>>,
    groups: BTreeMap<u64, Vec<OpId>>,
    doubled: BTreeSet<OwnerId>,
    damages: Vec<Damaged>,
    /// What could be read on rotten disks of their nodes' own items.
    rotten: Vec<Rotten>,
    /// Operations that were blind to a lost item.
    blind: Vec<OpId>,
    /// When what was written expires.
    expiries: BTreeSet<u64>,
}

impl History {
    /// Records an operation; its [`Op::id`] is set here.
    pub fn record(&mut self, mut op: Op) -> OpId {
        let id = OpId(self.ops.len());
        op.id = id;
        if let Some((_, last)) = op.dots {
            self.lives.entry(last.replica).or_default().insert(last.seq, id);
            self.objects.entry((op.act.kind(), op.act.key().to_owned())).or_default().push(id);
            self.groups.entry(op.group).or_default().push(id);
            if !op.blind.is_empty() {
                self.blind.push(id);
            }
        }
        self.expiries.extend(Some(op.expires).filter(|expires| *expires > 0));
        self.ops.push(op);
        id
    }

    /// True if something that was written expires at `wall` milliseconds.
    pub fn expires_at(&self, wall: u64) -> bool {
        self.expiries.contains(&wall)
    }

    /// True if anything that was written expires.
    pub fn has_expiries(&self) -> bool {
        !self.expiries.is_empty()
    }

    /// The operation `id`.
    ///
    /// # Panics
    /// If `id` is of another history.
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[id.0]
    }

    /// Every operation, in the order in which they were recorded.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The operation that minted `dot`; `None` for an event that the node minted by itself.
    pub fn by_dot(&self, dot: Dot) -> Option<&Op> {
        let (_, id) = self.lives.get(&dot.replica)?.range(dot.seq..).next()?;
        Some(self.op(*id)).filter(|op| op.minted(dot))
    }

    /// The operations that minted a dot of `life` with a sequence in `first..=last`, ascending.
    pub fn of_life(&self, life: ReplicaId, first: u64, last: u64) -> impl Iterator<Item = &Op> + '_ {
        let ops =
            self.lives.get(&life).into_iter().flat_map(move |ops| ops.range(first..).map(|(_, id)| *id));
        ops.map(|id| self.op(id)).take_while(move |op| op.dots.is_some_and(|(start, _)| start.seq <= last))
    }

    /// The operations known to `seen` that minted something, by life and sequence.
    pub fn known<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = &'a Op> + 'a {
        seen.columns().flat_map(move |(life, count)| {
            let ops = self.lives.get(&life).into_iter().flat_map(move |ops| ops.range(..=count));
            ops.map(|(_, id)| self.op(*id))
        })
    }

    /// Every object that an operation that minted something was about, ascending.
    pub fn objects(&self) -> impl Iterator<Item = (Kind, &str)> + '_ {
        self.objects.keys().map(|(kind, key)| (*kind, key.as_str()))
    }

    /// The operations on one object that minted something, in the order in which they were recorded.
    pub fn on_object(&self, kind: Kind, key: &str) -> impl Iterator<Item = &Op> + '_ {
        let ops = self.objects.get(&(kind, key.to_owned()));
        ops.into_iter().flatten().map(|id| self.op(*id))
    }

    /// The operations of a group that minted something, in order.
    pub fn of_group(&self, group: u64) -> impl Iterator<Item = &Op> + '_ {
        self.groups.get(&group).into_iter().flatten().map(|id| self.op(*id))
    }

    /// Two disks now hold this counter owner: they were copied, and both copies live. Exact totals are
    /// no longer promised for the counters that it counts on.
    pub fn mark_doubled(&mut self, owner: OwnerId) {
        self.doubled.insert(owner);
    }

    /// True after [`Self::mark_doubled`].
    pub fn is_doubled(&self, owner: OwnerId) -> bool {
        self.doubled.contains(&owner)
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True if nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a history by hand: who wrote what, and the latest operations that it had seen.
    #[derive(Debug, Default)]
    pub(crate) struct Story {
        pub(crate) history: History,
        next: BTreeMap<u8, u64>,
    }

    impl Story {
        /// What a replica knows that knows `ops` and all that these had seen.
        pub(crate) fn seen(&self, ops: &[OpId]) -> Seen {
            let mut seen = Seen::default();
            for op in ops.iter().map(|id| self.history.op(*id)) {
                op.seen.columns().for_each(|(life, seq)| seen.raise(Dot::new(life, seq)));
                op.dots.into_iter().for_each(|(_, last)| seen.raise(last));
            }
            seen
        }

        pub(crate) fn act(&mut self, life: u8, saw: &[OpId], act: Act, hlc: u64) -> OpId {
            let seq = self.next.entry(life).or_default();
            *seq += 1;
            let dot = Dot::new(ReplicaId([life; 16]), *seq);
            let mut seen = self.seen(saw);
            if dot.seq > 1 {
                seen.raise(Dot::new(dot.replica, dot.seq - 1));
            }
            let at = self.history.len() as u64;
            let (node, owner) = (usize::from(life), OwnerId([life; 16]));
            let op = Op {
                id: OpId(0),
                node,
                life: dot.replica,
                owner,
                act,
                dots: Some((dot, dot)),
                seen,
                hlc,
                group: at,
                expires: 0,
                horizon: 0,
                step: at,
                at,
                blind: Vec::new(),
            };
            self.history.record(op)
        }

        /// What `op` wrote expires at `expires`; its origin's horizon was `horizon`.
        pub(crate) fn expiring(&mut self, op: OpId, expires: u64, horizon: u64) -> OpId {
            (self.history.ops[op.0].expires, self.history.ops[op.0].horizon) = (expires, horizon);
            self.history.expiries.insert(expires);
            op
        }

        /// `op` did not see this lost item.
        pub(crate) fn blinded(&mut self, op: OpId, lost: Dot) -> OpId {
            self.history.ops[op.0].blind = vec![lost];
            self.history.blind.push(op);
            op
        }

        pub(crate) fn add(&mut self, life: u8, saw: &[OpId], key: &str, element: &str) -> OpId {
            self.act(life, saw, Act::Add { key: key.to_owned(), element: element.into() }, 0)
        }

        pub(crate) fn remove(&mut self, life: u8, saw: &[OpId], key: &str, element: &str) -> OpId {
            self.act(life, saw, Act::Remove { key: key.to_owned(), element: element.into() }, 0)
        }

        pub(crate) fn clear(&mut self, life: u8, saw: &[OpId], key: &str) -> OpId {
            self.act(life, saw, Act::Clear { key: key.to_owned() }, 0)
        }

        pub(crate) fn put(
            &mut self,
            life: u8,
            saw: &[OpId],
            key: &str,
            field: &str,
            value: &str,
            hlc: u64,
        ) -> OpId {
            self.act(
                life,
                saw,
                Act::Put { key: key.to_owned(), field: field.into(), value: value.into() },
                hlc,
            )
        }

        pub(crate) fn count(&mut self, life: u8, saw: &[OpId], key: &str, by: i64) -> OpId {
            self.act(life, saw, Act::Count { key: key.to_owned(), by }, 0)
        }

        pub(crate) fn reset(&mut self, life: u8, saw: &[OpId], key: &str) -> OpId {
            self.act(life, saw, Act::Reset { key: key.to_owned() }, 0)
        }
    }

    #[test]
    fn an_operation_is_found_by_each_of_its_dots() {
        let mut story = Story::default();
        let (first, second) = (story.add(1, &[], "s", "x"), story.add(1, &[], "s", "y"));
        let dot = |seq| Dot::new(ReplicaId([1; 16]), seq);
        assert_eq!(story.history.by_dot(dot(1)).map(|op| op.id), Some(first));
        assert_eq!(story.history.by_dot(dot(2)).map(|op| op.id), Some(second));
        assert!(story.history.by_dot(dot(3)).is_none());
        assert!(story.history.op(second).saw(story.history.op(first)));
        let mut one = Seen::default();
        one.raise(dot(1));
        assert_eq!(story.history.known(&one).map(|op| op.id).collect::<Vec<_>>(), [first]);
    }
}
