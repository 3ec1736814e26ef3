//! Between Rust values and the bytes that the store keeps: postcard, and nothing else.
//!
//! The bytes of a set element or of a map field *are* its identity: two encodings of one value would
//! be two elements. Postcard encodes a value in exactly one way as long as its type has one order of
//! its parts, so a type with a hash map or a hash set inside must not be an element or a field: its
//! order differs from one process to the next. Use `BTreeMap` and `BTreeSet`. Floats are safe as bits:
//! `0.0` and `-0.0` are two elements.
//!
//! `any` has the type that tools use, [`Value`], and `stored` what they see of other types.

mod any;
mod binary;
mod json;
mod stored;
#[cfg(test)]
mod tests;

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::any::{Float, Int, Value, ValueError};
pub use self::stored::Stored;
use crate::error::{Error, ReadError};

/// The bytes of `value`, to be stored under `key`.
pub(crate) fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>, Error> {
    postcard::to_stdvec(value)
        .map_err(|error| Error::Encode { key: key.to_owned(), reason: error.to_string() })
}

/// The bytes of `value` for a look-up; `None` if it has none, and then it was never stored either.
pub(crate) fn encode_for_lookup<T: Serialize + ?Sized>(value: &T) -> Option<Vec<u8>> {
    postcard::to_stdvec(value).ok()
}

/// The value that `bytes` encode. `what` names them in an error: an element, a field, a value.
pub(crate) fn decode<T: DeserializeOwned>(
    key: &str,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, ReadError> {
    let reason = match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => return Ok(value),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => error.to_string(),
    };
    Err(ReadError::Decode { key: key.to_owned(), what, wanted: type_name::<T>(), reason })
}
