//! Reads the rules file: the part of YAML that it uses, and nothing else.
//!
//! A line is `key: value`, `key:` or one of these behind `- `; the depth is the number of spaces before. Every key must
//! be one that a rules file has, at its depth; so a slip of the pen fails the test instead of being skipped.

use std::collections::BTreeMap;

use super::expr::{self, Expr, Values};
use super::scrape::Scrapes;

/// One alert.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub alert: String,
    /// What makes it fire.
    pub expr: Expr,
    /// For how long that must have held, in seconds.
    pub holds: f64,
    /// `severity` and what else is put on it.
    pub labels: BTreeMap<String, String>,
    /// `summary` and `next`.
    pub annotations: BTreeMap<String, String>,
}

/// What a rule says at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its expression does not hold.
    Quiet,
    /// It holds, and not for long enough.
    Pending,
    /// Somebody is called.
    Firing,
}

impl Rule {
    /// All rules of a file.
    ///
    /// # Errors
    /// The number of the line that is not understood, and why.
    pub fn all(text: &str) -> Result<Vec<Self>, String> {
        let mut rules = Vec::new();
        let mut reading: Option<(usize, Reading)> = None;
        let mut part = "";
        for (number, line) in (1..).zip(text.lines()) {
            let body = line.trim_start();
            if body.is_empty() || body.starts_with('#') {
                continue;
            }
            let why = |why: &str| format!("line {number}: {why}: {line:?}");
            let depth = line.len() - body.len();
            let (key, value) = body.split_once(':').ok_or_else(|| why("no key"))?;
            let value = value.trim();
            if value.contains(": ")
                || value.contains(" #")
                || value.starts_with(['"', '\'', '{', '[', '|', '>', '&', '*'])
            {
                return Err(why("needs more of YAML than is read here"));
            }
            match (depth, key) {
                (0, "groups") | (2, "- name") | (4, "rules") => {}
                (6, "- alert") => {
                    if let Some((at, done)) = reading.replace((number, Reading::of(value))) {
                        rules.push(done.finish(at)?);
                    }
                }
                (8, "expr" | "for" | "labels" | "annotations") => {
                    let (_, rule) = reading.as_mut().ok_or_else(|| why("belongs to no alert"))?;
                    part = if key == "labels" { "labels" } else { "annotations" };
                    match key {
                        "expr" => rule.expr = Some(Expr::parse(value).map_err(|error| why(&error))?),
                        "for" => rule.holds = expr::seconds(value).map_err(|error| why(&error))?,
                        _ => {}
                    }
                }
                (10, name) => {
                    let (_, rule) = reading.as_mut().ok_or_else(|| why("belongs to no alert"))?;
                    let list = if part == "labels" { &mut rule.labels } else { &mut rule.annotations };
                    list.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(why("no such key at this depth")),
            }
        }
        if let Some((at, done)) = reading {
            rules.push(done.finish(at)?);
        }
        Ok(rules)
    }

    /// What it says at the last of `times`, if it is evaluated at each of them, ascending, in seconds.
    pub fn state(&self, scrapes: &Scrapes, times: &[f64]) -> State {
        let mut since = None;
        for at in times {
            since = match self.expr.at(scrapes, *at) {
                Values::Vector(values) if !values.is_empty() => since.or(Some(*at)),
                Values::Vector(_) => None,
                Values::Scalar(_) => panic!("{} is a number, not an alert", self.alert),
            };
        }
        match (since, times.last()) {
            (Some(since), Some(now)) if now - since >= self.holds => State::Firing,
            (Some(_), Some(_)) => State::Pending,
            (None, _) | (_, None) => State::Quiet,
        }
    }
}

/// A rule of which not all was read.
#[derive(Debug, Default)]
struct Reading {
    alert: String,
    expr: Option<Expr>,
    holds: f64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Reading {
    fn of(alert: &str) -> Self {
        Self { alert: alert.to_owned(), ..Self::default() }
    }

    fn finish(self, line: usize) -> Result<Rule, String> {
        let Self { alert, expr, holds, labels, annotations } = self;
        let expr = expr.ok_or_else(|| format!("line {line}: {alert} has no expr"))?;
        Ok(Rule { alert, expr, holds, labels, annotations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: x > 1\n        for: 1m\n        \
                        labels:\n          severity: warning\n        annotations:\n          summary: Much.\n";

    #[test]
    fn an_alert_fires_once_it_has_held_for_long_enough_and_begins_anew_after_a_gap() {
        let rules = Rule::all(FILE).expect("is read");
        let mut scrapes = Scrapes::default();
        for (at, value) in [(0.0, 2), (30.0, 2), (60.0, 2), (90.0, 1), (120.0, 2)] {
            scrapes.add(at, &format!("x {value}\n"));
        }
        let state = |times: &[f64]| rules[0].state(&scrapes, times);
        assert_eq!(state(&[0.0, 30.0]), State::Pending);
        assert_eq!(state(&[0.0, 30.0, 60.0]), State::Firing);
        assert_eq!(state(&[0.0, 30.0, 60.0, 90.0]), State::Quiet);
        assert_eq!(state(&[0.0, 30.0, 60.0, 90.0, 120.0]), State::Pending);
        assert_eq!(
            (rules[0].labels["severity"].as_str(), rules[0].annotations["summary"].as_str()),
            ("warning", "Much.")
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_no_rule() {
        for (from, to) in [
            ("        expr:", "        exprs:"),
            ("expr: x > 1", "expr: x >"),
            ("for: 1m", "for: soon"),
            ("        labels:", "      labels:"),
            ("summary: Much.", "summary: \"Much.\""),
            ("        expr: x > 1\n", ""),
        ] {
            assert!(FILE.contains(from));
            assert!(Rule::all(&FILE.replace(from, to)).is_err(), "{to}");
        }
    }
}
