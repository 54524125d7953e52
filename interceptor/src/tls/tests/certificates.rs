//! Endpoints with bad certificates: each is refused, and the reason has a name.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::super::{CertificateFault, ConnectError};
use super::NAME;
use super::der::{Says, Staple, rsa_public_key, sequence, try_later, with_sha1};
use super::public::{Ca, Shown, handshake, server, server_params};

/// A must-staple extension (RFC 7633): `status_request`.
fn must_staple(params: &mut CertificateParams) {
    let features = sequence(&[&[2, 1, 5]]);
    params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], features));
}

/// A certificate for [`NAME`], changed before it is signed.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = server_params(&[NAME]);
    change(&mut params);
    params
}

#[track_caller]
fn assert_refused(ca: &Ca, shown: Shown, expected: CertificateFault) {
    let error = handshake(&ca.trusting(), shown.server()).expect_err(expected.as_str());
    assert!(matches!(&error, ConnectError::Certificate { fault, .. } if *fault == expected), "{expected}: {error}");
    let said = error.to_string();
    assert!(said.contains(expected.as_str()) && said.contains(NAME), "{said}");
}

#[test]
fn every_fault_of_a_certificate_is_refused_by_its_name() {
    use CertificateFault as F;
    let (ca, stranger, key) = (Ca::new(), Ca::new(), KeyPair::generate().unwrap());
    let good = server_params(&[NAME]);
    let signed = |change: fn(&mut CertificateParams)| ca.sign(&changed(change), &key);
    let mut bent = ca.sign(&good, &key).to_vec();
    *bent.last_mut().unwrap() ^= 1;
    let self_signed = good.self_signed(&key).unwrap().der().clone();
    handshake(&ca.trusting(), server(vec![ca.sign(&good, &key)], &key)).unwrap();
    let cases: [(F, CertificateDer<'static>); 14] = [
        (F::Expired, signed(|p| (p.not_before, p.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)))),
        (F::NotYetValid, signed(|p| p.not_before = date_time_ymd(2090, 1, 1))),
        (F::WrongName, ca.sign(&server_params(&["api.other.test"]), &key)),
        (F::WrongName, ca.sign(&server_params(&["192.0.2.1", "a.test", "b.test"]), &key)),
        // A name in the subject alone names nothing (RFC 9525, section 2).
        (
            F::WrongName,
            signed(|p| {
                p.subject_alt_names.clear();
                p.distinguished_name.push(rcgen::DnType::CommonName, NAME);
            }),
        ),
        (F::UnknownIssuer, stranger.sign(&good, &key)),
        (F::UnknownIssuer, self_signed),
        (F::WrongPurpose, signed(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])),
        (F::WrongPurpose, signed(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
        (F::BadSignature, bent.into()),
        (F::WeakAlgorithm, with_sha1(&ca.sign(&good, &key))),
        (F::WeakKey, ca.sign(&good, &rsa_public_key(1024))),
        (F::Malformed, CertificateDer::from(vec![0x30, 3, 2, 1, 1])),
        (
            F::Malformed,
            signed(|p| {
                let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
                unknown.set_criticality(true);
                p.custom_extensions.push(unknown);
            }),
        ),
    ];
    for (expected, certificate) in cases {
        assert_refused(&ca, Shown::new(vec![certificate], &key), expected);
    }
}

#[test]
fn every_fault_of_an_intermediate_is_refused_by_its_name() {
    use CertificateFault as F;
    let (ca, key) = (Ca::new(), KeyPair::generate().unwrap());
    let below = |intermediate: &Ca| {
        let leaf = intermediate.sign(&server_params(&[NAME]), &key);
        Shown::new(vec![leaf, intermediate.certificate.clone()], &key)
    };
    handshake(&ca.trusting(), below(&ca.intermediate(|_| {})).server()).unwrap();
    type Change = fn(&mut CertificateParams);
    let cases: [(F, Change); 5] = [
        (F::Expired, |p| p.not_after = date_time_ymd(2021, 1, 1)),
        (F::NameConstraint, |p| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("other.test".into())];
            p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        }),
        (F::NameConstraint, |p| {
            let excluded_subtrees = vec![GeneralSubtree::DnsName("example.com".into())];
            p.name_constraints = Some(NameConstraints { permitted_subtrees: vec![], excluded_subtrees });
        }),
        (F::WrongPurpose, |p| p.is_ca = IsCa::NoCa),
        (F::WrongPurpose, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
    ];
    for (expected, change) in cases {
        assert_refused(&ca, below(&ca.intermediate(change)), expected);
    }
    // The key of the intermediate is too short; who made the signature does not matter any more.
    let mut weak = ca.intermediate(|_| {});
    let params = Ca::params(weak.key());
    weak.certificate = ca.sign(&params, &rsa_public_key(1024));
    assert_refused(&ca, below(&weak), F::WeakKey);
    // It is missing.
    let leaf = ca.intermediate(|_| {}).sign(&server_params(&[NAME]), &key);
    assert_refused(&ca, Shown::new(vec![leaf], &key), F::UnknownIssuer);
}

