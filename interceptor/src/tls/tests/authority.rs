use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::super::{Authority, AuthorityError, LeafCache};
use super::clients::serve_to;
use super::{NAME, Pki, program, server_name, text};

fn enrolled(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}

#[test]
fn the_same_ca_is_found_again() {
    let pki = Pki::new();
    let again = Authority::load_or_create(&pki.dir.path().join("ca"), &enrolled(&[NAME]), "other").unwrap();
    assert_eq!(again.certificate_der(), pki.authority.certificate_der());
    assert_eq!(fs::read_to_string(pki.ca_file()).unwrap(), again.certificate_pem());
}

#[test]
fn it_is_constrained_to_the_enrolled_names_and_to_no_address() {
    let pki = Pki::new();
    let (_, ca) = X509Certificate::from_der(pki.authority.certificate_der()).unwrap();
    let constraints = ca.name_constraints().unwrap().unwrap();
    assert!(constraints.critical);
    let permitted: Vec<_> = constraints.value.permitted_subtrees.iter().flatten().map(|tree| &tree.base).collect();
    assert_eq!(permitted, [&GeneralName::DNSName(NAME)]);
    let excluded: Vec<_> = constraints.value.excluded_subtrees.iter().flatten().map(|tree| &tree.base).collect();
    assert_eq!(excluded, [&GeneralName::IPAddress(&[0; 8]), &GeneralName::IPAddress(&[0; 32])]);
    let basic = ca.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
    let (validity, now) = (ca.validity(), std::time::SystemTime::now());
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((3590..3700).contains(&(now - validity.not_before.timestamp())));
    assert!(validity.not_after.timestamp() - now <= 2 * 365 * 86_400);
}

#[test]
fn covers_a_name_and_those_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let names = enrolled(&["API.example.com", "*.azure.example.net"]);
    let ca = Authority::load_or_create(dir.path().join("ca").as_path(), &names, "h").unwrap();
    for covered in ["api.example.com", "Api.Example.Com", "eu.api.example.com", "x.azure.example.net"] {
        assert!(ca.covers(covered), "{covered}");
    }
    for foreign in ["example.com", "xapi.example.com", "api.example.com.evil.test", "", "."] {
        assert!(!ca.covers(foreign), "{foreign}");
    }
}

#[test]
fn a_name_enrolled_later_asks_for_a_new_ca() {
    let pki = Pki::new();
    let dir = pki.dir.path().join("ca");
    let error = Authority::load_or_create(&dir, &enrolled(&[NAME, "api.other.test"]), "h").unwrap_err();
    assert!(matches!(&error, AuthorityError::NotCovered { names, .. } if names == &["api.other.test"]));
    let message = error.to_string();
    assert!(message.contains("ca.pem") && message.contains("interceptor ca rotate"), "{message}");
    let many = enrolled(&["a.test", "b.test", "c.test", "d.test", "e.test", NAME]);
    let message = Authority::load_or_create(&dir, &many, "h").unwrap_err().to_string();
    assert!(message.contains("'a.test', 'b.test', 'c.test' and 2 more"), "{message}");
}

#[test]
fn an_open_directory_or_key_is_refused_with_the_remedy() {
    let pki = Pki::new();
    let dir = pki.dir.path().join("ca");
    for (path, mode, remedy) in [(dir.clone(), 0o755, "chmod 0700"), (dir.join("ca.key"), 0o644, "chmod 0600")] {
        let before = fs::metadata(&path).unwrap().permissions();
        assert_eq!(before.mode() & 0o077, 0, "made private");
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let message = Authority::load_or_create(&dir, &enrolled(&[NAME]), "h").unwrap_err().to_string();
        assert!(message.contains(remedy), "{message}");
        set_permissions(&path, before).unwrap();
    }
}

#[test]
fn a_key_that_is_missing_or_not_the_certificates_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let dir = pki.dir.path().join("ca");
    fs::copy(other.dir.path().join("ca/ca.key"), dir.join("ca.key")).unwrap();
    let message = Authority::load_or_create(&dir, &enrolled(&[NAME]), "h").unwrap_err().to_string();
    assert!(message.contains("does not belong to ca.key"), "{message}");
    fs::remove_file(dir.join("ca.key")).unwrap();
    let message = Authority::load_or_create(&dir, &enrolled(&[NAME]), "h").unwrap_err().to_string();
    assert!(message.contains("ca.key"), "{message}");
    assert!(!dir.join("ca.key").exists(), "no second key is made beside a certificate");
}

