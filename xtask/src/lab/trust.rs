//! Makes the lab's clients trust the internal CA the way an enrolled host does: through the system's own files and
//! the environment variables that runtimes with a bundle of their own look at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{java, mounts};
use crate::workspace;

/// The system's bundle files: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// OpenSSL's directory of certificates, found by the hash of the subject.
const HASHED: &str = "/etc/ssl/certs";

/// Variables that name a bundle. Most *replace* the runtime's own store, hence system and internal CA in one file.
const VARIABLES: [&str; 16] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CODEX_CA_CERTIFICATE",
    "BUNDLE_SSL_CA_CERT",
];

/// Where the combined bundle is, for the variables.
#[derive(Debug)]
pub(crate) struct Trust {
    bundle: PathBuf,
}

impl Trust {
    /// Puts system and internal CA together and shows them in the place of the system's files; the process must be in
    /// the lab's mount namespace. `scratch` keeps the combined file.
    pub(crate) fn install(ca: &Path, scratch: &Path) -> Result<Self> {
        let internal = fs::read_to_string(ca)
            .with_context(|| format!("the daemon runs but left no CA certificate at {}", ca.display()))?;
        let system = BUNDLES.iter().map(Path::new).find(|path| path.is_file());
        let mut combined = match system {
            Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => String::new(),
        };
        if !combined.is_empty() && !combined.ends_with('\n') {
            combined.push('\n');
        }
        combined.push_str(&internal);
        let file = scratch.join("ca-bundle.pem");
        fs::write(&file, combined).with_context(|| format!("cannot write {}", file.display()))?;

        let targets = existing_bundles();
        let stores = java::stores();
        hashed_directory(ca)?;
        for target in &targets {
            mounts::bind(&file, target)?;
        }
        if !stores.is_empty() {
            trust_in_java(&stores, &file, &scratch.join("cacerts"))?;
        }
        // The system's path is readable by every user; the state directory is not.
        Ok(Self { bundle: system.map_or(file, Path::to_path_buf) })
    }

    /// Points a client's environment at the combined bundle.
    pub(crate) fn apply(&self, command: &mut Command) {
        for variable in VARIABLES {
            command.env(variable, &self.bundle);
        }
        command.env_remove("SSL_CERT_DIR");
    }
}

/// The bundle files of this system, each once.
fn existing_bundles() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = BUNDLES.iter().filter_map(|path| Path::new(path).canonicalize().ok()).collect();
    found.sort();
    found.dedup();
    found
}

/// Shows a store of the certificates in `bundle` in the place of Java's, some of which went with OpenSSL's directory.
fn trust_in_java(stores: &[PathBuf], bundle: &Path, file: &Path) -> Result<()> {
    fs::write(file, java::store_of(bundle)?).with_context(|| format!("cannot write {}", file.display()))?;
    for store in stores {
        if let Some(directory) = store.parent().filter(|directory| directory.starts_with(HASHED)) {
            fs::create_dir_all(directory)?;
            fs::write(store, "")?;
        }
        mounts::bind(file, store)?;
    }
    Ok(())
}

/// Adds the CA to OpenSSL's directory: a copy in memory, with one certificate more, covers it.
fn hashed_directory(ca: &Path) -> Result<()> {
    let directory = Path::new(HASHED);
    if !directory.is_dir() {
        return Ok(());
    }
    let mut links = Vec::new();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {HASHED}"))? {
        let path = entry?.path();
        if path.is_symlink() {
            links.push((fs::read_link(&path)?, path));
        } else if path.is_file() {
            files.push((fs::read(&path)?, path));
        }
    }
    let hash = subject_hash(ca)?;
    mounts::tmpfs(directory)?;
    for (bytes, path) in files {
        fs::write(path, bytes)?;
    }
    for (target, path) in links {
        symlink(target, path)?;
    }
    let free = (0..).map(|number| directory.join(format!("{hash}.{number}"))).find(|path| !path.is_symlink());
    let place = free.context("no free name in the certificate directory")?;
    fs::copy(ca, &place).with_context(|| format!("cannot add the CA to {HASHED}"))?;
    Ok(())
}

fn subject_hash(ca: &Path) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-subject_hash", "-in"]).arg(ca);
    let hash = workspace::output(&mut command).context("openssl(1) is needed; `cargo xtask setup` installs it")?;
    let hash = hash.trim();
    if hash.len() != 8 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("openssl x509 -subject_hash printed {hash:?}");
    }
    Ok(hash.to_owned())
}
