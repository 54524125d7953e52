//! Clients that do not trust the internal CA: each fails in its own way, and the record says which process it was.

use interceptor_tests::{Lab, OPENAI, client};
use serde_json::Value;

/// A client that is not told about the internal CA; and what the record must say: the alert, or that it left without one.
struct Client {
    name: &'static str,
    command: String,
    /// The end of its executable's path.
    exe: &'static str,
    /// One of these.
    rules: &'static [&'static str],
    said: &'static [&'static str],
}

fn clients() -> Vec<Client> {
    let host = "api.openai.com";
    vec![
        Client {
            name: "curl",
            command: format!("curl -sS --capath /nonexistent --cacert lab/endpoint-ca.pem {OPENAI}"),
            exe: "/curl",
            rules: &["tls.handshake"],
            said: &["refused the internal CA", "UnknownCA"],
        },
        Client {
            name: "curl over TLS 1.2",
            command: format!("curl -sS --tls-max 1.2 --capath /nonexistent --cacert lab/endpoint-ca.pem {OPENAI}"),
            exe: "/curl",
            rules: &["tls.handshake"],
            said: &["refused the internal CA", "UnknownCA"],
        },
        Client {
            name: "wget",
            command: format!("wget -q --ca-certificate=lab/endpoint-ca.pem --ca-directory=/nonexistent {OPENAI}"),
            exe: "/wget",
            rules: &["connection.empty"],
            said: &["perhaps it does not trust"],
        },
        Client {
            name: "Python",
            command: format!(
                "python3 -c \"import socket, ssl; c = ssl.create_default_context(cafile='lab/endpoint-ca.pem'); \
                 c.wrap_socket(socket.create_connection(('{host}', 443)), server_hostname='{host}')\""
            ),
            exe: "python3",
            rules: &["tls.handshake"],
            said: &["refused the internal CA", "UnknownCA"],
        },
        Client {
            name: "Node",
            command: format!(
                "env -u NODE_EXTRA_CA_CERTS -u SSL_CERT_FILE {} -e \"fetch('{OPENAI}').catch(e => {{ console.error(e); \
                 process.exit(1) }})\"",
                client("node/node_modules/node/bin/node")
            ),
            exe: "/node",
            // It looks at the certificate by itself, at one moment or the other.
            rules: &["connection.empty", "tls.handshake"],
            said: &["perhaps it does not trust"],
        },
        Client {
            name: "Java",
            command: format!(
                "keytool -importcert -noprompt -alias lab -file lab/endpoint-ca.pem -keystore trust.p12 -storetype PKCS12 \
                 -storepass changeit; \
                 echo 'class C {{ public static void main(String[] a) throws Exception {{ \
                 new java.net.URL(\"{OPENAI}\").openStream().read(); }} }}' > C.java; \
                 env -u JAVA_TOOL_OPTIONS -u JDK_JAVA_OPTIONS java -Djavax.net.ssl.trustStore=trust.p12 \
                 -Djavax.net.ssl.trustStorePassword=changeit C.java"
            ),
            exe: "/java",
            rules: &["tls.handshake"],
            said: &["refused the internal CA", "CertificateUnknown"],
        },
    ]
}

#[test]
fn whoever_refuses_the_ca_is_recorded_with_the_alert_and_nothing_is_passed_on() {
    let lab = Lab::new();
    let clients = clients();
    // One after the other, each record complete before the next.
    let script: String = clients
        .iter()
        .map(|client| format!("( {} ) > out 2>&1 && echo 'trusted: {}'\n", client.command, client.name))
        .collect();
    let run = lab.sh(&format!("cd $INTERCEPTOR_STATE\n{script}true"));
    assert!(!run.ok().contains("trusted"), "{run}");
    let records = lab.records();
    for Client { name, exe, rules, said, .. } in &clients {
        let by = |record: &&Value| {
            record["caller"]["exe"].as_str().is_some_and(|path| path.contains(exe.trim_start_matches('/')))
        };
        let refused: Vec<_> = records.iter().filter(by).collect();
        assert!(!refused.is_empty(), "{name}: {records:?}");
        for record in refused {
            assert_eq!(record["decision"]["action"], "deny", "{name}: {record}");
            assert_eq!(record["endpoint"]["host"], "api.openai.com", "{name}: {record}");
        }
        let reasoned = records.iter().filter(by).any(|record| {
            let reason = record["decision"]["reason"].as_str().unwrap_or_default();
            rules.iter().any(|rule| record["decision"]["rule"] == *rule)
                && said.iter().all(|part| reason.contains(part))
        });
        assert!(reasoned, "{name}: {records:#?}");
    }
    assert!(lab.requests().is_empty(), "{:?}", lab.requests_as_text());
}

/// An address instead of a name: no hello names it, and the leaf is for it alone.
#[test]
fn an_endpoint_that_is_configured_by_its_address_is_intercepted_by_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("interceptor.toml");
    let text = "[[endpoint]]\nprovider = 'openai'\naddresses = ['203.0.113.10', '2001:db8::10']\n";
    std::fs::write(&config, text).expect("a file");
    let lab = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]);
    let body = interceptor_tests::body("mail jane@corp.example", false);
    for host in ["203.0.113.10", "[2001:db8::10]"] {
        let url = format!("https://{host}/v1/chat/completions");
        let run = lab.run(&interceptor_tests::curl(&url, &body, &["-w", " %{http_code}"]));
        // The lab's endpoint has a certificate for its name only: verified for the address, it is refused.
        assert!(run.ok().ends_with(" 502") && run.stdout.contains("(wrong-name)"), "{run}");
    }
    // The name has its own endpoint still.
    let run = lab.run(&interceptor_tests::curl(OPENAI, &body, &["-w", " %{http_code}"]));
    assert!(run.ok().ends_with(" 200"), "{run}");
    // Where no endpoint is known by its address alone, a hello without a name is refused.
    let run = lab.run(&["curl", "-sS", "https://203.0.113.11/v1/models"]);
    assert_eq!(run.status, 35, "{run}");
    let rules: Vec<_> = lab.records().iter().map(|record| record["decision"]["rule"].clone()).collect();
    assert!(rules.contains(&"connection.no_name".into()), "{rules:?}");
}
