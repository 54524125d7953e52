//! Whom the daemon trusts: the system's roots without the internal CA, and configured ones.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` are ignored: on an enrolled host they point at a bundle with the internal CA in it.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls_native_certs::load_certs_from_paths;

/// Where distributions keep the bundle of all roots: Debian and Alpine, Fedora and RHEL, SUSE, older Alpine.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The roots that endpoints are verified against.
#[derive(Clone, Debug)]
pub struct Roots(RootCertStore);

/// Why the roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A configured file cannot be read, or has no certificate in it.
    #[error("cannot use {path} as trust roots: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing to verify endpoints against.
    #[error("no trust roots: install the package ca-certificates, or configure a file with roots")]
    Empty,
}

impl Roots {
    /// The system's roots and those in the PEM files `extra`, all without `own`, the certificates of the internal CA: an
    /// endpoint that shows a certificate of our own is an interceptor, not an endpoint.
    ///
    /// # Errors
    /// When an `extra` file has no usable certificate, or there are no roots at all.
    pub fn system(extra: &[PathBuf], own: &[CertificateDer<'_>]) -> Result<Self, RootsError> {
        let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
        Self::load(bundle, extra, own)
    }

    /// The roots in the PEM files `files` and no others, without `own`.
    ///
    /// # Errors
    /// When a file has no usable certificate, or all are the internal CA's.
    pub fn only(files: &[PathBuf], own: &[CertificateDer<'_>]) -> Result<Self, RootsError> {
        Self::load(None, files, own)
    }

    pub(super) fn load(
        bundle: Option<&Path>,
        extra: &[PathBuf],
        own: &[CertificateDer<'_>],
    ) -> Result<Self, RootsError> {
        let mut store = RootCertStore::empty();
        if let Some(path) = bundle {
            let found = load_certs_from_paths(Some(path), None);
            for error in &found.errors {
                log::warn!("trust roots in {}: {error}", path.display());
            }
            // Some roots of every distribution are too odd for webpki; the rest is what counts.
            let (_, ignored) = store.add_parsable_certificates(found.certs);
            log::debug!("{} trust roots from {}, {ignored} unusable", store.len(), path.display());
        }
        for path in extra {
            add_file(&mut store, path)?;
        }
        own.iter().for_each(|ca| remove(&mut store, ca));
        if store.is_empty() { Err(RootsError::Empty) } else { Ok(Self(store)) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: an empty set is an error on loading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.0.roots
    }

    pub(super) fn into_store(self) -> RootCertStore {
        self.0
    }
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    let failed = |reason: String| RootsError::File { path: path.to_path_buf(), reason };
    let found = load_certs_from_paths(Some(path), None);
    if let Some(error) = found.errors.first() {
        return Err(failed(error.to_string()));
    }
    if found.certs.is_empty() {
        return Err(failed("it has no certificate (PEM) in it".into()));
    }
    for certificate in found.certs {
        store.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// Removes every root with the key of `ca`: the certificate itself and any other made from that key.
fn remove(store: &mut RootCertStore, ca: &CertificateDer<'_>) {
    let mut only = RootCertStore::empty();
    if only.add(ca.clone().into_owned()).is_err() {
        return;
    }
    let key = &only.roots[0].subject_public_key_info;
    store.roots.retain(|root| root.subject_public_key_info != *key);
}
