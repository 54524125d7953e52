//! Metrics as the reference parsers read them, and alerts on their way into the log and out of it.

use std::path::{Path, PathBuf};

use interceptor_tests::{Lab, OPENAI, Run, body, client, planted_prompt, workspace};
use serde_json::Value;

/// Six findings of high severity within ten minutes are told once in that time.
const CONFIGURATION: &str = r#"
[metrics]
listen = "127.0.0.1:9464"
interval_s = 1
[metrics.otlp]
url = "http://127.0.0.1:4318/v1/metrics"
plaintext = true
[[alert]]
name = "burst"
when = "findings"
severity = "high"
count = 6
window_s = 600
"#;
const FORMATS: [&str; 4] = ["jsonl", "ocsf", "ecs", "cef"];

/// A lab with that configuration and a file for each format, and where the files are.
fn lab() -> (Lab, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let sinks = FORMATS.map(|format| {
        let path = events(dir.path(), format);
        format!("[[sink]]\nname = '{format}'\ntype = 'file'\nformat = '{format}'\npath = '{}'\n", path.display())
    });
    let config = dir.path().join("config.toml");
    std::fs::write(&config, CONFIGURATION.to_owned() + &sinks.concat()).expect("a configuration");
    (Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]), dir)
}

fn events(dir: &Path, format: &str) -> PathBuf {
    dir.join(format!("events.{format}"))
}

/// Runs a shell script in the lab: `ask` asks with planted values, `scrape` prints what is scraped.
fn sh(lab: &Lab, text: &str) -> Run {
    let scripts = workspace().join("tests/sinks");
    lab.sh(&format!(
        "set -e; python={python}; taken=$INTERCEPTOR_STATE/otlp
         ask() {{ curl -sS -o /dev/null {OPENAI} -H 'content-type: application/json' -d '{asked}'; }}
         scrape() {{ $python {scripts}/scrape.py http://127.0.0.1:9464/metrics \"$@\"; }}
         receive() {{ $python {scripts}/receiver.py otlp-metrics 4318 $taken 0 & receiver=$!; }}
         wait_for() {{ for n in $(seq 1000); do grep -qs \"$1\" $2 && return; sleep 0.02; done; echo \"no $1 in $2\"; exit 1; }}
         {text}",
        python = client("sinks/bin/python"),
        scripts = scripts.display(),
        asked = body(&planted_prompt(), false),
    ))
}

/// The alerts of the files, by format, as lines.
fn alerts(dir: &Path, format: &str) -> Vec<String> {
    let text = std::fs::read_to_string(events(dir, format)).expect("the file of a sink");
    let is_alert = |line: &&str| match format {
        "jsonl" => line.starts_with("{\"alert\":"),
        "ocsf" => line.contains("\"class_uid\":2004"),
        "ecs" => line.contains("\"kind\":\"alert\""),
        _ => line.contains("|alert|burst|8|"),
    };
    text.lines().filter(is_alert).map(str::to_owned).collect()
}

#[test]
fn what_was_asked_is_counted_and_a_burst_is_told_once_in_every_format() {
    let (lab, dir) = lab();
    let run = sh(
        &lab,
        "receive; for n in 1 2 3 4; do ask; done
         scrape 'interceptor_requests_total>=4' 'interceptor_alerts_total>=1'
         wait_for 'interceptor_alerts{alert=\"burst\"} 1' $taken
         wait_for 'interceptor_overhead_seconds{} 4' $taken
         kill $receiver",
    );
    let samples = run.json();
    let sample = |name: &str| samples[name].as_f64().unwrap_or_else(|| panic!("no {name}: {samples}"));
    assert_eq!(sample("interceptor_requests_total{provider=\"openai\",decision=\"mask\",status=\"2xx\"}"), 4.0);
    assert_eq!(sample("interceptor_findings_total{type=\"CREDIT_CARD\",action=\"mask\"}"), 4.0);
    assert_eq!(sample("interceptor_overhead_seconds_count"), 4.0);
    assert_eq!(sample("interceptor_alerts_total{alert=\"burst\"}"), 1.0);
    assert!(sample("interceptor_alerts_suppressed_total{alert=\"burst\"}") >= 3.0, "{samples}");
    assert!(sample("interceptor_scanned_bytes_total") > 0.0 && sample("interceptor_masking_rules") > 100.0);
    assert!(sample("interceptor_log_frames_total") >= 8.0 && sample("interceptor_log_sync_seconds_count") >= 4.0);
    assert_eq!((sample("interceptor_log_stuck"), sample("interceptor_healthy")), (0.0, 1.0), "{samples}");
    assert_eq!(sample("interceptor_degraded{reason=\"programs\"}"), 0.0);
    assert!(sample("interceptor_capture_events_total{event=\"Redirected\"}") >= 4.0);
    let invalid = lab.state().join("otlp.bad");
    assert!(!invalid.exists(), "{}", std::fs::read_to_string(invalid).unwrap_or_default());

    let told = FORMATS.map(|format| alerts(dir.path(), format));
    assert!(told.iter().all(|lines| lines.len() == 1), "{told:?}");
    let alert: Value = serde_json::from_str(&told[0][0]).expect("JSON");
    let alert = &alert["alert"];
    assert_eq!((&alert["name"], &alert["key"]), (&"burst".into(), &"uid:0".into()), "{alert}");
    assert!(alert["count"].as_u64() >= Some(6) && alert["endpoint"] == "api.openai.com", "{alert}");
    let known: Vec<_> = lab.records().iter().map(|record| record["id"].clone()).collect();
    assert!(alert["records"].as_array().expect("a list").iter().all(|id| known.contains(id)), "{alert}");
    let _ = lab.interceptor(&["log", "verify"]).ok();
    assert!(lab.journal().contains("alert \"burst\" (high): "), "{}", lab.journal());

    // Another daemon, which was not there, knows from the log what was told.
    let _ = sh(&lab, "ask; scrape 'interceptor_requests_total>=1' 'interceptor_alerts_suppressed_total>=3'").json();
    assert_eq!(alerts(dir.path(), "jsonl"), told[0]);
}

#[test]
fn what_a_self_test_finds_wrong_is_an_alert() {
    let (lab, dir) = lab();
    let detach = interceptor_tests::script("kernel.py");
    let run = sh(
        &lab,
        &format!(
            "scrape 'interceptor_healthy>=1' > /dev/null
             python3 {detach} detach $(echo /sys/fs/bpf/interceptor/lab-*/v*/links)/connect6
             scrape 'interceptor_degraded>=1' 'interceptor_alerts_total>=1'
             wait_for '\"name\":\"degraded\"' {}",
            events(dir.path(), "jsonl").display()
        ),
    );
    let samples = run.json();
    assert_eq!(samples["interceptor_degraded{reason=\"programs\"}"], 1.0, "{samples}");
    let told = std::fs::read_to_string(events(dir.path(), "jsonl")).expect("the file of a sink");
    assert!(told.contains("kernel program connect6 is detached") && told.contains("\"key\":\"programs\""), "{told}");
}

#[test]
fn nothing_but_the_metrics_is_there_and_they_are_only_read() {
    let (lab, _dir) = lab();
    let run = sh(
        &lab,
        "url=http://127.0.0.1:9464
         for path in / /metrics/ /../metrics; do curl -sS --path-as-is -o /dev/null -w '%{http_code} ' $url$path; done
         curl -sS -o /dev/null -w '%{http_code} ' -d x $url/metrics
         curl -sSI -o /dev/null -w '%{http_code}' $url/metrics",
    );
    assert_eq!(run.ok(), "404 404 404 405 200");
}
