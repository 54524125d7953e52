//! The internal CA of one host: what it may sign is written into its certificate, so a stolen key is worth no more than
//! the enrolled names.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::constraints::Constraints;
use super::rotation::{CaDir, RotationError, ca_certificates};
use crate::sys::{SecretFileError, create_secret_file, read_secret_file};

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

const VALIDITY: Duration = Duration::from_secs(2 * 365 * 86_400);

/// From here on, each start warns.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 86_400);

/// How far the clock of a client may be behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// The internal CA: its certificate, and the key that signs leaves.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    permitted: Constraints,
    /// Its own, the next one's, and those of CAs before it.
    family: Vec<CertificateDer<'static>>,
}

/// Why there is no usable internal CA.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The key file or its directory is missing, open to others, or unreadable.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The certificate cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The certificate file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Without names the CA would be unconstrained.
    #[error("no host name is enrolled, and a CA without name constraints is never made; configure an endpoint")]
    NoNames,
    /// A configured name cannot stand in a certificate.
    #[error("'{name}' is no DNS name, so the CA cannot be constrained to it")]
    BadName {
        /// The name.
        name: String,
    },
    /// The certificate on disk was made for other names.
    #[error(
        "{path} was made for other names; it does not cover {}: {ROTATE}; or capture only what it covers \
         (capture.catalogue, [[endpoint]])",
        list(.names), path = path.display()
    )]
    NotCovered {
        /// The certificate file.
        path: PathBuf,
        /// The enrolled names outside of its constraints, at least one.
        names: Vec<String>,
    },
    /// Its time is over, or the clock is wrong.
    #[error("{path} has expired, or the clock is wrong: {ROTATE}", path = path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
    },
    /// One file without the other, or not the two halves of one key pair, or not what we write.
    #[error("{path}: {reason}: {ROTATE}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate could not be made.
    #[error("cannot make the CA certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// What the directory holds besides cannot be used.
    #[error(transparent)]
    Directory(Box<RotationError>),
}

impl From<RotationError> for AuthorityError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Authority(error) => error,
            other => Self::Directory(Box::new(other)),
        }
    }
}

const ROTATE: &str = "make the next CA (`interceptor ca rotate`), install its certificate in the clients' trust stores, \
                      let it sign (`interceptor ca rotate --activate`), and start the daemon again";

/// The first few names.
fn list(names: &[String]) -> String {
    const FEW: usize = 3;
    let few = names.iter().take(FEW).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(FEW) {
        0 => few,
        more => format!("{few} and {more} more"),
    }
}

impl Authority {
    /// The CA in `dir`, made when there is none. It may sign for the `permitted` DNS names and the names below them
    /// (`*.` in front is ignored), for permitted addresses and prefixes and no others, for two years. `host` names it in
    /// trust stores.
    ///
    /// # Errors
    /// See [`AuthorityError`]; in particular when the CA on disk does not cover a permitted name.
    pub fn load_or_create(dir: &Path, permitted: &[String], host: &str) -> Result<Self, AuthorityError> {
        let permitted = Constraints::parse(permitted)?;
        let _held = CaDir::open(dir)?;
        let paths = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        let key = match read_secret_file(&paths.1) {
            Ok(pem) => parse_key(&pem, &paths.1)?,
            Err(error) if error.is_not_found() && !paths.0.exists() => {
                let key = KeyPair::generate()?;
                let pem = Zeroizing::new(key.serialize_pem());
                create_secret_file(&paths.1, pem.as_bytes())?;
                key
            }
            Err(error) if error.is_not_found() => {
                return Err(AuthorityError::Unusable { path: paths.0, reason: "has no ca.key beside it".into() });
            }
            Err(error) => return Err(error.into()),
        };
        if !paths.0.exists() {
            // Also after a crash between the two files: the key is whole, so it is used.
            let certificate = issue(&key, &permitted, host)?;
            create_secret_file(&paths.0, certificate.pem().as_bytes())?;
            log::info!("made a new internal CA, {}", paths.0.display());
        }
        let mut authority = Self::load(&paths.0, key)?;
        authority.family = ca_certificates(dir)?.into_iter().map(|one| one.der).collect();
        let names = authority.permitted.lacking(&permitted);
        if names.is_empty() { Ok(authority) } else { Err(AuthorityError::NotCovered { path: paths.0, names }) }
    }

    fn load(path: &Path, key: KeyPair) -> Result<Self, AuthorityError> {
        let unusable = |reason: &str| AuthorityError::Unusable { path: path.to_path_buf(), reason: reason.into() };
        let pem = std::fs::read_to_string(path)
            .map_err(|source| AuthorityError::Read { path: path.to_path_buf(), source })?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable("not a certificate"))?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| unusable("not an X.509 certificate"))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unusable("does not belong to ca.key"));
        }
        let permitted = Constraints::of(&parsed).ok_or_else(|| unusable("has no name constraints"))?;
        match parsed.validity().time_to_expiration() {
            // Also when the clock is before its beginning.
            None => return Err(AuthorityError::Expired { path: path.to_path_buf() }),
            Some(left) if left < EXPIRY_WARNING => {
                log::warn!("the internal CA {} expires within 30 days: {ROTATE}", path.display());
            }
            Some(_) => {}
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let family = vec![certificate.clone()];
        Ok(Self { issuer, certificate, pem, permitted, family })
    }

    /// The certificate to install in trust stores, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificates that none but interceptors of this host may have: its own, the next one's and those of the CAs
    /// before it.
    #[must_use]
    pub fn family(&self) -> &[CertificateDer<'static>] {
        &self.family
    }

    /// Whether the name constraints let the CA sign for `name`, which may be an address.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.permitted.cover(name)
    }

    /// Days until the certificate expires; none when it has expired, or the clock is wrong.
    #[must_use]
    pub fn days_left(&self) -> Option<i64> {
        let (_, parsed) = X509Certificate::from_der(&self.certificate).ok()?;
        Some(parsed.validity().time_to_expiration()?.whole_days())
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("permitted", &self.permitted).finish_non_exhaustive()
    }
}

/// A random serial number: positive, 127 bits (RFC 5280, section 4.1.2.2).
pub(super) fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's randomness does not fail");
    // Positive, and without a leading zero byte.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

pub(super) fn issue(key: &KeyPair, permitted: &Constraints, host: &str) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + VALIDITY).into();
    let serial = serial();
    params.distinguished_name = subject(host, &serial);
    params.serial_number = Some(serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(permitted.extension());
    params.self_signed(key)
}

/// `CN=Interceptor CA <host> <first bytes of the serial>`: distinct for each CA, as trust stores look issuers up by
/// name. A common name has at most 64 characters.
fn subject(host: &str, serial: &SerialNumber) -> DistinguishedName {
    let tag = hex::encode(&serial.to_bytes()[..4]);
    let host: String = host.chars().filter(char::is_ascii_graphic).take(40).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Interceptor");
    name.push(DnType::CommonName, format!("Interceptor CA {host} {tag}"));
    name
}

pub(super) fn parse_key(pem: &[u8], path: &Path) -> Result<KeyPair, AuthorityError> {
    let unusable = || AuthorityError::Unusable { path: path.to_path_buf(), reason: "not a private key".into() };
    let pem = std::str::from_utf8(pem).map_err(|_| unusable())?;
    KeyPair::from_pem(pem).map_err(|_| unusable())
}
