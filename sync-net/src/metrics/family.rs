//! One family of figures as it is scraped: a name, what it means, and its samples.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Names and values of a sample's labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A family. Its name is without the `_total` that the format puts behind a counter's.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Counter(Vec<(Labels, u64)>),
    Gauge(Vec<(Labels, f64)>),
    Histogram {
        sum: f64,
        count: u64,
        /// Upper ends, and what fell into each bucket alone; the last end is infinite.
        buckets: Vec<(f64, u64)>,
    },
}

impl Family {
    /// A counter without labels.
    pub(super) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::counters(name, help, vec![(Labels::new(), value)])
    }

    /// A counter with labels.
    pub(super) fn counters(name: &'static str, help: &'static str, values: Vec<(Labels, u64)>) -> Self {
        Self { name, help, values: Values::Counter(values) }
    }

    /// A gauge without labels; no sample at all if there is no value.
    pub(super) fn gauge(name: &'static str, help: &'static str, value: impl Into<Option<f64>>) -> Self {
        let values = value.into().map(|value| (Labels::new(), value));
        Self::gauges(name, help, values.into_iter().collect())
    }

    /// A gauge with labels.
    pub(super) fn gauges(name: &'static str, help: &'static str, values: Vec<(Labels, f64)>) -> Self {
        Self { name, help, values: Values::Gauge(values) }
    }

    /// A histogram without labels.
    pub(super) fn histogram(
        name: &'static str,
        help: &'static str,
        (sum, count): (f64, u64),
        buckets: Vec<(f64, u64)>,
    ) -> Self {
        Self { name, help, values: Values::Histogram { sum, count, buckets } }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metric_type = match &self.values {
            Values::Counter(_) => MetricType::Counter,
            Values::Gauge(_) => MetricType::Gauge,
            Values::Histogram { .. } => MetricType::Histogram,
        };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, metric_type)?;
        match &self.values {
            Values::Counter(values) => values.iter().try_for_each(|(labels, value)| {
                labelled(&mut encoder, labels, |sample| {
                    sample.encode_counter::<NoLabelSet, _, u64>(value, None)
                })
            }),
            Values::Gauge(values) => values.iter().try_for_each(|(labels, value)| {
                labelled(&mut encoder, labels, |sample| sample.encode_gauge(value))
            }),
            Values::Histogram { sum, count, buckets } => {
                encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
            }
        }
    }
}

/// Encodes one sample, with labels if it has any.
fn labelled(
    encoder: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { encode(encoder) } else { encode(&mut encoder.encode_family(labels)?) }
}

/// All families of one scrape.
#[derive(Debug)]
pub(super) struct Scrape(pub(super) Vec<Family>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}
