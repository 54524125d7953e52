//! Endpoints that cannot prove who they are: nothing reaches them, the client is told why, and the record says it too.
//!
//! The endpoints are OpenSSL's servers in the client's own network, with certificates made by rcgen, and by OpenSSL where
//! rcgen makes none: signatures with SHA-1, short keys, OCSP responses.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use interceptor_tests::{Lab, wait_until};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use tempfile::TempDir;

/// The names below which all endpoints of this test are.
const DOMAIN: &str = "certificates.example";

/// The first of their ports.
const PORT: u16 = 9400;

/// What an endpoint shows, and the word for what is wrong with it; none: nothing.
struct Case {
    name: &'static str,
    fault: Option<&'static str>,
    make: fn(&Workshop, &str) -> Files,
}

/// Certificate and chain, key, and a stapled response.
struct Files {
    chain: String,
    key: String,
    staple: Option<Vec<u8>>,
}

/// A CA, and a place to work in.
struct Workshop {
    dir: TempDir,
    ca: Issuer<'static, KeyPair>,
}

const CASES: [Case; 14] = [
    Case { name: "good", fault: None, make: |shop, name| shop.leaf(name, |_| {}) },
    Case { name: "good-stapled", fault: None, make: |shop, name| shop.stapled(name, "V", true) },
    Case {
        name: "expired",
        fault: Some("expired"),
        make: |shop, name| shop.leaf(name, |leaf| leaf.not_after = date_time_ymd(2021, 1, 1)),
    },
    Case {
        name: "early",
        fault: Some("not-yet-valid"),
        make: |shop, name| shop.leaf(name, |leaf| leaf.not_before = date_time_ymd(2090, 1, 1)),
    },
    Case { name: "wrong-host", fault: Some("wrong-name"), make: |shop, _| shop.leaf("elsewhere.example", |_| {}) },
    Case { name: "self-signed", fault: Some("unknown-issuer"), make: |_, name| self_signed(name) },
    Case { name: "untrusted", fault: Some("unknown-issuer"), make: |_, name| Workshop::new().leaf(name, |_| {}) },
    Case { name: "revoked", fault: Some("revoked"), make: |shop, name| shop.stapled(name, "R", false) },
    Case { name: "promised", fault: Some("not-stapled"), make: |shop, name| shop.leaf(name, must_staple) },
    Case { name: "short-key", fault: Some("weak-key"), make: |shop, name| shop.by_openssl(name, "1024", "-sha256") },
    Case { name: "sha1", fault: Some("weak-algorithm"), make: |shop, name| shop.by_openssl(name, "2048", "-sha1") },
    Case { name: "constrained", fault: Some("name-constraint"), make: |shop, name| shop.below_a_constrained_ca(name) },
    Case {
        name: "client",
        fault: Some("wrong-purpose"),
        make: |shop, name| shop.leaf(name, |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
    },
    Case {
        name: "ca",
        fault: Some("wrong-purpose"),
        make: |shop, name| shop.leaf(name, |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
    },
];

fn must_staple(leaf: &mut CertificateParams) {
    let features = vec![0x30, 3, 2, 1, 5];
    leaf.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], features));
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a DNS name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn self_signed(name: &str) -> Files {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(name).self_signed(&key).expect("a certificate");
    Files { chain: certificate.pem(), key: key.serialize_pem(), staple: None }
}

impl Workshop {
    fn new() -> Self {
        let (key, dir) = (KeyPair::generate().expect("a key"), tempfile::tempdir().expect("a directory"));
        let mut ca = CertificateParams::default();
        // A name of its own: another CA's certificates are not to look like this one's.
        ca.distinguished_name.push(DnType::CommonName, dir.path().to_string_lossy());
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        fs::write(dir.path().join("ca.pem"), ca.self_signed(&key).expect("a certificate").pem()).expect("a file");
        fs::write(dir.path().join("ca.key"), key.serialize_pem()).expect("a file");
        Self { dir, ca: Issuer::new(ca, key) }
    }

    fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let key = KeyPair::generate().expect("a key");
        let mut leaf = params(name);
        change(&mut leaf);
        let certificate = leaf.signed_by(&key, &self.ca).expect("a certificate");
        Files { chain: certificate.pem(), key: key.serialize_pem(), staple: None }
    }

    fn below_a_constrained_ca(&self, name: &str) -> Files {
        let (ca_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "A CA for another domain");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let permitted_subtrees = vec![GeneralSubtree::DnsName("elsewhere.example".into())];
        ca.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        let between = ca.signed_by(&ca_key, &self.ca).expect("a certificate");
        let leaf = params(name).signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
        Files { chain: leaf.pem() + &between.pem(), key: key.serialize_pem(), staple: None }
    }

    /// A certificate whose state in the CA's index is `V`alid or `R`evoked, with OpenSSL's response to that.
    fn stapled(&self, name: &str, state: &str, promised: bool) -> Files {
        let leaf = self.leaf(name, |leaf| {
            leaf.serial_number = Some(vec![0x4d, u8::from(promised)].into());
            if promised {
                must_staple(leaf);
            }
        });
        let revoked = if state == "R" { "240101000000Z" } else { "" };
        let line = format!("{state}\t401231235959Z\t{revoked}\t4D0{}\tunknown\t/CN={name}\n", u8::from(promised));
        self.write("index.txt", &line);
        self.write("leaf.pem", &leaf.chain);
        self.openssl(&["ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-reqout", "request.der", "-no_nonce"]);
        self.openssl(&[
            "ocsp",
            "-index",
            "index.txt",
            "-CA",
            "ca.pem",
            "-rsigner",
            "ca.pem",
            "-rkey",
            "ca.key",
            "-reqin",
            "request.der",
            "-respout",
            "response.der",
            "-ndays",
            "3",
        ]);
        let staple = fs::read(self.dir.path().join("response.der")).expect("a response");
        Files { staple: Some(staple), ..leaf }
    }

    /// An RSA certificate of these many bits, signed with this digest.
    fn by_openssl(&self, name: &str, bits: &str, digest: &str) -> Files {
        self.write("extensions", &format!("subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n"));
        self.openssl(&["genrsa", "-out", "leaf.key", bits]);
        self.openssl(&["req", "-new", "-key", "leaf.key", "-subj", "/CN=leaf", "-out", "leaf.csr"]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-set_serial",
            bits,
            digest,
            "-extfile",
            "extensions",
            "-days",
            "30",
            "-out",
            "leaf.pem",
        ]);
        let read = |file: &str| fs::read_to_string(self.dir.path().join(file)).expect("OpenSSL's output");
        Files { chain: read("leaf.pem"), key: read("leaf.key"), staple: None }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).expect("a file");
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.dir.path()).output();
        let output = output.expect("openssl is needed for this test");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Puts the files of each case into `dir`, and the configuration of endpoints that are to be verified by the CA.
fn prepare(dir: &Path) {
    let shop = Workshop::new();
    fs::copy(shop.dir.path().join("ca.pem"), dir.join("roots.pem")).expect("a copy");
    let mut config = String::new();
    for (port, case) in (PORT..).zip(&CASES) {
        let name = format!("{}.{DOMAIN}", case.name);
        let Files { chain, key, staple } = (case.make)(&shop, &name);
        fs::write(dir.join(format!("{}.pem", case.name)), chain).expect("a file");
        fs::write(dir.join(format!("{}.key", case.name)), key).expect("a file");
        if let Some(staple) = staple {
            fs::write(dir.join(format!("{}.ocsp", case.name)), staple).expect("a file");
        }
        let _ = write!(
            config,
            "[[endpoint]]\nprovider = 'openai'\nnames = ['{name}']\nports = [{port}]\naddresses = ['127.0.0.1']\n\
             roots = ['{}']\n",
            dir.join("roots.pem").display()
        );
    }
    fs::write(dir.join("config.toml"), config).expect("a file");
}

