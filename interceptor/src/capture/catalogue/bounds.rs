//! What an endpoint is allowed beyond the rest, or less than it.

/// Limits of one endpoint's requests and responses, where they are not those of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one request body.
    pub body_bytes: Option<usize>,
    /// Seconds until the head of a response; 0: as long as it takes.
    pub response_timeout_s: Option<u64>,
    /// Seconds between two bytes of a response; 0: as long as it takes.
    pub idle_timeout_s: Option<u64>,
    /// Seconds from a request's last byte to its response's; 0: as long as it takes.
    pub total_timeout_s: Option<u64>,
}
