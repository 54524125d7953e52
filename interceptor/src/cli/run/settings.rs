//! What the configuration says, as each room wants to hear it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::listeners::{self, listener_addresses};
use super::modes::Modes;
use super::nearest::nearest;
use super::{Args, Failure};
use crate::audit::{self, AuditorPublic};
use crate::capture::{Cgroups, Heartbeat};
use crate::config::{Config, StatePaths};
use crate::mask::Engine;
use crate::policy;
use crate::proxy::{self, BudgetLimits, ClientTimeouts, EndpointTimeouts, Pace, seconds_or_never};
use crate::sys::{self, Chosen, Transport};
use crate::tls::{Roots, UpstreamTls};
use crate::upstream::Dialer;
use crate::{capture, daemon, http};

/// A rule for a type that nothing finds would silently never apply.
pub(super) fn check_rules(policy: &policy::Settings, engine: &Engine) -> Result<(), Failure> {
    policy.check()?;
    let known: BTreeSet<_> = engine.rules().map(|rule| rule.entity.as_str()).collect();
    for rule in &policy.rules {
        if let Some(unknown) = rule.types.iter().find(|kind| !known.iter().any(|entity| kind.matches(entity))) {
            let meant = nearest(&unknown.0, known).map_or(String::new(), |meant| format!(" did you mean {meant}?"));
            return Err(format!(
                "policy rule {:?}: no value is of type {:?};{meant} `interceptor rules list` shows all types",
                rule.name, unknown.0
            )
            .into());
        }
    }
    Ok(())
}

pub(super) fn audit_settings(args: &Args, config: &Config, paths: &StatePaths) -> Result<audit::Settings, Failure> {
    let auditors = config.audit.auditors.iter().map(|file| AuditorPublic::read(file)).collect::<Result<Vec<_>, _>>();
    let auditors = auditors.map_err(|e| format!("audit.auditors: {e}"))?;
    if auditors.is_empty() {
        return Err(
            "no auditor: nobody could ever unseal the originals; make a key pair with `interceptor keys generate \
                    --out auditor.key` and name auditor.key.pub in audit.auditors"
                .into(),
        );
    }
    audit::check_ages(&config.audit.retention.ages()).map_err(|e| format!("audit.retention: {e}"))?;
    Ok(audit::Settings {
        dir: paths.audit(),
        keys: paths.keys(),
        host: host(),
        durability: config.audit.durability,
        auditors,
        threshold: config.audit.threshold,
        segment_bytes: config.audit.segment_bytes,
        accept_missing_checkpoint: args.accept_missing_checkpoint,
    })
}

pub(super) fn capture_settings(config: &Config) -> Result<capture::Settings, Failure> {
    let cgroup = match &config.capture.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => Cgroups::find()?.mount().to_path_buf(),
    };
    if !cgroup.is_dir() {
        return Err(format!("capture.cgroup: {} is not a directory; name a cgroup2 directory", cgroup.display()).into());
    }
    Ok(capture::Settings {
        cgroup,
        pin_dir: config.capture.pin.clone(),
        mark: config.capture.mark,
        listener_port: config.listen.port,
        stale_after: Some(Heartbeat::STALE_AFTER),
        waiting_per_user: capture::Settings::WAITING_PER_USER,
        overrides: capture::Overrides::default(),
    })
}

pub(super) fn supervisor_settings(
    config: &Config,
    capture: &capture::Settings,
    features: &capture::Features,
    modes: &Modes,
    paths: &StatePaths,
    transport: Chosen,
) -> daemon::Settings {
    let namespaces = namespaces(config, sys::descriptors());
    if namespaces < config.limits.namespaces {
        log::warn!("only {namespaces} network namespaces can have a listener; raise LimitNOFILE for limits.namespaces");
    }
    daemon::Settings {
        cgroup: capture.cgroup.clone(),
        pins: capture.pin_dir.clone(),
        port: config.listen.port,
        control: daemon::control_socket(&paths.run()),
        transport,
        modes: modes.describe(),
        features: serde_json::json!(features),
        namespaces,
        namespaces_per_user: config.limits.namespaces_per_user,
    }
}

pub(super) fn budget_limits(config: &Config) -> BudgetLimits {
    let limits = &config.limits;
    let descriptors = sys::descriptors();
    let for_namespaces = namespaces(config, descriptors) * descriptors_a_namespace(config);
    BudgetLimits {
        // One descriptor for the client and one for the endpoint.
        connections: limits
            .connections
            .min((descriptors - for_namespaces - BudgetLimits::COURTESY_DESCRIPTORS.min(descriptors / 8)) / 2),
        connections_per_user: limits.connections_per_user,
        streams: limits.streams,
        streams_per_user: limits.streams_per_user,
        bytes: limits.buffered_bytes,
        bytes_per_user: limits.buffered_bytes_per_user,
    }
}

/// How many network namespaces may have a listener: no more than a quarter of the descriptors go to them.
fn namespaces(config: &Config, descriptors: usize) -> usize {
    config.limits.namespaces.min(descriptors / 4 / descriptors_a_namespace(config))
}

/// Two address families, each socket held by a worker and by the main thread.
fn descriptors_a_namespace(config: &Config) -> usize {
    4 * listeners::workers(config)
}

pub(super) fn connection_settings(config: &Config) -> proxy::Settings {
    let (limits, upstream) = (&config.limits, &config.upstream);
    let seconds = Duration::from_secs;
    proxy::Settings {
        http: http::Limits { body: limits.body_bytes as u64, ..http::Limits::default() },
        client: ClientTimeouts {
            handshake: seconds(limits.handshake_timeout_s),
            head: seconds(limits.header_timeout_s),
            body: Pace { idle: seconds(limits.body_idle_timeout_s), bytes_per_s: limits.body_bytes_per_s },
            patience: seconds(limits.write_timeout_s),
            keep_alive: seconds(limits.keep_alive_s),
        },
        endpoint: EndpointTimeouts {
            response: seconds_or_never(upstream.response_timeout_s),
            idle: seconds_or_never(upstream.idle_timeout_s),
            total: seconds_or_never(upstream.total_timeout_s),
        },
        streams_per_connection: limits.streams_per_connection,
        dial_from: upstream.dial_from,
    }
}

pub(super) fn dialer(config: &Config, roots: Roots, transport: Transport) -> Result<Dialer, Failure> {
    Ok(Dialer {
        mark: config.capture.mark,
        connect_timeout: Duration::from_secs(config.upstream.connect_timeout_s),
        handshake_timeout: Duration::from_secs(config.upstream.handshake_timeout_s),
        tls: Arc::new(UpstreamTls::new(roots)?),
        listeners: listener_addresses(config).to_vec(),
        transport,
    })
}

pub(in crate::cli) fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}
