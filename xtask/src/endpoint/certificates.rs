//! The endpoint's certificates: one for each name asked for, from a CA that only the daemon is told about.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::alpn::Offer;
use crate::lab::names::{ENROLLED, UNTRUSTED_CA, WRONG_CERTIFICATE};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// The CA, its key in memory only.
pub(crate) struct Authority {
    known: Issuer,
    unknown: Issuer,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { known: ca("Interceptor lab endpoint CA")?, unknown: ca("A CA nobody knows")? })
    }

    /// The certificate to trust, in PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        self.known.pem()
    }

    /// A TLS 1.2 and 1.3 server that mints certificates as they are asked for.
    pub(crate) fn server_config(self, offer: &Offer) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver { authority: self, minted: Mutex::default() }));
        config.alpn_protocols = offer.protocols();
        Ok(Arc::new(config))
    }

    fn mint(&self, asked: &str) -> Result<CertifiedKey> {
        let (issuer, name) = match asked {
            WRONG_CERTIFICATE => (&self.known, "another-name.lab.example"),
            UNTRUSTED_CA => (&self.unknown, asked),
            name => (&self.known, name),
        };
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = aws_lc_rs::sign::any_supported_type(&key).context("the minted key does not suit TLS")?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

fn ca(name: &str) -> Result<Issuer> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("cannot make the endpoint's CA")
}

struct Resolver {
    authority: Authority,
    minted: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Without a name it answers as the first of its names, as a real server answers with its default certificate.
        let name = hello.server_name().unwrap_or(ENROLLED[0].name);
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = minted.get(name) {
            return Some(Arc::clone(found));
        }
        match self.authority.mint(name) {
            Ok(key) => {
                let key = Arc::new(key);
                minted.insert(name.to_owned(), Arc::clone(&key));
                Some(key)
            }
            Err(error) => {
                eprintln!("endpoint: no certificate for {name}: {error:#}");
                None
            }
        }
    }
}
