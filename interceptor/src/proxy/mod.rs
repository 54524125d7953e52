//! One connection from accept to close: the only place that knows the order of the stages.
//!
//! [`worker`](Worker) accepts, `arrival` asks who it is, `opening` looks at the first bytes and lets policy decide. What is
//! intercepted becomes a `connection`, whose `client` reads requests, over HTTP/1 one by one or over HTTP/2 many at once:
//! `exchange` takes one request through the stages, `relay` brings the response back. A WebSocket is a `session`, passed by
//! `socket`; what streams up as well as down is an `upload`. What is passed on becomes a `passage`; `plain` does so with HTTP without TLS, request
//! by request, and reads the CONNECT requests of clients of a proxy. What the proxy answers itself is in `reply`, what it
//! writes down in `record`, where large bodies are inspected in `desk`, whom it turns away unheard in `refused`, or in
//! `overload` with a word of why.

mod arrival;
mod budget;
mod canary;
mod client;
mod connection;
mod desk;
mod drain;
mod endpoint_tls;
mod exchange;
mod first;
mod inspect;
mod linger;
mod opening;
mod orders;
mod overload;
mod pace;
mod passage;
mod plain;
mod record;
mod refused;
mod relay;
mod reply;
mod restore;
mod safe;
mod session;
mod settings;
mod socket;
mod tokens;
mod upload;
mod worker;

pub use budget::{Budget, BudgetLimits};
pub use canary::CANARY_ANSWER;
pub use drain::{Drain, Phase};
pub use endpoint_tls::{EndpointsTls, UnusableTls};
pub use first::fuzz_first_bytes;
pub use orders::{Order, Pulse};
pub use pace::Pace;
pub use restore::fuzz_restore;
pub use settings::{ClientTimeouts, EndpointTimeouts, NEVER, Settings, seconds_or_never};
pub use tokens::Tokens;
pub use worker::{Shared, Worker};
