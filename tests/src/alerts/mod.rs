//! Evaluates the alert rules of `docs/alerts.yml` over scrapes with given times: just the forms that they use.
//!
//! In go the rules' text ([`Rule::all`]) and scrapes in the text format ([`Scrapes`]); out comes which alerts fire at a
//! time ([`Rule::state`]). `rules` reads the file, `scrape` the figures, `expr` is the language. Rates follow what
//! Prometheus does, extrapolation to the ends of the window included, so that a threshold means here what it means there.

mod expr;
mod rules;
mod scrape;

pub use expr::{Expr, Function, Selector, Values};
pub use rules::{Rule, State};
pub use scrape::{Labels, Sample, Scrapes};
