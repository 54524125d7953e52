//! The words of all rules in one automaton: a text full of candidates is read once for all of them, not by every rule
//! around every candidate.

use std::collections::BTreeMap;

use aho_corasick::automaton::{Automaton, OverlappingState, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, Input};

use super::context::Words;

/// All rules' words.
#[derive(Debug)]
pub(super) struct Vocabulary {
    words: DFA,
    /// Where a search begins.
    start: StateID,
    /// Bytes of those that are of a script with blanks between words, and so have a beginning and an end.
    bounded: Vec<Option<usize>>,
}

/// The words of one rule: a bit for each word of the vocabulary.
#[derive(Debug, Default)]
pub(super) struct Listed(Vec<u64>);

impl Listed {
    /// Whether one of `found` is among them.
    pub(super) fn holds_any(&self, found: &[u32]) -> bool {
        found.iter().any(|&word| self.0.get(word as usize / 64).is_some_and(|bits| bits >> (word % 64) & 1 == 1))
    }

    fn add(&mut self, word: u32) {
        let at = word as usize / 64;
        self.0.resize(self.0.len().max(at + 1), 0);
        self.0[at] |= 1 << (word % 64);
    }
}

impl Vocabulary {
    /// Of the words of all `rules`; and what each of them lists.
    pub(super) fn new<'w>(rules: impl Iterator<Item = Option<&'w Words>>) -> Result<(Self, Vec<Listed>), String> {
        let mut numbers = BTreeMap::new();
        let mut words: Vec<&str> = Vec::new();
        let mut listed = Vec::new();
        for rule in rules {
            let mut list = Listed::default();
            for word in rule.into_iter().flat_map(Words::iter).filter(|word| !word.is_empty()) {
                list.add(*numbers.entry(word).or_insert_with(|| {
                    words.push(word);
                    words.len() as u32 - 1
                }));
            }
            listed.push(list);
        }
        let bounded = words.iter().map(|word| word.is_ascii().then_some(word.len())).collect();
        let words = DFA::new(&words).map_err(|error| format!("words: {error}"))?;
        let start = words.start_state(Anchored::No).map_err(|error| format!("words: {error}"))?;
        Ok((Self { words, start, bounded }, listed))
    }

    /// Appends the words in `flat`, a stretch in lower case with blanks only. A word starts where no letter or digit
    /// stands before it and may go on by a plural `s` only; see [`Words::new`].
    pub(super) fn find(&self, flat: &[u8], found: &mut Vec<u32>) {
        let mut state = OverlappingState::start();
        let input = Input::new(flat);
        // It fails for anchored searches alone.
        while self.words.try_find_overlapping(&input, &mut state).is_ok()
            && let Some(word) = state.get_match()
        {
            let number = word.pattern().as_u32();
            if self.bounded[word.pattern()].is_none() || stands_alone(flat, word.start(), word.end()) {
                found.push(number);
            }
        }
    }

    /// The words in `text`, whatever is around them, in the order of their ends.
    pub(super) fn occurrences(&self, text: &[u8]) -> Vec<Occurrence> {
        let mut found = Vec::new();
        let mut flat = self.start;
        // The state of the form with a blank before a capital, while it differs; and where blanks were put in it.
        let (mut split, mut blanks) = (None, Vec::new());
        let mut last_small = false;
        let step = |state, byte| self.words.next_state(Anchored::No, state, byte);
        for (&byte, end) in text.iter().zip(1u32..) {
            let plain = flattened(byte);
            if last_small && byte.is_ascii_uppercase() {
                split = Some(step(split.unwrap_or(flat), b' '));
                blanks.push(end - 1);
            }
            last_small = byte.is_ascii_lowercase();
            flat = step(flat, plain);
            self.matches(flat, end, &[], &mut found);
            split = split.map(|state| step(state, plain)).filter(|state| *state != flat);
            if let Some(split) = split {
                self.matches(split, end, &blanks, &mut found);
            }
        }
        found
    }

    /// Adds the words that end at `end`, in a form of the text into which `blanks` were put before some bytes.
    #[inline]
    fn matches(&self, state: StateID, end: u32, blanks: &[u32], found: &mut Vec<Occurrence>) {
        if !self.words.is_special(state) || !self.words.is_match(state) {
            return;
        }
        for word in (0..self.words.match_len(state)).map(|at| self.words.match_pattern(state, at)) {
            // A blank within the word is none of the text.
            let mut len = self.words.pattern_len(word) as u32;
            for blank in blanks.iter().rev() {
                if end - blank >= len {
                    break;
                }
                len -= 1;
            }
            let start = end - len;
            found.push(Occurrence { start, end, word: word.as_u32() });
        }
    }

    /// Bytes of a word, if it is of a script with blanks between words.
    pub(super) fn bounded(&self, word: u32) -> Option<usize> {
        self.bounded[word as usize]
    }
}

/// A word of some rule in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occurrence {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) word: u32,
}

/// As words are compared: in lower case, a blank for `_` and `-`.
#[inline]
pub(super) fn flattened(byte: u8) -> u8 {
    if matches!(byte, b'_' | b'-') { b' ' } else { byte.to_ascii_lowercase() }
}

/// Whether `flat[start..end]` is a word of its own, or the plural of one.
fn stands_alone(flat: &[u8], start: usize, end: usize) -> bool {
    let begins = !flat[..start].last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let ends = |rest: &[u8]| !rest.first().is_some_and(u8::is_ascii_lowercase);
    begins && (ends(&flat[end..]) || flat[end..].strip_prefix(b"s").is_some_and(ends))
}
