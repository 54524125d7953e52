//! Where the walk stands in a document: as text for the record, and as segments to match on.

use std::fmt::Write;

/// Stands for an element of an array among the segments.
pub(super) const ELEMENT: &str = "[]";
/// Stands for a key that is no word of the provider's schema, and so may be a value in disguise.
pub(super) const OTHER: &str = "*";
/// Stands for the step into a document inside a string.
pub(super) const NESTED: &str = "$";

/// A path longer than this is cut, so that deep nesting does not multiply the size of a record.
const MAX_TEXT: usize = 240;

/// The way from the root to the current value.
#[derive(Debug, Default)]
pub(super) struct Path {
    text: String,
    segments: Vec<&'static str>,
    /// The length of `text` before each segment.
    marks: Vec<usize>,
}

impl Path {
    /// Steps into the value of a key; `word` is the schema's word or [`OTHER`].
    pub(super) fn push_key(&mut self, word: &'static str) {
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
        if self.text.len() < MAX_TEXT {
            write(&mut self.text);
        }
    }
}
