//! Text that may be stored in the clear: masked, also where values are encoded, and withheld where nobody knows what is
//! encoded.

use super::worker::Worker;
use crate::flow::{Finding, RuleMeta, Severity};
use crate::mask::{self, Scanner, TokenKey, redact};

/// What stands for a text that is encoded more often than is decoded.
const WITHHELD: &str = "[WITHHELD]";

/// Fields and options whose value is a credential, in lower case.
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "x-amz-security-token",
];

/// Parts of a name that say that its value is a credential.
const CREDENTIAL_WORDS: [&str; 9] =
    ["auth", "token", "key", "secret", "cookie", "credential", "session", "signature", "password"];

/// Header fields whose values are worth reading in the log. Any other is stored as a keyed hash: nobody can know what a
/// client puts into a field of its own.
const READABLE: [&str; 17] = [
    "host",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "expect",
    "accept",
    "accept-encoding",
    "accept-language",
    "user-agent",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "idempotency-key",
];

/// Masks single texts under one key.
pub(super) struct Safe<'a> {
    pub(super) scanner: &'a mut Scanner,
    pub(super) key: &'a TokenKey,
}

impl Safe<'_> {
    /// `text` with findings replaced, those in its decoded forms too; all of it withheld when something is still encoded
    /// after the last round.
    pub(super) fn text(&mut self, text: &str) -> String {
        let redacted = redact(self.scanner, self.key, text);
        if self.scanner.undecoded() > 0 { WITHHELD.to_owned() } else { redacted }
    }

    /// A command line, with the values of credentials replaced by keyed hashes.
    pub(super) fn command_line(&mut self, words: &[String]) -> String {
        let mut safe = Vec::with_capacity(words.len());
        let mut option = "";
        for word in words {
            // `-u` is a user and password to curl, and something else to others.
            let is_value = option == "-u" && word.contains(':') || option != "-u" && is_credential_option(option);
            safe.push(if is_value { self.hash(word) } else { self.word(word) });
            option = if word.starts_with('-') && !word.contains(['=', ':', ' ']) { word } else { "" };
        }
        safe.join(" ")
    }

    fn word(&mut self, word: &str) -> String {
        let value = word
            .split_once(['=', ':'])
            .filter(|(name, value)| !value.starts_with("//") && is_credential_option(name))
            .map(|(_, value)| value)
            .or_else(|| after_scheme(word));
        match value.map(str::trim).filter(|value| !value.is_empty()) {
            None => self.text(word),
            Some(value) => {
                let token = self.hash(value);
                let name = &word[..word.len() - value.len()];
                format!("{}{token}", self.text(name))
            }
        }
    }

    /// A header field as it is stored in the clear.
    pub(super) fn field(&mut self, name: &str, value: &str) -> (String, String) {
        let lower = name.to_ascii_lowercase();
        let readable = READABLE.contains(&lower.as_str()) || lower.starts_with("x-stainless-");
        let value = if readable && !is_credential(name) { self.text(value) } else { self.hash(value) };
        (self.text(name), value)
    }

    /// A keyed hash of a credential: tells equal ones from others, and nothing else.
    pub(super) fn hash(&self, value: &str) -> String {
        let rule = RuleMeta {
            id: "http.credential".into(),
            entity: "CREDENTIAL".into(),
            label: "CREDENTIAL".into(),
            severity: Severity::High,
            report_only: false,
        };
        self.key.token(&rule, value)
    }

    /// Findings of `text`, as it is and decoded. Their spans mean nothing to the caller.
    pub(super) fn scan(&mut self, text: &str, found: &mut Vec<Finding>) -> Result<(), mask::Error> {
        self.scanner.scan(text, found)
    }
}

