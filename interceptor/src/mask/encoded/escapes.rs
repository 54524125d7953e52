//! Escapes that stand for one character: percent encoding, character references of HTML, backslash escapes of code.

use std::ops::Range;

use super::Encoding;
use crate::mask::classes::Classes;

/// What an escape stands for that is no character. One byte, so that no decoded text is longer than its raw bytes.
pub(super) const SUBSTITUTE: char = '\u{1a}';
/// Digits of the longest reference that is read; zeros in front of a number are allowed.
const MOST_DIGITS: usize = 9;
/// References by name, of characters that values have; there are two thousand more.
pub(super) const NAMED: &[(&[u8], char)] = &[
    (b"amp", '&'),
    (b"apos", '\''),
    (b"colon", ':'),
    (b"comma", ','),
    (b"commat", '@'),
    (b"dash", '-'),
    (b"equals", '='),
    (b"gt", '>'),
    (b"hyphen", '-'),
    (b"lowbar", '_'),
    (b"lt", '<'),
    (b"nbsp", '\u{a0}'),
    (b"num", '#'),
    (b"period", '.'),
    (b"plus", '+'),
    (b"quot", '"'),
    (b"semi", ';'),
    (b"sol", '/'),
];

/// An escape and what it stands for.
#[derive(Debug)]
pub(super) struct Escape {
    pub(super) raw: Range<usize>,
    pub(super) character: char,
    pub(super) how: Encoding,
}

/// The first escape in `text[..until]` that begins at or after `from`.
pub(super) fn next(text: &[u8], classes: &Classes, mut from: usize, until: usize) -> Option<Escape> {
    loop {
        let at = classes.next(|block| block.marks, from).filter(|at| *at < until)?;
        if let Some(found) = at_mark(text, at, until) {
            return Some(found);
        }
        from = at + 1;
    }
}

/// The escape that begins at `at`.
pub(super) fn at_mark(text: &[u8], at: usize, until: usize) -> Option<Escape> {
    let (end, character, how) = match text[at] {
        b'%' => octets(text, at, until, b"%").map(|(end, c)| (end, c, Encoding::Percent)),
        b'&' => reference(&text[at..until]).map(|(len, c)| (at + len, c, Encoding::Entity)),
        b'\\' => backslash(text, at, until).map(|(end, c)| (end, c, Encoding::Escape)),
        _ => None,
    }?;
    Some(Escape { raw: at..end, character, how })
}

/// The character of one to four octets in UTF-8, each two hexadecimal digits behind `mark`; and where it ends.
fn octets(text: &[u8], at: usize, until: usize, mark: &[u8]) -> Option<(usize, char)> {
    let octet = |at: usize| {
        let digits = text.get(at..until)?.strip_prefix(mark)?;
        u8::try_from(hex(digits.get(..2)?)?).ok()
    };
    let first = octet(at)?;
    let width = mark.len() + 2;
    let count = match first {
        0..0x80 => return Some((at + width, char::from(first))),
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => 1,
    };
    let mut bytes = [first, 0, 0, 0];
    for (i, byte) in bytes.iter_mut().enumerate().take(count).skip(1) {
        *byte = octet(at + i * width).unwrap_or_default();
    }
    match std::str::from_utf8(&bytes[..count]).ok().and_then(|text| text.chars().next()) {
        Some(character) => Some((at + count * width, character)),
        None => Some((at + width, SUBSTITUTE)),
    }
}

/// The character of `&#52;`, `&#x34;` or `&commat;`, and the length of that.
fn reference(text: &[u8]) -> Option<(usize, char)> {
    let inner = text.strip_prefix(b"&")?;
    let end = memchr::memchr(b';', &inner[..inner.len().min(MOST_DIGITS + 3)])?;
    let inner = &inner[..end];
    let character = match inner {
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        name => NAMED.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((end + 2, character))
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    let add =
        |value: u32, digit: &u8| Some(value.saturating_mul(radix).saturating_add(char::from(*digit).to_digit(radix)?));
    let code = digits.iter().try_fold(0, add)?;
    Some(char::from_u32(code).unwrap_or(SUBSTITUTE))
}

/// The character of `\x6a`, `\u006a`, `\u{6a}` or `\U0000006a`, and where it ends. Escapes of a single letter are left:
/// rules know that `\n` and `\t` divide.
fn backslash(text: &[u8], at: usize, until: usize) -> Option<(usize, char)> {
    let code = |code: u32| char::from_u32(code).unwrap_or(SUBSTITUTE);
    match text.get(at + 1..until)? {
        [b'x', ..] => octets(text, at, until, b"\\x"),
        [b'u', b'{', rest @ ..] => {
            let end = memchr::memchr(b'}', &rest[..rest.len().min(MOST_DIGITS)])?;
            Some((at + 3 + end + 1, number(&rest[..end], 16)?))
        }
        [b'u', rest @ ..] => match (hex(rest.get(..4)?)?, rest.get(4..10)) {
            (high @ 0xd800..0xdc00, Some([b'\\', b'u', low @ ..])) if matches!(hex(low), Some(0xdc00..0xe000)) => {
                let low = hex(low).unwrap_or_default() & 0x3ff;
                Some((at + 12, code(0x1_0000 + ((high & 0x3ff) << 10) + low)))
            }
            (unit, _) => Some((at + 6, code(unit))),
        },
        [b'U', rest @ ..] => Some((at + 10, code(hex(rest.get(..8)?)?))),
        _ => None,
    }
}

/// The value of hexadecimal digits, at most eight.
fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> String {
        let (mut out, mut at) = (String::new(), 0);
        while let Some(escape) = next(text.as_bytes(), &Classes::of(text.as_bytes()), at, text.len()) {
            out.push_str(&text[at..escape.raw.start]);
            out.push(escape.character);
            at = escape.raw.end;
        }
        out + &text[at..]
    }

    #[test]
    fn each_escape_is_one_character() {
        assert_eq!(decode("jane%40corp%2eexample %C3%A9%e2%82%ac %F0%9F%98%80"), "jane@corp.example é€ 😀");
        assert_eq!(decode("&#52;&#x34;&#X0034;&commat;&amp;#52; &#128512;"), "444@&#52; 😀");
        assert_eq!(decode(r"\x6a\u006a\u{6a}\U0000006a \xc3\xa9 \ud83d\ude00"), "jjjj é 😀");
    }

    #[test]
    fn what_is_no_escape_stays_and_what_is_no_character_is_one_byte() {
        let plain = r"100% sure, %zz &x; &#; &#xzz; & \n \user \xq \u12 \u{} C:\Users";
        assert_eq!(decode(plain), plain);
        assert_eq!(
            decode(r"%FF4 %C3x \ud800 \xff &#55296; &#999999999;"),
            "\u{1a}4 \u{1a}x \u{1a} \u{1a} \u{1a} \u{1a}"
        );
        assert_eq!(decode("%4"), "%4");
    }
}
