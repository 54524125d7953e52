//! Numbers that are one of many: cells of a table, elements of a list, identifiers at the end of a path. One in ten of
//! them passes a check digit, so no check digit speaks for them.

use std::ops::Range;

use crate::mask::context::{AFTER, BEFORE};
use crate::mask::validate::luhn_written;

/// Digits of the shortest number that may be an identifier in a path.
const IDENTIFIER: usize = 12;
/// Parts of a path before it, at least.
const PARTS: usize = 2;
/// Digits of a number in a list beside which another one is believed to be of the same kind; of one whose end is out of
/// sight, so many tell enough.
const LONG: usize = 15;
const PARTLY_SEEN: usize = 12;
/// Cells around a number that make it one of a table.
const CELLS: usize = 3;
const HEX_CELLS: usize = 2;
/// Blanks between two cells.
const WIDEST_GAP: usize = 4;

/// Whether the number at `span` is more likely one of many than one by itself; `is_valid` says whether another is of its
/// kind. Looks no further than words do. Values that merely follow each other are none of a table: what is found must
/// not depend on whether the others are masked.
pub(super) fn is_one_of_many(text: &[u8], span: &Range<usize>, is_valid: impl Fn(&[u8]) -> bool) -> bool {
    let value = &text[span.clone()];
    // Columns: one number is not divided by tabs and by the end of a line.
    if value.contains(&b'\t') && value.contains(&b'\n') {
        return true;
    }
    let before = &text[span.start.saturating_sub(BEFORE)..span.start];
    let after = &text[span.end..text.len().min(span.end + AFTER)];
    if value.iter().all(u8::is_ascii_digit) {
        // A better check than that of cards does speak for a number.
        return luhn_written(value) && ends_a_path(value, before) || is_element(value, before, after, is_valid);
    }
    is_of_table(value, before, after)
}

/// `https://host/detail/5390364397928448`, `testcase-minimized-fuzzer-5390364397928448`; not `MC-5555555555554444`.
fn ends_a_path(value: &[u8], before: &[u8]) -> bool {
    let Some((b'/' | b'-', path)) = before.split_last() else { return false };
    let part_of_path = |b: &&u8| !b.is_ascii_whitespace() && !br#""'`<>(){},;|="#.contains(b);
    let path = || path.iter().rev().take_while(part_of_path);
    let parts = path().filter(|b| matches!(b, b'/' | b'-')).count();
    value.len() >= IDENTIFIER && parts >= PARTS && path().any(u8::is_ascii_alphabetic)
}

/// What stands beside an element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    /// A number of the same kind.
    Same,
    /// A number as long, of another kind.
    Other,
    /// A number whose end is out of sight.
    Unknown,
    Nothing,
}

/// `[2408714813047231, 3857948219405196, 2477832016990963]`: an element between long numbers.
fn is_element(value: &[u8], before: &[u8], after: &[u8], is_valid: impl Fn(&[u8]) -> bool) -> bool {
    if value.len() < PARTLY_SEEN {
        return false;
    }
    let backwards: Vec<u8> = before.iter().rev().copied().collect();
    let sides = [neighbour(&backwards, true, &is_valid), neighbour(after, false, &is_valid)];
    sides.contains(&Neighbour::Other) && sides.iter().all(|side| matches!(side, Neighbour::Other | Neighbour::Unknown))
}

/// The next number in `beside`, which is what stands before the element if it is `reversed`, or behind it.
fn neighbour(beside: &[u8], reversed: bool, is_valid: impl Fn(&[u8]) -> bool) -> Neighbour {
    let gap = beside.iter().take_while(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'-' | b'+')).count();
    let number = beside[gap..].iter().take_while(|b| b.is_ascii_digit()).count();
    if !beside[..gap].contains(&b',') {
        return Neighbour::Nothing;
    }
    // As far as is looked; a text may end sooner.
    if gap + number == if reversed { BEFORE } else { AFTER } {
        return if number >= PARTLY_SEEN { Neighbour::Unknown } else { Neighbour::Nothing };
    }
    if number < LONG {
        return Neighbour::Nothing;
    }
    let mut number = beside[gap..gap + number].to_vec();
    if reversed {
        number.reverse();
    }
    // Numbers of other kinds have the check digit of cards too (IMEI).
    if is_valid(&number) || luhn_written(&number) { Neighbour::Same } else { Neighbour::Other }
}

/// `5328 5360 5394 5428 5462 5496 5531`: groups of one width, all of them in order with those around; or some of those
/// around in hexadecimal.
fn is_of_table(value: &[u8], before: &[u8], after: &[u8]) -> bool {
    let groups: Vec<&[u8]> = value.split(u8::is_ascii_whitespace).filter(|group| !group.is_empty()).collect();
    let width = groups.first().map_or(0, |group| group.len());
    if !groups.iter().all(|group| group.len() == width && group.iter().all(u8::is_ascii_digit)) {
        return false;
    }
    let (mut left, right) = (cells_before(before, width), cells_behind(after, width));
    let hex = left.iter().chain(&right).filter(|cell| is_hex(cell)).count();
    left.reverse();
    let around = left.len() + right.len();
    let all: Vec<&[u8]> = left.into_iter().chain(groups).chain(right).collect();
    hex >= HEX_CELLS || around >= CELLS && (all.is_sorted_by(|a, b| a < b) || all.is_sorted_by(|a, b| a > b))
}

