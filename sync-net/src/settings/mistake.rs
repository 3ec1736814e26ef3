//! What is wrong with a configuration: every mistake, with its place.

use std::fmt;

/// Mistakes that are told one by one; more are counted. A file of many wrong lines makes no more texts than these.
pub const MISTAKES_MAX: usize = 100;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: `file:line`, the variable or the flag; `None` if it lies in several values together, which are named.
    pub place: Option<String>,
    /// What is wrong and what would be right: one line.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// All mistakes of a configuration, of which nothing was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// With the line, for their order; those that are in no file come after it.
    told: Vec<(u32, Mistake)>,
    more: usize,
}

impl Mistakes {
    /// Each of them, those of the file in its order; at most [`MISTAKES_MAX`], and then one that counts the others.
    pub fn iter(&self) -> impl Iterator<Item = Mistake> + '_ {
        let more = (self.more > 0)
            .then(|| Mistake { place: None, text: format!("{} more mistakes are not listed", self.more) });
        self.told.iter().map(|(_, mistake)| mistake.clone()).chain(more)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.told.len() + self.more
    }

    /// One mistake alone.
    pub(super) fn one(place: Option<String>, text: String) -> Self {
        Self { told: vec![(u32::MAX, Mistake { place, text })], more: 0 }
    }

    /// Adds one that is in no file; its text is made only if it is told.
    pub(super) fn add(&mut self, place: Option<String>, text: impl FnOnce() -> String) {
        self.push(u32::MAX, || Mistake { place, text: text() });
    }

    /// Adds one in a line of a file.
    pub(super) fn add_at(&mut self, file: &str, line: u32, text: impl FnOnce() -> String) {
        self.push(line, || Mistake { place: Some(format!("{file}:{line}")), text: text() });
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.more += others.more;
        others.told.into_iter().for_each(|(line, mistake)| self.push(line, || mistake));
    }

    fn push(&mut self, line: u32, mistake: impl FnOnce() -> Mistake) {
        if self.told.len() < MISTAKES_MAX {
            self.told.push((line, mistake()));
        } else {
            self.more += 1;
        }
    }

    /// These in their order, if there are any.
    pub(super) fn into_error(mut self) -> Result<(), Self> {
        self.told.sort_by_key(|(line, _)| *line);
        if self.told.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.iter().enumerate() {
            let between = if at > 0 { "; " } else { "" };
            write!(f, "{between}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
