//! The internal CA of one host: what it may sign is written into its certificate, so a stolen key is worth no more than
//! the enrolled names.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::sys::{SecretFileError, create_secret_file, read_secret_file, secret_dir};

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
    permitted: Vec<String>,
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
}

const ROTATE: &str = "stop the daemon, move ca.pem and ca.key away, start it again (it makes a new CA), and install \
                      the new certificate in the clients' trust stores";

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
    /// (`*.` in front is ignored), for two years, and for no IP address. `host` names it in trust stores.
    ///
    /// # Errors
    /// See [`AuthorityError`]; in particular when the CA on disk does not cover a permitted name.
    pub fn load_or_create(dir: &Path, permitted: &[String], host: &str) -> Result<Self, AuthorityError> {
        let permitted = permitted.iter().map(|name| constraint(name)).collect::<Result<Vec<_>, _>>()?;
        if permitted.is_empty() {
            return Err(AuthorityError::NoNames);
        }
        secret_dir(dir)?;
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
        let authority = Self::load(&paths.0, key)?;
        let names: Vec<_> = permitted.into_iter().filter(|name| !authority.covers(name)).collect();
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
        let permitted = permitted_names(&parsed).ok_or_else(|| unusable("has no name constraints"))?;
        match parsed.validity().time_to_expiration() {
            // Also when the clock is before its beginning.
            None => return Err(AuthorityError::Expired { path: path.to_path_buf() }),
            Some(left) if left < EXPIRY_WARNING => {
                log::warn!("the internal CA {} expires within 30 days: {ROTATE}", path.display());
            }
            Some(_) => {}
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate, pem, permitted })
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

    /// Whether the name constraints let the CA sign for `name` (RFC 5280, section 4.2.1.10).
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.permitted.iter().any(|base| {
            name.strip_suffix(base.as_str()).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        })
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

fn issue(key: &KeyPair, permitted: &[String], host: &str) -> Result<rcgen::Certificate, rcgen::Error> {
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
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        // DNS constraints say nothing about addresses.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
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

/// The form of a configured name in the constraints: lower case, subdomains implied.
fn constraint(name: &str) -> Result<String, AuthorityError> {
    let base = name.strip_prefix("*.").unwrap_or(name).trim_end_matches('.').to_ascii_lowercase();
    match DnsName::try_from(base.as_str()) {
        Ok(_) => Ok(base),
        Err(_) => Err(AuthorityError::BadName { name: name.into() }),
    }
}

fn permitted_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let constraints = certificate.name_constraints().ok()??.value;
    let names = constraints.permitted_subtrees.as_ref()?.iter().filter_map(|subtree| match subtree.base {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Some(names.collect())
}

fn parse_key(pem: &[u8], path: &Path) -> Result<KeyPair, AuthorityError> {
    let unusable = || AuthorityError::Unusable { path: path.to_path_buf(), reason: "not a private key".into() };
    let pem = std::str::from_utf8(pem).map_err(|_| unusable())?;
    KeyPair::from_pem(pem).map_err(|_| unusable())
}
