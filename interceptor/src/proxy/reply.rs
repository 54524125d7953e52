//! Answers that the proxy itself gives, in the provider's own error shape.

use crate::flow::{ExchangeId, Provider};
use crate::wire;

/// Why a request is answered here instead of by the endpoint. The status of each is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Policy says no.
    Denied,
    /// Not HTTP, or not the provider's format.
    Malformed,
    /// For another name than the TLS connection's.
    Misdirected,
    /// Larger than a body may be.
    TooLarge,
    /// Took too long to arrive.
    Timeout,
    /// Too much is being held already.
    Overloaded,
    /// The record could not be made durable, so nothing may leave.
    AuditUnavailable,
    /// The endpoint could not be reached, verified or understood.
    Upstream,
}

impl Refusal {
    /// HTTP status (RFC 9110).
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Denied => 403,
            Self::Malformed => 400,
            Self::Misdirected => 421,
            Self::TooLarge => 413,
            Self::Timeout => 408,
            Self::Overloaded | Self::AuditUnavailable => 503,
            Self::Upstream => 502,
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Denied => "Forbidden",
            Self::Malformed => "Bad Request",
            Self::Misdirected => "Misdirected Request",
            Self::TooLarge => "Content Too Large",
            Self::Timeout => "Request Timeout",
            Self::Overloaded | Self::AuditUnavailable => "Service Unavailable",
            Self::Upstream => "Bad Gateway",
        }
    }

    /// The machine-readable code in the error body.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Denied => "interceptor_denied",
            Self::Malformed => "interceptor_malformed_request",
            Self::Misdirected => "interceptor_misdirected_request",
            Self::TooLarge => "interceptor_request_too_large",
            Self::Timeout => "interceptor_request_timeout",
            Self::Overloaded => "interceptor_overloaded",
            Self::AuditUnavailable => "interceptor_audit_unavailable",
            Self::Upstream => "interceptor_upstream_failed",
        }
    }
}

/// A whole response.
pub(super) struct Reply {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// As it is sent.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        [self.head, self.body].concat()
    }
}

/// The response to a request that is refused. The vendors' SDKs retry 5xx and 408 by themselves; `x-should-retry: false` is how
/// they are told that it would not help.
pub(super) fn render(
    provider: Option<Provider>,
    refusal: Refusal,
    message: &str,
    exchange: ExchangeId,
    close: bool,
) -> Reply {
    let body = wire::error_body(provider, refusal.status(), refusal.code(), message, exchange);
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\n\
         content-type: application/json\r\n\
         content-length: {length}\r\n\
         x-should-retry: false\r\n\
         x-interceptor-audit-id: {exchange}\r\n\
         {connection}\r\n",
        status = refusal.status(),
        phrase = refusal.phrase(),
        length = body.len(),
        connection = if close { "connection: close\r\n" } else { "" },
    );
    Reply { head: head.into_bytes(), body }
}
