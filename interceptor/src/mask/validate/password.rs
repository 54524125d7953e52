//! Passwords, which people choose: all but placeholders, names and expressions.

use super::random::{is_name, is_reference, is_typed_number, not_a_placeholder};

/// What stands in quotes behind the word password: a word will do, but no label, selector or placeholder.
pub(super) fn password_quoted(value: &[u8]) -> bool {
    is_password(value) && !is_field(value)
}

fn is_password(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let names_itself = [&b"pass"[..], b"pwd"].iter().any(|word| memchr::memmem::find(&lower, word).is_some());
    let digit = value.iter().any(u8::is_ascii_digit);
    let plain = value.iter().all(u8::is_ascii_alphabetic);
    let Some(&first) = value.first() else { return false };
    let version = value.contains(&b'.') && value.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    not_a_placeholder(value)
        && !is_reference(value)
        && !matches!(first, b'.' | b'&' | b'*' | b':' | b'-' | b'?')
        && (digit || first != b'#' && !matches!(value.last(), Some(b':' | b'?')))
        && !lower.starts_with(b"arn:")
        && !lower.starts_with(b"required|")
        && !of_a_test(&lower)
        && !version
        && !NOT_PASSWORDS.split(' ').any(|word| word.as_bytes() == lower)
        && (!names_itself || (plain && lower.len() > 9) || digit)
}

/// `challengePassword`: a word and `Password`, as a field is named.
fn is_field(value: &[u8]) -> bool {
    let word = value.strip_suffix(b"Password").unwrap_or_default();
    word.len() > 3 && word.iter().all(u8::is_ascii_lowercase)
}

/// `tester`, `test123`, `pass1`: what tests and documentation make up.
fn of_a_test(lower: &[u8]) -> bool {
    let word = &lower[..lower.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |i| i + 1)];
    match word {
        b"test" | b"tester" | b"testing" | b"testuser" => true,
        b"pass" | b"password" | b"secret" | b"user" => lower.len() - word.len() < 2,
        _ => false,
    }
}

/// A user name and a password with what is between: `me:pw`, `me;Password=pw`, `login me password pw`.
pub(super) fn credentials(value: &[u8]) -> bool {
    let joint = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b'\\');
    let word = &value[value.iter().rposition(joint).map_or(0, |i| i + 1)..];
    let lower = word.to_ascii_lowercase();
    let named = ["password=", "passwd=", "pwd=", "pass="]
        .iter()
        .find_map(|name| memchr::memmem::rfind(&lower, name.as_bytes()).map(|at| at + name.len()));
    let password = &word[named.or_else(|| word.iter().position(|&b| b == b':').map(|at| at + 1)).unwrap_or(0)..];
    password.len() > 2 && is_password(password)
}

/// What stands unquoted behind `PASSWORD=`: a word will do, but no expression.
pub(super) fn password_setting(value: &[u8]) -> bool {
    let expression = value.iter().any(|b| matches!(b, b'.' | b':' | b'*' | b'/' | b'='));
    password_quoted(value) && !expression
}

/// What stands behind `password:` or `password =` and may be a program's: letters, digits and perhaps more, mixed as
/// no name is.
pub(super) fn password_bare(value: &[u8]) -> bool {
    let digit = value.iter().any(u8::is_ascii_digit);
    let letter = value.iter().any(u8::is_ascii_alphabetic);
    password_setting(value) && digit && letter && !is_name(value) && !is_typed_number(value)
}

/// Words that follow `password` in forms, schemas and programs.
const NOT_PASSWORDS: &str = "\
    password passwd passphrase pass secret required optional string text hidden none null nil true false \
    username user login email name value type label current confirm invalid incorrect missing forgot \
    reset change show hide enter input field prompt basic utf8 utf-8 undefined default object passwort \
    default-src sample foobar blah python";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_pair_decides() {
        for pair in
            ["me:hunter22", "me;Database=d;Password=hunter22", "login me password hunter22", "me' , pwd: 'hunter22"]
        {
            assert!(credentials(pair.as_bytes()), "{pair}");
        }
        for pair in ["user:password", "me;Password=${PW}", "login me password required"] {
            assert!(!credentials(pair.as_bytes()), "{pair}");
        }
    }

    #[test]
    fn words_of_forms_are_no_passwords() {
        for text in ["required", "#password", "secret", "Password:", "your-password", "challengePassword", "1.302103"] {
            assert!(!password_quoted(text.as_bytes()), "{text}");
        }
        for text in ["hunter2", "#gets0m3", "correct-Horse9", "1qay@WSX??"] {
            assert!(password_quoted(text.as_bytes()), "{text}");
        }
    }
}
