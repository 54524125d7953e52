//! OpenAI Chat Completions: <https://platform.openai.com/docs/api-reference/chat/create>.
//!
//! Text is everywhere but in the data of content parts: `image_url.url`, `input_audio.data`, `file.file_data`.
//! `tool_calls[].function.arguments` is JSON in a string, which the walk follows for any string.

use super::document::Reason;
use super::path::ELEMENT;
use super::schema::{Role, data_url, is_base64, media_reason};

/// The role of the string `text` at `segments`.
pub(super) fn role(segments: &[&str], text: &str) -> Role {
    let ["messages", ELEMENT, "content", ELEMENT, part @ ..] = segments else { return Role::Text };
    let reason = match part {
        ["image_url"] | ["image_url", "url"] => data_url(text).map(|(media_type, _)| media_reason(media_type)),
        ["input_audio", "data"] => is_base64(text).then_some(Reason::Audio),
        ["file", "file_data"] => (is_base64(text) || data_url(text).is_some()).then_some(Reason::File),
        _ => None,
    };
    reason.map_or(Role::Text, Role::Opaque)
}
