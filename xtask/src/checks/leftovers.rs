//! What labs and tests could leave on the machine, seen before and after.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long the kernel and last processes may take to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files and directories whose contents must be what they were: trust stores, and what decides over names.
const UNTOUCHED: [&str; 6] = [
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/usr/local/share/ca-certificates",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
];

/// What there was, by name; what has contents, with their hash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Traces {
    found: BTreeMap<String, String>,
}

impl Traces {
    /// Looks now.
    pub(super) fn look() -> Result<Self> {
        let mut found = BTreeMap::new();
        for namespace in names("/run/netns") {
            found.insert(format!("named network namespace {namespace}"), String::new());
        }
        for process in names("/proc").iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            // Namespaces without names live in processes; ours are told by their network.
            let Ok(interfaces) = fs::read_to_string(format!("/proc/{process}/net/dev")) else { continue };
            if interfaces.lines().any(|line| line.trim_start().starts_with("lab0:")) {
                found.insert(format!("process {process} in a lab's network namespace"), String::new());
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(3);
            let (root, place) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            found.insert(format!("mount of {root} on {place}"), String::new());
            if line.contains(" - cgroup2 ") {
                for cgroup in names(place).iter().filter(|name| name.starts_with("interceptor")) {
                    found.insert(format!("cgroup {place}/{cgroup}"), String::new());
                }
            }
        }
        for pinned in names("/sys/fs/bpf") {
            found.insert(format!("pinned BPF object {pinned}"), String::new());
        }
        for place in UNTOUCHED {
            let mut hasher = DefaultHasher::new();
            digest(Path::new(place), &mut hasher);
            found.insert(format!("contents of {place}"), format!("{:x}", hasher.finish()));
        }
        for directory in names(&std::env::temp_dir().to_string_lossy()) {
            if directory.starts_with("interceptor-") {
                found.insert(format!("temporary {directory}"), String::new());
            }
        }
        Ok(Self { found })
    }

    /// Fails when something is there now that was not, or is not what it was.
    pub(super) fn compare(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::look()?;
            let changed: Vec<&String> = now
                .found
                .iter()
                .filter(|(name, value)| self.found.get(*name) != Some(value))
                .map(|(name, _)| name)
                .collect();
            if changed.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let list: Vec<&str> = changed.into_iter().map(String::as_str).collect();
                bail!("left behind, or changed:\n{}", list.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn digest(place: &Path, hasher: &mut DefaultHasher) {
    place.hash(hasher);
    if place.is_dir() {
        let mut inside = names(&place.to_string_lossy());
        inside.sort();
        inside.iter().for_each(|name| digest(&place.join(name), hasher));
    } else {
        fs::read(place).ok().hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_changes_the_digest_of_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bundle.pem");
        let now = || {
            let mut hasher = DefaultHasher::new();
            digest(directory.path(), &mut hasher);
            hasher.finish()
        };
        fs::write(&file, "one").unwrap();
        let before = now();
        assert_eq!(before, now());
        fs::write(&file, "two").unwrap();
        assert_ne!(before, now());
    }
}
