//! Endpoints with wildcard names.

use interceptor_tests::{Lab, body};

/// An endpoint of names that resolve nowhere, at the address of one that the lab has.
const WILDCARD: &str = "
[[endpoint]]
provider = 'anthropic'
names = ['*-eu.openai.com']
addresses = ['203.0.113.10', '2001:db8::10']
";

#[test]
fn a_wildcard_name_is_intercepted_and_its_neighbour_in_the_cas_subtree_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("interceptor.toml");
    std::fs::write(&config, WILDCARD).expect("a file");
    let lab = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]);
    let post = |name: &str| {
        let resolve = format!("{name}:443:203.0.113.10");
        let url = format!("https://{name}/v1/messages");
        let body = body("hello", false);
        lab.run(&[
            "curl",
            "-sS",
            "-i",
            "--resolve",
            &resolve,
            &url,
            "-H",
            "content-type: application/json",
            "-d",
            &body,
        ])
    };
    // Under a leaf that curl verified, constraints of the CA included.
    let run = post("acme-eu.openai.com");
    assert!(run.ok().starts_with("HTTP/2 200 "), "{run}");
    let run = post("acme-us.openai.com");
    assert_eq!(run.status, 35, "the handshake fails: {run}");
    assert_eq!(lab.requests().len(), 1, "only the one that is enrolled");
    assert_eq!(lab.records()[0]["endpoint"]["provider"], "anthropic");
}
