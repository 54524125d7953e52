//! A metric with all its values at one moment: what is written as text for Prometheus, and as protobuf for OTLP.
//!
//! Names follow Prometheus' conventions and lack what is appended to them: the unit, and `total` of a counter.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::flow::Histogram;

/// What a label says at most; longer words are cut.
const LABEL: usize = 64;

/// A metric.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// `seconds` or `bytes`, if it has one.
    pub(super) unit: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) points: Vec<Point>,
}

/// How values of a metric relate to earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from 0 at the start of the daemon.
    Counter,
    /// Only grows, and goes on where an earlier daemon ended.
    Lasting,
    /// Goes up and down.
    Gauge,
    /// Ranges of a quantity, each counted from the start of the daemon.
    Histogram,
}

/// One value and its labels.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Count(u64),
    Level(f64),
    Spread(Histogram),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(level: f64) -> Self {
        Self::Level(level)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Level(f64::from(u8::from(is)))
    }
}

impl From<Histogram> for Value {
    fn from(histogram: Histogram) -> Self {
        Self::Spread(histogram)
    }
}

impl Family {
    pub(super) fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: None, kind, points: Vec::new() }
    }

    pub(super) fn in_unit(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// With a value that has no labels.
    pub(super) fn of(self, value: impl Into<Value>) -> Self {
        self.with([], value)
    }

    /// With a value that has no labels, if it is known.
    pub(super) fn of_known(self, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.of(value),
            None => self,
        }
    }

    /// With a value that has these labels.
    pub(super) fn with<const N: usize>(mut self, labels: [(&'static str, &str); N], value: impl Into<Value>) -> Self {
        let labels = labels.into_iter().map(|(name, text)| (name, label(text))).collect();
        self.points.push(Point { labels, value: value.into() });
        self
    }

    /// With several values.
    pub(super) fn with_all<const N: usize, V: Into<Value>>(
        self,
        points: impl IntoIterator<Item = ([(&'static str, impl AsRef<str>); N], V)>,
    ) -> Self {
        points.into_iter().fold(self, |family, (labels, value)| {
            family.with(labels.each_ref().map(|(name, text)| (*name, text.as_ref())), value)
        })
    }
}

/// Text that ends no label, whoever made it up.
fn label(text: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c };
    text.chars().take(LABEL).map(plain).collect()
}

/// The text that Prometheus scrapes: OpenMetrics 1.0.
pub(super) fn openmetrics(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Table(families)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Table(Vec<Family>);

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let kind = match family.kind {
                Kind::Counter | Kind::Lasting => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let unit = family.unit.map(|unit| Unit::Other(unit.to_owned()));
            let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
            for point in &family.points {
                match point.labels.as_slice() {
                    [] => write(&mut metric, &point.value)?,
                    labels => write(&mut metric.encode_family(&labels)?, &point.value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Count(count) => metric.encode_counter::<NoLabelSet, _, f64>(count, None),
        Value::Level(level) => metric.encode_gauge(level),
        Value::Spread(histogram) => {
            // The encoder writes this bound as +Inf.
            let bounds = histogram.bounds().iter().copied().chain([f64::MAX]);
            let buckets: Vec<_> = bounds.zip(histogram.counts().iter().copied()).collect();
            metric.encode_histogram::<NoLabelSet>(histogram.sum(), histogram.count(), &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_openmetrics_has_it() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        [0.25, 0.75, 8.0].into_iter().for_each(|value| histogram.add(value));
        let families = vec![
            Family::new(Kind::Counter, "a", "Some").with([("x", "y"), ("z", "q\"\\\n")], 7),
            Family::new(Kind::Lasting, "b", "Some").in_unit("bytes").of(8),
            Family::new(Kind::Gauge, "c", "Some").of(true),
            Family::new(Kind::Histogram, "d", "Some").in_unit("seconds").of(histogram),
        ];
        let text = openmetrics(families).unwrap();
        for line in [
            "# TYPE a counter\n",
            "a_total{x=\"y\",z=\"q___\"} 7\n",
            "# UNIT b_bytes bytes\n",
            "b_bytes_total 8\n",
            "c 1.0\n",
            "d_seconds_sum 9.0\n",
            "d_seconds_bucket{le=\"0.5\"} 1\n",
            "d_seconds_bucket{le=\"1.0\"} 2\n",
            "d_seconds_bucket{le=\"+Inf\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
