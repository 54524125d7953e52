//! The same numbers, pushed: OTLP metrics over HTTP with protobuf, cumulative.
//! <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::{AsDouble, AsInt};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::family::{Family, Kind, Point, Value};
use super::{Source, Stop, stopping};
use crate::audit::Time;
use crate::siem::otlp::{resource, scope};
use crate::sinks::{Collector, printable};

/// How long the last numbers of a daemon that ends may take.
const LAST: Duration = Duration::from_secs(1);
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Pushes at each interval. What a receiver does not take is in the next push: the numbers only grow.
#[derive(Debug)]
pub(super) struct Push {
    collector: Collector,
    every: Duration,
    host: String,
    since: Time,
    /// Why the last push failed.
    failure: Option<String>,
}

impl Push {
    pub(super) fn new(collector: Collector, every: Duration, host: String) -> Self {
        Self { collector, every, host, since: Time::now(), failure: None }
    }

    pub(super) async fn work(mut self, source: Source, mut stop: Stop) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = stopping(&mut stop) => true,
            };
            if is_last {
                let _ = timeout(LAST, self.push(&source)).await;
                return;
            }
            tokio::select! {
                () = self.push(&source) => {}
                () = stopping(&mut stop) => {}
            }
        }
    }

    async fn push(&mut self, source: &Source) {
        let request = request(&self.host, source.families().await, self.since, Time::now());
        let failure = self.collector.post(request.encode_to_vec()).await.and_then(verdict).err();
        match (&failure, &self.failure) {
            (Some(why), before) if before.as_ref() != Some(why) => {
                log::warn!("metrics: {}: {why}; tried again at the next interval", self.collector.describe());
            }
            (None, Some(_)) => log::info!("metrics: {} goes on", self.collector.describe()),
            _ => {}
        }
        self.failure = failure;
    }
}

/// What the receiver says about the values that it was sent.
fn verdict(answer: Bytes) -> Result<(), String> {
    // An empty message, or none, says that all is well. A page of a proxy that wants a login does not.
    let answer = ExportMetricsServiceResponse::decode(answer).map_err(|_| {
        "the answer is none of OTLP: is `url` that of a receiver, with its path (/v1/metrics)?".to_owned()
    })?;
    match answer.partial_success {
        Some(partial) if partial.rejected_data_points > 0 => {
            let why = printable(&partial.error_message);
            Err(format!("{} values were rejected: {why}", partial.rejected_data_points))
        }
        _ => Ok(()),
    }
}

fn request(host: &str, families: Vec<Family>, since: Time, now: Time) -> ExportMetricsServiceRequest {
    let metrics = families.into_iter().filter(|family| !family.points.is_empty());
    let metrics = metrics.map(|family| metric(family, since.unix_ns(), now.unix_ns())).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(host)),
            scope_metrics,
            ..ResourceMetrics::default()
        }],
    }
}

fn metric(family: Family, since: u64, now: u64) -> Metric {
    let Family { name, help, unit, kind, points } = family;
    // What an earlier daemon began to count has no start that is known.
    let since = if kind == Kind::Counter || kind == Kind::Histogram { since } else { 0 };
    let points = points.into_iter();
    let data = match kind {
        Kind::Counter | Kind::Lasting => Data::Sum(Sum {
            data_points: points.map(|point| number(point, since, now)).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge { data_points: points.map(|point| number(point, since, now)).collect() }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: points.filter_map(|point| spread(point, since, now)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    let (suffix, unit) = match unit {
        Some("seconds") => ("_seconds", "s"),
        Some("bytes") => ("_bytes", "By"),
        _ => ("", ""),
    };
    Metric {
        name: format!("{name}{suffix}"),
        description: help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn number(point: Point, since: u64, now: u64) -> NumberDataPoint {
    let value = match point.value {
        Value::Count(count) => AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
        Value::Level(level) => AsDouble(level),
        Value::Spread(histogram) => AsDouble(histogram.sum()),
    };
    NumberDataPoint {
        attributes: attributes(point.labels),
        start_time_unix_nano: since,
        time_unix_nano: now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn spread(point: Point, since: u64, now: u64) -> Option<HistogramDataPoint> {
    let Value::Spread(histogram) = point.value else { return None };
    Some(HistogramDataPoint {
        attributes: attributes(point.labels),
        start_time_unix_nano: since,
        time_unix_nano: now,
        count: histogram.count(),
        sum: Some(histogram.sum()),
        bucket_counts: histogram.counts().to_vec(),
        explicit_bounds: histogram.bounds().to_vec(),
        ..HistogramDataPoint::default()
    })
}

fn attributes(labels: Vec<(&'static str, String)>) -> Vec<KeyValue> {
    let attribute = |(key, text): (&str, String)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(StringValue(text)) }),
        ..KeyValue::default()
    };
    labels.into_iter().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

    use super::*;
    use crate::flow;

    #[test]
    fn what_a_receiver_says_is_made_fit_for_the_journal_and_what_is_no_answer_is_a_failure() {
        let partial_success = Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: format!("a\nb\x1b{}", "c".repeat(100_000)),
        });
        let said = verdict(ExportMetricsServiceResponse { partial_success }.encode_to_vec().into()).unwrap_err();
        assert!(said.starts_with("3 values were rejected: a b\\u{1b}ccc") && said.len() < 1000, "{said}");
        assert!(verdict(Bytes::from_static(b"<html>log in</html>")).is_err());
        assert_eq!(verdict(Bytes::new()), Ok(()));
    }

    #[test]
    fn counters_are_cumulative_sums_and_what_lasts_has_no_known_start() {
        let mut histogram = flow::Histogram::new(&[1.0]);
        [0.5, 3.0].into_iter().for_each(|value| histogram.add(value));
        let families = vec![
            Family::new(Kind::Counter, "a", "A").in_unit("bytes").with([("x", "y")], 7),
            Family::new(Kind::Lasting, "b", "B").of(8),
            Family::new(Kind::Gauge, "c", "C").of(1.5),
            Family::new(Kind::Histogram, "d", "D").in_unit("seconds").of(histogram),
            Family::new(Kind::Gauge, "e", "without a value"),
        ];
        let at = |seconds: u64| Time::from_unix_ns(seconds * 1_000_000_000);
        let request = request("build-7", families, at(1), at(2));
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(
            metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(),
            ["a_bytes", "b", "c", "d_seconds"]
        );
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000_000_000, 2_000_000_000));
        assert_eq!((point.value, point.attributes[0].key.as_str()), (Some(AsInt(7)), "x"));
        let Some(Data::Sum(lasting)) = &metrics[1].data else { panic!("{metrics:?}") };
        assert_eq!(lasting.data_points[0].start_time_unix_nano, 0);
        let Some(Data::Histogram(histogram)) = &metrics[3].data else { panic!("{metrics:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (point.count, point.sum, &point.bucket_counts, &point.explicit_bounds),
            (2, Some(3.5), &vec![1, 1], &vec![1.0])
        );
    }
}
