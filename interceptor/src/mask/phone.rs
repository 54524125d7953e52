//! Telephone numbers by numbering plan (ITU-T E.164; NANPA; national trunk prefixes).

use std::ops::{Range, RangeInclusive};

use serde::Deserialize;

use super::classes::{BEFORE, Window};
use super::extent::ends_in_break;

/// The plans a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Plan {
    /// `+` or `00`, a country code in use, and as many digits as that country has.
    E164,
    /// Ten digits of the North American plan, grouped 3-3-4, with or without a leading 1.
    Nanp,
    /// Seven to thirteen digits grouped as people write them: only with words around them.
    National,
    /// As `National`, with a trunk zero and ten or eleven digits: what a number alone is taken for.
    Trunk,
    /// Ten digits of the Turkish plan without the trunk zero, or behind the country's 90.
    Turkish,
}

impl Plan {
    /// How many digits a number has, country code and trunk zero included.
    fn digits(self) -> RangeInclusive<usize> {
        match self {
            Self::E164 => 1..=MOST_DIGITS,
            Self::Nanp => 10..=11,
            Self::National => 7..=13,
            Self::Trunk => 10..=11,
            Self::Turkish => 10..=12,
        }
    }
}

/// Most digits that E.164 allows.
pub(super) const MOST_DIGITS: usize = 15;
/// Fewest digits of a number in any plan: Austria's, with the code of the country.
const FEWEST_DIGITS: u32 = 6;
/// Most bytes that a number spreads over, separators included, and of what is before its first digit.
pub(super) const MOST_BYTES: usize = 28;
pub(super) const MOST_BEFORE: usize = 2;

/// Whether `byte` may stand between two groups of digits.
pub(super) fn joins(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')')
}

/// Whether there are enough digits behind the first one, around which `text` is, with two separators between at most.
pub(super) fn may_begin(text: &Window) -> bool {
    let digits = text.digits >> BEFORE & !(u64::MAX << MOST_BYTES);
    let gaps = !digits & !digits >> 1 & !digits >> 2;
    (digits & !(u64::MAX << gaps.trailing_zeros())).count_ones() >= FEWEST_DIGITS
}

/// Digits and separators in a row, as a number is written. Most texts have thousands, so nothing is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// First byte: `+`, an opening parenthesis or a digit.
    pub(super) start: usize,
    /// Begins with `+`.
    plus: bool,
    /// Has parentheses around a group.
    parentheses: bool,
    /// Groups of digits.
    count: usize,
    digits: [u8; MOST_DIGITS],
    /// Lengths of the groups, and how far behind the first digit each ends.
    lengths: [u8; MOST_DIGITS],
    ends: [u8; MOST_DIGITS],
    /// First digit.
    first: usize,
    /// What is behind each group but the last.
    separators: [u8; MOST_DIGITS],
}

/// The first groups of a number.
#[derive(Clone, Copy)]
struct Groups<'w> {
    digits: &'w [u8],
    lengths: &'w [u8],
    separators: &'w [u8],
    plus: bool,
    parentheses: bool,
}

impl Written {
    /// Whether the number that begins with `group` leaves `plan` possible: cheap, for texts that are full of numbers.
    pub(super) fn may_begin_with(text: &[u8], group: &Range<usize>, plan: Plan) -> bool {
        let digits = &text[group.clone()];
        match plan {
            Plan::E164 => {
                digits.starts_with(b"00")
                    || digits == b"0"
                    || matches!(text[..group.start], [.., b'+'] | [.., b'+', b'('])
            }
            Plan::Nanp => digits.len() == 3 || digits == b"1",
            Plan::National | Plan::Trunk | Plan::Turkish => true,
        }
    }