/// What becomes of a staple, in both versions of TLS.
#[track_caller]
fn assert_stapled(
    ca: &Ca,
    chain: &[CertificateDer<'static>],
    key: &KeyPair,
    staple: Option<&[u8]>,
    expected: Option<CertificateFault>,
) {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let shown = Shown::new(chain.to_vec(), key);
        let shown = match staple {
            Some(staple) => shown.stapled(staple.to_vec()),
            None => shown,
        };
        let result = handshake(&ca.trusting(), shown.server_of(&[version]));
        let fault = match &result {
            Ok(()) => None,
            Err(ConnectError::Certificate { fault, .. }) => Some(*fault),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(fault, expected, "{version:?}: {result:?}");
    }
}

#[test]
fn a_staple_that_says_revoked_is_believed_and_one_that_proves_nothing_is_not() {
    let (ca, stranger, key) = (Ca::new(), Ca::new(), KeyPair::generate().unwrap());
    let leaf = ca.sign(&server_params(&[NAME]), &key);
    let other = ca.sign(&server_params(&[NAME]), &key);
    let revoked = Staple::new(&leaf, &ca.certificate, ca.key(), Says::Revoked);
    let mut bent = revoked.der();
    *bent.last_mut().unwrap() ^= 1;
    let believed = Some(CertificateFault::Revoked);
    let cases = [
        (None, None),
        (Some(Staple { says: Says::Good, ..revoked.clone() }.der()), None),
        (Some(Staple { says: Says::Unknown, ..revoked.clone() }.der()), None),
        (Some(revoked.der()), believed),
        (Some(Staple { by_key: true, ..revoked.clone() }.der()), believed),
        (Some(Staple { next_update: None, ..revoked.clone() }.der()), believed),
        // Nobody is ever un-revoked.
        (
            Some(Staple { this_update: -40 * 86_400, next_update: Some(-30 * 86_400), ..revoked.clone() }.der()),
            believed,
        ),
        (Some(Staple { about: &other, ..revoked.clone() }.der()), None),
        (Some(Staple { issuer: &stranger.certificate, ..revoked.clone() }.der()), None),
        (Some(Staple { key: stranger.key(), ..revoked.clone() }.der()), None),
        (Some(bent), None),
        (Some(try_later()), None),
        (Some(b"garbage".to_vec()), None),
    ];
    for (staple, expected) in cases {
        assert_stapled(&ca, std::slice::from_ref(&leaf), &key, staple.as_deref(), expected);
    }
}

#[test]
fn a_responder_is_believed_when_the_issuer_named_it_for_that() {
    let (ca, stranger, key) = (Ca::new(), Ca::new(), KeyPair::generate().unwrap());
    let responder_key = KeyPair::generate().unwrap();
    let leaf = ca.sign(&server_params(&[NAME]), &key);
    let mut named = Ca::params(&responder_key);
    named.is_ca = IsCa::NoCa;
    named.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    let mut server = named.clone();
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut past = named.clone();
    past.not_after = date_time_ymd(2021, 1, 1);
    let cases = [
        (ca.sign(&named, &responder_key), Some(CertificateFault::Revoked)),
        (ca.sign(&server, &responder_key), None),
        (ca.sign(&past, &responder_key), None),
        (stranger.sign(&named, &responder_key), None),
        (ca.sign(&named, &key), None),
    ];
    for (responder, expected) in cases {
        for by_key in [false, true] {
            let revoked = Staple::new(&leaf, &ca.certificate, &responder_key, Says::Revoked);
            let staple = Staple { responder: Some(&responder), by_key, ..revoked }.der();
            assert_stapled(&ca, std::slice::from_ref(&leaf), &key, Some(&staple), expected);
        }
    }
}

#[test]
fn the_issuer_is_the_certificate_that_the_chain_goes_through() {
    let (ca, key) = (Ca::new(), KeyPair::generate().unwrap());
    let issuer = ca.intermediate(|_| {});
    let leaf = issuer.sign(&changed(must_staple), &key);
    // Of the same name, by the same root, with another key; and one that nobody trusts.
    let name = Ca::params(issuer.key()).distinguished_name;
    let decoy = ca.intermediate(|params| params.distinguished_name = name.clone());
    let foreign = Ca::new().intermediate(|params| params.distinguished_name = name.clone());
    let [issuer_der, decoy_der, foreign_der] = [&issuer, &decoy, &foreign].map(|ca| ca.certificate.clone());
    let chains = [
        vec![leaf.clone(), issuer_der.clone()],
        vec![leaf.clone(), decoy_der.clone(), foreign_der, issuer_der.clone()],
    ];
    for chain in chains {
        let good = Staple::new(&leaf, &issuer_der, issuer.key(), Says::Good);
        let revoked = Staple { says: Says::Revoked, ..good.clone() };
        let decoyed = Staple { issuer: &decoy_der, key: decoy.key(), ..good.clone() };
        assert_stapled(&ca, &chain, &key, Some(&good.der()), None);
        assert_stapled(&ca, &chain, &key, Some(&revoked.der()), Some(CertificateFault::Revoked));
        assert_stapled(&ca, &chain, &key, Some(&decoyed.der()), Some(CertificateFault::NotStapled));
    }
}

#[test]
fn a_certificate_that_promises_a_staple_is_refused_without_a_good_one() {
    let (ca, stranger, key) = (Ca::new(), Ca::new(), KeyPair::generate().unwrap());
    let leaf = ca.sign(&changed(must_staple), &key);
    let other = ca.sign(&server_params(&[NAME]), &key);
    let good = Staple::new(&leaf, &ca.certificate, ca.key(), Says::Good);
    let refused = Some(CertificateFault::NotStapled);
    let cases = [
        (None, refused),
        (Some(good.der()), None),
        (Some(Staple { next_update: None, ..good.clone() }.der()), None),
        (Some(Staple { this_update: -2 * 86_400, next_update: None, ..good.clone() }.der()), refused),
        (Some(Staple { this_update: -9 * 86_400, next_update: Some(-2 * 86_400), ..good.clone() }.der()), refused),
        (Some(Staple { this_update: 2 * 86_400, ..good.clone() }.der()), refused),
        (Some(Staple { says: Says::Unknown, ..good.clone() }.der()), refused),
        (Some(Staple { says: Says::Revoked, ..good.clone() }.der()), Some(CertificateFault::Revoked)),
        (Some(Staple { about: &other, ..good.clone() }.der()), refused),
        (Some(Staple { key: stranger.key(), ..good.clone() }.der()), refused),
        (Some(try_later()), refused),
        (Some(vec![0]), refused),
    ];
    for (staple, expected) in cases {
        assert_stapled(&ca, std::slice::from_ref(&leaf), &key, staple.as_deref(), expected);
    }
}
