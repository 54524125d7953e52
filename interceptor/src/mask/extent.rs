//! How far a value reaches, where a regular expression does not say it well. Each walk is bounded, starts where a match
//! or a token was found, and says how many bytes it looked at.

use std::ops::Range;

use super::classes::{BEFORE, Token, Window};

/// How far a private key may reach.
const LONGEST_PEM: usize = 16 << 10;
/// Bytes of a private key's text that may go by without a run of `KEY_RUN` characters of base64: prose behind a mention
/// of the BEGIN line has no such words.
const KEY_GAP: usize = 180;
const KEY_RUN: usize = 16;

/// Bytes of a dotted quad, and of a group of an IPv6 address.
const LONGEST_IPV4: usize = 15;
const IPV6_GROUP: usize = 4;

/// Backslashes that are counted.
const MOST_BACKSLASHES: usize = 16;

/// A walk's result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) span: Option<Range<usize>>,
    /// Bytes looked at.
    pub(super) work: usize,
    /// The end of the text cut short the walk from here.
    pub(super) cut: Option<usize>,
}

impl Walk {
    fn nothing(work: usize) -> Self {
        Self { work, ..Self::default() }
    }
}

/// Whether `text` ends in a line break or tab that is written as two characters: `\\n` is a backslash and a letter.
pub(super) fn ends_in_break(text: &[u8]) -> bool {
    let [rest @ .., b'n' | b'r' | b't'] = text else { return false };
    rest.iter().rev().take(MOST_BACKSLASHES).take_while(|b| **b == b'\\').count() % 2 == 1
}

/// The mailbox around the last `@` before `end`. `done`: where the last one ended, so that none is walked twice.
pub(super) fn email(text: &[u8], end: usize, done: &mut usize) -> Walk {
    const LONGEST_LOCAL: usize = 64;
    const LONGEST_DOMAIN: usize = 253;
    let local = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-');
    let domain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    if end <= *done {
        return Walk::default();
    }
    let floor = end.saturating_sub(LONGEST_DOMAIN);
    let Some(at) = memchr::memrchr(b'@', &text[floor..end]).map(|i| floor + i) else {
        return Walk::nothing(end - floor);
    };
    let from = at.saturating_sub(LONGEST_LOCAL);
    let before = text[from..at].iter().rev().take_while(|b| local(b)).count();
    let until = text.len().min(at + 1 + LONGEST_DOMAIN);
    let after = text[at + 1..until].iter().take_while(|b| domain(b)).count();
    let mut span = at - before..at + 1 + after;
    *done = span.end;
    // In `a@b.example@c.example` the middle belongs to the first.
    if matches!(text[..span.start], [.., ref b, b'@'] if local(b)) && begins_with_domain(&text[span.start..at]) {
        span.start += text[span.start..at].iter().take_while(|b| domain(b)).count();
    }
    // A full stop ends the sentence; a dot or hyphen before the name belongs to what is before.
    while matches!(text[span.end - 1], b'.' | b'-') {
        span.end -= 1;
    }
    while matches!(text[span.start], b'.' | b'-' | b'+' | b'%') {
        span.start += 1;
    }
    let work = end - at + before + after;
    Walk { span: (span.start < at && span.end > at + 1).then_some(span), work, ..Walk::default() }
}

/// Whether `text` begins like `host.ex`: what the rule for mailboxes asks for behind the `@`.
fn begins_with_domain(text: &[u8]) -> bool {
    let label = text.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'-').count();
    label > 0 && matches!(text[label..], [b'.', a, b, ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic())
}

/// Whether a dotted quad may begin where `text` is around: its dots are there, or what a window takes for such.
#[inline]
pub(super) fn may_be_ipv4(text: &Window) -> bool {
    (text.joints >> BEFORE & !(u64::MAX << LONGEST_IPV4)).count_ones() >= 3
}

