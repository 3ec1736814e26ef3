//! The file, the variables and the flags, each on top of the one before.
//!
//! A wrong value is a mistake also where a stronger one hides it: it would bite whoever takes the flag away.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;

use super::file::{self, Entry};
use super::mistake::Mistakes;
use super::table::{self, SETTINGS, Setting, setting};
use super::value::{Kind, Raw, Value, shown};
use super::{CONFIG_VARIABLE, Settings, contradictions};

/// The name that variables of this program begin with.
const PREFIX: &str = "SYNC_";

/// A configuration file that was read.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// How it is named to people.
    pub name: &'a str,
    /// What is in it; from [`super::read_file`].
    pub bytes: &'a [u8],
}

/// Where settings come from, the weakest first. All of it is given: nothing is read from the world.
#[derive(Clone, Debug, Default)]
pub struct Layers<'a> {
    /// The file, if there is one.
    pub file: Option<File<'a>>,
    /// Variables of the environment; those that do not begin with `SYNC_` are left alone, and empty ones count as not
    /// set.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags, by the key of their setting: one value, or several of a list.
    pub flags: Vec<(&'static str, Vec<String>)>,
}

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File {
        /// The file's name.
        name: String,
        /// The line, from 1 on.
        line: u32,
    },
    /// Its variable, by name.
    Variable(String),
    /// Its flag, by name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A configuration without a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What is set.
    pub settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
}

impl Resolved {
    /// Where the value of the setting `key` came from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The settings that somebody set.
    pub(super) fn origins(&self) -> &BTreeMap<&'static str, Origin> {
        &self.origins
    }
}

impl Layers<'_> {
    /// Puts them on top of each other.
    ///
    /// # Errors
    /// Every mistake: what is no TOML, names that nobody knows, values of another kind or out of range, and values that
    /// contradict each other.
    pub fn resolve(&self) -> Result<Resolved, Mistakes> {
        let mut reading = Reading::default();
        if let Some(file) = self.file {
            reading.file(file);
        }
        for (name, value) in &self.environment {
            reading.variable(name, value);
        }
        for (key, values) in &self.flags {
            reading.flag(key, values);
        }
        reading.finish()
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    /// Of each setting, the strongest value.
    set: BTreeMap<&'static str, (Value, Origin)>,
    /// Settings of which a value was wrong.
    wrong: BTreeSet<&'static str>,
    mistakes: Mistakes,
}

impl Reading {
    fn file(&mut self, File { name, bytes }: File<'_>) {
        for Entry { key, line, raw } in file::parse(name, bytes, &mut self.mistakes) {
            match setting(&key) {
                Some(setting) => self.set(setting, &raw, Origin::File { name: name.to_owned(), line }),
                None => {
                    self.mistakes.add_at(name, line, || file::unknown(&key, &raw, table::nearest(&key)));
                }
            }
        }
    }

    fn variable(&mut self, name: &OsString, value: &OsString) {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| name != CONFIG_VARIABLE && !value.is_empty())
        else {
            return;
        };
        let key = rest.to_lowercase();
        let Some(setting) = setting(&key).filter(|setting| setting.variable() == name) else {
            let text = || match table::nearest(&key).and_then(self::setting) {
                Some(nearest) => {
                    format!("no setting has this variable; did you mean {}?", nearest.variable())
                }
                None => "no setting has this variable; `sync-cli config default` lists them".to_owned(),
            };
            return self.mistakes.add(Some(shown_name(&name)), text);
        };
        let Some(text) = value.to_str() else {
            self.wrong.insert(setting.key);
            return self.mistakes.add(Some(name.into_owned()), || "is no UTF-8".to_owned());
        };
        let raw = match setting.kind {
            Kind::List(_) => Raw::List(text.split(',').map(|item| item.trim().to_owned()).collect()),
            Kind::Count(..)
            | Kind::Size(..)
            | Kind::Time(..)
            | Kind::Flag
            | Kind::Choice(_)
            | Kind::Path
            | Kind::Text(_) => Raw::Word(text.to_owned()),
        };
        self.set(setting, &raw, Origin::Variable(name.into_owned()));
    }

    fn flag(&mut self, key: &str, values: &[String]) {
        let Some(setting) = setting(key) else {
            return self.mistakes.add(Some(shown_name(key)), || "no setting has this flag".to_owned());
        };
        let raw = match (setting.kind, values) {
            (Kind::List(_), values) => Raw::List(values.to_vec()),
            (_, [value]) => Raw::Word(value.clone()),
            (_, _) => Raw::Other("several values"),
        };
        self.set(setting, &raw, Origin::Flag(setting.flag()));
    }

    fn set(&mut self, setting: &'static Setting, raw: &Raw, origin: Origin) {
        let read = setting
            .kind
            .read(raw)
            .map_err(|found| format!("{} is {found}, and must be {}", setting.key, setting.kind.form()));
        // Whether it can be put where it belongs: an address, for one, is read only there.
        let put = read.and_then(|value| {
            let put = setting.put(&mut Settings::default(), value.clone());
            put.map(|()| value).map_err(|why| format!("{}: {why}", setting.key))
        });
        match (put, &origin) {
            (Ok(value), _) => {
                self.set.insert(setting.key, (value, origin));
            }
            (Err(text), Origin::File { name, line }) => {
                self.wrong.insert(setting.key);
                self.mistakes.add_at(name, *line, || text);
            }
            (Err(text), Origin::Variable(name) | Origin::Flag(name)) => {
                self.wrong.insert(setting.key);
                self.mistakes.add(Some(name.clone()), || text);
            }
            (Err(text), Origin::Default) => self.mistakes.add(None, || text),
        }
    }

    fn finish(mut self) -> Result<Resolved, Mistakes> {
        let (mut settings, mut origins) = (Settings::default(), BTreeMap::new());
        // In the order of the table: what follows from another setting comes after it.
        for setting in SETTINGS {
            let Some((value, origin)) = self.set.remove(setting.key) else { continue };
            match setting.put(&mut settings, value) {
                Ok(()) => drop(origins.insert(setting.key, origin)),
                Err(why) => self.mistakes.add(None, || format!("{}: {why}", setting.key)),
            }
        }
        let resolved = Resolved { settings, origins };
        for text in contradictions::of(&resolved, &self.wrong) {
            self.mistakes.add(None, || text);
        }
        self.mistakes.into_error().map(|()| resolved)
    }
}

/// A name that is safe to print.
fn shown_name(name: &str) -> String {
    let plain = name.len() <= 80 && name.chars().all(|c| c.is_ascii_graphic());
    if plain { name.to_owned() } else { shown(name) }
}
