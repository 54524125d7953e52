//! Client certificates and roots of one endpoint.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::{Alpn, CertificateFault, EndpointFiles, EndpointTls, UpstreamTls};
use super::public::{Ca, LIMIT, Shown, server_params};
use super::{NAME, Pki, run, server_name};

/// A client's certificate by `ca`, in files.
struct Identity {
    dir: TempDir,
    ca: Ca,
}

impl Identity {
    fn new(ca: Ca) -> Self {
        let (dir, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(["client.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        fs::write(dir.path().join("cert.pem"), params.signed_by(&key, &ca.issuer).unwrap().pem()).unwrap();
        crate::sys::create_secret_file(&dir.path().join("key.pem"), key.serialize_pem().as_bytes()).unwrap();
        Self { dir, ca }
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    fn load(&self) -> EndpointTls {
        load(Some((&self.certificate(), &self.key())), &[]).unwrap()
    }
}

fn load(client_certificate: Option<(&Path, &Path)>, roots: &[PathBuf]) -> Result<EndpointTls, String> {
    let files = EndpointFiles { client_certificate, roots };
    EndpointTls::load(&files, Pki::new().authority.family()).map_err(|error| error.to_string())
}

/// An endpoint with a certificate by `ca` that wants one by a CA of `clients`.
fn wanting(ca: &Ca, clients: &[&Ca], version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    clients.iter().for_each(|ca| roots.add(ca.certificate.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = KeyPair::generate().unwrap();
    let shown = Shown::new(vec![ca.sign(&server_params(&[NAME]), &key)], &key);
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_client_cert_verifier(verifier.build().unwrap()).with_cert_resolver(Arc::new(shown));
    // Otherwise a session is bound to a certificate by its storage alone.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
}

/// One connection: whether it was resumed, or why it failed. The endpoint refuses a client at its first record only.
fn connect(
    tls: &UpstreamTls,
    config: &Arc<ServerConfig>,
    endpoint: Option<&EndpointTls>,
) -> Result<HandshakeKind, String> {
    run(async {
        let (near, far) = duplex(1 << 16);
        let theirs = async {
            let mut theirs = tokio_rustls::TlsAcceptor::from(Arc::clone(config)).accept(far).await.ok()?;
            theirs.write_all(b"x").await.ok()?;
            theirs.flush().await.ok()?;
            Some(theirs)
        };
        let asked = server_name(NAME);
        let (ours, _theirs) = tokio::join!(tls.connect(near, &asked, &[Alpn::H2], endpoint, LIMIT), theirs);
        let mut ours = ours.map_err(|error| error.to_string())?;
        ours.read_u8().await.map_err(|error| error.to_string())?;
        Ok(ours.get_ref().1.handshake_kind().unwrap())
    })
}

#[test]
fn an_endpoint_that_wants_a_certificate_gets_the_configured_one_and_no_session_of_another() {
    let ca = Ca::new();
    let (one, two) = (Identity::new(Ca::new()), Identity::new(Ca::new()));
    for version in rustls::ALL_VERSIONS {
        let (tls, config) = (ca.trusting(), wanting(&ca, &[&one.ca, &two.ca], version));
        let refusal = connect(&tls, &config, None).unwrap_err();
        assert!(refusal.contains("CertificateRequired") || refusal.contains("HandshakeFailure"), "{refusal}");
        let (one, again, two) = (one.load(), one.load(), two.load());
        assert_eq!(connect(&tls, &config, Some(&one)), Ok(HandshakeKind::Full), "{version:?}");
        assert_eq!(connect(&tls, &config, Some(&again)), Ok(HandshakeKind::Resumed), "{version:?}");
        assert_eq!(connect(&tls, &config, Some(&two)), Ok(HandshakeKind::Full), "{version:?}");
        assert!(connect(&tls, &config, None).is_err(), "{version:?}");
        assert!(one == again && one != two);
    }
}

#[test]
fn an_endpoint_that_wants_none_is_shown_none() {
    let (ca, one) = (Ca::new(), Identity::new(Ca::new()));
    let key = KeyPair::generate().unwrap();
    let config = super::public::server(vec![ca.sign(&server_params(&[NAME]), &key)], &key);
    assert_eq!(connect(&ca.trusting(), &config, Some(&one.load())), Ok(HandshakeKind::Full));
}

#[test]
fn an_endpoint_with_roots_of_its_own_is_verified_by_no_others() {
    let (public, private) = (Ca::new(), Ca::new());
    let tls = public.trusting();
    let own = load(None, &[private.file()]).unwrap();
    let by = |ca: &Ca| {
        let key = KeyPair::generate().unwrap();
        super::public::server(vec![ca.sign(&server_params(&[NAME]), &key)], &key)
    };
    assert_eq!(connect(&tls, &by(&public), None), Ok(HandshakeKind::Full));
    assert_eq!(connect(&tls, &by(&private), Some(&own)), Ok(HandshakeKind::Full));
    for (ca, endpoint) in [(&public, Some(&own)), (&private, None)] {
        let refusal = connect(&tls, &by(ca), endpoint).unwrap_err();
        assert!(refusal.contains(CertificateFault::UnknownIssuer.as_str()), "{refusal}");
    }
    assert_ne!(own, load(None, &[public.file()]).unwrap());
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let (one, two) = (Identity::new(Ca::new()), Identity::new(Ca::new()));
    let (certificate, key, missing) = (one.certificate(), one.key(), one.dir.path().join("missing.pem"));
    let (empty, link) = (one.dir.path().join("empty.pem"), one.dir.path().join("link.pem"));
    crate::sys::create_secret_file(&empty, b"nothing").unwrap();
    symlink(&key, &link).unwrap();
    let cases: [(&Path, &Path, &[&str]); 6] = [
        (&missing, &key, &["client_certificate", "missing.pem", "cannot be read"]),
        (&empty, &key, &["client_certificate", "empty.pem", "no certificate"]),
        (&certificate, &missing, &["client_key", "missing.pem"]),
        (&certificate, &empty, &["client_key", "empty.pem", "no private key"]),
        (&certificate, &link, &["client_key", "link.pem", "regular file"]),
        (&certificate, &two.key(), &["client_key", "key.pem", "does not belong to", "cert.pem"]),
    ];
    for (certificate, key, expected) in cases {
        let message = load(Some((certificate, key)), &[]).unwrap_err();
        assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    }
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let message = load(Some((&certificate, &key)), &[]).unwrap_err();
    assert!(message.contains("client_key") && message.contains("chmod 0600"), "{message}");
    let message = load(None, &[missing]).unwrap_err();
    assert!(message.contains("roots") && message.contains("missing.pem"), "{message}");
}
