//! National identifiers of Germany.

use super::checksum::{alphanumerics, digits, is_date, mod11_10, two, weighted};

/// German tax identification number: ISO/IEC 7064 MOD 11,10; of the first ten digits exactly one occurs twice or three
/// times (§ 139b AO).
pub(super) fn de_tax_id(value: &[u8]) -> bool {
    let d = digits(value);
    if d.len() != 11 || d[0] == 0 || !mod11_10(&d) {
        return false;
    }
    let mut counts = [0u8; 10];
    d[..10].iter().for_each(|&x| counts[usize::from(x)] += 1);
    let repeated: Vec<u8> = counts.into_iter().filter(|&n| n > 1).collect();
    // 98765432106: numbers with ten different digits exist in published examples.
    matches!(repeated[..], [] | [2 | 3])
}

/// German VAT number: `DE` and nine digits, ISO/IEC 7064 MOD 11,10.
pub(super) fn de_vat_id(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && d[0] != 0 && mod11_10(&d)
}

/// German tax number (§ 139a AO). As tax returns want it (ELSTER), it has thirteen digits and begins with the number of
/// the land's tax authority, or with the land's official key, 01 to 16.
pub(super) fn de_tax_number(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() < 13 || matches!(two(&d, 0), 1..=16 | 21..=28 | 30..=32 | 40 | 41 | 50..=59 | 90..=99)
}

/// Serial number of a German identity card or passport with its check digit (ICAO Doc 9303: weights 7, 3, 1); vowels
/// and letters that look like digits are not used.
pub(super) fn de_serial(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let Some((check, body)) = text.split_last() else { return false };
    let used = |b: &u8| b.is_ascii_digit() || b"CFGHJKLMNPRTVWXYZ".contains(b);
    let worth = |b: u8| u32::from(if b.is_ascii_digit() { b - b'0' } else { b - b'A' + 10 });
    let sum: u32 = body.iter().zip([7, 3, 1].iter().cycle()).map(|(&b, weight)| worth(b) * weight).sum();
    check.is_ascii_digit()
        && matches!(text.len(), 9 | 10)
        && body.iter().all(used)
        && sum % 10 == u32::from(check - b'0')
}

/// German social insurance number: area, birth date (days from 50 on where two persons would share a number), letter
/// of the name at birth, serial number, check digit (VKVV § 2).
pub(super) fn de_social_security(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let Some(letter) = text.get(8).filter(|b| b.is_ascii_uppercase()) else { return false };
    let letter = letter - b'A' + 1;
    let d = [&digits(&text[..8])[..], &[letter / 10, letter % 10], &digits(&text[9..])].concat();
    if text.len() != 12 || d.len() != 13 {
        return false;
    }
    let day = two(&d, 2);
    let weights = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    two(&d, 0) > 1
        && is_date(two(&d, 4), if day > 50 { day - 50 } else { day })
        && cross_sum(&d[..12], &weights) % 10 == u32::from(d[12])
}

/// German health insurance number (§ 290 SGB V): a letter, eight digits, check digit.
pub(super) fn de_health_insurance(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let Some(letter) = text.first().filter(|b| b.is_ascii_uppercase()) else { return false };
    let letter = letter - b'A' + 1;
    let d = [&[letter / 10, letter % 10], &digits(&text[1..])[..]].concat();
    d.len() == 11 && cross_sum(&d[..10], &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2]) % 10 == u32::from(d[10])
}

/// Number of a German doctor (KBV: Arztnummer): six digits, check digit with weights 4 and 9, two of the specialty.
pub(super) fn de_lanr(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9
        && two(&d, 7) > 0
        && d[..6].iter().any(|&x| x > 0)
        && (10 - weighted(&d, &[4, 9, 4, 9, 4, 9]) % 10) % 10 == u32::from(d[6])
}

/// The sum of the digits of each product.
fn cross_sum(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&d, w)| u32::from(d) * w).map(|product| product / 10 + product % 10).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every other last digit must fail.
    fn checks(validator: fn(&[u8]) -> bool, good: &str) {
        let (body, last) = good.split_at(good.len() - 1);
        for digit in 0..10 {
            let value = format!("{body}{digit}");
            assert_eq!(validator(value.as_bytes()), digit.to_string() == last, "{value}");
        }
    }

    #[test]
    fn check_digits_tell_every_other_last_digit() {
        checks(de_serial, "C01X00T478");
        checks(de_social_security, "65180139N017");
        checks(de_health_insurance, "T000000014");
        assert!(de_lanr(b"123456601") && !de_lanr(b"123456701"));
    }

    #[test]
    fn social_insurance_numbers_carry_a_birth_date() {
        assert!(!de_social_security(b"65181339N017"));
    }
}