/// Cells of a table behind a number, as far as the line goes.
fn cells_behind(after: &[u8], width: usize) -> Vec<&[u8]> {
    let mut cells = Vec::new();
    let mut rest = after;
    loop {
        let gap = rest.iter().take_while(|b| is_blank(b)).count();
        let len = rest[gap..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let cell = &rest[gap..gap + len];
        if !(1..=WIDEST_GAP).contains(&gap) || !is_cell(cell, width) {
            return cells;
        }
        cells.push(cell);
        rest = &rest[gap + len..];
    }
}

/// The same before it, the nearest first.
fn cells_before(before: &[u8], width: usize) -> Vec<&[u8]> {
    let mut cells = Vec::new();
    let mut rest = before;
    loop {
        let end = rest.len() - rest.iter().rev().take_while(|b| is_blank(b)).count();
        let start = end - rest[..end].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
        let cell = &rest[start..end];
        if !(1..=WIDEST_GAP).contains(&(rest.len() - end)) || !is_cell(cell, width) {
            return cells;
        }
        cells.push(cell);
        rest = &rest[..start];
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_cell(cell: &[u8], width: usize) -> bool {
    cell.len() == width && cell.iter().any(u8::is_ascii_digit) && cell.iter().all(u8::is_ascii_hexdigit)
}

/// A cell with letters that does not begin an IBAN (`DE89`).
fn is_hex(cell: &[u8]) -> bool {
    let letters = cell.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    letters != 2 && !cell.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::validate::{Validator, Verdict};

    /// Whether `value`, a card by its check digit, is one of many in `text`.
    fn in_text(text: &str, value: &str) -> bool {
        let start = text.find(value).unwrap();
        let is_card = |value: &[u8]| Validator::Card.check(value) != Verdict::Reject;
        assert!(is_card(value.as_bytes()), "{value}");
        is_one_of_many(text.as_bytes(), &(start..start + value.len()), is_card)
    }

    #[test]
    fn cells_of_a_table_are_no_numbers_of_their_own() {
        let decimal = "5226 5259 5293 5326 5360 5394 5428 5462 5496 5531 \n  5565 5600";
        assert!(in_text(decimal, "5428 5462 5496 5531"));
        assert!(in_text("5428 5462 5496 5531 5565 5600 5635", "5428 5462 5496 5531"));
        assert!(in_text("506E 506F 5070 5071 5072 5073\n", "5070 5071 5072 5073"));
        assert!(in_text("4111\t1111\n1111\t1111", "4111\t1111\n1111\t1111"));
    }

    #[test]
    fn values_that_follow_each_other_are_no_table() {
        let line = "4111 1111 1111 1111 5500 0000 0000 0004 3158 4262 2538 DE89 3704 0044 0532 0130 00";
        assert!(!in_text(line, "4111 1111 1111 1111"));
        assert!(!in_text(line, "5500 0000 0000 0004"));
        assert!(!in_text("4111 1111 1111 1111 DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111"));
        assert!(!in_text("4111 1111 1111 1111 1229 1234", "4111 1111 1111 1111"));
    }

    #[test]
    fn elements_of_a_list_of_long_numbers_are_as_its_others() {
        let list = "[2408714813047231, 3857948219405196, 2477832016990963]";
        assert!(in_text(list, "3857948219405196"));
        assert!(!in_text("VALUES (4111111111111111, 8867980826590834, 'Jane')", "4111111111111111"));
        assert!(!in_text("9999888877776666,4111111111111111,7\n", "4111111111111111"));
        assert!(!in_text("[4111111111111111, 5555555555554444, 1234567890123456]", "5555555555554444"));
        assert!(!in_text("2026-11-28,4111111111111111,1234567890123456", "4111111111111111"));
        assert!(!in_text("[490154203237518, 4111111111111111]", "4111111111111111"));
        assert!(!in_text("[4111111111111111]", "4111111111111111"));
    }

    #[test]
    fn identifiers_end_paths_and_names_with_hyphens() {
        assert!(in_text("see https://host.example/detail/5390364397928448.", "5390364397928448"));
        assert!(in_text("testcase-minimized-fuzzer-5390364397928448", "5390364397928448"));
        assert!(!in_text("paid: -4111111111111111", "4111111111111111"));
        assert!(!in_text("12/4111111111111111", "4111111111111111"));
        assert!(!in_text("MC-5555555555554444", "5555555555554444"));
        assert!(!in_text("Jane Doe/4111111111111111", "4111111111111111"));
    }
}
