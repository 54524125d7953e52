//! What the providers' schemas say about a place in a document.

use super::document::Reason;

/// How the string at a place is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// As text. Whatever is not known to be something else is text.
    Text,
    /// Not as text.
    Opaque(Reason),
    /// As its sibling keys say, once the object is complete.
    Held(Held),
}

/// A string whose role depends on its object's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The data of an Anthropic image or document source.
    Source,
    /// The text of a thinking block.
    Thinking,
    /// The signature of a thinking block.
    Signature,
    /// The data of a redacted thinking block.
    Redacted,
}

/// What an object says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    kind: Once<&'static str>,
    media: Once<Reason>,
}

/// A key's value, if the key is there exactly once. Of two, readers disagree which one counts.
#[derive(Clone, Copy, Debug, Default)]
enum Once<T> {
    #[default]
    Unseen,
    Seen(T),
    Repeated,
}

impl<T: Copy> Once<T> {
    fn see(&mut self, value: T) {
        *self = match self {
            Self::Unseen => Self::Seen(value),
            _ => Self::Repeated,
        };
    }

    fn get(self) -> Option<T> {
        match self {
            Self::Seen(value) => Some(value),
            _ => None,
        }
    }
}

impl Facts {
    /// Notes the string value of the object's key.
    pub(super) fn see(&mut self, key: &str, value: &str) {
        match key {
            "type" => self.kind.see(word(value).unwrap_or_default()),
            "media_type" => self.media.see(media_reason(value)),
            _ => {}
        }
    }

    /// The `type`, if it is one of the schema's and given once.
    pub(super) fn kind(&self) -> Option<&'static str> {
        self.kind.get()
    }

    /// What the `media_type` makes of base64 data.
    pub(super) fn media(&self) -> Option<Reason> {
        self.media.get()
    }
}

/// What data of a media type (RFC 6838) is to the masker.
pub(super) fn media_reason(media_type: &str) -> Reason {
    match media_type.split_once('/').map(|(top, _)| top.to_ascii_lowercase()).as_deref() {
        Some("image") => Reason::Image,
        Some("audio") => Reason::Audio,
        _ => Reason::File,
    }
}

/// The media type and payload of a base64 data URL (RFC 2397).
pub(super) fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, payload) = url.split_once(',')?;
    let (scheme, rest) = head.split_at_checked("data:".len())?;
    let media_type = rest.strip_suffix(";base64")?;
    let is_url = scheme.eq_ignore_ascii_case("data:") && is_media_type(media_type) && is_base64(payload);
    is_url.then_some((media_type, payload))
}

/// Whether `text` can be a media type with parameters, and no prose.
fn is_media_type(text: &str) -> bool {
    text.len() <= 100 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/+-._;=".contains(&b))
}

/// Whether all of `text` is of a base64 alphabet (RFC 4648, 4 and 5). Only such data is exempt from reading as text:
/// prose hidden in a field for pictures is not.
pub(super) fn is_base64(text: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_alphanumeric() | matches!(b, b'+' | b'/' | b'-' | b'_' | b'=');
    text.bytes().fold(true, |all, b| all & is_digit(b))
}

/// What a string in a place for data shows of itself. Data of fewer bytes than [`Data::UNREAD`], or that is not what it
/// claims to be, is read as text too, whatever policy says of parts that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data {
    /// Nothing outside of a base64 alphabet.
    pub(super) is_base64: bool,
    /// Long, of one alphabet and padded right.
    is_sound: bool,
    is_image: bool,
    is_audio: bool,
}

impl Data {
    const UNREAD: usize = 1 << 10;

    pub(super) fn of(text: &str) -> Self {
        let head = head(text);
        let is_sound = text.len() >= Self::UNREAD && is_padded(text);
        Self { is_base64: is_base64(text), is_sound, is_image: is_image(&head), is_audio: is_audio(&head) }
    }

    /// Why the data is not text: what it claims, or a file if it begins like nothing of that kind.
    pub(super) fn reason(self, claimed: Reason) -> Reason {
        match claimed {
            Reason::Image if !self.is_image => Reason::File,
            Reason::Audio if !self.is_audio => Reason::File,
            claimed => claimed,
        }
    }

