//! Every type's operations as data: for tools, which know a CRDT by its name and key only.
//!
//! `table` has a row for each type: its operations, what they take, how they are done and how the whole is
//! read. The local endpoint looks operations up there, the command line makes its commands of it, so that a new type
//! or operation is a row and nothing else. In flows a request as JSON, out a reading.

mod batch;
mod export;
mod reading;
mod request;
mod table;

use sync_core::cell::TypeTag;
use sync_core::error::WriteError;
use sync_core::id::OwnerId;
use sync_core::store::{Group, Store};
use sync_core::types::At;
use sync_core::types::log::Bound;

pub(crate) use self::batch::{BatchRequest, batch};
pub(crate) use self::export::{Exported, Exporter};
pub(crate) use self::reading::Reading;
pub(crate) use self::request::{OpError, OpRequest, PlaceRequest, ShownPlace, operate, remove, show};
pub use self::table::TYPES;

/// A type and what can be done with it.
#[derive(Debug)]
pub struct Type {
    /// Its tag.
    pub tag: TypeTag,
    /// What it is, in one line for people.
    pub about: &'static str,
    /// What can be done.
    pub ops: &'static [Op],
    /// The whole, for who asks for the key.
    read: fn(&Store, At<'_>) -> Reading,
}

impl Type {
    /// Its name, as the tools show it.
    pub fn name(&self) -> &'static str {
        self.tag.name().expect("the table has only types of the engine, and they have names")
    }
}

/// Something that can be done with a CRDT of one type.
#[derive(Debug)]
pub struct Op {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line for people.
    pub about: &'static str,
    /// What it takes besides the place, in the order of a command line.
    pub args: &'static [Arg],
    run: Run,
}

impl Op {
    /// What the answer calls the reading, `None` for a write.
    pub fn reads(&self) -> Option<&'static str> {
        match self.run {
            Run::Write(_) => None,
            Run::Read(label, _) => Some(label),
        }
    }
}

/// How an operation is done.
enum Run {
    Write(fn(&mut Group<'_>, At<'_>, &Args) -> Result<(), WriteError>),
    Read(&'static str, fn(&Store, At<'_>, &Args) -> Reading),
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write(_) => "Write",
            Self::Read(..) => "Read",
        })
    }
}

/// What an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arg {
    /// An element of a set: a [`crate::Stored`].
    Element,
    /// A field of a map: a [`crate::Stored`].
    Field,
    /// The name of a field of a nested map: text.
    Name,
    /// A value: a [`crate::Stored`].
    Value,
    /// What to count by, up or down: an `i64`.
    By,
    /// What to count by: a `u64`.
    Amount,
    /// A number: an `i64`.
    Number,
    /// Whom to send to: an owner, 32 hex digits.
    To,
    /// How many rights to send: a `u64`.
    Count,
    /// Most entries to keep, a `u64`; left out, all are kept.
    Keep,
    /// How much older than the newest kept entries may be, in milliseconds, a `u64`; left out, any.
    KeepMs,
    /// After how many milliseconds what is written expires, a `u64` above 0; left out, never.
    ExpiresInMs,
}

impl Arg {
    /// Its name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Element => "element",
            Self::Field => "field",
            Self::Name => "name",
            Self::Value => "value",
            Self::By | Self::Amount => "by",
            Self::Number => "number",
            Self::To => "to",
            Self::Count => "count",
            Self::Keep => "keep",
            Self::KeepMs => "keep_ms",
            Self::ExpiresInMs => "expires_in_ms",
        }
    }

    /// True if an operation that takes it can do without.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Keep | Self::KeepMs | Self::ExpiresInMs)
    }
}

/// What a request gave for its operation's [`Op::args`]; what the operation does not take is empty or 0.
#[derive(Debug)]
struct Args {
    element: Vec<u8>,
    field: Vec<u8>,
    name: String,
    value: Vec<u8>,
    by: i64,
    amount: u64,
    number: i64,
    to: OwnerId,
    count: u64,
    bound: Bound,
    /// This node's, for what is shown of rights.
    own: OwnerId,
}
