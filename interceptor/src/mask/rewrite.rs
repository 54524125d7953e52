//! Replacing findings in the raw body. Spans are patched; nothing is parsed or serialised again.

use bytes::Bytes;

use super::replace::Replacements;
use super::restore::Originals;
use super::token::TokenKey;
use super::{Error, Scanner};
use crate::flow::{Access, Action, BodyDigest, ByteSpan, ExchangeId, Field, Form, Located};

/// A request body that may leave: every value that policy wants masked has been replaced, or an exemption says why
/// nothing was looked for. Only this module makes one.
#[derive(Clone, Debug)]
pub struct Masked {
    exchange: ExchangeId,
    digest: BodyDigest,
    body: Bytes,
    changed: bool,
    originals: Originals,
}

/// Why a body leaves without having been scanned. Every use can be found by searching for this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// There is no body.
    NoBody,
    /// Policy lets this endpoint's opaque bodies pass.
    OpaqueByPolicy,
    /// The same, and it is passed on as it comes: there is nothing of it yet.
    Streamed,
}

impl Masked {
    /// A body that was not scanned.
    #[must_use]
    pub fn exempt(exchange: ExchangeId, body: Bytes, _why: Exemption) -> Self {
        Self { exchange, digest: BodyDigest::of(&body), body, changed: false, originals: Originals::default() }
    }

    /// The exchange the body belongs to.
    #[must_use]
    pub fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// SHA-256 of the body as it leaves.
    #[must_use]
    pub fn digest(&self) -> BodyDigest {
        self.digest
    }

    /// The body as it leaves.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What may be put back into the answer.
    #[must_use]
    pub fn originals(&self) -> &Originals {
        &self.originals
    }

    /// Whether it differs from what the client sent.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }
}

/// What is done with the findings of a body, one by one.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    /// How each leaves.
    pub actions: &'a [Action],
    /// Whether what left as a token is put back into the answer; where nothing is said, it is not.
    pub restore: &'a [bool],
}

/// Replaces the findings as their actions say. `found` and the actions pair up; `fields` are those that were scanned.
/// Bytes outside the findings are not touched. `scanner` makes sure that what is put in place is not found again.
///
/// # Errors
/// [`Error::ReadOnly`] when a finding to be replaced is in a field that must not change, [`Error::Denied`] when an action
/// is `Deny`, and [`Error::Misplaced`] or [`Error::Unpaired`] when the arguments do not belong together.
pub fn rewrite(
    exchange: ExchangeId,
    body: Bytes,
    fields: &[Field<'_>],
    found: &[Located],
    orders: Orders<'_>,
    key: &TokenKey,
    scanner: &mut Scanner,
) -> Result<Masked, Error> {
    let Orders { actions, restore } = orders;
    if found.len() != actions.len() {
        return Err(Error::Unpaired { findings: found.len(), actions: actions.len() });
    }
    let mut replacements = Replacements::new(key);
    let mut edits = Vec::new();
    for (index, (located, action)) in found.iter().zip(actions).enumerate() {
        let path = || fields.get(located.field).map_or_else(String::new, |field| field.path.clone());
        let entity = || located.finding.rule.entity.clone();
        match action {
            Action::Deny => return Err(Error::Denied { path: path(), entity: entity() }),
            action if !action.replaces() => continue,
            _ => {}
        }
        let field = fields.get(located.field).ok_or_else(|| Error::Misplaced { path: path() })?;
        if field.access == Access::ReadOnly {
            return Err(Error::ReadOnly { path: path(), entity: entity() });
        }
        let text = replacements.of(*action, field, &located.finding, scanner)?;
        if let (Action::Mask, Some(text), Some(true)) = (action, &text, restore.get(index)) {
            replacements.keep(text, field, &located.finding);
        }
        let edit = text.and_then(|text| edit(field, located, &body, text));
        edits.push(edit.ok_or_else(|| Error::Misplaced { path: path() })?);
    }
    if edits.is_empty() {
        return Ok(Masked {
            exchange,
            digest: BodyDigest::of(&body),
            body,
            changed: false,
            originals: Originals::default(),
        });
    }
    let body = patch(&body, merged(edits));
    Ok(Masked { exchange, digest: BodyDigest::of(&body), body, changed: true, originals: replacements.originals() })
}

/// Raw bytes and what replaces them.
#[derive(Debug)]
struct Edit {
    field: usize,
    raw: ByteSpan,
    text: String,
}

fn edit(field: &Field<'_>, located: &Located, body: &Bytes, text: String) -> Option<Edit> {
    let (raw, text) = match field.form {
        // A replacement has no character that JSON escapes, at any depth.
        Form::String { .. } => (field.map.to_raw(&located.finding.span), text),
        Form::Number { depth } => {
            // Each JSON string around the number doubles the backslashes of its quotes and adds one.
            let quote = format!("{}\"", "\\".repeat((1usize << depth.min(16)) - 1));
            let text = if is_number(&text) { text } else { format!("{quote}{text}{quote}") };
            (field.map.to_raw(&(0..field.text.len())), text)
        }
    };
    (raw.start < raw.end && raw.end <= body.len()).then_some(Edit { field: located.field, raw, text })
}

/// Whether a surrogate can stand where a JSON number stood: digits without a zero in front.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') && !text.is_empty()
}

/// Edits in order. Two of the same bytes become one edit, which replaces all that either would: two values in one run
/// of a coarse map leave both tokens; a document inside a string that is also a field of its own leaves the outer one's.
fn merged(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.raw.start, std::cmp::Reverse(edit.raw.end)));
    let mut out: Vec<Edit> = Vec::with_capacity(edits.len());
    for edit in edits {
        match out.last_mut() {
            Some(last) if edit.raw.start < last.raw.end => {
                if edit.raw.end > last.raw.end || edit.field == last.field {
                    last.raw.end = last.raw.end.max(edit.raw.end);
                    last.text.push_str(&edit.text);
                }
            }
            _ => out.push(edit),
        }
    }
    out
}

fn patch(body: &[u8], edits: Vec<Edit>) -> Bytes {
    let grown: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = Vec::with_capacity(body.len() + grown);
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(&body[from..edit.raw.start]);
        out.extend_from_slice(edit.text.as_bytes());
        from = edit.raw.end;
    }
    out.extend_from_slice(&body[from..]);
    out.into()
}

/// Masks a text that is stored, not sent: a command line, a path, a header value. A text that cannot be scanned is
/// withheld altogether.
pub fn redact(scanner: &mut Scanner, key: &TokenKey, text: &str) -> String {
    let mut found = Vec::new();
    if scanner.scan(text, &mut found).is_err() {
        return "[REDACTED]".to_owned();
    }
    let mut replacements = Replacements::new(key);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for finding in found.iter().filter(|finding| !finding.rule.report_only) {
        out.push_str(&text[from..finding.span.start]);
        out.push_str(&replacements.token(&finding.rule, &text[finding.span.clone()]));
        from = finding.span.end;
    }
    out.push_str(&text[from..]);
    out
}
