//! National identifiers of the United Kingdom.

use super::checksum::{all_same, alphanumerics, digits, weighted};

/// UK NHS number: modulus 11.
pub(super) fn uk_nhs(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 10 && !all_same(&d) && {
        let check = 11 - weighted(&d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        check % 11 == u32::from(d[9]) && check != 10
    }
}

/// UK national insurance number: prefixes that HMRC does not allocate are refused.
pub(super) fn uk_nino(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    text.len() == 9
        && !b"DFIQUV".contains(&text[0])
        && !b"DFIOQUV".contains(&text[1])
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].iter().any(|p| p.as_bytes() == &text[..2])
        && matches!(text[8], b'A'..=b'D')
}

/// UK unique taxpayer reference: the first digit checks the other nine.
pub(super) fn uk_utr(value: &[u8]) -> bool {
    const CHECK: [u8; 11] = [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1];
    let d = digits(value);
    d.len() == 10 && !all_same(&d) && {
        let rest = weighted(&d[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
        CHECK[rest as usize] == d[0]
    }
}
