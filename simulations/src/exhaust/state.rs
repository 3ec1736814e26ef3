//! A state of the whole cluster as small numbers, and what can happen next.

use super::check::Histories;
use super::local::{Step, narrow};
use super::locals::Locals;
use super::scope::{REPLICAS_MAX, Scope};

/// Everything that decides what can happen next. Its nodes and history are its key; states that differ in the
/// rest alone are one, with the frames of all of them and the fewest sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Each node's state, by its number in [`Locals`].
    pub(super) nodes: [u32; REPLICAS_MAX],
    /// The operations so far, by their number in [`super::check::Histories`].
    pub(super) history: u32,
    /// How often nodes began to talk, on the way that needed it least.
    pub(super) sends: u8,
    /// Every frame ever sent, ascending.
    pub(super) frames: Box<[u16]>,
}

/// Names the nodes and the history of a state. The numbers are given out in order, so this is no hash
/// and two states never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u32, u32, u32, u32);

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A step of one node alone.
    One(u8, Step),
    /// A node crashes and restarts; the others see its link break and stand again.
    Crash(u8),
    /// The link between two nodes breaks.
    Cut(u8, u8),
    /// It stands again.
    Link(u8, u8),
}

impl State {
    /// What tells it from every state of other nodes or another history: 16 bytes.
    pub(super) fn key(&self) -> Key {
        let [one, two, three] = self.nodes;
        Key(one, two, three, self.history)
    }

