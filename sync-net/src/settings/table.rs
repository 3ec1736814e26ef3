//! What the table of settings says of each, and how one is found by its name, or nearly.
//!
//! `rows` is the table itself.

mod rows;

pub use self::rows::SETTINGS;
use super::Settings;
use super::value::{Kind, Value};

/// Whether a running node takes over another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At SIGHUP.
    Now,
    /// Only at its next start.
    Restart,
}

/// What a setting is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Who and where the node is.
    Node,
    /// What it may hold.
    Store,
    /// What it keeps for peers that lag.
    Repair,
    /// Peers and frames.
    Links,
    /// How often, and how long.
    Times,
    /// Who is shut out, when and for how long.
    Breaker,
}

impl Group {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Node => "The node",
            Self::Store => "What a node may hold",
            Self::Repair => "What is kept for peers that lag",
            Self::Links => "Peers and messages",
            Self::Times => "How often, and how long",
            Self::Breaker => "Circuit breaker, one for each peer",
        }
    }
}

/// One setting.
pub struct Setting {
    /// Its key in the file. Its variable and its flag follow from it.
    pub key: &'static str,
    /// What is accepted.
    pub kind: Kind,
    /// What it is about.
    pub group: Group,
    /// What it does.
    pub about: &'static str,
    /// What happens at its edge, or what to mind.
    pub edge: &'static str,
    /// Whether a running node takes over another value.
    pub reload: Reload,
    /// The default in words where it follows from something else or there is none; else empty.
    pub default: &'static str,
    /// A value for the default file where there is no default; else empty.
    pub example: &'static str,
    /// The field of `Limits` or `Timing` behind it, as errors and `docs/bounds.md` name it; else empty.
    pub field: &'static str,
    access: Access,
}

/// How a setting goes in and out of where it belongs.
struct Access {
    get: fn(&Settings) -> Value,
    put: fn(&mut Settings, Value) -> Result<(), String>,
}

impl Setting {
    /// The environment variable: `SYNC_` and the key in capitals.
    pub fn variable(&self) -> String {
        format!("SYNC_{}", self.key.to_uppercase())
    }

    /// The flag: the key with hyphens.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// Its value in `settings`.
    pub fn get(&self, settings: &Settings) -> Value {
        (self.access.get)(settings)
    }

    /// Puts a value of its kind into `settings`, and with it what follows from it; the error says what is wrong.
    pub(super) fn put(&self, settings: &mut Settings, value: Value) -> Result<(), String> {
        (self.access.put)(settings, value)
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The setting with this key.
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Longest key that is compared with the names of settings.
const COMPARED_CHARS: usize = 48;

/// The setting that was probably meant by a key that none has.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    if key.len() > COMPARED_CHARS {
        return None;
    }
    let key = key.to_lowercase().replace('-', "_");
    if let Some(found) = SETTINGS.iter().find(|setting| setting.key == key || setting.field == key) {
        return Some(found.key);
    }
    let far = |setting: &Setting| strsim::damerau_levenshtein(setting.key, &key);
    let found = SETTINGS.iter().min_by_key(|setting| far(setting))?;
    (far(found) <= (key.len() / 3).max(1)).then_some(found.key)
}
