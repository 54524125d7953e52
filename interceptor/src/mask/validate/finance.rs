//! Cards, accounts, wallets.

use aws_lc_rs::digest::{SHA256, digest};

use super::checksum::{all_same, alphanumerics, digits, luhn, luhn_written, mod97, weighted};

/// A payment card whose issuer range and length are in common use (ISO/IEC 7812; issuers' published ranges). Of the
/// lengths that integers have too, only those with groups, and UnionPay's.
pub(super) fn card(value: &[u8]) -> bool {
    // Nine of ten numbers end here, before anything is allocated.
    if !luhn_written(value) {
        return false;
    }
    let d = digits(value);
    if !(13..=19).contains(&d.len()) || all_same(&d) {
        return false;
    }
    let grouped = d.len() < value.len();
    let prefix = |n: usize| d[..n].iter().fold(0u32, |p, &x| p * 10 + u32::from(x));
    let (two, four, six) = (prefix(2), prefix(4), prefix(6));
    match d.len() {
        13 | 19 if d[0] == 4 => grouped,
        14 => matches!(two, 36 | 38 | 39) || (300..=305).contains(&prefix(3)) || four == 3095,
        15 => matches!(two, 34 | 37),
        16 => {
            d[0] == 4
                || (51..=55).contains(&two)
                || (2221..=2720).contains(&four)
                || (2200..=2204).contains(&four)
                || four == 6011
                || (644..=659).contains(&prefix(3))
                || two == 62
                || (3528..=3589).contains(&four)
                || matches!(two, 36 | 38 | 39 | 50 | 60 | 81)
                || matches!(four, 6304 | 6759 | 6761 | 6762 | 6763)
                || (560_000..=589_999).contains(&six)
        }
        17..=19 => two == 62 || grouped && matches!(four, 6304 | 6759 | 6761 | 6762 | 6763 | 5018 | 5020 | 5038),
        _ => false,
    }
}

/// Any card number of ISO/IEC 7812: only with words around it.
pub(super) fn card_rare(value: &[u8]) -> bool {
    let d = digits(value);
    (12..=19).contains(&d.len()) && (2..=6).contains(&d[0]) && luhn(&d) && !all_same(&d)
}

/// Track 1 or 2 of a magnetic stripe (ISO/IEC 7813): the account number ends at `^` or `=`.
pub(super) fn track(value: &[u8]) -> bool {
    let number: Vec<u8> =
        value.iter().skip_while(|b| !b.is_ascii_digit()).take_while(|b| !matches!(b, b'^' | b'=')).copied().collect();
    card_rare(&number)
}

/// International bank account number (ISO 13616): the country's length and MOD 97-10.
pub(super) fn iban(value: &[u8]) -> bool {
    let text = alphanumerics(value);
    let Some(country) = text.get(..2) else { return false };
    let length = |entry: &[u8; 4]| usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0');
    let (entries, _) = IBAN_LENGTHS.as_chunks::<4>();
    entries.iter().find(|entry| entry.starts_with(country)).is_some_and(|entry| length(entry) == text.len())
        && text[2..4].iter().all(u8::is_ascii_digit)
        && (2..=98).contains(&(u32::from(text[2] - b'0') * 10 + u32::from(text[3] - b'0')))
        && mod97(text[4..].iter().chain(&text[..4]).copied()) == 1
}

/// The IBAN registry's lengths (SWIFT, release 99).
const IBAN_LENGTHS: &[u8] = b"\
    AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18\
    FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20\
    LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24\
    SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// ABA routing transit number: Federal Reserve prefix and 3-7-1.
pub(super) fn aba(value: &[u8]) -> bool {
    let d = digits(value);
    aba_any(value) && matches!(u32::from(d[0]) * 10 + u32::from(d[1]), 1..=12 | 21..=32 | 61..=72 | 80)
}

/// ABA routing transit number of any prefix: 3-7-1.
pub(super) fn aba_any(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && !all_same(&d) && weighted(&d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// Base58Check (Bitcoin): the last four bytes are the double SHA-256 of the first 21.
pub(super) fn base58check(value: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0u8; 25];
    for byte in value {
        let Some(mut carry) = ALPHABET.iter().position(|a| a == byte) else { return false };
        for slot in bytes.iter_mut().rev() {
            carry += usize::from(*slot) * 58;
            *slot = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    // Version bytes of main and test network, pay to key hash and to script hash.
    matches!(bytes[0], 0x00 | 0x05 | 0x6f | 0xc4)
        && digest(&SHA256, digest(&SHA256, &bytes[..21]).as_ref()).as_ref()[..4] == bytes[21..]
}

/// Bech32 (BIP 173) or Bech32m (BIP 350): the checksum over prefix and data.
pub(super) fn bech32(value: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    if value.iter().any(u8::is_ascii_lowercase) && value.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    let text = value.to_ascii_lowercase();
    let Some(at) = text.iter().rposition(|&b| b == b'1') else { return false };
    let (prefix, data) = (&text[..at], &text[at + 1..]);
    let Some(data) = data
        .iter()
        .map(|b| ALPHABET.iter().position(|a| a == b).and_then(|v| u8::try_from(v).ok()))
        .collect::<Option<Vec<u8>>>()
    else {
        return false;
    };
    let expanded = prefix.iter().map(|b| b >> 5).chain([0]).chain(prefix.iter().map(|b| b & 31)).chain(data);
    matches!(polymod(expanded), 1 | 0x2bc8_30a3)
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |check, value| {
        let top = check >> 25;
        let next = (check & 0x01ff_ffff) << 5 ^ u32::from(value);
        (0..5).filter(|i| top >> i & 1 == 1).fold(next, |c, i| c ^ GENERATOR[i])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_need_a_known_range_and_a_valid_check_digit() {
        for good in
            ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444", "6011111111111117", "36227206271667"]
        {
            assert!(card(good.as_bytes()), "{good}");
        }
        for bad in ["4111111111111112", "1767225600009", "0000000000000000", "9111111111111111", "4222222222222"] {
            assert!(!card(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn iban_needs_the_length_of_its_country() {
        assert!(iban(b"GB82 WEST 1234 5698 7654 32"));
        assert!(!iban(b"GB82 WEST 1234 5698 7654 3"));
        assert!(!iban(b"GB83WEST12345698765432"));
    }

    #[test]
    fn addresses_of_the_standards_pass() {
        assert!(base58check(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"));
        assert!(!base58check(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"));
        assert!(bech32(b"BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"));
        assert!(bech32(b"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"));
        assert!(!bech32(b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"));
    }
}
