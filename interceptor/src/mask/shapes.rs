//! Which pictures may fit around a token, told by its length and the bytes at its ends.
//!
//! Most numbers in a text are followed by a word, or by nothing that a picture could go on with; one lookup leaves the few
//! pictures that need to be compared with the text.

use std::ops::Range;

use super::classes::{Token, Window};
use super::engine::LONGEST_ANCHOR;
use super::picture::{Anchor, Outline, Picture};

/// What stands behind the one byte that follows a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Follows {
    Nothing,
    Letter,
    Digit,
}

impl Follows {
    const ALL: [Self; 3] = [Self::Nothing, Self::Letter, Self::Digit];
}

/// Bytes of a text that stand at one place of a picture: a bit for each ASCII character.
pub(super) type Set = u128;

/// Any byte, and none.
pub(super) const ANY: Set = Set::MAX;

/// The pictures of a rule set by what the gate sees of their anchor tokens.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// The class of each byte; of the end of the text, and of what is not ASCII, the last one. Bytes of one class are
    /// in the same sets.
    classes: Vec<u8>,
    count: usize,
    slots: Vec<Range<u32>>,
    shapes: Vec<Shape>,
}

/// A picture of a rule, and the classes of bytes that may be before its token and at its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rule: u32,
    pub(super) picture: u32,
    pub(super) offset: u32,
    before: u64,
    first: u64,
    outline: Outline,
}

/// Bytes that are no ASCII character, or no byte at all.
const OTHER: usize = 128;
/// Classes that fit into the sets of a shape. With more, the last of them holds all others, and tells nothing.
const MOST_CLASSES: usize = 64;

impl Shapes {
    /// Of `pictures`, each with its rule and its number there.
    pub(super) fn new<'p>(pictures: impl Iterator<Item = (u32, u32, &'p Picture)>) -> Self {
        let pictures: Vec<_> = pictures.map(|(rule, picture, drawn)| (rule, picture, drawn.anchor())).collect();
        let (classes, count) = classes(pictures.iter().map(|(_, _, anchor)| *anchor));
        let mut shapes = Self { classes, count, ..Self::default() };
        let mut slots = vec![Vec::new(); shapes.slot(LONGEST_ANCHOR + 1, false, Follows::Nothing, 0)];
        for (rule, picture, anchor) in pictures {
            let offset = u32::try_from(anchor.offset).unwrap_or(u32::MAX);
            let [before, first, next] = [anchor.before, anchor.first, anchor.next].map(|set| shapes.classes_in(set));
            let shape = Shape { rule, picture, offset, before, first, outline: anchor.outline };
            for follows in Follows::ALL.into_iter().filter(|f| anchor.goes_on.is_none_or(|letter| *f >= letter)) {
                for class in (0..shapes.count).filter(|class| next >> class & 1 == 1) {
                    for digits in [false, true].into_iter().filter(|digits| anchor.may_be(*digits)) {
                        for length in anchor.lengths.clone() {
                            slots[shapes.slot(length, digits, follows, class)].push(shape);
                        }
                    }
                }
            }
        }
        for slot in slots {
            let start = shapes.shapes.len() as u32;
            shapes.shapes.extend(slot);
            shapes.slots.push(start..shapes.shapes.len() as u32);
        }
        shapes
    }

    /// The pictures that may fit around `token`.
    #[inline]
    pub(super) fn around(
        &self,
        text: &[u8],
        window: &Window,
        token: &Token,
        follows: Follows,
    ) -> impl Iterator<Item = &Shape> {
        let class = |byte: Option<&u8>| self.classes[byte.map_or(OTHER, |b| usize::from(*b).min(OTHER))];
        let next = class(text.get(token.span.end));
        let slot = self.slot(token.span.len(), token.digits, follows, usize::from(next));
        let shapes = self.slots.get(slot).map_or(&[][..], |slot| &self.shapes[slot.start as usize..slot.end as usize]);
        let before = class(token.span.start.checked_sub(1).map(|i| &text[i]));
        let first = class(text.get(token.span.start));
        let may_fit = move |shape: &&Shape| shape.before >> before & shape.first >> first & 1 == 1;
        shapes.iter().filter(move |shape| shape.outline.fits(window)).filter(may_fit)
    }

    fn slot(&self, len: usize, digits: bool, follows: Follows, class: usize) -> usize {
        ((len * 2 + usize::from(digits)) * Follows::ALL.len() + follows as usize) * self.count + class
    }

    /// The classes of the bytes in `set`, a bit each.
    fn classes_in(&self, set: Set) -> u64 {
        let of = |(byte, class): (usize, &u8)| (set == ANY || (byte < OTHER && set >> byte & 1 == 1)).then_some(*class);
        self.classes.iter().enumerate().filter_map(of).fold(0, |classes, class| classes | 1 << class)
    }
}

/// Divides the bytes by the sets of `anchors` that they are in; and how many classes that makes.
fn classes<'p>(anchors: impl Iterator<Item = &'p Anchor>) -> (Vec<u8>, usize) {
    let mut classes = vec![0u8; OTHER + 1];
    let mut count = 1;
    for set in anchors.flat_map(|anchor| [anchor.before, anchor.first, anchor.next]).filter(|set| *set != ANY) {
        // Each class is divided into what is in the set and what is not.
        let mut divided = vec![None; count];
        let mut seen_out = vec![false; count];
        let within = |byte: usize| byte < OTHER && set >> byte & 1 == 1;
        for (byte, class) in classes.iter().enumerate() {
            seen_out[usize::from(*class)] |= !within(byte);
        }
        for (byte, class) in classes.iter_mut().enumerate().filter(|(byte, _)| within(*byte)) {
            let old = usize::from(*class);
            if seen_out[old] && (divided[old].is_some() || count < MOST_CLASSES) {
                let new = *divided[old].get_or_insert_with(|| {
                    count += 1;
                    count - 1
                });
                *class = new as u8;
            }
            debug_assert!(byte < OTHER);
        }
    }
    (classes, count)
}