    /// Reads the number whose first group of digits starts at `first`, at most [`MOST_BYTES`] on.
    pub(super) fn read(text: &[u8], first: usize) -> Option<Self> {
        let (start, plus) = match text[..first] {
            [.., b'+'] => (first - 1, true),
            [.., b'+', b'('] => (first - 2, true),
            [.., b'('] => (first - 1, false),
            _ => (first, false),
        };
        let inside = match text[..start] {
            _ if ends_in_break(&text[..start]) => false,
            // The last group of an IPv6 address.
            [.., b'0'..=b'9' | b':', b':'] => true,
            [.., b] => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'.' | b'$' | b'#'),
            [] => false,
        };
        if inside {
            return None;
        }
        let mut written = Self {
            start,
            plus,
            parentheses: text[start..first].contains(&b'('),
            count: 0,
            digits: [0; MOST_DIGITS],
            lengths: [0; MOST_DIGITS],
            ends: [0; MOST_DIGITS],
            separators: [0; MOST_DIGITS],
            first,
        };
        written.groups(&text[..text.len().min(first + MOST_BYTES)], first);
        // What goes on with letters, or with more digits than a number has, is none; the groups before a blank may be.
        let end = written.end_of(written.count.checked_sub(1)?);
        if text.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
            written.count = written.before_blank(written.count)?;
        }
        Some(written)
    }

    fn groups(&mut self, text: &[u8], mut at: usize) {
        let mut open = self.parentheses;
        let mut total = 0;
        loop {
            let len = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            if total + len > MOST_DIGITS {
                // Behind a blank another number begins.
                self.count = self.before_blank(self.count + 1).unwrap_or(0);
                return;
            }
            for byte in &text[at..at + len] {
                self.digits[total] = byte - b'0';
                total += 1;
            }
            at += len;
            // At most MOST_DIGITS and MOST_BYTES.
            self.lengths[self.count] = len as u8;
            self.ends[self.count] = (at - self.first) as u8;
            self.count += 1;
            let (skip, separator) = match text[at..] {
                [b')', b' ' | b'-', b'0'..=b'9', ..] if open => (2, b')'),
                [b')', b'0'..=b'9', ..] if open => (1, b')'),
                [b' ', b'(', b'0'..=b'9', ..] => (2, b'('),
                [b'(', b'0'..=b'9', ..] => (1, b'('),
                [s @ (b' ' | b'-' | b'.' | b'/'), b'0'..=b'9', ..] => (1, s),
                _ => return,
            };
            open = if matches!(separator, b'(' | b')') { separator == b'(' } else { open };
            self.parentheses |= matches!(separator, b'(' | b')');
            self.separators[self.count - 1] = separator;
            at += skip;
            if self.count == MOST_DIGITS {
                return;
            }
        }
    }

    fn end_of(&self, group: usize) -> usize {
        self.first + usize::from(self.ends[group])
    }

    /// How many of the first `count` groups there are before the last blank or opening parenthesis.
    fn before_blank(&self, count: usize) -> Option<usize> {
        self.separators[..count - 1].iter().rposition(|s| matches!(s, b' ' | b'(')).map(|at| at + 1)
    }

    /// Whether the first digits and the groups leave `plan` possible: cheap, for numbers that are of none.
    pub(super) fn may_be(&self, plan: Plan) -> bool {
        let digits = || self.lengths[..self.count].iter().map(|&len| usize::from(len)).sum::<usize>();
        match plan {
            Plan::E164 => self.plus || self.digits.starts_with(&[0, 0]),
            Plan::Nanp => digits() >= 10,
            Plan::National => digits() >= 7,
            Plan::Trunk => self.digits[0] == 0,
            Plan::Turkish => matches!(self.digits[0], 2..=5 | 9) && digits() >= 10,
        }
    }

    /// Where the number ends if it belongs to `plan`. Groups behind a blank may belong to the next number.
    pub(super) fn end(&self, plan: Plan) -> Option<usize> {
        let mut count = self.count;
        let mut digits = self.lengths[..count].iter().map(|&len| usize::from(len)).sum::<usize>();
        loop {
            let groups = Groups {
                digits: &self.digits[..digits],
                lengths: &self.lengths[..count],
                separators: &self.separators[..count - 1],
                plus: self.plus,
                parentheses: self.parentheses,
            };
            if plan.digits().contains(&digits) && groups.fit(plan) {
                return Some(self.end_of(count - 1));
            }
            let fewer = self.before_blank(count)?;
            digits -= self.lengths[fewer..count].iter().map(|&len| usize::from(len)).sum::<usize>();
            count = fewer;
        }
    }
}

