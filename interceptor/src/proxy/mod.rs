//! One connection from accept to close: the only place that knows the order of the stages.
//!
//! [`worker`](Worker) accepts, `arrival` asks who it is, `opening` looks at the first bytes and lets policy decide. What is
//! intercepted becomes a `connection`, which reads requests one by one: `exchange` takes one request through the stages,
//! `relay` brings the response back. What is passed on becomes a `passage`; `plain` does so with HTTP without TLS, request
//! by request, and reads the CONNECT requests of clients of a proxy. What the proxy answers itself is in `reply`, what it
//! writes down in `record`, whom it turns away unheard in `refused`.

mod arrival;
mod budget;
mod canary;
mod connection;
mod drain;
mod exchange;
mod first;
mod inspect;
mod linger;
mod opening;
mod orders;
mod passage;
mod plain;
mod record;
mod refused;
mod relay;
mod reply;
mod safe;
#[cfg_attr(not(test), expect(dead_code, reason = "called by the exchange that a 101 answers, which is being written"))]
mod socket;
mod tokens;
mod worker;

pub use budget::{Budget, BudgetLimits};
pub use canary::CANARY_ANSWER;
pub use drain::{Drain, Phase};
pub use first::fuzz_first_bytes;
pub use orders::{Order, Pulse};
pub use tokens::Tokens;
pub use worker::{Settings, Shared, Worker};