    /// Whether reading it as text too is of no use.
    pub(super) fn is_surely(self, claimed: Reason) -> bool {
        self.is_sound && self.reason(claimed) == claimed
    }
}

/// The first bytes of base64 data.
fn head(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let digits = text.as_bytes().iter().take(24).position(|&b| b == b'=').unwrap_or(text.len().min(24));
    let start = &text.as_bytes()[..digits / 4 * 4];
    STANDARD_NO_PAD.decode(start).or_else(|_| URL_SAFE_NO_PAD.decode(start)).unwrap_or_default()
}

/// Whether base64 is of one alphabet, with padding at its end only.
fn is_padded(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let mixed = digits.contains(['+', '/']) && digits.contains(['-', '_']);
    let length_fits = digits.len() % 4 != 1 && (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)));
    !mixed && length_fits && !digits.contains('=')
}

/// PNG, JPEG, GIF, WebP, BMP, TIFF, and HEIC or AVIF.
pub(super) fn is_image(head: &[u8]) -> bool {
    let begins = |magic: &[u8]| head.starts_with(magic);
    let webp = begins(b"RIFF") && head.get(8..12) == Some(b"WEBP");
    let heif = head.get(4..8) == Some(b"ftyp");
    begins(b"\x89PNG") || begins(&[0xff, 0xd8, 0xff]) || begins(b"GIF8") || begins(b"BM") || tiff(head) || webp || heif
}

fn tiff(head: &[u8]) -> bool {
    head.starts_with(b"II*\0") || head.starts_with(b"MM\0*")
}

/// WAV, MP3, AAC, Ogg, FLAC, MP4 and WebM.
pub(super) fn is_audio(head: &[u8]) -> bool {
    let wav = head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE");
    let frame = matches!(head, [0xff, second, ..] if second & 0xe0 == 0xe0);
    let magics: [&[u8]; 4] = [b"ID3", b"OggS", b"fLaC", &[0x1a, 0x45, 0xdf, 0xa3]];
    wav || frame || head.get(4..8) == Some(b"ftyp") || magics.iter().any(|magic| head.starts_with(magic))
}

/// The schema's own spelling of `key`, if it is one of its words. Only these appear in paths and are exempt from
/// scanning as keys: any other key may be a value in disguise.
pub(super) fn word(key: &str) -> Option<&'static str> {
    WORDS.binary_search(&key).ok().map(|at| WORDS[at])
}

