//! What an operation asks for, and what it is about.

use sync_core::id::Dot;

use crate::deed::{Deed, Typed};

/// The data type that an operation is about. One key may hold one object of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Add-wins set.
    Set,
    /// Last-writer-wins map.
    Map,
    /// Counter with observed reset.
    Counter,
    /// Another type.
    Typed(Typed),
}

/// What an operation asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Adds an element to a set.
    Add {
        /// The set.
        key: String,
        /// The element.
        element: Vec<u8>,
    },
    /// Removes an element from a set.
    Remove {
        /// The set.
        key: String,
        /// The element.
        element: Vec<u8>,
    },
    /// Removes every element of a set.
    Clear {
        /// The set.
        key: String,
    },
    /// Writes a field of a map.
    Put {
        /// The map.
        key: String,
        /// The field.
        field: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a field of a map.
    RemoveField {
        /// The map.
        key: String,
        /// The field.
        field: Vec<u8>,
    },
    /// Removes every field of a map.
    ClearMap {
        /// The map.
        key: String,
    },
    /// Adds to a counter.
    Count {
        /// The counter.
        key: String,
        /// How much; may be negative.
        by: i64,
    },
    /// Takes back all that was seen of a counter.
    Reset {
        /// The counter.
        key: String,
    },
    /// A node healed damage: it wrote an element or a field again, by itself, in place of one dot.
    Again {
        /// Set or map.
        kind: Kind,
        /// Which.
        key: String,
        /// The element or the field.
        place: Vec<u8>,
        /// The value; empty in a set.
        value: Vec<u8>,
        /// The dot that ends with it.
        of: Dot,
    },
    /// Something of another type.
    Typed(Deed),
}

impl Act {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Add { key, .. }
            | Self::Remove { key, .. }
            | Self::Clear { key }
            | Self::Put { key, .. }
            | Self::RemoveField { key, .. }
            | Self::ClearMap { key }
            | Self::Count { key, .. }
            | Self::Reset { key }
            | Self::Again { key, .. } => key,
            Self::Typed(deed) => &deed.key,
        }
    }

    /// The type that it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Add { .. } | Self::Remove { .. } | Self::Clear { .. } => Kind::Set,
            Self::Put { .. } | Self::RemoveField { .. } | Self::ClearMap { .. } => Kind::Map,
            Self::Count { .. } | Self::Reset { .. } => Kind::Counter,
            Self::Again { kind, .. } => *kind,
            Self::Typed(deed) => Kind::Typed(deed.on),
        }
    }

    /// The element or field that it is about; `None` if it is about the whole object, or a [`Deed`].
    pub fn place(&self) -> Option<&[u8]> {
        match self {
            Self::Add { element: place, .. }
            | Self::Remove { element: place, .. }
            | Self::Put { field: place, .. }
            | Self::RemoveField { field: place, .. }
            | Self::Again { place, .. } => Some(place),
            Self::Clear { .. }
            | Self::ClearMap { .. }
            | Self::Count { .. }
            | Self::Reset { .. }
            | Self::Typed(_) => None,
        }
    }

    /// True if `other`, which is about one place, is about a place that this is about.
    pub fn covers(&self, other: &Self) -> bool {
        let same = self.kind() == other.kind() && self.key() == other.key();
        same && self.place().is_none_or(|place| Some(place) == other.place())
    }

    /// True if what it writes can expire: it writes, and neither a count nor an extremum, nor what stands for a
    /// removal.
    pub fn may_expire(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Put { .. } => true,
            Self::Typed(deed) => deed.may_expire(),
            Self::Remove { .. }
            | Self::Clear { .. }
            | Self::RemoveField { .. }
            | Self::ClearMap { .. }
            | Self::Count { .. }
            | Self::Reset { .. }
            | Self::Again { .. } => false,
        }
    }

    /// True if it ends what it saw and writes nothing.
    pub fn is_removal(&self) -> bool {
        match self {
            Self::Remove { .. }
            | Self::Clear { .. }
            | Self::RemoveField { .. }
            | Self::ClearMap { .. }
            | Self::Reset { .. } => true,
            Self::Add { .. }
            | Self::Put { .. }
            | Self::Count { .. }
            | Self::Again { .. }
            | Self::Typed(_) => false,
        }
    }
}
