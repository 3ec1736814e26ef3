//! Sizes and times as people write them: a number and a unit.

use sync_core::time::Span;

/// Bytes of each unit; the first that divides a size is the one that it is printed in.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Microseconds of each unit, the same.
const TIMES: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// A whole number, with or without underscores between its digits.
pub(super) fn count(text: &str) -> Option<u64> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '_');
    if is_number { text.replace('_', "").parse().ok() } else { None }
}

/// A number and a unit of `units`, in the smallest unit; `None` also if it is too large.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, worth) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    count(number)?.checked_mul(*worth)
}

/// A size: a number of bytes, or a number and a unit. Units are `B`, `kB`, `KiB` and so on to `TB` and `TiB`, in any case.
pub(super) fn size(text: &str) -> Option<u64> {
    count(text).or_else(|| amount(text, &SIZES))
}

/// A time: a number and one of `us`, `ms`, `s`, `m`, `h` and `d`.
pub(super) fn time(text: &str) -> Option<Span> {
    amount(text, &TIMES).map(Span::from_micros)
}

fn shown(n: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, worth): &&(&str, u64)| n != 0 && n.is_multiple_of(*worth);
    let smallest = units.last().expect("there are units");
    let (unit, worth) = units.iter().find(fits).unwrap_or(smallest);
    format!("{}{unit}", n / worth)
}

/// A size in the largest unit that divides it.
pub(super) fn shown_size(bytes: u64) -> String {
    shown(bytes, &SIZES)
}

/// A time in the largest unit that divides it.
pub(super) fn shown_time(span: Span) -> String {
    if span == Span::ZERO { "0s".to_owned() } else { shown(span.as_micros(), &TIMES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_back_as_they_are_printed() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("1000001B", 1_000_001),
            ("1MB", 1_000_000),
            ("64MiB", 64 << 20),
            ("3kB", 3_000),
            ("512KiB", 512 << 10),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!((size(text), shown_size(bytes).as_str()), (Some(bytes), text));
        }
        for (text, micros) in [
            ("1us", 1),
            ("200ms", 200_000),
            ("30s", 30_000_000),
            ("90s", 90_000_000),
            ("10m", 600_000_000),
            ("1d", 86_400_000_000),
        ] {
            assert_eq!(
                (time(text).map(Span::as_micros), shown_time(Span::from_micros(micros)).as_str()),
                (Some(micros), text)
            );
        }
        assert_eq!((time("0s"), shown_time(Span::ZERO).as_str()), (Some(Span::ZERO), "0s"));
    }

    #[test]
    fn other_spellings_are_read_and_nonsense_is_not() {
        for (text, bytes) in [("1000", 1_000), ("1_000", 1_000), ("64 mib", 64 << 20), ("1mb", 1_000_000)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        let most = u64::MAX.to_string();
        assert_eq!(size(&most), Some(u64::MAX));
        for text in [
            "",
            "B",
            "-1",
            "1.5MB",
            "1 0",
            "1X",
            "_1",
            "1_",
            "99999999999999999999",
            "18446744073709551615MB",
            "1MB ",
            "٣",
        ] {
            assert_eq!(size(text), None, "{text:?}");
        }
        for text in ["", "30", "s", "-1s", "1.5s", "1w", "1m30s", "99999999999999d"] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }
}