/// As [`may_be_ipv4`], of a group of an IPv6 address and the two colons that [`ipv6`] asks for.
#[inline]
pub(super) fn may_be_ipv6(text: &Window) -> bool {
    let (before, behind) = (IPV6_GROUP + 2, 2 * IPV6_GROUP + 2);
    let near = text.joints >> (BEFORE - before) & !(u64::MAX << (before + behind));
    if near & near.wrapping_sub(1) == 0 {
        return false;
    }
    // And the address has two colons in a row, or so many before it that there may be two beyond what the window shows.
    const MANY: u32 = 5;
    const { assert!((MANY as usize - 1) * (IPV6_GROUP + 1) + 2 <= BEFORE) }
    let outside = !(text.digits | text.letters | text.joints);
    let start = u64::BITS - (outside & !(u64::MAX << BEFORE)).leading_zeros();
    let end = (outside & u64::MAX << BEFORE).trailing_zeros();
    let joints = text.joints & u64::MAX << start & u64::MAX.checked_shl(end).map_or(u64::MAX, |behind| !behind);
    joints & joints >> 1 != 0 || joints.count_ones() >= MANY
}

/// The dotted quad, with its prefix length, that begins with `token`.
pub(super) fn ipv4(text: &[u8], token: &Token) -> Walk {
    let start = token.span.start;
    let joined = start.checked_sub(1).is_some_and(|i| matches!(text[i], b'.' | b'-'));
    if !token.digits || token.span.len() > 3 || text.get(token.span.end) != Some(&b'.') || joined {
        return Walk::default();
    }
    let until = text.len().min(start + LONGEST_IPV4 + 1);
    let mut end = start + text[start..until].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let work = end - start;
    if text[end - 1] == b'.' {
        end -= 1;
    }
    let is_version = || text[start.saturating_sub(9)..start].windows(7).any(|w| w.eq_ignore_ascii_case(b"version"));
    let dots = text[start..end].iter().filter(|b| **b == b'.').count();
    if end - start < 7 || dots < 3 || is_version() {
        return Walk::nothing(work);
    }
    Walk { span: Some(start..with_prefix_length(text, end, 32)), work, ..Walk::default() }
}

/// All hexadecimal digits, colons and dots around `token`. `done`: where the last such walk ended.
pub(super) fn ipv6(text: &[u8], token: &Token, done: &mut usize) -> Walk {
    const LONGEST: usize = 45;
    let part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let (start, end) = (token.span.start, token.span.end);
    let hexadecimal = token.span.len() <= IPV6_GROUP && text[token.span.clone()].iter().all(u8::is_ascii_hexdigit);
    if !hexadecimal || end <= *done {
        return Walk::default();
    }
    // Beside one group there are two colons, or one on each side of the next; in a time of day there is one.
    let (before, behind) = (&text[..start], &text[end..]);
    let mut colons = 0;
    if let [rest @ .., b':'] = before {
        let group = rest.iter().rev().take(IPV6_GROUP).take_while(|b| b.is_ascii_hexdigit()).count();
        colons += 1 + usize::from(rest[..rest.len() - group].ends_with(b":"));
    }
    if let [b':', rest @ ..] = behind {
        let group = rest.iter().take(IPV6_GROUP).take_while(|b| b.is_ascii_hexdigit()).count();
        colons += 1 + usize::from(rest[group..].starts_with(b":"));
    }
    if colons < 2 {
        return Walk::default();
    }
    let before = text[start.saturating_sub(LONGEST)..start].iter().rev().take_while(|b| part(b)).count();
    let after = text[start..text.len().min(start + LONGEST)].iter().take_while(|b| part(b)).count();
    let work = before + after;
    let mut span = start - before..start + after;
    *done = span.end;
    while text[span.end - 1] == b'.' && span.len() > 1 {
        span.end -= 1;
    }
    // Groups that are left out are so once; without that there are eight, or six and a dotted quad.
    let address = &text[span.clone()];
    let shortened = address.windows(2).any(|two| two == b"::");
    let is_group = |group: &[u8]| group.len() <= IPV6_GROUP || group.contains(&b'.');
    if !address.split(|b| *b == b':').all(is_group) {
        return Walk::nothing(work);
    }
    if span.len() > LONGEST || !(shortened || address.iter().filter(|b| **b == b':').count() >= 6) {
        return Walk::nothing(work);
    }
    // A sentence's colon after the address.
    let address = &text[span.clone()];
    if address.ends_with(b":") && !address.ends_with(b"::") {
        span.end -= 1;
    }
    span.end = with_prefix_length(text, span.end, 128);
    Walk { span: Some(span), work, ..Walk::default() }
}

