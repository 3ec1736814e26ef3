//! [`Value`]: data of any shape, for tools and for applications without a type of their own.
//!
//! One serde type that every handle takes: `node.lww_map::<Value, Value>("m")`. Its bytes tell what they are and
//! are canonical, so that equal values are one element (`binary`; docs/crdt.md has every byte); it reads and
//! writes JSON (`json`).

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::ser::{Error as _, SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{binary, json};

/// Data of any shape, as JSON has it, and integers, floats and bytes told apart.
///
/// Text has the bytes of a `String`: what `node.or_set::<String>("s")` holds, `node.or_set::<Value>("s")` reads as
/// [`Value::Text`], and the other way round. Equal values have equal bytes.
///
/// ```
/// use sync_net::Value;
///
/// let value = Value::from_json(r#"{"price": 250, "tags": ["tea", "green"], "icon": {"$bytes": "AAH/"}}"#)?;
/// let Value::Map(map) = &value else { panic!("an object is a map") };
/// assert_eq!(map["price"], Value::from(250));
/// assert_eq!(map["icon"], Value::Bytes(vec![0, 1, 255]));
/// assert_eq!(Value::from_json(&value.to_json())?, value);
/// # Ok::<(), sync_net::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing, said on purpose.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(Int),
    /// A floating-point number; never equal to an [`Int`].
    Float(Float),
    /// Text.
    Text(String),
    /// Bytes. In JSON `{"$bytes": "<base64>"}`.
    Bytes(Vec<u8>),
    /// Values in their order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Most lists and maps that may lie in each other. Deeper is refused when it is written, read or parsed:
    /// bytes of a stranger must not decide how deep our stack goes.
    pub const DEPTH_MAX: usize = 32;

    /// Reads JSON text. Besides JSON's own there are `{"$bytes": "<base64>"}` and `{"$f64": "NaN"}` (or `"Infinity"`,
    /// `"-Infinity"`); a name that begins with `$` has one `$` more in JSON. Digits without point and exponent are
    /// an integer, others a float.
    ///
    /// # Errors
    /// [`ValueError`]: no JSON, a name twice, an integer beyond 64 bits, an unknown `$` name, too deep.
    pub fn from_json(text: &str) -> Result<Self, ValueError> {
        json::value(text)
    }

    /// JSON on one line, that [`Self::from_json`] reads back to this very value. Integers have all their digits:
    /// a reader that keeps numbers as doubles (`jq`) loses some beyond 2^53.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a value has no part that JSON cannot hold")
    }
}

/// Why text or bytes are no [`Value`], or a value has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Caller, or who wrote it: lists and maps lie too deep in each other.
    #[error("lists and maps lie more than {max} deep in each other; flatten them")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Caller: the text is no JSON of a value.
    #[error("{reason} at byte {at}")]
    Json {
        /// What is wrong.
        reason: String,
        /// Where, counted from 0.
        at: usize,
    },
    /// Who wrote it: the bytes are no value in its one encoding.
    #[error("the bytes are no value: {reason}")]
    Bytes {
        /// What is wrong.
        reason: String,
    },
}

/// A whole number that fits an `i64` or a `u64`. Equal numbers are equal, whichever they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int(i128);

impl Int {
    /// `number`, if it fits an `i64` or a `u64`.
    pub fn new(number: i128) -> Option<Self> {
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub const fn get(self) -> i128 {
        self.0
    }
}

/// A floating-point number with one bit pattern for each number: every NaN is one, and `-0.0` is `0.0`.
///
/// Ordered by value, NaN last.
#[derive(Clone, Copy, Debug)]
pub struct Float(f64);

impl Float {
    /// `number`, with its sign dropped if it is 0 and its payload if it is NaN.
    pub fn new(number: f64) -> Self {
        // Adding 0 turns -0.0 into 0.0 and leaves the rest alone.
        Self(if number.is_nan() { f64::NAN.abs() } else { number + 0.0 })
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl std::hash::Hash for Float {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

macro_rules! from {
    ($($from:ty: $value:ident => $to:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        })*
    };
}

from! {
    bool: value => Self::Bool(value);
    i32: value => Self::Int(Int(value.into()));
    u32: value => Self::Int(Int(value.into()));
    i64: value => Self::Int(Int(value.into()));
    u64: value => Self::Int(Int(value.into()));
    f64: value => Self::Float(Float::new(value));
    &str: value => Self::Text(value.to_owned());
    String: value => Self::Text(value);
    Vec<Value>: value => Self::List(value);
    BTreeMap<String, Value>: value => Self::Map(value);
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            // The bytes of a `String`, on purpose.
            if let Self::Text(text) = self {
                return serializer.serialize_str(text);
            }
            return serializer.serialize_bytes(&binary::encode(self).map_err(S::Error::custom)?);
        }
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(Int(number)) => match u64::try_from(*number) {
                Ok(number) => serializer.serialize_u64(number),
                Err(_) => serializer
                    .serialize_i64(i64::try_from(*number).expect("an integer fits 64 bits, see `Int`")),
            },
            Self::Float(Float(number)) if number.is_finite() => serializer.serialize_f64(*number),
            Self::Float(Float(number)) => escape(serializer, json::F64, json::word(*number)),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => escape(serializer, json::BYTES, &json::to_base64(bytes)),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(map) => {
                serializer.collect_map(map.iter().map(|(name, value)| (json::name(name), value)))
            }
        }
    }
}

/// `{"$what": "text"}`.
pub(super) fn escape<S: Serializer>(serializer: S, what: &str, text: &str) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(what, text)?;
    map.end()
}

impl<'de> Deserialize<'de> for Value {
    /// From JSON only by `serde_json`, whose raw text is parsed here: its own numbers are not exact.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let raw = Box::<RawValue>::deserialize(deserializer)?;
            return Self::from_json(raw.get()).map_err(D::Error::custom);
        }
        deserializer.deserialize_bytes(Encoded)
    }
}

/// Reads what [`Value`] serialises to.
struct Encoded;

impl Visitor<'_> for Encoded {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the bytes of a value")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(_) => binary::decode(bytes).map_err(E::custom),
        }
    }
}
