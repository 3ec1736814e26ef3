//! A bench for the checkers' own tests: one node, one checker, and a history that can be made to lie.

use sync_core::error::WriteError;
use sync_core::id::{Dot, NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::node::{Changed, Config, DEFAULT_NAMESPACE, Event, Node, Output};
use sync_core::store::{Damage, Group, Store};
use sync_core::time::Now;
use sync_core::types::or_set;

use super::{Checker, Origin, Suite, Violation};
use crate::faults::Harm;
use crate::history::{Act, Damaged, History, Op, OpId, Seen};

pub(super) struct Bench {
    pub(super) node: Node,
    pub(super) suite: Suite,
    history: History,
    group: u64,
    last_told: Option<Changed>,
}

impl Bench {
    pub(super) fn new(checker: impl Checker + 'static) -> Self {
        Self::with_limits(checker, |_| {})
    }

    pub(super) fn with_limits(checker: impl Checker + 'static, set: impl FnOnce(&mut Limits)) -> Self {
        let node = Node::new(Self::config(1, set), Now::default());
        Self {
            node,
            suite: Suite::of(vec![Box::new(checker)], 1),
            history: History::default(),
            group: 0,
            last_told: None,
        }
    }

    fn config(life: u8, set: impl FnOnce(&mut Limits)) -> Config {
        let mut config = Config::new(NodeId([1; 32]), ReplicaId([life; 16]), OwnerId([1; 16]), [7; 32]);
        set(&mut config.limits);
        config
    }

    /// A new life on the state as it is, with other limits; nobody is told.
    pub(super) fn relimit(&mut self, set: impl FnOnce(&mut Limits)) {
        self.node = Node::restart(Self::config(2, set), self.node.image(), Now::default());
    }

    pub(super) fn namespace(&self) -> NamespaceId {
        NamespaceId::named(DEFAULT_NAMESPACE)
    }

    pub(super) fn store(&self) -> &Store {
        self.node.store(self.namespace()).expect("the default namespace is open")
    }

    fn op(&self, act: Act, dots: Option<(Dot, Dot)>, seen: Seen) -> Op {
        let hlc = dots.and_then(|(dot, _)| self.store().item(dot)).map_or(0, |(_, item)| item.hlc.0);
        let (life, owner) = (self.node.replica(), self.node.owner());
        Op {
            id: OpId(0),
            node: 0,
            life,
            owner,
            act,
            dots,
            seen,
            hlc,
            group: self.group,
            expires: 0,
            horizon: self.store().horizon().0,
            step: self.group,
            at: self.group,
            blind: Vec::new(),
        }
    }

    /// Writes by `fill`; the suite is not told.
    pub(super) fn unrecorded(
        &mut self,
        fill: impl FnOnce(&mut Group<'_>) -> Result<(), WriteError>,
    ) -> Option<(Dot, Dot)> {
        let written = self.node.write(Now::default(), self.namespace(), fill).expect("the bench has room").1;
        written.first.zip(written.last)
    }

    fn tell(&mut self, op: Op) -> Result<(), Violation> {
        self.group += 1;
        let id = self.history.record(op);
        self.suite.wrote(&self.history, &[id], 0, &mut self.node)?;
        self.look()
    }

    /// Writes by `fill` and records it as `act`.
    pub(super) fn act(
        &mut self,
        act: Act,
        fill: impl FnOnce(&mut Group<'_>) -> Result<(), WriteError>,
    ) -> Result<(), Violation> {
        let seen = Seen::from(self.store().context());
        let dots = self.unrecorded(fill);
        let op = self.op(act, dots, seen);
        self.tell(op)
    }

    fn adding(key: &str, element: &str) -> Act {
        Act::Add { key: key.to_owned(), element: element.into() }
    }

    pub(super) fn add(&mut self, key: &str, element: &str) -> Result<(), Violation> {
        self.act(Self::adding(key, element), |group| or_set::add(group, key, element.as_bytes()))
    }

    pub(super) fn remove(&mut self, key: &str, element: &str) -> Result<(), Violation> {
        let act = Act::Remove { key: key.to_owned(), element: element.into() };
        self.act(act, |group| or_set::remove(group, key, element.as_bytes()).map(drop))
    }

    /// Adds, and records it as if an event of life `life` had been seen.
    pub(super) fn record_as_if_seen(&mut self, key: &str, element: &str, life: u8) {
        let mut seen = Seen::from(self.store().context());
        seen.raise(Dot::new(ReplicaId([life; 16]), 1));
        let dots = self.unrecorded(|group| or_set::add(group, key, element.as_bytes()));
        let op = self.op(Self::adding(key, element), dots, seen);
        self.history.record(op);
    }

    /// Records an add that nobody made, in the group of the next write.
    pub(super) fn record_unknown_in_next_group(&mut self, key: &str, element: &str) {
        let dot = Dot::new(ReplicaId([9; 16]), 1);
        let op = self.op(Self::adding(key, element), Some((dot, dot)), Seen::default());
        self.history.record(op);
    }

    /// Records an operation that minted nothing.
    pub(super) fn record_unminted(&mut self, act: Act) -> Result<(), Violation> {
        let op = self.op(act, None, Seen::from(self.store().context()));
        self.tell(op)
    }

    /// Records the newest event as `act`, and forgets what the suite concluded before.
    pub(super) fn record_last_dot_as(&mut self, act: Act) {
        let dot = Dot::new(self.node.replica(), self.store().context().get(self.node.replica()));
        let mut seen = Seen::default();
        seen.raise(Dot::new(dot.replica, dot.seq - 1));
        let op = self.op(act, Some((dot, dot)), seen);
        self.history.record(op);
        self.suite.watches.clear();
    }

    /// Adds, and records it with another clock reading.
    pub(super) fn record_with_clock(&mut self, key: &str, element: &str, hlc: u64) -> Result<(), Violation> {
        let seen = Seen::from(self.store().context());
        let dots = self.unrecorded(|group| or_set::add(group, key, element.as_bytes()));
        let op = Op { hlc, ..self.op(Self::adding(key, element), dots, seen) };
        self.tell(op)
    }

    /// Tells of a write of which nothing was recorded.
    pub(super) fn tell_of_write(&mut self) -> Result<(), Violation> {
        self.suite.wrote(&self.history, &[], 0, &mut self.node)
    }

    /// The node loses the item of its newest event, and the history says so.
    pub(super) fn lose_newest(&mut self) {
        let op = self.history.ops().last().expect("something was recorded");
        let (op, dot) = (op.id, op.dots.expect("it minted").1);
        let namespace = self.namespace();
        assert!(self.node.damage(namespace, Damage::LoseItem(dot)));
        self.history.damage(Damaged::new(0, Harm::LoseItem, op, dot, self.history.len()));
    }

    /// What was damaged counts as healed.
    pub(super) fn close_damage(&mut self) {
        self.history.damages_mut().iter_mut().for_each(|damaged| damaged.open = false);
    }

    pub(super) fn started(&mut self, origin: Origin) -> Result<(), Violation> {
        self.suite.started(&self.history, 0, origin, &mut self.node)
    }

    /// Tells the suite of all changes that wait, each as `lie` makes it.
    pub(super) fn tell_changes(&mut self, lie: impl Fn(&mut Changed)) -> Result<(), Violation> {
        while let Some(output) = self.node.poll_output() {
            if let Output::Event(Event::Changed(mut changed)) = output {
                lie(&mut changed);
                self.suite.told(0, &changed)?;
                self.last_told = Some(changed);
            }
        }
        Ok(())
    }

    /// Tells the last change again, as `lie` makes it.
    pub(super) fn tell_again(&mut self, lie: impl Fn(&mut Changed)) -> Result<(), Violation> {
        let mut changed = self.last_told.clone().expect("a change was told");
        lie(&mut changed);
        self.suite.told(0, &changed)
    }

    /// Walks the whole state.
    pub(super) fn look(&mut self) -> Result<(), Violation> {
        let Self { node, suite, history, .. } = self;
        suite.feed(history, 0, node, true, Suite::changed)
    }
}
