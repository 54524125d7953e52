//! Surrogates: another number of the same format, by format-preserving encryption (FF1, NIST SP 800-38G) of the digits.
//! Separators and letters stay where they are.
//!
//! FF1 permutes all numbers of a length, valid ones among them: whoever uses a surrogate tries one tweak after another
//! until no rule takes it for a value. So it is not for decrypting. A surrogate is resolved by the session's map or by
//! the sealed original, like a token.

use aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};

use super::token::TokenKey;
use crate::flow::RuleMeta;

/// SP 800-38G asks for at least a million numbers to choose from.
const FEWEST_DIGITS: usize = 6;
const MOST_DIGITS: usize = 64;

/// Makes surrogates under one key.
pub(super) struct Surrogates(FF1<Aes256>);

impl Surrogates {
    pub(super) fn new(key: &TokenKey) -> Self {
        let key = key.derived(b"surrogate");
        // Ten is a radix that FF1 takes (2 to 65536).
        Self(FF1::new(&*key, 10).expect("a radix of ten"))
    }

    /// The `tweak`-th surrogate of a value that is a number, with a few letters at most; of anything else there is none.
    pub(super) fn of(&self, rule: &RuleMeta, value: &str, tweak: u8) -> Option<String> {
        let digits: Vec<u16> = value.bytes().filter(u8::is_ascii_digit).map(|b| u16::from(b - b'0')).collect();
        let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
        let is_separator = |b: u8| b.is_ascii_digit() || b.is_ascii_alphabetic() || b" -./()+".contains(&b);
        if rule.entity.starts_with("SECRET")
            || !(FEWEST_DIGITS..=MOST_DIGITS).contains(&digits.len())
            || letters * 2 > digits.len()
            || !value.bytes().all(is_separator)
        {
            return None;
        }
        let tweak = [rule.entity.as_bytes(), &[tweak]].concat();
        let encrypted = self.0.encrypt(&tweak, &FlexibleNumeralString::from(digits)).ok()?;
        let mut digits = Vec::<u16>::from(encrypted).into_iter();
        let next = |c: char| match c {
            '0'..='9' => digits.next().and_then(|digit| char::from_digit(digit.into(), 10)),
            other => Some(other),
        };
        value.chars().map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Severity;

    fn of(entity: &str, value: &str, tweak: u8) -> Option<String> {
        let rule = RuleMeta {
            id: "x".into(),
            entity: entity.into(),
            label: "X".into(),
            severity: Severity::High,
            report_only: false,
        };
        Surrogates::new(&TokenKey::from_bytes([4; 32])).of(&rule, value, tweak)
    }

    #[test]
    fn a_surrogate_has_the_format_of_its_value() {
        let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "9");
        for value in ["4111 1111 1111 1111", "536-90-4399", "DE89 3704 0044 0532 0130 00"] {
            let surrogate = of("X", value, 0).unwrap();
            assert_eq!(shape(&surrogate), shape(value));
            assert_ne!(surrogate, value);
            assert_eq!(of("X", value, 0).unwrap(), surrogate, "the same each time");
            assert_ne!(of("X", value, 1).unwrap(), surrogate);
            assert_ne!(of("Y", value, 0).unwrap(), surrogate);
        }
    }

    #[test]
    fn what_is_no_number_has_none() {
        for value in ["12345", "jane@corp.example", "AB123456789CDEFG", "4111\"111111111111", "4111\u{a0}111111111111"]
        {
            assert_eq!(of("X", value, 0), None, "{value}");
        }
        assert_eq!(of("SECRET_X", "4111111111111111", 0), None);
    }
}
