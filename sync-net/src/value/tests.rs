//! Values: their bytes, their JSON, and what is refused.

use std::collections::BTreeSet;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::json::{BYTES, F64, RAW};
use super::*;

#[test]
fn a_value_comes_back_and_another_type_is_refused_by_name() {
    let bytes = encode("k", "tea").expect("text has bytes");
    assert_eq!(decode::<String>("k", "an element", &bytes).expect("same type"), "tea");
    let ReadError::Decode { key, what, wanted, .. } =
        decode::<u64>("k", "an element", &bytes).expect_err("text is no number");
    assert_eq!((key.as_str(), what, wanted), ("k", "an element", "u64"));
}

#[test]
fn bytes_left_over_are_no_value() {
    assert!(decode::<u8>("k", "a value", &[1, 2]).is_err());
}

fn bytes(value: &Value) -> Vec<u8> {
    encode("k", value).expect("it is not too deep")
}

fn read(bytes: &[u8]) -> Option<Value> {
    decode("k", "a value", bytes).ok()
}

/// Text of few letters, among them those that JSON, escapes and tags care about.
fn text(rng: &mut Xoshiro256PlusPlus) -> String {
    let letters = ['$', '"', '\\', 'a', '\u{0}', '\n', 'é', '\u{10ffff}', '{'];
    let plain: String =
        (0..rng.random_range(0..5)).map(|_| letters[rng.random_range(0..letters.len())]).collect();
    match rng.random_range(0..6) {
        0 => [BYTES, F64, RAW][rng.random_range(0..3)].to_owned(),
        _ => plain,
    }
}

fn value(rng: &mut Xoshiro256PlusPlus, depth: usize) -> Value {
    let kinds = if depth < 4 { 9 } else { 7 };
    match rng.random_range(0..kinds) {
        0 => Value::Null,
        1 => Value::Bool(rng.random()),
        2 => Value::from(rng.random::<i64>() >> rng.random_range(0..64)),
        3 => Value::from(rng.random::<u64>() >> rng.random_range(0..64)),
        4 => match rng.random_range(0..4) {
            0 => Value::from([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0][rng.random_range(0..4)]),
            1 => Value::from(f64::from(rng.random_range(-9..9_i32)) / 10.0),
            _ => Value::from(f64::from_bits(rng.random())),
        },
        5 => Value::Text(text(rng)),
        6 => Value::Bytes((0..rng.random_range(0..5)).map(|_| rng.random()).collect()),
        7 => Value::List((0..rng.random_range(0..4)).map(|_| value(rng, depth + 1)).collect()),
        _ => Value::Map((0..rng.random_range(0..4)).map(|_| (text(rng), value(rng, depth + 1))).collect()),
    }
}

#[test]
fn every_value_comes_back_from_its_bytes_its_json_and_its_name() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (mut values, mut encodings) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..20_000 {
        let value = value(&mut rng, 0);
        let encoded = bytes(&value);
        assert_eq!(read(&encoded).as_ref(), Some(&value));
        let json = value.to_json();
        assert_eq!(Value::from_json(&json).as_ref(), Ok(&value), "{json}");
        serde_json::from_str::<serde::de::IgnoredAny>(&json).expect("it is JSON to others too");
        assert_eq!(serde_json::from_str::<Value>(&json).expect("serde reads it"), value);
        let stored = Stored::of(&encoded);
        assert_eq!(stored, Stored::Value(value.clone()));
        assert_eq!(Stored::from_name(&stored.to_name()).as_ref(), Ok(&stored));
        values.insert(value);
        encodings.insert(encoded);
    }
    assert!(values.len() > 10_000, "{}", values.len());
    assert_eq!(values.len(), encodings.len(), "equal values have equal bytes, others have others");
}

