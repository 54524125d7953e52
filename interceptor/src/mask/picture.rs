//! Pictures: the shape of a number as COBOL would draw it.
//!
//! `9` is a digit, `A` a capital, `a` a letter of either case, `X` a capital or digit, `x` a letter or digit, `-` one
//! separator of the rule's set (the same throughout), any other character itself in either case; `{2,4}` behind a
//! character repeats it, as often as the text goes on with it. `999-99-9999` is a US social security number,
//! `99-a{1,3}-9{2,5}` a Turkish number plate.

use std::ops::{Range, RangeInclusive};

use super::classes::{BEFORE, Window};
use super::shapes::{ANY, Follows, Set, set};

/// One element of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Digit,
    Upper,
    Letter,
    UpperOrDigit,
    LetterOrDigit,
    Separator,
    Literal(u8),
}

/// A cell, and how often it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) cell: Cell,
    pub(super) least: usize,
    pub(super) most: usize,
}

/// A parsed picture, and the token of it by which the gate finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) runs: Vec<Run>,
    pub(super) separators: Vec<u8>,
    anchor: Anchor,
}

/// The first token of a picture that surely holds a digit; if none does, the first that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Bytes before the token.
    pub(super) offset: usize,
    /// Bytes that the token may have.
    pub(super) lengths: RangeInclusive<usize>,
    /// The token is digits only.
    digits: bool,
    /// It surely has a letter.
    letters: bool,
    /// What must follow behind the byte after the token: nothing special, something, or a digit.
    pub(super) goes_on: Option<Follows>,
    /// What may stand right before the token: anything where the picture begins with it.
    pub(super) before: Set,
    /// What the token may begin with.
    pub(super) first: Set,
    /// What may stand right behind it: anything where the picture ends with it.
    pub(super) next: Set,
    pub(super) outline: Outline,
}

/// What bytes around the beginning of the anchor are, as in a [`Window`] around it: a bit for each place of which that is
/// known. Nearly all that is no value is told by these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Outline {
    digits: u64,
    letters: u64,
    /// One or the other.
    either: u64,
    /// Neither.
    others: u64,
    /// One of them is a digit, behind what repeats; none where that is not known.
    somewhere: u64,
}

impl Outline {
    fn of(runs: &[Run], offset: usize) -> Self {
        let mut outline = Self::default();
        // Behind what repeats, places are not known.
        let repeats = runs.iter().position(|run| run.least < run.most).map_or(runs.len(), |at| at + 1);
        let cells = runs[..repeats].iter().flat_map(|run| std::iter::repeat_n(run.cell, run.least));
        for (place, cell) in (BEFORE..).zip(cells) {
            let Some(bit) = place.checked_sub(offset).and_then(|at| 1u64.checked_shl(at.try_into().ok()?)) else {
                continue;
            };
            match cell {
                Cell::UpperOrDigit | Cell::LetterOrDigit => outline.either |= bit,
                cell if cell.is_digit() => outline.digits |= bit,
                cell if cell.is_in_token() => outline.letters |= bit,
                _ => outline.others |= bit,
            }
        }
        outline.somewhere = Self::digit_behind(runs, repeats, offset);
        outline
    }

    /// The places of the first digit at or behind the run `from`.
    fn digit_behind(runs: &[Run], from: usize, offset: usize) -> u64 {
        let Some(at) = runs.iter().skip(from).position(|run| run.cell.is_digit()).map(|at| from + at) else { return 0 };
        let place = |bound: fn(&Run) -> usize| BEFORE + runs[..at].iter().map(bound).sum::<usize>() - offset;
        let (first, last) = (place(|run| run.least), place(|run| run.most));
        if last < 64 { u64::MAX << first & u64::MAX >> (63 - last) } else { 0 }
    }

    /// What both outlines have: what fits one of them fits this.
    pub(super) fn common(self, other: Self) -> Self {
        let tokens = |outline: &Self| outline.digits | outline.letters | outline.either;
        // Where it is known which bytes are digits, the last of them.
        let somewhere = |outline: &Self| match outline.somewhere {
            0 => (1 << 63) >> outline.digits.leading_zeros().min(63) & outline.digits,
            somewhere => somewhere,
        };
        let both = (somewhere(&self), somewhere(&other));
        Self {
            digits: self.digits & other.digits,
            letters: self.letters & other.letters,
            either: tokens(&self) & tokens(&other),
            others: self.others & other.others,
            somewhere: if both.0 == 0 || both.1 == 0 { 0 } else { both.0 | both.1 },
        }
    }

    /// Whether the bytes of a text may be those of the picture.
    #[inline]
    pub(super) fn fits(&self, text: &Window) -> bool {
        let tokens = text.digits | text.letters;
        let missing = (self.digits & !text.digits) | (self.letters & !text.letters) | (self.either & !tokens);
        let lacks_digit = self.somewhere != 0 && self.somewhere & text.digits == 0;
        missing | (self.others & tokens) == 0 && !lacks_digit
    }
}

