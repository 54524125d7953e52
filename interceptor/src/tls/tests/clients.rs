//! OpenSSL's command and Python's ssl module as clients, unmodified.

use std::net::Ipv4Addr;
use std::process::Output;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{AcceptError, AlertDescription, Alpn, ServerName, accept};
use super::{NAME, Pki, program, soon, text};
use crate::sys::{Listener, Transport, run_worker};

/// What the server side did with one client.
pub(super) type Served = Result<Option<Vec<u8>>, AcceptError>;

/// Serves `clients` connections on the ring, one after another: what is asked for by [`NAME`] is intercepted and echoed,
/// anything else denied. `client` is run with the port, on another thread.
pub(super) fn serve(
    pki: &Pki,
    clients: usize,
    client: impl FnOnce(u16) -> Output + Send + 'static,
) -> (Vec<Served>, Output) {
    serve_as(pki, &[Alpn::Http11], clients, client)
}

/// The same, as an endpoint that speaks these protocols.
pub(super) fn serve_as(
    pki: &Pki,
    alpn: &[Alpn],
    clients: usize,
    client: impl FnOnce(u16) -> Output + Send + 'static,
) -> (Vec<Served>, Output) {
    serve_with(pki, None, alpn, clients, client)
}

/// One client that asks for `name`, which stands in no hello.
pub(super) fn serve_to(
    pki: &Pki,
    name: &ServerName<'static>,
    client: impl FnOnce(u16) -> Output + Send + 'static,
) -> (Served, Output) {
    let (mut served, output) = serve_with(pki, Some(name), &[], 1, client);
    (served.remove(0), output)
}

fn serve_with(
    pki: &Pki,
    unnamed: Option<&ServerName<'static>>,
    alpn: &[Alpn],
    clients: usize,
    client: impl FnOnce(u16) -> Output + Send + 'static,
) -> (Vec<Served>, Output) {
    run_worker(Transport::IoUring, async {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 16, Transport::IoUring).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (done, output) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || done.send(client(port)));
        let mut served = Vec::new();
        for _ in 0..clients {
            served.push(serve_one(pki, unnamed, alpn, &listener).await);
        }
        // Awaited, not joined: what is still to be sent goes out when the worker waits.
        let output = tokio::time::timeout(Duration::from_secs(20), output).await;
        (served, output.expect("the client hangs").unwrap())
    })
    .unwrap()
}

async fn serve_one(pki: &Pki, unnamed: Option<&ServerName<'static>>, alpn: &[Alpn], listener: &Listener) -> Served {
    let (stream, _) = listener.accept().await.unwrap();
    let hello = accept(stream, &[], soon()).await?;
    let sni = hello.sni.clone().filter(|name| pki.authority.covers(name.as_ref())).map(ServerName::DnsName);
    let Some(name) = sni.or(unnamed.filter(|_| hello.sni.is_none()).cloned()) else {
        hello.deny(AlertDescription::UnrecognisedName).await;
        return Ok(None);
    };
    pki.leaves.prepare(&hello).await;
    let config = pki.leaves.server_config_for(&name, alpn).unwrap();
    let mut tls = hello.intercept(config, soon()).await?;
    let mut line = [0; 6];
    tls.read_exact(&mut line).await.unwrap();
    tls.write_all(&line).await.unwrap();
    tls.shutdown().await.unwrap();
    Ok(tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
}

pub(super) fn s_client(port: u16, args: &[&str]) -> Output {
    let at = format!("127.0.0.1:{port}");
    let args = [&["s_client", "-connect", &at, "-ign_eof", "-verify_return_error"], args].concat();
    program("openssl", &args, b"hello\n")
}

#[test]
fn openssl_verifies_the_leaf_over_tls_1_2_and_1_3() {
    let pki = Pki::new();
    for (version, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let ca = pki.ca_file();
        let (served, output) = serve(&pki, 1, move |port| {
            let ca = ca.to_str().unwrap();
            let trust = ["-CAfile", ca, "-servername", NAME, "-verify_hostname", NAME, "-alpn", "h2,http/1.1"];
            s_client(port, &[&trust[..], &[version]].concat())
        });
        let said = text(&output);
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("hello\n"), "{said}");
        assert!(said.contains(shown) && said.contains("ALPN protocol: http/1.1"), "{said}");
        assert_eq!(served[0].as_ref().unwrap().as_deref(), Some(&b"http/1.1"[..]));
    }
}

