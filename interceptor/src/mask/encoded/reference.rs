//! What is encoded in a text, found in the simplest way: the fuzz entry compares the pieces of a text with it.
//!
//! From left to right: where an escape begins, it is one piece; where a run of letters of base64 begins, it is text in
//! hexadecimal digits or base64 as a whole (with the lines that follow, if it is one of several), or its parts between
//! slashes are, or those between any signs.

use std::ops::Range;

use super::Encoding;
use super::escapes::{NAMED, SUBSTITUTE};
use crate::mask::token;

/// What a piece is: raw bytes, what they stand for, how they are encoded.
pub(super) type Plain = (Range<usize>, String, Encoding);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Bytes of the shortest text, and letters of base64 for so many.
const SHORTEST_TEXT: usize = 8;
const SHORTEST: usize = 11;
/// Letters of the shortest line of several, and blanks before the next one.
const SHORTEST_LINE: usize = 60;
const MOST_INDENT: usize = 32;

/// The pieces of `text`.
pub(super) fn pieces(text: &str) -> Vec<Plain> {
    let bytes = text.as_bytes();
    let (mut out, mut at, mut wrapped) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        if let Some((len, character, how)) = escape(&bytes[at..]) {
            out.push((at..at + len, character.to_string(), how));
            at += len;
        } else if let Some(len) = token::length(&bytes[at..]) {
            // What masking put there.
            at += len;
        } else if is_letter(bytes[at]) {
            at = run(bytes, at, &mut wrapped, &mut out);
        } else {
            at += 1;
        }
    }
    out
}

/// The escape at the head of `text`: its length, and what it stands for.
fn escape(text: &[u8]) -> Option<(usize, char, Encoding)> {
    let of = |how| move |(len, c)| (len, c, how);
    match text {
        [b'%', ..] => octets(text, b"%").map(of(Encoding::Percent)),
        [b'&', ..] => reference(text).map(of(Encoding::Entity)),
        [b'\\', b'x', ..] => octets(text, b"\\x").map(of(Encoding::Escape)),
        [b'\\', b'u', b'{', rest @ ..] => {
            let digits = until(rest, b'}')?;
            (digits.len() <= 8).then_some(())?;
            Some((digits.len() + 4, character(digits, 16)?, Encoding::Escape))
        }
        [b'\\', b'u', ..] => units(text).map(of(Encoding::Escape)),
        [b'\\', b'U', digits @ ..] => Some((10, character(digits.get(..8)?, 16)?, Encoding::Escape)),
        _ => None,
    }
}

/// A character of UTF-8 whose octets are written one by one behind `mark`; an octet that is part of none is a substitute.
fn octets(text: &[u8], mark: &[u8]) -> Option<(usize, char)> {
    let width = mark.len() + 2;
    let octet = |part: &[u8]| hexadecimal(part.strip_prefix(mark)?).filter(|octets| octets.len() == 1);
    let octets: Vec<u8> = text.chunks(width).take(4).map_while(octet).flatten().collect();
    let whole = (1..=octets.len()).find_map(|count| {
        let text = std::str::from_utf8(&octets[..count]).ok()?;
        Some((count * width, text.chars().next()?))
    });
    octets.first().map(|_| whole.unwrap_or((width, SUBSTITUTE)))
}