#[test]
fn any_bytes_come_back_from_what_tools_show_of_them() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut raw = 0;
    for _ in 0..50_000 {
        let mut cell: Vec<u8> = match rng.random_range(0..3) {
            0 => (0..rng.random_range(0..6)).map(|_| rng.random()).collect(),
            _ => bytes(&value(&mut rng, 2)),
        };
        if rng.random_bool(0.5) && !cell.is_empty() {
            let at = rng.random_range(0..cell.len());
            cell[at] = rng.random();
        }
        let stored = Stored::of(&cell);
        raw += u32::from(matches!(stored, Stored::Raw(_)));
        assert_eq!(stored.to_bytes().as_ref(), Ok(&cell), "{cell:02x?}");
        assert_eq!(Stored::from_json(&stored.to_json()).as_ref(), Ok(&stored));
        if let Some(value) = read(&cell) {
            let again = bytes(&value);
            // The length in front is postcard's, which takes a longer form of it too.
            assert!(cell.ends_with(&again[1..]), "one encoding: {cell:02x?} {again:02x?}");
        }
    }
    assert!(raw > 5_000, "{raw}");
}

#[test]
fn text_has_the_bytes_of_a_string_and_no_other_value_can_be_taken_for_one() {
    assert_eq!(bytes(&Value::from("tea")), encode("k", "tea").expect("text has bytes"));
    assert_eq!(read(&encode("k", "tea").expect("text has bytes")), Some(Value::from("tea")));
    for value in
        [Value::Null, Value::from(3), Value::from(0.5), Value::Bytes(b"tea".to_vec()), Value::List(vec![])]
    {
        assert!(decode::<String>("k", "a value", &bytes(&value)).is_err(), "{value:?}");
    }
}

