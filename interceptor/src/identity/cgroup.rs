//! What the path of a cgroup says: systemd unit, container, pod.
//!
//! Whoever may make cgroups chooses their names (a user within the part of the tree that systemd delegates), so this
//! describes, it does not prove.

use std::fmt;
use std::path::{Path, PathBuf};

/// Path of a cgroup below the cgroup2 mount, as in `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CgroupPath(PathBuf);

/// Who made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, through Kubernetes' interface.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// systemd-nspawn and others registered with systemd-machined.
    Machined,
    /// LXC and Incus.
    Lxc,
    /// The path tells the container but not who made it.
    Unknown,
}

/// A container, as the path of its cgroup names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// Who made it.
    pub runtime: Runtime,
    /// 64 hexadecimal digits for most runtimes, a name for machined and LXC.
    pub id: String,
    /// UID of the Kubernetes pod it belongs to.
    pub pod: Option<String>,
}

impl CgroupPath {
    /// A path that starts at the mount.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The systemd unit: the first component that is one and not a slice. For a user's services that is the user
    /// manager, `user@1000.service`.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.components().find(|name| is_unit(name))
    }

    /// The unit of the user's own manager: the first unit below `user@UID.service`.
    #[must_use]
    pub fn user_unit(&self) -> Option<&str> {
        let mut below_manager = self.components().skip_while(|name| !name.starts_with("user@"));
        below_manager.next()?;
        below_manager.find(|name| is_unit(name))
    }

    /// logind's name of the login session: N of `session-N.scope`.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.components()
            .find_map(|name| name.strip_prefix("session-")?.strip_suffix(".scope"))
            .filter(|id| !id.is_empty())
    }

    /// The innermost container.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        let names: Vec<_> = self.components().collect();
        let (runtime, id) = (0..names.len()).rev().find_map(|at| {
            let parent = at.checked_sub(1).map(|at| names[at]);
            container_of(names[at], parent)
        })?;
        Some(Container { runtime, id, pod: self.pod() })
    }

    /// UID of the innermost Kubernetes pod.
    #[must_use]
    pub fn pod(&self) -> Option<String> {
        self.components().filter_map(pod_of).last()
    }

    fn components(&self) -> impl Iterator<Item = &str> {
        // systemd puts an underscore before names that would look like a controller's file.
        self.0.iter().filter_map(|name| name.to_str()).map(|name| name.strip_prefix('_').unwrap_or(name))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Runtime {
    /// The name used in records; none for `Unknown`.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Docker => Some("docker"),
            Self::Containerd => Some("containerd"),
            Self::CriO => Some("cri-o"),
            Self::Podman => Some("podman"),
            Self::Machined => Some("machined"),
            Self::Lxc => Some("lxc"),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Container {
    /// `docker:ID`, or the id alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(runtime) = self.runtime.as_str() {
            write!(f, "{runtime}:")?;
        }
        f.write_str(&self.id)
    }
}

/// The unit types that hold processes.
fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap"]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

