//! What compiles and links the kernel programs.
//!
//! Rust's BPF target has no precompiled core library, so it needs a compiler that may build one; bpf-linker works on
//! the compiler's LLVM bitcode, so it has to be built against the same LLVM. `interceptor/build.rs` looks for the same
//! two things.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::packages::{self, runs};
use super::{Outcome, announce};
use crate::workspace;

const LINKER_VERSION: &str = "0.13.0";

/// The LLVM releases for which that version of bpf-linker has a feature.
const LLVM_RELEASES: [u32; 3] = [21, 22, 23];

/// The LLVM of Debian's compiler for browsers, the packages that bring it, and its own compiler packages.
const DEBIAN_LLVM: u32 = 22;
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler that may build core for the BPF target.
struct Compiler {
    program: &'static str,
    arguments: &'static [&'static str],
}

const NIGHTLY: Compiler = Compiler { program: "rustup", arguments: &["run", "nightly", "rustc"] };
const DEBIAN: Compiler = Compiler { program: "/usr/bin/rustc", arguments: &[] };

impl Compiler {
    /// The one that the build of the kernel programs will use.
    fn find() -> Option<Self> {
        [NIGHTLY, DEBIAN].into_iter().find(Compiler::has_core_source)
    }

    fn ask(&self, question: &[&str]) -> Option<String> {
        let mut command = Command::new(self.program);
        command.args(self.arguments).args(question).env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn has_core_source(&self) -> bool {
        self.ask(&["--print", "sysroot"]).is_some_and(|sysroot| {
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
        })
    }

    fn llvm(&self) -> Result<u32> {
        let version = self.ask(&["--version", "--verbose"]).context("the compiler does not run")?;
        llvm_release(&version).context("the compiler does not say which LLVM it has")
    }
}

/// The major version in rustc's `LLVM version: 22.1.8`.
fn llvm_release(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.trim().parse().ok()
}

/// Provides a compiler.
pub(super) fn compiler() -> Result<Outcome> {
    if Compiler::find().is_some_and(|compiler| compiler.llvm().is_ok_and(|llvm| LLVM_RELEASES.contains(&llvm))) {
        return Ok(Outcome::There);
    }
    // None, or one of Debian's from a time before that can be brought up to date.
    let remedy = "or, with rustup: rustup toolchain install nightly --component rust-src";
    packages::install(&DEBIAN_PACKAGES).context(remedy)?;
    if Compiler::find().is_none() {
        bail!("Debian's {} bring no source of Rust's core library; {remedy}", DEBIAN_PACKAGES.join(", "));
    }
    Ok(Outcome::Made)
}

/// Provides the linker, built against the compiler's LLVM, below `target/tools`.
pub(super) fn linker() -> Result<Outcome> {
    let compiler = Compiler::find().context("there is no compiler for the kernel programs")?;
    let release = compiler.llvm()?;
    let stamp = workspace::tools().join("bpf-linker.built");
    let wanted = format!("bpf-linker {LINKER_VERSION} for LLVM {release}\n");
    let program = workspace::tools().join("bin/bpf-linker");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) && works(&program) {
        return Ok(Outcome::There);
    }
    if !LLVM_RELEASES.contains(&release) {
        bail!(
            "the compiler has LLVM {release}, which bpf-linker {LINKER_VERSION} does not know; install Debian's {} \
             (LLVM {DEBIAN_LLVM}) or a nightly of another date",
            DEBIAN_PACKAGES.join(", ")
        );
    }
    let prefix = format!("/usr/lib/llvm-{release}");
    if !Path::new(&prefix).join("bin/llvm-config").is_file() || !runs("pkg-config", &["--exists", "libzstd", "zlib"]) {
        let (llvm, polly) = (format!("llvm-{release}-dev"), format!("libpolly-{release}-dev"));
        packages::install(&[&llvm, &polly, "zlib1g-dev", "libzstd-dev"])?;
    }
    announce(&format!("cargo install bpf-linker {LINKER_VERSION} (about a minute)"));
    let mut command = workspace::cargo();
    command.args(["install", "--quiet", "--locked", "--force", "bpf-linker", "--version", LINKER_VERSION]);
    command.args(["--no-default-features", "--features", &format!("llvm-{release}"), "--root"]).arg(workspace::tools());
    command.env("LLVM_PREFIX", &prefix).env(format!("LLVM_SYS_{release}1_PREFIX"), &prefix);
    workspace::run(&mut command)?;
    if !works(&program) {
        bail!("{} was built and does not run", program.display());
    }
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Outcome::Made)
}

fn works(linker: &Path) -> bool {
    let mut command = Command::new(linker);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    command.output().is_ok_and(|output| output.stdout.trim_ascii().ends_with(LINKER_VERSION.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version_of_llvm() {
        let printed = "rustc 1.96.0\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_release(printed), Some(22));
        assert_eq!(llvm_release("rustc 1.96.0\n"), None);
    }
}
