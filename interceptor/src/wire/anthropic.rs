//! Anthropic Messages: <https://docs.anthropic.com/en/api/messages>.
//!
//! Blocks nest: a tool result or a document holds blocks of its own. Base64 stands in `source.data`. Thinking blocks
//! are signed and must come back unchanged
//! (<https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>): their text is read but not edited.

use super::document::Reason;
use super::path::ELEMENT;
use super::schema::{Facts, Held, Role};

/// The role of a string at `segments`.
pub(super) fn role(segments: &[&str]) -> Role {
    let Some(inside) = block(segments) else { return Role::Text };
    match inside {
        ["source", "data"] => Role::Held(Held::Source),
        ["thinking"] => Role::Held(Held::Thinking),
        ["signature"] => Role::Held(Held::Signature),
        ["data"] => Role::Held(Held::Redacted),
        _ => Role::Text,
    }
}

/// The role after all, once the string's object is complete.
pub(super) fn settle(held: Held, facts: &Facts) -> Settled {
    match (held, facts.kind()) {
        (Held::Source, Some("base64")) => Settled::OpaqueIfBase64(facts.media().unwrap_or(Reason::File)),
        (Held::Thinking, Some("thinking")) => Settled::ReadOnly,
        (Held::Signature, Some("thinking")) | (Held::Redacted, Some("redacted_thinking")) => {
            Settled::OpaqueIfBase64(Reason::Signed)
        }
        _ => Settled::Text,
    }
}

/// What becomes of a held string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Text like any other.
    Text,
    /// Text that must stay as it is.
    ReadOnly,
    /// Not text, provided that it has the form.
    OpaqueIfBase64(Reason),
}

/// The segments within the innermost content block, however deep blocks nest; never within a tool's input.
fn block<'s>(segments: &'s [&'s str]) -> Option<&'s [&'s str]> {
    let ["messages", ELEMENT, "content", ELEMENT, inside @ ..] = segments else { return None };
    let mut inside = inside;
    while let ["content", ELEMENT, deeper @ ..] | ["source", "content", ELEMENT, deeper @ ..] = inside {
        inside = deeper;
    }
    Some(inside)
}
