//! Small file systems of the test's own, in a mount namespace of its own.
#![expect(unsafe_code, reason = "the ioctl that takes the power off a file system has no safe wrapper")]

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

/// FS_IOC_SHUTDOWN, and its flag that leaves the journal unflushed.
const SHUTDOWN: u64 = 0x8004_587d;
const WITHOUT_JOURNAL: u32 = 2;

/// A mounted file system.
pub(crate) struct Volume {
    pub(crate) path: PathBuf,
    /// Of ext4: the file that stands for the disk.
    image: Option<PathBuf>,
    /// Removed after the file system is.
    _home: tempfile::TempDir,
}

fn private_mounts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(
            geteuid().is_root(),
            "mounting file systems needs root; leave these tests out with `cargo xtask test --unprivileged`, \
             or {}=1",
            super::UNPRIVILEGED
        );
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).expect("private");
    });
}

impl Volume {
    fn new(image: bool) -> Self {
        private_mounts();
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("volume");
        std::fs::create_dir(&path).expect("a directory");
        let image = image.then(|| home.path().join("image"));
        Self { path, image, _home: home }
    }

    /// In memory.
    pub(crate) fn tmpfs(bytes: u64) -> Self {
        let volume = Self::new(false);
        let options = format!("size={bytes},mode=0755");
        mount(Some("tmpfs"), &volume.path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).expect("mounted");
        volume
    }

    /// ext4 on a loop device.
    pub(crate) fn ext4(bytes: u64) -> Self {
        let volume = Self::new(true);
        let image = volume.image.as_ref().expect("ext4 has one");
        File::create(image).and_then(|file| file.set_len(bytes)).expect("an image");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image), "e2fsprogs");
        volume.mount();
        volume
    }

    fn mount(&self) {
        let image = self.image.as_ref().expect("ext4 has one");
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(image).arg(&self.path), "mount");
    }

    fn unmount(&self) {
        umount2(&self.path, MntFlags::empty()).expect("nobody uses it");
    }

    /// Takes the power: nothing that is not on the disk gets there any more.
    pub(crate) fn power_off(&self) {
        let directory = File::open(&self.path).expect("mounted");
        let flags = WITHOUT_JOURNAL;
        // SAFETY: the ioctl reads one 32-bit number, which outlives the call, and the descriptor is open.
        let result = unsafe { nix::libc::ioctl(directory.as_raw_fd(), SHUTDOWN as _, &raw const flags) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// The kernel finds the file system in error, and so remounts it read-only.
    pub(crate) fn break_down(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == self.path.to_str()).expect("mounted");
        let device = Path::new(line.split(' ').next().expect("a device")).file_name().expect("a name");
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(&trigger, "the test wants it").unwrap_or_else(|e| panic!("{}: {e}", trigger.display()));
    }

    /// Mounts it again, as after a restart of the machine. With `check` it is repaired before.
    pub(crate) fn restart(&self, check: bool) {
        self.unmount();
        if check {
            let image = self.image.as_ref().expect("ext4 has one");
            // 1: errors were corrected.
            let status = Command::new("e2fsck").args(["-f", "-y"]).arg(image).output().expect("e2fsprogs").status;
            assert!(status.code().is_some_and(|code| code <= 1), "{status}");
        }
        self.mount();
    }

    /// Takes all space that is left. Returns what to remove to have it back.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path.join("filler");
        let file = File::options().append(true).create(true).open(&path).expect("a file");
        for size in [64 << 10, 4096, 1] {
            while std::io::Write::write_all(&mut &file, &vec![b'x'; size]).is_ok() {}
        }
        path
    }

    /// Leaves about `bytes` free.
    pub(crate) fn fill_but(&self, bytes: u64) -> PathBuf {
        let filler = self.fill();
        let file = File::options().write(true).open(&filler).expect("the filler");
        let size = file.metadata().expect("its size").len();
        file.set_len(size.saturating_sub(bytes)).expect("cut");
        filler
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // After a failed test a writer may still use it.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

fn run(command: &mut Command, package: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; is the package {package} installed?"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
