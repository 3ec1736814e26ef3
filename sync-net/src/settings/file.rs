//! The file: its bytes, and the settings that stand in them.
//!
//! Settings stand at the top of the file, one a line, without sections. All that is wrong with the syntax is told, and
//! what could be read beside it is looked at too; of a line that cannot be read only that is said.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::mistake::Mistakes;
use super::value::{Raw, shown};

/// Longest configuration file, in bytes. A longer one is refused before it is read: a hundred peers with their ids take a
/// twentieth of it.
pub const FILE_BYTES_MAX: usize = 256 << 10;

/// A setting as it stands in the file.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u32,
    pub(super) raw: Raw,
}

/// Reads the bytes of a configuration file.
///
/// # Errors
/// It cannot be read, is no regular file, or is longer than [`FILE_BYTES_MAX`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, Mistakes> {
    let name = path.display().to_string();
    let failed = |text: String| Mistakes::one(Some(name.clone()), text);
    let cannot = |error: std::io::Error| {
        failed(format!("cannot be read: {error}; name another with --config or {}", super::CONFIG_VARIABLE))
    };
    let found = fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        return Err(failed("is no regular file; name one with --config".to_owned()));
    }
    check_len(&name, found.len())?;
    let mut bytes = Vec::new();
    // It may have grown since.
    let most = FILE_BYTES_MAX as u64 + 1;
    fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(cannot)?;
    check_len(&name, bytes.len() as u64)?;
    Ok(bytes)
}

fn check_len(name: &str, len: u64) -> Result<(), Mistakes> {
    if len <= FILE_BYTES_MAX as u64 {
        return Ok(());
    }
    let text = format!("{len} bytes are more than the {FILE_BYTES_MAX} that a configuration file may have");
    Err(Mistakes::one(Some(name.to_owned()), text))
}

/// The settings in `bytes`, in their order; what is no TOML goes to `mistakes`.
pub(super) fn parse(name: &str, bytes: &[u8], mistakes: &mut Mistakes) -> Vec<Entry> {
    if let Err(error) = check_len(name, bytes.len() as u64) {
        mistakes.extend(error);
        return Vec::new();
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            mistakes.add_at(name, u32::try_from(line).unwrap_or(u32::MAX), || "is no UTF-8".to_owned());
            return Vec::new();
        }
    };
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut unreadable = BTreeSet::new();
    for error in errors {
        let line = lines.at(error.span().map_or(0, |span| span.start));
        unreadable.insert(line);
        mistakes.add_at(name, line, || {
            let said = error.message().lines().collect::<Vec<_>>().join(" ");
            format!("this is no TOML: {said}")
        });
    }
    let entry =
        |(key, value): (toml::Spanned<std::borrow::Cow<'_, str>>, toml::Spanned<DeValue<'_>>)| Entry {
            line: lines.at(key.span().start),
            key: key.into_inner().into_owned(),
            raw: raw(&value.into_inner()),
        };
    let mut entries: Vec<Entry> = table.into_inner().into_iter().map(entry).collect();
    entries.retain(|entry| !unreadable.contains(&entry.line));
    entries.sort_by_key(|entry| entry.line);
    entries
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Quoted(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i128::from_str_radix(&digits, number.radix())
                .map_or(Raw::Other("a number far too large"), Raw::Number)
        }
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Array(items) => {
            let text = |item: &toml::Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
            items
                .iter()
                .map(text)
                .collect::<Option<_>>()
                .map_or(Raw::Other("a list of other things than texts"), Raw::List)
        }
        DeValue::Float(_) => Raw::Other("a number with a point"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a section"),
    }
}

/// What to say of a key that no setting has.
pub(super) fn unknown(key: &str, raw: &Raw, nearest: Option<&'static str>) -> String {
    let what = shown(key);
    match (raw, nearest) {
        (Raw::Other("a section"), _) => {
            format!("{what} is a section, and settings stand at the top of the file, without sections")
        }
        (_, Some(nearest)) => format!("no setting is named {what}; did you mean {nearest}?"),
        (_, None) => format!("no setting is named {what}; `sync-cli config default` lists them"),
    }
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of the byte at `at`, the first being 1.
    fn at(&self, at: usize) -> u32 {
        let before = self.0.partition_point(|end| *end < at);
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }
}
