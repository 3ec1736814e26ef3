//! What of another configuration a running node takes over, and what waits for its next start.

use std::fmt;

use super::table::{Reload, SETTINGS};
use super::{Settings, Value};

/// A setting with another value than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its key.
    pub key: &'static str,
    /// What it was.
    pub from: Value,
    /// What it is to be.
    pub to: Value,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.key, self.from, self.to)
    }
}

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings that are in force now, in the order of the table.
    pub changed: Vec<Changed>,
    /// Settings that stay as they were until the node's next start.
    pub restart: Vec<Changed>,
}

impl Reloaded {
    /// Compares `wanted` with what is in force, and puts what can change at run time into `settings`.
    pub(crate) fn take_over(settings: &mut Settings, wanted: &Settings) -> Self {
        let mut reloaded = Self::default();
        let before = settings.clone();
        for setting in SETTINGS {
            let (from, to) = (setting.get(&before), setting.get(wanted));
            let differs = from != to;
            if setting.reload == Reload::Restart {
                if differs {
                    reloaded.restart.push(Changed { key: setting.key, from, to });
                }
                continue;
            }
            // Also what does not differ: a setting that it follows may just have moved it.
            setting.put(settings, to.clone()).expect("a setting takes the values that it gives");
            if differs {
                reloaded.changed.push(Changed { key: setting.key, from, to });
            }
        }
        reloaded
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |changed: &[Changed]| changed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match (self.changed.as_slice(), self.restart.as_slice()) {
            ([], []) => f.write_str("nothing has changed"),
            (changed, []) => f.write_str(&list(changed)),
            ([], restart) => write!(f, "nothing in force; needs a restart: {}", list(restart)),
            (changed, restart) => write!(f, "{}; needs a restart: {}", list(changed), list(restart)),
        }
    }
}
