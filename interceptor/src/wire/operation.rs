//! Which of a provider's calls a request is.

use std::fmt;

use crate::flow::Provider;

/// A provider's call, as far as its text can be located.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI Chat Completions: <https://platform.openai.com/docs/api-reference/chat/create>.
    ChatCompletions,
    /// Anthropic Messages: <https://docs.anthropic.com/en/api/messages>.
    Messages,
    /// Anthropic's token count of a Messages body: <https://docs.anthropic.com/en/api/messages-count-tokens>.
    CountTokens,
    /// A file uploaded to OpenAI (<https://platform.openai.com/docs/api-reference/files/create>) or Anthropic
    /// (<https://docs.anthropic.com/en/api/files-create>).
    Files,
    /// OpenAI's transcription of a recording: <https://platform.openai.com/docs/api-reference/audio/createTranscription>.
    Transcriptions,
    /// OpenAI's translation of a recording: <https://platform.openai.com/docs/api-reference/audio/createTranslation>.
    Translations,
    /// OpenAI's change of an image: <https://platform.openai.com/docs/api-reference/images/createEdit>.
    ImageEdits,
    /// A message of a WebSocket.
    Message,
    /// A method that carries no body.
    Read,
    /// Anything else: its body cannot be read, and policy says what happens to it.
    Unknown,
}

impl Operation {
    /// The operation of `method` on `target` (a path with an optional query). Only the exact spelling of a path counts:
    /// `//v1/messages`, `/v1/messages/`, `/V1/messages` and `/v1/%6dessages` may or may not be the same to the
    /// endpoint, so they are unknown.
    #[must_use]
    pub fn of(provider: Provider, method: &str, target: &str) -> Self {
        let path = target.split_once('?').map_or(target, |(path, _query)| path);
        match (provider, method, path) {
            (_, "GET" | "HEAD" | "DELETE", _) => Self::Read,
            (Provider::OpenAi, "POST", "/v1/chat/completions") => Self::ChatCompletions,
            (Provider::OpenAi | Provider::Anthropic, "POST", "/v1/files") => Self::Files,
            (Provider::OpenAi, "POST", "/v1/audio/transcriptions") => Self::Transcriptions,
            (Provider::OpenAi, "POST", "/v1/audio/translations") => Self::Translations,
            (Provider::OpenAi, "POST", "/v1/images/edits") => Self::ImageEdits,
            (Provider::Anthropic, "POST", "/v1/messages") => Self::Messages,
            (Provider::Anthropic, "POST", "/v1/messages/count_tokens") => Self::CountTokens,
            _ => Self::Unknown,
        }
    }

    /// The name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat.completions",
            Self::Messages => "messages",
            Self::CountTokens => "messages.count_tokens",
            Self::Files => "files.create",
            Self::Transcriptions => "audio.transcriptions.create",
            Self::Translations => "audio.translations.create",
            Self::ImageEdits => "images.edit",
            Self::Message => "websocket.message",
            Self::Read => "read",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_does_not_change_the_operation() {
        let of = |target| Operation::of(Provider::OpenAi, "POST", target);
        assert_eq!(of("/v1/chat/completions"), Operation::ChatCompletions);
        assert_eq!(of("/v1/chat/completions?timeout=5"), Operation::ChatCompletions);
        let of = |target| Operation::of(Provider::Anthropic, "POST", target);
        assert_eq!(of("/v1/messages?beta=true"), Operation::Messages);
        assert_eq!(of("/v1/messages/count_tokens"), Operation::CountTokens);
    }

    #[test]
    fn uploads_are_known() {
        let of = |provider, target| Operation::of(provider, "POST", target);
        assert_eq!(of(Provider::OpenAi, "/v1/files"), Operation::Files);
        assert_eq!(of(Provider::Anthropic, "/v1/files?beta=true"), Operation::Files);
        assert_eq!(of(Provider::OpenAi, "/v1/audio/transcriptions"), Operation::Transcriptions);
        assert_eq!(of(Provider::OpenAi, "/v1/audio/translations"), Operation::Translations);
        assert_eq!(of(Provider::OpenAi, "/v1/images/edits"), Operation::ImageEdits);
        assert_eq!(of(Provider::Anthropic, "/v1/images/edits"), Operation::Unknown);
    }

    #[test]
    fn only_the_exact_path_of_the_right_provider_is_known() {
        for target in [
            "//v1/chat/completions",
            "/v1//chat/completions",
            "/v1/chat/completions/",
            "/v1/chat/completions;a",
            "/v1/chat/%63ompletions",
            "/v1/./chat/completions",
            "/v1/x/../chat/completions",
            "/v1%2fchat/completions",
            "/V1/chat/completions",
            "/v1/chat/completions#",
            "/v1/messages",
            "v1/chat/completions",
            "/",
            "",
        ] {
            assert_eq!(Operation::of(Provider::OpenAi, "POST", target), Operation::Unknown, "{target}");
        }
        assert_eq!(Operation::of(Provider::Anthropic, "POST", "/v1/chat/completions"), Operation::Unknown);
    }

    #[test]
    fn only_methods_without_a_body_read() {
        assert_eq!(Operation::of(Provider::OpenAi, "GET", "/v1/models"), Operation::Read);
        for method in ["PUT", "PATCH", "post", "get", "OPTIONS", "QUERY"] {
            assert_eq!(Operation::of(Provider::OpenAi, method, "/v1/chat/completions"), Operation::Unknown);
        }
    }
}
