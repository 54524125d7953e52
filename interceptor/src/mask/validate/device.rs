//! Numbers of devices and vehicles.

use super::checksum::{all_same, alphanumerics, digits, luhn};

/// Device identity (3GPP TS 23.003): fifteen digits, Luhn.
pub(super) fn imei(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 15 && luhn(&d) && !all_same(&d)
}

/// Vehicle identification number with the North American check digit (49 CFR 565.15). One of digits alone is none: the
/// makers' codes leave few, and one number of eleven has that check digit.
pub(super) fn vin(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let text = alphanumerics(value);
    if text.len() != 17 || text.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let mut sum = 0;
    for (&byte, weight) in text.iter().zip(WEIGHTS) {
        let worth = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'H' => byte - b'A' + 1,
            b'J'..=b'N' => byte - b'J' + 1,
            b'P' => 7,
            b'R' => 9,
            b'S'..=b'Z' => byte - b'S' + 2,
            _ => return false,
        };
        sum += u32::from(worth) * weight;
    }
    let check = match sum % 11 {
        10 => b'X',
        rest => b'0' + u8::try_from(rest).unwrap_or(0),
    };
    text[8] == check
}
