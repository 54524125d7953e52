//! Runs of letters that are text in base64 or in hexadecimal digits.
//!
//! Nearly every run in a text is a word, a path, a key or a digest, and decodes to bytes that are no text: most are told
//! by their first four letters.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Encoding, escapes};
use crate::mask::classes::{Block, Classes};
use crate::mask::token;

/// The shortest text that is worth decoding, in bytes: no value is shorter, and short words decode to text by chance.
const SHORTEST_TEXT: usize = 8;
/// Letters of base64 that so many bytes take; hexadecimal digits take more.
const SHORTEST: usize = 11;
/// Lines of base64 that belong together are this long at least: MIME has 76 (RFC 2045), PEM 64.
const SHORTEST_LINE: usize = 60;
/// Blanks before a line that is part of an indented block.
const MOST_INDENT: usize = 32;
/// Letters that are decoded to see whether a run may be text.
const SAMPLE: usize = 16;

/// Not a letter of base64.
const NONE: u8 = 0xff;
/// The value of each letter, of both alphabets (RFC 4648, sections 4 and 5).
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut i = 0;
    while i < 26 {
        values[b'A' as usize + i as usize] = i;
        values[b'a' as usize + i as usize] = 26 + i;
        if i < 10 {
            values[b'0' as usize + i as usize] = 52 + i;
        }
        i += 1;
    }
    values[b'+' as usize] = 62;
    values[b'-' as usize] = 62;
    values[b'/' as usize] = 63;
    values[b'_' as usize] = 63;
    values
};

/// Padding is looked at where the run ends, and what is beyond the last byte says nothing.
const UNPADDED: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
static STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, UNPADDED);
static URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, UNPADDED);

/// A run and the text that it encodes.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) raw: Range<usize>,
    pub(super) text: String,
    pub(super) how: Encoding,
}

/// The runs of a text, in order. Each byte is decoded three times at most: with its run, with the part of it between
/// slashes, and with the part between any signs.
#[derive(Debug)]
pub(super) struct Runs<'t> {
    text: &'t [u8],
    classes: &'t Classes,
    at: usize,
    until: usize,
    /// What is left of a run that is no text as a whole, to be taken apart at slashes; and at all signs.
    slashed: Range<usize>,
    signed: Range<usize>,
    /// Lines before were tried together with those that follow.
    wrapped: usize,
}

impl<'t> Runs<'t> {
    pub(super) fn new(text: &'t [u8], classes: &'t Classes, within: Range<usize>) -> Self {
        Self { text, classes, at: within.start, until: within.end, slashed: 0..0, signed: 0..0, wrapped: 0 }
    }

    pub(super) fn next(&mut self) -> Option<Encoded> {
        loop {
            if !self.signed.is_empty() {
                let part = part(self.text, &mut self.signed, |b| !b.is_ascii_alphanumeric());
                match self.decode(part) {
                    None => continue,
                    found => return found,
                }
            }
            if !self.slashed.is_empty() {
                let part = part(self.text, &mut self.slashed, |b| b == b'/');
                if let Some(found) = self.decode(part.clone()) {
                    return Some(found);
                }
                self.signed = part;
                continue;
            }
            let mut run = self.classes.next_run::<SHORTEST>(Block::base64, self.at, self.until)?;
            self.at = run.end;
            if !self.classes.vary(&run) {
                continue;
            }
            run.start = self.behind_escape(&run);
            if let Some(token) = self.token(run.start) {
                self.at = token.max(self.at);
                continue;
            }
            if let Some(found) = self.lines(&run).or_else(|| self.decode(run.clone())) {
                self.at = found.raw.end;
                return Some(found);
            }
            // No part of a run of its length is long enough when it has a sign.
            if memchr::memchr(b'/', &self.text[run.clone()]).is_some() {
                self.slashed = run;
            } else if run.len() > SHORTEST {
                self.signed = run;
            }
        }
    }

    /// The end of the token that masking left, if the run at `start` is part of one.
    fn token(&self, start: usize) -> Option<usize> {
        let bracket = start.checked_sub(1)?;
        token::length(&self.text[bracket..]).map(|len| bracket + len)
    }

    /// Where a run begins without the digits of an escape right before it.
    fn behind_escape(&self, run: &Range<usize>) -> usize {
        let mark = run.start.checked_sub(1).filter(|at| matches!(self.text[*at], b'%' | b'\\'));
        let escape = mark.and_then(|at| escapes::at_mark(self.text, at, self.until));
        escape.map_or(run.start, |escape| escape.raw.end.clamp(run.start, run.end))
    }

