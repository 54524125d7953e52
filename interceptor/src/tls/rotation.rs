//! Rotation of the internal CA, with overlap: the next CA is made and given to the clients before it signs; then it takes
//! the place of the present one, whose certificate stays listed until it expires.
//!
//! ```text
//! ca.pem, ca.key        signs                          ca.pem   <- next.pem
//! next.pem, next.key    announced       activate ->    ca.key   <- next.key    (the old key is gone)
//! previous.pem          signed once                    previous.pem has the old certificate too
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::authority::{AuthorityError, issue, parse_key};
use super::constraints::Constraints;
use crate::sys::{SecretFileError, create_secret_file, read_secret_file, secret_dir};

/// What a certificate in the CA's directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaRole {
    /// Leaves are signed by it.
    Signs,
    /// It will sign once it is activated. Clients are to be given it before.
    Next,
    /// It signed before, and has not expired yet.
    Previous,
}

/// A certificate in the CA's directory.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    /// What it is for.
    pub role: CaRole,
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The certificate, PEM.
    pub pem: String,
    /// Its subject.
    pub subject: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// The names and addresses that it may sign for.
    pub names: Vec<String>,
}

/// Why the CA cannot be rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The CA itself is at fault.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There is nothing to rotate.
    #[error("there is no internal CA in {dir}; the daemon makes it at its first start", dir = dir.display())]
    NoCa {
        /// The CA's directory.
        dir: PathBuf,
    },
    /// There is a next CA already, for other names.
    #[error(
        "the next CA was made for other names ({made}) than are enrolled now ({wanted}); activate it (--activate), or \
         discard it (--discard) and give clients another"
    )]
    OtherNext {
        /// The names in it.
        made: String,
        /// The enrolled names.
        wanted: String,
    },
    /// With the next CA the daemon would not start.
    #[error(
        "the next CA does not cover {}, which the daemon's configuration enrols; discard it (--discard), and make it \
         anew with that configuration (--config FILE)",
        .names.join(", ")
    )]
    Uncovered {
        /// The enrolled names outside of its constraints, at least one.
        names: Vec<String>,
    },
    /// Nothing was announced.
    #[error("there is no next CA; make it with `interceptor ca rotate`, and give it to the clients first")]
    NoNext,
    /// A file cannot be read, written or moved.
    #[error("cannot {verb} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl RotationError {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_path_buf(), source }
    }
}

impl From<SecretFileError> for RotationError {
    fn from(error: SecretFileError) -> Self {
        Self::Authority(error.into())
    }
}

/// The CA's directory, held: nobody else changes it, and no daemon reads it half changed.
#[derive(Debug)]
pub struct CaDir {
    dir: PathBuf,
    _lock: File,
}

/// All certificates in the CA's directory `dir` that clients should trust: the one that signs, the next, and those that
/// signed before and have not expired.
///
/// # Errors
/// When there is none, or a file cannot be read.
pub fn ca_certificates(dir: &Path) -> Result<Vec<CaCertificate>, RotationError> {
    let mut found = read_all(&dir.join("ca.pem"), CaRole::Signs)?;
    if found.is_empty() {
        return Err(RotationError::NoCa { dir: dir.to_path_buf() });
    }
    for (file, role) in [("next.pem", CaRole::Next), ("previous.pem", CaRole::Previous)] {
        for certificate in read_all(&dir.join(file), role)? {
            let listed = found.iter().any(|other| other.der == certificate.der);
            if !listed && (role == CaRole::Next || !certificate.has_expired()) {
                found.push(certificate);
            }
        }
    }
    Ok(found)
}

