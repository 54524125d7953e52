//! `cargo xtask demo`: the main job, visible, checked, in under a minute once built.

mod screen;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{setup, workspace};
use screen::Screen;

const URL: &str = "https://api.openai.com/v1/chat/completions";

/// What must not leave: a card number for tests, the number that a wallet maker printed on its sample card, and the key
/// of AWS's documentation.
const PLANTED: [&str; 3] = ["4111 1111 1111 1111", "078-05-1120", "AKIAIOSFODNN7EXAMPLE"];

/// Arguments of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs root (network namespaces, cgroups, BPF). Exit status 1 when a planted value got through or the log does not verify.

Example:
  cargo xtask demo
")]
pub(crate) struct Args {}

/// Sets up, builds, runs one request through the lab and shows what became of it.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    setup::run(&setup::Args::default())?;
    eprintln!("building ...");
    let interceptor = workspace::build_daemon()?;
    let state = workspace::root().join("target/demo");
    if state.exists() {
        fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    let ready = Instant::now();
    let demo = Demo { interceptor, state };
    let shown = demo.perform()?;
    demo.show(&shown);
    let failures = demo.check(&shown)?;
    demo.what_next(&shown);
    eprintln!(
        "took {:.1} s, {:.1} s of it set-up and build",
        start.elapsed().as_secs_f32(),
        (ready - start).as_secs_f32()
    );
    if !failures.is_empty() {
        bail!("the demo failed: {}", failures.join("; "));
    }
    Ok(())
}

struct Demo {
    interceptor: PathBuf,
    state: PathBuf,
}

/// What is shown.
struct Shown {
    sent: Value,
    received: Value,
    answer: Value,
    record: Value,
    verified: bool,
    verdict: String,
}

impl Demo {
    fn perform(&self) -> Result<Shown> {
        let prompt = format!(
            "Write to our customer.\nCard: {}\nSSN: {}\nS3 key: {}\nAsk for a new card.",
            PLANTED[0], PLANTED[1], PLANTED[2]
        );
        let sent = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]});
        let mut lab = Command::new(workspace::this_program()?);
        lab.args(["lab", "--no-build", "--state"]).arg(&self.state).arg("--");
        lab.args(["curl", "-sS", URL, "-H", "content-type: application/json", "-H", "authorization: Bearer demo"]);
        lab.arg("--data-raw").arg(sent.to_string());
        let answer = workspace::output(&mut lab)?;
        let answer = serde_json::from_str(&answer).with_context(|| format!("curl got no JSON back: {answer}"))?;
        let request = fs::read(self.state.join("endpoint/0001.http")).context("no request arrived at the endpoint")?;
        let (verified, verdict) = self.verify()?;
        Ok(Shown { sent, received: body_of(&request)?, answer, record: self.record()?, verified, verdict })
    }

    fn log(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.interceptor);
        command.arg("log").args(arguments).arg("--state").arg(&self.state);
        command
    }

    fn record(&self) -> Result<Value> {
        let listed = workspace::output(&mut self.log(&["list", "--json"]))?;
        let first = listed.lines().next().context("the audit log has no record")?;
        let summary: Value = serde_json::from_str(first).context("`log list --json` printed no JSON")?;
        let id = summary["id"].as_str().context("a record has no id")?;
        let record = workspace::output(&mut self.log(&["show", id, "--json"]))?;
        serde_json::from_str(&record).context("`log show --json` printed no JSON")
    }

    fn verify(&self) -> Result<(bool, String)> {
        let mut command = self.log(&["verify"]);
        let output = command.stdin(Stdio::null()).output().context("cannot run `interceptor log verify`")?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned()))
    }

    fn show(&self, shown: &Shown) {
        let screen = Screen::new();
        screen.title("One request of an unmodified client");
        screen.line(&format!("curl {URL} -H 'content-type: application/json' --data-raw '{{...}}'"));
        screen.columns(
            &["what the client sent", "what the endpoint received", "what the client got back"],
            &[prompt_of(&shown.sent), prompt_of(&shown.received), answer_of(&shown.answer)],
            &PLANTED,
        );
        screen.title("The audit record (interceptor log show --json)");
        screen.fields(&summary(&shown.record));
        screen.title("interceptor log verify");
        screen.line(&shown.verdict);
    }

    /// What failed; each check is shown.
    fn check(&self, shown: &Shown) -> Result<Vec<&'static str>> {
        let readable = planted_below(&self.state)?;
        let received = shown.received.to_string();
        let findings = shown.record["findings"].as_array().map_or(0, Vec::len);
        let checks = [
            ("none of the three values reached the endpoint", !PLANTED.iter().any(|value| received.contains(value))),
            ("the request did reach the endpoint", prompt_of(&shown.received).contains("Write to our customer.")),
            ("the client got its answer", answer_of(&shown.answer).starts_with("You said: Write to our customer.")),
            ("the record names three findings", findings >= PLANTED.len()),
            ("none of the three values can be read in the state directory", readable.is_empty()),
            ("the log verifies", shown.verified),
        ];
        let screen = Screen::new();
        screen.title("Checked");
        for (claim, holds) in checks {
            screen.claim(claim, holds);
        }
        for path in &readable {
            screen.line(&format!("a planted value can be read in {}", path.display()));
        }
        Ok(checks.into_iter().filter(|(_, holds)| !holds).map(|(claim, _)| claim).collect())
    }

    fn what_next(&self, shown: &Shown) {
        let here = |path: &Path| path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string();
        let (program, state) = (here(&self.interceptor), here(&self.state));
        let id = shown.record["id"].as_str().unwrap_or("ID");
        let screen = Screen::new();
        screen.title("What to try next");
        for (command, what) in [
            (format!("{program} log list --state {state}"), "the log of this demo"),
            (format!("{program} log show {id} --state {state} --json"), "the whole record"),
            (
                format!("{program} log unseal {id} --key {state}/lab/auditor.key --reason demo --state {state}"),
                "the original, as the auditor reads it",
            ),
            (
                format!(
                    "cargo xtask lab -- curl -sSN {URL} -H 'content-type: application/json' \\\n    -d '{}'",
                    r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"mail jane@corp.example"}]}"#
                ),
                "any command as an enrolled client; here a streamed answer",
            ),
            ("cargo xtask lab -- bash".to_owned(), "a shell as an enrolled client"),
            ("cargo xtask test".to_owned(), "every test"),
        ] {
            screen.line(&format!("# {what}"));
            screen.line(&format!("{command}\n"));
        }
    }
}

