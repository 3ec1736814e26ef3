//! Convergence: from any state, with every link whole and no frame lost, all nodes come to agree.

use std::collections::HashSet;

use sync_core::id::NamespaceId;
use sync_core::message::Frame;
use sync_core::node::{DEFAULT_NAMESPACE, Input};

use super::check::{Checks, Histories};
use super::local::{Letter, Local, exchange, meet};
use super::locals::Locals;
use super::scope::{REPLICAS_MAX, node_id};
use super::state::State;
use crate::history::Seen;

/// Ticks after which the nodes must agree. Every period passes once in each.
pub(super) const ROUNDS_MAX: usize = 3;

/// The healed states, each healed once.
#[derive(Default)]
pub(super) struct Heals {
    done: HashSet<([u32; REPLICAS_MAX], u32)>,
    /// Most ticks that any of them took.
    pub(super) rounds: usize,
}

impl Heals {
    pub(super) fn len(&self) -> usize {
        self.done.len()
    }

    /// Drops every frame, breaks every link and makes all of them anew; then nothing is lost any more.
    ///
    /// What the nodes do then follows from their states alone, so states that differ only in frames and
    /// budgets are healed once.
    ///
    /// # Errors
    /// Who does not converge, or what is wrong where they do, or who goes on talking afterwards.
    pub(super) fn heal(
        &mut self,
        state: &State,
        locals: &mut Locals,
        (checks, histories): (&Checks, &Histories),
        (replicas, every): (usize, u64),
    ) -> Result<(), String> {
        if !state.spread().is_multiple_of(every) || !self.done.insert((state.nodes, state.history)) {
            return Ok(());
        }
        let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
        let nodes: Result<Vec<Local>, String> =
            state.nodes[..replicas].iter().map(|node| locals.get(*node)).collect();
        let mut nodes = nodes?;
        let mut all = Seen::default();
        for local in &nodes {
            let context = local.store(namespace).context();
            context
                .columns()
                .filter(|(_, seq)| *seq > 0)
                .for_each(|(life, seq)| all.raise(sync_core::id::Dot::new(life, seq)));
        }
        break_links(&mut nodes)?;
        meet(&mut nodes)?;
        let mut rounds = 0;
        while !agree(&mut nodes, namespace) {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return Err(format!("healed, and after {ROUNDS_MAX} rounds the nodes still differ"));
            }
            tick(&mut nodes)?;
        }
        self.rounds = self.rounds.max(rounds);
        for local in &nodes {
            let store = local.store(namespace);
            if !Seen::from(store.context()).covers(&all) {
                return Err(format!("healed, and node {} lacks an event that was known before", local.index));
            }
            checks
                .store(store, histories.get(state.history))
                .map_err(|what| format!("healed, node {}: {what}", local.index))?;
        }
        // Once to let them say what they have learned, then there is nothing left to say.
        tick(&mut nodes)?;
        let said = tick(&mut nodes)?;
        match said.iter().find(|letter| !matches!(letter.frame, Frame::Root(..))) {
            Some(letter) => Err(format!("at rest node {} still sends {:?}", letter.from, letter.frame)),
            None => Ok(()),
        }
    }
}

fn break_links(nodes: &mut [Local]) -> Result<(), String> {
    let peers = nodes.len();
    for local in nodes {
        let index = local.index;
        local.mend();
        for peer in (0..peers).filter(|peer| *peer != index) {
            local.handle(Input::Disconnected { peer: node_id(peer) });
        }
        // What was still to be sent is lost with the links.
        local.drain()?;
        local.pass();
    }
    Ok(())
}

fn tick(nodes: &mut [Local]) -> Result<Vec<Letter>, String> {
    for local in &mut *nodes {
        local.pass();
        local.handle(Input::Wake);
    }
    exchange(nodes)
}

fn agree(nodes: &mut [Local], namespace: NamespaceId) -> bool {
    let mut states = nodes.iter_mut().map(|local| local.node.state_id(namespace));
    let first = states.next();
    states.all(|state| Some(state) == first)
}