#[test]
fn the_bytes_are_those_of_the_table() {
    for (json, expected) in [
        ("null", &[1, 0x80][..]),
        ("false", &[1, 0x81]),
        ("true", &[1, 0x82]),
        ("-1", &[2, 0x83, 0]),
        ("-129", &[3, 0x83, 0x80, 1]),
        ("0", &[2, 0x84, 0]),
        ("300", &[3, 0x84, 0xac, 2]),
        ("0.5", &[9, 0x85, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]),
        (r#"{"$f64": "NaN"}"#, &[9, 0x85, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("\"a\"", &[1, b'a']),
        ("\"\"", &[0]),
        (r#"{"$bytes": "AP8="}"#, &[4, 0x87, 2, 0, 0xff]),
        (r#"["a", []]"#, &[7, 0x88, 2, 0x86, 1, b'a', 0x88, 0]),
        (r#"{"b": 1, "a": null}"#, &[9, 0x89, 2, 1, b'a', 0x80, 1, b'b', 0x84, 1]),
    ] {
        let value = Value::from_json(json).expect(json);
        assert_eq!(bytes(&value), expected, "{json}");
        assert_eq!(read(expected), Some(value), "{json}");
    }
}

#[test]
fn equal_numbers_are_one_value_and_integers_are_no_floats() {
    assert_eq!(Value::from(5_u64), Value::from(5_i64));
    assert_eq!(bytes(&Value::from(-0.0)), bytes(&Value::from(0.0)));
    let quiet = f64::from_bits(0xfff8_dead_beef_0001);
    assert_eq!(bytes(&Value::from(quiet)), bytes(&Value::from(f64::NAN)));
    assert_ne!(Value::from(1_i64), Value::from(1.0));
    assert_eq!((Value::from(1_i64).to_json(), Value::from(1.0).to_json()), ("1".into(), "1.0".into()));
    assert_eq!(Value::from(u64::MAX).to_json(), "18446744073709551615");
    assert_eq!(Value::from_json("-9223372036854775808"), Ok(Value::from(i64::MIN)));
    // One that a general JSON library reads one bit too low.
    for digits in ["0.30000000000000004", "1.7976931348623157e308", "5e-324", "9007199254740993.0"] {
        assert_eq!(Value::from_json(digits), Ok(Value::from(digits.parse::<f64>().expect("a float"))));
    }
}

#[test]
fn bytes_in_another_form_than_the_one_are_no_value() {
    for wrong in [
        &[2, 0x80, 0][..],
        &[1, 0x84],
        &[3, 0x84, 0x80, 0],
        &[11, 0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        &[9, 0x85, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[9, 0x85, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1],
        &[3, 0x86, 1, b'a'],
        &[6, 0x89, 2, 1, b'b', 0x80, 1],
        &[9, 0x89, 2, 1, b'b', 0x80, 1, b'a', 0x84, 1],
        &[8, 0x89, 2, 1, b'a', 0x80, 1, b'a', 0x80],
        &[6, 0x88, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[1, 0x8a],
        &[2, b'a', 0xff],
    ] {
        assert_eq!(read(wrong), None, "{wrong:02x?}");
        assert_eq!(Stored::of(wrong), Stored::Raw(wrong.to_vec()));
    }
}

#[test]
fn depth_is_bounded_in_bytes_in_json_and_at_the_writer() {
    let deep = |levels: usize| (0..levels).fold(Value::Null, |value, _| Value::List(vec![value]));
    let most = deep(Value::DEPTH_MAX);
    assert_eq!(read(&bytes(&most)), Some(most.clone()));
    assert_eq!(Value::from_json(&most.to_json()), Ok(most));
    let too_deep = ValueError::TooDeep { max: Value::DEPTH_MAX };
    let more = deep(Value::DEPTH_MAX + 1);
    assert!(encode("k", &more).is_err());
    assert_eq!(Stored::Value(more.clone()).to_bytes(), Err(too_deep.clone()));
    assert_eq!(Value::from_json(&more.to_json()), Err(too_deep.clone()));
    // Far deeper than a stack holds.
    for open in ["[", "{\"a\":"] {
        assert_eq!(Value::from_json(&open.repeat(1_000_000)), Err(too_deep.clone()));
    }
    let content: Vec<u8> = [0x88, 1].repeat(500_000);
    let cell = postcard::to_stdvec(content.as_slice()).expect("bytes have bytes");
    assert_eq!(read(&cell), None);
}

#[test]
fn json_that_is_none_is_refused_in_one_line() {
    for wrong in [
        "",
        "nul",
        "tea",
        "[1,]",
        "[1",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "1e",
        "+1",
        ".5",
        "1e999",
        "18446744073709551616",
        "-9223372036854775809",
        "\"a",
        "\"\\x\"",
        "\"\n\"",
        "1 2",
        "\"\\",
        "{\"a\":1,\"a\":2}",
        r#"{"$bytes":"A"}"#,
        r#"{"$bytes":"AB=="}"#,
        r#"{"$bytes":1}"#,
        r#"{"$bytes":"AA==","b":1}"#,
        r#"{"b":1,"$bytes":"AA=="}"#,
        r#"{"$f64":"1"}"#,
        r#"{"$what":"x"}"#,
        r#"[{"$raw":"AA=="}]"#,
        r#"{"$raw":"AA=="}"#,
    ] {
        let error = Value::from_json(wrong).expect_err(wrong).to_string();
        assert!(!error.contains('\n'), "{error:?}");
    }
    assert_eq!(
        Value::from_json(r#"{"$$bytes":"A"}"#).map(|value| value.to_json()),
        Ok(r#"{"$$bytes":"A"}"#.into())
    );
    assert_eq!(
        Value::from_json(" [ 1 , \"\\u00e9\" ] "),
        Ok(Value::List(vec![Value::from(1), Value::from("é")]))
    );
}

#[test]
fn a_foreign_type_is_raw_and_its_bytes_are_kept() {
    for cell in [vec![], vec![0xac, 2], vec![3, 0xff, 0, 1], vec![0x81, 0, b'a'], vec![1, 2, 3]] {
        let stored = Stored::of(&cell);
        assert_eq!(stored, Stored::Raw(cell.clone()));
        assert_eq!(Stored::from_json(&stored.to_json()).and_then(|stored| stored.to_bytes()), Ok(cell));
    }
    // What is raw by name and a value by its bytes is the value.
    assert_eq!(Stored::from_json(r#"{"$raw":"AXg="}"#), Ok(Stored::Value(Value::from("x"))));
}
