//! Resumption: good wherever a client lands, and never with what another negotiated.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::{Alpn, LeafCache, Roots, ServerStream, UpstreamTls};
use super::clients::{s_client, serve};
use super::{NAME, Pki, name, run, server_name, text};

/// A client that trusts the internal CA and offers both protocols.
pub(super) fn client(pki: &Pki, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pki.authority.certificate_der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = Alpn::wire(&[Alpn::H2, Alpn::Http11]);
    Arc::new(config)
}

/// Both ends of one connection, in memory.
pub(super) async fn pair(
    client: &Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> (tokio_rustls::client::TlsStream<DuplexStream>, ServerStream<DuplexStream>) {
    let (near, far) = duplex(1 << 16);
    let ours = tokio_rustls::TlsConnector::from(Arc::clone(client)).connect(server_name(NAME), near);
    let (ours, theirs) = tokio::join!(ours, tokio_rustls::TlsAcceptor::from(server).accept(far));
    (ours.unwrap(), theirs.unwrap())
}

/// One connection: whether it was resumed, and with which protocol.
fn connect(client: &Arc<ClientConfig>, server: Arc<ServerConfig>) -> (HandshakeKind, Option<Vec<u8>>) {
    run(async {
        let (mut ours, mut theirs) = pair(client, server).await;
        theirs.write_all(b"x").await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_u8().await.unwrap(); // after the tickets
        let session = ours.get_ref().1;
        (session.handshake_kind().unwrap(), session.alpn_protocol().map(<[u8]>::to_vec))
    })
}

#[test]
fn a_resumed_session_speaks_the_protocol_of_this_connection() {
    for version in rustls::ALL_VERSIONS {
        let pki = Pki::new();
        let client = client(&pki, version);
        let server = |alpn: &[Alpn]| pki.leaves.server_config(&name(NAME), alpn).unwrap();
        assert_eq!(connect(&client, server(&[Alpn::H2])), (HandshakeKind::Full, Some(b"h2".to_vec())));
        let resumed = HandshakeKind::Resumed;
        assert_eq!(connect(&client, server(&[Alpn::Http11])), (resumed, Some(b"http/1.1".to_vec())), "{version:?}");
        assert_eq!(connect(&client, server(&[])), (resumed, None), "{version:?}");
        assert_eq!(connect(&client, server(&[Alpn::H2])), (resumed, Some(b"h2".to_vec())), "{version:?}");
    }
}

#[test]
fn a_session_outlives_the_leaf_that_it_began_with() {
    for version in rustls::ALL_VERSIONS {
        let pki = Pki::new();
        let client = client(&pki, version);
        let leaves = LeafCache::new(Arc::clone(&pki.authority), 1).unwrap();
        let server = |host: &str| leaves.server_config(&name(host), &[Alpn::Http11]).unwrap();
        let first = server(NAME);
        assert_eq!(connect(&client, Arc::clone(&first)).0, HandshakeKind::Full);
        server(&format!("other.{NAME}"));
        let renewed = server(NAME);
        assert!(!Arc::ptr_eq(&first, &renewed), "a new leaf");
        assert_eq!(connect(&client, renewed).0, HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn a_session_is_good_for_its_own_name_only() {
    for version in ["-tls1_2", "-tls1_3"] {
        let pki = Pki::new();
        let (ca, session) = (pki.ca_file(), pki.dir.path().join("session.pem"));
        let other = format!("other.{NAME}");
        let (served, output) = serve(&pki, 2, move |port| {
            let (ca, session) = (ca.to_str().unwrap(), session.to_str().unwrap());
            s_client(port, &["-CAfile", ca, "-servername", NAME, version, "-sess_out", session]);
            s_client(port, &["-CAfile", ca, "-servername", &other, version, "-sess_in", session])
        });
        assert!(served.iter().all(Result::is_ok), "{served:?}");
        assert!(text(&output).contains("New, TLS"), "{version}: {}", text(&output));
    }
}

/// The variable counts only in the process that has it from its start, so this test runs itself again with it set.
#[test]
fn session_keys_are_never_logged() {
    const SSLKEYLOGFILE: &str = "SSLKEYLOGFILE";
    const CHILD: &str = "INTERCEPTOR_TEST_KEYS";
    let pki = Pki::new();
    let file = pki.dir.path().join("keys.log");
    if std::env::var_os(CHILD).is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "tls::tests::sessions::session_keys_are_never_logged", "--nocapture"]);
        let output = child.env(CHILD, "1").env(SSLKEYLOGFILE, &file).output().unwrap();
        assert!(output.status.success() && text(&output).contains("1 passed"), "{}", text(&output));
        assert!(!file.exists(), "{:?}", std::fs::read_to_string(&file));
        return;
    }
    // Both of ours, against each other.
    let roots = Roots::load(None, &[pki.ca_file()], Pki::new().authority.family()).unwrap();
    let tls = UpstreamTls::new(roots).unwrap();
    let server = pki.leaves.server_config(&name(NAME), &[Alpn::H2]).unwrap();
    run(async {
        let (near, far) = duplex(1 << 16);
        let asked = server_name(NAME);
        let ours = tls.connect(near, &asked, &[Alpn::H2], None, std::time::Duration::from_secs(10));
        let (ours, theirs) = tokio::join!(ours, tokio_rustls::TlsAcceptor::from(server).accept(far));
        assert!(ours.is_ok() && theirs.is_ok());
    });
}
