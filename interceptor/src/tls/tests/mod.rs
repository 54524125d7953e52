//! Handshakes with rustls in memory and with OpenSSL over loopback sockets, good and bad.

mod authority;
mod certificates;
mod clients;
mod der;
mod endpoint;
mod hello;
mod leaf;
mod old_clients;
mod public;
mod rotation;
mod sessions;
mod upstream;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::{Authority, DnsName, LeafCache, ServerName};
use crate::sys::{Transport, run_worker};

/// The enrolled name of these tests.
const NAME: &str = "api.example.com";

/// A CA for [`NAME`] in a directory of its own, and leaves by it.
struct Pki {
    dir: TempDir,
    authority: Arc<Authority>,
    leaves: LeafCache,
}

impl Pki {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::load_or_create(&dir.path().join("ca"), &[NAME.into()], "host1").unwrap());
        let leaves = LeafCache::new(Arc::clone(&authority), 16).unwrap();
        Self { dir, authority, leaves }
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca/ca.pem")
    }
}

fn name(text: &str) -> DnsName<'static> {
    DnsName::try_from(text.to_owned()).unwrap()
}

fn server_name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Runs a claim with timers and sockets.
fn run<F: Future>(claim: F) -> F::Output {
    let limited = async { tokio::time::timeout(Duration::from_secs(30), claim).await.expect("takes too long") };
    run_worker(Transport::Epoll, limited).unwrap()
}

/// Runs a program with `input` on its standard input.
fn program(name: &str, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(name)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} is needed for this test: {error}"));
    // A client that is refused may be gone before it has read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
