//! Connections that are not simply TLS to an endpoint's name: strict mode, foreign and missing names, servers that speak
//! first, plain HTTP, and a proxy in between. A host elsewhere keeps every byte that reaches it.

use std::fs;
use std::path::PathBuf;

use interceptor_tests::{Lab, PLANTED, Run, body, contains, planted_prompt, script};
use serde_json::Value;
use tempfile::NamedTempFile;

const STRICT: &str = "[capture]\nstrict = ['client']\n";

/// curl to a name that the host elsewhere has a certificate for, at its address.
pub(super) const FOREIGN: &str = "curl -sS --max-time 20 --cacert $DIR/cert.pem --resolve foreign.example:443:203.0.113.200 \
                       https://foreign.example/hello";

/// A lab with a host elsewhere.
pub(super) struct Elsewhere {
    pub(super) lab: Lab,
    _config: NamedTempFile,
}

impl Elsewhere {
    pub(super) fn new(config: &str) -> Self {
        let file = NamedTempFile::new().expect("a file");
        fs::write(file.path(), config).expect("a configuration");
        let lab = Lab::with(&["--config", file.path().to_str().expect("a path in UTF-8")]);
        let made = rcgen::generate_simple_self_signed(["foreign.example".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let elsewhere = Self { lab, _config: file };
        fs::create_dir_all(elsewhere.dir()).expect("a directory");
        fs::write(elsewhere.dir().join("cert.pem"), &certificate).expect("a file");
        fs::write(elsewhere.dir().join("far.pem"), certificate + &key).expect("a file");
        elsewhere
    }

    fn dir(&self) -> PathBuf {
        self.lab.state().join("elsewhere")
    }

    /// Runs a shell script, in which `say` is `say.py`.
    pub(super) fn sh(&self, text: &str) -> Run {
        self.sh_under(&[], text)
    }

    /// As [`sh`](Self::sh), with the HTTP proxy.
    fn sh_with_proxy(&self, text: &str) -> Run {
        self.sh_under(&["env", "PROXY=yes"], text)
    }

    fn sh_under(&self, prefix: &[&str], text: &str) -> Run {
        let dir = self.dir();
        let dir = dir.to_str().expect("a path in UTF-8");
        let text = format!("DIR={dir}; say() {{ python3 {} \"$@\"; }}; {text}", script("say.py"));
        self.lab.run(&[prefix, &["bash", &script("elsewhere.sh"), dir, "bash", "-c", &text]].concat())
    }

    /// What reached a port there, connection by connection; `proxy` for the proxy.
    pub(super) fn arrived(&self, port: &str) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.dir()).expect("a directory").map(|entry| entry.expect("an entry").path());
        let of_port = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.rsplit_once('-').is_some_and(|(start, _)| start == port)
        };
        let mut files: Vec<PathBuf> = entries.filter(of_port).collect();
        // The tenth comes after the ninth.
        files.sort_by_key(|file| (file.as_os_str().len(), file.clone()));
        files.into_iter().map(|file| fs::read(file).expect("what arrived")).collect()
    }

    /// The only record.
    #[track_caller]
    fn record(&self) -> Value {
        let mut records = self.lab.records();
        assert_eq!(records.len(), 1, "{records:#?}");
        records.remove(0)
    }

    /// Action and rule of each record.
    fn decisions(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
        let records = self.lab.records();
        records.iter().map(|r| (text(&r["decision"]["action"]), text(&r["decision"]["rule"]))).collect()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(action, rule)| ((*action).to_owned(), (*rule).to_owned())).collect()
}

fn plain_prompt(url: &str, more: &str) -> String {
    format!(
        "curl -sS --max-time 20 {url} -H 'content-type: application/json' -d '{}' {more}",
        body(&planted_prompt(), false)
    )
}

#[track_caller]
fn assert_masked(arrived: &[u8]) {
    assert!(contains(arrived, "[CARD_"), "{}", arrived.escape_ascii());
    assert!(!PLANTED.iter().any(|value| contains(arrived, value)), "{}", arrived.escape_ascii());
}

