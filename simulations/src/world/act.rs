//! The application's side of a node: reading, and writing with a record of what was asked.

use rand::RngExt;
use sync_core::cell::{ObjectId, Path, TypeTag};
use sync_core::error::WriteError;
use sync_core::id::Dot;
use sync_core::store::{Group, Store};
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, pn_counter};

use super::trace::Mark;
use super::{Event, World};
use crate::deed::{self, Deed, Typed, What};
use crate::history::{Act, Kind, Op, OpId, Seen};
use crate::random::Random;

impl World {
    /// Records that a node has ended marks by itself, by the event `dot`: it had seen all that it knows otherwise.
    pub(super) fn note_collection(&mut self, at: usize, dot: Dot, object: &ObjectId, paths: &[Path]) {
        let Some(node) = &self.machines[at].node else { return };
        let Some(store) = node.store(self.namespace).filter(|_| object.ty == TypeTag::RW_SET) else { return };
        let mut seen = Seen::default();
        let others = store.context().columns().filter(|(replica, _)| *replica != dot.replica);
        others.for_each(|(replica, seq)| seen.raise(Dot::new(replica, seq)));
        seen.raise(Dot::new(dot.replica, dot.seq - 1));
        let places = paths.iter().map(|path| vec![path.as_bytes().to_vec()]).collect();
        let (on, key) = (Typed::RemoveWinsSet, object.key.as_str().to_owned());
        self.groups += 1;
        self.history.record(Op {
            id: OpId(0),
            node: at,
            life: dot.replica,
            owner: node.owner(),
            act: Act::Typed(Deed { on, key, place: Vec::new(), what: What::Collect(places) }),
            dots: Some((dot, dot)),
            seen,
            hlc: 0,
            expires: 0,
            horizon: store.horizon().0,
            group: self.groups,
            step: 0,
            at: self.at,
            blind: Vec::new(),
        });
    }
}

/// A turn of the application at one node that is up.
#[derive(Debug)]
pub struct Turn<'a> {
    world: &'a mut World,
    node: usize,
    random: Random,
}

/// What one operation of a group did.
#[derive(Debug)]
struct Done {
    act: Act,
    dots: Option<(Dot, Dot)>,
    hlc: u64,
    expires: u64,
    killed: Vec<Dot>,
}

/// A group of writes in the making: the engine's data types, each call recorded.
#[derive(Debug)]
pub struct Writer<'a, 'g> {
    group: &'a mut Group<'g>,
    done: &'a mut Vec<Done>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(world: &'a mut World, node: usize, random: Random) -> Self {
        Self { world, node, random }
    }

    /// The node.
    pub fn node(&self) -> usize {
        self.node
    }

    /// Virtual microseconds since the run began.
    pub fn at(&self) -> u64 {
        self.world.at
    }

    /// The turn's own generator. Use no other, or a seed tells more than one story.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// What the node knows.
    pub fn store(&self) -> &Store {
        let node = self.world.machines[self.node].node.as_ref();
        let node = node.expect("turns are given to nodes that are up, and a turn cannot stop its node");
        node.store(self.world.namespace).expect("the default namespace is always open")
    }

    /// Makes a group of writes: all of it happens, or nothing.
    ///
    /// # Errors
    /// What `fill` returns, or a limit that it met; nothing happened then.
    pub fn write<T>(
        &mut self,
        fill: impl FnOnce(&mut Writer<'_, '_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        self.world.write(self.node, fill)
    }
}

impl Writer<'_, '_> {
    /// What `fill` writes expires `after_ms` milliseconds from now; see [`Group::expiring_after`].
    ///
    /// # Errors
    /// What `fill` returns; of types that never expire, a refusal.
    pub fn expiring<T>(
        &mut self,
        after_ms: u64,
        fill: impl FnOnce(&mut Writer<'_, '_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let done = &mut *self.done;
        self.group.expiring_after(Span::from_millis(after_ms), |group| fill(&mut Writer { group, done }))
    }

    /// The state as the group has made it so far.
    pub fn store(&self) -> &Store {
        self.group.store()
    }

    /// Adds `element` to the set at `key`; see [`or_set::add`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn add(&mut self, key: &str, element: &[u8]) -> Result<(), WriteError> {
        let act = Act::Add { key: key.to_owned(), element: element.to_vec() };
        self.record(act, |group| or_set::add(group, key, element))
    }

