//! What may begin at a token, told by its length and the bytes around it.
//!
//! Most numbers in a text are followed by a word, or by nothing that a value could go on with; one lookup tells that, or
//! leaves the few pictures that need to be compared with the text.

use std::collections::HashMap;
use std::ops::Range;

use super::classes::{Token, Window};
use super::engine::LONGEST_ANCHOR;
use super::phone;
use super::picture::{Outline, Picture};

/// What stands behind the one byte that follows a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Follows {
    Nothing,
    Letter,
    Digit,
}

impl Follows {
    const ALL: [Self; 3] = [Self::Nothing, Self::Letter, Self::Digit];

    /// What each byte is, and behind them what the end of the text is.
    const OF: [Self; END + 1] = {
        let mut of = [Self::Nothing; END + 1];
        let mut byte = 0;
        while byte < 0x80 {
            match byte as u8 {
                b'0'..=b'9' => of[byte] = Self::Digit,
                b'A'..=b'Z' | b'a'..=b'z' => of[byte] = Self::Letter,
                _ => {}
            }
            byte += 1;
        }
        of
    };
}

/// Where the end of a text is in a table by bytes.
const END: usize = 256;

/// The byte at `at`, as the place in such a table.
#[inline]
fn place(text: &[u8], at: usize) -> usize {
    text.get(at).map_or(END, |byte| usize::from(*byte))
}

/// Bytes of a text that stand at one place of a picture: a bit for each ASCII character.
pub(super) type Set = u128;

/// The ASCII characters for which `is` holds.
pub(super) fn set(is: impl Fn(u8) -> bool) -> Set {
    (0..0x80u8).filter(|&byte| is(byte)).fold(0, |set, byte| set | 1 << byte)
}

/// Whether the byte at `place` is in `set`.
fn has(set: Set, place: usize) -> bool {
    place < 0x80 && set >> place & 1 == 1
}

/// Any byte, and none.
pub(super) const ANY: Set = Set::MAX;

/// Lengths of tokens that are told apart: longer ones are no part of a picture.
const LENGTHS: usize = LONGEST_ANCHOR + 2;

/// What may begin at the tokens of a text, for one rule set.
#[derive(Debug)]
pub(super) struct Shapes {
    before: Division,
    first: Division,
    next: Division,
    /// By [`Shapes::slot`].
    starts: Vec<Start>,
    shapes: Vec<Shape>,
}

/// What may begin at a token.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// The pictures of which it may be the anchor.
    shapes: Range<u32>,
    pub(super) phone: bool,
    /// An address of IP.
    pub(super) address: bool,
}

/// A picture of a rule, and what may be at its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rule: u32,
    pub(super) picture: u32,
    pub(super) offset: u32,
    first: u64,
    outline: Outline,
}

impl Start {
    /// What the bytes around a token of `len` bytes allow, besides pictures.
    fn of(len: usize, digits: bool, before: Option<u8>, next: Option<u8>, follows: Follows) -> Self {
        // `20 (7946)` and `415) 555` go on; `2021 we` does not.
        let ends = len < 7 && follows == Follows::Letter;
        let goes_on =
            matches!(next, Some(b')' | b' ' | b'(')) || (follows == Follows::Digit && next.is_some_and(phone::joins));
        let colon = before == Some(b':') || next == Some(b':');
        let phone = digits && len <= phone::MOST_DIGITS && !ends && (len >= 7 || goes_on);
        let address = len <= 4 && (colon || (next == Some(b'.') && follows == Follows::Digit));
        Self { shapes: 0..0, phone, address }
    }

    /// Nothing may begin there.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        !self.has_pictures() && !self.phone && !self.address
    }

    #[inline]
    pub(super) fn has_pictures(&self) -> bool {
        self.shapes.start < self.shapes.end
    }
}

