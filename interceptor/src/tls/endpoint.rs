//! What TLS with one endpoint has of its own: a certificate that we show it, and roots that its own must chain to.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Roots, RootsError};
use crate::sys::{SecretFileError, read_secret_file};

/// The files that one endpoint's configuration names.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointFiles<'a> {
    /// The certificate that the daemon shows the endpoint, with its chain (PEM), and the private key (PEM).
    pub client_certificate: Option<(&'a Path, &'a Path)>,
    /// PEM files with the only roots that the endpoint's certificate may chain to. Empty: those of all endpoints.
    pub roots: &'a [PathBuf],
}

/// A client certificate, roots, or both, for one endpoint. Two that were loaded from the same contents are equal;
/// connections and sessions may be shared between equal ones, and never otherwise.
#[derive(Clone)]
pub struct EndpointTls {
    id: [u8; 32],
    identity: Option<Arc<CertifiedKey>>,
    roots: Option<Roots>,
}

/// Why an endpoint's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointTlsError {
    /// The client's certificate cannot be read, or is none.
    #[error("client_certificate: {path}: {reason}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is open to others, or cannot be read.
    #[error("client_key: {0}")]
    KeyFile(#[from] SecretFileError),
    /// The private key is none, or another's.
    #[error("client_key: {path}: {reason}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of roots cannot be used.
    #[error("roots: {0}")]
    Roots(#[from] RootsError),
}

impl EndpointTls {
    /// Reads the files. A certificate of the internal CA, which are `own`, is never a root, whatever they say.
    ///
    /// # Errors
    /// See [`EndpointTlsError`].
    pub fn load(files: &EndpointFiles<'_>, own: &[CertificateDer<'_>]) -> Result<Self, EndpointTlsError> {
        let identity = match files.client_certificate {
            Some((certificate, key)) => Some(Arc::new(identity(certificate, key)?)),
            None => None,
        };
        let roots = match files.roots {
            [] => None,
            files => Some(Roots::only(files, own)?),
        };
        Ok(Self { id: digest(identity.as_deref(), roots.as_ref()), identity, roots })
    }

    pub(super) fn id(&self) -> [u8; 32] {
        self.id
    }

    pub(super) fn identity(&self) -> Option<&Arc<CertifiedKey>> {
        self.identity.as_ref()
    }

    pub(super) fn roots(&self) -> Option<&Roots> {
        self.roots.as_ref()
    }
}

impl PartialEq for EndpointTls {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for EndpointTls {}

impl Hash for EndpointTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl std::fmt::Debug for EndpointTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roots = self.roots.as_ref().map(Roots::len);
        f.debug_struct("EndpointTls").field("identity", &self.identity.is_some()).field("roots", &roots).finish()
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<CertifiedKey, EndpointTlsError> {
    let no_certificate = |reason: String| EndpointTlsError::Certificate { path: certificate.to_path_buf(), reason };
    let no_key = |reason: &str| EndpointTlsError::Key { path: key.to_path_buf(), reason: reason.into() };
    let pem = std::fs::read(certificate).map_err(|error| no_certificate(format!("cannot be read: {error}")))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| no_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(no_certificate("has no certificate (PEM) in it".into()));
    }
    let pem = read_secret_file(key)?;
    let private =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key("has no private key (PEM, not encrypted) in it"))?;
    CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => no_key(&format!("does not belong to {}", certificate.display())),
        rustls::Error::InvalidCertificate(reason) => no_certificate(reason.to_string()),
        other => no_key(&other.to_string()),
    })
}

/// Names the contents. A private key needs no place in it, for it belongs to the certificate.
fn digest(identity: Option<&CertifiedKey>, roots: Option<&Roots>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    let chain = identity.map_or(&[][..], |identity| &identity.cert);
    chain.iter().for_each(|certificate| add(certificate));
    add(b"roots");
    for root in roots.into_iter().flat_map(Roots::anchors) {
        add(&root.subject);
        add(&root.subject_public_key_info);
        add(root.name_constraints.as_ref().map_or(&[][..], |constraints| constraints));
    }
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    id
}
