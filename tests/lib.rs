//! What the end-to-end tests share: running the lab as a user would, and reading what it left.
//!
//! The tests need root, the binaries that `cargo build --workspace --bins` makes, and the clients that
//! `cargo xtask setup --clients` brings; `cargo xtask test` provides all three. Without them a test fails.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// OpenAI's Chat Completions in the lab.
pub const OPENAI: &str = "https://api.openai.com/v1/chat/completions";

/// Anthropic's Messages in the lab.
pub const ANTHROPIC: &str = "https://api.anthropic.com/v1/messages";

/// Values that must not leave: a card number for tests, the number of a sample social security card, an address of a
/// reserved domain and the key of a vendor's documentation.
pub const PLANTED: [&str; 4] = ["4111 1111 1111 1111", "078-05-1120", "jane@corp.example", "AKIAIOSFODNN7EXAMPLE"];

/// A prompt with all of [`PLANTED`] in it.
#[must_use]
pub fn planted_prompt() -> String {
    format!("card {}, ssn {}, mail {}, key {} end", PLANTED[0], PLANTED[1], PLANTED[2], PLANTED[3])
}

/// A request body that OpenAI's and Anthropic's interfaces both take.
#[must_use]
pub fn body(prompt: &str, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": prompt}]);
    json!({"model": "test-model", "max_tokens": 500, "stream": stream, "messages": messages}).to_string()
}

/// The arguments of curl for a JSON request.
#[must_use]
pub fn curl<'a>(url: &'a str, body: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["curl", "-sS", url, "-H", "content-type: application/json", "--data-raw", body];
    arguments.extend(more);
    arguments
}

/// The workspace's root.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies one directory below the workspace")
}

/// A program of the workspace, built before.
///
/// # Panics
/// When it was not.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let built = test.ancestors().nth(2).expect("a test lies in target/debug/deps").join(name);
    assert!(built.is_file(), "{} is not built: cargo build --workspace --bins", built.display());
    built
}

/// A file of a test client, set up before.
///
/// # Panics
/// When it was not.
#[must_use]
pub fn client(path: &str) -> String {
    let file = workspace().join("target/clients").join(path);
    assert!(file.exists(), "{} is not there: cargo xtask setup --clients", file.display());
    file.to_string_lossy().into_owned()
}

/// A script below `tests/clients`.
#[must_use]
pub fn script(name: &str) -> String {
    workspace().join("tests/clients").join(name).to_string_lossy().into_owned()
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Run {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Run {
    /// Waits for a command.
    ///
    /// # Panics
    /// When it was ended by a signal, or printed something that is not text.
    #[must_use]
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        let status = output.status.code().expect("it exits by itself");
        Self { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What it printed, after asserting that it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    #[must_use]
    pub fn ok(&self) -> &str {
        assert_eq!(self.status, 0, "{self}");
        &self.stdout
    }

    /// What it printed, as JSON, after asserting that it succeeded.
    ///
    /// # Panics
    /// When it did not, or printed something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("not JSON: {error}: {self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr)
    }
}

/// A state directory, and labs that use it one after the other.
#[derive(Debug)]
pub struct Lab {
    state: TempDir,
    options: Vec<String>,
}

impl Lab {
    /// With a fresh state directory.
    ///
    /// # Panics
    /// Without root: a test that cannot run has not passed.
    #[must_use]
    pub fn new() -> Self {
        assert!(geteuid().is_root(), "end-to-end tests need root; `cargo xtask test --unprivileged` leaves them out");
        Self { state: tempfile::tempdir().expect("a directory for the state"), options: Vec::new() }
    }

    /// With further options of `cargo xtask lab`.
    #[must_use]
    pub fn with(options: &[&str]) -> Self {
        Self { options: options.iter().map(ToString::to_string).collect(), ..Self::new() }
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The command that runs `client` in the lab.
    #[must_use]
    pub fn command(&self, client: &[&str]) -> Command {
        // A shell without job control starts what it puts in the background with SIGINT ignored, and that is inherited.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT,QUIT").arg(program("xtask"));
        command.args(["lab", "--no-build", "--state"]).arg(self.state()).args(&self.options);
        command.arg("--").args(client).stdin(Stdio::null());
        command
    }

    /// Runs `client` in the lab to its end.
    #[must_use]
    pub fn run(&self, client: &[&str]) -> Run {
        Run::of(self.command(client).output().expect("the lab runs"))
    }

    /// Runs a shell script in the lab to its end.
    #[must_use]
    pub fn sh(&self, text: &str) -> Run {
        self.run(&["bash", "-c", text])
    }

    /// Starts `client` in the lab.
    #[must_use]
    pub fn spawn(&self, client: &[&str]) -> Child {
        let mut command = self.command(client);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the lab runs")
    }

    /// Runs `interceptor ARGUMENTS --state DIR`.
    #[must_use]
    pub fn interceptor(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(program("interceptor"));
        command.args(arguments).arg("--state").arg(self.state()).stdin(Stdio::null());
        Run::of(command.output().expect("interceptor runs"))
    }

    /// The records of the log, oldest first.
    #[track_caller]
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let listed = self.interceptor(&["log", "list", "--json"]);
        let mut records: Vec<Value> = listed
            .ok()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}")))
            .collect();
        records.sort_by_key(|record| record["log"]["sequence"].as_u64());
        records
    }

    /// The requests that arrived at the endpoint, in order, byte for byte.
    #[must_use]
    pub fn requests(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.state().join("endpoint")).expect("the lab keeps requests");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files.into_iter().map(|file| fs::read(file).expect("a request can be read")).collect()
    }

    /// The requests that arrived, as text.
    #[must_use]
    pub fn requests_as_text(&self) -> Vec<String> {
        self.requests().iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }

    /// What the daemon said.
    #[must_use]
    pub fn journal(&self) -> String {
        fs::read_to_string(self.state().join("run/journal.log")).expect("the daemon's journal")
    }

    /// Asserts that no file below the state directory holds one of `values` in plain.
    ///
    /// # Panics
    /// When one does, naming it.
    #[track_caller]
    pub fn assert_absent(&self, values: &[&str]) {
        for file in files_below(self.state()) {
            let bytes = fs::read(&file).expect("a file of the state can be read");
            for value in values {
                assert!(!contains(&bytes, value), "{value:?} can be read in {}", file.display());
            }
        }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// The JSON body of a recorded request.
///
/// # Panics
/// When it has none.
#[track_caller]
#[must_use]
pub fn json_body(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").expect("a request has a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("not JSON: {error}: {request}"))
}

/// How often a test that `cargo xtask soak` repeats is to run: once, unless it says otherwise.
///
/// # Panics
/// When the variable is not a number.
#[must_use]
pub fn rounds() -> u32 {
    const ROUNDS: &str = "INTERCEPTOR_TEST_ROUNDS";
    std::env::var(ROUNDS).map_or(1, |text| text.parse().unwrap_or_else(|error| panic!("{ROUNDS}: {error}")))
}

/// Whether `value` stands in `bytes`.
#[must_use]
pub fn contains(bytes: &[u8], value: &str) -> bool {
    bytes.windows(value.len()).any(|window| window == value.as_bytes())
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within twenty seconds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of the state can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}
