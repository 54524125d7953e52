//! Clients that can verify less than ours like best, and endpoints that speak less than clients offer.

use super::super::Alpn;
use super::clients::{s_client, serve, serve_as};
use super::{NAME, Pki, text};

/// What OpenSSL says when it is restricted to `offer`.
fn restricted(pki: &Pki, offer: &'static [&'static str]) -> String {
    let ca = pki.ca_file();
    let (served, output) = serve(pki, 1, move |port| {
        let trust = ["-CAfile", ca.to_str().unwrap(), "-servername", NAME, "-verify_hostname", NAME];
        s_client(port, &[&trust[..], offer].concat())
    });
    assert!(served[0].is_ok(), "{offer:?}: {served:?} {}", text(&output));
    text(&output)
}

#[test]
fn a_client_that_knows_no_ecdsa_gets_an_rsa_leaf() {
    let pki = Pki::new();
    let offers: [&[&str]; 4] = [
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
        &["-tls1_2", "-sigalgs", "RSA+SHA256"],
        &["-tls1_2", "-sigalgs", "rsa_pss_rsae_sha256"],
        &["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"],
    ];
    for offer in offers {
        let said = restricted(&pki, offer);
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("hello\n"), "{offer:?}: {said}");
        assert!(said.contains("Server public key is 2048 bit"), "{offer:?}: {said}");
    }
}

#[test]
fn every_other_client_gets_an_ecdsa_leaf_and_costs_no_rsa_key() {
    let pki = Pki::new();
    let offers: [&[&str]; 4] = [
        &["-tls1_2"],
        &["-tls1_3"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["-sigalgs", "RSA+SHA256:ECDSA+SHA256"],
    ];
    for offer in offers {
        let said = restricted(&pki, offer);
        assert!(said.contains("Verify return code: 0 (ok)"), "{offer:?}: {said}");
        assert!(said.contains("Server public key is 256 bit"), "{offer:?}: {said}");
    }
    assert!(!pki.leaves.has_rsa_key());
}

#[test]
fn a_client_that_can_verify_neither_is_refused() {
    let pki = Pki::new();
    let (served, output) =
        serve(&pki, 1, |port| s_client(port, &["-servername", NAME, "-tls1_2", "-sigalgs", "ECDSA+SHA384"]));
    assert!(served[0].is_err() && !output.status.success(), "{}", text(&output));
}

#[test]
fn an_endpoint_that_chose_no_protocol_is_mirrored_by_choosing_none() {
    let pki = Pki::new();
    for (alpn, offered, shown) in [
        (&[][..], "h2,http/1.1", "No ALPN negotiated"),
        (&[Alpn::H2][..], "http/1.1,h2", "ALPN protocol: h2"),
        (&[Alpn::Http11][..], "h2,http/1.1", "ALPN protocol: http/1.1"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let ca = pki.ca_file();
            let (served, output) = serve_as(&pki, alpn, 1, move |port| {
                s_client(port, &["-CAfile", ca.to_str().unwrap(), "-servername", NAME, "-alpn", offered, version])
            });
            assert!(text(&output).contains(shown), "{alpn:?}: {}", text(&output));
            let chosen = alpn.first().map(|alpn| alpn.as_bytes());
            assert_eq!(served[0].as_ref().unwrap().as_deref(), chosen);
        }
    }
}
