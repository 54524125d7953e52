//! National identifiers of the United States, Canada and Brazil.

use super::checksum::{all_same, alphanumerics, digits, luhn, two, weighted};

/// US social security number: areas, groups and serials that are never issued (SSA, since 2011). Numbers that became
/// famous in advertisements are refused only without separators, where they are test data.
pub(super) fn us_ssn(value: &[u8]) -> bool {
    let d = digits(value);
    if d.len() != 9 || all_same(&d) {
        return false;
    }
    let area = d[..3].iter().fold(0, |a, &x| a * 10 + u32::from(x));
    let bare = value.len() == 9;
    let famous = bare && matches!(value, b"078051120" | b"219099999" | b"123456789" | b"987654321");
    area != 0 && area != 666 && area < 900 && d[3..5] != [0, 0] && d[5..] != [0, 0, 0, 0] && !famous
}

/// US individual taxpayer number: 9xx and the groups that the IRS assigns.
pub(super) fn us_itin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && d[0] == 9 && matches!(two(&d, 3), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// US national provider identifier: Luhn with the prefix 80840 (45 CFR 162.406).
pub(super) fn us_npi(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 10 && matches!(d[0], 1 | 2) && luhn(&[&[8, 0, 8, 4, 0], &d[..]].concat())
}

/// US Medicare beneficiary identifier: the letters S, L, O, I, B and Z are not used (CMS).
pub(super) fn us_mbi(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let letter = |b: u8| b.is_ascii_uppercase() && !b"SLOIBZ".contains(&b);
    // C: 1-9, A: letter, E: letter or digit, N: digit.
    let shape = b"CAENAENAANN";
    text.len() == 11
        && text.iter().zip(shape).all(|(&b, &kind)| match kind {
            b'C' => (b'1'..=b'9').contains(&b),
            b'N' => b.is_ascii_digit(),
            b'A' => letter(b),
            _ => letter(b) || b.is_ascii_digit(),
        })
}

/// US DEA registration: the sum of every other digit, twice the rest.
pub(super) fn us_dea(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let d = digits(value);
    text.len() == 9
        && d.len() >= 7
        && b"ABCDEFGHJKLMPRSTUX".contains(&text[0])
        && (text[1].is_ascii_uppercase() || text[1] == b'9')
        && {
            let d = &d[d.len() - 7..];
            let sum = weighted(&d[..6], &[1, 2, 1, 2, 1, 2]);
            sum % 10 == u32::from(d[6])
        }
}

/// Canadian social insurance number: Luhn; 0 and 8 are not issued to persons.
pub(super) fn ca_sin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && !matches!(d[0], 0 | 8) && luhn(&d) && !all_same(&d)
}

/// Brazilian CPF: two check digits, modulus 11.
pub(super) fn br_cpf(value: &[u8]) -> bool {
    let d = digits(value);
    let check = |n: usize| {
        let sum: u32 = d[..n].iter().enumerate().map(|(i, &x)| u32::from(x) * (n as u32 + 1 - i as u32)).sum();
        sum * 10 % 11 % 10 == u32::from(d[n])
    };
    d.len() == 11 && !all_same(&d) && check(9) && check(10)
}

/// Brazilian CNPJ: two check digits, modulus 11, weights 2 to 9 from the right.
pub(super) fn br_cnpj(value: &[u8]) -> bool {
    let d = digits(value);
    let check = |n: usize| {
        let sum: u32 = d[..n].iter().rev().enumerate().map(|(i, &x)| u32::from(x) * (i as u32 % 8 + 2)).sum();
        let rest = sum % 11;
        (if rest < 2 { 0 } else { 11 - rest }) == u32::from(d[n])
    };
    d.len() == 14 && !all_same(&d) && check(12) && check(13)
}
