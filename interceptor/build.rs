//! Compiles the kernel programs of `interceptor-ebpf` and puts the object where `capture` embeds it.
//!
//! Rust's BPF target has no precompiled core library, so this needs a compiler that may build one: a rustup nightly
//! with `rust-src`, or Debian's `rustc-web` and `rust-web-src` in `/usr/bin`. Linking is `bpf-linker`'s work.
//! `cargo xtask setup` provides both.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "bpfel-unknown-none";
const BINARY: &str = "interceptor-programs";
const LINKER: &str = "bpf-linker";
const REMEDY: &str = "run `cargo xtask setup`";

/// Variables of the outer cargo that must not steer the inner one. Cargo's and rustup's own places stay.
const KEPT: [&str; 5] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_COLOR"];
const SCRUBBED: [&str; 10] = [
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_LINKER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
    "MAKEFLAGS",
    // The outer toolchain's libraries, LLVM among them.
    "LD_LIBRARY_PATH",
];

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Cargo shows the stderr of a failed build script.
            eprintln!("cannot build the kernel programs: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().ok_or("this crate is not inside its workspace")?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    watch(workspace);

    if variable("CARGO_CFG_TARGET_ENDIAN")? != "little" {
        return Err("only little-endian hosts are supported".to_owned());
    }
    let linker = find_linker(workspace)?;
    let toolchain = Toolchain::find()?;
    let target_dir = out_dir.join("ebpf");
    compile(&toolchain, workspace, &linker, &target_dir)?;

    let built = target_dir.join(TARGET).join("release").join(BINARY);
    let object = out_dir.join(format!("{BINARY}.o"));
    std::fs::copy(&built, &object)
        .map_err(|error| format!("cannot copy {} to {}: {error}", built.display(), object.display()))?;
    Ok(())
}

/// What a rebuild depends on.
fn watch(workspace: &Path) {
    let paths = ["interceptor/build.rs", "interceptor-ebpf/Cargo.toml", "interceptor-ebpf/src", "Cargo.lock"];
    for path in paths {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
}

/// The compiler for the kernel programs.
enum Toolchain {
    /// `cargo` and `rustc` of a rustup toolchain.
    Rustup(&'static str),
    /// Debian's, allowed to build core by `RUSTC_BOOTSTRAP`.
    Debian,
}

impl Toolchain {
    fn find() -> Result<Self> {
        if has_core_source(Command::new("rustup").args(["run", "nightly", "rustc"])) {
            return Ok(Self::Rustup("nightly"));
        }
        if Path::new(Self::DEBIAN_CARGO).exists() && has_core_source(&mut Command::new(Self::DEBIAN_RUSTC)) {
            return Ok(Self::Debian);
        }
        Err(format!(
            "they need a nightly toolchain with rust-src (`rustup toolchain install nightly --component rust-src`) or \
             Debian's packages rustc-web, cargo-web and rust-web-src; {REMEDY}"
        ))
    }

    const DEBIAN_CARGO: &str = "/usr/bin/cargo";
    const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

    fn cargo(&self) -> Command {
        let mut command;
        match self {
            Self::Rustup(toolchain) => {
                command = Command::new("rustup");
                command.args(["run", toolchain, "cargo"]);
            }
            Self::Debian => command = Command::new(Self::DEBIAN_CARGO),
        }
        scrub(&mut command);
        if matches!(self, Self::Debian) {
            // PATH may hold rustup's compiler first.
            command.env("RUSTC", Self::DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

/// Whether the compiler works and its installation holds the source of core.
fn has_core_source(rustc: &mut Command) -> bool {
    scrub(rustc);
    let Ok(output) = rustc.args(["--print", "sysroot"]).output() else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    output.status.success() && Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

fn scrub(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let cargo = text.starts_with("CARGO") && !KEPT.iter().any(|kept| text.starts_with(kept));
        if cargo || SCRUBBED.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
}

/// The workspace's own copy, which `cargo xtask setup` builds against the compiler's LLVM, else that of PATH.
fn find_linker(workspace: &Path) -> Result<PathBuf> {
    let own = workspace.join("target/tools/bin").join(LINKER);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(own.clone())
        .chain(env::split_paths(&path).map(|directory| directory.join(LINKER)))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("`{LINKER}` is neither at {} nor on PATH; {REMEDY}", own.display()))?;
    println!("cargo::rerun-if-changed={}", found.display());
    Ok(found)
}

fn compile(toolchain: &Toolchain, workspace: &Path, linker: &Path, target_dir: &Path) -> Result<()> {
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--quiet", "--package", "interceptor-ebpf", "--bin", BINARY, "--release"])
        .args(["--no-default-features", "--features", "programs", "--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(linker)?)
        // bpf-linker optimises the program as a whole; BTF is made from the debug information.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "full");
    let output = cargo.output().map_err(|error| format!("cannot start {cargo:?}: {error}; {REMEDY}"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut message = format!("cargo ended with {}", output.status);
    let log = String::from_utf8_lossy(&output.stderr);
    if log.contains("Invalid record") || log.contains("Unknown attribute kind") || log.contains("invalid bitcode") {
        let _ = write!(message, "; {} has another LLVM than the compiler: {REMEDY}", linker.display());
    }
    Err(format!("{message}\n{log}"))
}

fn rustflags(linker: &Path) -> Result<OsString> {
    // The layouts of the kernel's own structures, which no program here reads; aya's bindings ask for it.
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let mut flags = OsString::from("-Clinker=");
    flags.push(linker);
    flags.push("\x1f-Clink-arg=--btf\x1f");
    flags.push(format!("--cfg=bpf_target_arch=\"{arch}\""));
    Ok(flags)
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