    /// The text of a run.
    fn decode(&self, mut run: Range<usize>) -> Option<Encoded> {
        if run.len() < SHORTEST {
            return None;
        }
        // `\n` written as two characters.
        if self.text[..run.start].ends_with(b"\\") && matches!(self.text[run.start], b'n' | b'r' | b't') {
            run.start += 1;
        }
        // No text begins with a byte that begins with these.
        run.start += self.text[run.clone()].iter().take_while(|b| !b.is_ascii_alphanumeric()).count();
        let letters = &self.text[run.clone()];
        let digits = letters.strip_prefix(b"0x").unwrap_or(letters);
        if let Some(text) = hexadecimal(digits) {
            let raw = run.end - digits.len()..run.end;
            return Some(Encoded { raw, text, how: Encoding::Hex });
        }
        let text = base64(letters.iter().copied(), letters.len())?;
        let padding = (4 - letters.len() % 4) % 4;
        let padded = self.text[run.end..self.until].iter().take_while(|&&b| b == b'=').count() == padding;
        run.end += if padded { padding } else { 0 };
        Some(Encoded { raw: run, text, how: Encoding::Base64 })
    }

    /// The text of a run that goes on in the next lines.
    fn lines(&mut self, first: &Range<usize>) -> Option<Encoded> {
        let width = first.len();
        if width < SHORTEST_LINE
            || !width.is_multiple_of(4)
            || first.start < self.wrapped
            || !may_be_text(&self.text[first.clone()])
        {
            return None;
        }
        let (mut end, mut letters) = (first.end, width);
        while let Some(start) = next_line(&self.text[..self.until], end) {
            let len = self.text[start..self.until].iter().take(width + 1).take_while(|b| is_letter(**b)).count();
            if len == 0 || len > width {
                break;
            }
            end = start + len;
            letters += len;
            if len < width {
                break;
            }
        }
        self.wrapped = end;
        if letters == width {
            return None;
        }
        let raw = &self.text[first.start..end];
        let text = base64(raw.iter().copied().filter(|b| is_letter(*b)), letters)?;
        let padding = (4 - letters % 4) % 4;
        let padded = self.text[end..self.until].iter().take_while(|&&b| b == b'=').count() == padding;
        end += if padded { padding } else { 0 };
        Some(Encoded { raw: first.start..end, text, how: Encoding::Base64 })
    }
}

/// Takes the part before the next sign off `rest`.
fn part(text: &[u8], rest: &mut Range<usize>, is_sign: impl Fn(u8) -> bool) -> Range<usize> {
    let start = rest.start;
    let len = text[rest.clone()].iter().position(|&b| is_sign(b)).unwrap_or(rest.len());
    rest.start = (start + len + 1).min(rest.end);
    start..start + len
}

/// Where the line behind the break at `at` begins, without its indent.
fn next_line(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
    let indent = rest.iter().take(MOST_INDENT).take_while(|b| matches!(b, b' ' | b'\t')).count();
    Some(text.len() - rest.len() + indent)
}

pub(super) fn is_letter(byte: u8) -> bool {
    VALUES[usize::from(byte)] != NONE
}

/// Whether the first letters of a run decode to text.
fn may_be_text(letters: &[u8]) -> bool {
    // Most words are told by the first three bytes, before anything else is done with them.
    if let Some(four) = letters.first_chunk::<4>() {
        let [a, b, c, _] = three(four.map(|letter| VALUES[usize::from(letter)]));
        let follows = |byte: u8| matches!(byte, 0x80..0xc0);
        let is_text = |byte: u8| (byte < 0x80 && !is_control(byte)) || matches!(byte, 0xc2..0xf5);
        if !is_text(a) || (a < 0x80 && follows(b)) || (a >= 0x80 && !follows(b)) || (b < 0x80 && follows(c) && a < 0xe0)
        {
            return false;
        }
    }
    let mut bytes = [0; SAMPLE];
    let mut len = 0;
    for four in letters.as_chunks::<4>().0.iter().take(SAMPLE / 4) {
        let [a, b, c, _] = three(four.map(|letter| VALUES[usize::from(letter)]));
        bytes[len..len + 3].copy_from_slice(&[a, b, c]);
        len += 3;
    }
    let bytes = &bytes[..len];
    if is_wide(bytes) {
        return true;
    }
    let sound = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // The sample may end within a character.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    bytes[..sound].iter().all(|b| !is_control(*b))
}

/// Three bytes, and nothing, of the values of four letters.
fn three(values: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = values.map(u32::from);
    let [_, x, y, z] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
    [x, y, z, 0]
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0x7f
}

/// Whether bytes look like UTF-16 (little endian) of Latin letters, as PowerShell takes its commands.
fn is_wide(bytes: &[u8]) -> bool {
    bytes.len() >= 4 && bytes.iter().skip(1).step_by(2).all(|b| *b == 0) && !bytes.iter().step_by(2).any(|b| *b == 0)
}

