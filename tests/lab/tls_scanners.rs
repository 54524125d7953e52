//! Independent scanners of TLS servers, turned on what clients see of the proxy: they connect to an endpoint, and so are
//! intercepted like anybody else.

use std::fs;

use interceptor_tests::{Lab, client};
use serde_json::Value;

/// Findings that are agreed to stand, by the beginning of their names: whether certificates can be revoked (leaves live for
/// three months in memory alone, and the CA's are withdrawn from trust stores), CAA and HSTS (the endpoint's own affair), BREACH (of the endpoint's
/// compression, which the proxy passes on).
const AGREED: [&str; 7] = ["OCSP", "cert_crl", "cert_ocsp", "cert_revocation", "DNS_CAA", "HSTS", "BREACH"];

/// What `testssl` may say at most. `WARN` is a check that it could not make with the OpenSSL it runs, and no finding.
const HARMLESS: [&str; 5] = ["OK", "INFO", "LOW", "DEBUG", "WARN"];

/// The checks that are about the proxy, in the time that a test has. `cargo xtask soak tls` lets it make all.
const CHECKS: &str = "--protocols --std --fs --server-preference --server-defaults --heartbleed --ccs-injection \
                      --ticketbleed --robot --renegotiation --compression --tls-fallback --poodle --sweet32 --freak \
                      --drown --logjam --beast --lucky13 --rc4";

#[test]
fn testssl_finds_nothing_above_low() {
    let all = std::env::var_os("INTERCEPTOR_TEST_TLS_ALL").is_some();
    let checks = if all { "" } else { CHECKS };
    let lab = Lab::new();
    let run = lab.sh(&format!(
        "scan=$(command -v testssl || command -v testssl.sh)
         $scan --quiet --color 0 --warnings batch --connect-timeout 10 --openssl-timeout 10 --ip 203.0.113.10 \
             --add-ca $INTERCEPTOR_STATE/ca/ca.pem \
             --jsonfile $INTERCEPTOR_STATE/found.json {checks} api.openai.com:443"
    ));
    let found = fs::read(lab.state().join("found.json")).unwrap_or_else(|error| panic!("{error}: {run}"));
    let found: Vec<Value> = serde_json::from_slice(&found).unwrap_or_else(|error| panic!("{error}: {run}"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let worse: Vec<_> = found
        .iter()
        .filter(|finding| !HARMLESS.contains(&text(finding, "severity").as_str()))
        .filter(|finding| !AGREED.iter().any(|agreed| text(finding, "id").starts_with(agreed)))
        .collect();
    assert!(worse.is_empty(), "{worse:#?}");
    // It did look, and at what the proxy offers.
    let said = |id: &str| found.iter().find(|finding| finding["id"] == id).map(|finding| text(finding, "finding"));
    for version in ["TLS1_2", "TLS1_3"] {
        assert!(said(version).is_some_and(|said| said.contains("offered")), "{version}: {found:#?}");
    }
    for version in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
        assert!(said(version).is_some_and(|said| said.contains("not offered")), "{version}: {found:#?}");
    }
    let chain = found.iter().find(|finding| text(finding, "id").starts_with("cert_chain_of_trust"));
    assert!(chain.is_some_and(|chain| text(chain, "finding").contains("passed")), "{chain:#?}");
}

/// sslyze writes RSA moduli as numbers of 617 digits, for which JSON readers have no type.
fn without_moduli(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut digits = String::new();
    for character in json.chars().chain([' ']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        out.push_str(if digits.len() > 300 { "0" } else { &digits });
        digits.clear();
        out.push(character);
    }
    out
}

/// The commands of sslyze whose answers are read below.
const COMMANDS: [&str; 17] = [
    "--certinfo",
    "--compression",
    "--early_data",
    "--elliptic_curves",
    "--fallback",
    "--heartbleed",
    "--openssl_ccs",
    "--reneg",
    "--resum",
    "--robot",
    "--ems",
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
];

#[test]
fn sslyze_finds_nothing() {
    let lab = Lab::new();
    let scanner = client("scanner/bin/sslyze");
    let out = lab.state().join("found.json");
    let json = format!("--json_out={}", out.display());
    let mut command = vec![scanner.as_str()];
    command.extend(COMMANDS);
    // The lab's own bundle, beside those that it brings along.
    command.extend(["--certinfo_ca_file=/etc/ssl/certs/ca-certificates.crt", &json, "api.openai.com:443"]);
    let run = lab.run(&command);
    let found = fs::read_to_string(&out).unwrap_or_else(|error| panic!("{error}: {run}"));
    let found: Value = serde_json::from_str(&without_moduli(&found)).unwrap_or_else(|error| panic!("{error}: {run}"));
    let server = &found["server_scan_results"][0];
    assert_eq!(server["scan_status"], "COMPLETED", "{run}");
    let result = |name: &str| {
        let attempt = &server["scan_result"][name];
        assert_eq!(attempt["status"], "COMPLETED", "{name}: {attempt:#}");
        &attempt["result"]
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        let suites = &result(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
        assert_eq!(suites.as_array().map(Vec::len), Some(0), "{version}: {suites:#}");
    }
    for (version, least) in [("tls_1_2", 3), ("tls_1_3", 3)] {
        let suites = &result(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
        assert!(suites.as_array().is_some_and(|suites| suites.len() >= least), "{version}: {suites:#}");
    }
    assert_eq!(result("heartbleed")["is_vulnerable_to_heartbleed"], false);
    assert_eq!(result("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], false);
    assert_eq!(result("tls_compression")["supports_compression"], false);
    assert_eq!(result("tls_1_3_early_data")["supports_early_data"], false);
    assert_eq!(result("tls_extended_master_secret")["supports_ems_extension"], true);
    assert_eq!(result("session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"], false);
    assert_eq!(result("session_renegotiation")["supports_secure_renegotiation"], true);
    let robot = result("robot")["robot_result"].as_str().unwrap_or_default();
    assert!(robot.starts_with("NOT_VULNERABLE"), "{robot}");
    let certificates = result("certificate_info")["certificate_deployments"].as_array().expect("certificates");
    for deployment in certificates {
        assert_eq!(deployment["received_chain_has_valid_order"], true, "{deployment:#}");
        let paths = deployment["path_validation_results"].as_array().expect("paths");
        assert!(paths.iter().any(|path| path["was_validation_successful"] == true), "{paths:#?}");
    }
}
