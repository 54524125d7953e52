//! Numbers in another dress: other digits, other blanks and dashes, invisible characters between the digits.
//!
//! The folded copy has ASCII digits, `-` for any dash and one blank for any gap; it is made only for a text that has
//! such characters near a digit, and only scanned: what is found in it leads back to the text itself. Found counts only
//! what [is dressed](is_dressed) itself: whether it is does not depend on what else is in the text.

use super::classes::Classes;
use crate::flow::ByteSpan;

/// Characters between two groups of one number; a longer gap separates two numbers.
pub(super) const WIDEST_GAP: usize = 6;
/// Bytes around a number with wide gaps that are folded with it: groups of letters that belong to it, and what is glued
/// to it.
const AROUND: usize = 128;
/// Zero of each script with decimal digits (Unicode 16, category Nd, in use).
const ZEROS: &[u32] = &[
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1fbf0,
];

/// Ends what is before it, also for an automaton that tells of a match a byte late.
pub(super) const APART: &str = "\n\n";

/// A folded copy and the way back.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) text: String,
    /// Where a stretch starts in the copy and in the original; byte for byte from there.
    runs: Vec<(usize, usize)>,
    /// What more text may make of the gap at the end.
    pub(super) endings: &'static [&'static str],
}

/// What a character is within a number.
enum Class {
    /// A digit or letter, and its plain form.
    Plain(char),
    Blank,
    Break,
    Dash,
    Invisible,
    Other,
}

impl Class {
    fn of(c: char) -> Self {
        match c {
            '0'..='9' | 'a'..='z' | 'A'..='Z' => Self::Plain(c),
            '\n' => Self::Break,
            '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => Self::Dash,
            // Quotation marks, an ellipsis, letters of Europe and of China and Japan: the most that texts have outside of
            // ASCII, and none of what is below.
            '\u{2018}'..='\u{2027}' | '\u{ae}'..='\u{65f}' | '\u{3001}'..='\u{9fff}' => Self::Other,
            _ if c.is_whitespace() => Self::Blank,
            _ if c.is_ascii() => Self::Other,
            '\u{ad}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' => Self::Invisible,
            // Full-width letters.
            '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => {
                char::from_u32(u32::from(c) - 0xff21 + u32::from('A')).map_or(Self::Other, Self::Plain)
            }
            _ => digit(c).map_or(Self::Other, Self::Plain),
        }
    }
}

/// The ASCII digit of the same value.
fn digit(c: char) -> Option<char> {
    let code = u32::from(c);
    let zero = *ZEROS[..ZEROS.partition_point(|&zero| zero <= code)].last()?;
    char::from_digit(code - zero, 10)
}

/// Whether folding could show a number in `text` that is not plain there: for texts outside ASCII.
pub(super) fn may_hide_a_number(text: &str, classes: &Classes) -> bool {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = classes.next(|block| block.outside, from) {
        let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { return true };
        let hides = match Class::of(c) {
            Class::Plain(_) => true,
            Class::Other => false,
            _ => {
                let around = at.saturating_sub(WIDEST_GAP)..bytes.len().min(at + c.len_utf8() + WIDEST_GAP);
                bytes[around].iter().any(u8::is_ascii_digit)
            }
        };
        if hides {
            return true;
        }
        from = at + c.len_utf8();
    }
    false
}

/// Whether a number that was found in the folded copy is other than plain: in characters, or by a wide gap.
pub(super) fn is_dressed(number: &str) -> bool {
    let text = number.as_bytes();
    let classes = Classes::of(text);
    let tokens = classes.tokens();
    let mut gaps = tokens.windows(2).map(|two| &text[two[0].span.end..two[1].span.start]);
    may_hide_a_number(number, &classes) || gaps.any(|gap| joins(gap) && is_wide(gap))
}

/// Whether folding leaves `byte` where it is, between what is no number's.
pub(super) fn is_kept(byte: u8) -> bool {
    byte.is_ascii() && matches!(Class::of(char::from(byte)), Class::Other)
}

/// Whether a gap of ASCII characters joins two groups to one number.
fn joins(gap: &[u8]) -> bool {
    !gap.is_empty() && gap.len() <= WIDEST_GAP && gap.iter().all(|b| matches!(b, b' ' | b'-' | b'\t' | b'\r' | b'\n'))
}

/// Whether the gap is other than the one character that pictures allow.
fn is_wide(gap: &[u8]) -> bool {
    !matches!(gap, [b' ' | b'-'])
}

/// Finds the stretches of an ASCII text in which folding could show a number: tokens with digits, joined by gaps of which
/// one is wide.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    found: Vec<ByteSpan>,
    current: ByteSpan,
    wide: bool,
}

impl Stretches {
    /// Adds the next digit-bearing token of `text`.
    #[inline]
    pub(super) fn add(&mut self, text: &[u8], token: &ByteSpan) {
        let gap = text.get(self.current.end..token.start).unwrap_or_default();
        let joined = joins(gap);
        if !joined {
            self.close();
            self.current.start = token.start;
        }
        self.wide |= joined && is_wide(gap);
        self.current.end = token.end;
    }

    /// The stretches with what is around each; those that then touch are one.
    pub(super) fn finish(mut self, text: &str) -> Vec<ByteSpan> {
        self.close();
        let mut out: Vec<ByteSpan> = Vec::new();
        for span in self.found {
            let start = text.floor_char_boundary(span.start.saturating_sub(AROUND));
            let end = text.ceil_char_boundary(text.len().min(span.end + AROUND));
            match out.last_mut() {
                Some(last) if start <= last.end => last.end = end,
                _ => out.push(start..end),
            }
        }
        out
    }

