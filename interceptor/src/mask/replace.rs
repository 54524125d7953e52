//! What stands in place of a value: a token, a surrogate, its label, its last characters, or nothing.
//!
//! Whatever it is must not be taken for a value when the text comes back, in the next turn of a conversation. So a
//! surrogate, a label or last characters are scanned where they would stand, and where a rule would find them there, a
//! token takes their place: every rule knows those.

use std::collections::HashMap;

use super::resolve::overlap;
use super::restore::{Original, Originals};
use super::scan::INTRODUCES;
use super::surrogate::Surrogates;
use super::token::{LENGTHS, TokenKey, normalised};
use super::{Error, Scanner, context};
use crate::flow::{Action, Field, Finding, RuleMeta};

/// Characters that are shown of a value, at most a quarter of it.
const SHOWN: usize = 4;
/// Surrogates that are tried for one value.
const TRIES: u8 = 16;
/// What is read of the text on either side: at least what words are looked for in.
const AROUND: usize = 2 * context::BEFORE;

/// The replacements of one request: equal values get equal ones, and two values never share a token or a surrogate.
pub(super) struct Replacements<'k> {
    key: &'k TokenKey,
    surrogates: Option<Surrogates>,
    /// Token or surrogate to kind and normalised value.
    given: HashMap<String, (String, String)>,
    /// What may be put back into the answer.
    kept: Vec<Original>,
}

impl<'k> Replacements<'k> {
    pub(super) fn new(key: &'k TokenKey) -> Self {
        Self { key, surrogates: None, given: HashMap::new(), kept: Vec::new() }
    }

    /// What replaces a finding in `field`; none when it does not lie there. Where `action` leaves the value in place,
    /// that is a token.
    pub(super) fn of(
        &mut self,
        action: Action,
        field: &Field<'_>,
        finding: &Finding,
        scanner: &mut Scanner,
    ) -> Result<Option<String>, Error> {
        let span = finding.span.clone();
        let Some(value) = field.text.get(span.clone()).filter(|value| !value.is_empty()) else { return Ok(None) };
        let rule = &*finding.rule;
        let (before, after) = (&field.text[..span.start], &field.text[span.end..]);
        let unseen = match action {
            Action::Drop => return Ok(Some(gap(before, after).to_owned())),
            Action::Label => Some(format!("[{}]", rule.label)),
            Action::Partial => Some(partial(value)),
            Action::Surrogate => self.surrogate(rule, value, scanner)?,
            Action::Mask | Action::Allow | Action::Alert | Action::Deny => None,
        };
        match unseen {
            Some(text) if !seen(scanner, field.name.as_deref(), before, &text, after)? => Ok(Some(text)),
            _ => Ok(Some(self.token(rule, value))),
        }
    }

    /// Remembers what left as `token`.
    pub(super) fn keep(&mut self, token: &str, field: &Field<'_>, finding: &Finding) {
        if let Some(value) = field.text.get(finding.span.clone()) {
            self.kept.push(Original::new(token, &finding.rule.entity, value));
        }
    }

    /// What was remembered.
    pub(super) fn originals(self) -> Originals {
        Originals::of(self.kept)
    }

    pub(super) fn token(&mut self, rule: &RuleMeta, value: &str) -> String {
        let value = normalised(&rule.entity, value);
        let mut longest = String::new();
        for length in LENGTHS {
            let token = self.key.token_of(rule, &value, length);
            if self.is_its_own(&token, rule, &value) {
                return token;
            }
            longest = token;
        }
        // Two values that agree in 120 bits of HMAC do not occur; if they did, both are still masked.
        longest
    }