/// `&#52;`, `&#x34;`, `&commat;`.
fn reference(text: &[u8]) -> Option<(usize, char)> {
    let inner = until(&text[1..], b';')?;
    let c = match inner {
        [b'#', b'x' | b'X', digits @ ..] => character(digits, 16)?,
        [b'#', digits @ ..] => character(digits, 10)?,
        name => NAMED.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((inner.len() + 2, c))
}

/// `\u006a`, or two of them for one character.
fn units(text: &[u8]) -> Option<(usize, char)> {
    let unit = |part: &[u8]| {
        let octets = hexadecimal(part.strip_prefix(b"\\u")?)?;
        Some(u16::from_be_bytes(octets.try_into().ok()?))
    };
    let units: Vec<u16> = text.chunks(6).take(2).map_while(unit).collect();
    let first = char::decode_utf16(units.iter().copied()).next()?;
    Some(match first {
        Ok(c) => (6 * c.len_utf16(), c),
        Err(_) => (6, SUBSTITUTE),
    })
}

/// The character of so many digits, nine at most.
fn character(digits: &[u8], radix: u32) -> Option<char> {
    let are_digits = digits.iter().all(|b| char::from(*b).is_digit(radix));
    if digits.is_empty() || digits.len() > 9 || !are_digits {
        return None;
    }
    let code = u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    Some(u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(SUBSTITUTE))
}

/// What is before the first `end`.
fn until(text: &[u8], end: u8) -> Option<&[u8]> {
    Some(&text[..text.iter().position(|b| *b == end)?])
}

/// Adds what the run of letters at `start` encodes; gives where to go on.
fn run(text: &[u8], start: usize, wrapped: &mut usize, out: &mut Vec<Plain>) -> usize {
    let end = start + letters(&text[start..]);
    // The digits of an escape right before are of the run too, as far as it is told by its length and its letters.
    let whole = start - text[..start].iter().rev().take_while(|b| is_letter(**b)).count()..end;
    if whole.len() < SHORTEST || !varies(&text[whole]) {
        return end;
    }
    if let Some(found) = lines(text, start, wrapped).or_else(|| part(text, start..end)) {
        let end = found.0.end;
        out.push(found);
        return end;
    }
    for slashed in parts(text, start..end, |b| b == b'/') {
        match part(text, slashed.clone()) {
            Some(found) => out.push(found),
            None => {
                let signed = parts(text, slashed, |b| !b.is_ascii_alphanumeric());
                out.extend(signed.into_iter().filter_map(|signed| part(text, signed)));
            }
        }
    }
    end
}

/// Words written out have no digit, and letters of one case.
fn varies(run: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| run.iter().any(kind);
    has(u8::is_ascii_digit) || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
}

/// What is between the signs in `span`.
fn parts(text: &[u8], span: Range<usize>, is_sign: fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut from = span.start;
    let part = |part: &[u8]| {
        let span = from..from + part.len();
        from = span.end + 1;
        span
    };
    text[span].split(|b| is_sign(*b)).map(part).collect()
}

/// The lines of base64 of which the one at `start` is the first: all as long as that, but for the last one. Of lines that
/// are no text together none is a first line again.
fn lines(text: &[u8], start: usize, wrapped: &mut usize) -> Option<Plain> {
    let width = letters(&text[start..]);
    if width < SHORTEST_LINE || !width.is_multiple_of(4) || start < *wrapped || !begins_as_text(&text[start..]) {
        return None;
    }
    let (mut end, mut all) = (start + width, text[start..start + width].to_vec());
    while let Some(line) = next_line(text, end) {
        let len = letters(&text[line..]);
        if len == 0 || len > width {
            break;
        }
        all.extend(&text[line..line + len]);
        end = line + len;
        if len < width {
            break;
        }
    }
    *wrapped = end;
    let plain = (all.len() > width).then(|| base64(&all)).flatten()?;
    Some((start..end + padding(text, end, all.len()), plain, Encoding::Base64))
}

/// Where the line behind the break at `at` begins, behind its indent.
fn next_line(text: &[u8], at: usize) -> Option<usize> {
    let start = match text[at..] {
        [b'\r', b'\n', ..] => at + 2,
        [b'\n', ..] => at + 1,
        _ => return None,
    };
    let indent = text[start..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    Some(start + indent.min(MOST_INDENT))
}

/// What a run or a part of one encodes, without signs before it and the letter of a line break written as `\n`.
fn part(text: &[u8], mut span: Range<usize>) -> Option<Plain> {
    if span.len() < SHORTEST {
        return None;
    }
    if matches!(text[..=span.start], [.., b'\\', b'n' | b'r' | b't']) {
        span.start += 1;
    }
    span.start += text[span.clone()].iter().take_while(|b| !b.is_ascii_alphanumeric()).count();
    let prefix = if text[span.clone()].starts_with(b"0x") { 2 } else { 0 };
    let digits = span.start + prefix..span.end;
    if let Some(plain) = hexadecimal(&text[digits.clone()]).and_then(|bytes| shown(&bytes)) {
        return Some((digits, plain, Encoding::Hex));
    }
    let letters = &text[span.clone()];
    let plain = (letters.len() >= SHORTEST).then(|| base64(letters)).flatten()?;
    Some((span.start..span.end + padding(text, span.end, letters.len()), plain, Encoding::Base64))
}

/// Bytes of padding behind so many letters; none where there are more or fewer than belong there.
fn padding(text: &[u8], end: usize, letters: usize) -> usize {
    let count = text[end..].iter().take_while(|b| **b == b'=').count();
    if count == (4 - letters % 4) % 4 { count } else { 0 }
}

/// The text of letters of one of the alphabets.
fn base64(letters: &[u8]) -> Option<String> {
    let has = |signs: &[u8]| letters.iter().any(|letter| signs.contains(letter));
    if letters.len() % 4 == 1 || (has(b"-_") && has(b"+/")) { None } else { shown(&octets_of(letters)) }
}

/// Six bits for each letter; what is beyond the last byte says nothing.
fn octets_of(letters: &[u8]) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'-' => 62,
        b'_' => 63,
        other => ALPHABET.iter().position(|b| *b == other).unwrap_or_default(),
    };
    let bits = letters.iter().flat_map(|letter| (0..6).rev().map(|bit| (value(*letter) >> bit & 1) as u8));
    let bits: Vec<u8> = bits.collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit)).collect()
}

/// Whether a line begins like text: nobody looks for its end otherwise.
fn begins_as_text(line: &[u8]) -> bool {
    let octets = octets_of(&line[..16]);
    let is_control = |b: &u8| (*b < b' ' && !b"\t\n\r".contains(b)) || *b == 0x7f;
    let is_cut = |error: std::str::Utf8Error| error.error_len().is_none();
    let is_utf8 = std::str::from_utf8(&octets).map_or_else(is_cut, |_| true);
    is_wide(&octets) || (is_utf8 && !octets.iter().any(is_control))
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let [high, low] = pair else { return None };
        Some(value(*high)? << 4 | value(*low)?)
    };
    digits.chunks(2).map(byte).collect()
}

/// Bytes as text, if they are: characters that can be shown, in UTF-8 or as UTF-16 of Latin letters, and enough of them.
fn shown(bytes: &[u8]) -> Option<String> {
    let text = if is_wide(bytes) {
        bytes.iter().step_by(2).map(|b| char::from(*b)).collect()
    } else {
        std::str::from_utf8(bytes).ok()?.to_owned()
    };
    let is_shown = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    (bytes.len() >= SHORTEST_TEXT && text.chars().all(is_shown)).then_some(text)
}

/// Whether every second byte, and none of the others, is zero.
fn is_wide(bytes: &[u8]) -> bool {
    bytes.len() >= 4 && bytes.iter().enumerate().all(|(at, b)| (*b == 0) == (at % 2 == 1))
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn letters(text: &[u8]) -> usize {
    text.iter().take_while(|b| is_letter(**b)).count()
}
