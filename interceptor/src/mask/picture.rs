//! Pictures: the shape of a number as COBOL would draw it.
//!
//! `9` is a digit, `A` a capital, `a` a letter of either case, `X` a capital or digit, `x` a letter or digit, `-` one
//! separator of the rule's set (the same throughout), any other character itself in either case. `999-99-9999` is a
//! US social security number.

use super::engine::Follows;

/// One element of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Digit,
    Upper,
    Letter,
    UpperOrDigit,
    LetterOrDigit,
    Separator,
    Literal(u8),
}

/// A parsed picture, and the token of it by which the gate finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    cells: Vec<Cell>,
    separators: Vec<u8>,
    anchor: Anchor,
}

/// The first token of a picture that surely holds a digit; if none does, the first that may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Bytes before the token.
    pub(super) offset: usize,
    /// Bytes of the token.
    pub(super) len: usize,
    /// The token is digits only.
    pub(super) digits: bool,
    /// What must follow behind the byte after the token: nothing special, something, or a digit.
    pub(super) goes_on: Option<Follows>,
    /// The ASCII characters that may stand right behind the token, a bit each. All, where the picture ends with it.
    pub(super) next: u128,
}

impl Picture {
    pub(super) fn parse(text: &str, separators: &str) -> Result<Self, String> {
        let cells: Vec<Cell> = text
            .bytes()
            .map(|b| match b {
                b'9' => Ok(Cell::Digit),
                b'A' => Ok(Cell::Upper),
                b'a' => Ok(Cell::Letter),
                b'X' => Ok(Cell::UpperOrDigit),
                b'x' => Ok(Cell::LetterOrDigit),
                b'-' => Ok(Cell::Separator),
                0x20..=0x7e => Ok(Cell::Literal(b)),
                _ => Err(format!("picture {text:?} has a character outside ASCII")),
            })
            .collect::<Result<_, _>>()?;
        let anchor =
            anchor(&cells, separators).ok_or_else(|| format!("picture {text:?} has no token that may hold a digit"))?;
        Ok(Self { cells, separators: separators.bytes().collect(), anchor })
    }

    pub(super) fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// The picture as a regular expression over bytes, which lets separators differ.
    pub(super) fn expression(&self) -> String {
        let escaped = |byte: u8| format!("\\x{byte:02x}");
        let separators: String = self.separators.iter().map(|&b| escaped(b)).collect();
        let cell = |cell: &Cell| match *cell {
            Cell::Digit => "[0-9]".to_owned(),
            Cell::Upper => "[A-Z]".to_owned(),
            Cell::Letter => "[A-Za-z]".to_owned(),
            Cell::UpperOrDigit => "[A-Z0-9]".to_owned(),
            Cell::LetterOrDigit => "[A-Za-z0-9]".to_owned(),
            Cell::Separator => format!("[{separators}]"),
            Cell::Literal(b) => format!("(?i:{})", escaped(b)),
        };
        self.cells.iter().map(cell).collect()
    }

    /// Bytes of a value.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether the picture fits `text` from `start` on; gives where it ends.
    pub(super) fn fit(&self, text: &[u8], start: usize) -> Option<usize> {
        let window = text.get(start..start.checked_add(self.cells.len())?)?;
        let mut separator = None;
        let fits = self.cells.iter().zip(window).all(|(cell, &byte)| match *cell {
            Cell::Digit => byte.is_ascii_digit(),
            Cell::Upper => byte.is_ascii_uppercase(),
            Cell::Letter => byte.is_ascii_alphabetic(),
            Cell::UpperOrDigit => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Cell::LetterOrDigit => byte.is_ascii_alphanumeric(),
            Cell::Literal(b) => byte.eq_ignore_ascii_case(&b),
            Cell::Separator => match separator {
                Some(first) => byte == first,
                None => {
                    separator = Some(byte);
                    self.separators.contains(&byte)
                }
            },
        });
        fits.then_some(start + self.cells.len())
    }
}

/// Tokens are what the gate sees: letters and digits in a row.
fn anchor(cells: &[Cell], separators: &str) -> Option<Anchor> {
    let in_token = |cell: &Cell| match cell {
        Cell::Separator => false,
        Cell::Literal(b) => b.is_ascii_alphanumeric(),
        _ => true,
    };
    let certain = |cell: &Cell| matches!(cell, Cell::Digit) || matches!(cell, Cell::Literal(b) if b.is_ascii_digit());
    let possible = |cell: &Cell| certain(cell) || matches!(cell, Cell::UpperOrDigit | Cell::LetterOrDigit);
    let first = |digit: &dyn Fn(&Cell) -> bool| {
        let mut offset = 0;
        for token in cells.split_inclusive(|cell| !in_token(cell)) {
            let body = token.iter().take_while(|cell| in_token(cell)).count();
            if token[..body].iter().any(digit) {
                let goes_on = cells
                    .get(offset + body + 1)
                    .map(|cell| if certain(cell) { Follows::Digit } else { Follows::Letter });
                let next = match cells.get(offset + body) {
                    Some(Cell::Literal(b)) => 1 << b.to_ascii_lowercase() | 1 << b.to_ascii_uppercase(),
                    Some(_) => separators.bytes().fold(0, |set, b| set | 1 << (b & 0x7f)),
                    None => u128::MAX,
                };
                return Some(Anchor { offset, len: body, digits: token[..body].iter().all(certain), goes_on, next });
            }
            offset += token.len();
        }
        None
    };
    first(&certain).or_else(|| first(&possible))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let anchor = Picture::parse(text, " -").unwrap().anchor();
            (anchor.offset, anchor.len, anchor.digits, anchor.goes_on)
        };
        assert_eq!(anchor("999-99"), (0, 3, true, Some(Follows::Digit)));
        assert_eq!(anchor("AAA-999AA"), (4, 5, false, None));
        assert_eq!(anchor("(999) 999"), (1, 3, true, Some(Follows::Letter)));
        assert_eq!(anchor("XXXX-9999"), (5, 4, true, None));
        assert_eq!(anchor("XXXX"), (0, 4, false, None));
        assert!(Picture::parse("AAAA", " -").is_err());
    }

    #[test]
    fn the_anchor_tells_what_may_follow_it() {
        let next = |text| Picture::parse(text, " -").unwrap().anchor().next;
        assert_eq!(next("999-99"), 1 << b' ' | 1 << b'-');
        assert_eq!(next("9=9"), 1 << b'=');
        assert_eq!(next("999"), u128::MAX);
    }

    #[test]
    fn literals_match_in_either_case() {
        let picture = Picture::parse("DE99", "").unwrap();
        assert_eq!(picture.fit(b"de12", 0), Some(4));
        assert_eq!(picture.fit(b"dx12", 0), None);
    }
}
