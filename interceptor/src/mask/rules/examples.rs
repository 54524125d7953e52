//! A rule's examples: `<b62:36>` and the like stand for so many characters of an alphabet, drawn here, so that no file
//! holds anything that looks like a live key.

use std::ops::Range;

use crate::mask::Engine;

/// Characters that one piece may stand for.
const LONGEST_PIECE: usize = 4096;

/// Expands the pieces of templates, deterministically.
pub(crate) struct Expander(u64);

impl Expander {
    /// One for each rule, so that no rule's examples depend on another's.
    pub(crate) fn new() -> Self {
        Self(1)
    }

    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn expand(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, tail)) = rest.split_once('<') {
            out.push_str(before);
            match tail.split_once('>').and_then(|(name, tail)| Some((self.piece(name, &out)?, tail))) {
                Some((piece, tail)) => {
                    out.push_str(&piece);
                    rest = tail;
                }
                None => {
                    out.push('<');
                    rest = tail;
                }
            }
        }
        out + rest
    }

    #[cfg_attr(not(test), expect(unused_variables, reason = "checksums are drawn for the built-in rules' tests alone"))]
    fn piece(&mut self, name: &str, before: &str) -> Option<String> {
        const B62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        #[cfg(test)]
        if name == "crc" {
            let data = &before.as_bytes()[before.len() - 30..];
            let digits = crate::mask::validate::github_check(data);
            return Some(String::from_utf8(digits.to_vec()).unwrap());
        }
        let (alphabet, count) = name.split_once(':')?;
        let alphabet = match alphabet {
            "b62" => B62,
            "alpha" => &B62[10..],
            "upper" => &B62[..36],
            "lower" => "abcdefghijklmnopqrstuvwxyz0123456789",
            "hex" => "0123456789abcdef",
            "base32" => "abcdefghijklmnopqrstuvwxyz234567",
            "digits" => "1234567890",
            "bech" => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
            _ => return None,
        };
        let count = count.parse().ok().filter(|count| *count <= LONGEST_PIECE)?;
        Some((0..count).map(|_| char::from(alphabet.as_bytes()[self.below(alphabet.len())])).collect())
    }

    fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

impl Engine {
    /// The examples of each rule, by its id: a text, and where in it the value is. Benchmarks make hostile texts of them.
    pub fn examples(&self) -> impl Iterator<Item = (&str, Vec<(String, Range<usize>)>)> {
        (0u32..).zip(self.rules()).map(|(index, meta)| {
            let mut expander = Expander::new();
            let texts = self.rule(index).examples.iter().map(|example| marked(&expander.expand(&example.text)));
            let texts = texts.filter_map(|(text, spans)| Some((text, spans.into_iter().next()?)));
            (meta.id.as_str(), texts.collect())
        })
    }
}

/// An example's text, and the spans marked by `{{` and `}}`.
pub(crate) fn marked(example: &str) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    for (i, part) in example.split("{{").enumerate() {
        let Some((value, after)) = part.split_once("}}").filter(|_| i > 0) else {
            text.push_str(if i > 0 { "{{" } else { "" });
            text.push_str(part);
            continue;
        };
        spans.push(text.len()..text.len() + value.len());
        text.push_str(value);
        text.push_str(after);
    }
    (text, spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_drawn_and_what_is_no_piece_stays() {
        let text = Expander::new().expand("a <hex:4> <b> <digits:x> <digits:99999> 1 < 2");
        assert!(text.starts_with("a ") && text.ends_with(" <b> <digits:x> <digits:99999> 1 < 2"), "{text}");
        assert_eq!(text.len(), "a 0123 <b> <digits:x> <digits:99999> 1 < 2".len());
        assert_eq!(text, Expander::new().expand("a <hex:4> <b> <digits:x> <digits:99999> 1 < 2"));
    }

    #[test]
    fn marks_are_taken_out() {
        let (text, spans) = marked("id {{ab}} x");
        assert_eq!((text.as_str(), &spans[..]), ("id ab x", std::slice::from_ref(&(3..5))));
        assert_eq!(marked("no {{mark"), ("no {{mark".to_owned(), vec![]));
    }
}
