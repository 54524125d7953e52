use std::sync::Arc;
use std::time::Duration;

use rustls::client::{EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::{Instant, timeout};

use super::super::hello::{HelloReader, PIECE, fuzz_client_hello, offers_ech};
use super::super::{AcceptError, AlertDescription, Hello, accept};
use super::{NAME, Pki, name, run, soon};

/// What a rustls client sends first.
fn client_hello(server: &str, alpn: &[&[u8]], grease: bool) -> Vec<u8> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = if grease {
        let suite = aws_lc_rs::hpke::ALL_SUPPORTED_SUITES[0];
        let (public, _) = suite.generate_key_pair().unwrap();
        builder.with_ech(EchMode::Grease(EchGreaseConfig::new(suite, public))).unwrap()
    } else {
        builder.with_safe_default_protocol_versions().unwrap()
    };
    let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let server = ServerName::try_from(server.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same hello in many small records.
fn in_records_of(hello: &[u8], size: usize) -> Vec<u8> {
    let records = hello[5..].chunks(size).map(|piece| {
        let len = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, len[0], len[1]], piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// What comes of `bytes`, followed by the end of the connection, and what was answered.
fn verdict(bytes: &[u8]) -> (Result<(), AcceptError>, Vec<u8>) {
    run(async {
        let (mut near, far) = duplex(1 << 20);
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        let verdict = accept(far, &[], soon()).await.map(drop);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        (verdict, answer)
    })
}

#[test]
fn the_hello_is_known_before_anything_is_answered() {
    let hello = client_hello("Api.Example.com", &[b"h2", b"http/1.1"], false);
    run(async {
        let (mut near, far) = duplex(1 << 16);
        near.write_all(&hello).await.unwrap();
        let seen = accept(far, &[], soon()).await.unwrap();
        assert_eq!(seen.sni, Some(name(NAME)));
        assert_eq!(seen.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(!seen.ech);
        let answer = timeout(Duration::from_millis(20), near.read_u8()).await;
        assert!(answer.is_err(), "answered too early");
        let (_io, bytes) = seen.splice();
        assert_eq!(bytes, hello, "all of it can be replayed");
    });
}

#[test]
fn a_hello_without_a_dns_name_has_none() {
    let hello = client_hello("192.0.2.1", &[], false);
    let seen = run(async {
        let (mut near, far) = duplex(1 << 16);
        near.write_all(&hello).await.unwrap();
        accept(far, &[], soon()).await.unwrap()
    });
    assert_eq!((seen.sni, seen.alpn.len()), (None, 0));
}

#[test]
fn a_hello_means_the_same_cut_anywhere_and_in_any_records() {
    let hello = client_hello(NAME, &[b"http/1.1"], true);
    assert!(hello.len() > 1460, "a post-quantum key share makes it larger than a segment: {}", hello.len());
    for bytes in [hello.clone(), in_records_of(&hello, 64), in_records_of(&hello, 1)] {
        for cut in (0..bytes.len()).step_by(7) {
            let mut reader = HelloReader::default();
            let (head, tail) = bytes.split_at(cut);
            let mut pieces = head.chunks(PIECE).chain(tail.chunks(PIECE)).peekable();
            let accepted = loop {
                let piece = pieces.next().expect("a whole hello is accepted");
                match reader.push(piece) {
                    Ok(None) => {}
                    Ok(Some(accepted)) => break accepted,
                    Err(_) => panic!("refused when cut at {cut}"),
                }
            };
            assert!(pieces.peek().is_none());
            assert_eq!(accepted.client_hello().server_name(), Some(NAME));
            assert!(offers_ech(reader.bytes()));
        }
        fuzz_client_hello(&bytes);
    }
}

#[test]
fn an_ech_extension_is_seen() {
    assert!(offers_ech(&client_hello(NAME, &[], true)));
    assert!(!offers_ech(&client_hello(NAME, &[], false)));
}

#[test]
fn every_truncation_is_told_from_a_silent_close() {
    let hello = client_hello(NAME, &[], false);
    for len in [1, 4, 5, 6, 100, hello.len() - 1] {
        let (verdict, answer) = verdict(&hello[..len]);
        assert!(matches!(verdict, Err(AcceptError::Truncated { received }) if received == len), "{len}");
        assert!(answer.is_empty());
    }
    assert!(matches!(verdict(b"").0, Err(AcceptError::Closed)));
}

#[test]
fn what_is_not_tls_is_refused_without_an_answer() {
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x00", b"\x80\x2e\x01\x00\x02", b"SSH-2.0-x\r\n"] {
        let (verdict, answer) = verdict(first);
        assert!(matches!(verdict, Err(AcceptError::NotTls { first: seen }) if seen == first[0]));
        assert!(answer.is_empty());
    }
}

#[test]
fn a_malformed_hello_is_answered_with_an_alert() {
    let hello = client_hello(NAME, &[], false);
    let mut server_hello = hello.clone();
    server_hello[5] = 2;
    let mut long_session = hello.clone();
    long_session[43] = 0xff;
    for bytes in [server_hello, long_session, b"\x16\x03\x01\x00\x04\x01\x00\x00\x00".to_vec()] {
        let (verdict, answer) = verdict(&bytes);
        assert!(matches!(verdict, Err(AcceptError::Protocol(_))), "{verdict:?}");
        assert_eq!((answer.len(), answer[0], answer[5]), (7, 21, 2), "one fatal alert: {answer:?}");
    }
}

#[test]
fn a_hello_without_end_is_bounded() {
    // A handshake message of 16 MiB, as announced, in small records.
    let mut endless = in_records_of(&[&[0; 5], &[1, 0xff, 0xff, 0xff][..], &[0; 100_000]].concat(), 1000);
    let (result, answer) = verdict(&endless);
    assert!(matches!(result, Err(AcceptError::TooLarge | AcceptError::Protocol(_))), "{result:?}");
    assert_eq!(answer[0], 21);
    // 65,000 bytes as announced: within what the protocol allows, beyond what we take.
    endless = in_records_of(&[&[0; 5], &[1, 0, 0xfd, 0xe8][..], &[0; 65_000]].concat(), 1000);
    assert!(matches!(verdict(&endless).0, Err(AcceptError::TooLarge)));
}

#[test]
fn a_silent_client_meets_the_deadline() {
    run(async {
        let (mut near, far) = duplex(1 << 16);
        near.write_all(&client_hello(NAME, &[], false)[..50]).await.unwrap();
        let result = accept(far, &[], Instant::now() + Duration::from_millis(30)).await;
        assert!(matches!(result, Err(AcceptError::Timeout { stage: "ClientHello" })));

        let (mut near, far) = duplex(1 << 16);
        near.write_all(&client_hello(NAME, &[], false)).await.unwrap();
        let config = Pki::new().leaves.server_config(&name(NAME), &[]).unwrap();
        let hello = accept(far, &[], soon()).await.unwrap();
        let result = hello.intercept(config, Instant::now() + Duration::from_millis(30)).await;
        assert!(matches!(result, Err(AcceptError::Timeout { stage: "handshake" })));
    });
}

#[test]
fn denial_is_one_fatal_alert_and_the_end() {
    run(async {
        let (mut near, far) = duplex(1 << 16);
        near.write_all(&client_hello(NAME, &[], false)).await.unwrap();
        let hello: Hello<_> = accept(far, &[], soon()).await.unwrap();
        hello.deny(AlertDescription::UnrecognisedName).await;
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 112]);
    });
}

#[test]
fn arbitrary_bytes_are_taken_in_stride() {
    use proptest::prelude::*;
    let hello = client_hello(NAME, &[b"h2"], true);
    let flips = prop::collection::vec((0..hello.len(), any::<u8>()), 1..8);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&(flips, prop::collection::vec(any::<u8>(), 0..200)), |(flips, noise)| {
            let mut bent = hello.clone();
            for (at, value) in flips {
                bent[at] = value;
            }
            fuzz_client_hello(&bent);
            fuzz_client_hello(&noise);
            fuzz_client_hello(&[&[22, 3, 1], &noise[..]].concat());
            Ok(())
        })
        .unwrap();
}
