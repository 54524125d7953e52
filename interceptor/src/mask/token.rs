//! Tokens: what stands in a masked text for a value, `[EMAIL_k7q2m9xh]`.
//!
//! The rule's label, and the first bits of HMAC-SHA-256 (RFC 2104) over kind and normalised value, in
//! Crockford's base 32 (no i, l, o, u), lower case. Equal values give equal tokens under one key, so a model can still reason about them and prompt
//! caches still hit; without the key a token says nothing of the value.
//!
//! Each eighth character of the digest is a check letter over what is before it, label included, and never a
//! hexadecimal digit. So no number, hexadecimal key or other value in brackets passes for a token.

use std::ops::Range;

use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::flow::RuleMeta;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The letters of the alphabet that are no hexadecimal digits: they alone are check letters.
const CHECK: &[u8; 16] = b"ghjkmnpqrstvwxyz";
/// The check letter is the last of so many characters.
const GROUP: usize = 8;
/// Characters of the digest in a token: 35 bits and a check letter, lengthened when two values of one request collide.
pub(super) const LENGTHS: [usize; 3] = [8, 16, 24];
/// Longest label that is recognised.
const LONGEST_LABEL: usize = 40;
/// Bytes of the longest token.
pub(super) const LONGEST: usize = LONGEST_LABEL + LENGTHS[2] + 3;

/// The key of the tokens. One for each tenant and epoch; never leaves the host.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token for `value`: `[`, the rule's label, `_`, eight characters, `]`. Values that differ only in how they are
    /// written (a card with or without blanks, an e-mail address in capitals) have one token.
    #[must_use]
    pub fn token(&self, rule: &RuleMeta, value: &str) -> String {
        self.token_of(rule, &normalised(&rule.entity, value), LENGTHS[0])
    }

    /// A key for something else that is made from values.
    pub(super) fn derived(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), purpose);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(tag.as_ref());
        key
    }

    /// The token for a value that is normalised already, with `length` characters of the digest (at most 51).
    pub(super) fn token_of(&self, rule: &RuleMeta, normalised: &str, length: usize) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(rule.entity.as_bytes());
        context.update(&[0]);
        context.update(normalised.as_bytes());
        let tag = context.sign();
        let mut token = String::with_capacity(rule.label.len() + length + 3);
        token.push('[');
        token.push_str(&rule.label);
        token.push('_');
        let mut digest = base32(tag.as_ref());
        for at in 1..=length {
            let check = || check_letter(&token.as_bytes()[1..]);
            let next = if at % GROUP == 0 { Some(char::from(check())) } else { digest.next() };
            token.extend(next);
        }
        token.push(']');
        token
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// One form for all the ways a value of this kind is written.
pub(super) fn normalised(entity: &str, value: &str) -> String {
    match entity {
        "EMAIL_ADDRESS" | "IP_ADDRESS" => value.to_lowercase(),
        "CRYPTO" | "URL" => value.to_owned(),
        _ if entity.starts_with("SECRET") => value.to_owned(),
        _ => value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect(),
    }
}

fn base32(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    let bit = |i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
    (0..bytes.len() * 8 / 5).map(move |i| {
        let index = (0..5).fold(0, |value, j| value << 1 | bit(i * 5 + j));
        char::from(ALPHABET[usize::from(index)])
    })
}

/// The check letter behind `before`: four bits of FNV-1a (64 bits). It guards against accidents; whoever wants to forge
/// a token can, and hides only what they typed themselves.
fn check_letter(before: &[u8]) -> u8 {
    let hash =
        before.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    // Bits that the last byte reaches too.
    CHECK[((hash >> 40 ^ hash >> 44) & 15) as usize]
}

/// The tokens in `text`, in order.
pub(super) fn find(text: &[u8]) -> Vec<Range<usize>> {
    memchr::memchr_iter(b'[', text).filter_map(|at| length(&text[at..]).map(|len| at..at + len)).collect()
}

/// Whether more text could make `text` begin with a token.
pub(super) fn may_begin(text: &[u8]) -> bool {
    let Some(inner) = text.strip_prefix(b"[") else { return false };
    inner.len() < LONGEST - 1 && inner.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// The length of the token that `text` begins with.
pub(super) fn length(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"[")?;
    let window = &inner[..inner.len().min(LONGEST_LABEL + 1 + LENGTHS[2] + 1)];
    let close = memchr::memchr(b']', window)?;
    let split = memchr::memrchr(b'_', &window[..close])?;
    let (label, digest) = (&window[..split], &window[split + 1..close]);
    let is_label = label.first().is_some_and(u8::is_ascii_uppercase)
        && label.len() <= LONGEST_LABEL
        && label.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_');
    let is_digest = LENGTHS.contains(&digest.len()) && digest.iter().all(|b| ALPHABET.contains(b));
    let checks =
        || (GROUP..=digest.len()).step_by(GROUP).all(|at| digest[at - 1] == check_letter(&window[..split + at]));
    (is_label && is_digest && checks()).then_some(close + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Severity;

    fn rule(entity: &str, label: &str) -> RuleMeta {
        RuleMeta {
            id: "test".into(),
            entity: entity.into(),
            label: label.into(),
            severity: Severity::High,
            report_only: false,
        }
    }

    #[test]
    fn equal_values_have_equal_tokens_however_written() {
        let key = TokenKey::from_bytes([7; 32]);
        let card = rule("CREDIT_CARD", "CARD");
        assert_eq!(key.token(&card, "4111-1111-1111-1111"), key.token(&card, "4111 1111 1111 1111"));
        let email = rule("EMAIL_ADDRESS", "EMAIL");
        assert_eq!(key.token(&email, "Jane@Corp.Example"), key.token(&email, "jane@corp.example"));
        let secret = rule("SECRET_X", "X");
        assert_ne!(key.token(&secret, "abc"), key.token(&secret, "ABC"));
    }

    #[test]
    fn kind_and_key_change_the_token() {
        let (a, b) = (TokenKey::from_bytes([7; 32]), TokenKey::from_bytes([8; 32]));
        let ssn = rule("US_SSN", "SSN");
        assert_ne!(a.token(&ssn, "536904399"), b.token(&ssn, "536904399"));
        assert_ne!(a.token(&ssn, "536904399")[5..], a.token(&rule("CA_SIN", "SIN"), "536904399")[5..]);
    }

    #[test]
    fn every_token_is_recognised_and_little_else() {
        let key = TokenKey::from_bytes([1; 32]);
        let rule = rule("SECRET_AWS_KEY", "AWS_KEY_2");
        for len in LENGTHS {
            let token = key.token_of(&rule, "x", len);
            assert_eq!(length(token.as_bytes()), Some(token.len()));
        }
        let token = key.token(&rule, "x");
        let wrong = (1..token.len() - 1).filter(|&at| {
            let mut wrong = token.clone().into_bytes();
            wrong[at] ^= 1;
            length(&wrong).is_some()
        });
        // Sixteen check letters leave one error of sixteen to chance.
        assert!(wrong.count() <= 2, "{token}");
        for other in [
            "[CARD_4111111111111111]",
            "[SSN_536904399]",
            "[KEY_0123456789abcdef]",
            "[KEY_9c1b7e04d2f85a36b1c0ffee]",
            "[KEY_deadbeef]",
            "[EMAIL_k7q2m9x]",
            "[email_k7q2m9xd]",
            "[EMAIL-k7q2m9xz]",
            "[EMAIL_k7q2m9xo]",
            "EMAIL_k7q2m9xd]",
            "[_k7q2m9xd]",
        ] {
            assert_eq!(length(other.as_bytes()), None, "{other}");
        }
    }
}
