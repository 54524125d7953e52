//! What each byte of a text is: a digit, a letter, a sign. One pass over the text, a bit for each byte, on which tokens
//! and long runs are then found without reading the text again.

mod summary;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::convert::Infallible;
use std::ops::Range;

use wide::u8x16;

use self::summary::{SHORTEST_RUN, Summary, flagged};
use crate::flow::ByteSpan;

/// Bytes that are a bit each of a word.
const BLOCK: usize = 64;

/// A run of ASCII letters and digits with at least one digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) span: ByteSpan,
    /// It has no letters.
    pub(super) digits: bool,
}

/// What is around the byte at bit [`BEFORE`], a bit for each byte; nothing where the text ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) digits: u64,
    pub(super) letters: u64,
    /// `:`, `-` and `.`.
    pub(super) joints: u64,
}

/// Bytes of a window before the one that it is around.
pub(super) const BEFORE: usize = 24;

/// What 64 bytes are, the first in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) digits: u64,
    pub(super) small: u64,
    pub(super) capital: u64,
    /// `+`, `-`, `/` and `_`: what base64 has besides.
    pub(super) signs: u64,
    pub(super) equals: u64,
    /// `%`, `&` and `\`, with which escapes begin.
    pub(super) marks: u64,
    /// `:`, `-` and `.`, with which the address of a network card is divided.
    joints: u64,
    /// What is not ASCII.
    pub(super) outside: u64,
}

/// Where the first of some joints in a row is, within a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joints {
    from: usize,
    /// Three, with two bytes between each other; two, with four.
    threes: u64,
    twos: u64,
}

impl Joints {
    pub(super) fn threes(self) -> impl Iterator<Item = usize> {
        places(self.from, self.threes)
    }

    pub(super) fn twos(self) -> impl Iterator<Item = usize> {
        places(self.from, self.twos)
    }
}

/// The places of `bits` behind `from`.
fn places(from: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(from + bit)
    })
}

impl Block {
    /// Letters and digits.
    #[inline]
    fn tokens(&self) -> u64 {
        self.digits | self.small | self.capital
    }

    /// Letters of base64, of both its alphabets.
    #[inline]
    pub(super) fn base64(&self) -> u64 {
        self.tokens() | self.signs
    }

    /// What keys are made of.
    #[inline]
    pub(super) fn keys(&self) -> u64 {
        self.base64() | self.equals
    }
}

/// The classes of a text's bytes.
#[derive(Debug, Default)]
pub(super) struct Classes {
    blocks: Vec<Block>,
    summaries: Vec<Summary>,
}