    fn close(&mut self) {
        if self.wide {
            self.found.push(self.current.clone());
        }
        self.wide = false;
    }
}

impl Folded {
    pub(super) fn new(text: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(text.len()), runs: Vec::new(), endings: &[""] };
        let mut gap = Gap::default();
        for (at, c) in text.char_indices() {
            let plain = match Class::of(c) {
                Class::Plain(plain) => plain,
                Class::Other => c,
                class => {
                    gap.add(&class, at);
                    continue;
                }
            };
            if let Some(separator) = gap.take() {
                folded.push(separator, gap.start);
            }
            folded.push(plain, at);
        }
        folded.endings = gap.endings();
        folded
    }

    fn push(&mut self, c: char, original: usize) {
        let here = self.text.len();
        let in_line = self.runs.last().is_some_and(|run| run.1 + (here - run.0) == original);
        if !in_line {
            self.runs.push((here, original));
        }
        self.text.push(c);
    }

    /// The bytes of `original`, from which this was folded, behind `span` of the copy.
    pub(super) fn to_original(&self, span: &ByteSpan, original: &str) -> ByteSpan {
        let last = self.original(span.end - 1);
        self.original(span.start)..original.ceil_char_boundary(last + 1)
    }

    /// The byte of the original behind `at` of the copy.
    pub(super) fn original(&self, at: usize) -> usize {
        let next = self.runs.partition_point(|run| run.0 <= at);
        next.checked_sub(1).map_or(at, |i| self.runs[i].1 + (at - self.runs[i].0))
    }
}

/// Characters between two plain ones.
#[derive(Debug, Default)]
struct Gap {
    start: usize,
    len: usize,
    dash: bool,
    blank: bool,
    breaks: usize,
}

impl Gap {
    fn add(&mut self, class: &Class, at: usize) {
        if self.len == 0 {
            *self = Self { start: at, ..Self::default() };
        }
        self.len += 1;
        self.dash |= matches!(class, Class::Dash);
        self.blank |= matches!(class, Class::Blank);
        self.breaks += usize::from(matches!(class, Class::Break));
    }

    /// What can stand for the gap in the copy when more text follows.
    fn endings(&self) -> &'static [&'static str] {
        match (self.dash, self.blank || self.breaks > 0) {
            _ if self.len == 0 => &[""],
            _ if self.len > WIDEST_GAP || self.breaks > 1 => &[APART],
            (true, _) => &["-"],
            (false, true) => &[" ", "-"],
            (false, false) => &[""],
        }
    }

    /// What stands for the gap in the copy; nothing for invisible characters.
    fn take(&mut self) -> Option<char> {
        let len = std::mem::take(&mut self.len);
        match (self.dash, self.blank || self.breaks > 0) {
            _ if len == 0 => None,
            // No separator of any picture: two numbers.
            _ if len > WIDEST_GAP || self.breaks > 1 => Some('\n'),
            (true, _) => Some('-'),
            (false, true) => Some(' '),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_of_all_scripts_and_gaps_of_all_kinds_become_plain() {
        let fold = |text: &str| Folded::new(text).text;
        assert_eq!(fold("４１１１\u{a0}１１１１"), "4111 1111");
        assert_eq!(fold("٤١١١\u{2013}١١١١"), "4111-1111");
        assert_eq!(fold("41\u{200b}11  11\u{2212}11 - 2"), "4111 11-11-2");
        assert_eq!(fold("4111\r\n1111\n\n1111"), "4111 1111\n1111");
        assert_eq!(fold("a, b. é"), "a, b. é");
        assert!(ZEROS.is_sorted());
    }

    #[test]
    fn only_what_hides_a_number_is_folded() {
        let may_hide = |text: &str| may_hide_a_number(text, &Classes::of(text.as_bytes()));
        assert!(may_hide("4111\u{a0}1111") && may_hide("４"));
        assert!(may_hide("DE\u{200b}89370400440532013000"));
        assert!(!may_hide("caf\u{e9} \u{2014} twelve “a” 数") && !may_hide("4111 1111"));
    }

    #[test]
    fn stretches_are_numbers_with_a_wide_gap() {
        let stretches = |text: &str| {
            let mut stretches = Stretches::default();
            for token in Classes::of(text.as_bytes()).tokens() {
                stretches.add(text.as_bytes(), &token.span);
            }
            stretches.close();
            stretches.found.into_iter().map(|span| &text[span]).collect::<Vec<_>>().join("|")
        };
        assert_eq!(stretches("pay 4111  1111 1111\n1111 now"), "4111  1111 1111\n1111");
        assert_eq!(stretches("a 536 - 90 - 4399, b 1111\t2222"), "536 - 90 - 4399|1111\t2222");
        assert_eq!(stretches("4111 1111 1111 1111, 1111       2222"), "");
    }

    proptest! {
        #[test]
        fn every_span_leads_back_to_characters_that_fold_to_it(text in "[0-3a\u{a0}\u{2013}\u{200b}\n４٤é -]{0,40}") {
            let folded = Folded::new(&text);
            for start in 0..folded.text.len() {
                for end in start + 1..=folded.text.len() {
                    let Some(piece) = folded.text.get(start..end) else { continue };
                    if piece.starts_with(|c: char| !c.is_alphanumeric()) || piece.ends_with(|c: char| !c.is_alphanumeric()) {
                        continue;
                    }
                    let span = folded.to_original(&(start..end), &text);
                    prop_assert_eq!(&Folded::new(&text[span]).text, piece);
                }
            }
        }
    }
}
