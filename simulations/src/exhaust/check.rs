//! What must hold in every state of a search.
//!
//! The engine claims that a store is a function of its context (DESIGN section 3, T5). So each node's
//! state is compared with what the abstract execution gives for exactly the operations that the node
//! knows, its live dots and, by the simulator's oracle, what is read: which is no phantom removal, no lost
//! effect, no unknown witness and no resurrection in one. Causal closure is checked beside it.
//! Between nodes: equal contexts and equal state ids go together, and nobody knows an event that its
//! origin could still forget.

use std::collections::{BTreeSet, HashMap, HashSet};

use sync_core::id::{Dot, NamespaceId};
use sync_core::limits::Limits;
use sync_core::node::DEFAULT_NAMESPACE;
use sync_core::store::{Learned, Store};
use sync_core::types::{lww_map, or_set, pn_counter};

use super::local::is_life_of;
use super::locals::Locals;
use super::scope::{KEY, Scope};
use super::state::{Move, State};
use crate::deed;
use crate::history::{Act, History, Kind, Op, Seen};
use crate::oracle::Model;
use crate::oracle::lww_map::winner;

/// The sets of operations met so far: a state names one by its number.
#[derive(Default)]
pub(super) struct Histories {
    sets: Vec<Box<[u16]>>,
    by_set: HashMap<Box<[u16]>, u32>,
    with: HashMap<(u32, u16), u32>,
    histories: Vec<History>,
}