impl Classes {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut classes = Self::default();
        classes.read(text);
        classes
    }

    /// Those of `text`, instead of the last one's.
    pub(super) fn read(&mut self, text: &[u8]) {
        let (blocks, tail) = text.as_chunks::<BLOCK>();
        self.blocks.resize(blocks.len() + 1, Block::default());
        read(blocks, &mut self.blocks);
        let mut last = [0; BLOCK];
        last[..tail.len()].copy_from_slice(tail);
        read(&[last], &mut self.blocks[blocks.len()..]);
        self.summaries.clear();
        let mut before = 0;
        self.summaries.extend(self.blocks.chunks(BLOCK).map(|blocks| {
            let (summary, behind) = Summary::of(blocks, before);
            before = behind;
            summary
        }));
    }

    /// The first byte of `kind` at or after `from`.
    #[inline]
    pub(super) fn next(&self, kind: impl Fn(&Block) -> u64, from: usize) -> Option<usize> {
        let mut rest = u64::MAX << (from % BLOCK);
        for (at, block) in (from / BLOCK..).zip(self.blocks.get(from / BLOCK..)?) {
            let found = kind(block) & rest;
            if found != 0 {
                return Some(at * BLOCK + found.trailing_zeros() as usize);
            }
            rest = u64::MAX;
        }
        None
    }

    /// Calls `found` for the digit-bearing tokens, in order, until it fails.
    #[inline]
    pub(super) fn each_token<E>(&self, mut found: impl FnMut(Token) -> Result<(), E>) -> Result<(), E> {
        // Where the last token ended that reached into another block.
        let mut done = 0;
        for (block, at) in self.blocks.iter().zip((0..).step_by(BLOCK)) {
            let behind = |end: usize| if end < at + BLOCK { u64::MAX << end.saturating_sub(at) } else { 0 };
            let mut digits = block.digits & behind(done);
            let outside = !block.tokens();
            while digits != 0 {
                // Bits below a digit, and below the first one behind its token, are told by subtracting one.
                let digit = digits & digits.wrapping_neg();
                let (below, above) = (outside & (digit - 1), outside & !(digit - 1));
                let token = if below != 0 && above != 0 {
                    // Nearly every token lies within its block.
                    let behind = above & above.wrapping_neg();
                    let start = BLOCK - below.leading_zeros() as usize;
                    let span = at + start..at + behind.trailing_zeros() as usize;
                    let is_first = below << 1 & digit != 0;
                    let all = !block.digits & behind.wrapping_sub(digit) == 0;
                    digits &= behind.wrapping_neg();
                    Token { span, digits: is_first & all }
                } else {
                    let span = self.across(at + digits.trailing_zeros() as usize);
                    done = span.end;
                    digits &= behind(done);
                    Token { digits: end_of(&self.blocks, span.start, |block| block.digits) == done, span }
                };
                found(token)?;
            }
        }
        Ok(())
    }

    /// Where the token begins and ends that the digit at `digit` is in.
    #[inline(never)]
    fn across(&self, digit: usize) -> Range<usize> {
        start_of(&self.blocks, digit, Block::tokens)..end_of(&self.blocks, digit, Block::tokens)
    }

    /// The digit-bearing tokens, in order.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let mut tokens = Vec::new();
        let Ok(()) = self.each_token(|token| {
            tokens.push(token);
            Ok::<_, Infallible>(())
        });
        tokens
    }

    /// The first run of at least `LEAST` bytes (11 to 64) of what `kind` gives, which keys may be made of, within
    /// `from..until`.
    #[inline]
    pub(super) fn next_run<const LEAST: usize>(
        &self,
        kind: impl Fn(&Block) -> u64,
        from: usize,
        until: usize,
    ) -> Option<Range<usize>> {
        const { assert!(SHORTEST_RUN as usize <= LEAST && LEAST <= BLOCK) }
        let (first, end) = (from / BLOCK, until.div_ceil(BLOCK));
        let of = |at: usize| kind(&self.blocks[at]) & if at == first { u64::MAX << (from % BLOCK) } else { u64::MAX };
        for at in flagged(&self.summaries, |summary| summary.runs, first).take_while(|at| *at < end) {
            let mask = of(at);
            // Bytes right before the block that are of one run; one that fills that block was found there.
            let before = if at > first { of(at - 1).leading_ones() as usize } else { 0 };
            let start = if before > 0 && before + mask.trailing_ones() as usize >= LEAST {
                at * BLOCK - before
            } else {
                // A bit for each byte from which on so many are of one run.
                let mut long = mask;
                let mut covered = 1;
                while covered < LEAST {
                    let more = covered.min(LEAST - covered);
                    long &= long >> more;
                    covered += more;
                }
                if long == 0 {
                    continue;
                }
                at * BLOCK + long.trailing_zeros() as usize
            };
            let end = end_of(&self.blocks, start, &kind).min(until);
            return (end >= start + LEAST).then_some(start..end);
        }
        None
    }

    /// The blocks in which rows of joints begin.
    pub(super) fn joints(&self) -> impl Iterator<Item = Joints> {
        flagged(&self.summaries, |summary| summary.joints, 0).filter_map(|at| {
            let joints = self.blocks[at].joints;
            let next = self.blocks.get(at + 1).map_or(0, |block| block.joints);
            let behind = |gap: u32| joints >> gap | next << (BLOCK as u32 - gap);
            let (threes, twos) = (joints & behind(3) & behind(6), joints & behind(5));
            (threes | twos != 0).then_some(Joints { from: at * BLOCK, threes, twos })
        })
    }

    /// What is around the byte at `at`.
    #[inline]
    pub(super) fn around(&self, at: usize) -> Window {
        let nothing = Block::default();
        let from = at.saturating_sub(BEFORE);
        let (low, high) = match &self.blocks[from / BLOCK..] {
            [low, high, ..] => (low, high),
            [low] => (low, &nothing),
            [] => (&nothing, &nothing),
        };
        let (shift, outside) = (from % BLOCK, BEFORE.saturating_sub(at));
        let window = |low: u64, high: u64| (low >> shift | high << 1 << (BLOCK - 1 - shift)) << outside;
        Window {
            digits: window(low.digits, high.digits),
            letters: window(low.small | low.capital, high.small | high.capital),
            joints: window(low.joints, high.joints),
        }
    }

    /// Whether there is a digit in `span`, or letters of both cases: words written out have neither.
    #[inline]
    pub(super) fn vary(&self, span: &Range<usize>) -> bool {
        let (mut digits, mut small, mut capital) = (0, 0, 0);
        for (block, within) in self.within(span) {
            digits |= block.digits & within;
            small |= block.small & within;
            capital |= block.capital & within;
        }
        digits != 0 || (small != 0 && capital != 0)
    }

    /// Whether there is a byte of `kind` in `span`.
    #[inline]
    pub(super) fn any(&self, span: &Range<usize>, kind: impl Fn(&Block) -> u64) -> bool {
        self.within(span).any(|(block, within)| kind(block) & within != 0)
    }

    /// How many bytes of `span` are digits.
    #[inline]
    pub(super) fn digits(&self, span: &Range<usize>) -> u32 {
        self.within(span).map(|(block, within)| (block.digits & within).count_ones()).sum()
    }

    /// The blocks of `span`, with a bit for each byte in it.
    #[inline]
    fn within(&self, span: &Range<usize>) -> impl Iterator<Item = (&Block, u64)> {
        let (first, last) = (span.start / BLOCK, span.end / BLOCK);
        let (from, to) = (u64::MAX << (span.start % BLOCK), !(u64::MAX << (span.end % BLOCK)));
        let blocks = self.blocks[first..].iter().zip(first..).take(last + 1 - first);
        blocks.map(move |(block, at)| {
            let after = if at == first { from } else { u64::MAX };
            let before = if at == last { to } else { u64::MAX };
            (block, after & before)
        })
    }
}

