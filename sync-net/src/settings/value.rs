//! What a setting can be: its kind with its bounds, and a value of that kind.

use std::fmt;

use sync_core::time::Span;

use super::units;

/// What is accepted for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number within these bounds.
    Count(u64, u64),
    /// A number of bytes within these bounds.
    Size(u64, u64),
    /// A length of time within these bounds, in milliseconds.
    Time(u64, u64),
    /// True or false.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A path; a relative one begins in the working folder of the process.
    Path,
    /// Text that must have this form.
    Text(&'static str),
    /// Any number of texts, each of this form.
    List(&'static str),
}

impl Kind {
    /// In one word, as the documentation lists it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count(..) => "number",
            Self::Size(..) => "size",
            Self::Time(..) => "time",
            Self::Flag => "true or false",
            Self::Choice(_) => "word",
            Self::Path => "path",
            Self::Text(_) => "text",
            Self::List(_) => "list",
        }
    }

    /// The accepted form and range, in words.
    pub fn form(self) -> String {
        let (size, time) = (units::shown_size, |ms| units::shown_time(Span::from_millis(ms)));
        match self {
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Size(least, most) => {
                format!(
                    "a size from {} to {}, such as 64MiB, 1MB or a number of bytes",
                    size(least),
                    size(most)
                )
            }
            Self::Time(least, most) => {
                format!("a time from {} to {}, such as 30s, 200ms or 5m", time(least), time(most))
            }
            Self::Flag => "true or false".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Path => "a path".to_owned(),
            Self::Text(form) => form.to_owned(),
            Self::List(form) => format!("a list, each {form}"),
        }
    }

    /// Reads what was given; the error says what was found.
    pub(super) fn read(self, raw: &Raw) -> Result<Value, String> {
        let value = match (self, raw) {
            (Self::Count(least, most), _) => {
                raw.count().filter(|n| (least..=most).contains(n)).map(Value::Count)
            }
            (Self::Size(least, most), _) => {
                raw.size().filter(|n| (least..=most).contains(n)).map(Value::Size)
            }
            (Self::Time(least, most), Raw::Word(text) | Raw::Quoted(text)) => {
                let within = Span::from_millis(least)..=Span::from_millis(most);
                units::time(text).filter(|span| within.contains(span)).map(Value::Time)
            }
            (Self::Flag, Raw::Flag(flag)) => Some(Value::Flag(*flag)),
            (Self::Flag, Raw::Word(text)) => text.parse().ok().map(Value::Flag),
            (Self::Choice(words), Raw::Word(text) | Raw::Quoted(text)) => {
                words.contains(&text.as_str()).then(|| Value::Text(text.clone()))
            }
            (Self::Path | Self::Text(_), Raw::Word(text) | Raw::Quoted(text)) => {
                (!text.is_empty()).then(|| Value::Text(text.clone()))
            }
            (Self::List(_), Raw::List(texts)) => Some(Value::List(texts.clone())),
            (
                Self::Time(..) | Self::Flag | Self::Choice(_) | Self::Path | Self::Text(_) | Self::List(_),
                Raw::Number(_) | Raw::Word(_) | Raw::Quoted(_) | Raw::Flag(_) | Raw::List(_) | Raw::Other(_),
            ) => None,
        };
        value.ok_or_else(|| raw.shown())
    }
}

/// What was given for a setting, before it is known to be of its kind.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// A number of the file.
    Number(i128),
    /// Text of the file, in quotes there.
    Quoted(String),
    /// Text of a variable or a flag, where nothing has quotes.
    Word(String),
    Flag(bool),
    List(Vec<String>),
    /// Something of the file that no setting takes: what it is.
    Other(&'static str),
}

/// Characters of a wrong value that are repeated to people.
const SHOWN_CHARS: usize = 60;

impl Raw {
    fn count(&self) -> Option<u64> {
        match self {
            Self::Number(n) => u64::try_from(*n).ok(),
            Self::Word(text) => units::count(text),
            Self::Quoted(_) | Self::Flag(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    fn size(&self) -> Option<u64> {
        match self {
            Self::Number(n) => u64::try_from(*n).ok(),
            Self::Word(text) | Self::Quoted(text) => units::size(text),
            Self::Flag(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// For people: one line, not long.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Word(text) | Self::Quoted(text) => shown(text),
            Self::Flag(flag) => flag.to_string(),
            Self::List(texts) => format!("a list of {}", texts.len()),
            Self::Other(what) => (*what).to_owned(),
        }
    }
}

/// Text that somebody else chose, in quotes, escaped and cut.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if cut.len() < text.len() { ".." } else { "" };
    format!("{cut:?}{more}")
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing was set, and there is no default.
    Unset,
    /// A number.
    Count(u64),
    /// Bytes.
    Size(u64),
    /// A length of time.
    Time(Span),
    /// True or false.
    Flag(bool),
    /// A word, a path, or other text.
    Text(String),
    /// Texts.
    List(Vec<String>),
}

impl Value {
    /// As the file has it.
    pub fn toml(&self) -> String {
        let quoted = |text: &str| {
            let mut quoted = String::from('"');
            for c in text.chars() {
                match c {
                    '"' | '\\' => quoted.extend(['\\', c]),
                    c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
                    c => quoted.push(c),
                }
            }
            quoted + "\""
        };
        match self {
            Self::Count(_) | Self::Flag(_) => self.to_string(),
            Self::Unset | Self::Size(_) | Self::Time(_) | Self::Text(_) => quoted(&self.to_string()),
            Self::List(texts) => {
                format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("-"),
            Self::Count(n) => write!(f, "{n}"),
            Self::Size(bytes) => f.write_str(&units::shown_size(*bytes)),
            Self::Time(span) => f.write_str(&units::shown_time(*span)),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
            Self::List(texts) if texts.is_empty() => f.write_str("-"),
            Self::List(texts) => f.write_str(&texts.join(",")),
        }
    }
}
