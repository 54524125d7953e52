//! Check digits shared by many kinds of number.

use std::ops::Deref;

/// Bytes of a [`Short`]: more than any number has, so what is longer is none.
const LONGEST: usize = 64;

/// A few bytes without an allocation: texts full of numbers have many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl FromIterator<u8> for Short {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut short = Self { bytes: [0; LONGEST], len: 0 };
        for (to, byte) in short.bytes.iter_mut().zip(bytes) {
            *to = byte;
            short.len += 1;
        }
        short
    }
}

/// The values of the ASCII digits of `text`; anything else is skipped.
pub(super) fn digits(text: &[u8]) -> Short {
    text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0').collect()
}

/// The ASCII letters and digits of `text`, letters as capitals.
pub(super) fn alphanumerics(text: &[u8]) -> Short {
    text.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect()
}

/// Luhn (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    luhn_backwards(digits.iter().rev().copied())
}

/// [`luhn`] of the ASCII digits of `text`; anything else is skipped.
pub(in crate::mask) fn luhn_written(text: &[u8]) -> bool {
    luhn_backwards(text.iter().rev().filter(|b| b.is_ascii_digit()).map(|b| b - b'0'))
}

fn luhn_backwards(digits: impl Iterator<Item = u8>) -> bool {
    let sum: u32 = digits
        .enumerate()
        .map(|(i, d)| match (i % 2, u32::from(d)) {
            (0, d) => d,
            (_, d) if d > 4 => 2 * d - 9,
            (_, d) => 2 * d,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The sum of the digits, each times its weight, to the shorter of the two.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&d, w)| u32::from(d) * w).sum()
}

/// `text` (capitals and digits, A = 10) as one number modulo 97 (ISO/IEC 7064).
pub(super) fn mod97(text: impl Iterator<Item = u8>) -> u32 {
    text.fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

/// ISO/IEC 7064 MOD 11,10: the last digit checks the others.
pub(super) fn mod11_10(digits: &[u8]) -> bool {
    let Some((&check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product, &d| {
        let sum = (u32::from(d) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == u32::from(check)
}

/// Verhoeff's dihedral check digit (1969).
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    /// Multiplication in the dihedral group of order ten: rotations 0-4, reflections 5-9.
    fn multiply(a: u8, b: u8) -> u8 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b - 5) % 5,
            (false, true) => 5 + (a - 5 + 5 - b) % 5,
            (false, false) => (a + 5 - b) % 5,
        }
    }
    digits.iter().rev().enumerate().fold(0, |c, (i, &d)| multiply(c, PERMUTATION[i % 8][usize::from(d)])) == 0
}

/// Whether `digits` are all the same: passes many checksums, identifies nobody.
pub(super) fn all_same(digits: &[u8]) -> bool {
    digits.windows(2).all(|w| w[0] == w[1])
}

/// A day of a month that exists in some year.
pub(super) fn is_date(month: u32, day: u32) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// Two digits as a number.
pub(super) fn two(digits: &[u8], at: usize) -> u32 {
    u32::from(digits[at]) * 10 + u32::from(digits[at + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luhn_catches_every_single_wrong_digit() {
        let good = digits(b"4111 1111 1111 1111");
        assert!(luhn(&good));
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] = (bad[at] + 1) % 10;
            assert!(!luhn(&bad));
        }
    }

    #[test]
    fn verhoeff_catches_every_transposition_of_neighbours() {
        // The worked example of the literature: 236 has the check digit 3.
        let good = digits(b"2363");
        assert!(verhoeff(&good));
        for at in 0..3 {
            let mut bad = good.to_vec();
            bad.swap(at, at + 1);
            assert_eq!(verhoeff(&bad), *good == *bad);
        }
    }

    #[test]
    fn mod11_10_agrees_with_the_standard_example() {
        // ISO/IEC 7064: 0794 has the check digit 5.
        assert!(mod11_10(&digits(b"07945")));
        assert!(!mod11_10(&digits(b"07946")));
    }
}
