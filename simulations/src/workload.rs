//! What the application does: the [`Workload`] trait, and the random one that the swarm uses.
//!
//! A workload is given turns, each at one node; it reads that node's store and writes groups through
//! [`Turn::write`]. Everything it writes is recorded in the abstract execution, so the oracle judges a
//! user's own workload as it judges ours; [`Workload::after_step`] and [`Workload::at_rest`] are for the
//! invariants that only the user knows.

use rand::RngExt;
use sync_core::error::WriteError;
use sync_core::store::Store;
use sync_core::types::bounded_counter;

use crate::deed::{Deed, Place, Typed, What};
use crate::scenario::Load;
use crate::world::{Turn, Writer};

/// An application, run at every node.
///
/// ```
/// use simulations::{Scenario, Turn, Workload, World};
/// use sync_core::store::Store;
/// use sync_core::types::or_set;
///
/// /// Puts visitors into a set, and trusts that the set never shrinks.
/// struct Visitors { seen: Vec<u64> }
///
/// impl Workload for Visitors {
///     fn turn(&mut self, turn: &mut Turn<'_>) {
///         let visitor = turn.at().to_be_bytes();
///         turn.write(|writer| writer.add("visitors", &visitor)).expect("nothing is full here");
///     }
///     fn after_step(&mut self, node: usize, store: &Store) -> Result<(), String> {
///         let count = or_set::len(store, "visitors");
///         if count < self.seen[node] {
///             return Err(format!("{} visitors became {count}", self.seen[node]));
///         }
///         self.seen[node] = count;
///         Ok(())
///     }
/// }
///
/// let scenario = Scenario { nodes: 3, ..Scenario::default() };
/// let mut world = World::with_workload(&scenario, Box::new(Visitors { seen: vec![0; 3] }));
/// let outcome = world.run();
/// assert!(outcome.violation.is_none(), "{outcome:?}");
/// ```
pub trait Workload {
    /// The application's turn at a node that is up.
    fn turn(&mut self, turn: &mut Turn<'_>);

    /// Looks at the store of `node` after everything that happened to it.
    ///
    /// # Errors
    /// An invariant of the application is broken: what, for people.
    fn after_step(&mut self, _node: usize, _store: &Store) -> Result<(), String> {
        Ok(())
    }

    /// Looks at every store once all nodes agree.
    ///
    /// # Errors
    /// An invariant of the application is broken: what, for people.
    fn at_rest(&mut self, _stores: &[&Store]) -> Result<(), String> {
        Ok(())
    }
}

/// Sets, maps and counters under a few hot keys, in groups, with removes, clears and resets.
#[derive(Clone, Debug)]
pub struct RandomWorkload {
    load: Load,
}

impl RandomWorkload {
    /// As `load` says.
    pub fn new(load: Load) -> Self {
        Self { load }
    }

    fn act(&self, dice: &Dice, writer: &mut Writer<'_, '_>) -> Result<(), WriteError> {
        // Where nothing that is written can expire, it is written for good.
        let can = match dice.kind {
            Kind::Set | Kind::Map => true,
            Kind::Counter => false,
            Kind::Typed(on) => self.deed(on, dice, writer.store()).may_expire(),
        };
        match dice.expires_ms.filter(|_| can) {
            None => self.act_for_good(dice, writer),
            Some(after_ms) => writer.expiring(after_ms, |writer| self.act_for_good(dice, writer)),
        }
    }

    fn act_for_good(&self, dice: &Dice, writer: &mut Writer<'_, '_>) -> Result<(), WriteError> {
        let Dice { key, place, remove, clear, by, value, .. } = dice;
        let place = place.as_bytes();
        match dice.kind {
            Kind::Typed(on) => {
                let deed = self.deed(on, dice, writer.store());
                writer.typed(deed).map(drop)
            }
            Kind::Set if *clear => writer.clear_set(key).map(drop),
            Kind::Set if *remove => writer.remove(key, place).map(drop),
            Kind::Set => writer.add(key, place),
            Kind::Map if *clear => writer.clear_map(key).map(drop),
            Kind::Map if *remove => writer.remove_field(key, place).map(drop),
            Kind::Map => writer.put(key, place, value),
            Kind::Counter if *clear => writer.reset(key).map(drop),
            Kind::Counter => writer.count(key, *by),
        }
    }

    /// Draws everything before anything is written: what is drawn never depends on the store.
    fn roll(&self, turn: &mut Turn<'_>) -> Dice {
        let Load { keys, places, types: (sets, maps, counters), remove, clear, value_bytes, .. } = self.load;
        let at = turn.at();
        let random = turn.random();
        let others = u32::try_from(self.load.typed.len()).expect("there are few types");
        let total = (sets + maps + counters + others).max(1);
        let ticket = random.random_range(0..total);
        let kind = match ticket {
            ticket if ticket < sets => Kind::Set,
            ticket if ticket < sets + maps => Kind::Map,
            ticket if ticket < sets + maps + counters => Kind::Counter,
            ticket => {
                let other = self.load.typed.get((ticket - sets - maps - counters) as usize);
                other.map_or(Kind::Counter, |on| Kind::Typed(*on))
            }
        };
        let prefix = match kind {
            Kind::Set => "set",
            Kind::Map => "map",
            Kind::Counter => "counter",
            Kind::Typed(on) => on.name(),
        };
        let what: f64 = random.random();
        let lot = random.random::<u16>();
        let mut value = format!("{at}/{lot}").into_bytes();
        value.resize(value.len().max(random.random_range(0..=value_bytes)), b'.');
        let mut dice = Dice {
            kind,
            key: format!("{prefix}/{}", random.random_range(0..keys.max(1))),
            place: format!("p{}", random.random_range(0..places.max(1))),
            clear: what < clear,
            remove: what < clear + remove,
            // Now and then a huge step: the next one on that row may leave 64 bits, and is refused.
            by: if random.random_bool(0.025) {
                i64::MAX - i64::from(random.random::<u8>())
            } else {
                random.random_range(-3..=5)
            },
            value,
            lot: u64::from(lot),
            expires_ms: None,
        };
        if let Some((least, most)) = self.load.expires_ms.filter(|_| random.random_bool(self.load.expiring)) {
            dice.expires_ms = Some(random.random_range(least..=most));
        }
        dice
    }