impl Groups<'_> {
    /// Whether the number belongs to `plan`.
    fn fit(self, plan: Plan) -> bool {
        match plan {
            Plan::E164 => self.e164(),
            Plan::Nanp => self.nanp(),
            Plan::National => self.national(),
            Plan::Trunk => self.national() && self.digits[0] == 0 && matches!(self.digits.len(), 10 | 11),
            Plan::Turkish => self.turkish(),
        }
    }

    fn e164(self) -> bool {
        let d = match self.digits {
            d if self.plus => d,
            [0, 0, d @ ..] if self.lengths.len() > 1 => d,
            _ => return false,
        };
        country(d).is_some_and(|(code, shortest, longest)| {
            // A trunk zero in parentheses, +44 (0)20, is written but not dialled.
            let trunk = usize::from(self.parentheses && d.get(code) == Some(&0));
            d.len().checked_sub(code + trunk).is_some_and(|national| (shortest..=longest).contains(&national))
        })
    }

    fn nanp(self) -> bool {
        let (d, lengths, separators) = match self.lengths {
            [1, lengths @ ..] if self.digits[0] == 1 && !lengths.is_empty() => {
                (&self.digits[1..], lengths, &self.separators[1..])
            }
            lengths => (self.digits, lengths, self.separators),
        };
        // Three groups between blanks are also a table: those need words, and are left to the national plan.
        let separated = match *separators {
            [b' ', b' '] => lengths.len() < self.lengths.len(),
            [b'/', b'/'] => false,
            [a, b] => a == b || matches!(a, b'(' | b')'),
            _ => false,
        };
        !self.plus && *lengths == [3, 3, 4] && separated && nanp_digits(d)
    }

    fn national(self) -> bool {
        let parenthesis = |s: u8| matches!(s, b'(' | b')');
        let even = self.separators.windows(2).all(|w| w[0] == w[1] || parenthesis(w[0]) || parenthesis(w[1]));
        let quad = self.separators.starts_with(b"...") && self.lengths[..4].iter().all(|&len| len <= 3);
        !self.plus
            && (7..=13).contains(&self.digits.len())
            && (even || self.digits.len() >= 9)
            && !self.looks_like_a_date()
            && !quad
            // One trunk zero.
            && !self.digits.starts_with(&[0, 0])
            && self.digits.windows(2).any(|w| w[0] != w[1])
    }

    /// Area codes of Turkey (BTK) begin with 2 to 4 and end with an even digit; those of mobile networks begin with 5.
    fn turkish(self) -> bool {
        let (d, lengths) = match (self.digits, self.lengths) {
            ([9, 0, d @ ..], [2, lengths @ ..]) => (d, lengths),
            ([9, 0, d @ ..], [12]) => (d, &[10][..]),
            whole => whole,
        };
        let grouped = matches!(lengths, [10] | [3, 7] | [3, 3, 4] | [3, 3, 2, 2]);
        let area = |d: &[u8]| match d[0] {
            2..=4 => d[1] > 0 && d[2].is_multiple_of(2),
            5 => matches!(d[1], 0 | 3..=6),
            _ => false,
        };
        !self.plus && grouped && area(d) && d[3] > 0
    }

    /// 2024-05-21, 21.05.2024, 4/23/2018.
    fn looks_like_a_date(self) -> bool {
        matches!(self.lengths, [4, 1 | 2, 1 | 2] | [1 | 2, 1 | 2, 4 | 2] | [4, 2, 2, _])
    }
}

fn nanp_digits(d: &[u8]) -> bool {
    // Area and exchange: N = 2-9; N11 are services.
    d[0] >= 2 && d[3] >= 2 && !(d[1] == 1 && d[2] == 1) && !(d[4] == 1 && d[5] == 1)
}

