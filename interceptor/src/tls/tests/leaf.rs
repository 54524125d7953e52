use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::super::{Alpn, LeafCache, MintError};
use super::{NAME, Pki, name, program, run, server_name, soon, text};
use crate::tls::{Roots, UpstreamTls, accept};

/// The chain that a client which asks for `asked` is shown.
fn shown(pki: &Pki, asked: &str) -> Vec<CertificateDer<'static>> {
    let config = pki.leaves.server_config(&name(asked), &[Alpn::Http11]).unwrap();
    run(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let other = Pki::new();
        let roots = Roots::load(None, &[pki.ca_file()], other.authority.family()).unwrap();
        let tls = UpstreamTls::new(roots).unwrap();
        let asked = server_name(asked);
        let client = tls.connect(near, &asked, &[], None, std::time::Duration::from_secs(5));
        let server = async { accept(far, &[], soon()).await.unwrap().intercept(config, soon()).await };
        let (client, server) = tokio::join!(client, server);
        server.unwrap();
        let (_, session) = client.unwrap().into_inner();
        session.peer_certificates().unwrap().iter().map(|c| c.clone().into_owned()).collect()
    })
}

#[test]
fn a_leaf_is_for_one_server_name_and_three_months() {
    let pki = Pki::new();
    let chain = shown(&pki, NAME);
    assert_eq!(chain.len(), 2);
    assert_eq!(&chain[1], pki.authority.certificate_der());
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::DNSName(NAME)]);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    assert!(!leaf.is_ca());
    let days = (leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp()) / 86_400;
    assert_eq!(days, 90);
    assert!(leaf.validity().is_valid());
    assert!(leaf.raw_serial().len() == 16 && leaf.raw_serial()[0] < 0x80, "positive, 127 bits");
    leaf.verify_signature(Some(X509Certificate::from_der(&chain[1]).unwrap().1.public_key())).unwrap();

    let path = pki.dir.path().join("leaf.der");
    fs::write(&path, &chain[0]).unwrap();
    let (ca, path) = (pki.ca_file(), path.to_str().unwrap().to_owned());
    let strict = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", NAME];
    let args = [&strict[..], &["-CAfile", ca.to_str().unwrap(), &path]].concat();
    let output = program("openssl", &args, b"");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn serial_numbers_do_not_repeat() {
    let serials: HashSet<_> = (0..1000).map(|_| crate::tls::authority::serial().to_bytes()).collect();
    assert_eq!(serials.len(), 1000);
    assert!(serials.iter().all(|serial| serial.len() == 16 && (0x40..0x80).contains(&serial[0])));
}

#[test]
fn a_long_name_needs_no_common_name() {
    let pki = Pki::new();
    let long = format!("{}.{NAME}", "a".repeat(60));
    let chain = shown(&pki, &long);
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert_eq!(leaf.subject().iter_common_name().count(), 0);
}

#[test]
fn a_name_is_minted_once_whatever_its_case() {
    let pki = Pki::new();
    let first = pki.leaves.server_config(&name(NAME), &[Alpn::Http11]).unwrap();
    let again = pki.leaves.server_config(&name("API.Example.COM"), &[Alpn::Http11]).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let h2 = pki.leaves.server_config(&name(NAME), &[Alpn::H2, Alpn::Http11]).unwrap();
    assert_eq!(h2.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(first.alpn_protocols, [b"http/1.1".to_vec()]);
    assert!(Arc::ptr_eq(&first.ticketer, &h2.ticketer), "tickets are good for both");
}

#[test]
fn the_least_recently_used_name_makes_room() {
    let pki = Pki::new();
    let cache = LeafCache::new(Arc::clone(&pki.authority), 2).unwrap();
    let ask = |host: &str| cache.server_config(&name(&format!("{host}.{NAME}")), &[]).unwrap();
    let (a, _b) = (ask("a"), ask("b"));
    ask("a");
    ask("c");
    assert!(Arc::ptr_eq(&a, &ask("a")), "used more recently than b");
    assert_eq!(cache.len(), 2);
}

#[test]
fn names_outside_of_the_constraints_are_not_minted() {
    let pki = Pki::new();
    let error = pki.leaves.server_config(&name("api.openai.com"), &[]).unwrap_err();
    assert!(matches!(error, MintError::NotCovered { name } if name == "api.openai.com"));
}

#[test]
fn names_inside_the_constraints_that_nobody_enrolled_are_not_minted() {
    let pki = Pki::new();
    let wanted = format!("wanted.{NAME}");
    let allowed = wanted.clone();
    let cache = LeafCache::new(Arc::clone(&pki.authority), 2).unwrap().only_for(move |name| name == allowed);
    assert!(cache.server_config(&name(&wanted), &[]).is_ok());
    let error = cache.server_config(&name(&format!("other.{NAME}")), &[]).unwrap_err();
    assert!(matches!(error, MintError::NotCovered { .. }));
}

#[test]
fn a_flood_of_new_names_is_slowed_while_known_ones_are_served() {
    let pki = Pki::new();
    let ask = |host: String| pki.leaves.server_config(&name(&format!("{host}.{NAME}")), &[]);
    let minted: Vec<_> = (0..200).filter(|i| ask(format!("x{i}")).is_ok()).collect();
    assert!((64..120).contains(&minted.len()), "{} minted at once", minted.len());
    assert!(matches!(ask("new".into()), Err(MintError::TooFast { .. })));
    ask(format!("x{}", minted.last().unwrap())).expect("a cached leaf needs no token");
}
