//! A form with files (`multipart/form-data`): the text of its parts, and an account of those that are none.

use std::ops::Range;

use super::document::{Document, Reason};
use super::format::{self, is_json, is_lines, parameters};
use super::locate::utf8;
use super::multipart::{FormPart, parts};
use super::schema::{is_audio, is_image, media_reason};
use super::walk::Walk;
use super::{Error, Operation, lines};
use crate::flow::{OffsetMap, Run};

/// What a part is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Json,
    Lines,
    /// Text, or a document that nobody called one.
    Text,
    /// Not as text; also as text, if it can be.
    Opaque(Reason),
}

/// Locates every text in a form.
pub(super) fn locate<'a>(operation: Operation, boundary: &str, body: &'a [u8]) -> Result<Document<'a>, Error> {
    let mut walk = Walk::new(operation);
    for (index, part) in parts(boundary, body)?.iter().enumerate() {
        walk.path.push_word("parts");
        walk.path.push_index(index);
        header(&mut walk, part, body)?;
        content(&mut walk, part, body)?;
        walk.path.pop();
        walk.path.pop();
    }
    Ok(walk.finish())
}

/// Names, too, are text: of files, above all.
fn header<'a>(walk: &mut Walk<'a>, part: &FormPart, body: &'a [u8]) -> Result<(), Error> {
    for place in &part.header {
        walk.path.push_word("header");
        walk.text(utf8(&body[place.clone()], place.start)?, place.start)?;
    }
    for place in part.filename.iter().chain([&part.name]) {
        if let Some((text, map)) = percent_decoded(utf8(&body[place.clone()], place.start)?) {
            walk.path.push_word("header");
            walk.spelled(text, map.further(place.start))?;
        }
    }
    Ok(())
}

fn content<'a>(walk: &mut Walk<'a>, part: &FormPart, body: &'a [u8]) -> Result<(), Error> {
    let name = utf8(&body[part.name.clone()], part.name.start)?;
    let bytes = &body[part.content.clone()];
    if bytes.is_empty() {
        return Ok(());
    }
    walk.path.push_key(name);
    let text = std::str::from_utf8(bytes).ok();
    let base = part.content.start;
    match (kind(part, body), text) {
        (Content::Json, Some(text)) => walk.json(text, base),
        (Content::Lines, Some(text)) => lines::walk(walk, text, base),
        (Content::Text, Some(text)) => {
            if part.filename.is_none() {
                note(walk, name, text);
            }
            unnamed(walk, text, base)
        }
        (Content::Opaque(reason), Some(text)) => {
            walk.opaque(&part.content, reason);
            walk.text(text, base)
        }
        (Content::Opaque(reason), None) => unread(walk, &part.content, reason),
        (Content::Json | Content::Lines | Content::Text, None) => unread(walk, &part.content, Reason::File),
    }
}

fn unread(walk: &mut Walk<'_>, content: &Range<usize>, reason: Reason) -> Result<(), Error> {
    walk.opaque(content, reason);
    walk.path.pop();
    Ok(())
}

/// What a form says about itself where JSON would at its root.
fn note(walk: &mut Walk<'_>, name: &str, text: &str) {
    match name {
        "model" => walk.model = Some(text.to_owned()),
        "stream" => walk.stream = text == "true",
        _ => {}
    }
}

/// A text that may be a document, or lines of them, although nothing says so.
fn unnamed<'a>(walk: &mut Walk<'a>, text: &'a str, base: usize) -> Result<(), Error> {
    let first = text.lines().next().unwrap_or_default().trim();
    let looks_like_lines = first.len() < text.trim_end().len() && first.starts_with('{') && first.ends_with('}');
    if looks_like_lines && walk.attempt(|walk| lines::walk(walk, text, base))? {
        return Ok(());
    }
    walk.text_or_json(text, base)
}

/// What a part is, by its Content-Type, its file's name and its first bytes.
fn kind(part: &FormPart, body: &[u8]) -> Content {
    let text_at = |place: &Range<usize>| std::str::from_utf8(&body[place.clone()]).unwrap_or_default();
    let (essence, parameters) = part.content_type.as_ref().map_or(("", ""), |place| format::split(text_at(place)));
    let filename = part.filename.as_ref().map(text_at).unwrap_or_default();
    let extension = filename.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let bytes = &body[part.content.clone()];
    match (is_utf8(parameters), extension.as_deref()) {
        (false, _) => Content::Opaque(Reason::File),
        (true, Some("jsonl" | "ndjson")) => Content::Lines,
        (true, Some("json")) => Content::Json,
        (true, _) if is_lines(essence) => Content::Lines,
        (true, _) if is_json(essence) => Content::Json,
        (true, _) => by_bytes(essence, bytes),
    }
}

