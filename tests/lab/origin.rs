//! A server of a test behind the endpoint's names: a script below `tests/clients/wire`, on the host's loopback.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use interceptor_tests::{client, script};

/// The command that runs a script of `tests/clients/wire`.
pub(crate) fn wire(name: &str) -> [String; 2] {
    [client("python/bin/python"), script(&format!("wire/{name}"))]
}

/// A running server, ended when dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    child: Child,
    port: u16,
}

impl Origin {
    /// Starts it. The first line it prints is its port.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let [python, script] = wire(name);
        let mut command = Command::new(python);
        command.arg(script).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the origin starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).expect("the origin says its port");
        let port = line.trim().parse().unwrap_or_else(|error| panic!("{name}: {error}: {line:?}"));
        Self { child, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As `--upstream` takes it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