/// Digits of the country code at the head of `d`, and how many digits a national number has there.
fn country(d: &[u8]) -> Option<(usize, usize, usize)> {
    let at = |i: usize| d.get(i).copied().map_or(10, usize::from);
    if at(0) == 1 {
        return (d.len() == 11 && nanp_digits(&d[1..])).then_some((1, 10, 10));
    }
    if at(0) == 7 {
        return Some((1, 10, 10));
    }
    let two = at(0) * 10 + at(1);
    // Countries with a two-digit code, and the lengths that their plans have (ITU-T E.164 annex, national plans).
    let lengths = match two {
        20 => (8, 10),
        27 => (9, 9),
        30 => (10, 10),
        31 => (9, 9),
        32 => (8, 9),
        33 => (9, 9),
        34 => (9, 9),
        36 => (8, 9),
        39 => (6, 11),
        40 => (9, 9),
        41 => (9, 9),
        43 => (4, 13),
        44 => (9, 10),
        45 => (8, 8),
        46 => (7, 10),
        47 => (8, 8),
        48 => (9, 9),
        49 => (6, 11),
        51 => (8, 9),
        52 => (10, 11),
        53 => (6, 8),
        54 => (10, 11),
        55 => (10, 11),
        56 => (9, 9),
        57 => (8, 10),
        58 => (10, 10),
        60 => (8, 10),
        61 => (9, 9),
        62 => (8, 12),
        63 => (8, 10),
        64 => (8, 10),
        65 => (8, 8),
        66 => (8, 9),
        81 => (9, 10),
        82 => (8, 11),
        84 => (9, 10),
        86 => (9, 11),
        90 => (10, 10),
        91 => (10, 10),
        92 => (9, 10),
        93 => (9, 9),
        94 => (9, 9),
        95 => (7, 10),
        98 => (10, 10),
        _ => return country3(two * 10 + at(2)),
    };
    Some((2, lengths.0, lengths.1))
}

/// Countries with a three-digit code.
fn country3(code: usize) -> Option<(usize, usize, usize)> {
    let assigned = matches!(code,
        211..=213 | 216 | 218 | 220..=258 | 260..=269 | 290 | 291 | 297..=299 | 350..=359 | 370..=383 | 385..=387 | 389
        | 420 | 421 | 423 | 500..=509 | 590..=599 | 670 | 672..=683 | 685..=692 | 800 | 808 | 850 | 852 | 853 | 855 | 856
        | 870 | 880 | 886 | 960..=968 | 970..=977 | 992..=996 | 998);
    assigned.then_some((3, 5, 11))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str, plan: Plan) -> Option<&str> {
        let first = text.bytes().position(|b| b.is_ascii_digit()).unwrap();
        let written = Written::read(text.as_bytes(), first)?;
        written.end(plan).map(|end| &text[written.start..end])
    }

    #[test]
    fn international_numbers_follow_their_countrys_plan() {
        for good in ["+1 415 555 0132", "+44 (0)20 7946 0958", "+358131220693", "+33 1 42 68 53 00", "+49 30 1234567"] {
            assert_eq!(fits(good, Plan::E164), Some(good));
        }
        for bad in ["+1 115 555 0132", "+999123456789", "+33 1 42 68", "+123"] {
            assert_eq!(fits(bad, Plan::E164), None, "{bad}");
        }
    }

    #[test]
    fn north_american_numbers_are_grouped() {
        for good in ["(415) 555-0132", "(415)555-0132", "415-555-0132", "415.555.0132", "1-800-555-0199"] {
            assert_eq!(fits(good, Plan::Nanp), Some(good));
        }
        for bad in ["4155550132", "115-555-0132", "415-155-0132", "415-555-01321", "415 555 0132"] {
            assert_eq!(fits(bad, Plan::Nanp), None, "{bad}");
        }
    }

    #[test]
    fn turkish_numbers_begin_with_an_area_or_a_network() {
        for good in ["533 456 78 90", "5334567890", "212 555 0143", "(312) 4567890", "90 533 456 78 90", "905334567890"]
        {
            assert_eq!(fits(good, Plan::Turkish), Some(good));
        }
        for bad in ["632 123 45 67", "2155550143", "53 2123 45 67", "521 123 45 67", "+533 456 78 90"] {
            assert_eq!(fits(bad, Plan::Turkish), None, "{bad}");
        }
    }

    #[test]
    fn a_number_ends_before_the_next_one() {
        assert_eq!(fits("(415) 555-0132 4111 1111 1111 1111", Plan::Nanp), Some("(415) 555-0132"));
        assert_eq!(fits("+1 415 555 0132 2024", Plan::E164), Some("+1 415 555 0132"));
        assert_eq!(fits("+1 415 555 0132 2024 4111 1111", Plan::E164), Some("+1 415 555 0132"));
    }

    #[test]
    fn dates_and_addresses_are_no_national_numbers() {
        for bad in ["2024-05-21", "21.05.2024", "192.168.100.200", "0000000"] {
            assert_eq!(fits(bad, Plan::National), None, "{bad}");
        }
        assert_eq!(fits("020 7946 0958", Plan::National), Some("020 7946 0958"));
    }
}
