//! Several operations as one group: all of them happen, or none.

use serde::Deserialize;
use serde_json::value::RawValue;
use sync_core::cell::TypeTag;
use sync_core::error::WriteError;
use sync_core::store::Group;
use sync_core::time::WallMillis;
use sync_core::types::user::UserTag;

use super::reading::Reading;
use super::request::{self, OpError, OpRequest, bytes, changed, place, type_called};
use super::{Args, Run};
use crate::access::{Expires, Place};
use crate::namespace::Namespace;
use crate::value::Stored;

/// Operations that one request may hold. The group's bytes are bounded by the store.
pub(crate) const BATCH_OPS_MAX: usize = 4_096;

/// Operations that write, in order; each as [`OpRequest`] takes it, or a cell of an application's type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest {
    ops: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Head {
    op: String,
}

/// A write to a cell of a type that the application brought: `export` makes these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CellRequest {
    #[serde(rename = "type")]
    ty: String,
    #[serde(rename = "op")]
    _op: String,
    key: String,
    #[serde(default)]
    at: Vec<String>,
    path: Stored,
    value: Stored,
    expires_ms: Option<u64>,
}

/// What the operation at hand does, looked up and checked.
enum Step {
    Op(Place, fn(&mut Group<'_>, sync_core::types::At<'_>, &Args) -> Result<(), WriteError>, Box<Args>),
    Cell(Place, TypeTag, Vec<u8>, Vec<u8>),
}

impl Step {
    fn read(namespace: &Namespace, number: usize, json: &RawValue) -> Result<Self, OpError> {
        let malformed = |error: serde_json::Error| OpError::Line { number, reason: error.to_string() };
        let Head { op } = serde_json::from_str(json.get()).map_err(malformed)?;
        if op == "cell" {
            return Self::cell(namespace, serde_json::from_str(json.get()).map_err(malformed)?);
        }
        let request: OpRequest = serde_json::from_str(json.get()).map_err(malformed)?;
        let (place, op, args) = request::prepare(namespace, &request)?;
        match op.run {
            Run::Write(write) => Ok(Self::Op(place, write, Box::new(args))),
            Run::Read(..) => {
                Err(OpError::Line { number, reason: "it reads; only writes make a group".into() })
            }
        }
    }

    fn cell(namespace: &Namespace, request: CellRequest) -> Result<Self, OpError> {
        let CellRequest { ty, key, at, path, value, expires_ms, _op } = request;
        let tag = type_called(namespace, &ty)?;
        if UserTag::new(tag.0).is_none() {
            return Err(OpError::NoOp { ty: tag.name().unwrap_or("type of the engine"), op: "cell".into() });
        }
        let mut place = place(&key, &at)?;
        place.expires = expires_ms.map(|at| Expires::At(WallMillis(at)));
        Ok(Self::Cell(place, tag, bytes(Some(&path))?, bytes(Some(&value))?))
    }

    fn run(&self, group: &mut Group<'_>) -> Result<(), WriteError> {
        match self {
            Self::Op(place, write, args) => place.write(group, |group, at| write(group, at, args)),
            Self::Cell(place, tag, path, value) => {
                place.write(group, |group, at| at.cells_of(*tag).put(group, path, value).map(drop))
            }
        }
    }
}

/// Does all of it, or nothing.
pub(crate) fn batch(namespace: &Namespace, request: &BatchRequest) -> Result<Reading, OpError> {
    let len = request.ops.len();
    if len > BATCH_OPS_MAX {
        return Err(OpError::TooMany { len });
    }
    let steps = request.ops.iter().enumerate().map(|(at, json)| Step::read(namespace, at + 1, json));
    let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
    let (_, written) = namespace.step(&mut |group| {
        steps.iter().try_for_each(|step| step.run(group))?;
        Ok(0)
    })?;
    Ok(changed(&written))
}
