//! Scraped figures: series of values by time.

use std::collections::BTreeMap;

/// A value's labels, by name.
pub type Labels = BTreeMap<String, String>;

/// An instant value is that of the last scrape, unless that is older than this: seconds, as in Prometheus.
const LOOK_BACK: f64 = 300.0;

/// A value at a time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: f64,
    /// What.
    pub value: f64,
}

/// What was scraped, by name and labels, ascending by time.
#[derive(Clone, Debug, Default)]
pub struct Scrapes(BTreeMap<(String, Labels), Vec<Sample>>);

impl Scrapes {
    /// Takes in what a node answered at `at` seconds, which is later than the scrape before.
    ///
    /// # Panics
    /// If a line is none of the text format: the line is named.
    pub fn add(&mut self, at: f64, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            let (name, labels) = match series.split_once('{') {
                None => (series, Labels::new()),
                Some((name, labels)) => (name, labels_of(labels.strip_suffix('}').expect("braces close"))),
            };
            self.0.entry((name.to_owned(), labels)).or_default().push(Sample { at, value });
        }
    }

    /// The series of a name whose labels have the values of `wanted`, each with its samples of `(from, to]`.
    pub fn range(&self, name: &str, wanted: &Labels, (from, to): (f64, f64)) -> Vec<(Labels, Vec<Sample>)> {
        let fits = |labels: &Labels| wanted.iter().all(|(name, value)| labels.get(name) == Some(value));
        let series = self.0.iter().filter(|((of, labels), _)| of == name && fits(labels));
        series
            .map(|((_, labels), samples)| {
                let within = samples.iter().filter(|sample| sample.at > from && sample.at <= to);
                (labels.clone(), within.copied().collect())
            })
            .collect()
    }

    /// The values at `at`, each by its labels.
    pub fn instant(&self, name: &str, wanted: &Labels, at: f64) -> Vec<(Labels, f64)> {
        let series = self.range(name, wanted, (at - LOOK_BACK, at)).into_iter();
        series.filter_map(|(labels, samples)| Some((labels, samples.last()?.value))).collect()
    }

    /// True if anything of that name was ever scraped.
    pub fn knows(&self, name: &str) -> bool {
        self.0.keys().any(|(of, _)| of == name)
    }
}

/// Labels between braces. Values of ours hold no quotes, commas or backslashes.
pub(super) fn labels_of(text: &str) -> Labels {
    let label = |label: &str| {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {label}"));
        (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())
    };
    text.split(',').filter(|label| !label.is_empty()).map(label).collect()
}