#[test]
fn each_bad_certificate_is_refused_with_its_reason_in_the_answer_and_in_the_record() {
    let dir = tempfile::tempdir().expect("a directory");
    prepare(dir.path());
    let config = dir.path().join("config.toml");
    let lab = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]);
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let run = lab.sh(&format!(
        "cd {dir}; port={PORT}
         for name in {names}; do
             staple=; [ -f $name.ocsp ] && staple=\"-status_file $name.ocsp\"
             openssl s_server -accept 127.0.0.1:$port -cert $name.pem -cert_chain $name.pem -key $name.key $staple \
                 -cipher DEFAULT@SECLEVEL=0 -www > $name.log 2>&1 &
             until grep -q ACCEPT $name.log; do sleep 0.02; done
             url=https://$name.{DOMAIN}:$port/v1/models
             echo \"$name $(curl -sS -w ' %{{http_code}}' --resolve $name.{DOMAIN}:$port:127.0.0.1 $url | tr -d '\\n')\"
             port=$((port + 1))
         done
         kill $(jobs -p)",
        dir = dir.path().display(),
        names = names.join(" "),
    ));
    let printed: Vec<&str> = run.ok().lines().collect();
    let records = lab.records();
    assert_eq!((printed.len(), records.len()), (CASES.len(), CASES.len()), "{run} {records:?}");
    for ((case, line), record) in CASES.iter().zip(printed).zip(&records) {
        let Some(fault) = case.fault else {
            assert!(line.starts_with(case.name) && line.ends_with(" 200"), "{line}");
            continue;
        };
        assert!(line.ends_with(" 502") && line.contains(&format!("({fault})")), "{}: {line}", case.name);
        assert_eq!(record["endpoint"]["host"], format!("{}.{DOMAIN}", case.name), "{record}");
        let decision = &record["decision"];
        assert_eq!(
            (&decision["action"], &decision["rule"]),
            (&"deny".into(), &"upstream.certificate".into()),
            "{record}"
        );
        assert!(decision["reason"].as_str().is_some_and(|reason| reason.contains(&format!("({fault})"))), "{record}");
    }
}

/// An endpoint that asks for a certificate, and a daemon that is told which.
#[test]
fn an_endpoint_that_wants_a_client_certificate_gets_it_from_the_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let shop = Workshop::new();
    let name = format!("mutual.{DOMAIN}");
    let server = shop.leaf(&name, |_| {});
    let client =
        shop.leaf("daemon.example", |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    fs::copy(shop.dir.path().join("ca.pem"), dir.path().join("roots.pem")).expect("a copy");
    for (file, text) in [
        ("server.pem", server.chain),
        ("server.key", server.key),
        ("client.pem", client.chain),
        ("client.key", client.key),
    ] {
        fs::write(dir.path().join(file), text).expect("a file");
    }
    let private = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(dir.path().join("client.key"), permissions).expect("a mode");
    };
    private(0o600);
    let config = dir.path().join("config.toml");
    let endpoint = |more: &str| {
        let text = format!(
            "[[endpoint]]\nprovider = 'openai'\nnames = ['{name}']\nports = [{PORT}]\naddresses = ['127.0.0.1']\n\
             roots = ['{0}/roots.pem']\n{more}",
            dir.path().display()
        );
        fs::write(&config, text).expect("a file");
    };
    let identity =
        format!("client_certificate = '{0}/client.pem'\nclient_key = '{0}/client.key'\n", dir.path().display());
    let lab = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]);
    let ask = format!(
        "cd {dir}; rm -f server.log
         openssl s_server -accept 127.0.0.1:{PORT} -cert server.pem -key server.key -CAfile roots.pem -Verify 1 \
             -verify_return_error -www > server.log 2>&1 &
         until grep -q ACCEPT server.log; do sleep 0.02; done
         curl -sS -w ' %{{http_code}}' --resolve {name}:{PORT}:127.0.0.1 https://{name}:{PORT}/v1/models
         kill $!",
        dir = dir.path().display(),
    );
    endpoint("");
    let without = lab.sh(&ask);
    assert!(without.ok().ends_with(" 502"), "{without}");
    endpoint(&identity);
    let with = lab.sh(&ask);
    assert!(with.ok().ends_with(" 200") && with.stdout.contains("Client certificate"), "{with}");

    private(0o644);
    let refused = lab.sh("true");
    assert_eq!(refused.status, 125, "{refused}");
    wait_until("the daemon has said why", || lab.journal().contains("chmod 0600"));
    assert!(lab.journal().contains(&format!("endpoint {name}: client_key:")), "{}", lab.journal());
}