impl Anchor {
    /// Whether a token may be this one that is `digits` only, or has letters.
    pub(super) fn may_be(&self, digits: bool) -> bool {
        if digits { !self.letters } else { !self.digits }
    }
}

impl Picture {
    pub(super) fn parse(text: &str, separators: &str) -> Result<Self, String> {
        let runs = runs(text).map_err(|reason| format!("picture {text:?} {reason}"))?;
        let anchor = anchor(&runs, separators).map_err(|reason| format!("picture {text:?} {reason}"))?;
        Ok(Self { runs, separators: separators.bytes().collect(), anchor })
    }

    pub(super) fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The picture as a regular expression over bytes, which lets separators differ.
    pub(super) fn expression(&self) -> String {
        let escaped = |byte: u8| format!("\\x{byte:02x}");
        let separators: String = self.separators.iter().map(|&b| escaped(b)).collect();
        let run = |run: &Run| {
            let cell = match run.cell {
                Cell::Digit => "[0-9]".to_owned(),
                Cell::Upper => "[A-Z]".to_owned(),
                Cell::Letter => "[A-Za-z]".to_owned(),
                Cell::UpperOrDigit => "[A-Z0-9]".to_owned(),
                Cell::LetterOrDigit => "[A-Za-z0-9]".to_owned(),
                Cell::Separator => format!("[{separators}]"),
                Cell::Literal(b) => format!("(?i:{})", escaped(b)),
            };
            format!("{cell}{{{},{}}}", run.least, run.most)
        };
        self.runs.iter().map(run).collect()
    }

    /// Most bytes of a value.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.most).sum()
    }

    /// Whether the picture fits `text` from `start` on; gives where it ends.
    #[inline]
    pub(super) fn fit(&self, text: &[u8], start: usize) -> Option<usize> {
        let mut separator = None;
        let mut at = start;
        for run in &self.runs {
            let window = &text[at.min(text.len())..text.len().min(at + run.most)];
            // What a cell holds is decided once a run: this is what texts full of numbers spend their time on.
            let count = match run.cell {
                Cell::Separator => {
                    let &first = window.first()?;
                    let expected = *separator.get_or_insert(first);
                    let known = expected == first && self.separators.contains(&first);
                    if known { window.iter().take_while(|&&byte| byte == expected).count() } else { 0 }
                }
                Cell::Digit => window.iter().take_while(|byte| byte.is_ascii_digit()).count(),
                cell => window.iter().take_while(|&&byte| cell.holds(byte)).count(),
            };
            if count < run.least {
                return None;
            }
            at += count;
        }
        Some(at)
    }
}

impl Cell {
    fn of(byte: u8) -> Result<Self, String> {
        match byte {
            b'9' => Ok(Self::Digit),
            b'A' => Ok(Self::Upper),
            b'a' => Ok(Self::Letter),
            b'X' => Ok(Self::UpperOrDigit),
            b'x' => Ok(Self::LetterOrDigit),
            b'-' => Ok(Self::Separator),
            0x20..=0x7e => Ok(Self::Literal(byte)),
            _ => Err("has a character outside ASCII".to_owned()),
        }
    }

    #[inline]
    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Digit => byte.is_ascii_digit(),
            Self::Upper => byte.is_ascii_uppercase(),
            Self::Letter => byte.is_ascii_alphabetic(),
            Self::UpperOrDigit => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::LetterOrDigit => byte.is_ascii_alphanumeric(),
            Self::Literal(b) => byte.eq_ignore_ascii_case(&b),
            Self::Separator => false,
        }
    }

    /// Tokens are what the gate sees: letters and digits in a row.
    fn is_in_token(self) -> bool {
        match self {
            Self::Separator => false,
            Self::Literal(b) => b.is_ascii_alphanumeric(),
            _ => true,
        }
    }

    fn is_digit(self) -> bool {
        matches!(self, Self::Digit) || matches!(self, Self::Literal(b) if b.is_ascii_digit())
    }

    fn may_be_digit(self) -> bool {
        self.is_digit() || matches!(self, Self::UpperOrDigit | Self::LetterOrDigit)
    }
}

/// The runs of a picture; equal cells that stand there a fixed number of times are one.
fn runs(text: &str) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    let mut rest = text;
    while let Some(&byte) = rest.as_bytes().first() {
        let cell = Cell::of(byte)?;
        rest = &rest[1..];
        let mut run = Run { cell, least: 1, most: 1 };
        if let Some((repeat, tail)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            let bounds = repeat.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            (run.least, run.most) =
                bounds.filter(|(least, most)| 0 < *least && least < most).ok_or("needs {least,most}")?;
            rest = tail;
        }
        let is_fixed = |run: &Run| run.least == run.most;
        match runs.last_mut() {
            Some(last) if last.cell == cell && is_fixed(last) && is_fixed(&run) => {
                last.least += 1;
                last.most += 1;
            }
            _ => runs.push(run),
        }
    }
    Ok(runs)
}

