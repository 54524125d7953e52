//! What one look at a stream leaves open.

use std::ops::Range;

use super::growth::{Growth, States};
use crate::mask::fold::Folded;
use crate::mask::token;

/// Bytes that a number may spread over when its gaps are wide and of long characters.
const LONGEST_DRESSED: usize = 1024;

/// Where the text stops being settled, and what will have to be read again.
#[derive(Debug, Default)]
pub(in crate::mask) struct Ahead {
    states: Option<States>,
    held_from: Option<usize>,
    /// Where what may become a token begins.
    token: Option<usize>,
    /// Where values behind a word may begin, and from where on that was read.
    introduced: Vec<(usize, usize)>,
}

impl Ahead {
    /// Begins with a new text.
    pub(in crate::mask) fn begin(&mut self, text: &[u8]) {
        self.held_from = None;
        self.introduced.clear();
        let tail = text.len().saturating_sub(token::LONGEST - 1);
        let mut opening = memchr::memchr_iter(b'[', &text[tail..]).map(|i| tail + i);
        self.token = opening.find(|&at| token::may_begin(&text[at..]));
    }

    pub(in crate::mask) fn hold(&mut self, start: usize) {
        self.held_from = Some(self.held_from.map_or(start, |held| held.min(start)));
    }

    /// Holds the first of `starts` from which the expression of `rule` may go on.
    pub(in crate::mask) fn hold_living(&mut self, growth: &Growth, rule: u32, text: &[u8], mut starts: Range<usize>) {
        let states = self.states.get_or_insert_with(|| growth.states());
        if let Some(start) = starts.find(|&start| growth.goes_on(states, rule, text, start..text.len())) {
            self.hold(start);
        }
    }

    pub(in crate::mask) fn is_introduced(&mut self, value: usize, from: usize) {
        self.introduced.push((value, from));
    }

    /// Nothing from here on is settled.
    pub(in crate::mask) fn held_from(&self) -> Option<usize> {
        self.held_from
    }

    /// Where the text that is surely outside of tokens ends.
    pub(in crate::mask) fn token(&self) -> usize {
        self.token.unwrap_or(usize::MAX)
    }

    /// Up to where what was found in `text` and what may be found when it goes on are settled; not before `from`.
    pub(in crate::mask) fn settles_until(&mut self, growth: &Growth, text: &str, from: usize) -> usize {
        let states = self.states.get_or_insert_with(|| growth.states());
        let grows = growth.earliest(states, text.as_bytes(), from);
        let held = self.held_from.map_or(grows, |held| held.min(grows));
        // A number in another dress is short, and shorter when its characters are.
        let plain = text.len().saturating_sub(growth.longest_dressed().min(LONGEST_DRESSED));
        let is_plain = text.as_bytes()[plain..].is_ascii();
        let longest = if is_plain { text.len() - plain } else { LONGEST_DRESSED };
        let tail = text.floor_char_boundary(from.max(text.len().saturating_sub(longest)));
        let tail = growth.dressed_from(text.as_bytes(), tail);
        held.min(tail + earliest_dressed(growth, states, &text[tail..])).max(from)
    }

    /// From where on text must be kept for what may begin at or after `settled`.
    pub(in crate::mask) fn needed_from(&self, settled: usize) -> usize {
        let begins = self.introduced.iter().filter(|(value, _)| *value >= settled);
        begins.map(|(_, from)| *from).min().unwrap_or(settled)
    }
}

/// As [`Growth::earliest_picture`], of the folded copy where that is another text.
fn earliest_dressed(growth: &Growth, states: &mut States, text: &str) -> usize {
    let mut folded = Folded::new(text);
    let len = folded.text.len();
    if folded.text == text {
        return len;
    }
    let mut earliest = text.len();
    for ending in folded.endings {
        folded.text.truncate(len);
        folded.text.push_str(ending);
        let at = growth.earliest_picture(states, folded.text.as_bytes(), 0);
        if at < len {
            earliest = earliest.min(folded.original(at));
        }
    }
    earliest
}