#[test]
fn a_certificate_that_is_unconstrained_expired_or_no_certificate_is_refused() {
    let pki = Pki::new();
    let dir = pki.dir.path().join("ca");
    let key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca.key")).unwrap()).unwrap();
    let mut expired = CertificateParams::default();
    expired.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName(NAME.into())],
        excluded_subtrees: vec![],
    });
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let cases = [
        (CertificateParams::default().self_signed(&key).unwrap().pem(), "no name constraints"),
        (expired.self_signed(&key).unwrap().pem(), "has expired"),
        ("garbage".into(), "not a certificate"),
    ];
    for (pem, reason) in cases {
        fs::write(dir.join("ca.pem"), pem).unwrap();
        let message = Authority::load_or_create(&dir, &enrolled(&[NAME]), "h").unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn an_unconstrained_ca_is_never_made() {
    let dir = tempfile::tempdir().unwrap();
    for (names, reason) in [(vec![], "no host name"), (vec!["not a name"], "not a name"), (vec!["*"], "*")] {
        let message =
            Authority::load_or_create(&dir.path().join("ca"), &enrolled(&names), "h").unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    assert!(!dir.path().join("ca").exists());
}

#[test]
fn openssl_refuses_what_is_outside_of_the_constraints() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let verify = |san: &str| {
        let mut params = CertificateParams::new([san.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let leaf = params.signed_by(&key, pki.authority.issuer()).unwrap();
        let path = pki.dir.path().join("leaf.pem");
        fs::write(&path, leaf.pem()).unwrap();
        let (ca, path) = (pki.ca_file(), path.to_str().unwrap().to_owned());
        let args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca.to_str().unwrap(), &path];
        text(&program("openssl", &args, b""))
    };
    assert!(verify(NAME).contains("OK"), "{}", verify(NAME));
    assert!(verify("eu.api.example.com").contains("OK"));
    assert!(verify("api.openai.com").contains("permitted subtree violation"));
    assert!(verify("192.0.2.1").contains("excluded subtree violation"));
    assert!(verify("2001:db8::1").contains("excluded subtree violation"));
}

#[test]
fn addresses_are_signed_for_where_they_are_configured_only() {
    let dir = tempfile::tempdir().unwrap();
    for (permitted, foreign) in [
        (&[NAME, "203.0.113.0/24"][..], &["198.51.100.1", "2001:db8::1", "api.openai.com"][..]),
        (&["203.0.113.9"], &["203.0.113.8", "2001:db8::1", NAME]),
        (&["2001:db8::/32", "203.0.113.0/24"], &["2001:db9::1", "198.51.100.1", NAME]),
    ] {
        let of = dir.path().join(foreign[0]);
        let ca = Arc::new(Authority::load_or_create(&of, &enrolled(permitted), "h").unwrap());
        let root = dir.path().join("root.pem");
        fs::write(&root, ca.certificate_pem()).unwrap();
        let leaves = LeafCache::new(Arc::clone(&ca), 4).unwrap();
        for name in foreign {
            assert!(!ca.covers(name), "{permitted:?} {name}");
            assert!(leaves.server_config_for(&server_name(name), &[]).is_err());
            // Whoever has stolen the key gets no further.
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([(*name).to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.use_authority_key_identifier_extension = true;
            let path = dir.path().join("leaf.pem");
            fs::write(&path, params.signed_by(&key, ca.issuer()).unwrap().pem()).unwrap();
            let said = program("openssl", &["verify", "-CAfile", root.to_str().unwrap(), path.to_str().unwrap()], b"");
            assert!(text(&said).contains("subtree violation"), "{permitted:?} {name}: {}", text(&said));
        }
    }
}

#[test]
fn a_client_that_asks_for_an_address_verifies_its_leaf() {
    const CLIENT: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', int(sys.argv[3]))) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[2]) as tls:
        tls.sendall(b'hello\\n')
        print(tls.recv(64), tls.getpeercert()['subjectAltName'])
";
    for (address, prefix, shown) in
        [("203.0.113.9", "203.0.113.0/24", "203.0.113.9"), ("2001:db8::9", "2001:db8::9", "2001:DB8:0:0:0:0:0:9")]
    {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca");
        let authority = Arc::new(Authority::load_or_create(&ca, &enrolled(&[prefix]), "h").unwrap());
        let leaves = LeafCache::new(Arc::clone(&authority), 4).unwrap();
        let pki = Pki { dir, authority, leaves };
        let (ca, asked) = (ca.join("ca.pem"), server_name(address));
        let (served, output) = serve_to(&pki, &asked, move |port| {
            program("python3", &["-c", CLIENT, ca.to_str().unwrap(), address, &port.to_string()], b"")
        });
        assert!(text(&output).contains(&format!("b'hello\\n' (('IP Address', '{shown}'),)")), "{}", text(&output));
        assert!(served.is_ok());
    }
}
