//! What the application does: the [`Workload`] trait, and the random one that the swarm uses.
//!
//! A workload is given turns, each at one node; it reads that node's store and writes groups through
//! [`Turn::write`]. Everything it writes is recorded in the abstract execution, so the oracle judges a
//! user's own workload as it judges ours; [`Workload::after_step`] and [`Workload::at_rest`] are for the
//! invariants that only the user knows.

use rand::RngExt;
use sync_core::error::WriteError;
use sync_core::store::Store;

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
        let Dice { key, place, remove, clear, by, value, .. } = dice;
        let place = place.as_bytes();
        match dice.kind {
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
        let total = (sets + maps + counters).max(1);
        let ticket = random.random_range(0..total);
        let kind = match ticket {
            ticket if ticket < sets => Kind::Set,
            ticket if ticket < sets + maps => Kind::Map,
            _ => Kind::Counter,
        };
        let prefix = match kind {
            Kind::Set => "set",
            Kind::Map => "map",
            Kind::Counter => "counter",
        };
        let what: f64 = random.random();
        let mut value = format!("{at}/{}", random.random::<u16>()).into_bytes();
        value.resize(value.len().max(random.random_range(0..=value_bytes)), b'.');
        Dice {
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
        }
    }
}

enum Kind {
    Set,
    Map,
    Counter,
}

struct Dice {
    kind: Kind,
    key: String,
    place: String,
    clear: bool,
    remove: bool,
    by: i64,
    value: Vec<u8>,
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
