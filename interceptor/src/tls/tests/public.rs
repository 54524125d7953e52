//! A public CA of these tests, and endpoints with certificates by it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tempfile::TempDir;
use tokio::io::duplex;

use super::super::{Alpn, ConnectError, Roots, UpstreamTls};
use super::{NAME, Pki, run, server_name};

pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A root, as a file of roots, or an intermediate.
pub(super) struct Ca {
    pub(super) dir: TempDir,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(&key);
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("root.pem"), certificate.pem()).unwrap();
        Self { dir, certificate: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// Of a CA with this key.
    pub(super) fn params(key: &KeyPair) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        let name = format!("CA {}", hex::encode(&key.public_key_raw()[1..9]));
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// An intermediate by this one, changed before it is signed.
    pub(super) fn intermediate(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = Self::params(&key);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { dir: tempfile::tempdir().unwrap(), certificate, issuer: Issuer::new(params, key) }
    }

    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// A certificate by this CA.
    pub(super) fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> CertificateDer<'static> {
        let mut params = params.clone();
        params.serial_number = Some(crate::tls::authority::serial());
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    pub(super) fn trusting(&self) -> UpstreamTls {
        let internal = Pki::new();
        UpstreamTls::new(Roots::load(None, &[self.file()], internal.authority.family()).unwrap()).unwrap()
    }
}

pub(super) fn server_params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// What an endpoint shows, right or wrong.
#[derive(Debug)]
pub(super) struct Shown(Arc<CertifiedKey>);

impl Shown {
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Self(Arc::new(CertifiedKey::new(chain, key)))
    }

    pub(super) fn stapled(self, response: Vec<u8>) -> Self {
        Self(Arc::new(CertifiedKey { ocsp: Some(response), ..(*self.0).clone() }))
    }

    /// An endpoint that speaks TLS 1.2 and 1.3.
    pub(super) fn server(self) -> Arc<ServerConfig> {
        self.server_of(rustls::ALL_VERSIONS)
    }

    pub(super) fn server_of(self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(self)))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

pub(super) fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    Shown::new(chain, key).server()
}

/// Connects as `tls` to an endpoint with this configuration.
pub(super) fn handshake(tls: &UpstreamTls, config: Arc<ServerConfig>) -> Result<(), ConnectError> {
    run(async {
        let (near, far) = duplex(1 << 16);
        let endpoint = tokio_rustls::TlsAcceptor::from(config);
        let asked = server_name(NAME);
        let ours = tls.connect(near, &asked, &[Alpn::Http11], None, LIMIT);
        let (ours, _theirs) = tokio::join!(ours, endpoint.accept(far));
        ours.map(drop)
    })
}
