//! What may begin at a token, told by its length and the bytes around it.
//!
//! Most numbers in a text are followed by a word, or by nothing that a value could go on with; one lookup tells that, or
//! leaves the few pictures that need to be compared with the text.

use std::collections::HashMap;
use std::ops::Range;

use super::classes::{Token, Window};
use super::engine::LONGEST_ANCHOR;
use super::extent;
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

/// Digits of the shortest number to which a name may be glued.
pub(super) const LONG_NUMBER: usize = 15;

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
    /// What may begin at a token, by [`Shapes::slot`]: an index of `starts`. Few slots differ, so that the table is small.
    slots: Vec<u32>,
    /// The first is that nothing may begin.
    starts: Vec<Start>,
    shapes: Vec<Shape>,
    /// Slots of one length of a token that is digits only, or not.
    stride: usize,
    /// The part of [`Shapes::slot`] of what follows and of what is right behind a token, by bytes.
    follows_at: Box<[u16; END + 1]>,
    next_at: Box<[u16; END + 1]>,
    /// Of those that need words: most bytes before the anchor, and of a value.
    back: usize,
    longest: usize,
}

/// What may begin at a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Start {
    /// The pictures of which it may be the anchor.
    shapes: Range<u32>,
    /// Those of them that need no words nearby.
    unaided: Range<u32>,
    /// What all of the pictures have.
    common: Outline,
    pub(super) phone: bool,
    /// An address of IP: a dotted quad, or one with colons.
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
    /// A long number among letters, or the first group of one behind them.
    pub(super) glued: bool,
}

/// A picture of a rule, as it is drawn there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn<'p> {
    pub(super) rule: u32,
    /// Its number in the rule.
    pub(super) number: u32,
    pub(super) picture: &'p Picture,
    /// Most bytes that a value has beyond it.
    pub(super) extends: usize,
    /// A value needs no words nearby.
    pub(super) unaided: bool,
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
        let ipv4 = digits && len <= 3 && next == Some(b'.') && follows == Follows::Digit;
        let ipv6 = len <= 4 && colon;
        let goes_on = matches!(next, Some(b' ' | b'-' | b'.')) && follows == Follows::Digit;
        let glued = !digits && (len >= LONG_NUMBER || goes_on);
        Self { phone, ipv4, ipv6, glued, ..Self::default() }
    }

    /// Whether what is around the token leaves anything possible: one look for all that may begin there.
    #[inline]
    pub(super) fn may_begin(&self, text: &Window) -> bool {
        (self.has_pictures(false) && self.common.fits(text))
            || (self.phone && phone::may_begin(text))
            || (self.ipv4 && extent::may_be_ipv4(text))
            || (self.ipv6 && extent::may_be_ipv6(text))
            || self.glued
    }

    /// Whether any picture may, or with no words nearby any that needs none.
    #[inline]
    pub(super) fn has_pictures(&self, unaided: bool) -> bool {
        let shapes = if unaided { &self.unaided } else { &self.shapes };
        shapes.start < shapes.end
    }
}