/// Whether the characters are those of Unicode in UTF-8, as far as a media type's parameters say.
fn is_utf8(text: &str) -> bool {
    let Ok(read) = parameters(text) else { return false };
    let mut charsets = read.iter().filter(|parameter| text[parameter.name.clone()].eq_ignore_ascii_case("charset"));
    charsets.all(|parameter| {
        ["utf-8", "utf8", "us-ascii"].iter().any(|c| text[parameter.value.clone()].eq_ignore_ascii_case(c))
    })
}

fn by_bytes(essence: &str, bytes: &[u8]) -> Content {
    let claims = |top: &str| essence.get(..top.len()).is_some_and(|start| start.eq_ignore_ascii_case(top));
    let claims_nothing = essence.is_empty() || essence.eq_ignore_ascii_case("application/octet-stream");
    let head = &bytes[..bytes.len().min(HEAD)];
    let media = if is_image(head) && !claims("audio/") && !claims("video/") {
        Reason::Image
    } else if is_audio(head) {
        Reason::Audio
    } else {
        Reason::File
    };
    let claimed = if claims("video/") { Reason::Audio } else { media_reason(essence) };
    if media != Reason::File && (claims_nothing || claimed == media) {
        return Content::Opaque(media);
    }
    // Not every control character: a log may have colours, and a page breaks.
    let is_plain = !bytes.iter().any(|b| matches!(b, 0..8 | 0x0e..0x1b | 0x7f)) && !head.starts_with(b"%PDF");
    if is_plain && (claims_nothing || claims("text/") || is_text(essence)) {
        return Content::Text;
    }
    Content::Opaque(Reason::File)
}

/// As many bytes as tell what a file is.
const HEAD: usize = 16;

/// Media types that are text although they are not called so.
fn is_text(essence: &str) -> bool {
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype).to_ascii_lowercase();
    let subtype = subtype.strip_prefix("x-").unwrap_or(&subtype);
    let known = [
        "csv",
        "javascript",
        "markdown",
        "python",
        "ruby",
        "sh",
        "shellscript",
        "sql",
        "tex",
        "toml",
        "typescript",
        "xml",
        "yaml",
    ];
    known.contains(&subtype) || subtype.ends_with("+xml") || subtype.ends_with("+yaml")
}

/// The characters of a name that stands percent-encoded (RFC 7578, 4.2), as some clients send it; `None` when nothing
/// is encoded, or not characters.
fn percent_decoded(name: &str) -> Option<(String, OffsetMap)> {
    if !name.contains('%') {
        return None;
    }
    let (mut decoded, mut runs) = (String::with_capacity(name.len()), Vec::new());
    let mut at = 0;
    while at < name.len() {
        let (character, raw_len) = match encoded_char(&name.as_bytes()[at..]) {
            Some(found) => found,
            None => {
                let character = name[at..].chars().next()?;
                (character, character.len_utf8())
            }
        };
        runs.push(Run { decoded: decoded.len(), decoded_len: character.len_utf8(), raw: at, raw_len });
        decoded.push(character);
        at += raw_len;
    }
    Some((decoded, OffsetMap::from_runs(runs)))
}

/// The character at the start of `raw` that is written as `%XX`, once for each of its bytes, and how long that is.
fn encoded_char(raw: &[u8]) -> Option<(char, usize)> {
    let byte = |index: usize| {
        let digits = raw.get(3 * index..3 * index + 3)?.strip_prefix(b"%")?;
        let digit = |b: u8| (b as char).to_digit(16);
        u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()
    };
    let first = byte(0)?;
    let len = match first {
        0..0x80 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let bytes = (0..len).map(byte).collect::<Option<Vec<_>>>()?;
    let character = std::str::from_utf8(&bytes).ok()?.chars().next()?;
    Some((character, 3 * len))
}

/// Fuzz entry: every text of a form stands where its map says, and all of the form but its frame is accounted for.
#[doc(hidden)]
pub fn fuzz_multipart(data: &[u8]) {
    let Ok(document) = locate(Operation::Files, "b", data) else { return };
    for field in &document.fields {
        let raw = field.map.to_raw(&(0..field.text.len()));
        let raw = std::str::from_utf8(&data[raw]).expect("spans end between characters");
        let decoded = percent_decoded(raw).map(|(text, _)| text);
        if raw != field.text && decoded.as_deref() != Some(&field.text) {
            super::locate::check_map(data, field);
        }
    }
    for part in parts("b", data).expect("it was located") {
        let content = &data[part.content.clone()];
        let within = |place: &Range<usize>| part.content.start <= place.start && place.end <= part.content.end;
        let is_read = |field: &crate::flow::Field<'_>| within(&field.map.to_raw(&(0..field.text.len())));
        let is_opaque = document.parts.iter().any(|noted| noted.reason.is_some() && noted.bytes == content.len());
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(content).is_ok();
        let is_lines = || {
            content.split(|&b| b == b'\n').all(|line| {
                line.trim_ascii().is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
            })
        };
        assert!(
            content.is_empty() || is_opaque || document.fields.iter().any(is_read) || is_json() || is_lines(),
            "a part is neither read nor reported"
        );
    }
}

#[cfg(test)]
mod tests;
