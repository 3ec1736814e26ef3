//! Requests of tools: looked up in the table, checked against it, done on a node.
//!
//! Lengths are bounded by the request's body, depth by [`crate::Value::DEPTH_MAX`] and [`PLACE_NAMES_MAX`]; limits of the
//! store are refused by it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use sync_core::cell::TypeTag;
use sync_core::id::OwnerId;
use sync_core::node::Written;
use sync_core::time::WallMillis;
use sync_core::types::log::Bound;
use sync_core::types::whole;

use super::reading::{self, Reading};
use super::{Arg, Args, Op, Run, TYPES, Type};
use crate::access::{Expires, Place, Reads as _};
use crate::error::Error;
use crate::inspect;
use crate::namespace::Namespace;
use crate::value::{Stored, ValueError};

/// Most names of a place in a nested map that a request may give. More than a writer may nest
/// ([`crate::Limits::map_depth_max`]), since what a member nested deeper must be found too.
const PLACE_NAMES_MAX: usize = 256;

/// Why a request was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    #[error("no type is called {name:?}; there are {}", type_names())]
    NoType { name: String },
    #[error("{op:?} is nothing to do with a {ty}; there are {}", op_names(ty))]
    NoOp { ty: &'static str, op: String },
    #[error("{op} of a {ty} needs {arg:?}; add it")]
    Missing { ty: &'static str, op: &'static str, arg: &'static str },
    #[error("{op} of a {ty} takes no {arg:?}; leave it out")]
    NotTaken { ty: &'static str, op: &'static str, arg: &'static str },
    #[error("{arg:?} is {number}, which does not fit; it is a whole number from {min} to {max}")]
    Range { arg: &'static str, number: i128, min: i128, max: i128 },
    #[error("{text:?} is no owner; it is 32 hex digits, see `rights`")]
    NoOwner { text: String },
    #[error("the place has {len} names, at most {PLACE_NAMES_MAX} are possible")]
    PlaceTooDeep { len: usize },
    #[error("nothing is stored at {place} here; `keys` lists what is")]
    Nothing { place: String },
    #[error("operation {number} of the group is not understood: {reason}")]
    Line { number: usize, reason: String },
    #[error(
        "the group has {len} operations, at most {} are possible; send several",
        super::batch::BATCH_OPS_MAX
    )]
    TooMany { len: usize },
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Node(#[from] Error),
}

fn type_names() -> String {
    let names: Vec<&str> = TYPES.iter().map(Type::name).collect();
    names.join(", ")
}

fn op_names(ty: &str) -> String {
    let ops = TYPES.iter().filter(|known| known.name() == ty).flat_map(|known| known.ops);
    let names: Vec<&str> = ops.map(|op| op.name).collect();
    names.join(", ")
}

/// `null` is a value like any other, so that only what is left out is `None`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Stored>, D::Error> {
    Stored::deserialize(deserializer).map(Some)
}

/// One operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpRequest {
    #[serde(rename = "type")]
    ty: String,
    op: String,
    key: String,
    /// Names of a place in a nested map, the outermost first.
    #[serde(default)]
    at: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    element: Option<Stored>,
    #[serde(default, deserialize_with = "given")]
    field: Option<Stored>,
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    value: Option<Stored>,
    by: Option<i128>,
    number: Option<i128>,
    to: Option<String>,
    count: Option<i128>,
    keep: Option<i128>,
    keep_ms: Option<i128>,
    expires_in_ms: Option<i128>,
    /// Instead of it, when: milliseconds since 1970.
    expires_ms: Option<i128>,
    /// Read a state that has the writes of this token.
    after: Option<String>,
}

/// A key, or a place in the nested map there, and the type meant if it is one only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceRequest {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) at: Vec<String>,
    #[serde(rename = "type")]
    pub(crate) ty: Option<String>,
}

/// What lies at a place.
#[derive(Debug, Serialize)]
pub(crate) struct ShownPlace {
    key: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at: Vec<String>,
    #[serde(rename = "type")]
    ty: String,
    value: Reading,
    /// The other types there; ask for them by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
}

pub(super) fn place(key: &str, at: &[String]) -> Result<Place, OpError> {
    if at.len() > PLACE_NAMES_MAX {
        return Err(OpError::PlaceTooDeep { len: at.len() });
    }
    Ok(at.iter().fold(Place::key(key), |place, name| place.field(name)))
}