/// Whether a text that cannot be edited holds a value that must not leave in it.
pub(super) fn finds_more_than_little(worker: &Worker, text: &str) -> Result<bool, mask::Error> {
    let mut scanner = worker.desk.own().borrow_mut();
    let key = worker.shared.tokens.current();
    let mut found = Vec::new();
    Safe { scanner: &mut scanner, key: &key }.scan(text, &mut found)?;
    Ok(found.iter().any(|finding| finding.rule.severity != Severity::Low))
}

/// Whether a header field authenticates the caller to the provider: it is meant for the endpoint, so it is not scanned.
pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

/// Whether a header field may hold a credential: then it is not stored, not even sealed.
pub(super) fn may_be_credential(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    CREDENTIAL_WORDS.iter().any(|word| lower.contains(word)) && lower != "idempotency-key"
}

fn is_credential_option(name: &str) -> bool {
    let name = name.trim().trim_start_matches('-');
    name == "user" || may_be_credential(name)
}

/// The value after an HTTP authentication scheme (RFC 9110, section 11.1).
fn after_scheme(word: &str) -> Option<&str> {
    let (scheme, value) = word.split_once(' ')?;
    ["bearer", "basic", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Engine;

    fn with<T>(check: impl FnOnce(&mut Safe<'_>) -> T) -> T {
        let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
        let key = TokenKey::from_bytes([9; 32]);
        check(&mut Safe { scanner: &mut scanner, key: &key })
    }

    #[test]
    fn what_only_decoding_shows_is_masked_and_what_it_does_not_show_is_withheld() {
        with(|safe| {
            for (hidden, stored) in [
                ("/v1/models?q=4111%201111%201111%201111", "/v1/models?q=[CARD_"),
                (r#"{"a":"\u0034111 1111 1111 1111"}"#, r#"{"a":"[CARD_"#),
                ("jane%2540corp.example", "[EMAIL_"),
                ("/x?token=%FF4111%25201111%25201111%25201111", "/x?token=%FF[CARD_"),
            ] {
                let text = safe.text(hidden);
                assert!(text.starts_with(stored) && !text.contains("1111") && !text.contains("jane"), "{text}");
            }
            assert_eq!(safe.text("jane%25252540corp.example"), WITHHELD);
            assert_eq!(safe.text("/v1/models?limit=20&after=a%20b"), "/v1/models?limit=20&after=a%20b");
            assert!(safe.text("mail jane@corp.example").starts_with("mail [EMAIL_"));
        });
    }

    #[test]
    fn credentials_on_a_command_line_are_hashed() {
        let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        with(|safe| {
            for line in [
                &["curl", "-H", "Authorization: Bearer OPAQUE-zz91"][..],
                &["curl", "-H", "x-auth-token: OPAQUE-zz91"],
                &["tool", "--api-key", "OPAQUE-zz91"],
                &["tool", "--api-key=OPAQUE-zz91"],
                &["curl", "-u", "me:OPAQUE-zz91"],
                &["tool", "Bearer OPAQUE-zz91"],
                &["env", "OPENAI_API_KEY=OPAQUE-zz91"],
            ] {
                let safe = safe.command_line(&words(line));
                assert!(!safe.contains("OPAQUE") && safe.contains("[CREDENTIAL_"), "{safe}");
            }
            assert_eq!(safe.command_line(&words(&["python3", "-u", "agent.py"])), "python3 -u agent.py");
            let plain = ["curl", "-sS", "https://api.openai.com/v1/models", "-H", "content-type: application/json"];
            assert_eq!(safe.command_line(&words(&plain)), plain.join(" "));
        });
    }

    #[test]
    fn only_known_harmless_fields_are_readable() {
        with(|safe| {
            assert_eq!(safe.field("User-Agent", "curl/8").1, "curl/8");
            for name in ["Authorization", "X-Auth", "x-note"] {
                assert!(safe.field(name, "opaque value").1.starts_with("[CREDENTIAL_"), "{name}");
            }
            assert!(!safe.field("4111-1111-1111-1111", "x").0.contains("4111"));
        });
    }
}
