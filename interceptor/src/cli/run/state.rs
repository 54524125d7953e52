//! What the daemon keeps below its state directory while it runs.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::Group;

use super::super::Global;
use super::Failure;
use crate::audit::open_regular;
use crate::config::{Config, DEFAULT_FILE, StatePaths};
use crate::daemon::control;

const PID_FILE: &str = "daemon.pid";

/// Names the pin directory of the last daemon, also after its death.
const PINS_FILE: &str = "pins";

/// Names the configuration file of the last daemon.
const CONFIG_FILE: &str = "config";

/// The state directories, closed to others.
pub(super) fn prepare(paths: &StatePaths) -> Result<(), Failure> {
    let state = fs::DirBuilder::new().recursive(true).mode(0o750).create(paths.root());
    state.map_err(|e| format!("cannot create state directory {}: {e}", paths.root().display()))?;
    for (dir, mode) in [(paths.audit(), 0o750), (paths.run(), 0o750), (paths.keys(), 0o700), (paths.ca(), 0o700)] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&dir)
            .map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    }
    // Whoever may ask for the daemon's state must reach its control socket.
    if let Ok(Some(group)) = Group::from_name(control::GROUP) {
        for dir in [paths.root().to_path_buf(), paths.run()] {
            chown(&dir, None, Some(group.gid.as_raw()))
                .map_err(|e| format!("cannot give {} to group {}: {e}", dir.display(), control::GROUP))?;
        }
    }
    Ok(())
}

/// The daemon that said so last, if it is still there.
pub(in crate::cli) fn daemon_pid(run: &Path) -> Option<u32> {
    let pid = String::from_utf8(read(&run.join(PID_FILE)).ok()?).ok()?;
    let pid: u32 = pid.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

/// Remembers where this daemon pins its programs, for those who look when it is dead and do not know its configuration.
pub(super) fn note_pins(run: &Path, pins: &Path) -> Result<(), Failure> {
    note(run, PINS_FILE, pins)
}

/// Remembers which file configures this daemon, for those who decide something for it.
pub(super) fn note_config(run: &Path, file: &Path) -> Result<(), Failure> {
    let file = std::path::absolute(file).map_err(|e| format!("where is {}? {e}", file.display()))?;
    note(run, CONFIG_FILE, &file)
}

fn note(run: &Path, name: &str, noted: &Path) -> Result<(), Failure> {
    let path = run.join(name);
    let aside = run.join(format!("{name}.{}", std::process::id()));
    fs::write(&aside, noted.as_os_str().as_bytes())
        .and_then(|()| fs::rename(&aside, &path))
        .map_err(|e| format!("cannot write {}: {e}", path.display()).into())
}

/// What was noted. Something else in the place of the file is not waited for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut noted = Vec::new();
    open_regular(path)?.read_to_end(&mut noted)?;
    Ok(noted)
}

/// The configuration of this state directory's daemon and its file: what `--config` names, else what the last daemon
/// read, else the one at the default place.
pub(in crate::cli) fn daemon_config(global: &Global, paths: &StatePaths) -> Result<(Config, PathBuf), Failure> {
    let noted = read(&paths.run().join(CONFIG_FILE)).ok().map(|path| PathBuf::from(OsString::from_vec(path)));
    // Nothing need be at the default place.
    let named = global.config.clone().or(noted.filter(|file| file != Path::new(DEFAULT_FILE)));
    let config = Config::load(named.as_deref())?;
    Ok((config, named.unwrap_or_else(|| DEFAULT_FILE.into())))
}

/// A pin directory, and what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct PinDir {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) named_by: String,
}

impl PinDir {
    /// As a configuration that was given says; else where the last daemon of this state directory pinned; else as the
    /// configuration at the default place says.
    pub(in crate::cli) fn find(global: &Global, config: &Config, paths: &StatePaths) -> Result<Self, Failure> {
        if let Some(file) = &global.config {
            return Ok(Self { path: config.capture.pin.clone(), named_by: file.display().to_string() });
        }
        let note = paths.run().join(PINS_FILE);
        match read(&note) {
            Ok(path) if !path.is_empty() => {
                Ok(Self { path: OsString::from_vec(path).into(), named_by: note.display().to_string() })
            }
            Ok(_) => Err(format!("{} is empty; name the configuration with --config", note.display()).into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let named_by = format!("the default configuration; no daemon has left {}", note.display());
                Ok(Self { path: config.capture.pin.clone(), named_by })
            }
            Err(e) => Err(format!("cannot read {}: {e}", note.display()).into()),
        }
    }
}

/// Says that the daemon is ready, and who it is; gone after a clean stop.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    pub(super) fn create(run: &Path) -> Result<Self, Failure> {
        let path = run.join(PID_FILE);
        // At no moment is it empty: others follow it from one daemon to the next.
        let aside = run.join(format!("daemon.pid.{}", std::process::id()));
        fs::write(&aside, format!("{}\n", std::process::id()))
            .and_then(|()| fs::rename(&aside, &path))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A successor has put its own there.
        if fs::read_to_string(&self.0).is_ok_and(|pid| pid.trim() != std::process::id().to_string()) {
            return;
        }
        if let Err(e) = fs::remove_file(&self.0) {
            log::warn!("cannot remove {}: {e}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_configuration_wins_over_the_last_daemons_pins_and_those_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StatePaths::at(dir.path());
        fs::create_dir(paths.run()).unwrap();
        let config = Config::default();
        let find = |given: Option<&str>| {
            PinDir::find(&Global { state: None, config: given.map(PathBuf::from) }, &config, &paths).unwrap()
        };
        assert_eq!(find(None).path, config.capture.pin);
        note_pins(&paths.run(), Path::new("/sys/fs/bpf/interceptor/other")).unwrap();
        let found = find(None);
        assert_eq!(found.path, Path::new("/sys/fs/bpf/interceptor/other"));
        assert!(found.named_by.ends_with("run/pins"), "{found:?}");
        let given = find(Some("/etc/interceptor/a.toml"));
        assert_eq!((given.path, given.named_by.as_str()), (config.capture.pin.clone(), "/etc/interceptor/a.toml"));
    }
}