#[test]
fn strict_passes_a_foreign_name_on_under_the_clients_own_tls() {
    let elsewhere = Elsewhere::new(STRICT);
    // curl trusts the host elsewhere only: any other certificate would fail it.
    let run = elsewhere.sh(FOREIGN);
    assert!(run.ok().contains("\"path\":\"/hello\""), "{run}");
    let record = elsewhere.record();
    assert_eq!(record["decision"]["action"], "splice", "{record}");
    assert_eq!(record["decision"]["rule"], "connection.foreign_name", "{record}");
    assert_eq!(record["endpoint"]["host"], "foreign.example", "{record}");
    assert_eq!(record["endpoint"]["ip"], "203.0.113.200", "{record}");
    assert_eq!(record["endpoint"]["port"], 443, "{record}");
    // The server may end with a reset, and then the connection was not completed.
    assert!(record["state"] == "complete" || record["response"]["error"].is_string(), "{record}");
    assert!(record["caller"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/curl")), "{record}");
    assert_eq!(record["coverage"]["scanned_bytes"], 0, "{record}");
    assert_eq!(record["coverage"]["parts"][0]["status"], "opaque", "{record}");
    assert!(record["request"]["bytes"].as_u64().is_some_and(|sent| sent > 300), "{record}");
    assert!(record["response"]["bytes"].as_u64().is_some_and(|received| received > 300), "{record}");
    assert!(record["timing"]["total_us"].as_u64().is_some_and(|total| total > 0), "{record}");
    assert_eq!(elsewhere.lab.interceptor(&["log", "verify"]).status, 0);
}

#[test]
fn strict_passes_other_protocols_on_byte_for_byte() {
    let elsewhere = Elsewhere::new(STRICT);
    let run = elsewhere.sh("set -e
         head -c 3000000 /dev/urandom > $DIR/sent
         # An answer that begins after the sender has closed its direction.
         python3 -c 'import socket, sys, threading
s = socket.create_connection((\"203.0.113.200\", 7), 20)
data = open(sys.argv[1], \"rb\").read()
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
heard = b\"\"
while piece := s.recv(65536): heard += piece
assert heard == data, (len(heard), len(data))' $DIR/sent
         say 203.0.113.200 2222 hear 'say:after you\\n' hear");
    assert_eq!(run.ok(), "SSH-2.0-elsewhere\r\nafter you\n", "{run}");
    let sent = fs::read(elsewhere.dir().join("sent")).expect("what was sent");
    assert!(elsewhere.arrived("7") == [sent], "not what was sent");
    assert_eq!(
        elsewhere.decisions(),
        pairs(&[("splice", "connection.other_protocol"), ("splice", "connection.server_first")])
    );
    let records = elsewhere.lab.records();
    assert_eq!(records[0]["request"]["bytes"], 3_000_000, "{}", records[0]);
    assert_eq!(records[0]["response"]["bytes"], 3_000_000, "{}", records[0]);
}

#[test]
fn a_client_that_waits_before_its_hello_is_not_taken_for_one_that_waits_for_the_server() {
    let elsewhere = Elsewhere::new(STRICT);
    let run = elsewhere.sh("say 203.0.113.200 443 wait:600 hello:api.openai.com rest > $DIR/heard
         say 203.0.113.200 80 wait:600 'say:POST / HTTP/1.1\\r\\nHost: api.openai.com\\r\\n\\r\\n' rest | head -1");
    assert!(run.ok().starts_with("HTTP/1.1 403 "), "{run}");
    // A server's answer to the hello: the interceptor's, for nothing arrived.
    let heard = fs::read(elsewhere.dir().join("heard")).expect("what it heard");
    assert_eq!(heard.first(), Some(&22), "{}", heard.escape_ascii());
    assert!(elsewhere.arrived("443").concat().is_empty() && elsewhere.arrived("80").concat().is_empty());
    let decisions = elsewhere.decisions();
    assert!(decisions.iter().all(|(action, _)| action == "deny"), "{decisions:?}");
}

#[test]
fn a_catalogued_name_is_intercepted_at_any_address_and_refused_on_any_other_port() {
    let elsewhere = Elsewhere::new(STRICT);
    let run = elsewhere.sh(&format!(
        "curl -sS -o /dev/null -w '%{{http_code}}\\n' --connect-to ::203.0.113.200:443 {url} -d '{prompt}'
         say 203.0.113.200 2222 hello:api.openai.com rest | od -An -tx1",
        url = interceptor_tests::OPENAI,
        prompt = body(&planted_prompt(), false),
    ));
    // What listens there has no certificate for the name: it gets nothing.
    let (status, alert) = run.ok().split_once('\n').expect("two lines");
    assert_eq!((status, alert.trim()), ("502", "15 03 03 00 02 02 31"), "{run}");
    for port in ["443", "2222"] {
        assert!(elsewhere.arrived(port).concat().is_empty(), "{port}");
    }
    let records = elsewhere.lab.records();
    assert!(records[0]["decision"]["reason"].as_str().is_some_and(|e| e.contains("certificate")), "{}", records[0]);
    assert_eq!(elsewhere.decisions()[1], ("deny".into(), "connection.port".into()));
}

#[test]
fn missing_hidden_and_foreign_names_get_an_explicit_decision() {
    let elsewhere = Elsewhere::new(STRICT);
    let run = elsewhere.sh("for at in '203.0.113.10 443' '203.0.113.200 443'; do
             for hello in hello: hello-ech:cloudflare-ech.com hello:foreign.example; do
                 say $at $hello hear | od -An -tx1 | head -1
             done
         done");
    let lines: Vec<&str> = run.ok().lines().map(str::trim).collect();
    let alerts = |lines: &[&str]| lines.iter().all(|line| line.starts_with("15 03 03 00 02 02"));
    // unrecognized_name is 0x70, access_denied 0x31.
    assert!(alerts(&lines[..5]), "{run}");
    assert_eq!(lines.iter().map(|line| &line[18..20]).take(5).collect::<Vec<_>>(), ["70", "31", "70", "70", "31"]);
    assert!(lines[5].starts_with("16 03"), "the server's own answer: {run}");
    assert_eq!(
        elsewhere.decisions(),
        pairs(&[
            ("deny", "connection.no_name"),
            ("deny", "strict.ech_public_names"),
            ("deny", "connection.foreign_name"),
            ("deny", "strict.no_name"),
            ("deny", "strict.ech_public_names"),
            ("splice", "connection.foreign_name"),
        ])
    );
    let records = elsewhere.lab.records();
    assert_eq!(records[1]["endpoint"]["host"], "cloudflare-ech.com", "{}", records[1]);
    assert!(elsewhere.lab.requests().is_empty());
}

#[test]
fn plain_http_is_passed_on_request_by_request() {
    let elsewhere = Elsewhere::new(STRICT);
    let run = elsewhere.sh(
        "say 203.0.113.200 80 'say:GET /one HTTP/1.1\\r\\nHost: foreign.example\\r\\n\\r\\n' hear \\
             'say:POST /two HTTP/1.1\\r\\nHost: foreign.example\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n' hear \\
             'say:POST /three HTTP/1.1\\r\\nHost: api.openai.com\\r\\nContent-Length: 6\\r\\n\\r\\nsecret' rest
         say 203.0.113.200 80 'say:GET / HTTP/1.1\\r\\nHost: foreign.example\\r\\nUpgrade: shout\\r\\n\\r\\n' hear \\
             'say:not http\\n' hear",
    );
    let heard = run.ok();
    assert!(heard.contains("/one") && heard.contains("/two") && heard.contains("HTTP/1.1 403 Forbidden"), "{run}");
    assert!(heard.contains("HTTP/1.1 101 ") && heard.ends_with("NOT HTTP\n"), "{run}");
    let arrived = elsewhere.arrived("80");
    assert!(contains(&arrived[0], "/two") && !contains(&arrived[0], "/three"), "{}", arrived[0].escape_ascii());
    let mut decisions = elsewhere.decisions();
    decisions.sort();
    assert_eq!(
        decisions,
        pairs(&[
            ("deny", "connection.port"),
            ("splice", "connection.foreign_name"),
            ("splice", "connection.foreign_name"),
        ])
    );
}

#[test]
fn a_plain_http_endpoint_is_masked_and_recorded() {
    let config = "[[endpoint]]\nprovider = 'openai'\nprotocol = 'http'\nnames = ['llm.lab.example']\nports = [11434]\n\
                  addresses = ['203.0.113.200']\n";
    let elsewhere = Elsewhere::new(config);
    let run = elsewhere.sh(&plain_prompt("http://203.0.113.200:11434/v1/chat/completions", ""));
    assert!(run.ok().contains("chat.completion"), "{run}");
    assert_masked(&elsewhere.arrived("11434").concat());
    let record = elsewhere.record();
    assert_eq!(record["decision"]["action"], "mask", "{record}");
    assert_eq!(record["endpoint"]["provider"], "openai", "{record}");
    assert_eq!(record["endpoint"]["port"], 11434, "{record}");
    assert_eq!(record["response"]["status"], 200, "{record}");

    let run = elsewhere.sh("say 203.0.113.200 11434 hello:llm.lab.example hear | od -An -tx1");
    assert!(run.ok().trim().starts_with("15 03 03 00 02 02"), "TLS to it is refused: {run}");
    assert_eq!(elsewhere.decisions()[1], ("deny".into(), "connection.protocol".into()));
}

#[test]
fn requests_through_an_enrolled_proxy_are_read() {
    let config = "[capture]\nexempt = ['endpoint']\n[[proxy]]\naddresses = ['203.0.113.2']\n";
    let elsewhere = Elsewhere::new(config);
    let proxied = "-x http://203.0.113.2:3128 --proxy-user me:open";
    let run = elsewhere.sh_with_proxy(&format!(
        "{prompt}; echo
             # Asked who it is first, on the same connection.
             {prompt} --proxy-anyauth; echo
             curl -sS --max-time 20 -x http://203.0.113.2:3128 https://api.openai.com/v1/models -o /dev/null \
                 -w '%{{http_connect}}\\n'
             curl -sS --max-time 20 {proxied} http://api.openai.com/v1/models -w '\\n%{{http_code}}\\n'",
        prompt = plain_prompt(interceptor_tests::OPENAI, proxied),
    ));
    // The third is the proxy's own no: curl's 56.
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.contains("You said: card [CARD_")).count(), 2, "{run}");
    assert!(lines.contains(&"407") && lines.last() == Some(&"403"), "{run}");
    assert_eq!(elsewhere.lab.requests().len(), 2, "{run}");
    for request in elsewhere.lab.requests() {
        assert_masked(&request);
    }
    let asked = elsewhere.arrived("proxy").concat();
    assert!(contains(&asked, "CONNECT api.openai.com:443 ") && !contains(&asked, "/v1/"), "{}", asked.escape_ascii());
    let records = elsewhere.lab.records();
    assert_eq!(records[0]["endpoint"]["host"], "api.openai.com", "{}", records[0]);
    assert_eq!(records[0]["endpoint"]["port"], 3128, "{}", records[0]);
    let actions: Vec<_> = elsewhere.decisions().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["mask", "mask", "deny"], "{records:#?}");
}

#[test]
fn a_tunnel_must_hold_what_it_was_asked_for() {
    let config = "[capture]\nexempt = ['endpoint']\n[[proxy]]\naddresses = ['203.0.113.2']\n";
    let elsewhere = Elsewhere::new(config);
    let connect = |host: &str| {
        format!("'say:CONNECT {host} HTTP/1.1\\r\\nProxy-Authorization: Basic bWU6b3Blbg==\\r\\n\\r\\n' hear")
    };
    let text = format!(
        "say 203.0.113.2 3128 {foreign} hello:api.openai.com rest > $DIR/fronted
         say 203.0.113.2 3128 {endpoint} hello:foreign.example rest > $DIR/disguised
         say 203.0.113.2 3128 {endpoint} 'say:POST /v1 HTTP/1.1\\r\\nHost: api.openai.com\\r\\n\\r\\n' rest > $DIR/plain
         say 203.0.113.2 3128 {first} hear
         {FOREIGN} -x http://203.0.113.2:3128 --proxy-user me:open",
        foreign = connect("foreign.example:443"),
        endpoint = connect("api.openai.com:443"),
        first = connect("foreign.example:2222"),
    );
    let run = elsewhere.sh_with_proxy(&text);
    assert!(run.ok().contains("SSH-2.0-elsewhere") && run.stdout.contains("\"path\":\"/hello\""), "{run}");
    for file in ["fronted", "disguised"] {
        let heard = fs::read(elsewhere.dir().join(file)).expect("what it heard");
        assert!(heard.starts_with(b"HTTP/1.1 200 "), "{file}: {}", heard.escape_ascii());
        assert!(heard.ends_with(b"\x15\x03\x03\x00\x02\x02\x31"), "{file}: {}", heard.escape_ascii());
    }
    let refused = fs::read(elsewhere.dir().join("plain")).expect("what it heard");
    assert!(contains(&refused, "HTTP/1.1 403 "), "{}", refused.escape_ascii());
    let rules = elsewhere.decisions();
    assert_eq!(
        rules.iter().filter(|(action, rule)| action == "deny" && rule == "connection.tunnel").count(),
        3,
        "{rules:?}"
    );
    assert_eq!(rules.iter().filter(|(action, _)| action == "splice").count(), 3, "{rules:?}");
    assert!(elsewhere.lab.requests().is_empty());
}

#[test]
fn configured_rules_decide_first() {
    let config = format!(
        "{STRICT}[[connection]]\nname = 'no echo'\nport = [7]\naction = 'deny'\n\
         [[connection]]\nname = 'curl is trusted'\nexe = ['*/curl']\nuser = ['root']\nsni = ['api.openai.com']\naction = 'splice'\n"
    );
    let elsewhere = Elsewhere::new(&config);
    let run = elsewhere.sh(&format!(
        "say 203.0.113.200 7 say:hello end rest; echo .
         trusted() {{ \"$@\" curl -sS --cacert $INTERCEPTOR_STATE/lab/endpoint-ca.pem {} -d '{}'; }}
         trusted env
         trusted unshare --mount || true",
        interceptor_tests::OPENAI,
        body("unread", false)
    ));
    // Among mounts of its own, anything could be at curl's path: there it is intercepted like any other program.
    assert!(run.ok().contains("You said: unread"), "{run}");
    assert!(elsewhere.arrived("7").concat().is_empty(), "{run}");
    let decisions = elsewhere.decisions();
    assert_eq!(decisions[..2], pairs(&[("deny", "no echo"), ("splice", "curl is trusted")]));
    assert!(decisions.len() == 3 && decisions[2].0 != "splice", "{decisions:?}");
}

#[test]
fn connections_over_the_limit_are_in_the_log() {
    let elsewhere = Elsewhere::new("[limits]\nconnections_per_user = 2\n[listen]\nworkers = 1\n");
    let run = elsewhere.sh("exec 3<>/dev/tcp/203.0.113.10/443 4<>/dev/tcp/203.0.113.10/443
         for n in 1 2 3 4 5; do (exec 5<>/dev/tcp/203.0.113.10/443; cat <&5) & done; wait; sleep 2");
    let _ = run.ok();
    let records = elsewhere.lab.records();
    let reasons: Vec<_> = records
        .iter()
        .filter(|record| record["decision"]["rule"] == "limits.connections")
        .map(|record| record["decision"]["reason"].as_str().expect("a reason"))
        .collect();
    // The first of a second by itself, what came within it together.
    let counted = |reason: &str| reason.split_once(" more within").map_or(1, |(n, _)| n.parse().expect("a number"));
    assert_eq!(reasons.iter().map(|reason| counted(reason)).sum::<u32>(), 5, "{reasons:?}");
    assert!(reasons.len() < 5 && reasons.iter().all(|reason| reason.contains("uid 0")), "{reasons:?}");
}
