//! National identifiers of European countries without a file of their own, and of Turkey.

use super::Verdict;
use super::checksum::{all_same, alphanumerics, digits, is_date, luhn, mod97, two, weighted};

/// French social security number: sex, year, month, place, order, 97 - (n mod 97).
pub(super) fn fr_nir(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    if text.len() != 15 || !matches!(text[0], b'1'..=b'4' | b'7' | b'8') {
        return false;
    }
    // Corsica: 2A counts as 19, 2B as 18.
    let body: Vec<u8> = match &text[5..7] {
        b"2A" => [&text[..5], b"19", &text[7..13]].concat(),
        b"2B" => [&text[..5], b"18", &text[7..13]].concat(),
        _ => text[..13].to_vec(),
    };
    if !body.iter().chain(&text[13..]).all(u8::is_ascii_digit) {
        return false;
    }
    let month = u32::from(text[3] - b'0') * 10 + u32::from(text[4] - b'0');
    let key = u32::from(text[13] - b'0') * 10 + u32::from(text[14] - b'0');
    matches!(month, 1..=12 | 20..=42 | 50..=99) && 97 - mod97(body.into_iter()) == key
}

/// Spanish NIF and NIE: the letter is the number modulo 23; X, Y, Z stand for 0, 1, 2.
pub(super) fn es_nif(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let Some((&letter, number)) = text.split_last() else { return false };
    let Some((&first, rest)) = number.split_first() else { return false };
    let first = match first {
        b'X' => b'0',
        b'Y' => b'1',
        b'Z' => b'2',
        other => other,
    };
    if !(7..=8).contains(&number.len()) || !first.is_ascii_digit() || !rest.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let n = rest.iter().fold(u32::from(first - b'0'), |n, &b| n * 10 + u32::from(b - b'0'));
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(n % 23) as usize] == letter
}

/// Italian fiscal code (DM 23/12/1976): structure, and the check letter, which confirms.
pub(super) fn it_fiscal_code(value: &[u8]) -> Verdict {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let text = alphanumerics(value);
    if text.len() != 16 {
        return Verdict::Reject;
    }
    // Digits may be replaced by letters where two persons would share a code (omocodia).
    let number = |b: u8| b.is_ascii_digit() || b"LMNPQRSTUV".contains(&b);
    let shaped = text.iter().enumerate().all(|(i, &b)| match i {
        0..=5 | 11 | 15 => b.is_ascii_uppercase(),
        8 => b"ABCDEHLMPRST".contains(&b),
        _ => number(b),
    });
    if !shaped {
        return Verdict::Reject;
    }
    let worth = |b: u8| u32::from(if b.is_ascii_digit() { b - b'0' } else { b - b'A' });
    let sum: u32 =
        text[..15].iter().enumerate().map(|(i, &b)| if i % 2 == 0 { ODD[worth(b) as usize] } else { worth(b) }).sum();
    if u32::from(text[15] - b'A') == sum % 26 { Verdict::Confirmed } else { Verdict::Reject }
}

/// Italian VAT number: seven digits, the tax office's province (001 to 100, and five more), Luhn.
pub(super) fn it_vat(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 11
        && matches!(u32::from(d[7]) * 100 + two(&d, 8), 1..=100 | 120 | 121 | 888 | 999)
        && luhn(&d)
        && d[..7].iter().any(|&x| x > 0)
}

/// Polish PESEL: date of birth with the century in the month, weighted check digit.
pub(super) fn pl_pesel(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 11
        && is_date(two(&d, 2) % 20, two(&d, 4))
        && (10 - weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10) % 10 == u32::from(d[10])
}

/// Dutch citizen service number: the eleven test.
pub(super) fn nl_bsn(value: &[u8]) -> bool {
    let d = digits(value);
    let last = u32::from(*d.last().unwrap_or(&0));
    d.len() == 9 && !all_same(&d) && (weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2]) + 11 * 9 - last).is_multiple_of(11)
}

/// Swedish personal number: a date (day + 60: coordination number), Luhn over the last ten digits.
pub(super) fn se_personnummer(value: &[u8]) -> bool {
    let d = digits(value);
    let Some(short) = d.len().checked_sub(10).map(|cut| &d[cut..]) else { return false };
    let century = d.len() == 10 || (d.len() == 12 && matches!(two(&d, 0), 18..=20));
    let day = two(short, 4);
    century && is_date(two(short, 2), if day > 60 { day - 60 } else { day }) && luhn(short)
}

/// Swedish organisation number (Skatteverket SKV 709): the legal form, a third digit that is no month, Luhn.
pub(super) fn se_organisationsnummer(value: &[u8]) -> bool {
    let d = digits(value);
    let d = d.strip_prefix(&[1, 6]).filter(|d| d.len() == 10).unwrap_or(&d);
    d.len() == 10 && matches!(d[0], 1 | 2 | 3 | 5..=9) && d[2] >= 2 && luhn(d)
}

/// Finnish personal identity code: a date, the century sign, modulus 31.
pub(super) fn fi_hetu(value: &[u8]) -> bool {
    let d = digits(&value[..value.len().saturating_sub(1)]);
    if value.len() != 11 || d.len() != 9 || !b"+-YXWVUABCDEF".contains(&value[6].to_ascii_uppercase()) {
        return false;
    }
    let number = d.iter().fold(0u32, |n, &x| n * 10 + u32::from(x));
    is_date(two(&d, 2), two(&d, 0))
        && b"0123456789ABCDEFHJKLMNPRSTUVWXY"[(number % 31) as usize] == value[10].to_ascii_uppercase()
}

/// Turkish identity number: two check digits.
pub(super) fn tr_tckn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 11 && d[0] != 0 && {
        let n: Vec<u32> = d.iter().map(|&x| u32::from(x)).collect();
        let (odd, even) = (n[0] + n[2] + n[4] + n[6] + n[8], n[1] + n[3] + n[5] + n[7]);
        (odd * 7 + 90 - even) % 10 == n[9] && n[..10].iter().sum::<u32>() % 10 == n[10]
    }
}
