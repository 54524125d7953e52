//! Endpoints with good and bad certificates; OpenSSL's server as a foreign stack.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::{Alpn, CertificateFault, ConnectError, Roots, RootsError, UpstreamTls};
use super::public::{Ca, LIMIT, handshake, server, server_params};
use super::{NAME, Pki, name, run, server_name};
use crate::sys::{Transport, connect};

#[test]
fn a_certificate_of_the_internal_ca_is_no_endpoints() {
    let (ca, pki) = (Ca::new(), Pki::new());
    let bundle = ca.dir.path().join("bundle.pem");
    let both = fs::read_to_string(ca.file()).unwrap() + pki.authority.certificate_pem();
    fs::write(&bundle, both).unwrap();
    let config = pki.leaves.server_config(&name(NAME), &[Alpn::Http11]).unwrap();

    let with = Roots::load(Some(&bundle), &[], Pki::new().authority.family()).unwrap();
    assert_eq!(with.len(), 2);
    handshake(&UpstreamTls::new(with).unwrap(), Arc::clone(&config)).unwrap();

    for (system, extra) in [(Some(&*bundle), vec![]), (None, vec![bundle.clone()])] {
        let without = Roots::load(system, &extra, pki.authority.family()).unwrap();
        assert_eq!(without.len(), 1);
        let error = handshake(&UpstreamTls::new(without).unwrap(), Arc::clone(&config)).unwrap_err();
        assert!(matches!(error, ConnectError::Certificate { fault: CertificateFault::UnknownIssuer, .. }), "{error}");
    }
}

#[test]
fn a_configured_file_that_gives_no_roots_is_an_error() {
    let (ca, pki) = (Ca::new(), Pki::new());
    let internal = pki.authority.family();
    let empty = ca.dir.path().join("empty.pem");
    fs::write(&empty, "no certificate").unwrap();
    for path in [empty, ca.dir.path().join("missing.pem")] {
        let error = Roots::load(None, std::slice::from_ref(&path), internal).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert!(matches!(Roots::load(None, &[], internal), Err(RootsError::Empty)));
    assert!(matches!(Roots::load(None, &[pki.ca_file()], internal), Err(RootsError::Empty)));
}

/// The variables count only at the start of a process, so this test runs itself again with them set.
#[test]
fn the_roots_of_the_environment_are_ignored() {
    const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
    const CHILD: &str = "INTERCEPTOR_TEST_ROOTS";
    let pki = Pki::new();
    if std::env::var_os(CHILD).is_none() {
        let name = "tls::tests::upstream::the_roots_of_the_environment_are_ignored";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").env(SSL_CERT_FILE, pki.ca_file());
        let output = child.env("SSL_CERT_DIR", pki.dir.path().join("ca")).output().unwrap();
        assert!(output.status.success() && super::text(&output).contains("1 passed"), "{}", super::text(&output));
        return;
    }
    let planted = fs::read(std::env::var_os(SSL_CERT_FILE).unwrap()).unwrap();
    let planted = CertificateDer::from_pem_slice(&planted).unwrap();
    let internal = pki.authority.family();
    // Leaving the planted one out changes nothing, because it is not in.
    let count = |left_out: &[CertificateDer<'_>]| Roots::system(&[], left_out).map_or(0, |roots| roots.len());
    assert_eq!(count(internal), count(&[planted]));
}

#[test]
fn a_session_with_an_endpoint_is_resumed() {
    let (ca, key) = (Ca::new(), KeyPair::generate().unwrap());
    let certificate = server_params(&[NAME]).signed_by(&key, &ca.issuer).unwrap();
    let (tls, config) = (ca.trusting(), server(vec![certificate.der().clone()], &key));
    let kinds: Vec<_> = (0..2)
        .map(|_| {
            run(async {
                let (near, far) = duplex(1 << 16);
                let asked = server_name(NAME);
                let endpoint = async {
                    let mut endpoint = tokio_rustls::TlsAcceptor::from(Arc::clone(&config)).accept(far).await.unwrap();
                    endpoint.write_all(b"x").await.unwrap();
                    endpoint.flush().await.unwrap();
                    endpoint
                };
                let (ours, _theirs) = tokio::join!(tls.connect(near, &asked, &[], None, LIMIT), endpoint);
                let mut ours = ours.unwrap();
                ours.read_u8().await.unwrap(); // after the tickets
                ours.get_ref().1.handshake_kind().unwrap()
            })
        })
        .collect();
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[test]
fn an_endpoint_that_is_silent_or_speaks_something_else_is_told_apart() {
    let tls = Ca::new().trusting();
    let asked = server_name(NAME);
    run(async {
        let (near, _far) = duplex(1 << 16);
        let error = tls.connect(near, &asked, &[], None, Duration::from_millis(30)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");

        let (near, mut far) = duplex(1 << 16);
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let error = tls.connect(near, &asked, &[], None, LIMIT).await.unwrap_err();
        assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");

        let (near, mut far) = duplex(1 << 16);
        far.write_all(&[21, 3, 3, 0, 2, 2, 112]).await.unwrap();
        let error = tls.connect(near, &asked, &[], None, LIMIT).await.unwrap_err();
        assert!(matches!(error, ConnectError::Alert { alert: super::super::AlertDescription::UnrecognisedName, .. }));

        let (near, far) = duplex(1 << 16);
        drop(far);
        let error = tls.connect(near, &asked, &[], None, LIMIT).await.unwrap_err();
        assert!(matches!(error, ConnectError::Io { .. }), "{error}");
    });
}

/// `openssl s_server`, ended when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(certificate: &Path, key: &Path, extra: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev"])
            .args(["-cert", certificate.to_str().unwrap(), "-key", key.to_str().unwrap()])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is needed for this test");
        // "ACCEPT 127.0.0.1:PORT"
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port =
            lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit(':').next()?.parse().ok());
        Self { child, port: port.expect("s_server says where it listens") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn openssl_as_the_endpoint_over_tls_1_2_and_1_3() {
    let ca = Ca::new();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let certificate = server_params(&[NAME]).signed_by(&key, &ca.issuer).unwrap();
    let (certificate_file, key_file) = (ca.dir.path().join("server.pem"), ca.dir.path().join("server.key"));
    fs::write(&certificate_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    for (flag, version) in
        [("-tls1_2", rustls::ProtocolVersion::TLSv1_2), ("-tls1_3", rustls::ProtocolVersion::TLSv1_3)]
    {
        let server = Server::start(&certificate_file, &key_file, &[flag, "-alpn", "http/1.1"]);
        run(async {
            let addr = (std::net::Ipv4Addr::LOCALHOST, server.port).into();
            let stream = connect(addr, 0, LIMIT, Transport::Epoll).await.unwrap();
            let (tls, asked) = (ca.trusting(), server_name(NAME));
            let mut tls = tls.connect(stream, &asked, &[Alpn::H2, Alpn::Http11], None, LIMIT).await.unwrap();
            tls.write_all(b"abc\n").await.unwrap();
            tls.flush().await.unwrap();
            let mut answer = [0; 4];
            tls.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"cba\n");
            let session = tls.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version));
            assert_eq!(session.alpn_protocol().and_then(Alpn::from_bytes), Some(Alpn::Http11));
        });
    }
}
