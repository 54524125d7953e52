//! cgroups with a mode of their own, found again when they are made anew.

use std::path::Path;

use super::Failure;
use crate::capture::{Capture, CgroupMode, Mode};
use crate::config::Config;

/// The configured modes. A cgroup that is removed and made again is another one to the kernel, so they are put in force
/// again now and then.
pub(super) struct Modes {
    list: Vec<CgroupMode>,
    complained: bool,
}

impl Modes {
    /// Of the directories that `config` names, `below` the enrolled one.
    pub(super) fn new(config: &Config, below: &Path) -> Result<Self, Failure> {
        let of = |mode, paths: &[std::path::PathBuf]| {
            paths.iter().map(|path| CgroupMode { path: below.join(path), mode }).collect::<Vec<_>>()
        };
        let mut list = of(Mode::Strict, &config.capture.strict);
        list.extend(of(Mode::Exempt, &config.capture.exempt));
        for (number, CgroupMode { path, .. }) in list.iter().enumerate() {
            if !path.is_dir() {
                return Err(format!("capture.strict, capture.exempt: there is no cgroup {}", path.display()).into());
            }
            if list[..number].iter().any(|earlier| earlier.path == *path) {
                return Err(format!("capture.strict, capture.exempt: {} is named twice", path.display()).into());
            }
        }
        Ok(Self { list, complained: false })
    }

    /// All of them.
    pub(super) fn list(&self) -> &[CgroupMode] {
        &self.list
    }

    /// Path and mode of each, for the status.
    pub(super) fn describe(&self) -> Vec<(String, String)> {
        let word = |mode| match mode {
            Mode::Names => "names",
            Mode::Strict => "strict",
            Mode::Exempt => "exempt",
        };
        self.list.iter().map(|CgroupMode { path, mode }| (path.display().to_string(), word(*mode).to_owned())).collect()
    }

    /// Puts them in force, before the first connection.
    pub(super) fn apply(&self, capture: &mut Capture) -> Result<(), Failure> {
        capture.set_modes(&self.list)?;
        Ok(())
    }

    /// As [`apply`](Self::apply), while running: what was in force stays so after a failure, and is told once.
    pub(super) fn refresh(&mut self, capture: &mut Capture) {
        match capture.set_modes(&self.list) {
            Ok(()) => self.complained = false,
            Err(e) if !self.complained => {
                self.complained = true;
                log::error!("modes of cgroups are not up to date: {e}");
            }
            Err(_) => {}
        }
    }
}