/// Keys (and block types) of the two providers' requests, their forms and batches, and of JSON Schema. Sorted.
const WORDS: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "allowed_callers",
    "allowed_domains",
    "allowed_tools",
    "annotations",
    "anyOf",
    "arguments",
    "array",
    "audio",
    "background",
    "base64",
    "blocked_domains",
    "body",
    "budget_tokens",
    "cache_control",
    "caller",
    "chunking_strategy",
    "citations",
    "cited_text",
    "city",
    "const",
    "container",
    "content",
    "context",
    "context_management",
    "country",
    "custom",
    "custom_id",
    "data",
    "default",
    "definition",
    "description",
    "detail",
    "disable_parallel_tool_use",
    "display_height_px",
    "display_number",
    "display_width_px",
    "document",
    "document_index",
    "document_title",
    "edits",
    "effort",
    "enabled",
    "encrypted_content",
    "encrypted_index",
    "end_block_index",
    "end_char_index",
    "end_page_number",
    "enum",
    "error_code",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "file",
    "file_data",
    "file_id",
    "filename",
    "filters",
    "format",
    "frequency_penalty",
    "function",
    "function_call",
    "functions",
    "grammar",
    "id",
    "image",
    "image[]",
    "image_url",
    "images",
    "include[]",
    "include_obfuscation",
    "include_usage",
    "inference_geo",
    "input",
    "input_audio",
    "input_examples",
    "input_fidelity",
    "input_schema",
    "is_error",
    "items",
    "json_schema",
    "language",
    "logit_bias",
    "logprobs",
    "mask",
    "maxItems",
    "maxLength",
    "max_characters",
    "max_completion_tokens",
    "max_tokens",
    "max_uses",
    "maximum",
    "mcp_servers",
    "media_type",
    "messages",
    "metadata",
    "method",
    "minItems",
    "minLength",
    "minimum",
    "modalities",
    "mode",
    "model",
    "moderation",
    "n",
    "name",
    "not",
    "nullable",
    "object",
    "oneOf",
    "output_compression",
    "output_config",
    "output_format",
    "page_age",
    "parallel_tool_calls",
    "parameters",
    "partial",
    "partial_images",
    "pattern",
    "prediction",
    "presence_penalty",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "properties",
    "purpose",
    "quality",
    "reasoning_content",
    "reasoning_effort",
    "redacted_thinking",
    "refusal",
    "region",
    "required",
    "response_format",
    "role",
    "safety_identifier",
    "schema",
    "search_context_size",
    "seed",
    "server_name",
    "service_tier",
    "signature",
    "size",
    "skills",
    "source",
    "speed",
    "start_block_index",
    "start_char_index",
    "start_page_number",
    "stop",
    "stop_sequences",
    "store",
    "stream",
    "stream_options",
    "strict",
    "suffix",
    "syntax",
    "system",
    "temperature",
    "text",
    "thinking",
    "timestamp_granularities[]",
    "timezone",
    "title",
    "tool_call_id",
    "tool_calls",
    "tool_choice",
    "tool_name",
    "tool_reference",
    "tool_result",
    "tool_use",
    "tool_use_id",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "ttl",
    "type",
    "uniqueItems",
    "url",
    "user",
    "user_id",
    "user_location",
    "verbosity",
    "voice",
    "web_search_options",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_for_the_search() {
        assert!(WORDS.is_sorted());
        assert!(WORDS.iter().all(|listed| word(listed) == Some(listed)));
        assert_eq!(word("4111111111111111"), None);
    }

    #[test]
    fn only_base64_is_taken_for_data() {
        assert_eq!(data_url("data:image/png;base64,iVBORw0KGgo="), Some(("image/png", "iVBORw0KGgo=")));
        assert_eq!(data_url("DATA:;base64,"), Some(("", "")));
        assert_eq!(data_url("data:text/plain;charset=utf-8;base64,aGk="), Some(("text/plain;charset=utf-8", "aGk=")));
        assert_eq!(data_url("data:image/png;base64,call me on 555"), None);
        assert_eq!(data_url("data:image/call me on 555;base64,aGk="), None);
        assert_eq!(data_url("data:text/plain,hello"), None);
        assert_eq!(data_url("https://a.example/x;base64,aaaa"), None);
        assert_eq!(media_reason("IMAGE/png"), Reason::Image);
        assert_eq!(media_reason("application/pdf"), Reason::File);
    }

    #[test]
    fn data_is_unread_only_if_it_is_long_and_what_it_claims() {
        let long = |start: &str| format!("{start}{}", "A".repeat(2048 - start.len()));
        assert!(Data::of(&long("iVBORw0KGgoA")).is_surely(Reason::Image));
        assert!(Data::of(&long("UklGRiQAAABXQVZF")).is_surely(Reason::Audio));
        assert!(Data::of(&long("JVBERi0x")).is_surely(Reason::File));
        assert!(!Data::of("iVBORw0KGgoA").is_surely(Reason::Image));
        assert!(!Data::of(&long("JVBERi0x")).is_surely(Reason::Image));
        assert_eq!(Data::of(&long("JVBERi0x")).reason(Reason::Image), Reason::File);
        for wrong in ["a+b-", "=aaa", "a"] {
            assert!(!Data::of(&format!("{}{wrong}", long(""))).is_surely(Reason::Signed), "{wrong}");
        }
    }

    #[test]
    fn a_key_given_twice_says_nothing() {
        let mut facts = Facts::default();
        facts.see("type", "thinking");
        assert_eq!(facts.kind(), Some("thinking"));
        facts.see("type", "thinking");
        assert_eq!(facts.kind(), None);
    }
}
