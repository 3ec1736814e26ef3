//! Classes of namespaces: whose frames go first.
//!
//! A namespace is a lane: within it the pushes to a peer are one ordered stream, and nothing overtakes, or causal closure
//! would break. Between lanes nothing waits for anything, so that what must not wait lives in a namespace of its own,
//! and the class says how it stands to the others (DESIGN section 5, lanes).

use std::fmt;
use std::str::FromStr;

/// How the frames of a namespace stand to those of others. The first goes first.
///
/// Each node chooses for what it sends; two nodes may differ.
///
/// ```
/// use sync_core::class::Class;
/// assert!(Class::Urgent < Class::Bulk);
/// assert_eq!("bulk".parse(), Ok(Class::Bulk));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Class {
    /// Few, small and first: pushed to every peer directly, whatever the overlay is.
    Urgent,
    /// What is not said to be anything else.
    #[default]
    Normal,
    /// Much, and in no hurry: held to a rate, which falls while the other classes' queues to the same peer fill.
    Bulk,
}

impl Class {
    /// Every class, the first first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];

    /// Its name, as in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Caller: it is no class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no class of namespaces; write urgent, normal or bulk")]
pub struct NoClass {
    given: String,
}

impl FromStr for Class {
    type Err = NoClass;

    fn from_str(text: &str) -> Result<Self, NoClass> {
        let of = Self::ALL.into_iter().find(|class| class.as_str() == text);
        of.ok_or_else(|| NoClass { given: text.chars().take(32).collect() })
    }
}
