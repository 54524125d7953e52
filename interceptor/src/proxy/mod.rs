//! One connection from accept to close: the only place that knows the order of the stages.
//!
//! [`worker`](Worker) accepts, `connection` shakes hands and reads requests one by one, `exchange` takes one request through
//! the stages, `relay` brings the response back. What the proxy answers itself is in `reply`, what it writes down in
//! `record`.

mod budget;
mod canary;
mod connection;
mod exchange;
mod inspect;
mod orders;
mod record;
mod relay;
mod reply;
mod safe;
mod tokens;
mod worker;

pub use budget::{Budget, BudgetLimits};
pub use canary::CANARY_ANSWER;
pub use orders::{Order, Pulse};
pub use tokens::Tokens;
pub use worker::{Settings, Shared, Worker};
