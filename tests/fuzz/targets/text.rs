//! What clients and operators carry as text or bytes: tokens, cursors of watches, values, addresses.

use sync_core::causal::CausalContext;
use sync_core::codec::Writer;
use sync_core::id::{Dot, NamespaceId, ReplicaId};
use sync_net::{Cursor, PeerAddr, Stored, Token, Value};

use super::{Run, Target};
use crate::judge::Seen;
use crate::mutate::Form;

const HEX: Form =
    Form::Text(&["00", "01", "ff", "80", "F", "é", " ", "ffffffffffffffffff01", "808080808020"]);

const JSON_WORDS: Form = Form::Text(&[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "1e999",
    "-0",
    "18446744073709551616",
    "-9223372036854775809",
    "{\"$raw\":\"",
    "{\"$bytes\":\"",
    "{\"$float\":\"",
    "{\"$",
    "\\ud800",
    "\\u0000",
    "\"$$\"",
    "0.1",
    "AA==",
    "é",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":",
]);

pub(crate) const TOKEN: Target = Target { name: "token", form: HEX, corpus: tokens, begin: begin_token };

pub(crate) const CURSOR: Target =
    Target { name: "cursor", form: Form::Binary, corpus: cursors, begin: begin_cursor };

pub(crate) const VALUE: Target =
    Target { name: "value", form: Form::Binary, corpus: values, begin: begin_value };

pub(crate) const JSON: Target = Target { name: "json", form: JSON_WORDS, corpus: jsons, begin: begin_json };

pub(crate) const ADDRESS: Target = Target {
    name: "address",
    form: Form::Text(&["@", ":", "[", "]", "::1", "7000", "65536", "till-2.example"]),

    corpus: || {
        let id = "ab".repeat(32);
        ["till-2.example:7000", "[::1]:1", "127.0.0.1:65535"]
            .into_iter()
            .flat_map(|addr| [addr.to_owned(), format!("{id}@{addr}")])
            .map(String::into_bytes)
            .collect()
    },
    begin: || {
        Box::new(|input| {
            let text = String::from_utf8_lossy(input);
            match text.parse::<PeerAddr>() {
                Err(error) => Seen::refused(&error.why),
                Ok(addr) if addr.to_string().parse() == Ok(addr.clone()) => Ok(Seen::read("an address", 0)),
                Ok(addr) => Err(format!("{addr} is not read as it is written")),
            }
        })
    },
};

fn tokens() -> Vec<Vec<u8>> {
    let namespace = NamespaceId::named("default");
    let mut session = Token::of(namespace, None);
    let mut all = vec![session.to_string()];
    for replica in 1..=64 {
        let one = Token::of(namespace, Some(Dot::new(ReplicaId([replica; 16]), 1 << (replica % 40))));
        session.join(&one).expect("there is room");
        all.push(session.to_string());
    }
    all.into_iter().map(String::into_bytes).collect()
}

fn begin_token() -> Run {
    Box::new(|input| {
        let text = String::from_utf8_lossy(input);
        match text.parse::<Token>() {
            Err(error) => Seen::refused(&error),
            Ok(token) if token.to_string() == text.to_ascii_lowercase() => {
                Ok(Seen::read("a token", token.context().len()))
            }
            Ok(token) => Err(format!("a token has two forms, one of them {token}")),
        }
    })
}

fn cursors() -> Vec<Vec<u8>> {
    let cursor = |prefix: &str, columns: &[(ReplicaId, u64)]| {
        let mut out = Writer::default();
        out.byte(1);
        out.fixed(&NamespaceId::named("default").0);
        out.bytes(prefix.as_bytes());
        out.varint(1_750_000_000_000);
        out.varint(0);
        out.fixed(&[7; 16]);
        out.count(columns.len());
        for (replica, seq) in columns {
            out.fixed(&replica.0);
            out.varint(*seq);
        }
        out.finish()
    };
    let columns: Vec<(ReplicaId, u64)> = (1..9).map(|n| (ReplicaId([n; 16]), 1 << (4 * n))).collect();
    vec![cursor("", &[]), cursor("cart/", &columns[..1]), cursor("é", &columns)]
}

