//! Which bytes may stand next to each other in what an automaton reads: where two that never do so meet, nothing goes on
//! that began before.

use std::collections::HashSet;

use regex_automata::nfa::thompson::{NFA, State, Transition};
use regex_automata::util::primitives::StateID;

/// A set of bytes.
type Bytes = [u64; 4];

const NONE: Bytes = [0; 4];
const ALL: Bytes = [u64::MAX; 4];

/// The bytes that may follow each byte. Behind a match it is any: automata tell of it a byte late.
#[derive(Debug)]
pub(super) struct Pairs(Box<[Bytes; 256]>);

impl Pairs {
    /// Those that a value may begin with.
    pub(super) fn first(nfa: &NFA) -> Self {
        let mut pairs = Self(Box::new([NONE; 256]));
        for transition in Reading::of(nfa, nfa.start_anchored()).transitions {
            pairs.add(transition, &Reading::of(nfa, transition.next).bytes);
        }
        pairs
    }

    /// Those that a value may have.
    pub(super) fn of(nfa: &NFA) -> Self {
        let mut known: Vec<Option<Reading>> = vec![None; nfa.states().len()];
        // From the anchored start: the loop that looks for a beginning reads anything.
        let mut open = vec![nfa.start_anchored()];
        while let Some(state) = open.pop() {
            if known[state].is_none() {
                let reading = known[state].insert(Reading::of(nfa, state));
                open.extend(reading.transitions.iter().map(|t| t.next));
            }
        }
        let mut pairs = Self(Box::new([NONE; 256]));
        for transition in known.iter().flatten().flat_map(|reading| &reading.transitions) {
            pairs.add(*transition, known[transition.next].as_ref().map_or(&ALL, |reading| &reading.bytes));
        }
        pairs
    }

    fn add(&mut self, transition: Transition, behind: &Bytes) {
        for left in transition.start..=transition.end {
            self.0[usize::from(left)].iter_mut().zip(behind).for_each(|(word, more)| *word |= more);
        }
    }

    pub(super) fn has(&self, left: u8, right: u8) -> bool {
        self.0[usize::from(left)][usize::from(right) / 64] >> (right % 64) & 1 == 1
    }

    /// Whether anything may follow `byte`.
    pub(super) fn go_on_behind(&self, byte: u8) -> bool {
        self.0[usize::from(byte)] != NONE
    }

    /// Whether words of a text may follow each other in a value.
    pub(super) fn have_words(&self) -> bool {
        let letters = || b'a'..=b'z';
        letters().any(|letter| self.has(letter, b' ')) && letters().any(|letter| self.has(b' ', letter))
    }

    /// The first place at or after `from` from which on all of `text` may be in one value.
    pub(super) fn reach_back(&self, text: &[u8], from: usize) -> usize {
        let part = text.get(from..).unwrap_or_default();
        let apart = part.array_windows().rposition(|&[left, right]| !self.has(left, right));
        apart.map_or(from, |at| from + at + 1)
    }
}

/// What is read in one state.
#[derive(Clone)]
struct Reading {
    bytes: Bytes,
    transitions: Vec<Transition>,
}

impl Reading {
    fn of(nfa: &NFA, state: StateID) -> Self {
        let (mut seen, mut open) = (HashSet::from([state]), vec![state]);
        let mut reading = Self { bytes: NONE, transitions: Vec::new() };
        while let Some(state) = open.pop() {
            let next: &[StateID] = match nfa.state(state) {
                State::ByteRange { trans } => {
                    reading.transitions.push(*trans);
                    &[]
                }
                State::Sparse(sparse) => {
                    reading.transitions.extend(&sparse.transitions);
                    &[]
                }
                State::Dense(dense) => {
                    let all = (0..=u8::MAX).zip(&dense.transitions);
                    reading.transitions.extend(all.map(|(byte, &next)| Transition { start: byte, end: byte, next }));
                    &[]
                }
                State::Match { .. } => {
                    reading.bytes = ALL;
                    &[]
                }
                State::Look { next, .. } | State::Capture { next, .. } => &[*next],
                State::Union { alternates } => alternates,
                State::BinaryUnion { alt1, alt2 } => &[*alt1, *alt2],
                State::Fail => &[],
            };
            open.extend(next.iter().filter(|next| seen.insert(**next)));
        }
        for byte in reading.transitions.iter().flat_map(|t| t.start..=t.end) {
            reading.bytes[usize::from(byte) / 64] |= 1 << (byte % 64);
        }
        reading
    }
}