fn container_of(name: &str, parent: Option<&str>) -> Option<(Runtime, String)> {
    /// What stands before the id: in a scope's name with the systemd driver, in a directory's with cgroupfs.
    const PREFIXES: [(&str, Runtime); 6] = [
        ("docker-", Runtime::Docker),
        ("cri-containerd-", Runtime::Containerd),
        ("crio-", Runtime::CriO),
        ("libpod-", Runtime::Podman),
        // The container's part of a service that podman runs in.
        ("libpod-payload-", Runtime::Podman),
        ("nerdctl-", Runtime::Containerd),
    ];
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    if is_id(stem) {
        let runtime = if parent == Some("docker") { Runtime::Docker } else { Runtime::Unknown };
        return Some((runtime, stem.to_owned()));
    }
    // A runtime with the cgroupfs driver that was given the names of the systemd driver: SLICE:PREFIX:ID.
    if let [_, prefix, id] = name.split(':').collect::<Vec<_>>()[..]
        && is_id(id)
    {
        let known = PREFIXES.iter().find(|(known, _)| known.strip_suffix('-') == Some(prefix));
        return Some((known.map_or(Runtime::Unknown, |&(_, runtime)| runtime), id.to_owned()));
    }
    let id_after = |prefix| stem.strip_prefix(prefix).filter(|id| is_id(id));
    if let Some((runtime, id)) = PREFIXES.iter().find_map(|&(prefix, runtime)| Some((runtime, id_after(prefix)?))) {
        return Some((runtime, id.to_owned()));
    }
    let payload = name.strip_prefix("lxc.payload.").or_else(|| (parent == Some("lxc")).then_some(name));
    if let Some(payload) = payload {
        return Some((Runtime::Lxc, payload.to_owned()));
    }
    let machine = stem.strip_prefix("machine-").filter(|_| name.ends_with(".scope"));
    let nspawn = name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    let machine = machine.or(nspawn).map(unescape)?;
    // libvirt's virtual machines: what runs there on this host is the hypervisor.
    (!machine.starts_with("qemu-")).then_some((Runtime::Machined, machine))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `kubepods-burstable-podUID.slice` with underscores in the UID, or `podUID`.
fn pod_of(name: &str) -> Option<String> {
    let name = name.split(':').next().unwrap_or(name);
    let stem = name.strip_suffix(".slice").unwrap_or(name);
    let at = if stem.starts_with("kubepods") { stem.find("-pod")? + 1 } else { 0 };
    let uid = stem[at..].strip_prefix("pod")?.replace('_', "-");
    // A UUID, or for static pods the 32 digits of a hash.
    let plausible = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    plausible.then_some(uid)
}

/// systemd's escapes in unit names (systemd.unit(5)): `\x2d` is a dash.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.strip_prefix(b"x").and_then(|digits| digits.get(..2));
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte {
            Some(byte) if first == b'\\' => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f1ae5b0c9d24a6e8b7f0123456789abcdef0123456789abcdef0123456789ab";

    fn container(path: &str) -> Option<Container> {
        CgroupPath::new(path.replace("ID", ID)).container()
    }

    fn known(runtime: Runtime, pod: Option<&str>) -> Option<Container> {
        Some(Container { runtime, id: ID.to_owned(), pod: pod.map(str::to_owned) })
    }

    #[test]
    fn names_the_containers_of_every_runtime() {
        const POD: &str = "11111111-2222-3333-4444-555555555555";
        let under = POD.replace('-', "_");
        let burstable = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice");
        for (path, runtime, pod) in [
            ("/system.slice/docker-ID.scope".to_owned(), Runtime::Docker, None),
            ("/docker/ID".to_owned(), Runtime::Docker, None),
            ("/docker/ID/init.scope".to_owned(), Runtime::Docker, None),
            ("/machine.slice/libpod-ID.scope/container".to_owned(), Runtime::Podman, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope".to_owned(),
                Runtime::Podman,
                None,
            ),
            (format!("{burstable}/cri-containerd-ID.scope"), Runtime::Containerd, Some(POD)),
            (format!("{burstable}/crio-ID.scope"), Runtime::CriO, Some(POD)),
            (format!("/kubepods/besteffort/pod{POD}/ID"), Runtime::Unknown, Some(POD)),
            // cri-dockerd.
            (format!("{burstable}/docker-ID.scope"), Runtime::Docker, Some(POD)),
            // A guaranteed pod has no class of its own.
            (format!("/kubepods.slice/kubepods-pod{under}.slice/crio-ID.scope"), Runtime::CriO, Some(POD)),
            // kind: a kubelet in a container.
            (format!("/system.slice/docker-ID.scope/kubelet.slice/kubelet{burstable}/cri-containerd-ID.scope"),
                Runtime::Containerd, Some(POD)),
            // containerd with the cgroupfs driver below a kubelet with the systemd driver.
            (format!("/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:ID"),
                Runtime::Containerd, Some(POD)),
            (format!("/kubepods/burstable/pod{POD}/crio-ID"), Runtime::CriO, Some(POD)),
            ("/default/ID".to_owned(), Runtime::Unknown, None),
            ("/system.slice/nerdctl-ID.scope".to_owned(), Runtime::Containerd, None),
            // Rootless docker and podman.
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope".to_owned(), Runtime::Docker, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_ID.slice/libpod-ID.scope/container"
                    .to_owned(),
                Runtime::Podman,
                None,
            ),
            ("/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope".to_owned(), Runtime::Podman, None),
            ("/libpod_parent/libpod-ID".to_owned(), Runtime::Podman, None),
            // A service that podman runs in (Quadlet).
            ("/system.slice/web.service/libpod-payload-ID".to_owned(), Runtime::Podman, None),
        ] {
            assert_eq!(container(&path), known(runtime, pod), "{path}");
        }
    }

    #[test]
    fn names_machines() {
        for (path, runtime, id) in [
            (r"/machine.slice/machine-build\x2dbox.scope", Runtime::Machined, "build-box"),
            ("/machine.slice/systemd-nspawn@deb.service/payload", Runtime::Machined, "deb"),
            ("/lxc.payload.web/system.slice", Runtime::Lxc, "web"),
            ("/lxc/101/ns/system.slice/nginx.service", Runtime::Lxc, "101"),
            (r"/machine.slice/machine-lxc\x2d4242\x2dweb.scope", Runtime::Machined, "lxc-4242-web"),
        ] {
            let expected = Container { runtime, id: id.to_owned(), pod: None };
            assert_eq!(CgroupPath::new(path).container(), Some(expected), "{path}");
        }
    }

    #[test]
    fn takes_no_monitor_or_short_number_for_a_container() {
        for path in [
            "/machine.slice/libpod-conmon-ID.scope",
            "/system.slice/crio-conmon-ID.scope",
            r"/machine.slice/machine-qemu\x2d1\x2dwindows.scope/libvirt/emulator",
            "/lxc.monitor.web",
            "/docker/abc",
            "/system.slice/docker.service",
            "/",
        ] {
            assert_eq!(container(path), None, "{path}");
        }
    }

    #[test]
    fn names_pods_without_a_container() {
        const STATIC: &str = "8a1c3b5d7e9f8a1c3b5d7e9f8a1c3b5d";
        let path = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice");
        assert_eq!(CgroupPath::new(path).pod().as_deref(), Some(STATIC));
        assert_eq!(CgroupPath::new("/kubepods/besteffort").pod(), None);
        assert_eq!(CgroupPath::new("/system.slice/podman.service").pod(), None);
    }

    #[test]
    fn names_login_sessions() {
        for (path, session) in [
            ("/user.slice/user-1000.slice/session-3.scope", Some("3")),
            ("/user.slice/user-0.slice/session-c2.scope/child", Some("c2")),
            ("/user.slice/user-1000.slice/session-.scope", None),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/session-x.service", None),
        ] {
            assert_eq!(CgroupPath::new(path).session(), session, "{path}");
        }
    }

    #[test]
    fn the_unit_is_the_first_that_is_no_slice() {
        for (path, unit, user_unit) in [
            ("/system.slice/cron.service", Some("cron.service"), None),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-editor.scope",
                Some("user@1000.service"),
                Some("app-editor.scope"),
            ),
            ("/_cpu.service", Some("cpu.service"), None),
            ("/system.slice", None, None),
            ("/", None, None),
        ] {
            let path = CgroupPath::new(path);
            assert_eq!((path.unit(), path.user_unit()), (unit, user_unit), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_a_panic(path in "(/[a-z0-9@._\\\\-]{0,80}){0,6}") {
            let path = CgroupPath::new(path);
            let _ = (path.unit(), path.user_unit(), path.container(), path.pod(), path.session());
        }
    }
}
