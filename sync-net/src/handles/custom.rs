//! CRDTs of the application's own types.

use sync_core::error::WriteError;
use sync_core::store::{Group, Store};
use sync_core::types::Spot;
use sync_core::types::user::UserTag;

use super::{expires, handle};
use crate::access::{Reads, Writes};
use crate::error::Error;

/// A data type of the application: how its operations become cells, and what a reader makes of them.
///
/// The engine stores, relays, compares and heals its cells like those of every other type, also on nodes that
/// do not know it; a join is the engine's own. So a type has no merge to get wrong: it says which cells an
/// operation writes, what that ends, and how concurrent writes in a cell are read. It must read the same
/// for the same cells, whatever their order of arrival was.
///
/// ```
/// use sync_core::error::WriteError;
/// use sync_core::store::{Group, Store};
/// use sync_core::types::Spot;
/// use sync_core::types::user::UserTag;
/// # use sync_net::{ClusterCa, Node};
/// use sync_net::CustomType;
///
/// /// A vote: one cell a voter, who may change their mind; the tally counts the voters.
/// struct Vote;
///
/// impl CustomType for Vote {
///     const TAG: UserTag = UserTag::new(200).expect("from 128 on");
///     const NAME: &str = "vote";
///     /// Voter and choice.
///     type Op = (&'static str, u8);
///     type Value = std::collections::BTreeMap<u8, u64>;
///
///     fn apply(group: &mut Group<'_>, cells: &Spot<'_>, (voter, choice): &Self::Op) -> Result<u64, WriteError> {
///         cells.put(group, voter.as_bytes(), &[*choice]).map(|_| 0)
///     }
///
///     fn read(store: &Store, cells: &Spot<'_>) -> Self::Value {
///         let mut tally = Self::Value::new();
///         for (_, writes) in cells.cells(store) {
///             // Who votes twice at once has the smallest of these votes.
///             let choice = writes.iter().filter_map(|write| write.payload.as_bytes().first()).min();
///             choice.into_iter().for_each(|choice| *tally.entry(*choice).or_default() += 1);
///         }
///         tally
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let identity = ClusterCa::create("example")?.issue("node-1")?;
/// # let builder = Node::builder().identity(identity);
/// let node = builder.custom_type::<Vote>().start().await?;
/// let lunch = node.custom::<Vote>("lunch");
/// lunch.apply(&("ada", 1))?;
/// lunch.apply(&("bob", 2))?;
/// lunch.apply(&("ada", 2))?;
/// assert_eq!(lunch.read().get(&2), Some(&2));
/// assert_eq!(node.keys("")[0].ty, "vote");
/// # Ok(()) })
/// # }
/// ```
pub trait CustomType {
    /// Its tag, one and the same on all nodes of a cluster. Two types under one tag read each other's cells.
    const TAG: UserTag;
    /// Its name for people, as the tools show it.
    const NAME: &str;
    /// What can be asked of it.
    type Op;
    /// What is read.
    type Value;

    /// Does `op` in the cells at hand, in the group; counts what was there to remove, 0 where nothing is removed.
    ///
    /// # Errors
    /// What the group refused. What was written before is undone with it.
    fn apply(group: &mut Group<'_>, cells: &Spot<'_>, op: &Self::Op) -> Result<u64, WriteError>;

    /// Reads the cells at hand. A member may write anything: bytes that are none of this type must not panic.
    fn read(store: &Store, cells: &Spot<'_>) -> Self::Value;
}

handle! {
    /// A CRDT of the application's own type; see [`CustomType`].
    Custom<T>
}

expires!(Custom<T>);

impl<T: CustomType, A: Writes> Custom<T, A> {
    /// Does `op`.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn apply(&self, op: &T::Op) -> Result<A::Count, Error> {
        self.access.run(&mut |group| {
            self.place.write(group, |group, at| T::apply(group, &at.cells_of(T::TAG.tag()), op))
        })
    }
}

impl<T: CustomType, A: Reads> Custom<T, A> {
    /// Reads.
    pub fn read(&self) -> T::Value {
        self.access.look(|store| self.place.at(|at| T::read(store, &at.cells_of(T::TAG.tag()))))
    }
}