    /// What the dice mean for one of the other types. Only to whom rights are sent depends on the store: to one
    /// of those that have any.
    fn deed(&self, on: Typed, dice: &Dice, store: &Store) -> Deed {
        let Dice { key, place, remove, clear, by, value, lot, .. } = dice;
        let (key, place, lot) = (key.clone(), place.clone().into_bytes(), *lot);
        let ends = *remove || *clear;
        let number = || What::Write((i64::try_from(lot % 200).unwrap_or(0) - 100).to_string().into_bytes());
        let (place, what) = match on {
            Typed::LwwRegister | Typed::MvRegister | Typed::Log if ends => (vec![], What::End),
            Typed::LwwRegister | Typed::MvRegister | Typed::Log => (vec![], What::Write(value.clone())),
            Typed::MaxRegister | Typed::MinRegister if ends => (vec![], What::End),
            Typed::MaxRegister | Typed::MinRegister => (vec![], number()),
            Typed::EnableFlag if ends || lot % 3 == 0 => (vec![], What::End),
            Typed::DisableFlag if *clear => (vec![], What::End),
            Typed::DisableFlag if *remove || lot % 3 == 0 => (vec![], What::Write(b"off".to_vec())),
            Typed::EnableFlag | Typed::DisableFlag => (vec![], What::Write(b"on".to_vec())),
            Typed::GrowSet => (vec![place], What::Write(Vec::new())),
            Typed::GrowCounter if ends => (vec![], What::End),
            Typed::GrowCounter => (vec![], What::Count(*by)),
            Typed::RemoveWinsSet if *clear => (vec![], What::End),
            Typed::RemoveWinsSet if *remove || lot % 4 == 0 => (vec![place], What::Write(b"remove".to_vec())),
            Typed::RemoveWinsSet => (vec![place], What::Write(b"add".to_vec())),
            Typed::Multimap if *clear => (vec![], What::End),
            Typed::Multimap => {
                let pair = vec![place, (lot % 3).to_string().into_bytes()];
                match lot % 2 {
                    _ if !ends => (pair, What::Write(Vec::new())),
                    0 => (pair, What::End),
                    _ => (pair[..1].to_vec(), What::End),
                }
            }
            Typed::BoundedCounter if *clear => (vec![], What::End),
            Typed::BoundedCounter => {
                let holders = bounded_counter::holders(store, &key);
                let at = usize::try_from(lot).unwrap_or(0) % holders.len().max(1);
                let to = holders.get(at).map(|(owner, _)| *owner);
                match (lot % 4, to) {
                    (0, Some(to)) => (vec![], What::Send { to, count: lot / 4 % 6 }),
                    (1 | 2, _) => (vec![], What::Count(-by.abs())),
                    _ => (vec![], What::Count(by.abs())),
                }
            }
            // One map, so that its many places are met more than once.
            Typed::NestedMap => {
                let (place, what) = Self::nested(dice, ends);
                return Deed { on, key: on.name().to_owned(), place, what };
            }
        };
        Deed { on, key, place, what }
    }

    /// Leaves of three types, half of them in a map in the map; one name may have several types.
    fn nested(dice: &Dice, ends: bool) -> (Place, What) {
        let Dice { clear, by, value, lot, .. } = dice;
        let mut place: Place = Vec::new();
        if lot % 2 == 0 {
            place = vec![format!("m{}", lot / 2 % 2).into_bytes(), b"map".to_vec()];
        }
        if *clear {
            return (place, What::End);
        }
        place.push(format!("p{}", lot / 48 % 2).into_bytes());
        if ends {
            return (place, What::End);
        }
        let (kind, what) = match lot / 4 % 4 {
            0 => ("set", What::Write(Vec::new())),
            1 => ("register", What::Write(value.clone())),
            _ => ("counter", What::Count(*by)),
        };
        place.push(kind.into());
        if kind == "set" {
            place.push((lot / 16 % 3).to_string().into_bytes());
        }
        (place, what)
    }
}

enum Kind {
    Set,
    Map,
    Counter,
    Typed(Typed),
}

struct Dice {
    kind: Kind,
    key: String,
    place: String,
    clear: bool,
    remove: bool,
    by: i64,
    value: Vec<u8>,
    lot: u64,
    expires_ms: Option<u64>,
}

impl Workload for RandomWorkload {
    fn turn(&mut self, turn: &mut Turn<'_>) {
        let acts = turn.random().random_range(1..=self.load.group.max(1));
        let dice: Vec<Dice> = (0..acts).map(|_| self.roll(turn)).collect();
        let written = turn.write(|writer| dice.iter().try_for_each(|dice| self.act(dice, writer)));
        // A full store refuses the group, and the world counts it: that is what this application expects.
        drop(written);
    }
}