#[test]
fn a_session_is_resumed_by_another_configuration_of_the_same_name() {
    for version in ["-tls1_2", "-tls1_3"] {
        let pki = Pki::new();
        let (ca, session) = (pki.ca_file(), pki.dir.path().join("session.pem"));
        let (served, output) = serve(&pki, 2, move |port| {
            let trust = ["-CAfile", ca.to_str().unwrap(), "-servername", NAME, version];
            let session = session.to_str().unwrap();
            let first = s_client(port, &[&trust[..], &["-sess_out", session]].concat());
            assert!(text(&first).contains("New, TLS"), "{}", text(&first));
            s_client(port, &[&trust[..], &["-sess_in", session]].concat())
        });
        assert!(text(&output).contains("Reused, TLS"), "{version}: {}", text(&output));
        assert!(served.iter().all(Result::is_ok));
    }
}

#[test]
fn a_client_that_does_not_trust_the_ca_is_recorded_as_such() {
    let pki = Pki::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let (served, output) = serve(&pki, 1, move |port| s_client(port, &["-servername", NAME, version]));
        assert!(!output.status.success());
        let error = served[0].as_ref().unwrap_err();
        assert!(
            matches!(error, AcceptError::ClientRefusedCa { alert: AlertDescription::UnknownCA }),
            "{version}: {error}"
        );
    }
}

#[test]
fn a_foreign_or_missing_name_is_told_so() {
    let pki = Pki::new();
    for name in [&["-servername", "evil.test"][..], &["-noservername"]] {
        let (served, output) = serve(&pki, 1, move |port| s_client(port, name));
        assert!(matches!(served[0], Ok(None)));
        assert!(text(&output).contains("unrecognized name"), "{}", text(&output));
    }
}

#[test]
fn a_client_that_speaks_none_of_our_protocols_is_refused() {
    let pki = Pki::new();
    let ca = pki.ca_file();
    let (served, output) = serve(&pki, 1, move |port| {
        s_client(port, &["-CAfile", ca.to_str().unwrap(), "-servername", NAME, "-alpn", "h2"])
    });
    assert!(matches!(served[0], Err(AcceptError::Protocol(rustls::Error::NoApplicationProtocol))), "{served:?}");
    assert!(text(&output).contains("no application protocol"), "{}", text(&output));
}

#[test]
fn python_accepts_the_leaf_with_its_default_context() {
    const CLIENT: &str = "
import socket, ssl, sys
ca, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = ssl.create_default_context(cafile=ca)
# On by default from Python 3.13 on.
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
with socket.create_connection(('127.0.0.1', port)) as plain:
    with context.wrap_socket(plain, server_hostname=host) as tls:
        tls.sendall(b'hello\\n')
        print(tls.version(), tls.recv(64), tls.getpeercert()['subjectAltName'])
";
    let pki = Pki::new();
    let ca = pki.ca_file();
    let (served, output) = serve(&pki, 1, move |port| {
        program("python3", &["-c", CLIENT, ca.to_str().unwrap(), NAME, &port.to_string()], b"")
    });
    let said = text(&output);
    assert!(said.contains("TLSv1.3 b'hello\\n' (('DNS', 'api.example.com'),)"), "{said}");
    assert!(served[0].is_ok());
}

#[test]
fn a_client_that_leaves_in_the_handshake_is_no_refusal() {
    let pki = Pki::new();
    let (served, _) = serve(&pki, 1, |port| {
        // A whole ClientHello, then the end.
        const CLIENT: &str = "
import socket, ssl, sys
into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
client = ssl.create_default_context().wrap_bio(into, out, server_hostname=sys.argv[1])
try:
    client.do_handshake()
except ssl.SSLWantReadError:
    pass
with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as plain:
    plain.sendall(out.read())
    plain.recv(1)
";
        program("python3", &["-c", CLIENT, NAME, &port.to_string()], b"")
    });
    assert!(matches!(served[0], Err(AcceptError::ClosedInHandshake)), "{served:?}");
}

/// Clients that look at the certificate by themselves do so when the handshake is over, and then just leave.
#[test]
fn a_client_that_leaves_after_the_handshake_is_noticed_and_one_that_speaks_is_heard() {
    use super::super::first_word;
    let pki = Pki::new();
    for version in rustls::ALL_VERSIONS {
        let server = || pki.leaves.server_config(&super::name(NAME), &[]).unwrap();
        super::run(async {
            let (mut ours, mut theirs) = super::sessions::pair(&super::sessions::client(&pki, version), server()).await;
            ours.write_all(b"word").await.unwrap();
            ours.flush().await.unwrap();
            first_word(&mut theirs).await.unwrap();
            let mut heard = [0; 4];
            theirs.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"word", "it stays to be read");

            let (mut ours, mut theirs) = super::sessions::pair(&super::sessions::client(&pki, version), server()).await;
            ours.shutdown().await.unwrap();
            assert!(matches!(first_word(&mut theirs).await, Err(AcceptError::ClosedAfterHandshake)));

            let (ours, mut theirs) = super::sessions::pair(&super::sessions::client(&pki, version), server()).await;
            drop(ours);
            assert!(matches!(first_word(&mut theirs).await, Err(AcceptError::ClosedAfterHandshake)));
        });
    }
}