fn number<T: TryFrom<i128>>(
    arg: &'static str,
    number: i128,
    (min, max): (impl Into<i128>, impl Into<i128>),
) -> Result<T, OpError> {
    let (min, max) = (min.into(), max.into());
    T::try_from(number).map_err(|_| OpError::Range { arg, number, min, max })
}

fn signed(arg: &'static str, given: Option<i128>) -> Result<i64, OpError> {
    number(arg, given.unwrap_or(0), (i64::MIN, i64::MAX))
}

fn natural(arg: &'static str, given: Option<i128>, default: u64) -> Result<u64, OpError> {
    number(arg, given.unwrap_or(default.into()), (0, u64::MAX))
}

fn owner(text: &str) -> Result<OwnerId, OpError> {
    OwnerId::from_hex(text).ok_or_else(|| OpError::NoOwner { text: text.to_owned() })
}

pub(super) fn bytes(given: Option<&Stored>) -> Result<Vec<u8>, OpError> {
    given.map_or(Ok(Vec::new()), |stored| Ok(stored.to_bytes()?))
}

impl OpRequest {
    fn has(&self, arg: Arg) -> bool {
        match arg {
            Arg::Element => self.element.is_some(),
            Arg::Field => self.field.is_some(),
            Arg::Name => self.name.is_some(),
            Arg::Value => self.value.is_some(),
            Arg::By | Arg::Amount => self.by.is_some(),
            Arg::Number => self.number.is_some(),
            Arg::To => self.to.is_some(),
            Arg::Count => self.count.is_some(),
            Arg::Keep => self.keep.is_some(),
            Arg::KeepMs => self.keep_ms.is_some(),
            Arg::ExpiresInMs => self.expires_in_ms.is_some() || self.expires_ms.is_some(),
        }
    }

    /// The token whose writes the node is to have before it reads.
    pub(crate) fn after(&self) -> Result<Option<&str>, OpError> {
        let (ty, op) = self.look_up()?;
        match (&self.after, op.reads()) {
            (Some(_), None) => Err(OpError::NotTaken { ty: ty.name(), op: op.name, arg: "after" }),
            (after, _) => Ok(after.as_deref()),
        }
    }

    /// The operation, if there is one and it takes just what is given.
    fn look_up(&self) -> Result<(&'static Type, &'static Op), OpError> {
        let ty = TYPES.iter().find(|ty| ty.name() == self.ty);
        let ty = ty.ok_or_else(|| OpError::NoType { name: self.ty.clone() })?;
        let op = ty.ops.iter().find(|op| op.name == self.op);
        let op = op.ok_or_else(|| OpError::NoOp { ty: ty.name(), op: self.op.clone() })?;
        if let Some(arg) = op.args.iter().find(|arg| !arg.is_optional() && !self.has(**arg)) {
            return Err(OpError::Missing { ty: ty.name(), op: op.name, arg: arg.name() });
        }
        let taken = |arg: &Arg| op.args.iter().any(|taken| taken.name() == arg.name());
        if let Some(arg) = EVERY.iter().find(|arg| self.has(**arg) && !taken(arg)) {
            return Err(OpError::NotTaken { ty: ty.name(), op: op.name, arg: arg.name() });
        }
        Ok((ty, op))
    }

    fn args(&self, op: &Op, own: OwnerId) -> Result<Args, OpError> {
        let signed_by = op.args.contains(&Arg::By);
        Ok(Args {
            element: bytes(self.element.as_ref())?,
            field: bytes(self.field.as_ref())?,
            name: self.name.clone().unwrap_or_default(),
            value: bytes(self.value.as_ref())?,
            by: if signed_by { signed("by", self.by)? } else { 0 },
            amount: if signed_by { 0 } else { natural("by", self.by, 0)? },
            number: signed("number", self.number)?,
            to: self.to.as_deref().map_or(Ok(own), owner)?,
            count: natural("count", self.count, 0)?,
            bound: Bound {
                entries: natural("keep", self.keep, u64::MAX)?,
                age_ms: natural("keep_ms", self.keep_ms, u64::MAX)?,
            },
            own,
        })
    }
}

const EVERY: &[Arg] = &[
    Arg::Element,
    Arg::Field,
    Arg::Name,
    Arg::Value,
    Arg::By,
    Arg::Number,
    Arg::To,
    Arg::Count,
    Arg::Keep,
    Arg::KeepMs,
    Arg::ExpiresInMs,
];

