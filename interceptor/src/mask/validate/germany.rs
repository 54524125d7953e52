//! National identifiers of Germany.

use super::checksum::{digits, mod11_10};

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
