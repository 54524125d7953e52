//! Where the walk stands in a document: as text for the record, and as segments to match on.

use std::fmt::Write;
use std::sync::Arc;

use super::schema::word;
use crate::flow::Field;

/// Stands for an element of an array among the segments.
pub(super) const ELEMENT: &str = "[]";
/// Stands for a key that is no word of the provider's schema, and so may be a value in disguise.
pub(super) const OTHER: &str = "*";
/// Stands for the step into a document inside a string.
pub(super) const NESTED: &str = "$";

/// A path longer than this is cut, so that deep nesting does not multiply the size of a record.
const MAX_TEXT: usize = 240;

/// What keys say of the value under them.
#[derive(Clone, Debug, Default)]
struct Name {
    /// The nearest key.
    own: Option<Arc<str>>,
    /// The key of the object around it, and it: `account_number`.
    full: Option<Arc<str>>,
}

/// The last `most` bytes of `text`, or fewer where those would split a character.
fn tail(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

/// The way from the root to the current value.
#[derive(Debug, Default)]
pub(super) struct Path {
    text: String,
    segments: Vec<&'static str>,
    /// The length of `text` before each segment.
    marks: Vec<usize>,
    /// What the keys up to each segment say of a value there.
    names: Vec<Name>,
}

impl Path {
    /// Steps into the value of a key.
    pub(super) fn push_key(&mut self, key: &str) {
        let word = word(key);
        let name = self.name_of(key, word.is_some());
        self.push_word(word.unwrap_or(OTHER));
        if let Some(last) = self.names.last_mut() {
            *last = name;
        }
    }

    /// Steps into a document inside a string.
    pub(super) fn push_nested(&mut self) {
        self.push_word(NESTED);
    }

    /// The name of the value at this place: its key's, after that of the object it is in.
    pub(super) fn name(&self) -> Option<Arc<str>> {
        let name = self.names.last()?;
        // What a tool's schema says of a parameter is no value of it, unless it gives one.
        let describes = matches!(self.segments[..], ["tools" | "functions" | "response_format", ..]);
        let gives = |segment: &&str| matches!(*segment, "default" | "const" | "enum" | "examples" | "input_examples");
        if describes && !self.segments.iter().any(gives) { None } else { name.full.clone() }
    }

    /// The name of the value of `key`. Words of the schema say nothing, except of a value within a client's own key.
    fn name_of(&self, key: &str, is_word: bool) -> Name {
        let outer = self.names.last().and_then(|name| name.own.as_deref());
        if key.is_empty() || (is_word && outer.is_none()) {
            return Name::default();
        }
        let own = tail(key, Field::LONGEST_NAME);
        let full = match outer {
            Some(outer) => tail(&format!("{outer}_{own}"), Field::LONGEST_NAME).into(),
            None => Arc::from(own),
        };
        Name { own: Some(own.into()), full: Some(full) }
    }

    /// Steps into a value that the format, not a key, puts here.
    pub(super) fn push_word(&mut self, word: &'static str) {
        self.push(word, |text| {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(word);
        });
    }

    /// Steps into an element of an array.
    pub(super) fn push_index(&mut self, index: usize) {
        self.push(ELEMENT, |text| {
            // Writing to a String cannot fail.
            let _ = write!(text, "[{index}]");
        });
    }

    pub(super) fn pop(&mut self) {
        self.segments.pop();
        self.names.pop();
        if let Some(mark) = self.marks.pop() {
            self.text.truncate(mark);
        }
    }

    /// Steps back to where [`Path::depth`] was `depth`.
    pub(super) fn unwind(&mut self, depth: usize) {
        while self.segments.len() > depth {
            self.pop();
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn segments(&self) -> &[&'static str] {
        &self.segments
    }

    /// For the record: `messages[0].content[1].text`.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// For a key of the current object: `messages[0].metadata.{key}`.
    pub(super) fn key_text(&self) -> String {
        let dot = if self.text.is_empty() { "" } else { "." };
        format!("{}{dot}{{key}}", self.text)
    }

    fn push(&mut self, segment: &'static str, write: impl FnOnce(&mut String)) {
        self.marks.push(self.text.len());
        self.segments.push(segment);
        // Elements of an array have the array's name.
        self.names.push(self.names.last().cloned().unwrap_or_default());
        if self.text.len() < MAX_TEXT {
            write(&mut self.text);
        }
    }
}