/// Where the run ends that `start` is in.
#[inline]
fn end_of(blocks: &[Block], start: usize, kind: impl Fn(&Block) -> u64) -> usize {
    let mut at = start / BLOCK;
    let mut out = !kind(&blocks[at]) & (u64::MAX << (start % BLOCK));
    while out == 0 {
        at += 1;
        out = blocks.get(at).map_or(1, |block| !kind(block));
    }
    at * BLOCK + out.trailing_zeros() as usize
}

/// Where the run begins that the byte at `inner` is in.
#[inline]
fn start_of(blocks: &[Block], inner: usize, kind: impl Fn(&Block) -> u64) -> usize {
    let mut at = inner / BLOCK;
    let mut out = !kind(&blocks[at]) & !(u64::MAX << (inner % BLOCK));
    while out == 0 {
        let Some(before) = at.checked_sub(1) else { return 0 };
        at = before;
        out = !kind(&blocks[at]);
    }
    (at + 1) * BLOCK - out.leading_zeros() as usize
}

/// Reads blocks of `text` into as many of `blocks`.
fn read(text: &[[u8; BLOCK]], blocks: &mut [Block]) {
    #[cfg(target_arch = "x86_64")]
    if x86::read(text, blocks) {
        return;
    }
    for (block, text) in blocks.iter_mut().zip(text) {
        *block = portable(text);
    }
}

