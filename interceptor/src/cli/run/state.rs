//! What the daemon keeps below its state directory while it runs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::Group;

use super::Failure;
use crate::config::StatePaths;
use crate::daemon::control;

const PID_FILE: &str = "daemon.pid";

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
    let pid: u32 = fs::read_to_string(run.join(PID_FILE)).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

/// Says that the daemon is ready, and who it is; gone after a clean stop.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    pub(super) fn create(run: &Path) -> Result<Self, Failure> {
        let path = run.join(PID_FILE);
        fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.0) {
            log::warn!("cannot remove {}: {e}", self.0.display());
        }
    }
}