/// Whether `text` is the address of a network card: hexadecimal digits, and the same separator between groups of `group`.
pub(super) fn is_mac(text: &[u8], group: usize) -> bool {
    let separators: &[u8] = if group == 4 { b"." } else { b":-" };
    let between = text[group];
    let is_at_its_place = |(at, byte): (usize, &u8)| match at % (group + 1) == group {
        true => *byte == between,
        false => byte.is_ascii_hexdigit(),
    };
    separators.contains(&between) && text.iter().enumerate().all(is_at_its_place)
}

/// Where an address that ends at `end` ends with its `/24`.
fn with_prefix_length(text: &[u8], end: usize, most: u32) -> usize {
    let Some(rest) = text[end..].strip_prefix(b"/") else { return end };
    let digits = rest.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    let length = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse::<u32>().ok());
    let ends = !rest.get(digits).is_some_and(u8::is_ascii_alphanumeric);
    if ends && digits <= 3 && length.is_some_and(|length| length <= most) { end + 1 + digits } else { end }
}

/// What begins like a URI with a name and a password, as far as it may be one.
pub(super) const URI: &str =
    r#"(?i:[a-z][a-z0-9+.-]{1,20}://[^\s/?#@:"\x27<>]{0,64}:[^\s/?#@"\x27<>]{1,128}@[^\s"\x27<>]{0,200})"#;
/// Bytes of it.
pub(super) const LONGEST_URI: usize = 21 + 3 + 64 + 1 + 128 + 1 + 200;

/// What is known of a text's URIs.
#[derive(Debug, Default)]
pub(super) struct Uris {
    /// The last value, and for which rule.
    pub(super) found: (u32, Range<usize>),
    /// From where on no blank or quote is, and where the next one is.
    run: Range<usize>,
}

/// The [`URI`] whose `@` is right before `end`.
pub(super) fn uri(text: &[u8], end: usize, known: &mut Uris) -> Walk {
    const LONGEST_SCHEME: usize = 21;
    const LONGEST_NAME: usize = 64;
    const LONGEST_PASSWORD: usize = 128;
    const LONGEST_REST: usize = 200;
    let divides = |b: u8| matches!(b, b'\t'..=b'\r' | b' ' | b'"' | b'\'' | b'<' | b'>');
    let is_secret = |b: &&u8| !divides(**b) && !matches!(b, b'/' | b'?' | b'#' | b'@');
    let before = &text[..end - 1];
    let secret = before.iter().rev().take(LONGEST_NAME + 1 + LONGEST_PASSWORD).take_while(is_secret).count();
    let (before, secret) = before.split_at(before.len() - secret);
    let name = memchr::memchr(b':', secret).unwrap_or(secret.len());
    let is_password = (2..=LONGEST_PASSWORD + 1).contains(&(secret.len() - name));
    let Some(before) = before.strip_suffix(b"://").filter(|_| name <= LONGEST_NAME && is_password) else {
        return Walk::nothing(secret.len());
    };
    let in_scheme = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
    let scheme = before.iter().rev().take(LONGEST_SCHEME).take_while(in_scheme).count();
    let scheme = &before[before.len() - scheme..];
    let scheme = scheme.iter().position(u8::is_ascii_alphabetic).map_or(0, |first| scheme.len() - first);
    let start = before.len() - scheme;
    if end < known.run.start || known.run.end < end {
        known.run = end..end;
    }
    let (seen, most) = (known.run.end, text.len().min(end + LONGEST_REST));
    let more = text[seen.min(most)..most].iter().take_while(|b| !divides(**b)).count();
    known.run.end += more;
    let until = known.run.end.min(most);
    Walk {
        span: (scheme > 1 && until > end).then_some(start..until),
        work: secret.len() + scheme + more,
        cut: (scheme > 1 && until == text.len() && until < end + LONGEST_REST).then_some(start),
    }
}

