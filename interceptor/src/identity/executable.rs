//! The file a caller ran: found again after the connect call, and only when it is certain to be that file.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, major, minor};

use super::filesystem::{answers_by_itself, in_initial_user_namespace, is_local, is_overlay};
use super::hash::{Hashes, changed_at};
use super::process::Process;
use crate::capture::{ExeFile, Flow, Snapshot};

/// Digests of callers' executables.
#[derive(Debug)]
pub(super) struct Executables {
    hashes: Hashes,
    own_mount_namespace: Option<u32>,
}

impl Default for Executables {
    fn default() -> Self {
        Self { hashes: Hashes::default(), own_mount_namespace: own_mount_namespace() }
    }
}

impl Executables {
    /// SHA-256 of what the caller of `flow` ran, in hexadecimal; `process` when it is alive.
    pub(super) fn digest(&self, flow: &Flow, process: Option<&Process>) -> Option<String> {
        let Some(snapshot) = flow.snapshot.as_deref() else {
            let file = process.filter(|process| answers_by_itself(process))?.open_exe()?;
            return self.hashes.of(&file);
        };
        // Others may ask a process of the user's, who may never answer.
        let magic = snapshot.exe_file?.magic;
        if !is_local(magic) && !is_overlay(magic) {
            return None;
        }
        let file =
            process.and_then(|process| running(process, snapshot)).or_else(|| self.found_again(flow, snapshot))?;
        self.hashes.of(&file)
    }

    /// Whether the caller of `flow` was among the daemon's own mounts at the connect call; false where the kernel took no
    /// snapshot of it, for then what procfs shows may be a later program's.
    pub(super) fn among_own_mounts(&self, flow: &Flow) -> bool {
        let namespace = flow.snapshot.as_deref().map(|snapshot| snapshot.mount_namespace);
        namespace.is_some() && namespace == self.own_mount_namespace
    }

    /// By its path, from the root of the caller's mount namespace: the daemon's own or, as another's can only be entered
    /// through a process in it, that of an ancestor.
    fn found_again(&self, flow: &Flow, snapshot: &Snapshot) -> Option<File> {
        let path = snapshot.exe.as_ref().filter(|path| path.whole && !path.deleted)?;
        let namespace = snapshot.mount_namespace;
        let overlay = snapshot.exe_file.is_none_or(|file| is_overlay(file.magic));
        let own = || if self.own_mount_namespace == Some(namespace) { root() } else { None };
        let root = own().or_else(|| {
            let mut ancestors = snapshot.ancestors.iter();
            ancestors.find_map(|ancestor| {
                let process = Process::started(ancestor.pid, ancestor.started_at).ok()?;
                // What is found below such a root was mounted by root.
                (!overlay || in_initial_user_namespace(&process)).then(|| process.root_in(namespace))?
            })
        })?;
        let file = open_below(&root, &path.path)?;
        is_what_was_run(&file, snapshot.exe_file?, flow.connected_at.to_system_time()?).then_some(file)
    }
}

/// The file of a process that still runs the program it ran at the connect call.
fn running(process: &Process, snapshot: &Snapshot) -> Option<File> {
    // It may have executed another one since, of which the snapshot knows nothing.
    let local = snapshot.exe_file.is_some_and(|file| is_local(file.magic));
    if !process.runs(snapshot.image) || !(local || answers_by_itself(process)) {
        return None;
    }
    let file = process.open_exe()?;
    process.runs(snapshot.image).then_some(file)
}

fn root() -> Option<OwnedFd> {
    open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

/// Whatever stands at the path by now, it does not lead out of `root`. The kernel's own path of a file has no links in it.
fn open_below(root: impl AsFd, path: &Path) -> Option<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(root, path, how).ok().map(File::from)
}

/// The same inode, unchanged since the caller connected.
fn is_what_was_run(file: &File, ran: ExeFile, connected_at: SystemTime) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    let device = (major(metadata.dev()) as u32, minor(metadata.dev()) as u32);
    (device, metadata.ino()) == (ran.device, ran.inode) && changed_at(&metadata).is_some_and(|then| then < connected_at)
}

fn own_mount_namespace() -> Option<u32> {
    let link = std::fs::read_link("/proc/self/ns/mnt").ok()?;
    link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(path: &Path) -> (File, ExeFile) {
        let file = File::open(path).unwrap();
        let metadata = file.metadata().unwrap();
        let device = (major(metadata.dev()) as u32, minor(metadata.dev()) as u32);
        (file, ExeFile { device, inode: metadata.ino(), magic: 0 })
    }

    #[test]
    fn only_the_same_unchanged_inode_is_what_was_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        std::fs::write(&path, "one").unwrap();
        let (opened, ran) = file(&path);
        let later = SystemTime::now() + Duration::from_secs(1);
        assert!(is_what_was_run(&opened, ran, later));
        assert!(!is_what_was_run(&opened, ran, SystemTime::now() - Duration::from_secs(60)), "changed since");
        assert!(!is_what_was_run(&opened, ExeFile { inode: ran.inode + 1, ..ran }, later));
        assert!(!is_what_was_run(&opened, ExeFile { device: (ran.device.0, ran.device.1 + 1), ..ran }, later));
    }

    #[test]
    fn a_path_does_not_lead_out_of_its_root() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("program")).unwrap();
        let root = File::open(directory.path()).unwrap();
        assert!(open_below(&root, Path::new("/program")).is_none());
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert!(open_below(File::open(directory.path()).unwrap(), Path::new("/file")).is_some());
    }

    #[test]
    fn the_own_mount_namespace_is_known() {
        assert!(own_mount_namespace().is_some());
    }
}
