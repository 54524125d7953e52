//! What is counted and raises alerts, from the configuration.

use std::collections::HashMap;
use std::io::ErrorKind;

use nix::unistd::geteuid;

use super::settings::host;
use crate::audit::Log;
use crate::config::{Config, StatePaths};
use crate::daemon::Asks;
use crate::flow::Severity;
use crate::mask::Engine;
use crate::sinks::Net;
use crate::watch::{Error, Place, Prepared, Watch};

/// What is configured, if anything: watching costs a look at each record, and is done where someone would hear of it.
pub(super) fn prepare(config: &Config, paths: &StatePaths, net: Net) -> Result<Option<Prepared>, Error> {
    let others = config.alerts.is_empty() && config.sinks.is_empty() && config.audit.witnesses.is_empty();
    if !config.metrics.is_wanted() && others {
        return Ok(None);
    }
    let place = Place { audit: paths.audit(), cursors: paths.sinks(), host: host(), net };
    Prepared::new(&config.metrics, &config.alerts, place).map(Some)
}

/// Whether it can be as it is configured, told to somebody who may be another user than the daemon.
pub(super) fn check(config: &Config, paths: &StatePaths, net: Net) -> Result<(), Error> {
    match prepare(config, paths, net) {
        // The daemon that runs shares its address with the next one alone, and low ports are root's.
        Err(Error::Listen { source, .. })
            if !geteuid().is_root() && matches!(source.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) =>
        {
            Ok(())
        }
        prepared => prepared.map(drop),
    }
}

pub(super) fn start(
    prepared: Option<Prepared>,
    log: &Log,
    asks: Asks,
    engine: &Engine,
) -> std::io::Result<Option<Watch>> {
    let severities: HashMap<String, Severity> = engine.rules().map(|rule| (rule.id.clone(), rule.severity)).collect();
    prepared.map(|prepared| prepared.start(log, asks, severities)).transpose()
}