impl Shapes {
    /// Of `pictures`, each with its rule and its number there.
    pub(super) fn new<'p>(pictures: impl Iterator<Item = (u32, u32, &'p Picture)>) -> Self {
        let pictures: Vec<_> = pictures.map(|(rule, picture, drawn)| (rule, picture, drawn.anchor())).collect();
        // What `Start::of` asks for is divided first, so that it is told apart for sure.
        let signs: [Set; 2] = [set(|b| b == b':'), set(|b| b == b'.')];
        let joins = [set(phone::joins), set(|b| matches!(b, b')' | b' ' | b'('))];
        let mut shapes = Self {
            before: Division::new(signs.into_iter().chain(pictures.iter().map(|(.., anchor)| anchor.before))),
            first: Division::new(pictures.iter().map(|(.., anchor)| anchor.first)),
            next: Division::new(signs.into_iter().chain(joins).chain(pictures.iter().map(|(.., anchor)| anchor.next))),
            starts: Vec::new(),
            shapes: Vec::new(),
        };
        let around = shapes.next.examples.len() * shapes.before.examples.len();
        let mut drawn = vec![Vec::new(); LENGTHS * 2 * Follows::ALL.len() * around];
        for ((.., anchor), of) in pictures.iter().zip(0u32..) {
            for follows in Follows::ALL.into_iter().filter(|f| anchor.goes_on.is_none_or(|letter| *f >= letter)) {
                for next in shapes.next.of_set(anchor.next) {
                    for before in shapes.before.of_set(anchor.before) {
                        for digits in [false, true].into_iter().filter(|digits| anchor.may_be(*digits)) {
                            for len in anchor.lengths.clone() {
                                drawn[shapes.slot(len, digits, follows, next, before)].push(of);
                            }
                        }
                    }
                }
            }
        }
        let all = pictures.iter().map(|&(rule, picture, anchor)| Shape {
            rule,
            picture,
            offset: u32::try_from(anchor.offset).unwrap_or(u32::MAX),
            first: shapes.first.of_set(anchor.first).fold(0, |classes, class| classes | 1 << class),
            outline: anchor.outline,
        });
        let all: Vec<_> = all.collect();
        shapes.fill(&all, &drawn);
        shapes
    }

    /// Fills the slots: each is what is `drawn` there of `all`, and what else may be there.
    fn fill(&mut self, all: &[Shape], drawn: &[Vec<u32>]) {
        let mut seen = HashMap::new();
        for len in 0..LENGTHS {
            for digits in [false, true] {
                for follows in Follows::ALL {
                    for (next, next_byte) in (0..).zip(&self.next.examples) {
                        for (before, byte) in (0..).zip(&self.before.examples) {
                            let drawn = &drawn[self.slot(len, digits, follows, next, before)];
                            let shapes = seen.entry(drawn).or_insert_with(|| {
                                let from = self.shapes.len() as u32;
                                self.shapes.extend(drawn.iter().map(|&of| all[of as usize]));
                                from..self.shapes.len() as u32
                            });
                            let start = Start::of(len, digits, *byte, *next_byte, follows);
                            self.starts.push(Start { shapes: shapes.clone(), ..start });
                        }
                    }
                }
            }
        }
    }

    /// What may begin at `token`.
    #[inline]
    pub(super) fn at(&self, text: &[u8], token: &Token) -> &Start {
        let Range { start, end } = token.span;
        // Before the text there is nothing, as behind it: no text has so many bytes.
        let before = self.before.of(place(text, start.wrapping_sub(1)));
        let next = self.next.of(place(text, end));
        let follows = Follows::OF[place(text, end + 1)];
        &self.starts[self.slot(token.span.len(), token.digits, follows, next, before)]
    }

    /// The pictures of `start` that may fit around a token that begins with `first`.
    #[inline]
    pub(super) fn around(&self, start: &Start, window: &Window, first: u8) -> impl Iterator<Item = &Shape> {
        let first = self.first.of(usize::from(first));
        let shapes = &self.shapes[start.shapes.start as usize..start.shapes.end as usize];
        shapes.iter().filter(move |shape| shape.outline.fits(window) && shape.first >> first & 1 == 1)
    }

    #[inline]
    fn slot(&self, len: usize, digits: bool, follows: Follows, next: usize, before: usize) -> usize {
        let token = (len.min(LENGTHS - 1) * 2 + usize::from(digits)) * Follows::ALL.len() + follows as usize;
        (token * self.next.examples.len() + next) * self.before.examples.len() + before
    }
}

/// Classes that fit into the sets of a shape. With more, bytes of several sets are in one class, which tells less.
const MOST_CLASSES: usize = 64;

/// The bytes, divided by the sets that they are in.
#[derive(Debug)]
struct Division {
    /// The class of each byte, and of the end of the text; that is one with what is not ASCII.
    classes: Box<[u8; END + 1]>,
    /// A byte of each class; none where that is no ASCII character.
    examples: Vec<Option<u8>>,
}

impl Division {
    fn new(sets: impl Iterator<Item = Set>) -> Self {
        let mut classes = Box::new([0u8; END + 1]);
        let mut count = 1;
        for set in sets.filter(|set| *set != ANY) {
            // Each class is divided into what is in the set and what is not.
            let mut divided = vec![None; count];
            let mut seen_out = vec![false; count];
            for (byte, class) in classes.iter().enumerate() {
                seen_out[usize::from(*class)] |= !has(set, byte);
            }
            for (_, class) in classes.iter_mut().enumerate().filter(|(byte, _)| has(set, *byte)) {
                let old = usize::from(*class);
                if seen_out[old] && (divided[old].is_some() || count < MOST_CLASSES) {
                    let new = *divided[old].get_or_insert_with(|| {
                        count += 1;
                        count - 1
                    });
                    *class = new as u8;
                }
            }
        }
        let example = |class: usize| classes.iter().position(|of| usize::from(*of) == class);
        let examples = (0..count).map(|class| example(class).filter(|b| *b < 0x80).map(|b| b as u8)).collect();
        Self { classes, examples }
    }

    /// The class of the byte at `place`.
    #[inline]
    fn of(&self, place: usize) -> usize {
        usize::from(self.classes[place])
    }

    /// The classes of the bytes in `set`.
    fn of_set(&self, set: Set) -> impl Iterator<Item = usize> + use<> {
        let within = |byte: &usize| set == ANY || has(set, *byte);
        let mut classes: Vec<_> = (0..=END).filter(within).map(|b| usize::from(self.classes[b])).collect();
        classes.sort_unstable();
        classes.dedup();
        classes.into_iter()
    }
}
