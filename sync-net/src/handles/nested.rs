//! The map whose fields hold CRDTs of any type, maps too.

use sync_core::cell::TypeTag;
use sync_core::types::or_map;

use super::{expires, handle, opens};
use crate::access::{Place, Reads, Writes};
use crate::error::Error;

handle! {
    /// A map whose fields hold CRDTs of any type but the bounded counter, maps too, down to
    /// [`crate::Limits::map_depth_max`] names. It opens the same handles as a node, by the fields' names:
    ///
    /// ```
    /// # use sync_net::{ClusterCa, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// # let node = Node::builder().identity(identity).start().await?;
    /// let user = node.or_map("user/7");
    /// user.or_map("address").lww_register("city").set(&"London".to_owned())?;
    /// user.pn_counter("logins").add(1)?;
    /// assert_eq!(user.fields().len(), 2);
    /// user.remove("address")?;
    /// assert!(!user.contains("address"));
    /// # Ok(()) })
    /// # }
    /// ```
    OrMap
}

expires!(OrMap);

/// A field of an [`OrMap`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapField {
    /// Its name; bytes that are no UTF-8, which this API never writes, are shown escaped.
    pub name: String,
    /// What it holds. One name may hold several types: they are fields of their own.
    pub ty: TypeTag,
}

impl<A: Clone> OrMap<A> {
    fn open(&self, name: &str) -> (A, Place) {
        (self.access.clone(), self.place.field(name))
    }
}

opens!(impl<A: Clone> OrMap<A>, A);

impl<A: Writes> OrMap<A> {
    /// Removes the field `name`, whatever it holds, as far as it is seen here; returns how many cells that ended.
    /// Concurrent writes inside survive alone.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn remove(&self, name: &str) -> Result<A::Count, Error> {
        let map = self.place.map();
        self.access.run(&mut |group| or_map::remove(group, &map, name.as_bytes()))
    }

    /// Removes every field as far as it is seen here; returns how many cells that ended.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Count, Error> {
        let map = self.place.map();
        self.access.run(&mut |group| or_map::clear(group, &map))
    }
}

impl<A: Reads> OrMap<A> {
    /// The fields, by length of the name, name and type.
    pub fn fields(&self) -> Vec<MapField> {
        let name = |bytes: &[u8]| {
            std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
        };
        let map = self.place.map();
        self.access.look(|store| {
            let fields = or_map::fields(store, &map).into_iter();
            fields.map(|field| MapField { name: name(field.name), ty: field.ty }).collect()
        })
    }

    /// True if there is a field `name` of any type.
    pub fn contains(&self, name: &str) -> bool {
        let map = self.place.map();
        self.access.look(|store| or_map::contains(store, &map, name.as_bytes()))
    }
}