impl Shapes {
    pub(super) fn new(pictures: &[Drawn<'_>]) -> Self {
        let anchors: Vec<_> = pictures.iter().map(|drawn| drawn.picture.anchor()).collect();
        let aided = || pictures.iter().filter(|drawn| !drawn.unaided);
        // What `Start::of` asks for is divided first, so that it is told apart for sure.
        let signs: [Set; 2] = [set(|b| b == b':'), set(|b| b == b'.')];
        let goes_on = [set(|b| matches!(b, b' ' | b'-' | b'.'))];
        let joins = [set(phone::joins), set(|b| matches!(b, b')' | b' ' | b'('))];
        let mut shapes = Self {
            before: Division::new(signs.into_iter().chain(anchors.iter().map(|anchor| anchor.before))),
            first: Division::new(anchors.iter().map(|anchor| anchor.first)),
            next: Division::new(
                signs.into_iter().chain(joins).chain(goes_on).chain(anchors.iter().map(|anchor| anchor.next)),
            ),
            slots: Vec::new(),
            stride: 0,
            follows_at: Box::new([0; END + 1]),
            next_at: Box::new([0; END + 1]),
            starts: vec![Start::default()],
            shapes: Vec::new(),
            back: aided().map(|drawn| drawn.picture.anchor().offset).max().unwrap_or(0),
            longest: aided().map(|drawn| drawn.picture.len() + drawn.extends).max().unwrap_or(0),
        };
        let around = shapes.next.examples.len() * shapes.before.examples.len();
        shapes.stride = Follows::ALL.len() * around;
        for place in 0..=END {
            shapes.follows_at[place] = (Follows::OF[place] as usize * around) as u16;
            shapes.next_at[place] = (shapes.next.of(place) * shapes.before.examples.len()) as u16;
        }
        let mut drawn = vec![Vec::new(); LENGTHS * 2 * Follows::ALL.len() * around];
        for (anchor, of) in anchors.iter().zip(0u32..) {
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
        let all = pictures.iter().zip(anchors).map(|(drawn, anchor)| Shape {
            rule: drawn.rule,
            picture: drawn.number,
            offset: u32::try_from(anchor.offset).unwrap_or(u32::MAX),
            first: shapes.first.of_set(anchor.first).fold(0, |classes, class| classes | 1 << class),
            outline: anchor.outline,
        });
        let all: Vec<_> = all.collect();
        shapes.fill(&all, &drawn, |of| pictures[of as usize].unaided);
        shapes
    }

    /// Fills the slots: each is what is `drawn` there of `all`, and what else may be there.
    fn fill(&mut self, all: &[Shape], drawn: &[Vec<u32>], unaided: impl Fn(u32) -> bool) {
        let mut seen = HashMap::new();
        let mut known = HashMap::from([(Start::default(), 0)]);
        for len in 0..LENGTHS {
            for digits in [false, true] {
                for follows in Follows::ALL {
                    for (next, next_byte) in (0..).zip(&self.next.examples) {
                        for (before, byte) in (0..).zip(&self.before.examples) {
                            let drawn = &drawn[self.slot(len, digits, follows, next, before)];
                            let (shapes, without_words) = seen.entry(drawn).or_insert_with(|| {
                                let without_words = drawn.iter().filter(|of| unaided(**of));
                                (keep(&mut self.shapes, all, drawn.iter()), keep(&mut self.shapes, all, without_words))
                            });
                            let outlines = drawn.iter().map(|&of| all[of as usize].outline);
                            let start = Start {
                                shapes: shapes.clone(),
                                unaided: without_words.clone(),
                                common: outlines.reduce(Outline::common).unwrap_or_default(),
                                ..Start::of(len, digits, *byte, *next_byte, follows)
                            };
                            let index = *known.entry(start).or_insert_with_key(|start| {
                                self.starts.push(start.clone());
                                self.starts.len() as u32 - 1
                            });
                            self.slots.push(index);
                        }
                    }
                }
            }
        }
    }

    /// The bytes around a token at `start` in which all values lie that may be there and need words.
    pub(super) fn reach(&self, start: usize) -> Range<usize> {
        start.saturating_sub(self.back.max(phone::MOST_BEFORE))..start + self.longest()
    }

    /// Most bytes of a value that needs words.
    pub(super) fn longest(&self) -> usize {
        self.longest.max(phone::MOST_BYTES)
    }

    /// What may begin at `token`, if anything.
    #[inline]
    pub(super) fn at(&self, text: &[u8], token: &Token) -> Option<&Start> {
        let Range { start, end } = token.span;
        // Before the text there is nothing, as behind it: no text has so many bytes.
        let [before, next, follows] = match text.get(start.wrapping_sub(1)..end + 2) {
            Some([before, .., next, follows]) => [before, next, follows].map(|byte| usize::from(*byte)),
            _ => [start.wrapping_sub(1), end, end + 1].map(|at| place(text, at)),
        };
        let before = self.before.of(before);
        let next = usize::from(self.next_at[next]);
        let follows = usize::from(self.follows_at[follows]);
        let kind = token.span.len().min(LENGTHS - 1) * 2 + usize::from(token.digits);
        let start = self.slots[kind * self.stride + follows + next + before];
        (start > 0).then(|| &self.starts[start as usize])
    }

    /// The pictures of `start` that may fit around a token that begins with `first`; with no words nearby, those that
    /// need none.
    #[inline]
    pub(super) fn around(
        &self,
        start: &Start,
        unaided: bool,
        window: &Window,
        first: u8,
    ) -> impl Iterator<Item = &Shape> {
        let first = self.first.of(usize::from(first));
        let Range { start, end } = if unaided { &start.unaided } else { &start.shapes };
        let shapes = &self.shapes[*start as usize..*end as usize];
        shapes.iter().filter(move |shape| shape.outline.fits(window) && shape.first >> first & 1 == 1)
    }

    /// The place of a slot in the table; see [`at`](Self::at).
    fn slot(&self, len: usize, digits: bool, follows: Follows, next: usize, before: usize) -> usize {
        let around = follows as usize * self.next.examples.len() + next;
        (len * 2 + usize::from(digits)) * self.stride + around * self.before.examples.len() + before
    }
}

/// Adds those of `all` to `shapes`; says where they are.
fn keep<'w>(shapes: &mut Vec<Shape>, all: &[Shape], which: impl Iterator<Item = &'w u32>) -> Range<u32> {
    let from = shapes.len() as u32;
    shapes.extend(which.map(|&of| all[of as usize]));
    let until = shapes.len() as u32;
    // What is empty is the same wherever it is.
    if from == until { 0..0 } else { from..until }
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