/// Whether a write minted anything, and what to carry to another node to read it there.
pub(super) fn changed(written: &Written) -> Reading {
    Reading::Map(vec![
        ("changed".into(), Reading::Flag(written.last.is_some())),
        ("token".into(), Reading::word(written.token().to_string())),
    ])
}

/// Looks an operation up and checks what it was given.
pub(super) fn prepare(
    namespace: &Namespace,
    request: &OpRequest,
) -> Result<(Place, &'static Op, Args), OpError> {
    let (_, op) = request.look_up()?;
    let args = request.args(op, namespace.node().owner())?;
    let mut place = place(&request.key, &request.at)?;
    if request.expires_in_ms.is_some() {
        let after = Duration::from_millis(natural("expires_in_ms", request.expires_in_ms, 0)?);
        place.expires = Some(Expires::after(after));
    } else if request.expires_ms.is_some() {
        place.expires = Some(Expires::At(WallMillis(natural("expires_ms", request.expires_ms, 0)?)));
    }
    Ok((place, op, args))
}

/// Does one operation.
pub(crate) fn operate(namespace: &Namespace, request: &OpRequest) -> Result<Reading, OpError> {
    let (place, op, args) = prepare(namespace, request)?;
    let (label, read) = match op.run {
        Run::Write(write) => {
            let (_, written) = namespace
                .step(&mut |group| place.write(group, |group, at| write(group, at, &args).map(|()| 0)))?;
            return Ok(changed(&written));
        }
        Run::Read(label, read) => (label, read),
    };
    let reading = namespace.look(|store| place.at(|at| read(store, at, &args)));
    let mut reply = vec![("key".into(), Reading::word(request.key.as_str()))];
    if !request.at.is_empty() {
        reply.push(("at".into(), names(&request.at)));
    }
    reply.extend(request.field.clone().map(|field| ("field".into(), Reading::Stored(field))));
    reply.push((label.into(), reading));
    Ok(Reading::Map(reply))
}

fn names(at: &[String]) -> Reading {
    Reading::List(at.iter().map(|name| Reading::word(name.as_str())).collect())
}

/// The type called `name`, the engine's or the application's.
pub(super) fn type_called(namespace: &Namespace, name: &str) -> Result<TypeTag, OpError> {
    let tags = (0..=u8::MAX).map(TypeTag);
    let found = tags.into_iter().find(|tag| inspect::type_name(namespace.shared(), *tag) == name);
    found.ok_or_else(|| OpError::NoType { name: name.to_owned() })
}

fn nothing(request: &PlaceRequest) -> OpError {
    let place = [std::slice::from_ref(&request.key), &request.at].concat().join(" / ");
    OpError::Nothing { place: request.ty.as_ref().map_or(place.clone(), |ty| format!("{place} ({ty})")) }
}

/// Shows what lies at a place, as the type asked for, or as the one that the place reads as.
pub(crate) fn show(namespace: &Namespace, request: PlaceRequest) -> Result<ShownPlace, OpError> {
    let place = place(&request.key, &request.at)?;
    let wanted = request.ty.as_deref().map(|name| type_called(namespace, name)).transpose()?;
    let read = namespace.look(|store| {
        place.at(|at| {
            let types = whole::types(store, at);
            let ty = wanted.or(types.first().copied()).filter(|ty| types.contains(ty))?;
            let others = types.into_iter().filter(|other| *other != ty).collect::<Vec<_>>();
            Some((ty, reading::whole(store, at, ty), others))
        })
    });
    let Some((ty, value, others)) = read else { return Err(nothing(&request)) };
    let name = |ty| inspect::type_name(namespace.shared(), ty);
    let others = others.into_iter().map(name).collect();
    Ok(ShownPlace { ty: name(ty), key: request.key, at: request.at, value, others })
}

/// Removes what lies at a place, of the type asked for or of all; as one group.
pub(crate) fn remove(namespace: &Namespace, request: &PlaceRequest) -> Result<Reading, OpError> {
    let place = place(&request.key, &request.at)?;
    let wanted = request.ty.as_deref().map(|name| type_called(namespace, name)).transpose()?;
    let (_, written) = namespace.step(&mut |group| {
        place.at(|at| match wanted {
            Some(ty) => whole::remove(group, at, ty).map(u64::from),
            None => whole::remove_all(group, at),
        })
    })?;
    Ok(changed(&written))
}