    /// A number that picks states without regard to what they are.
    pub(super) fn spread(&self) -> u64 {
        let Key(one, two, three, history) = self.key();
        let mix =
            |sum: u64, next: u32| (sum ^ u64::from(next)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        [one, two, three, history].into_iter().fold(0, mix)
    }

    /// Adds frames, ascending, to the network; true if any of them was not there.
    pub(super) fn send(&mut self, frames: &[u16]) -> bool {
        if includes(&self.frames, frames) {
            return false;
        }
        let mut all = Vec::with_capacity(self.frames.len() + frames.len());
        let (mut old, mut new) = (&*self.frames, frames);
        while let (Some(left), Some(right)) = (old.first(), new.first()) {
            all.push(*left.min(right));
            if left <= right {
                old = &old[1..];
            }
            if right <= left {
                new = &new[1..];
            }
        }
        all.extend_from_slice(old);
        all.extend_from_slice(new);
        self.frames = all.into();
        true
    }

    /// Everything that can happen now, in a fixed order.
    pub(super) fn moves(&self, scope: &Scope, locals: &Locals, histories: &Histories, moves: &mut Vec<Move>) {
        moves.clear();
        let nodes = 0..narrow(scope.replicas);
        let facts = |node: u8| locals.facts(self.nodes[usize::from(node)]);
        let wedged = nodes.clone().find(|node| facts(*node).is_wedged);
        let may = |node: u8| wedged.is_none_or(|wedged| wedged == node);
        let deaf: [&[u16]; REPLICAS_MAX] = self.nodes.map(|node| locals.deaf_to(node));
        for frame in &*self.frames {
            let to = narrow(locals.letters[usize::from(*frame)].to);
            if may(to) && deaf[usize::from(to)].binary_search(frame).is_err() {
                moves.push(Move::One(to, Step::Receive(*frame)));
            }
        }
        let may_write = histories.operations(self.history) < scope.operations;
        let may_crash =
            nodes.clone().map(|node| usize::from(facts(node).life)).sum::<usize>() < scope.crashes;
        for node in nodes.filter(|node| may(*node)) {
            let facts = facts(node);
            let mut one = |step| moves.push(Move::One(node, step));
            if may_write {
                (0..scope.choices()).map(Step::Write).for_each(&mut one);
            }
            if facts.wants_wake {
                one(Step::Wake);
            }
            one(Step::Tick);
            if scope.collects && facts.can_collect {
                one(Step::Collect);
            }
            if wedged.is_some() {
                moves.push(Move::Crash(node));
            } else if may_crash {
                one(Step::Wedge);
            }
        }
        if scope.cuts && wedged.is_none() {
            self.links(scope, locals, moves);
        }
    }

    fn links(&self, scope: &Scope, locals: &Locals, moves: &mut Vec<Move>) {
        for one in 0..narrow(scope.replicas) {
            for other in one + 1..narrow(scope.replicas) {
                let down = locals.facts(self.nodes[usize::from(one)]).unlinked >> other & 1 == 1;
                moves.push(if down { Move::Link(one, other) } else { Move::Cut(one, other) });
            }
        }
    }

    /// The state after `made` with what that adds to the network apart, or `None` if it changes nothing.
    ///
    /// # Errors
    /// A node raised an alarm, or sent what it must not.
    pub(super) fn after(
        &self,
        made: Move,
        scope: &Scope,
        locals: &mut Locals,
        operation: &mut dyn FnMut(u32, u16) -> u32,
    ) -> Result<Option<After>, String> {
        let (nodes, history, sends) = (self.nodes, self.history, self.sends);
        let mut after = After { nodes, history, sends, frames: Vec::new() };
        match made {
            Move::One(node, step) => {
                let effect = after.apply(node, step, locals)?;
                if let Some(op) = effect {
                    after.history = operation(self.history, op);
                }
            }
            Move::Crash(node) => {
                after.apply(node, Step::Crash, locals)?;
                for peer in (0..narrow(scope.replicas)).filter(|peer| *peer != node) {
                    after.apply(peer, Step::Relinked(node), locals)?;
                }
            }
            Move::Cut(one, other) => {
                after.apply(one, Step::Cut(other), locals)?;
                after.apply(other, Step::Cut(one), locals)?;
            }
            Move::Link(one, other) => {
                after.apply(one, Step::Linked(other), locals)?;
                after.apply(other, Step::Linked(one), locals)?;
            }
        }
        if matches!(made, Move::One(..)) && !after.frames.is_empty() {
            after.sends += 1;
            if after.sends > scope.sends {
                return Ok(None);
            }
        }
        after.frames.sort_unstable();
        after.frames.dedup();
        after.frames.retain(|frame| self.frames.binary_search(frame).is_err());
        let changed = after.nodes != self.nodes || after.history != self.history || !after.frames.is_empty();
        Ok(changed.then_some(after))
    }
}

/// True if every frame of `some` is in `all`; both ascend.
fn includes(all: &[u16], some: &[u16]) -> bool {
    let mut rest = all;
    some.len() <= all.len()
        && some.iter().all(|one| {
            let skip = rest.iter().take_while(|other| *other < one).count();
            let found = rest.get(skip) == Some(one);
            rest = &rest[(skip + 1).min(rest.len())..];
            found
        })
}

/// What a move comes to.
pub(super) struct After {
    nodes: [u32; REPLICAS_MAX],
    history: u32,
    pub(super) sends: u8,
    /// Frames that were not on the network before, ascending.
    pub(super) frames: Vec<u16>,
}

impl After {
    fn apply(&mut self, node: u8, step: Step, locals: &mut Locals) -> Result<Option<u16>, String> {
        let node = usize::from(node);
        let effect = locals.step(self.nodes[node], step)?;
        self.nodes[node] = effect.to;
        self.frames.extend_from_slice(&effect.frames);
        Ok(effect.op)
    }

    pub(super) fn key(&self) -> Key {
        let [one, two, three] = self.nodes;
        Key(one, two, three, self.history)
    }

    /// The state, if it comes after `before`.
    pub(super) fn state(&self, before: &State) -> State {
        let Self { nodes, history, sends, frames } = self;
        let frames_before = before.frames.clone();
        let mut state = State { nodes: *nodes, history: *history, sends: *sends, frames: frames_before };
        state.send(frames);
        state
    }
}

impl Move {
    /// The nodes whose state it may change.
    pub(super) fn touches(self, node: usize) -> bool {
        let node = narrow(node);
        match self {
            Self::One(one, _) => one == node,
            Self::Crash(_) => true,
            Self::Cut(one, other) | Self::Link(one, other) => one == node || other == node,
        }
    }
}
