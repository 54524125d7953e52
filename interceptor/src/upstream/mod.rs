//! Dials the original destination, verifies it, and sends what may be sent.

mod dial;

pub use dial::{DialError, Dialer, UpstreamStream};
