//! What the daemon and its log say of themselves, as metrics.

use super::family::{Family, Kind};
use crate::audit::{Condition, Time};
use crate::daemon::{Concern, State, Status};

/// Of the daemon.
pub(super) fn of_status(status: &Status) -> Vec<Family> {
    use Kind::{Counter, Gauge, Lasting};
    let started: Option<Time> = status.started.parse().ok();
    let started = started.map(|time| time.unix_ns() as f64 / 1e9);
    let concerns = Concern::ALL.map(|concern| {
        let is_one = status.reasons.iter().any(|reason| reason.concern == concern);
        ([("reason", concern.as_str())], is_one)
    });
    let counters = status.counters.iter().map(|(name, count)| ([("event", name)], *count));
    let used = status.maps.iter().map(|map| ([("map", &map.name)], map.used as f64));
    let capacity = status.maps.iter().map(|map| ([("map", &map.name)], map.capacity as f64));
    let silent = status.workers.iter().map(|worker| ([("worker", &worker.name)], worker.silent_ms as f64 / 1e3));
    let ca = status.ca_days.map(|days| days as f64 * 86_400.0);
    let sink = |name| [("sink", name)];
    let sinks = || status.sinks.iter();
    vec![
        Family::new(Gauge, "interceptor_build_info", "Always 1; the label says which version runs")
            .with([("version", &status.version)], true),
        Family::new(Gauge, "process_start_time", "When the daemon started, since 1970")
            .in_unit("seconds")
            .of_known(started),
        Family::new(Gauge, "interceptor_healthy", "1 when the last self-test found nothing wrong")
            .of(status.state == State::Healthy),
        Family::new(Gauge, "interceptor_degraded", "1 for each thing that the last self-test found wrong")
            .with_all(concerns),
        Family::new(Counter, "interceptor_capture_events", "What the kernel programs did, as in interceptor status")
            .with_all(counters),
        Family::new(Gauge, "interceptor_map_entries", "Entries of the kernel programs' maps").with_all(used),
        Family::new(Gauge, "interceptor_map_capacity", "Entries there can be").with_all(capacity),
        Family::new(Gauge, "interceptor_worker_silence", "Since a worker's last sign of life, at the last self-test")
            .in_unit("seconds")
            .with_all(silent),
        Family::new(Gauge, "interceptor_namespaces", "Further network namespaces with a listener")
            .of(status.namespaces.listening as f64),
        Family::new(Counter, "interceptor_namespaces_refused", "Network namespaces that got no listener")
            .of(status.namespaces.refused),
        Family::new(Gauge, "interceptor_endpoint_names", "Names that are captured").of(status.endpoints.names as f64),
        Family::new(Gauge, "interceptor_endpoint_addresses", "Addresses and prefixes that are captured")
            .of(status.endpoints.addresses as f64),
        Family::new(Gauge, "interceptor_endpoint_names_unresolved", "Names without an address").of(status
            .endpoints
            .unresolved
            .len()
            as f64),
        Family::new(Gauge, "interceptor_ca_remaining", "Until the internal CA's certificate expires, in whole days")
            .in_unit("seconds")
            .of_known(ca),
        Family::new(Lasting, "interceptor_sink_delivered", "Records and notes that a receiver has taken")
            .with_all(sinks().map(|of| (sink(&of.name), of.delivered))),
        Family::new(Lasting, "interceptor_sink_undeliverable", "Records and notes that a receiver refused for good")
            .with_all(sinks().map(|of| (sink(&of.name), of.undeliverable))),
        Family::new(Gauge, "interceptor_sink_behind_frames", "Signed frames of the log that a sink has not looked at")
            .with_all(sinks().map(|of| (sink(&of.name), of.behind as f64))),
        Family::new(Gauge, "interceptor_sink_failing", "1 when a sink's last attempt failed")
            .with_all(sinks().map(|of| (sink(&of.name), of.error.is_some()))),
    ]
}

/// Of its log.
pub(super) fn of_log(condition: Condition) -> Vec<Family> {
    use Kind::{Counter, Gauge, Histogram, Lasting};
    let Condition { frames, durable, signed, bytes, syncs, failures, is_stuck } = condition;
    vec![
        Family::new(Lasting, "interceptor_log_frames", "Frames of the audit log").of(frames),
        Family::new(Counter, "interceptor_log_written", "Frames that this daemon appended").in_unit("bytes").of(bytes),
        Family::new(Gauge, "interceptor_log_undurable_frames", "Frames that are not known to be durable")
            .of(frames.saturating_sub(durable) as f64),
        Family::new(Gauge, "interceptor_log_unsigned_frames", "Frames that no signed checkpoint covers")
            .of(frames.saturating_sub(signed) as f64),
        Family::new(Histogram, "interceptor_log_sync", "What it took to make frames durable")
            .in_unit("seconds")
            .of(syncs),
        Family::new(Counter, "interceptor_log_sync_failures", "How often that failed").of(failures),
        Family::new(Gauge, "interceptor_log_stuck", "1 when no record can be made durable: requests are denied")
            .of(is_stuck),
    ]
}
