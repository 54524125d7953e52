//! Making leaves, and choosing among them the one that a client can verify.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
    SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme, SupportedCipherSuite};

use super::MintError;
use super::authority::{Authority, BACKDATE, serial};

/// As long as public authorities give, so that no client finds it odd. The key never leaves the memory of this process.
pub(super) const VALIDITY: Duration = Duration::from_secs(90 * 86_400);

/// Longest common name (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// What an RSA leaf can sign a handshake with.
const RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// Signs leaves. One key of a kind for all leaves of this process: it never leaves its memory, so whoever could read one
/// leaf's key could read all of them; separate keys would cost a generation each and protect nothing.
pub(super) struct Minter {
    authority: Arc<Authority>,
    provider: Arc<CryptoProvider>,
    ecdsa: Key,
    /// For clients that know no ECDSA. Made when the first one comes, for it takes a tenth of a second.
    rsa: OnceLock<Option<Key>>,
}

struct Key {
    pair: KeyPair,
    signing: Arc<dyn SigningKey>,
}

/// The leaves of one name.
pub(super) struct Leaves {
    minter: Arc<Minter>,
    name: ServerName<'static>,
    ecdsa: Arc<CertifiedKey>,
    rsa: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl Minter {
    pub(super) fn new(authority: Arc<Authority>, provider: Arc<CryptoProvider>) -> Result<Self, MintError> {
        let ecdsa = Key::new(KeyPair::generate()?, &provider)?;
        Ok(Self { authority, provider, ecdsa, rsa: OnceLock::new() })
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Leaves for `name`: an ECDSA one now, an RSA one when it is asked for.
    pub(super) fn leaves(self: &Arc<Self>, name: ServerName<'static>) -> Result<Leaves, MintError> {
        let ecdsa = self.mint(&name, &self.ecdsa)?;
        Ok(Leaves { minter: Arc::clone(self), name, ecdsa, rsa: OnceLock::new() })
    }

    pub(super) fn has_rsa_key(&self) -> bool {
        self.rsa.get().is_some()
    }

    /// Makes the key of the RSA leaves where there is none yet, which takes a while.
    pub(super) fn make_rsa_key(&self) {
        let _ = self.rsa();
    }

    fn rsa(&self) -> Option<&Key> {
        let make = || Key::new(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?, &self.provider);
        let key = self.rsa.get_or_init(|| make().inspect_err(|e| log::error!("no key for RSA leaves: {e}")).ok());
        key.as_ref()
    }

    fn mint(&self, name: &ServerName<'_>, key: &Key) -> Result<Arc<CertifiedKey>, MintError> {
        let now = SystemTime::now();
        let text = name.to_str();
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + VALIDITY).into();
        params.serial_number = Some(serial());
        params.subject_alt_names = vec![match name {
            ServerName::IpAddress(ip) => SanType::IpAddress((*ip).into()),
            _ => SanType::DnsName((&*text).try_into()?),
        }];
        params.distinguished_name = rcgen::DistinguishedName::new();
        // OpenSSL takes an address there for a DNS name, which the constraints do not permit.
        if matches!(name, ServerName::DnsName(_)) && text.len() <= MAX_COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, &*text);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf: CertificateDer<'static> = params.signed_by(&key.pair, self.authority.issuer())?.into();
        // The CA goes along for clients that were given it as an intermediate.
        let chain = vec![leaf, self.authority.certificate_der().clone()];
        Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(&key.signing))))
    }
}

impl Key {
    fn new(pair: KeyPair, provider: &CryptoProvider) -> Result<Self, MintError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let signing = provider.key_provider.load_private_key(der)?;
        Ok(Self { pair, signing })
    }
}

impl Leaves {
    fn rsa(&self) -> Option<&Arc<CertifiedKey>> {
        let make = || {
            let minted = self.minter.mint(&self.name, self.minter.rsa()?);
            minted.inspect_err(|e| log::error!("no RSA leaf for '{}': {e}", self.name.to_str())).ok()
        };
        self.rsa.get_or_init(make).as_ref()
    }
}

impl ResolvesServerCert for Leaves {
    /// ECDSA where the client can verify it, else RSA. What rustls gives here are the schemes that go with the cipher
    /// suites which the client offers.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        if self.ecdsa.key.choose_scheme(offered).is_some() {
            return Some(Arc::clone(&self.ecdsa));
        }
        // A client that can verify neither is told so by the handshake.
        let rsa = offered.iter().any(|scheme| RSA_SCHEMES.contains(scheme));
        let leaf = if rsa { self.rsa() } else { None };
        Some(Arc::clone(leaf.unwrap_or(&self.ecdsa)))
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether a client that says this can verify no ECDSA leaf: it does not offer the algorithm, or no cipher suite that
/// goes with it.
pub(super) fn knows_no_ecdsa(hello: &ClientHello<'_>, ours: &[SupportedCipherSuite]) -> bool {
    let schemes = hello.signature_schemes();
    let mut suites = ours.iter().filter(|suite| hello.cipher_suites().contains(&suite.suite()));
    !schemes.contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
        || !suites.any(|suite| suite.usable_for_signature_algorithm(SignatureAlgorithm::ECDSA))
}