    /// Removes `element` from the set at `key`; see [`or_set::remove`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn remove(&mut self, key: &str, element: &[u8]) -> Result<bool, WriteError> {
        let act = Act::Remove { key: key.to_owned(), element: element.to_vec() };
        self.record(act, |group| or_set::remove(group, key, element))
    }

    /// Removes every element of the set at `key`; see [`or_set::clear`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn clear_set(&mut self, key: &str) -> Result<u64, WriteError> {
        self.record(Act::Clear { key: key.to_owned() }, |group| or_set::clear(group, key))
    }

    /// Sets `field` of the map at `key`; see [`lww_map::put`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn put(&mut self, key: &str, field: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let act = Act::Put { key: key.to_owned(), field: field.to_vec(), value: value.to_vec() };
        self.record(act, |group| lww_map::put(group, key, field, value))
    }

    /// Removes `field` of the map at `key`; see [`lww_map::remove`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn remove_field(&mut self, key: &str, field: &[u8]) -> Result<bool, WriteError> {
        let act = Act::RemoveField { key: key.to_owned(), field: field.to_vec() };
        self.record(act, |group| lww_map::remove(group, key, field))
    }

    /// Removes every field of the map at `key`; see [`lww_map::clear`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn clear_map(&mut self, key: &str) -> Result<u64, WriteError> {
        self.record(Act::ClearMap { key: key.to_owned() }, |group| lww_map::clear(group, key))
    }

    /// Adds `by` to the counter at `key`; see [`pn_counter::add`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn count(&mut self, key: &str, by: i64) -> Result<(), WriteError> {
        self.record(Act::Count { key: key.to_owned(), by }, |group| pn_counter::add(group, key, by))
    }

    /// Takes back all that is seen of the counter at `key`; see [`pn_counter::reset`].
    ///
    /// # Errors
    /// A limit was reached.
    pub fn reset(&mut self, key: &str) -> Result<bool, WriteError> {
        self.record(Act::Reset { key: key.to_owned() }, |group| pn_counter::reset(group, key))
    }

    /// Does `deed`; see [`deed::run`]. False if it takes rights of a bounded counter that are not held here, or
    /// are out: then nothing happens.
    ///
    /// # Errors
    /// A limit was reached.
    pub fn typed(&mut self, deed: Deed) -> Result<bool, WriteError> {
        let done = self.record(Act::Typed(deed.clone()), |group| deed::run(group, &deed));
        match done {
            Ok(()) => Ok(true),
            Err(WriteError::Rights { .. } | WriteError::RightsOut { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn record<T>(
        &mut self,
        act: Act,
        write: impl FnOnce(&mut Group<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let (first, before) = (self.group.next_dot(), live_under(self.group.store(), &act));
        let value = write(self.group)?;
        let next = self.group.next_dot();
        let dots = (next.seq > first.seq).then(|| (first, Dot::new(first.replica, next.seq - 1)));
        let store = self.group.store();
        let hlc = dots.and_then(|(_, last)| store.item(last)).map_or(0, |(_, item)| item.hlc.0);
        let killed = before.into_iter().filter(|dot| !store.is_live(*dot)).collect();
        let expires = if act.may_expire() { self.group.expires().0 } else { 0 };
        self.done.push(Done { act, dots, hlc, expires, killed });
        Ok(value)
    }
}

/// The dots that live where `act` is going to write.
fn live_under(store: &Store, act: &Act) -> Vec<Dot> {
    use sync_core::cell::TypeTag;
    let ty = match act.kind() {
        Kind::Set => TypeTag::OR_SET,
        Kind::Map => TypeTag::LWW_MAP,
        Kind::Counter => TypeTag::PN_COUNTER,
        Kind::Typed(on) => on.tag(),
    };
    match act.place() {
        Some(place) => store.items(act.key(), ty, place).iter().map(|item| item.dot).collect(),
        None => store.cells(act.key(), ty).flat_map(|(_, items)| items).map(|item| item.dot).collect(),
    }
}

impl World {
    /// A group of writes at `at`, recorded, and the driver told to look after it.
    pub(crate) fn write<T>(
        &mut self,
        at: usize,
        fill: impl FnOnce(&mut Writer<'_, '_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let machine = &mut self.machines[at];
        let now = machine.now(self.at);
        self.suite.clock(at, now.wall.0);
        let node = machine.node.as_mut().expect("the caller knows that the node is up");
        let (life, owner) = (node.replica(), node.owner());
        let context = node.store(self.namespace).expect("the default namespace is always open").context();
        let mut seen = Seen::from(context);
        let horizon = node.store(self.namespace).map_or(0, |store| store.horizon().0);
        let hidden = node.store(self.namespace).map(|store| self.history.hidden(&seen, store));
        let hidden = hidden.unwrap_or_default();
        let mut done = Vec::new();
        let written = node.write(now, self.namespace, |group| fill(&mut Writer { group, done: &mut done }));
        let (value, written) = match written {
            Ok(written) => written,
            Err(error) => {
                self.counts.refused += 1;
                if matches!(error, WriteError::Full { .. } | WriteError::StoreBytes { .. }) {
                    self.counts.fault("full");
                }
                self.trace.note(self.at, Mark::Refused, at, &[], || format!("write refused: {error}"));
                return Err(error);
            }
        };
        self.groups += 1;
        self.counts.groups += u64::from(done.len() > 1);
        let mut ops: Vec<OpId> = Vec::with_capacity(done.len());
        for Done { act, dots, hlc, expires, killed } in done {
            let bytes = dots.map_or(0, |(_, last)| last.seq).to_le_bytes();
            self.trace.note(self.at, Mark::Wrote, at, &bytes, || format!("write {act:?} {dots:?}"));
            self.counts.ops += u64::from(dots.is_some());
            self.counts.expiring += u64::from(dots.is_some() && expires > 0);
            self.counts.concurrent_kills += self.kills.ended(killed);
            self.count_resets(&act, at, dots, &seen);
            let (step, group) = (written.step.0, self.groups);
            let blind = self.history.blind_to(&act, &hidden);
            let op = Op {
                id: OpId(0),
                node: at,
                life,
                owner,
                act,
                dots,
                seen: seen.clone(),
                hlc,
                group,
                expires,
                horizon,
                step,
                at: self.at,
                blind,
            };
            ops.push(self.history.record(op));
            if let Some((_, last)) = dots {
                seen.raise(last);
                self.spread_wrote(at, last);
            }
        }
        self.picture_wrote(at);
        let wait = self.disk_random.random_range(self.scenario.disk.wake_us.0..=self.scenario.disk.wake_us.1);
        let life = self.machines[at].life;
        self.queue.push(self.at + wait, Event::Look { node: at, life });
        let node = self.machines[at].node.as_mut().expect("a write does not stop its node");
        let checked = self.suite.wrote(&self.history, &ops, at, node);
        self.judge(checked);
        self.check_application(at);
        Ok(value)
    }

    /// Counts a count on a counter by a replica that has seen another's reset of it.
    fn count_resets(&mut self, act: &Act, node: usize, dots: Option<(Dot, Dot)>, seen: &Seen) {
        let Some((_, last)) = dots else { return };
        match act {
            Act::Reset { key } => self.resets.entry(key.clone()).or_default().push((node, last)),
            Act::Count { key, .. } => {
                let resets = self.resets.get(key).into_iter().flatten();
                let mut others = resets.filter(|(by, dot)| *by != node && seen.contains(*dot));
                self.counts.resets_seen += u64::from(others.next().is_some());
            }
            Act::Add { .. }
            | Act::Remove { .. }
            | Act::Clear { .. }
            | Act::Put { .. }
            | Act::RemoveField { .. }
            | Act::ClearMap { .. }
            | Act::Again { .. }
            | Act::Typed(_) => {}
        }
    }
}