/// The classes of a block, sixteen bytes at a time.
fn portable(text: &[u8; BLOCK]) -> Block {
    let mut block = Block::default();
    for (bytes, shift) in text.as_chunks::<16>().0.iter().zip((0..).step_by(16)) {
        let bytes = u8x16::new(*bytes);
        let within = |bytes: u8x16, from: u8, count: u8| {
            let offset = bytes - u8x16::splat(from);
            offset.min(u8x16::splat(count - 1)).simd_eq(offset)
        };
        let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
        let bits = |set: u8x16| u64::from(set.to_bitmask()) << shift;
        block.digits |= bits(within(bytes, b'0', 10));
        block.small |= bits(within(bytes, b'a', 26));
        block.capital |= bits(within(bytes, b'A', 26));
        block.signs |= bits(is(b'+') | is(b'-') | is(b'/') | is(b'_'));
        block.equals |= bits(is(b'='));
        block.marks |= bits(is(b'%') | is(b'&') | is(b'\\'));
        block.joints |= bits(is(b':') | is(b'-') | is(b'.'));
        block.outside |= bits(bytes);
    }
    block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<&str> {
        Classes::of(text.as_bytes()).tokens().into_iter().map(|t| &text[t.span]).collect()
    }

    #[test]
    fn tokens_are_runs_of_letters_and_digits_with_a_digit() {
        assert_eq!(tokens("pay 4111-1111 to DE89x now 7."), ["4111", "1111", "DE89x", "7"]);
        assert_eq!(tokens("no digits here"), [""; 0]);
        assert_eq!(tokens(""), [""; 0]);
    }

    #[test]
    fn every_byte_is_told() {
        for byte in 0..=255u8 {
            for at in [0, 15, 16, 31, 32, 63] {
                let mut text = [b'#'; BLOCK];
                text[at] = byte;
                let bit = |is: bool| u64::from(is) << at;
                let expected = Block {
                    digits: bit(byte.is_ascii_digit()),
                    small: bit(byte.is_ascii_lowercase()),
                    capital: bit(byte.is_ascii_uppercase()),
                    signs: bit(matches!(byte, b'+' | b'-' | b'/' | b'_')),
                    equals: bit(byte == b'='),
                    marks: bit(matches!(byte, b'%' | b'&' | b'\\')),
                    joints: bit(matches!(byte, b':' | b'-' | b'.')),
                    outside: bit(!byte.is_ascii()),
                };
                assert_eq!(portable(&text), expected, "{byte:#x} at {at}");
                assert_eq!(Classes::of(&text).blocks[0], expected, "{byte:#x} at {at}");
                #[cfg(target_arch = "x86_64")]
                x86::tests::every_way_tells(&text, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_not_ascii_is_found(text in "[a-z]{0,150}(\u{e9}[a-z]{0,100}){0,3}", from in 0usize..400) {
            let expected = (from..text.len()).find(|&at| !text.as_bytes()[at].is_ascii());
            prop_assert_eq!(Classes::of(text.as_bytes()).next(|block| block.outside, from), expected);
        }

        #[test]
        fn tokens_equal_a_simple_reference(text in "[a-z0-9 .-]{0,300}|[a-z0-9]{60,200}|([0-9]{60,70}[ a]){2}") {
            let reference: Vec<(&str, bool)> = text
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|t| t.bytes().any(|b| b.is_ascii_digit()))
                .map(|t| (t, t.bytes().all(|b| b.is_ascii_digit())))
                .collect();
            let found: Vec<_> = Classes::of(text.as_bytes()).tokens().into_iter().map(|t| (&text[t.span], t.digits)).collect();
            prop_assert_eq!(found, reference);
        }

        #[test]
        fn runs_equal_a_simple_reference(
            text in "[a-zA-Z0-9_+/=., -]{0,200}|([a-z]{1,130}[.]){0,4}",
            from in 0usize..100,
            cut in 0usize..100,
        ) {
            let until = text.len().saturating_sub(cut);
            let from = from.min(until);
            let classes = Classes::of(text.as_bytes());
            let mut at = from;
            let mut runs = Vec::new();
            while let Some(run) = classes.next_run::<11>(Block::keys, at, until) {
                at = run.end;
                runs.push(&text[run]);
            }
            let reference: Vec<_> = text[from..until]
                .split(|c: char| !(c.is_ascii_alphanumeric() || "_+/=-".contains(c)))
                .filter(|run| run.len() >= 11)
                .collect();
            prop_assert_eq!(runs, reference);
        }

        #[test]
        fn joints_equal_a_simple_reference(text in "([a-f]{1,4}[:. -]){0,60}|[.]{60}(aa[.]){4,9}|(aaaa[.]){30}") {
            let bytes = text.as_bytes();
            let is_joint = |at: usize| bytes.get(at).is_some_and(|b| b":-.".contains(b));
            let of = |gaps: &[usize]| (0..bytes.len()).filter(|at| gaps.iter().all(|gap| is_joint(at + gap))).collect();
            let (threes, twos): (Vec<_>, Vec<_>) = (of(&[0, 3, 6]), of(&[0, 5]));
            let classes = Classes::of(bytes);
            let rows: Vec<_> = classes.joints().collect();
            prop_assert_eq!(rows.iter().flat_map(|row| row.threes()).collect::<Vec<_>>(), threes);
            prop_assert_eq!(rows.iter().flat_map(|row| row.twos()).collect::<Vec<_>>(), twos);
        }

        #[test]
        fn windows_show_what_is_around(text in "[a-c0-9.: -]{0,200}", at in 0usize..200) {
            let at = at.min(text.len());
            let window = Classes::of(text.as_bytes()).around(at);
            for bit in 0..BLOCK {
                let byte = (at + bit).checked_sub(BEFORE).and_then(|i| text.as_bytes().get(i));
                prop_assert_eq!(window.digits >> bit & 1 == 1, byte.is_some_and(u8::is_ascii_digit));
                prop_assert_eq!(window.letters >> bit & 1 == 1, byte.is_some_and(u8::is_ascii_alphabetic));
                prop_assert_eq!(window.joints >> bit & 1 == 1, byte.is_some_and(|b| b":-.".contains(b)));
            }
        }

        #[test]
        fn digits_are_counted(text in "[a-c0-9]{0,200}", start in 0usize..200, end in 0usize..200) {
            let end = end.min(text.len());
            let start = start.min(end);
            let expected = text[start..end].bytes().filter(u8::is_ascii_digit).count();
            prop_assert_eq!(Classes::of(text.as_bytes()).digits(&(start..end)) as usize, expected);
        }
    }
}