impl Histories {
    /// With the history in which nothing happened, number 0.
    pub(super) fn new() -> Self {
        let empty: Box<[u16]> = Box::default();
        Self {
            sets: vec![empty.clone()],
            by_set: HashMap::from([(empty, 0)]),
            with: HashMap::new(),
            histories: vec![History::default()],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Operations in it.
    pub(super) fn operations(&self, history: u32) -> usize {
        self.sets[history as usize].len()
    }

    pub(super) fn get(&self, history: u32) -> &History {
        &self.histories[history as usize]
    }

    /// `history` and one more operation.
    pub(super) fn with(&mut self, history: u32, op: u16) -> u32 {
        if let Some(known) = self.with.get(&(history, op)) {
            return *known;
        }
        let mut set = self.sets[history as usize].to_vec();
        set.push(op);
        set.sort_unstable();
        let set: Box<[u16]> = set.into();
        let next = u32::try_from(self.sets.len()).expect("memory ends before 2^32 histories");
        let index = *self.by_set.entry(set.clone()).or_insert(next);
        if index == next {
            self.sets.push(set);
        }
        self.with.insert((history, op), index);
        index
    }

    /// Writes out the histories named since the last time.
    pub(super) fn settle(&mut self, ops: &[Op]) {
        for set in &self.sets[self.histories.len()..] {
            // Who saw another had seen more than it, so this is an order in which they can have happened.
            let mut in_order: Vec<&Op> = set.iter().map(|op| &ops[usize::from(*op)]).collect();
            in_order.sort_by_key(|op| op.seen.columns().map(|(_, count)| count).sum::<u64>());
            let mut history = History::default();
            for op in in_order {
                history.record(op.clone());
            }
            self.histories.push(history);
        }
    }
}

/// The checks, and what has passed them already.
pub(super) struct Checks {
    namespace: NamespaceId,
    kind: Kind,
    passed: HashSet<(u32, u32)>,
}

impl Checks {
    pub(super) fn new(scope: &Scope) -> Self {
        Self { namespace: NamespaceId::named(DEFAULT_NAMESPACE), kind: scope.kind, passed: HashSet::new() }
    }

    /// Checks the nodes that `made` touched, alone and against the others.
    ///
    /// # Errors
    /// What does not hold, and where.
    pub(super) fn state(
        &mut self,
        state: &State,
        made: Move,
        replicas: usize,
        locals: &mut Locals,
        histories: &Histories,
    ) -> Result<(), String> {
        for node in (0..replicas).filter(|node| made.touches(*node)) {
            if self.passed.insert((state.nodes[node], state.history)) {
                let local = locals.get(state.nodes[node])?;
                let checked = self.store(local.store(self.namespace), histories.get(state.history));
                checked.map_err(|what| format!("node {node}: {what}"))?;
            }
            for other in (0..replicas).filter(|other| *other != node) {
                pair(state, node, other, locals)?;
            }
        }
        Ok(())
    }

    /// Compares one node's store with what the operations that it knows make of it.
    pub(super) fn store(&self, store: &Store, history: &History) -> Result<(), String> {
        let seen = Seen::from(store.context());
        let known: Vec<&Op> = history.known(&seen).collect();
        closed(&seen, &known)?;
        rebuilt(store)?;
        match self.kind {
            Kind::Set | Kind::Map => live(store, &known)?,
            Kind::Counter | Kind::Typed(_) => {}
        }
        shows(store, history, &Model::at(history, &seen))
    }
}

/// Two nodes together.
fn pair(state: &State, node: usize, other: usize, locals: &Locals) -> Result<(), String> {
    let [one, two] = [node, other].map(|node| locals.facts(state.nodes[node]));
    if (one.known == two.known) != (one.state == two.state) {
        let [events, states] = [one.known == two.known, one.state == two.state];
        return Err(format!(
            "nodes {node} and {other}: the same events is {events}, the same state id is {states}; contexts {:?} and {:?}",
            one.known, two.known
        ));
    }
    for (of, by, known, durable) in
        [(node, other, two.known, one.durable), (other, node, one.known, two.durable)]
    {
        for column in (0..known.len()).filter(|column| is_life_of(of, *column)) {
            if known[column] > durable[column] {
                return Err(format!(
                    "node {by} knows event {} of node {of}, whose disk holds only {} of them: a frame left too early",
                    known[column], durable[column]
                ));
            }
        }
    }
    Ok(())
}

/// Causal closure: who knows an operation knows what it had seen.
fn closed(seen: &Seen, known: &[&Op]) -> Result<(), String> {
    match known.iter().find(|op| !seen.covers(&op.seen)) {
        Some(op) => Err(format!("knows {:?} and not all of its past {:?}; knows {seen:?}", op.dots, op.seen)),
        None => Ok(()),
    }
}

/// The root that was kept up step by step is the one of a store built from the state at once.
fn rebuilt(store: &Store) -> Result<(), String> {
    let mut copy = Store::new(store.namespace(), Limits::default());
    let nobody = Learned { own: sync_core::id::ReplicaId([0; 16]), own_minted: u64::MAX, from: None };
    copy.join(&store.full_fragment(), nobody)
        .map_err(|error| format!("its full state is refused: {error}"))?;
    let same = copy.state_id() == store.clone().state_id();
    if same && copy.same_state(store) {
        Ok(())
    } else {
        Err("its full state, joined by an empty store, is another".to_owned())
    }
}

/// True if `op` ends what `write` wrote: it saw it and is about its place.
fn ends(op: &Op, write: &Op) -> bool {
    op.saw(write) && (op.act.place().is_none() || op.act.place() == write.act.place())
}

/// The writes among `known` that none of them ends.
fn standing<'a>(known: &'a [&'a Op]) -> impl Iterator<Item = &'a Op> + 'a {
    let writes = known.iter().filter(|op| matches!(op.act, Act::Add { .. } | Act::Put { .. }));
    writes.copied().filter(|write| !known.iter().any(|op| ends(op, write)))
}

/// Exactly the writes that stand are live.
fn live(store: &Store, known: &[&Op]) -> Result<(), String> {
    let expected: BTreeSet<Dot> = standing(known).filter_map(|op| op.dots.map(|(_, last)| last)).collect();
    let live: BTreeSet<Dot> = store.live_dots().collect();
    if live == expected {
        return Ok(());
    }
    let killed: Vec<&Dot> = expected.difference(&live).collect();
    let risen: Vec<&Dot> = live.difference(&expected).collect();
    Err(format!("phantom removal of {killed:?}; live though ended: {risen:?}; knows {:?}", store.context()))
}

/// What is read is what the oracle makes of the operations known.
fn shows(store: &Store, history: &History, model: &Model) -> Result<(), String> {
    let elements: Vec<&[u8]> = or_set::elements(store, KEY).collect();
    let right: Vec<&[u8]> =
        model.sets.get(KEY).into_iter().flatten().map(|(element, _)| element.as_slice()).collect();
    same("elements", &elements, &right)?;
    let entries: Vec<(&[u8], &[u8])> = lww_map::entries(store, KEY).collect();
    let fields = model.maps.get(KEY).into_iter().flatten();
    let right = fields.filter_map(|(field, writes)| Some((field.as_slice(), winner(history, writes)?)));
    same("fields", &entries, &right.collect())?;
    same("count", &pn_counter::value(store, KEY), &model.counters.value(history, KEY))?;
    for (on, key, _) in model.typed.iter() {
        same(on.name(), &deed::shown(store, on, key), &model.typed.shown(history, on, key))?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, read: &T, right: &T) -> Result<(), String> {
    if read == right {
        Ok(())
    } else {
        Err(format!("its {what}: it reads {read:?}, the oracle says {right:?}"))
    }
}