/// The first token with a cell for which `digit` holds.
fn token(runs: &[Run], digit: fn(Cell) -> bool) -> Option<Range<usize>> {
    let at = runs.iter().position(|run| digit(run.cell))?;
    let start = runs[..at].iter().rposition(|run| !run.cell.is_in_token()).map_or(0, |i| i + 1);
    let end = runs[at..].iter().position(|run| !run.cell.is_in_token()).map_or(runs.len(), |i| at + i);
    Some(start..end)
}

fn anchor(runs: &[Run], separators: &str) -> Result<Anchor, &'static str> {
    let span = token(runs, Cell::is_digit)
        .or_else(|| token(runs, Cell::may_be_digit))
        .ok_or("has no token that may hold a digit")?;
    let (before, token, after) = (&runs[..span.start], &runs[span.clone()], &runs[span.end..]);
    if before.iter().any(|run| run.least < run.most) {
        return Err("repeats something before its first digits");
    }
    let length = |bound: fn(&Run) -> usize| token.iter().map(bound).sum::<usize>();
    let around = |run: Option<&Run>| match run.map(|run| run.cell) {
        Some(Cell::Separator) => separators.bytes().fold(0, |set, b| set | 1 << (b & 0x7f)),
        Some(cell) => set(|byte| cell.holds(byte)),
        None => ANY,
    };
    let goes_on = match after {
        [one, second, ..] if one.most == 1 && second.cell.is_digit() => Some(Follows::Digit),
        [one, second, ..] if one.most == 1 && second.cell.is_in_token() => Some(Follows::Letter),
        _ => None,
    };
    Ok(Anchor {
        offset: before.iter().map(|run| run.least).sum(),
        lengths: length(|run| run.least)..=length(|run| run.most),
        outline: Outline::of(runs, before.iter().map(|run| run.least).sum()),
        digits: token.iter().all(|run| run.cell.is_digit()),
        letters: token.iter().any(|run| !run.cell.may_be_digit()),
        goes_on,
        before: around(before.last()),
        first: around(token.first()),
        next: around(after.first()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(picture: &str, text: &str) -> Option<usize> {
        Picture::parse(picture, " -").unwrap().fit(text.as_bytes(), 0)
    }

    #[test]
    fn what_repeats_goes_as_far_as_the_text_does() {
        assert_eq!(fit("99-a{1,3}-9{2,5}", "07 KLM 8450"), Some(11));
        assert_eq!(fit("99-a{1,3}-9{2,5}", "07 K 845012"), Some(10));
        assert_eq!(fit("99-a{1,3}-9{2,5}", "07 KLMN 845"), None);
        assert_eq!(fit("9{1,2}a", "123a"), None);
        assert!(Picture::parse("9{2}", "").is_err() && Picture::parse("9{3,2}", "").is_err());
        assert!(Picture::parse("a{1,2}-99", "-").is_err());
    }

    #[test]
    fn separators_must_be_the_same_throughout() {
        let picture = Picture::parse("999-99-9999", " -").unwrap();
        assert_eq!(picture.fit(b"x 536-90-4399", 2), Some(13));
        assert_eq!(picture.fit(b"536 90 4399", 0), Some(11));
        assert_eq!(picture.fit(b"536-90 4399", 0), None);
        assert_eq!(picture.fit(b"536-90-439", 0), None);
        assert_eq!(picture.fit(b"536/90/4399", 0), None);
    }

    #[test]
    fn the_anchor_is_the_first_token_that_must_hold_a_digit() {
        let anchor = |text| {
            let anchor = Picture::parse(text, " -").unwrap().anchor;
            (anchor.offset, anchor.lengths, anchor.digits, anchor.goes_on)
        };
        assert_eq!(anchor("999-99"), (0, 3..=3, true, Some(Follows::Digit)));
        assert_eq!(anchor("AAA-999AA"), (4, 5..=5, false, None));
        assert_eq!(anchor("(999) 999"), (1, 3..=3, true, None));
        assert_eq!(anchor("XXXX-9999"), (5, 4..=4, true, None));
        assert_eq!(anchor("XXXX"), (0, 4..=4, false, None));
        assert_eq!(anchor("a{1,2}9-9aa"), (0, 2..=3, false, Some(Follows::Digit)));
        assert!(Picture::parse("AAAA", " -").is_err());
    }

    #[test]
    fn the_anchor_tells_what_may_follow_it() {
        let next = |text| Picture::parse(text, " -").unwrap().anchor().next;
        assert_eq!(next("999-99"), 1 << b' ' | 1 << b'-');
        assert_eq!(next("9=9"), 1 << b'=');
        assert_eq!(next("999"), ANY);
    }

    #[test]
    fn literals_match_in_either_case() {
        let picture = Picture::parse("DE99", "").unwrap();
        assert_eq!(picture.fit(b"de12", 0), Some(4));
        assert_eq!(picture.fit(b"dx12", 0), None);
    }
}