/// The JSON body of a request as it was recorded.
fn body_of(request: &[u8]) -> Result<Value> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").context("the request has no body")?;
    serde_json::from_slice(&request[end + 4..]).context("the endpoint received a body that is not JSON")
}

fn prompt_of(body: &Value) -> String {
    body["messages"][0]["content"].as_str().unwrap_or_default().to_owned()
}

fn answer_of(body: &Value) -> String {
    let said = body["choices"][0]["message"]["content"].as_str();
    said.map_or_else(|| body.to_string(), str::to_owned)
}

/// The record's main fields, a line each.
fn summary(record: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let at = |path: &str| record.pointer(path).filter(|value| !value.is_null()).map_or("-".to_owned(), text);
    let findings = record["findings"].as_array().into_iter().flatten();
    let findings = findings
        .map(|f| format!("{} x{} ({}): {}", text(&f["type"]), f["count"], text(&f["rule"]), text(&f["action"])));
    vec![
        ("id", at("/id")),
        ("time", at("/time")),
        ("caller", format!("{} (pid {}, user {})", at("/caller/exe"), at("/caller/pid"), at("/caller/user"))),
        ("cgroup", at("/caller/cgroup")),
        ("endpoint", format!("{} at {} port {}", at("/endpoint/host"), at("/endpoint/ip"), at("/endpoint/port"))),
        ("request", format!("{} {}, model {}", at("/request/method"), at("/request/path"), at("/request/model"))),
        ("findings", findings.collect::<Vec<_>>().join("\n")),
        ("decision", format!("{} by {}", at("/decision/action"), at("/decision/rule"))),
        ("response", format!("status {}, {} bytes, {}", at("/response/status"), at("/response/bytes"), at("/state"))),
        ("timing", format!("{} us added, {} us in all", at("/timing/overhead_us"), at("/timing/total_us"))),
        ("log", format!("sequence {}, leaf {}", at("/log/sequence"), at("/log/leaf_hash"))),
    ]
}

/// Files below `directory` in which a planted value can be read as it is.
fn planted_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(planted_below(&path)?);
        } else if path.is_file() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let holds = |value: &&str| bytes.windows(value.len()).any(|window| window == value.as_bytes());
            if PLANTED.iter().any(holds) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
