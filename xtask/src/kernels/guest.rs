//! Booting a kernel on this machine's files.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::package::{Kernel, module};
use crate::workspace;

/// What the guest needs before it sees this machine's files.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Memory in MiB: the maps, and what the tests write.
const MEMORY: &str = "1536";

/// Boots the kernel, runs the script in the workspace's root and returns what the console showed.
pub(super) fn boot(kernel: &Kernel, script: &str, kvm: bool, patience: Duration) -> Result<String> {
    let scratch = tempfile::tempdir().context("cannot make a directory")?;
    let initramfs = scratch.path().join("initramfs");
    make_initramfs(kernel, script, &initramfs)?;
    let console = File::create(kernel.console()).context("cannot write the console's output")?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(if kvm { ["-accel", "kvm", "-cpu", "host"] } else { ["-accel", "tcg,thread=multi", "-cpu", "max"] });
    command.args(["-smp", "2", "-m", MEMORY, "-display", "none", "-serial", "stdio", "-no-reboot", "-nic", "none"]);
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&initramfs);
    command.args(["-append", "console=ttyS0 panic=-1 quiet"]);
    command.args(["-virtfs", "local,path=/,mount_tag=root,security_model=passthrough,readonly=on,multidevs=remap"]);
    command.stdin(Stdio::null()).stderr(console.try_clone()?).stdout(console);
    let mut qemu = command.spawn().context("cannot run qemu-system-x86_64")?;
    let deadline = Instant::now() + patience;
    while qemu.try_wait()?.is_none() {
        if Instant::now() > deadline {
            qemu.kill()?;
            qemu.wait()?;
            bail!("{} was not done after {} s; see {}", kernel.release, patience.as_secs(), kernel.console().display());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let console = fs::read(kernel.console()).context("cannot read the console's output")?;
    Ok(String::from_utf8_lossy(&console).replace('\r', ""))
}

/// busybox, the modules, and an init that makes the rest.
fn make_initramfs(kernel: &Kernel, script: &str, at: &Path) -> Result<()> {
    let root = tempfile::tempdir().context("cannot make a directory")?;
    for directory in ["bin", "sbin", "proc", "sys", "dev", "base", "rw", "root", "modules"] {
        fs::create_dir(root.path().join(directory))?;
    }
    fs::copy("/bin/busybox", root.path().join("bin/busybox")).context("package busybox-static has no /bin/busybox")?;
    let mut loaded = Vec::new();
    for name in MODULES {
        for file in kernel.files_of(name)? {
            let (name, bytes) = module(&file)?;
            if !loaded.contains(&name) {
                fs::write(root.path().join("modules").join(&name), bytes)?;
                loaded.push(name);
            }
        }
    }
    executable(&root.path().join("init"), &init(kernel, script, &loaded))?;
    // The kernel asks for further modules in its first root directory, which stays this one.
    executable(
        &root.path().join("sbin/modprobe"),
        "#!/bin/busybox sh\nexec /bin/busybox chroot /root /sbin/modprobe \"$@\"\n",
    )?;

    let list = super::ask("find", &[&root.path().to_string_lossy(), "-printf", "%P\\n"])?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format", "newc", "--quiet"]).current_dir(root.path());
    let archive = File::create(at).context("cannot write the initramfs")?;
    let mut cpio = cpio.stdin(Stdio::piped()).stdout(archive).spawn().context("cannot run cpio")?;
    cpio.stdin.take().context("cpio reads")?.write_all(list.as_bytes())?;
    if !cpio.wait()?.success() {
        bail!("cpio could not make the initramfs");
    }
    Ok(())
}

fn executable(at: &Path, text: &str) -> Result<()> {
    fs::write(at, text)?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).with_context(|| format!("{}", at.display()))
}

/// The first process: this machine's files below a layer in memory, the file systems that the tests want, the script.
fn init(kernel: &Kernel, script: &str, modules: &[String]) -> String {
    let modules = modules.join(" ");
    let tree = kernel.modules();
    let tree = tree.parent().unwrap_or(&tree).display();
    let workspace = workspace::root().display();
    format!(
        r#"#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b mount -t devtmpfs none /dev
for module in {modules}; do $b insmod /modules/$module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=1048576,cache=loose root /base
$b mount -t tmpfs none /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/base,upperdir=/rw/upper,workdir=/rw/work none /root
$b mkdir -p /root/lib/modules
for at in proc sys dev; do $b mount -o bind /$at /root/$at; done
$b mount -o bind /base{tree} /root/lib/modules
$b mount -t tmpfs none /root/tmp
$b mount -t tmpfs none /root/run
$b mount -t cgroup2 none /root/sys/fs/cgroup
$b mount -t bpf none /root/sys/fs/bpf
$b mount -t securityfs none /root/sys/kernel/security
$b ip link set lo up
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root RUST_BACKTRACE=0
$b chroot /root /bin/sh -c 'cd {workspace}; {script}'
$b poweroff -f
"#
    )
}
