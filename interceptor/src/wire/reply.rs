//! A refusal in the words of the provider, so that the client's own error handling understands it.

use serde::Serialize;

use crate::flow::{ExchangeId, Provider};

/// <https://platform.openai.com/docs/guides/error-codes>
#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// <https://docs.anthropic.com/en/api/errors>
#[derive(Serialize)]
struct Anthropic<'a> {
    r#type: &'a str,
    error: TypedError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

#[derive(Serialize)]
struct TypedError<'a> {
    r#type: &'a str,
    message: &'a str,
}

/// `google.rpc.Status` in JSON: <https://cloud.google.com/apis/design/errors>
#[derive(Serialize)]
struct Google<'a> {
    error: GoogleError<'a>,
}

#[derive(Serialize)]
struct GoogleError<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
}

/// Bedrock (<https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>) and Cohere
/// (<https://docs.cohere.com/reference/errors>).
#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

/// <https://docs.ollama.com/api/errors>
#[derive(Serialize)]
struct Ollama<'a> {
    error: &'a str,
}

/// For endpoints whose protocol is not known.
#[derive(Serialize)]
struct Generic<'a> {
    error: TypedError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// The status with which a provider says that it has too much to do.
///
/// Anthropic has one of its own, and Ollama's queue is full with 503; the others ask for a slower pace, as their
/// documentation linked above says.
#[must_use]
pub fn overloaded_status(provider: Option<Provider>) -> u16 {
    match provider {
        Some(Provider::Anthropic) => 529,
        Some(Provider::Ollama) => 503,
        _ => 429,
    }
}

/// The name that Amazon's clients tell errors by, for the field `x-amzn-errortype`.
#[must_use]
pub fn amazon_error_type(status: u16) -> &'static str {
    match status {
        403 => "AccessDeniedException",
        408 => "ModelTimeoutException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

/// The JSON body of a response with `status` that refuses exchange `id`, or a connection that came to none. `code` is a
/// word for programs (`interceptor_denied`); `message` a sentence for people, to which the audit id is added. Neither may
/// hold anything of the request's content.
#[must_use]
pub fn error_body(
    provider: Option<Provider>,
    status: u16,
    code: &str,
    message: &str,
    id: Option<ExchangeId>,
) -> Vec<u8> {
    let message = &id.map_or_else(|| message.to_owned(), |id| format!("{message} (interceptor audit id {id})"));
    let id = id.map(|id| id.to_string());
    let body = match provider {
        Some(Provider::OpenAi) => {
            let error = OpenAiError { message, r#type: openai_type(status), param: None, code };
            serde_json::to_vec(&OpenAi { error })
        }
        Some(Provider::Anthropic) => {
            let error = TypedError { r#type: anthropic_type(status), message };
            serde_json::to_vec(&Anthropic { r#type: "error", error, request_id: id })
        }
        Some(Provider::Gemini) => {
            serde_json::to_vec(&Google { error: GoogleError { code: status, message, status: google_status(status) } })
        }
        Some(Provider::Bedrock | Provider::Cohere) => serde_json::to_vec(&Message { message }),
        Some(Provider::Ollama) => serde_json::to_vec(&Ollama { error: message }),
        Some(Provider::Other) | None => {
            serde_json::to_vec(&Generic { error: TypedError { r#type: code, message }, id })
        }
    };
    body.expect("strings serialise")
}

fn openai_type(status: u16) -> &'static str {
    match status {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// `google.rpc.Code` by HTTP status.
fn google_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(provider: Option<Provider>, status: u16) -> (Value, String) {
        let id = ExchangeId::new();
        let body = error_body(provider, status, "interceptor_denied", "rule \"card.pan\" denies", Some(id));
        (serde_json::from_slice(&body).unwrap(), id.to_string())
    }

    #[test]
    fn speaks_like_openai() {
        let (body, id) = body(Some(Provider::OpenAi), 403);
        let message = format!("rule \"card.pan\" denies (interceptor audit id {id})");
        assert_eq!(
            body,
            json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": "interceptor_denied"}})
        );
        assert_eq!(self::body(Some(Provider::OpenAi), 503).0["error"]["type"], "server_error");
    }

    #[test]
    fn speaks_like_anthropic() {
        let (body, id) = body(Some(Provider::Anthropic), 403);
        let message = format!("rule \"card.pan\" denies (interceptor audit id {id})");
        assert_eq!(
            body,
            json!({"type": "error", "error": {"type": "permission_error", "message": message}, "request_id": id})
        );
        let of = |status| self::body(Some(Provider::Anthropic), status).0["error"]["type"].clone();
        assert_eq!(
            (of(400), of(413), of(503)),
            (json!("invalid_request_error"), json!("request_too_large"), json!("api_error"))
        );
    }

    #[test]
    fn speaks_like_the_other_families() {
        let (body, id) = body(Some(Provider::Gemini), 403);
        let message = format!("rule \"card.pan\" denies (interceptor audit id {id})");
        assert_eq!(body, json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}));
        for provider in [Provider::Bedrock, Provider::Cohere] {
            let (body, id) = self::body(Some(provider), 403);
            assert_eq!(body, json!({"message": format!("rule \"card.pan\" denies (interceptor audit id {id})")}));
        }
        let (body, id) = self::body(Some(Provider::Ollama), 403);
        assert_eq!(body, json!({"error": format!("rule \"card.pan\" denies (interceptor audit id {id})")}));
    }

    #[test]
    fn speaks_plainly_to_the_rest() {
        for provider in [None, Some(Provider::Other)] {
            let (body, id) = body(provider, 400);
            assert_eq!((&body["id"], &body["error"]["type"]), (&json!(id), &json!("interceptor_denied")));
        }
    }
    #[test]
    fn too_much_to_do_has_each_providers_own_status() {
        for (provider, status) in [
            (Provider::OpenAi, 429),
            (Provider::Anthropic, 529),
            (Provider::Gemini, 429),
            (Provider::Bedrock, 429),
            (Provider::Cohere, 429),
            (Provider::Ollama, 503),
            (Provider::Other, 429),
        ] {
            assert_eq!(overloaded_status(Some(provider)), status, "{provider}");
        }
        let busy = |provider, status| error_body(Some(provider), status, "rate_limit_exceeded", "busy", None);
        let json = |bytes: Vec<u8>| -> Value { serde_json::from_slice(&bytes).unwrap() };
        let openai =
            json!({"message": "busy", "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"});
        assert_eq!(json(busy(Provider::OpenAi, 429)), json!({ "error": openai }));
        let anthropic = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
        assert_eq!(json(busy(Provider::Anthropic, 529)), anthropic);
        assert_eq!(json(busy(Provider::Gemini, 429))["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(json(busy(Provider::Other, 429)).get("id"), None);
        assert_eq!(amazon_error_type(429), "ThrottlingException");
    }
}
