//! What tools see of an element, a field or a value: a [`Value`] if the bytes are one, else the bytes.

use std::fmt;

use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::any::{Value, ValueError, escape};
use super::json;

/// The bytes of an element, a field or a value, as tools read and write them.
///
/// What an application wrote with a type of its own is mostly no [`Value`] and is kept as it is, in JSON
/// `{"$raw": "<base64>"}`; written back it is the same bytes. A cell does not tell its Rust type, so other types'
/// bytes may happen to be those of a text or a value: then they are shown as that, and are the same bytes too.
///
/// ```
/// use sync_net::{Stored, Value};
///
/// assert_eq!(Stored::of(b"\x03tea"), Stored::Value(Value::from("tea")));
/// let foreign = Stored::of(&[0xac, 0x02]);
/// assert_eq!(foreign.to_json(), r#"{"$raw":"rAI="}"#);
/// assert_eq!(Stored::from_json(&foreign.to_json())?.to_bytes()?, [0xac, 0x02]);
/// # Ok::<(), sync_net::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stored {
    /// A value.
    Value(Value),
    /// Bytes that are no value's.
    Raw(Vec<u8>),
}

impl Stored {
    /// What `bytes`, as a cell has them, are.
    pub fn of(bytes: &[u8]) -> Self {
        let value = match postcard::take_from_bytes::<Value>(bytes) {
            Ok((value, [])) => Some(value),
            Ok(_) | Err(_) => None,
        };
        // A length in a longer form than need be reads, but would be written back as other bytes.
        let same = |value: &Value| postcard::to_stdvec(value).is_ok_and(|again| again == bytes);
        value.filter(same).map_or_else(|| Self::Raw(bytes.to_vec()), Self::Value)
    }

    /// The bytes that a cell gets.
    ///
    /// # Errors
    /// [`ValueError::TooDeep`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ValueError> {
        match self {
            Self::Raw(bytes) => Ok(bytes.clone()),
            Self::Value(value) => {
                postcard::to_stdvec(value).map_err(|_| ValueError::TooDeep { max: Value::DEPTH_MAX })
            }
        }
    }

    /// Reads JSON text: that of a [`Value`], or `{"$raw": "<base64>"}`.
    ///
    /// # Errors
    /// As for [`Value::from_json`].
    pub fn from_json(text: &str) -> Result<Self, ValueError> {
        json::stored(text)
    }

    /// JSON on one line, that [`Self::from_json`] reads back to the same bytes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("no part of it is one that JSON cannot hold")
    }

    /// As the name of a JSON object: text stands as it is, anything else as `$` and its JSON, and text that begins
    /// with `$` has one more.
    pub fn to_name(&self) -> String {
        match self {
            Self::Value(Value::Text(text)) => json::name(text).into_owned(),
            other @ (Self::Value(_) | Self::Raw(_)) => format!("${}", other.to_json()),
        }
    }

    /// Reads [`Self::to_name`].
    ///
    /// # Errors
    /// As for [`Self::from_json`].
    pub fn from_name(name: &str) -> Result<Self, ValueError> {
        match name.strip_prefix('$') {
            Some(rest) if !rest.starts_with('$') => Self::from_json(rest),
            Some(text) => Ok(Self::Value(Value::from(text))),
            None => Ok(Self::Value(Value::from(name))),
        }
    }
}

/// Text as it is, anything else as JSON. Not safe for a terminal: see who shows it.
impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(Value::Text(text)) => f.write_str(text),
            other @ (Self::Value(_) | Self::Raw(_)) => f.write_str(&other.to_json()),
        }
    }
}

/// As JSON; handles take a [`Value`].
impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Raw(bytes) => escape(serializer, json::RAW, &json::to_base64(bytes)),
        }
    }
}

/// From JSON, by `serde_json` only.
impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(raw.get()).map_err(D::Error::custom)
    }
}
