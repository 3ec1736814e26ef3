//! The bytes of a [`Value`] that is no text: a tag, then what the tag says; one encoding for each value.
//!
//! Tags are bytes that no UTF-8 text begins with, so text needs none and is a `String`'s bytes. docs/crdt.md has
//! the table. Decoding allocates nothing that the bytes do not hold, and goes [`Value::DEPTH_MAX`] deep at most.

use std::collections::BTreeMap;

use sync_core::codec::{Reader, Writer};
use sync_core::error::FrameError;

use super::any::{Float, Int, Value, ValueError};

const NULL: u8 = 0x80;
const FALSE: u8 = 0x81;
const TRUE: u8 = 0x82;
const NEGATIVE: u8 = 0x83;
const NATURAL: u8 = 0x84;
const FLOAT: u8 = 0x85;
const TEXT: u8 = 0x86;
const BYTES: u8 = 0x87;
const LIST: u8 = 0x88;
const MAP: u8 = 0x89;

impl From<FrameError> for ValueError {
    fn from(error: FrameError) -> Self {
        Self::Bytes { reason: error.to_string() }
    }
}

fn wrong(reason: &str) -> ValueError {
    ValueError::Bytes { reason: reason.to_owned() }
}

/// The bytes of `value`, which is no text.
pub(super) fn encode(value: &Value) -> Result<Vec<u8>, ValueError> {
    let mut out = Writer::default();
    write(value, 0, &mut out)?;
    Ok(out.finish())
}

/// One deeper, if that is allowed.
pub(super) fn deeper(depth: usize) -> Result<usize, ValueError> {
    if depth < Value::DEPTH_MAX { Ok(depth + 1) } else { Err(ValueError::TooDeep { max: Value::DEPTH_MAX }) }
}

fn write(value: &Value, depth: usize, out: &mut Writer) -> Result<(), ValueError> {
    match value {
        Value::Null => out.byte(NULL),
        Value::Bool(false) => out.byte(FALSE),
        Value::Bool(true) => out.byte(TRUE),
        Value::Int(number) => match u64::try_from(number.get()) {
            Ok(natural) => {
                out.byte(NATURAL);
                out.varint(natural);
            }
            Err(_) => {
                out.byte(NEGATIVE);
                out.varint(u64::try_from(-1 - number.get()).expect("an integer fits 64 bits, see `Int`"));
            }
        },
        Value::Float(number) => {
            out.byte(FLOAT);
            out.fixed(&number.get().to_bits().to_be_bytes());
        }
        Value::Text(text) => {
            out.byte(TEXT);
            out.bytes(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.byte(BYTES);
            out.bytes(bytes);
        }
        Value::List(values) => {
            let depth = deeper(depth)?;
            out.byte(LIST);
            out.count(values.len());
            for value in values {
                write(value, depth, out)?;
            }
        }
        Value::Map(map) => {
            let depth = deeper(depth)?;
            out.byte(MAP);
            out.count(map.len());
            for (name, value) in map {
                out.bytes(name.as_bytes());
                write(value, depth, out)?;
            }
        }
    }
    Ok(())
}

/// The value that `bytes`, which are no UTF-8, encode.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, ValueError> {
    let mut input = Reader::new(bytes);
    let value = read(&mut input, 0)?;
    input.finish()?;
    Ok(value)
}

fn read(input: &mut Reader<'_>, depth: usize) -> Result<Value, ValueError> {
    Ok(match input.byte("tag")? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        NATURAL => Value::from(input.varint("number")?),
        NEGATIVE => {
            let number = -1 - i128::from(input.varint("number")?);
            Value::Int(Int::new(number).ok_or_else(|| wrong("an integer is below 64 bits"))?)
        }
        FLOAT => {
            let bits = u64::from_be_bytes(input.fixed("float")?);
            let number = Float::new(f64::from_bits(bits));
            if number.get().to_bits() != bits {
                return Err(wrong("a float is a NaN or a zero of another form"));
            }
            Value::Float(number)
        }
        // Alone it would be UTF-8, and no tag would stand before it.
        TEXT if depth > 0 => Value::Text(text(input)?),
        BYTES => Value::Bytes(input.bytes("bytes", usize::MAX)?.to_vec()),
        LIST => {
            let depth = deeper(depth)?;
            let count = input.count("list", 1)?;
            Value::List((0..count).map(|_| read(input, depth)).collect::<Result<_, _>>()?)
        }
        MAP => Value::Map(map(input, deeper(depth)?)?),
        tag => return Err(wrong(&format!("no value begins with 0x{tag:02x} here"))),
    })
}

fn map(input: &mut Reader<'_>, depth: usize) -> Result<BTreeMap<String, Value>, ValueError> {
    let mut map = BTreeMap::new();
    for _ in 0..input.count("map", 2)? {
        let name = text(input)?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(wrong("the names of a map are not ascending"));
        }
        map.insert(name, read(input, depth)?);
    }
    Ok(map)
}

fn text(input: &mut Reader<'_>) -> Result<String, ValueError> {
    let bytes = input.bytes("text", usize::MAX)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| wrong("text is not UTF-8"))
}
