//! Runs clients in one lab, one after the other, each with nothing in its environment but what its row says.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use interceptor_tests::{Lab, client};
use serde_json::Value;
use tempfile::TempDir;

use super::table::Client;

/// One run of a client.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) client: &'static Client,
    pub(super) mode: &'static str,
    /// Whether it gets the variable it needs.
    pub(super) trusting: bool,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) row: Row,
    /// A word at the beginning of its prompt that no other row has.
    pub(super) tag: String,
    pub(super) status: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Outcome {
    /// What it printed.
    pub(super) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row: Row { client, mode, .. }, tag, status, stdout, stderr } = self;
        write!(f, "{}, {mode} ({tag}): status {status}\nstdout: {stdout}\nstderr: {stderr}", client.name)
    }
}

/// Runs the rows with `prompt`, their tag before it.
///
/// # Panics
/// When the lab fails.
pub(super) fn run(lab: &Lab, rows: Vec<Row>, prompt: &str) -> Vec<Outcome> {
    let outputs = tempfile::tempdir().expect("a directory for outputs");
    let mut script = String::from(PRELUDE);
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(script, "run {}", line(row, &tag(index), prompt, &outputs.path().join(index.to_string())));
    }
    let ran = lab.sh(&script);
    assert_eq!(ran.status, 0, "{ran}");
    rows.into_iter().enumerate().map(|(index, row)| outcome(row, tag(index), &outputs, index)).collect()
}

/// The lab's own variables are dropped, but for the one that names the bundle.
const PRELUDE: &str = r#"
bundle=$SSL_CERT_FILE
run() {
    output=$1 trust=$2
    shift 2
    env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 ${trust:+"$trust=$bundle"} "$@" \
        >"$output.stdout" 2>"$output.stderr" </dev/null
    echo $? >"$output.status"
}
"#;

fn tag(index: usize) -> String {
    format!("row{index}x")
}

fn line(row: &Row, tag: &str, prompt: &str, output: &Path) -> String {
    let trust = row.client.trust.filter(|_| row.trusting).unwrap_or_default();
    let modules = format!("NODE_PATH={}", client("node/node_modules"));
    let output = output.to_string_lossy().into_owned();
    let mut words = vec![output.clone(), trust.to_owned(), modules];
    words.extend(row.client.command());
    words.extend([row.mode.to_owned(), format!("{tag} {prompt}"), format!("{output}.hold")]);
    words.extend(row.client.options.iter().map(ToString::to_string));
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

fn outcome(row: Row, tag: String, outputs: &TempDir, index: usize) -> Outcome {
    let read = |suffix| {
        let file: PathBuf = outputs.path().join(format!("{index}.{suffix}"));
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let status = read("status").trim().parse().expect("a status");
    Outcome { row, tag, status, stdout: read("stdout"), stderr: read("stderr") }
}