impl CaDir {
    /// Opens it, made when absent, waits until nobody else holds it, and completes an activation that was cut off.
    ///
    /// # Errors
    /// When it is open to others, or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, RotationError> {
        secret_dir(dir)?;
        let lock = File::open(dir).map_err(RotationError::io("open", dir))?;
        lock.lock().map_err(RotationError::io("lock", dir))?;
        let held = Self { dir: dir.to_path_buf(), _lock: lock };
        held.complete()?;
        Ok(held)
    }

    /// The next CA, made when there is none, for the `permitted` names and addresses. True when it was made now.
    ///
    /// # Errors
    /// When there is no present CA, or a next one for other names.
    pub fn announce(&self, permitted: &[String], host: &str) -> Result<(CaCertificate, bool), RotationError> {
        let wanted = Constraints::parse(permitted)?;
        if !self.path("ca.pem").exists() {
            return Err(RotationError::NoCa { dir: self.dir.clone() });
        }
        if let Some(next) = self.next()? {
            let (_, parsed) = X509Certificate::from_der(&next.der).map_err(|_| self.unusable("next.pem"))?;
            let made = Constraints::of(&parsed).is_some_and(|made| same(&made, &wanted));
            let (made_for, wanted) = (next.names.join(", "), wanted.list().join(", "));
            return if made { Ok((next, false)) } else { Err(RotationError::OtherNext { made: made_for, wanted }) };
        }
        let key = match read_secret_file(&self.path("next.key")) {
            // Of an announcement that was cut off before the certificate was there.
            Ok(pem) => parse_key(&pem, &self.path("next.key"))?,
            Err(error) if error.is_not_found() => {
                let key = KeyPair::generate().map_err(AuthorityError::from)?;
                create_secret_file(&self.path("next.key"), Zeroizing::new(key.serialize_pem()).as_bytes())?;
                key
            }
            Err(error) => return Err(error.into()),
        };
        let certificate = issue(&key, &wanted, host).map_err(AuthorityError::from)?;
        create_secret_file(&self.path("next.pem"), certificate.pem().as_bytes())?;
        let next = self.next()?.ok_or(RotationError::NoNext)?;
        Ok((next, true))
    }

    /// The next CA signs from now on; the key of the present one is removed.
    ///
    /// # Errors
    /// When there is no next CA, its key is not its own, or it does not cover the `permitted` names and addresses.
    pub fn activate(&self, permitted: &[String]) -> Result<(), RotationError> {
        let next = self.next()?.ok_or(RotationError::NoNext)?;
        let (_, parsed) = X509Certificate::from_der(&next.der).map_err(|_| self.unusable("next.pem"))?;
        let made = Constraints::of(&parsed).ok_or_else(|| self.unusable("next.pem"))?;
        let names = made.lacking(&Constraints::parse(permitted)?);
        if !names.is_empty() {
            return Err(RotationError::Uncovered { names });
        }
        let key = parse_key(&read_secret_file(&self.path("next.key"))?, &self.path("next.key"))?;
        if !belongs(&key, &next.der) {
            let reason = "does not belong to next.key; discard both (--discard)".into();
            return Err(AuthorityError::Unusable { path: self.path("next.pem"), reason }.into());
        }
        if next.has_expired() {
            return Err(AuthorityError::Expired { path: self.path("next.pem") }.into());
        }
        self.keep_previous()?;
        self.rename("next.key", "ca.key")?;
        self.rename("next.pem", "ca.pem")
    }

    /// Removes the next CA, which never signed. True when there was one.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn discard(&self) -> Result<bool, RotationError> {
        // The certificate first: without it a key is only one to be used.
        let gone = [self.remove("next.pem")?, self.remove("next.key")?];
        Ok(gone.contains(&true))
    }

    /// An activation that was cut off between its two renames leaves a certificate without a key: its key has become
    /// the present one.
    fn complete(&self) -> Result<(), RotationError> {
        let Some(next) = self.next()?.filter(|_| !self.path("next.key").exists()) else { return Ok(()) };
        let key = match read_secret_file(&self.path("ca.key")) {
            Ok(pem) => parse_key(&pem, &self.path("ca.key"))?,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if belongs(&key, &next.der) { self.rename("next.pem", "ca.pem") } else { Ok(()) }
    }

    /// Adds the present certificate to those that signed before, and forgets the expired.
    fn keep_previous(&self) -> Result<(), RotationError> {
        let (present, previous) = (self.path("ca.pem"), self.path("previous.pem"));
        let mut list = read_all(&present, CaRole::Previous)?;
        list.extend(read_all(&previous, CaRole::Previous)?);
        list.dedup_by(|one, other| one.der == other.der);
        let pem: String = list.iter().filter(|one| !one.has_expired()).map(|one| one.pem.as_str()).collect();
        self.remove("previous.new")?;
        create_secret_file(&self.path("previous.new"), pem.as_bytes())?;
        self.rename("previous.new", "previous.pem")
    }

    fn next(&self) -> Result<Option<CaCertificate>, RotationError> {
        Ok(read_all(&self.path("next.pem"), CaRole::Next)?.pop())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    fn unusable(&self, file: &str) -> AuthorityError {
        AuthorityError::Unusable { path: self.path(file), reason: "not a certificate".into() }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), RotationError> {
        let to = self.path(to);
        fs::rename(self.path(from), &to)
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(RotationError::io("replace", &to))
    }

    fn remove(&self, file: &str) -> Result<bool, RotationError> {
        let path = self.path(file);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(RotationError::io("remove", &path)(error)),
        }
    }
}

impl CaCertificate {
    fn read(role: CaRole, der: CertificateDer<'static>, path: &Path) -> Result<Self, AuthorityError> {
        let unusable = || AuthorityError::Unusable { path: path.to_path_buf(), reason: "not a certificate".into() };
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| unusable())?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &der).as_ref());
        Ok(Self {
            role,
            subject: parsed.subject().to_string(),
            serial: parsed.raw_serial_as_string(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            fingerprint,
            names: Constraints::of(&parsed).map(|constraints| constraints.list()).unwrap_or_default(),
            pem: armour(&der),
            der,
        })
    }

    fn has_expired(&self) -> bool {
        let parsed = X509Certificate::from_der(&self.der);
        !parsed.is_ok_and(|(_, certificate)| certificate.validity().is_valid())
    }
}

/// The certificates in a file; none when it is not there.
fn read_all(path: &Path, role: CaRole) -> Result<Vec<CaCertificate>, RotationError> {
    let pem = match fs::read(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RotationError::io("read", path)(error)),
    };
    let unusable = |_| AuthorityError::Unusable { path: path.to_path_buf(), reason: "not a certificate".into() };
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    Ok(certificates.into_iter().map(|der| CaCertificate::read(role, der, path)).collect::<Result<_, _>>()?)
}

fn belongs(key: &KeyPair, certificate: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

/// Whether both are for the same names, in whatever order.
fn same(one: &Constraints, other: &Constraints) -> bool {
    let sorted = |constraints: &Constraints| {
        let mut list = constraints.list();
        list.sort_unstable();
        list
    };
    sorted(one) == sorted(other)
}

/// PEM (RFC 7468).
fn armour(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
