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
    /// The endpoint says that it has not looked at the request.
    Unprocessed,
}

impl Refusal {
    /// HTTP status (RFC 9110); too much to do is said as the provider says it.
    pub(super) fn status(self, provider: Option<Provider>) -> u16 {
        match self {
            Self::Denied => 403,
            Self::Malformed => 400,
            Self::Misdirected => 421,
            Self::TooLarge => 413,
            Self::Timeout => 408,
            Self::Overloaded => wire::overloaded_status(provider),
            Self::AuditUnavailable => 503,
            Self::Upstream | Self::Unprocessed => 502,
        }
    }

    /// The machine-readable code in the error body.
    fn code(self, provider: Option<Provider>) -> &'static str {
        match self {
            Self::Denied => "interceptor_denied",
            Self::Malformed => "interceptor_malformed_request",
            Self::Misdirected => "interceptor_misdirected_request",
            Self::TooLarge => "interceptor_request_too_large",
            Self::Timeout => "interceptor_request_timeout",
            // The word that clients of OpenAI look for before they try again.
            Self::Overloaded if provider == Some(Provider::OpenAi) => "rate_limit_exceeded",
            Self::Overloaded => "interceptor_overloaded",
            Self::AuditUnavailable => "interceptor_audit_unavailable",
            Self::Upstream | Self::Unprocessed => "interceptor_upstream_failed",
        }
    }
}

/// A whole response, for either version of HTTP.
pub(super) struct Reply {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the connection ends with it, where that has to be said.
    close: bool,
}

impl Reply {
    /// As it is sent over HTTP/1.1.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
        let close = if self.close { "connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 {} {}\r\n{fields}{close}\r\n", self.status, phrase(self.status));
        [head.as_bytes(), &self.body].concat()
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "",
    }
}

/// The response to a request that is refused. The vendors' SDKs retry 408, 429 and 5xx by themselves; `x-should-retry` is
/// how they are told whether it would help. `exchange` is none where there is no record of its own.
pub(super) fn render(
    provider: Option<Provider>,
    refusal: Refusal,
    message: &str,
    exchange: Option<ExchangeId>,
    close: bool,
) -> Reply {
    let status = refusal.status(provider);
    let body = wire::error_body(provider, status, refusal.code(provider), message, exchange);
    let mut fields = vec![
        ("content-type", "application/json".to_owned()),
        ("content-length", body.len().to_string()),
        ("x-should-retry", matches!(refusal, Refusal::Overloaded | Refusal::Unprocessed).to_string()),
    ];
    if refusal == Refusal::Overloaded {
        fields.push(("retry-after", retry_after().to_string()));
    }
    if provider == Some(Provider::Bedrock) {
        fields.push(("x-amzn-errortype", wire::amazon_error_type(status).to_owned()));
    }
    if let Some(exchange) = exchange {
        fields.push(("x-interceptor-audit-id", exchange.to_string()));
    }
    Reply { status, fields, body, close }
}

/// Seconds, not the same for everybody: they would all come back at once.
fn retry_after() -> u8 {
    1 + ExchangeId::new().as_bytes()[15] % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(provider: Provider, refusal: Refusal, id: Option<ExchangeId>) -> String {
        String::from_utf8(render(Some(provider), refusal, "busy", id, true).to_bytes()).unwrap()
    }

    #[test]
    fn too_much_to_do_asks_for_another_try_and_nothing_else_does() {
        let busy = text(Provider::Anthropic, Refusal::Overloaded, None);
        assert!(busy.starts_with("HTTP/1.1 529 Overloaded\r\n"), "{busy}");
        assert!(busy.contains("\r\nretry-after: ") && busy.contains("\r\nx-should-retry: true\r\n"), "{busy}");
        assert!(busy.contains("\r\nconnection: close\r\n\r\n{\"type\":\"error\""), "{busy}");
        assert!(!busy.contains("audit-id"), "{busy}");
        let id = ExchangeId::new();
        let denied = text(Provider::OpenAi, Refusal::Denied, Some(id));
        assert!(denied.starts_with("HTTP/1.1 403 Forbidden\r\n") && !denied.contains("retry-after"), "{denied}");
        assert!(denied.contains("\r\nx-should-retry: false\r\n"), "{denied}");
        assert!(denied.contains(&format!("\r\nx-interceptor-audit-id: {id}\r\n")), "{denied}");
    }

    #[test]
    fn bedrocks_clients_find_the_name_of_the_error() {
        let busy = text(Provider::Bedrock, Refusal::Overloaded, None);
        assert!(busy.contains("HTTP/1.1 429 ") && busy.contains("x-amzn-errortype: ThrottlingException\r\n"), "{busy}");
    }
}
