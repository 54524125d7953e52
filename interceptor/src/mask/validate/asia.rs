//! National identifiers of India, Singapore, Korea, Thailand, the Philippines and China.

use std::ops::RangeInclusive;

use super::Verdict;
use super::checksum::{all_same, alphanumerics, digits, is_date, two, verhoeff, weighted};

/// Indian Aadhaar: does not begin with 0 or 1, is no palindrome, Verhoeff.
pub(super) fn in_aadhaar(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 12 && d[0] >= 2 && !d.iter().eq(d.iter().rev()) && verhoeff(&d)
}

/// Indian PAN: the fourth letter is the kind of holder.
pub(super) fn in_pan(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    text.len() == 10
        && text[..5].iter().chain(&text[9..]).all(u8::is_ascii_uppercase)
        && text[5..9].iter().all(u8::is_ascii_digit)
        && &text[5..9] != b"0000"
}

/// Indian GSTIN: state, PAN, entity, Z, and a check character that confirms.
pub(super) fn in_gstin(value: &[u8]) -> Verdict {
    let text = alphanumerics(value);
    if text.len() != 15 || !text[..2].iter().all(u8::is_ascii_digit) || text[13] != b'Z' || !in_pan(&text[2..12]) {
        return Verdict::Reject;
    }
    let state = u32::from(text[0] - b'0') * 10 + u32::from(text[1] - b'0');
    if !matches!(state, 1..=38 | 97 | 99) || text[12] == b'0' {
        return Verdict::Reject;
    }
    let worth = |b: u8| u32::from(if b.is_ascii_digit() { b - b'0' } else { b - b'A' + 10 });
    let sum: u32 = text[..14]
        .iter()
        .enumerate()
        .map(|(i, &b)| worth(b) * (1 + i as u32 % 2))
        .map(|product| product / 36 + product % 36)
        .sum();
    if (36 - sum % 36) % 36 == worth(text[14]) { Verdict::Confirmed } else { Verdict::Plausible }
}

/// Singapore NRIC and FIN: the check letter of the series.
pub(super) fn sg_nric(value: &[u8]) -> Verdict {
    let text = alphanumerics(value);
    let d = digits(value);
    if text.len() != 9 || d.len() != 7 {
        return Verdict::Reject;
    }
    let offset = match text[0] {
        b'T' | b'G' => 4,
        b'M' => 3,
        _ => 0,
    };
    let rest = ((weighted(&d, &[2, 7, 6, 5, 4, 3, 2]) + offset) % 11) as usize;
    let letter = match text[0] {
        b'S' | b'T' => b"JZIHGFEDCBA"[rest],
        b'F' | b'G' => b"XWUTRQPNMLK"[rest],
        b'M' => b"XWUTRQPNJLK"[rest],
        _ => return Verdict::Reject,
    };
    if text[8] == letter { Verdict::Confirmed } else { Verdict::Reject }
}

/// Korean resident registration number: a date and the century; the check digit (dropped in 2020) confirms.
pub(super) fn kr_rrn(value: &[u8]) -> Verdict {
    kr_registration(value, 1..=4, 11)
}

/// Korean foreigner registration number: as the resident's, with 5 to 8 for the century.
pub(super) fn kr_frn(value: &[u8]) -> Verdict {
    kr_registration(value, 5..=8, 13)
}

/// `check` is that from which the weighted sum is taken.
fn kr_registration(value: &[u8], centuries: RangeInclusive<u8>, check: u32) -> Verdict {
    let d = digits(value);
    if d.len() != 13 || !is_date(two(&d, 2), two(&d, 4)) || !centuries.contains(&d[6]) {
        return Verdict::Reject;
    }
    let digit = (check - weighted(&d, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10;
    if digit == u32::from(d[12]) { Verdict::Confirmed } else { Verdict::Plausible }
}

/// Korean business registration number.
pub(super) fn kr_brn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 10 && !all_same(&d) && {
        let sum = weighted(&d, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + u32::from(d[8]) * 5 / 10;
        (10 - sum % 10) % 10 == u32::from(d[9])
    }
}

/// Thai national id: the kind of person, a province (ISO 3166-2:TH), modulus 11.
pub(super) fn th_tnin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 13
        && (1..=8).contains(&d[0])
        && matches!(two(&d, 1), 10..=27 | 30..=49 | 50..=58 | 60..=67 | 70..=77 | 80..=86 | 90..=96)
        && !all_same(&d)
        && (11 - weighted(&d, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 10 == u32::from(d[12])
}

/// Philippine taxpayer number (BIR): eight digits, a check digit of modulus 11, three of the branch or none.
pub(super) fn ph_tin(value: &[u8]) -> bool {
    let d = digits(value);
    matches!(d.len(), 9 | 12 | 14)
        && !all_same(&d[..9])
        && weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == u32::from(d[8])
}

/// Singapore unique entity number (ACRA): eight digits, or the year and five digits, or the century, the year and the
/// kind of entity; a check letter, modulus 11.
pub(super) fn sg_uen(value: &[u8]) -> bool {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWX0123456789";
    let text = alphanumerics(value);
    let d = digits(value);
    let Some(&check) = text.last() else { return false };
    match (text.len(), d.len()) {
        (9, 8) => b"XMKECAWLJDB"[(weighted(&d, &[10, 4, 9, 3, 8, 2, 7, 1]) % 11) as usize] == check,
        (10, 9) => {
            matches!(two(&d, 0), 18..=20)
                && b"ZKCMDNERGWH"[(weighted(&d, &[10, 8, 6, 4, 9, 7, 5, 3, 1]) % 11) as usize] == check
        }
        (10, 6) if b"RST".contains(&text[0]) => {
            let worth = |b: &u8| LETTERS.iter().position(|letter| letter == b).and_then(|i| u8::try_from(i).ok());
            let Some(worth) = text[..9].iter().map(worth).collect::<Option<Vec<u8>>>() else { return false };
            LETTERS[((weighted(&worth, &[4, 3, 5, 3, 10, 2, 2, 5, 7]) + 11 - 5) % 11) as usize] == check
        }
        _ => false,
    }
}

/// Chinese resident identity number (GB 11643): a date, ISO/IEC 7064 MOD 11-2.
pub(super) fn cn_resident_id(value: &[u8]) -> bool {
    let Some((last, body)) = value.split_last() else { return false };
    let d = digits(body);
    d.len() == 17
        && body.len() == 17
        && matches!(two(&d, 0), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81 | 82)
        && matches!(two(&d, 6), 18..=20)
        && is_date(two(&d, 10), two(&d, 12))
        && {
            let rest = weighted(&d, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11;
            b"10X98765432"[rest as usize] == last.to_ascii_uppercase()
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_of_singapore_have_three_forms() {
        for good in ["00192200M", "197401143C", "S16FC0121D", "T01FC6132D"] {
            assert!(sg_uen(good.as_bytes()), "{good}");
        }
        for bad in ["00192200N", "197401143D", "219740114C", "S16FC0121E", "X16FC0121D"] {
            assert!(!sg_uen(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn foreigners_and_residents_of_korea_are_told_apart() {
        assert_eq!((kr_frn(b"850101-5123450"), kr_rrn(b"850101-5123450")), (Verdict::Confirmed, Verdict::Reject));
        assert_eq!(kr_frn(b"850101-1123450"), Verdict::Reject);
    }

    #[test]
    fn thai_numbers_name_a_province() {
        assert!(th_tnin(b"3224716840371") && !th_tnin(b"1298407316527"));
    }
}
