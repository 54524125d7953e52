//! Interceptor's library: what happens to one connection of an enrolled host on its way to a model endpoint.
//!
//! The modules are declared in the order of the data path; `ARCHITECTURE.md` tells the same story in prose, and
//! `cargo xtask layers` keeps the edges between them.
//!
//! ```text
//! client connect() ── kernel: connect4/6 rewrites to loopback, flow record {original destination, caller}
//!   └─ capture    load and attach the programs, look up flow records
//!      └─ identity   flow record -> who called
//!         └─ tls        SNI, internal CA, leaf, handshake
//!            └─ http       HTTP/1.1 heads and bodies, byte-exact
//!               └─ wire       provider protocols: where is the text?
//!                  └─ mask       find and replace
//!                     └─ policy     allow | mask | deny
//!                        └─ audit      append, seal, make durable
//!                           └─ upstream   dial the original address, verify, send
//!                              └─ proxy      the order of all of the above, and back
//! ```
//!
//! `flow` holds the words every stage uses and depends on nothing; `sys` is the io_uring transport; `siem` writes records
//! in the words of others, `sinks` sends them; `config` fills each stage's settings; `daemon` is what runs beside the connections; `watch`
//! counts and raises alerts; `cli` is the command line.

pub mod audit;
pub mod capture;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod flow;
pub mod http;
pub mod identity;
pub mod mask;
pub mod policy;
pub mod proxy;
pub mod siem;
pub mod sinks;
pub mod sys;
pub mod tls;
pub mod upstream;
pub mod watch;
pub mod wire;
