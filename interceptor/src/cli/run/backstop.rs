//! The backstop from start to stop: what is configured, what an earlier daemon left, what is told of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::capture::backstop::{self, Backstop};
use crate::capture::{CgroupMode, EndpointAddr, Mode};
use crate::config::{Config, StatePaths};

/// The table in force, if there is to be one.
pub(in crate::cli) struct Guard {
    held: Option<Backstop>,
    note: PathBuf,
}

impl Guard {
    /// Puts the table in force as configured, or removes the one of an earlier configuration.
    pub(super) fn start(
        config: &Config,
        paths: &StatePaths,
        modes: &[CgroupMode],
        endpoints: &[EndpointAddr],
    ) -> Result<Self, Failure> {
        let note = note(paths);
        if !config.backstop.enabled {
            remove_left_behind(paths)?;
            return Ok(Self { held: None, note });
        }
        let settings = backstop::Settings {
            instance: instance(&config.capture.pin),
            mark: config.capture.mark,
            forward: config.backstop.forward,
            exempt: modes.iter().filter(|rule| rule.mode == Mode::Exempt).map(|rule| rule.path.clone()).collect(),
        };
        // Noted first: a table that nobody remembers would never be removed.
        fs::write(&note, &settings.instance).map_err(|e| format!("cannot write {}: {e}", note.display()))?;
        let held = Backstop::install(&settings, endpoints)?;
        log::info!("backstop: table inet {}, own packets are told by {}", held.table(), held.own());
        Ok(Self { held: Some(held), note })
    }

    /// Makes its destinations these.
    pub(super) fn update(&mut self, endpoints: &[EndpointAddr]) {
        if let Some(held) = &mut self.held
            && let Err(e) = held.update(endpoints)
        {
            log::error!("the backstop's addresses are not up to date: {e}");
        }
    }

    /// Packets it has refused; none when there is no backstop.
    pub(super) fn dropped(&self) -> Option<Result<u64, String>> {
        self.held.as_ref().map(|held| held.dropped().map_err(|e| e.to_string()))
    }

    /// Removes the table.
    pub(super) fn remove(self) -> Result<(), Failure> {
        if let Some(held) = self.held {
            held.remove()?;
            forget(&self.note)?;
        }
        Ok(())
    }
}

/// Removes the table that a daemon with this state directory left, if one did.
pub(in crate::cli) fn remove_left_behind(paths: &StatePaths) -> Result<bool, Failure> {
    let note = note(paths);
    let Ok(instance) = fs::read_to_string(&note) else { return Ok(false) };
    Backstop::remove_left_behind(&instance)?;
    forget(&note)?;
    Ok(true)
}

/// Remembers which table is in force: nftables is not even asked on hosts that never had one.
fn note(paths: &StatePaths) -> PathBuf {
    paths.run().join("backstop")
}

fn forget(note: &Path) -> Result<(), Failure> {
    Ok(fs::remove_file(note).map_err(|e| format!("cannot remove {}: {e}", note.display()))?)
}

/// An instance is called like its pin directory.
fn instance(pins: &Path) -> String {
    pins.file_name().map_or_else(|| "default".to_owned(), |name| name.to_string_lossy().into_owned())
}
