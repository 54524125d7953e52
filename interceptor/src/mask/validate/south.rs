//! National identifiers of Australia, South Africa and Nigeria.

use super::checksum::{all_same, digits, is_date, luhn, two, verhoeff, weighted};

/// Australian business number: modulus 89 after taking one from the first digit.
pub(super) fn au_abn(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 11] = [10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19];
    let d = digits(value);
    d.len() == 11 && d[0] > 0 && (weighted(&d, &WEIGHTS) - WEIGHTS[0]).is_multiple_of(89)
}

/// Australian company number.
pub(super) fn au_acn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && !all_same(&d) && (10 - weighted(&d, &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == u32::from(d[8])
}

/// Australian tax file number: modulus 11.
pub(super) fn au_tfn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && !all_same(&d) && weighted(&d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

/// Australian Medicare card: the ninth digit checks the first eight.
pub(super) fn au_medicare(value: &[u8]) -> bool {
    let d = digits(value);
    matches!(d.len(), 10 | 11)
        && (2..=6).contains(&d[0])
        && weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(d[8])
}

/// South African id: a date, citizenship, Luhn.
pub(super) fn za_id(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 13 && is_date(two(&d, 2), two(&d, 4)) && d[10] <= 2 && luhn(&d)
}

/// Nigerian national identification number (NIMC): eleven digits, Verhoeff.
pub(super) fn ng_nin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 11 && !all_same(&d) && verhoeff(&d)
}
