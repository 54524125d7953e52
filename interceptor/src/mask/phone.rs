//! Telephone numbers by numbering plan (ITU-T E.164; NANPA; national trunk prefixes).

use serde::Deserialize;

use crate::flow::ByteSpan;

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
}

/// Most digits that E.164 allows.
const MOST_DIGITS: usize = 15;
/// Most bytes that a number spreads over, separators included.
const MOST_BYTES: usize = 28;

/// Digits and separators in a row, as a number is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// With a `+` or an opening parenthesis before the first digit.
    pub(super) span: ByteSpan,
    digits: Vec<u8>,
    /// Lengths of the groups.
    groups: Vec<usize>,
    /// Where each group ends in the text.
    ends: Vec<usize>,
    /// Begins with `+`.
    plus: bool,
    /// Has parentheses around a group.
    parentheses: bool,
    /// Separators, in order.
    separators: Vec<u8>,
}

impl Written {
    /// Reads the number whose first group of digits starts at `first`, at most [`MOST_BYTES`] on.
    pub(super) fn read(text: &[u8], first: usize) -> Option<Self> {
        let before = &text[first.saturating_sub(2)..first];
        let (start, plus) = match before {
            [.., b'+'] => (first - 1, true),
            [b'+', b'('] => (first - 2, true),
            [.., b'('] => (first - 1, false),
            _ => (first, false),
        };
        let mut written = Self {
            span: start..first,
            digits: Vec::with_capacity(MOST_DIGITS),
            groups: Vec::new(),
            ends: Vec::new(),
            plus,
            parentheses: text[start..first].contains(&b'('),
            separators: Vec::new(),
        };
        written.groups(&text[..text.len().min(first + MOST_BYTES)], first)?;
        let previous = start.checked_sub(1).map(|i| text[i]);
        let inside = previous
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'.' | b'$' | b'#'))
            || matches!(text[..start], [.., b'0'..=b'9' | b':', b':']);
        // A number that goes on with letters is none; nor is one that was read to the limit and goes on with digits.
        let next = text.get(written.span.end);
        let goes_on = next.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        (!inside && (!goes_on || written.drop_group())).then_some(written)
    }

    /// Whether the first digits and the count of all leave `plan` possible: cheap, for numbers that are of none.
    pub(super) fn may_be(&self, plan: Plan) -> bool {
        match plan {
            Plan::E164 => self.plus || self.digits.starts_with(&[0, 0]),
            Plan::Nanp => self.digits.len() >= 10,
            Plan::National => self.digits.len() >= 7,
        }
    }

    /// Where the number ends if it belongs to `plan`. Groups behind a blank may belong to the next number.
    pub(super) fn end(mut self, plan: Plan) -> Option<usize> {
        loop {
            if self.fits(plan) {
                return Some(self.span.end);
            }
            if !self.drop_group() {
                return None;
            }
        }
    }

    /// Gives up the groups behind the last blank or opening parenthesis.
    fn drop_group(&mut self) -> bool {
        let Some(blank) = self.separators.iter().rposition(|s| matches!(s, b' ' | b'(')) else { return false };
        self.separators.truncate(blank);
        self.ends.truncate(blank + 1);
        self.groups.truncate(blank + 1);
        self.digits.truncate(self.groups.iter().sum());
        self.span.end = self.ends[blank];
        true
    }

    fn groups(&mut self, text: &[u8], mut at: usize) -> Option<()> {
        let mut open = self.parentheses;
        loop {
            let len = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            if self.digits.len() + len > MOST_DIGITS {
                // Behind a blank another number begins; the groups before it may be one.
                self.groups.push(len);
                self.ends.push(at + len);
                return self.drop_group().then_some(());
            }
            self.digits.extend(text[at..at + len].iter().map(|b| b - b'0'));
            self.groups.push(len);
            at += len;
            self.span.end = at;
            self.ends.push(at);
            let gap: &[u8] = &text[at..text.len().min(at + 3)];
            let (skip, separator) = match gap {
                [b')', b' ' | b'-', b'0'..=b'9'] if open => (2, b')'),
                [b')', b'0'..=b'9', ..] if open => (1, b')'),
                [b' ', b'(', b'0'..=b'9'] => (2, b'('),
                [b'(', b'0'..=b'9', ..] => (1, b'('),
                [s @ (b' ' | b'-' | b'.' | b'/'), b'0'..=b'9', ..] => (1, *s),
                _ => return Some(()),
            };
            open = if matches!(separator, b'(' | b')') { separator == b'(' } else { open };
            self.parentheses |= matches!(separator, b'(' | b')');
            self.separators.push(separator);
            at += skip;
        }
    }

    /// Whether the number belongs to `plan`.
    fn fits(&self, plan: Plan) -> bool {
        match plan {
            Plan::E164 => self.e164(),
            Plan::Nanp => self.nanp(),
            Plan::National => self.national(),
        }
    }

    fn e164(&self) -> bool {
        let d = if self.plus {
            &self.digits[..]
        } else if self.digits.starts_with(&[0, 0]) && self.groups.len() > 1 {
            &self.digits[2..]
        } else {
            return false;
        };
        country(d).is_some_and(|(code, shortest, longest)| {
            // A trunk zero in parentheses, +44 (0)20, is written but not dialled.
            let national = d.len() - code - usize::from(self.parentheses && d.get(code) == Some(&0));
            (shortest..=longest).contains(&national)
        })
    }

    fn nanp(&self) -> bool {
        let (d, groups, separators) = match self.digits.split_first() {
            Some((1, rest)) if self.groups[0] == 1 && self.groups.len() > 1 => {
                (rest, &self.groups[1..], &self.separators[1..])
            }
            _ => (&self.digits[..], &self.groups[..], &self.separators[..]),
        };
        let separated =
            separators.windows(2).all(|w| w[0] == w[1] || matches!(w[0], b'(' | b')')) && separators != [b'/', b'/'];
        d.len() == 10 && groups == [3, 3, 4] && separated && !self.plus && nanp_digits(d) && {
            // Three groups between blanks are also a table; words are asked for by the national plan.
            separators != [b' ', b' '] || self.groups.len() == 4
        }
    }

    fn national(&self) -> bool {
        let even = self.separators.iter().all(|s| {
            *s == self.separators[0] || matches!((*s, self.separators[0]), (b'(' | b')', _) | (_, b'(' | b')'))
        });
        let digits = self.digits.len();
        !self.plus
            && (7..=13).contains(&digits)
            && (even || self.separators.len() == 1 || digits >= 9)
            && !self.looks_like_a_date()
            && self.digits.windows(2).any(|w| w[0] != w[1])
            && !(self.separators.contains(&b'.') && self.groups.iter().all(|&g| g <= 3) && self.groups.len() == 4)
    }

    /// 2024-05-21, 21.05.2024, 5/20/2021.
    fn looks_like_a_date(&self) -> bool {
        matches!(self.groups[..], [4, 1 | 2, 1 | 2] | [1 | 2, 1 | 2, 4 | 2] | [4, 2, 2, _])
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
        let start = written.span.start;
        written.end(plan).map(|end| &text[start..end])
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
