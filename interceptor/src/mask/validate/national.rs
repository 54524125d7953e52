//! National identifiers, each by the rules that its issuer publishes.

use super::Verdict;
use super::checksum::{all_same, alphanumerics, digits, is_date, luhn, mod11_10, mod97, two, verhoeff, weighted};

/// Device identity (3GPP TS 23.003): fifteen digits, Luhn.
pub(super) fn imei(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 15 && luhn(&d) && !all_same(&d)
}

/// Vehicle identification number with the North American check digit (49 CFR 565.15).
pub(super) fn vin(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let text = alphanumerics(value);
    if text.len() != 17 {
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
    d.len() == 10 && matches!(d[0], 1 | 2) && luhn(&[&[8, 0, 8, 4, 0], d.as_slice()].concat())
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

/// Canadian social insurance number: Luhn; 0 and 8 are not issued to persons.
pub(super) fn ca_sin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && !matches!(d[0], 0 | 8) && luhn(&d) && !all_same(&d)
}

/// Australian business number: modulus 89 after taking one from the first digit.
pub(super) fn au_abn(value: &[u8]) -> bool {
    let mut d = digits(value);
    if d.len() != 11 || d[0] == 0 {
        return false;
    }
    d[0] -= 1;
    weighted(&d, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
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

/// Italian VAT number: Luhn over eleven digits.
pub(super) fn it_vat(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 11 && luhn(&d) && !all_same(&d)
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
    let d = digits(value);
    if d.len() != 13 || !is_date(two(&d, 2), two(&d, 4)) || !(1..=4).contains(&d[6]) {
        return Verdict::Reject;
    }
    let check = (11 - weighted(&d, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10;
    if check == u32::from(d[12]) { Verdict::Confirmed } else { Verdict::Plausible }
}

/// Korean business registration number.
pub(super) fn kr_brn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 10 && !all_same(&d) && {
        let sum = weighted(&d, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + u32::from(d[8]) * 5 / 10;
        (10 - sum % 10) % 10 == u32::from(d[9])
    }
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

/// Thai national id: modulus 11.
pub(super) fn th_tnin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 13
        && (1..=8).contains(&d[0])
        && !all_same(&d)
        && (11 - weighted(&d, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 10 == u32::from(d[12])
}

/// South African id: a date, citizenship, Luhn.
pub(super) fn za_id(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 13 && is_date(two(&d, 2), two(&d, 4)) && d[10] <= 2 && luhn(&d)
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
