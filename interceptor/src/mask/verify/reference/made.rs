//! Texts that are nearly values: the rules' own examples, whole, changed, divided and glued to each other.

use std::sync::OnceLock;

use crate::mask::Engine;
use crate::mask::context::Words;
use crate::mask::rules::examples::{Expander, marked};

/// Bytes of a recipe for one part of a text.
pub(super) const PART: usize = 4;
/// The longest text that is made.
const LONGEST: usize = 2048;
/// What may stand between two parts, and within one.
const JOINTS: &[&str] = &[
    " ",
    "",
    ", ",
    "\n",
    "-",
    ".",
    ": ",
    "=",
    "/",
    "(",
    ") ",
    "_",
    "\"",
    "\\n",
    "\\t",
    "[",
    "]",
    "@",
    "+",
    "  ",
    " - ",
    "\t",
    "\r\n",
    "\u{a0}",
    "\u{2011}",
    "\u{200b}",
    "\u{e9}",
    "\u{664}",
    "\u{ff11}",
    "x",
    "0",
    "7",
    "AB",
    "card",
    "0x",
    "ssn ",
    "key=",
    "password: ",
    "phone ",
    "iban ",
    "passport no. ",
    "the ",
    "[EMAIL_k7q2m9xh]",
];

/// What parts are made of.
struct Stock {
    /// The examples and counter-examples of all rules.
    texts: Vec<String>,
    /// The values in the examples.
    values: Vec<String>,
    /// The words of all rules.
    words: Vec<String>,
}

impl Stock {
    fn get() -> &'static Self {
        static STOCK: OnceLock<Stock> = OnceLock::new();
        STOCK.get_or_init(|| {
            let engine = Engine::builtin().expect("the rules that come along compile");
            let mut stock = Self { texts: Vec::new(), values: Vec::new(), words: Vec::new() };
            for (index, _) in (0u32..).zip(engine.rules()) {
                let rule = engine.rule(index);
                let mut expander = Expander::new();
                for example in rule.examples.iter().chain(&rule.counter) {
                    let (text, spans) = marked(&expander.expand(&example.text));
                    stock.values.extend(spans.into_iter().map(|span| text[span].to_owned()));
                    stock.texts.push(text);
                }
                stock.words.extend(rule.words.iter().flat_map(Words::iter).map(str::to_owned));
            }
            stock
        })
    }
}

/// How many examples there are.
#[cfg(test)]
pub(super) fn examples() -> usize {
    Stock::get().texts.len()
}

/// The text that `recipe` says: of each part what it is, which, and what is changed in it.
pub(super) fn text(recipe: &[u8]) -> String {
    let mut text = Vec::new();
    for &[what, high, low, change] in recipe.as_chunks::<PART>().0 {
        let part = part(what, usize::from(high) << 8 | usize::from(low), change);
        if text.len() + part.len() > LONGEST {
            break;
        }
        text.extend(part);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn part(what: u8, which: usize, change: u8) -> Vec<u8> {
    let stock = Stock::get();
    let of = |list: &[String]| list[which % list.len()].clone().into_bytes();
    let joint = JOINTS[usize::from(change) % JOINTS.len()].as_bytes();
    match what % 10 {
        0 => [&of(&stock.texts), joint].concat(),
        1 => [&of(&stock.values), joint].concat(),
        2 => changed(of(&stock.texts), change),
        3 => changed(of(&stock.values), change),
        4 => divided(&of(&stock.values), usize::from(what / 10) % 6 + 1, joint),
        5 => rejoined(&of(&stock.values), joint),
        6 => groups(what / 10, which, change),
        7 => run(what / 10, which, change),
        8 => [&of(&stock.words), joint].concat(),
        _ => joint.to_vec(),
    }
}

/// With another byte of the same kind in one place, or another one altogether.
fn changed(mut text: Vec<u8>, change: u8) -> Vec<u8> {
    let at = usize::from(change) * 7 % text.len().max(1);
    if let Some(byte) = text.get_mut(at) {
        *byte = match *byte {
            digit @ b'0'..=b'9' if change < 128 => b'0' + (digit - b'0' + change % 9 + 1) % 10,
            letter if letter.is_ascii_alphabetic() && change < 128 => letter ^ 0x20,
            b' ' => b'-',
            b'-' => b' ',
            _ => change % 96 + b' ',
        };
    }
    text
}

/// With `joint` behind every `step` bytes.
fn divided(text: &[u8], step: usize, joint: &[u8]) -> Vec<u8> {
    text.chunks(step).collect::<Vec<_>>().join(joint)
}

/// With `joint` for what is neither letter nor digit.
fn rejoined(text: &[u8], joint: &[u8]) -> Vec<u8> {
    text.split(|b| !b.is_ascii_alphanumeric()).collect::<Vec<_>>().join(joint)
}

/// Groups of digits, between them what numbers have there.
fn groups(count: u8, digits: usize, shape: u8) -> Vec<u8> {
    let separator = b" -./:"[usize::from(shape) % 5];
    let mut digits = (0..).map(|i| b'0' + (digits.wrapping_mul(2 * i + 1) >> (i % 9) & 0xff) as u8 % 10);
    let mut out = Vec::new();
    for group in 0..count % 6 + 1 {
        let len = usize::from((shape >> group & 3) + group % 2 + 1);
        out.extend(digits.by_ref().take(len));
        out.push(separator);
    }
    out.pop();
    out
}

/// A long run of letters, like a key.
fn run(alphabet: u8, seed: usize, len: u8) -> Vec<u8> {
    const ALPHABETS: [&[u8]; 5] = [
        b"0123456789abcdef",
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        b"abcdefghijklmnopqrstuvwxyz",
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=",
    ];
    let alphabet = ALPHABETS[usize::from(alphabet) % ALPHABETS.len()];
    let mut state = seed as u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        alphabet[(state >> 16) as usize % alphabet.len()]
    };
    (0..usize::from(len) % 96 + 8).map(letter).collect()
}
