//! A kernel from its Debian package, below `target/kernels`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::ask;
use crate::workspace;

/// An unpacked kernel.
pub(super) struct Kernel {
    /// As uname(2) tells it.
    pub(super) release: String,
    unpacked: PathBuf,
}

impl Kernel {
    /// Downloads and unpacks the package, or the one it depends on, unless that was done before.
    pub(super) fn fetch(package: &str) -> Result<Self> {
        let package = resolve(package)?;
        let release = package.trim_start_matches("linux-image-").to_owned();
        let kernels = workspace::root().join("target/kernels");
        let kernel = Self { release, unpacked: kernels.join(&package) };
        if kernel.modules().join("modules.dep").is_file() {
            return Ok(kernel);
        }
        fs::create_dir_all(&kernels).with_context(|| format!("cannot make {}", kernels.display()))?;
        eprintln!("apt-get download {package}");
        let scratch = tempfile::tempdir_in(&kernels).context("cannot make a directory")?;
        workspace::run(Command::new("apt-get").args(["-q", "download", &package]).current_dir(scratch.path()))?;
        let archive = fs::read_dir(scratch.path())?.flatten().map(|entry| entry.path()).next();
        let archive = archive.with_context(|| format!("apt-get download {package} left no file"))?;
        workspace::run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&kernel.unpacked))?;
        workspace::run(Command::new("depmod").arg("--basedir").arg(&kernel.unpacked).arg(&kernel.release))?;
        Ok(kernel)
    }

    /// The compressed kernel.
    pub(super) fn image(&self) -> PathBuf {
        self.unpacked.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// The directory of its modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.unpacked.join("lib/modules").join(&self.release)
    }

    /// Where its console's output is kept.
    pub(super) fn console(&self) -> PathBuf {
        self.unpacked.with_extension("console")
    }

    /// The files that make up a module, in the order to load them.
    pub(super) fn files_of(&self, module: &str) -> Result<Vec<PathBuf>> {
        let base = self.unpacked.to_string_lossy();
        let list = ask("modprobe", &["--dirname", &base, "--set-version", &self.release, "--show-depends", module])?;
        // `builtin NAME`, or `insmod FILE`.
        Ok(list.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|file| file.trim().into()).collect())
    }
}

/// The package with a kernel in it: this one, or what it depends on.
fn resolve(package: &str) -> Result<String> {
    let is_kernel = |name: &str| name.trim_start_matches("linux-image-").split('.').count() >= 3;
    if is_kernel(package) {
        return Ok(package.to_owned());
    }
    let depends = ask("apt-cache", &["depends", "--important", package])
        .with_context(|| format!("apt-get knows no package {package}; `apt-cache search '^linux-image'` lists some"))?;
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    match names.filter(|name| name.starts_with("linux-image-")).find(|name| is_kernel(name)) {
        Some(name) => Ok(name.to_owned()),
        None => bail!("package {package} depends on no kernel"),
    }
}

/// A module's bytes, and its file's name without the compression's.
pub(super) fn module(file: &Path) -> Result<(String, Vec<u8>)> {
    let name = file.file_name().context("a module is a file")?.to_string_lossy().into_owned();
    let Some(plain) = name.strip_suffix(".xz") else {
        return Ok((name, fs::read(file).with_context(|| format!("cannot read {}", file.display()))?));
    };
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output().context("cannot run xz")?;
    if !output.status.success() {
        bail!("xz cannot decompress {}", file.display());
    }
    Ok((plain.to_owned(), output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_a_full_version_is_a_kernel_itself() {
        for package in ["linux-image-6.1.0-47-amd64", "linux-image-6.12.117+deb12-cloud-amd64"] {
            assert_eq!(resolve(package).unwrap(), package);
        }
    }
}
