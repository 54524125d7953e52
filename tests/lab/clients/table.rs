//! The clients, a line each. `docs/clients.md` has the same table for readers.

use interceptor_tests::{client, program, script, workspace};

/// A client as it is run: `PROGRAM whole|stream PROMPT HOLD OPTION...`.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    /// Where its version is pinned.
    pub(super) pinned: Pinned,
    program: Program,
    pub(super) options: &'static [&'static str],
    /// Speaks HTTP/2 where the endpoint does.
    pub(super) h2: bool,
    /// The variable that has to name the system's bundle before the client trusts the internal CA.
    pub(super) trust: Option<&'static str>,
}

/// Where the version of a client comes from.
#[derive(Debug)]
pub(super) enum Pinned {
    /// Not from here: it is the distribution's.
    System,
    Python(&'static str),
    Node(&'static str),
    Rust(&'static str),
}

/// What runs a client.
#[derive(Debug)]
enum Program {
    Bash(&'static str),
    Python(&'static str),
    Node(&'static str),
    Java(&'static str),
    Built(&'static str),
}

/// What Node reads; with `NODE_USE_SYSTEM_CA=1` it would need nothing else.
const NODE: Option<&str> = Some("NODE_EXTRA_CA_CERTS");

/// Clients of Chat Completions and Messages.
pub(super) const HTTP: [Client; 14] = [
    client_of("curl", Pinned::System, Program::Bash("curl.sh")).with_h2(),
    client_of("wget", Pinned::System, Program::Bash("wget.sh")),
    client_of("Python requests", Pinned::Python("requests"), Program::Python("python_requests.py"))
        .trusting(Some("REQUESTS_CA_BUNDLE")),
    client_of("Python httpx", Pinned::Python("httpx"), Program::Python("python_httpx.py"))
        .trusting(Some("SSL_CERT_FILE")),
    client_of("Python httpx, http2=True", Pinned::Python("httpx"), Program::Python("python_httpx.py"))
        .with(&["http2"])
        .trusting(Some("SSL_CERT_FILE"))
        .with_h2(),
    client_of("Python aiohttp", Pinned::Python("aiohttp"), Program::Python("python_aiohttp.py")),
    client_of("Python openai", Pinned::Python("openai"), Program::Python("openai_chat.py")),
    client_of("Python anthropic", Pinned::Python("anthropic"), Program::Python("anthropic_messages.py")),
    client_of("Node fetch", Pinned::Node("node"), Program::Node("node_fetch.cjs")).trusting(NODE),
    client_of("Node undici, allowH2", Pinned::Node("undici"), Program::Node("node_undici.cjs"))
        .trusting(NODE)
        .with_h2(),
    client_of("Node openai", Pinned::Node("openai"), Program::Node("openai_chat.cjs")).trusting(NODE),
    client_of("Node @anthropic-ai/sdk", Pinned::Node("@anthropic-ai/sdk"), Program::Node("anthropic_messages.cjs"))
        .trusting(NODE),
    client_of("Java HttpClient", Pinned::System, Program::Java("JavaHttpClient.java")).with_h2(),
    client_of("Rust reqwest", Pinned::Rust("reqwest"), Program::Built("client-reqwest")).with_h2(),
];

/// Clients of Realtime.
pub(super) const WEBSOCKET: [Client; 3] = [
    client_of("Python websockets", Pinned::Python("websockets"), Program::Python("python_websockets.py")),
    client_of("Node ws", Pinned::Node("ws"), Program::Node("node_websocket.cjs")).trusting(NODE),
    client_of("Node WebSocket", Pinned::Node("node"), Program::Node("node_websocket.cjs"))
        .with(&["own"])
        .trusting(NODE),
];

/// gRPC is HTTP/2 and nothing else.
pub(super) const GRPC: Client = client_of("Python grpcio", Pinned::Python("grpcio"), Program::Python("grpc_client.py"))
    .trusting(Some("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"))
    .with_h2();

const fn client_of(name: &'static str, pinned: Pinned, program: Program) -> Client {
    Client { name, pinned, program, options: &[], h2: false, trust: None }
}

impl Client {
    const fn with(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    const fn with_h2(mut self) -> Self {
        self.h2 = true;
        self
    }

    const fn trusting(mut self, variable: Option<&'static str>) -> Self {
        self.trust = variable;
        self
    }

    /// Program and script, before the arguments that all have in common.
    pub(super) fn command(&self) -> Vec<String> {
        match self.program {
            Program::Bash(file) => vec!["bash".into(), script(file)],
            Program::Python(file) => vec![client("python/bin/python"), script(file)],
            Program::Node(file) => vec![client("node/node_modules/node/bin/node"), script(file)],
            Program::Java(file) => vec!["java".into(), script(file)],
            Program::Built(name) => vec![program(name).to_string_lossy().into_owned()],
        }
    }

    /// The version that the tests ran with, where this workspace decides it.
    pub(super) fn version(&self) -> Option<String> {
        let (file, before, after) = match self.pinned {
            Pinned::System => return None,
            Pinned::Python(package) => ("tests/clients/requirements.txt", format!("\n{package}=="), "\n"),
            Pinned::Node(package) => ("tests/clients/package.json", format!("\"{package}\": \""), "\""),
            Pinned::Rust(package) => ("Cargo.lock", format!("name = \"{package}\"\nversion = \""), "\""),
        };
        let text = std::fs::read_to_string(workspace().join(file)).expect("a list of versions");
        let (_, found) = text.split_once(&before).unwrap_or_else(|| panic!("{file} has no {before:?}"));
        Some(found.split(after).next().expect("a version").to_owned())
    }
}