/// The text that so many letters of base64 encode.
fn base64(letters: impl Iterator<Item = u8> + Clone, count: usize) -> Option<String> {
    if count < SHORTEST || count % 4 == 1 {
        return None;
    }
    let mut sample = [0; SAMPLE];
    let sampled = sample.iter_mut().zip(letters.clone()).map(|(to, letter)| *to = letter).count();
    if !may_be_text(&sample[..sampled]) {
        return None;
    }
    let letters: Vec<u8> = letters.collect();
    let url_safe = letters.iter().any(|letter| matches!(letter, b'-' | b'_'));
    // Signs of the other alphabet are an error.
    text(if url_safe { &URL_SAFE } else { &STANDARD }.decode(letters).ok()?)
}

/// The text that hexadecimal digits encode.
fn hexadecimal(digits: &[u8]) -> Option<String> {
    if digits.len() < 2 * SHORTEST_TEXT || !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = Vec::new();
    for [high, low] in digits.as_chunks::<2>().0 {
        let byte = value(*high)? << 4 | value(*low)?;
        // Digests are told by their first bytes.
        if is_control(byte) && byte != 0 {
            return None;
        }
        bytes.push(byte);
    }
    text(bytes)
}

/// Bytes as text, if they are: characters that can be shown, and enough of them.
fn text(bytes: Vec<u8>) -> Option<String> {
    if bytes.len() < SHORTEST_TEXT {
        return None;
    }
    let text = if is_wide(&bytes) {
        bytes.into_iter().step_by(2).map(char::from).collect()
    } else {
        String::from_utf8(bytes).ok()?
    };
    let is_shown = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars().all(is_shown).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<(&str, String)> {
        let classes = Classes::of(text.as_bytes());
        let mut runs = Runs::new(text.as_bytes(), &classes, 0..text.len());
        std::iter::from_fn(|| runs.next()).map(|found| (&text[found.raw], found.text)).collect()
    }

    fn only(text: &str) -> Option<(&str, String)> {
        let mut all = decoded(text);
        assert!(all.len() <= 1, "{all:?}");
        all.pop()
    }

    #[test]
    fn base64_and_hexadecimal_digits_of_text_are_decoded() {
        for (text, raw, plain) in [
            ("x NTM2LTkwLTQzOTk= y", "NTM2LTkwLTQzOTk=", "536-90-4399"),
            ("NTM2LTkwLTQzOTk", "NTM2LTkwLTQzOTk", "536-90-4399"),
            ("id=NTM2LTkwLTQzOTk&x", "NTM2LTkwLTQzOTk", "536-90-4399"),
            ("data:text/plain;base64,NTM2LTkwLTQzOTk=", "NTM2LTkwLTQzOTk=", "536-90-4399"),
            ("/v1/x/NTM2LTkwLTQzOTk/y", "NTM2LTkwLTQzOTk", "536-90-4399"),
            ("0x6a616e6540636f7270", "6a616e6540636f7270", "jane@corp"),
            ("a\\nNTM2LTkwLTQzOTk=", "NTM2LTkwLTQzOTk=", "536-90-4399"),
            ("%3ANTM2LTkwLTQzOTk=", "NTM2LTkwLTQzOTk=", "536-90-4399"),
            ("\\x3aNTM2LTkwLTQzOTk=", "NTM2LTkwLTQzOTk=", "536-90-4399"),
            ("NQAzADYALQA5ADAALQA0ADMAOQA5AA==", "NQAzADYALQA5ADAALQA0ADMAOQA5AA==", "536-90-4399"),
        ] {
            assert_eq!(only(text), Some((raw, plain.to_owned())), "{text}");
        }
    }

    #[test]
    fn lines_of_one_width_are_one_text() {
        use base64::Engine as _;
        use base64::prelude::BASE64_STANDARD;
        let plain = "The quick brown fox has number 536-90-4399 and jumps over the lazy dog. ".repeat(3);
        let line = BASE64_STANDARD.encode(&plain);
        for (width, joint) in [(76, "\n"), (76, "\r\n"), (64, "\n    ")] {
            let lines: Vec<&str> = line.as_bytes().chunks(width).map(|l| std::str::from_utf8(l).unwrap()).collect();
            let text = format!("see:\n{}\nend", lines.join(joint));
            let (raw, found) = only(&text).unwrap();
            assert_eq!((found, raw.len()), (plain.clone(), text.len() - "see:\n\nend".len()));
        }
    }

    #[test]
    fn keys_digests_words_and_tokens_are_no_text() {
        for text in [
            "d41d8cd98f00b204e9800998ecf8427e",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "4111111111111111",
            "AKIAIOSFODNN7EXAMPLE",
            "/usr/share/doc/understanding/internationalisation",
            "[EMAIL_k7q2m9xh]",
            "ghp_x9K2mQ7vLr4TnW8sYb3ZdF6hJp1Ga5Ce0Uit",
        ] {
            assert_eq!(decoded(text), [], "{text}");
        }
    }
}