fn begin_cursor() -> Run {
    Box::new(|input| {
        let cursor = match Cursor::from_bytes(input) {
            Ok(cursor) => cursor,
            Err(error) => return Seen::refused(&error),
        };
        if cursor.to_bytes() != input {
            return Err("a cursor has two forms".to_owned());
        }
        if cursor.to_string().parse() != Ok(cursor.clone()) {
            return Err("the text of a cursor is read as another one".to_owned());
        }
        // What is done with it: the events that it lacks, and those that it has more.
        let ours = CausalContext::from_iter([(ReplicaId([1; 16]), 9)]);
        let lacking = ours.minus(cursor.context()).len();
        let more = cursor.context().minus(&ours).len();
        Ok(Seen::read("a cursor", usize::from(lacking > 0) + 2 * usize::from(more > 0)))
    })
}

fn values() -> Vec<Vec<u8>> {
    let texts = jsons();
    let value = |text: &Vec<u8>| Stored::from_json(std::str::from_utf8(text).ok()?).ok()?.to_bytes().ok();
    texts.iter().filter_map(value).collect()
}

fn begin_value() -> Run {
    Box::new(|input| {
        let stored = Stored::of(input);
        if stored.to_bytes().as_deref() != Ok(input) {
            return Err(format!("the bytes of a value are not those of {stored:?}"));
        }
        if Stored::from_json(&stored.to_json()).as_ref() != Ok(&stored) {
            return Err(format!("the JSON of a value is read as another: {}", stored.to_json()));
        }
        if Stored::from_name(&stored.to_name()).as_ref() != Ok(&stored) {
            return Err(format!("the name of a value is read as another: {}", stored.to_name()));
        }
        Ok(Seen::read(if matches!(stored, Stored::Raw(_)) { "raw" } else { "value" }, input.len()))
    })
}

fn jsons() -> Vec<Vec<u8>> {
    let texts = [
        "null",
        "true",
        "7",
        "-9223372036854775808",
        "18446744073709551615",
        "1.5",
        "\"tea\"",
        "\"$tea\"",
        "[1,\"two\",[3,null]]",
        "{\"a\":1,\"b\":{\"c\":[true,false]}}",
        "{\"$raw\":\"rAI=\"}",
        "{\"$bytes\":\"rAI=\"}",
        "{\"$float\":\"NaN\"}",
        "{\"$$\":1}",
    ];
    let nested = ["[".repeat(200) + &"]".repeat(200), "{\"a\":".repeat(200) + "1" + &"}".repeat(200)];
    texts.into_iter().map(str::to_owned).chain(nested).map(String::into_bytes).collect()
}

fn begin_json() -> Run {
    Box::new(|input| {
        let text = String::from_utf8_lossy(input);
        let value = Value::from_json(&text);
        match Stored::from_json(&text) {
            Err(error) => Seen::refused(&error),
            Ok(stored) => {
                if let (Stored::Value(one), Ok(other)) = (&stored, &value)
                    && one != other
                {
                    return Err(format!("one text is two values: {one:?} and {other:?}"));
                }
                let again = Stored::from_json(&stored.to_json());
                if again.as_ref() != Ok(&stored) {
                    return Err(format!("{stored:?} is written as what reads as {again:?}"));
                }
                let bytes =
                    stored.to_bytes().map_err(|error| format!("what was read is not written: {error}"))?;
                if matches!(stored, Stored::Value(_)) && Stored::of(&bytes) != stored {
                    return Err(format!("the bytes of {stored:?} are those of another value"));
                }
                Ok(Seen::read("json", bytes.len()))
            }
        }
    })
}
