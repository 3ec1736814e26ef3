//! JSON into a [`Value`], and the `$` names that say what JSON cannot.
//!
//! A reader of our own, for what a general one does not promise: every float is the nearest one, an integer that
//! does not fit is refused and not rounded, a name twice is a mistake, and the depth has our limit. The text is
//! bounded by who takes it in: a request's body, a command line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::any::{Float, Int, Value, ValueError};
use super::binary::deeper;
use super::stored::Stored;

/// Bytes, in base64.
pub(super) const BYTES: &str = "$bytes";
/// A float that is no number.
pub(super) const F64: &str = "$f64";
/// Bytes of the store that are no value, in base64.
pub(super) const RAW: &str = "$raw";

pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The word for a float that JSON has no number for.
pub(super) fn word(number: f64) -> &'static str {
    match (number.is_nan(), number > 0.0) {
        (true, _) => "NaN",
        (false, true) => "Infinity",
        (false, false) => "-Infinity",
    }
}

/// A map's name as JSON has it.
pub(super) fn name(name: &str) -> Cow<'_, str> {
    if name.starts_with('$') { Cow::Owned(format!("${name}")) } else { Cow::Borrowed(name) }
}

/// The value of a JSON text.
pub(super) fn value(text: &str) -> Result<Value, ValueError> {
    let mut parser = Parser { text, at: 0, raw: None };
    let value = parser.whole()?;
    match parser.raw {
        None => Ok(value),
        Some(_) => Err(parser.wrong(format!("{RAW} is no value"))),
    }
}

/// As [`value`], or the bytes of `{"$raw": "<base64>"}`.
pub(super) fn stored(text: &str) -> Result<Stored, ValueError> {
    let mut parser = Parser { text, at: 0, raw: None };
    let value = parser.whole()?;
    Ok(parser.raw.map_or(Stored::Value(value), |bytes| Stored::of(&bytes)))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The bytes of a `$raw`, which may only be the whole.
    raw: Option<Vec<u8>>,
}

impl Parser<'_> {
    fn whole(&mut self) -> Result<Value, ValueError> {
        let value = self.value(0)?;
        self.space();
        if self.at < self.text.len() { Err(self.wrong("more follows the value")) } else { Ok(value) }
    }

    fn wrong(&self, reason: impl Into<String>) -> ValueError {
        ValueError::Json { reason: reason.into(), at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `byte`, after white space, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), ValueError> {
        if self.take(byte) { Ok(()) } else { Err(self.wrong(format!("{:?} is missing", char::from(byte)))) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, ValueError> {
        self.space();
        match self.peek() {
            Some(b'n') => self.literal("null", Value::Null),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'[') => self.list(deeper(depth)?),
            Some(b'{') => self.map(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.wrong("no JSON value begins here; text needs double quotes")),
            None => Err(self.wrong("a JSON value is missing")),
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, ValueError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("no JSON value begins here; text needs double quotes"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn string(&mut self) -> Result<String, ValueError> {
        let from = self.at;
        if !self.take(b'"') {
            return Err(self.wrong("a text in double quotes is missing"));
        }
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.wrong("a text does not end")),
            }
        }
        self.at += 1;
        // The escapes are the library's.
        let literal = self.text.get(from..self.at).unwrap_or_default().trim_start();
        serde_json::from_str(literal).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" at line").next().unwrap_or_default();
            ValueError::Json { reason: format!("a text is wrong ({reason})"), at: from }
        })
    }

    fn digits(&mut self) -> Result<(), ValueError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.wrong("a digit is missing")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value, ValueError> {
        let from = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let zero = self.peek() == Some(b'0');
        let whole = self.at;
        self.digits()?;
        if zero && self.at > whole + 1 {
            return Err(self.wrong("a number begins with 0"));
        }
        let mut is_int = true;
        if self.peek() == Some(b'.') {
            is_int = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_int = false;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let digits = &self.text[from..self.at];
        if is_int {
            let number = digits.parse().ok().and_then(Int::new).map(Value::Int);
            let reason = "an integer does not fit 64 bits; write it as text, or with a point as a float";
            return number.ok_or_else(|| self.wrong(reason));
        }
        let number = digits.parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Value::from).ok_or_else(|| self.wrong("a float is out of range"))
    }

    fn list(&mut self, depth: usize) -> Result<Value, ValueError> {
        self.expect(b'[')?;
        let mut values = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(values));
        }
        loop {
            values.push(self.value(depth)?);
            if !self.take(b',') {
                self.expect(b']')?;
                return Ok(Value::List(values));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ValueError> {
        self.expect(b'{')?;
        let mut map = BTreeMap::new();
        if self.take(b'}') {
            deeper(depth)?;
            return Ok(Value::Map(map));
        }
        loop {
            self.space();
            let written = self.string()?;
            self.expect(b':')?;
            let name = match written.strip_prefix('$') {
                Some(rest) if rest.starts_with('$') => rest.to_owned(),
                Some(_) if map.is_empty() => return self.escape(&written, depth),
                Some(_) => {
                    return Err(self.wrong(format!("{written} must stand alone; a name is ${written}")));
                }
                None => written,
            };
            let value = self.value(deeper(depth)?)?;
            if map.contains_key(&name) {
                return Err(self.wrong(format!("the name {name:?} stands twice")));
            }
            map.insert(name, value);
            if !self.take(b',') {
                self.expect(b'}')?;
                return Ok(Value::Map(map));
            }
        }
    }

    /// What follows `{"$what":`.
    fn escape(&mut self, what: &str, depth: usize) -> Result<Value, ValueError> {
        self.space();
        let text = if matches!(what, BYTES | F64 | RAW) { self.string()? } else { String::new() };
        let value = match (what, text.as_str()) {
            (BYTES, text) => Value::Bytes(self.base64(text)?),
            (RAW, text) if depth == 0 => {
                self.raw = Some(self.base64(text)?);
                Value::Null
            }
            (F64, "NaN") => Value::Float(Float::new(f64::NAN)),
            (F64, "Infinity") => Value::Float(Float::new(f64::INFINITY)),
            (F64, "-Infinity") => Value::Float(Float::new(f64::NEG_INFINITY)),
            (F64, _) => return Err(self.wrong("a $f64 is NaN, Infinity or -Infinity")),
            (RAW, _) => return Err(self.wrong("a $raw is the whole and no part of a value")),
            (what, _) => {
                // On one line, whatever the name holds.
                let (what, name) = (what.escape_debug(), format!("${what}"));
                let reason = format!(
                    "{what} means nothing; $bytes and $f64 do, and the name is written {}",
                    name.escape_debug()
                );
                return Err(self.wrong(reason));
            }
        };
        self.expect(b'}')?;
        Ok(value)
    }

    fn base64(&self, text: &str) -> Result<Vec<u8>, ValueError> {
        STANDARD.decode(text).map_err(|error| self.wrong(format!("no base64: {error}")))
    }
}