/// From the BEGIN line before `end` to the END line; without one, as far as it looks like a key. `done`: where the last
/// key ended.
pub(super) fn pem(text: &[u8], end: usize, done: &mut usize) -> Walk {
    const LONGEST_LABEL: usize = 80;
    const DASHES: &[u8] = b"-----";
    const END: &[u8] = b"-----END";
    if end <= *done {
        return Walk::default();
    }
    let floor = end.saturating_sub(LONGEST_LABEL);
    let Some(start) = memchr::memmem::rfind(&text[floor..end], b"-----BEGIN").map(|i| floor + i) else {
        return Walk::nothing(end - floor);
    };
    let rest = &text[end..text.len().min(end + LONGEST_PEM)];
    // Behind the first dashes nothing belongs to it.
    let reach = memchr::memmem::find(rest, DASHES).map_or(rest.len(), |i| i + DASHES.len());
    let body = &rest[..key_like(&rest[..reach])];
    let dashes = memchr::memmem::find(body, DASHES);
    let (length, cut) = match dashes.map(|i| (i, &rest[i..])) {
        Some((i, line)) if line.starts_with(END) => {
            let label = &line[END.len()..line.len().min(END.len() + LONGEST_LABEL)];
            let closing = memchr::memmem::find(label, DASHES).map(|i| i + DASHES.len());
            (i + END.len() + closing.unwrap_or(0), closing.is_none() && label.len() < LONGEST_LABEL)
        }
        Some((i, line)) => (in_pem(&body[..i]), END.starts_with(line)),
        None => (in_pem(body), body.len() == rest.len()),
    };
    *done = end + length;
    // A mention of the BEGIN line alone is no key.
    let letters = rest[..length].iter().filter(|b| b.is_ascii_alphanumeric()).take(64).count();
    let span = (letters >= 40).then_some(start..end + length);
    let work = end - start + 2 * body.len() + length;
    Walk { span, work, cut: (cut && rest.len() < LONGEST_PEM).then_some(start) }
}

/// How far `text` could be a key: to where the last long run of base64 is too far back.
fn key_like(text: &[u8]) -> usize {
    let (mut run, mut good) = (0, 0);
    for (byte, next) in text.iter().zip(1..) {
        run = if byte.is_ascii_alphanumeric() || b"+/=".contains(byte) { run + 1 } else { 0 };
        if run >= KEY_RUN {
            good = next;
        }
        if next - good > KEY_GAP {
            return next;
        }
    }
    text.len()
}

/// How much at the head of `text` is base64, its line breaks (also written as `\n`), quotes and concatenation of source
/// code, and PEM headers.
fn in_pem(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+/=\r\n\\ \t\"',:-".contains(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The URI whose `@` is at `at`, found by trying all beginnings.
    fn expected(text: &str, at: usize) -> Option<Range<usize>> {
        let (begins, rest) = URI.rsplit_once('@').unwrap();
        let expression = |of: &str| regex::bytes::RegexBuilder::new(of).unicode(false).build().unwrap();
        let begins = expression(&format!(r"\A{begins}@)\z"));
        let rest = expression(&format!(r"\A(?:{}", rest.replace("{0,", "{1,")));
        let start = (0..at).find(|&start| begins.is_match(&text.as_bytes()[start..=at]))?;
        Some(start..at + 1 + rest.find(&text.as_bytes()[at + 1..])?.len())
    }

    #[test]
    fn uris_are_what_an_expression_says() {
        let long = |name: usize, password: usize, rest: usize| {
            format!("https://{}:{}@{}", "x".repeat(name), "y".repeat(password), "z".repeat(rest))
        };
        for text in [
            "nats://app:s3cr3t@db.corp.example:4222/main",
            "(memcached://:hunter22@cache) and \"mqtt://u:%40bc%2F1@mq.corp.test\"",
            "a1+b.c-d://x:y@z 1https://x:y@z",
            "https://x:@z https://:y@z https://x:y@ x://a:b@c ://a:b@c",
            "https://a:b@https://c:d:e@f,https://g@h:i@j k@l",
            &format!("{} {} {}", long(64, 128, 200), long(65, 1, 1), long(1, 129, 1)),
            &format!("{}{} ", long(1, 4, 150), long(1, 4, 300)),
        ] {
            let mut known = Uris::default();
            for at in memchr::memchr_iter(b'@', text.as_bytes()) {
                assert_eq!(uri(text.as_bytes(), at + 1, &mut known).span, expected(text, at), "{text} at {at}");
            }
        }
    }
}