    /// The first surrogate that no rule finds when it stands alone: that depends on the value only, so that equal values
    /// get equal ones wherever they stand.
    fn surrogate(&mut self, rule: &RuleMeta, value: &str, scanner: &mut Scanner) -> Result<Option<String>, Error> {
        let normal = normalised(&rule.entity, value);
        for tweak in 0..TRIES {
            let surrogates = self.surrogates.get_or_insert_with(|| Surrogates::new(self.key));
            let Some(surrogate) = surrogates.of(rule, value, tweak) else { return Ok(None) };
            if surrogate != value
                && !seen(scanner, None, "", &surrogate, "")?
                && self.is_its_own(&surrogate, rule, &normal)
            {
                return Ok(Some(surrogate));
            }
        }
        Ok(None)
    }

    /// Whether `text` stands for this value, as it does from now on if it stood for none.
    fn is_its_own(&mut self, text: &str, rule: &RuleMeta, value: &str) -> bool {
        let (entity, first) =
            self.given.entry(text.to_owned()).or_insert_with(|| (rule.entity.clone(), value.to_owned()));
        *entity == rule.entity && first == value
    }

    #[cfg(test)]
    pub(super) fn give(&mut self, token: &str, entity: &str, value: &str) {
        self.given.insert(token.to_owned(), (entity.to_owned(), value.to_owned()));
    }
}

/// Whether a rule finds something in `text` where it would stand.
fn seen(scanner: &mut Scanner, name: Option<&str>, before: &str, text: &str, after: &str) -> Result<bool, Error> {
    let before = &before[before.ceil_char_boundary(before.len().saturating_sub(AROUND))..];
    let after = &after[..after.floor_char_boundary(AROUND)];
    let named = name.map_or_else(String::new, |name| format!("{name}{INTRODUCES}"));
    let whole = [&named, before, text, after].concat();
    let start = named.len() + before.len();
    let mut found = Vec::new();
    scanner.scan(&whole, &mut found)?;
    Ok(found.iter().any(|finding| overlap(&finding.span, &(start..start + text.len()))))
}

/// The last characters of a value, and a star for each of the others. What is neither letter nor digit stays where JSON
/// needs no escape for it.
fn partial(value: &str) -> String {
    let count = value.chars().filter(|c| c.is_alphanumeric()).count();
    let mut hidden = count - SHOWN.min(count / 4);
    let hide = |c: char| match c {
        c if c.is_alphanumeric() => {
            let hide = hidden > 0;
            hidden = hidden.saturating_sub(1);
            if hide { '*' } else { c }
        }
        ' ' | '-' | '.' | '/' | ':' | '@' | '_' | '(' | ')' | '+' => c,
        _ => '*',
    };
    value.chars().map(hide).collect()
}

/// A blank where the letters and digits on both sides of what is dropped would otherwise become one word.
fn gap(before: &str, after: &str) -> &'static str {
    let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    if joins(before.chars().next_back()) && joins(after.chars().next()) { " " } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Severity;

    #[test]
    fn two_values_of_one_request_never_share_a_token() {
        let key = TokenKey::from_bytes([5; 32]);
        let rule = RuleMeta {
            id: "x".into(),
            entity: "SECRET_X".into(),
            label: "X".into(),
            severity: Severity::High,
            report_only: false,
        };
        let short = key.token(&rule, "value");
        let mut replacements = Replacements::new(&key);
        replacements.give(&short, &rule.entity, "another value");
        let longer = replacements.token(&rule, "value");
        assert_eq!(longer.len(), short.len() + LENGTHS[1] - LENGTHS[0]);
        assert_eq!(replacements.token(&rule, "value"), longer);
    }

    #[test]
    fn little_is_shown_of_a_short_value() {
        assert_eq!(partial("4111 1111 1111 1234"), "**** **** **** 1234");
        assert_eq!(partial("536-90-4399"), "***-**-**99");
        assert_eq!(partial("abc"), "***");
        assert_eq!(partial("a\"b\\c\nd1e2f3\u{e9}"), "***********\u{e9}".replace('\u{e9}', "3\u{e9}").as_str());
    }

    #[test]
    fn what_is_dropped_joins_no_words() {
        assert_eq!([gap("a", "b"), gap("a ", "b"), gap("", "b"), gap("1", "2")], [" ", "", "", " "]);
    }
}
